"""Reading photographs for the demo as float32 (channels, rows, columns) between 0 and 1.

Without a path: pictures that scikit-image's wheel carries, never downloaded, or else the one in
fastconv/data, which needs nothing but NumPy. A path is read with Pillow, a .npy or .npz with NumPy.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["SHIPPED", "Picture", "PictureError", "default_pictures", "luminance", "read", "square"]

SMALLEST_SIDE = 32
SHIPPED = Path(__file__).parents[1] / "data" / "astronaut.npz"
# scikit-image's sample photographs that are in the public domain or under CC0.
SAMPLES = ("astronaut.png", "chelsea.png", "coffee.png")


class PictureError(ValueError):
    """A picture that cannot be read; the message names it and says why."""


@dataclass(frozen=True)
class Picture:
    """A picture and where it came from.

    `pixels` is float32, (1 or 3, rows, columns), between 0 and 1. `reduced_from` is the size
    (rows, columns) of the file where `pixels` was made smaller, else None.
    """

    name: str
    source: str
    pixels: np.ndarray
    reduced_from: tuple[int, int] | None = None


def luminance(pixels: np.ndarray) -> np.ndarray:
    """The brightness (rows, columns) of (channels, rows, columns), by the weights of BT.601."""
    if len(pixels) == 1:
        return pixels[0]
    return np.tensordot(np.array([0.299, 0.587, 0.114], pixels.dtype), pixels, 1)


def square(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle square of a picture as RGB, resampled to `side` by `side` pixels."""
    from scipy import ndimage

    rows, columns = pixels.shape[1:]
    size = min(rows, columns)
    top, left = (rows - size) // 2, (columns - size) // 2
    middle = _shrunk(pixels[:, top : top + size, left : left + size], size // side)
    zoom = side / middle.shape[1]
    sampled = ndimage.zoom(middle, (1, zoom, zoom), order=1)
    return np.ascontiguousarray(np.broadcast_to(sampled, (3, side, side)))


def _shrunk(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Each `factor` by `factor` block of pixels averaged into one, an incomplete block dropped."""
    if factor <= 1:
        return pixels
    channels, rows, columns = pixels.shape
    rows, columns = rows // factor, columns // factor
    blocks = pixels[:, : rows * factor, : columns * factor]
    return blocks.reshape(channels, rows, factor, columns, factor).mean((2, 4))


def _from_array(array: np.ndarray, path: str) -> np.ndarray:
    """(rows, columns) or (rows, columns, 1 to 4), integer or floating, to `Picture.pixels`."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise PictureError(
            f"{path}: wanted an array (rows, columns) or (rows, columns, channels) with 1 to 4 "
            f"channels, got shape {array.shape}"
        )
    if array.dtype == bool:
        scale = 1.0
    elif np.issubdtype(array.dtype, np.integer):
        scale = float(np.iinfo(array.dtype).max)
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise PictureError(f"{path}: holds values that are not finite")
        # Floating pictures come both as 0..1 and as 0..255 or wider; both end at 1.
        scale = max(float(array.max(initial=0.0)), 1.0)
    else:
        raise PictureError(f"{path}: wanted integer or floating pixels, got {array.dtype}")
    pixels = np.moveaxis(array, 2, 0).astype(np.float32) / np.float32(scale)
    np.clip(pixels, 0, 1, out=pixels)
    if len(pixels) in (2, 4):
        alpha = pixels[-1]
        pixels = pixels[:-1] * alpha + (1 - alpha)
    return np.ascontiguousarray(pixels)


def _read_numpy(path: str) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                return loaded[loaded.files[0]]
        return loaded
    except (OSError, ValueError, EOFError, IndexError) as error:
        raise PictureError(f"{path}: cannot be read as a NumPy file: {error}") from error


def _read_pillow(path: str) -> np.ndarray:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise PictureError(
            f"{path}: reading this format needs Pillow (pip install pillow); "
            "without it, give a .npy or .npz file"
        ) from None
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode not in ("L", "LA", "RGB", "RGBA") and image.mode[0] not in "IF":
                image = image.convert("L" if image.mode == "1" else "RGBA")
            array = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path}: cannot be read as a picture: {error}") from error
    if image.mode == "I":
        # Pillow widens 16-bit files to 32; their white is 65535.
        return np.clip(array, 0, 65535).astype(np.uint16)
    return array


def read(path: str, longest_side: int) -> Picture:
    """Read one picture, reduced by a whole factor if a side is above `longest_side` pixels.

    Raises
    ------
    PictureError
        The file is missing, is no picture, or has a side under 32 pixels.
    """
    place = Path(path)
    if not place.exists():
        raise PictureError(f"{path}: no such file")
    if place.is_dir():
        raise PictureError(f"{path}: is a directory; wanted a picture")
    reader = _read_numpy if place.suffix.lower() in (".npy", ".npz") else _read_pillow
    pixels = _from_array(reader(path), path)
    rows, columns = pixels.shape[1:]
    reduced = _shrunk(pixels, -(-max(rows, columns) // longest_side))
    if min(reduced.shape[1:]) < SMALLEST_SIDE:
        raise PictureError(
            f"{path}: {columns}x{rows} pixels; wanted at least {SMALLEST_SIDE} a side once the "
            f"longer one is reduced to {longest_side} or less"
        )
    return Picture(
        name=place.stem,
        source=str(place),
        pixels=reduced,
        reduced_from=None if reduced is pixels else (rows, columns),
    )


def _sample_paths() -> list[Path]:
    # Found without importing scikit-image, whose own loader may try to download.
    spec = importlib.util.find_spec("skimage")
    folders = spec.submodule_search_locations if spec is not None else None
    paths = [Path(folder, "data", sample) for folder in folders or () for sample in SAMPLES]
    return [path for path in paths if path.is_file()]


def default_pictures(count: int, longest_side: int) -> list[Picture]:
    """Up to `count` of scikit-image's sample photographs, or the one shipped with fastconv."""
    if importlib.util.find_spec("PIL") is not None:
        samples = [read(str(path), longest_side) for path in _sample_paths()[:count]]
        if samples:
            return [
                Picture(p.name, f"scikit-image: {Path(p.source).name}", p.pixels, p.reduced_from)
                for p in samples
            ]
    picture = read(str(SHIPPED), longest_side)
    return [
        Picture(picture.name, f"fastconv: {SHIPPED.name}", picture.pixels, picture.reduced_from)
    ]
