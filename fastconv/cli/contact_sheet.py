"""The demo's picture: each photograph with its four filters, then one tile for every layer.

A layer has more channels than a picture has colours, so its tile shows the three directions in
which its channels vary most (principal components) as red, green and blue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fastconv.cli.filters import GABOR_ORIENTATIONS, GABOR_SIGMA
from fastconv.cli.measure import Measurement
from fastconv.cli.pictures import Picture
from fastconv.cli.table import milliseconds

__all__ = ["save"]

COLUMNS = 5
WIDTH_INCHES = 12.5
MARGIN_INCHES = 0.25
GAP_INCHES = 0.12
TITLE_INCHES = 0.42
HEADER_INCHES = 0.75
DOTS_PER_INCH = 100
INK, FAINT = "#1a1a1a", "#6b6b6b"

Result = tuple[Measurement, np.ndarray]


def _stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """`values` with their percentiles `low` and `high` brought to 0 and 1."""
    bottom, top = np.percentile(values, (low, high))
    return np.clip((values - bottom) / max(top - bottom, 1e-12), 0, 1)


def principal_components(channels: np.ndarray, count: int) -> np.ndarray:
    """The `count` strongest principal components of (channels, *places), strongest first."""
    flat = channels.reshape(len(channels), -1).astype(np.float64)
    flat = flat - flat.mean(1, keepdims=True)
    _, directions = np.linalg.eigh(flat @ flat.T)
    strongest = directions[:, ::-1][:, :count]
    # An eigenvector's sign is arbitrary; fix it, so that the sheet does not depend on the LAPACK.
    signs = np.sign(strongest[np.abs(strongest).argmax(0), np.arange(strongest.shape[1])])
    return ((strongest * signs).T @ flat).reshape(-1, *channels.shape[1:])


def _as_colours(channels: np.ndarray) -> np.ndarray:
    """(channels, *places) to RGB (*places, 3), the commonest value of each colour in the middle."""
    components = principal_components(channels, 3)
    middle = np.median(components.reshape(3, -1), axis=1).reshape(3, *(1,) * (channels.ndim - 1))
    components -= middle
    scale = max(float(np.percentile(np.abs(components), 98)), 1e-12)
    # One scale for all three keeps the weaker components paler.
    return np.moveaxis(np.clip(0.5 + 0.5 * components / scale, 0, 1), 0, -1)


def _orientation_colours(responses: np.ndarray) -> np.ndarray:
    """Gabor responses (2 * orientations, rows, columns) to RGB: hue which way, brightness how much.

    Energies are added as vectors at twice their angle, so that opposite directions cancel and
    crossing lines turn gray.
    """
    from matplotlib.colors import hsv_to_rgb
    from scipy import ndimage

    energy = np.hypot(responses[0::2], responses[1::2])
    turns = 2 * math.pi * np.arange(GABOR_ORIENTATIONS) / GABOR_ORIENTATIONS
    pull = np.tensordot(np.exp(1j * turns), energy, 1)
    total = energy.sum(0)
    # Averaged over the filter's own width: the noise of flat areas cancels, lines do not.
    pull, total = (ndimage.gaussian_filter(part, GABOR_SIGMA / 2) for part in (pull, total))
    saturation = np.clip(1.2 * np.abs(pull) / np.maximum(total, 1e-12), 0, 1)
    hue = (np.angle(pull) / (2 * math.pi)) % 1.0
    return hsv_to_rgb(np.stack([hue, saturation, _stretched(total, 1, 99.5) ** 0.75], axis=-1))


def _shown(pixels: np.ndarray) -> np.ndarray:
    """(1 or 3, rows, columns) to RGB (rows, columns, 3)."""
    return np.moveaxis(np.broadcast_to(np.clip(pixels, 0, 1), (3, *pixels.shape[1:])), 0, -1)


def _filter_tile(name: str, result: np.ndarray) -> np.ndarray:
    if name == "edges":
        return _shown(1 - _stretched(result, 1, 99.5)[None] ** 0.8)
    if name == "gabor":
        return _orientation_colours(result)
    return _shown(result)


class _Sheet:
    """A figure that places tiles by inches from the top left corner."""

    def __init__(self, height_inches: float) -> None:
        from matplotlib.figure import Figure

        self.height = height_inches
        self.figure = Figure((WIDTH_INCHES, height_inches), dpi=DOTS_PER_INCH, facecolor="white")
        self.tile = (WIDTH_INCHES - 2 * MARGIN_INCHES - (COLUMNS - 1) * GAP_INCHES) / COLUMNS

    def left(self, column: int) -> float:
        return MARGIN_INCHES + column * (self.tile + GAP_INCHES)

    def write(self, x: float, y: float, text: str, size: float, colour: str, **style: str) -> None:
        self.figure.text(
            x / WIDTH_INCHES, 1 - y / self.height, text, fontsize=size, color=colour,
            va="baseline", parse_math=False, **style,
        )  # fmt: skip

    def axes(self, column: int, top: float, height: float):
        return self.figure.add_axes(
            (
                self.left(column) / WIDTH_INCHES,
                1 - (top + height) / self.height,
                self.tile / WIDTH_INCHES,
                height / self.height,
            )
        )

    def caption(self, column: int, top: float, title: str, note: str) -> None:
        self.write(self.left(column), top + 0.2, title, 9.5, INK, weight="bold")
        self.write(self.left(column), top + 0.36, note, 7.5, FAINT)

    def picture(
        self,
        column: int,
        top: float,
        height: float,
        pixels: np.ndarray,
        interpolation: str = "antialiased",
    ) -> None:
        axes = self.axes(column, top, height)
        axes.imshow(pixels, interpolation=interpolation, aspect="auto")
        axes.set_axis_off()


def _note(measurement: Measurement) -> str:
    return f"{milliseconds(measurement.milliseconds)} ms  {measurement.kernel}"


def _trace(sheet: _Sheet, column: int, top: float, height: float, result: np.ndarray) -> None:
    """The causal layer's three strongest components over its first steps, one above the other."""
    steps = min(result.shape[1], 200)
    axes = sheet.axes(column, top, height)
    for level, component in enumerate(principal_components(result, 3)):
        line = component[:steps] / max(float(np.abs(component[:steps]).max()), 1e-12)
        axes.plot(line - 2.1 * level, linewidth=0.8, color=("#c0392b", "#27794a", "#2b5fc0")[level])
    axes.set_xlim(0, steps - 1)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#cccccc")


def _inside(result: np.ndarray) -> np.ndarray:
    """(channels, ..., rows, columns) without its border, where padding outshines the picture."""
    edge = min(result.shape[-2:]) // 20
    return result[..., edge : result.shape[-2] - edge, edge : result.shape[-1] - edge]


def _frames(result: np.ndarray) -> np.ndarray:
    """Four frames of the 3D layer's result (channels, frames, rows, columns), in a square."""
    colours = _as_colours(_inside(result))
    picked = colours[np.linspace(0, colours.shape[0] - 1, 4).astype(int)]
    return np.concatenate([np.concatenate(picked[i : i + 2], axis=1) for i in (0, 2)], axis=0)


def save(
    path: Path,
    filters: Sequence[tuple[Picture, Mapping[str, Result]]],
    layers: Mapping[str, Result],
    summary: str,
) -> None:
    """Draw the sheet and write it to `path`, as the format its ending says.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    OSError, ValueError
        The file cannot be written, or matplotlib does not know the format.
    """
    tile = _Sheet(1.0).tile
    heights = [tile * p.pixels.shape[1] / p.pixels.shape[2] for p, _ in filters]
    layer_rows = -(-len(layers) // COLUMNS)
    total = HEADER_INCHES + sum(h + TITLE_INCHES + GAP_INCHES for h in heights)
    total += layer_rows * (tile + TITLE_INCHES + GAP_INCHES) + MARGIN_INCHES
    sheet = _Sheet(total)
    sheet.write(MARGIN_INCHES, 0.42, "fastconv demo", 16, INK, weight="bold")
    sheet.write(MARGIN_INCHES, 0.64, summary, 9, FAINT)

    top = HEADER_INCHES
    for (picture, results), height in zip(filters, heights, strict=True):
        rows, columns = picture.pixels.shape[1:]
        sheet.caption(0, top, picture.name, f"{columns} x {rows} pixels")
        sheet.picture(0, top + TITLE_INCHES, height, _shown(picture.pixels))
        for column, (name, (measurement, result)) in enumerate(results.items(), start=1):
            sheet.caption(column, top, measurement.name, _note(measurement))
            sheet.picture(column, top + TITLE_INCHES, height, _filter_tile(name, result))
        top += height + TITLE_INCHES + GAP_INCHES

    for index, (name, (measurement, result)) in enumerate(layers.items()):
        row, column = divmod(index, COLUMNS)
        place = top + row * (tile + TITLE_INCHES + GAP_INCHES)
        sheet.caption(column, place, measurement.name, _note(measurement))
        if name == "causal":
            _trace(sheet, column, place + TITLE_INCHES, tile, result)
        else:
            shown = _frames(result) if name == "solid" else _as_colours(_inside(result))
            sheet.picture(column, place + TITLE_INCHES, tile, shown, "bicubic")
    sheet.figure.savefig(path, dpi=DOTS_PER_INCH)
