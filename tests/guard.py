"""Arrays whose neighbours are watched: a forbidden page on one side, a pattern on the other.

A kernel that reads or writes past the guarded end dies with SIGSEGV, one that writes on the other
side changes the pattern. The element size is the only alignment promised, so the array of a
buffer guarded after it starts wherever its size puts it.
"""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

PROT_NONE = 0
PATTERN = 0xA5

_libc = ctypes.CDLL(None, use_errno=True)


class Guarded:
    """A copy of `array`, C-contiguous, flush with a forbidden page after or before it."""

    def __init__(self, array, side):
        assert side in ("after", "before"), side
        array = np.asarray(array)
        page = mmap.PAGESIZE
        inner = -(-max(array.nbytes, 1) // page) * page
        self._map = mmap.mmap(-1, inner + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        for forbidden in (start, start + page + inner):
            if _libc.mprotect(ctypes.c_void_p(forbidden), page, PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")
        memory = np.frombuffer(self._map, np.uint8, inner, page)
        memory[:] = PATTERN
        cut = inner - array.nbytes if side == "after" else array.nbytes
        low, high = memory[:cut], memory[cut:]
        own, self._rest = (high, low) if side == "after" else (low, high)
        self.array = own.view(array.dtype).reshape(array.shape)
        self.array[...] = array

    @property
    def intact(self):
        """Whether no byte beside the array was written."""
        return bool((self._rest == PATTERN).all())
