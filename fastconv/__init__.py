"""fastconv: convolutions of every kind on the CPU, for NumPy arrays.

Names load on first use, so that ``import fastconv`` costs little more than NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Module of the package: the public names it gives to the package itself.
_MODULES: dict[str, tuple[str, ...]] = {
    "functional": (
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
    ),
    "depthwise": ("depthwise_conv1d", "depthwise_conv2d", "depthwise_conv3d", "separable_conv2d"),
    "deform": ("deform_conv2d",),
    "passes": ("flattened_conv2d", "spatially_separable_conv2d"),
    "sequence": ("causal_conv1d", "lightweight_conv1d"),
    "resize": ("resize_conv2d",),
    "pooling": (
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "global_avg_pool",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
    ),
    "conv": ("Conv",),
    "plan": ("Candidate", "Plan"),
    "_threads": ("get_num_threads", "num_threads", "set_num_threads"),
    "runtime": ("algorithms", "explain", "kernels", "peaks", "show_config", "show_runtime"),
    "rearrange": (
        "batch_to_space",
        "channel_shuffle",
        "depth_to_space",
        "fold",
        "pixel_shuffle",
        "pixel_unshuffle",
        "space_to_batch",
        "space_to_depth",
        "unfold",
    ),
    "linear_algebra": (
        "Separation",
        "bilinear_kernel",
        "conv_matrix",
        "fold_batch_norm",
        "separate",
    ),
    "arithmetic": (),
    "dask": (),
    "ndimage": (),
    "patch": (),
    "restoration": (),
    "signal": (),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", "arithmetic", "ndimage", "patch", "restoration", "signal", *_HOMES]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is not None:
        value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    elif name in _MODULES and not name.startswith("_"):
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(module for module in _MODULES if not module.startswith("_"))})
