"""The environment variables that Python reads; csrc/env.c reads those of the C core.

`VARIABLES` lists both. Unknown values warn on stderr, in the words of the core.
"""

from __future__ import annotations

import os
import sys

__all__ = ["VARIABLES", "cache_folder", "calibrate", "found", "verbose"]

VARIABLES = (
    "FASTCONV_NUM_THREADS",
    "FASTCONV_ISA",
    "FASTCONV_VERBOSE",
    "FASTCONV_CACHE",
    "FASTCONV_CALIBRATE",
    "OMP_NUM_THREADS",
)


def found() -> dict[str, str]:
    """The variables that are set."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def _switch(name: str, default: bool) -> bool:
    value = os.environ.get(name, "")
    if value not in ("", "0", "1"):
        print(f"fastconv: {name}={value} is unknown and ignored; known: 0 1", file=sys.stderr)
    return value == "1" if value in ("0", "1") else default


def verbose() -> bool:
    """Whether FASTCONV_VERBOSE asks for a line per call."""
    return _switch("FASTCONV_VERBOSE", False)


def calibrate() -> bool:
    """Whether the machine's rates may be measured and kept, which FASTCONV_CALIBRATE=0 forbids."""
    return _switch("FASTCONV_CALIBRATE", True)


def cache_folder() -> str | None:
    """The folder FASTCONV_CACHE names."""
    return os.environ.get("FASTCONV_CACHE") or None
