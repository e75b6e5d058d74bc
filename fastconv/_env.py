"""The environment variables that Python reads; csrc/env.c reads those of the C core.

`VARIABLES` lists both. Unknown values warn on stderr, in the words of the core.
"""

from __future__ import annotations

import os
import sys

__all__ = ["VARIABLES", "cache_folder", "found", "verbose"]

VARIABLES = (
    "FASTCONV_NUM_THREADS",
    "FASTCONV_ISA",
    "FASTCONV_VERBOSE",
    "FASTCONV_CACHE",
    "OMP_NUM_THREADS",
)


def found() -> dict[str, str]:
    """The variables that are set."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def verbose() -> bool:
    """Whether FASTCONV_VERBOSE asks for a line per call."""
    value = os.environ.get("FASTCONV_VERBOSE", "")
    if value not in ("", "0", "1"):
        print(
            f"fastconv: FASTCONV_VERBOSE={value} is unknown and ignored; known: 0 1",
            file=sys.stderr,
        )
    return value == "1"


def cache_folder() -> str | None:
    """The folder FASTCONV_CACHE names."""
    return os.environ.get("FASTCONV_CACHE") or None
