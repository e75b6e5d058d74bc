"""A pytest plugin: fastconv stands in for SciPy from before the tests are imported to the end."""

import atexit
from contextlib import ExitStack

import scipy

import fastconv.patch
from fastconv import _drop_in

_block = ExitStack()
_block.enter_context(fastconv.patch.scipy())
atexit.register(_block.close)

# SciPy's tests look up there which array libraries a function takes.
try:
    from scipy._lib._array_api import xp_capabilities_table
except ImportError:
    pass
else:
    for (family, name), theirs in _drop_in.originals.items():
        if theirs in xp_capabilities_table:
            ours = getattr(getattr(scipy, family), name)
            xp_capabilities_table[ours] = xp_capabilities_table[theirs]
