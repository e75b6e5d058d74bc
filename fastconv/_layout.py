"""The names of data layouts: which spatial rank each has and where its channels stand."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

__all__ = ["LAYOUTS", "Layout", "LayoutName", "find_layout"]

LayoutName = Literal["NCL", "NLC", "NCHW", "NHWC", "NCDHW", "NDHWC"]


class Layout(NamedTuple):
    """Spatial rank, and whether the channels precede the spatial axes."""

    rank: int
    channels_first: bool


LAYOUTS: dict[str, Layout] = {
    "NCL": Layout(1, True),
    "NLC": Layout(1, False),
    "NCHW": Layout(2, True),
    "NHWC": Layout(2, False),
    "NCDHW": Layout(3, True),
    "NDHWC": Layout(3, False),
}


def find_layout(layout: Any, name: str = "layout") -> Layout:
    """The `Layout` of a name such as "NCHW".

    Raises
    ------
    ValueError
        If there is no such name.

    Examples
    --------
    >>> find_layout("NHWC")
    Layout(rank=2, channels_first=False)
    """
    found = LAYOUTS.get(layout) if isinstance(layout, str) else None
    if found is None:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, LAYOUTS))}, got {layout!r}")
    return found
