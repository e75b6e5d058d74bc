"""A pytest plugin: fastconv.ndimage's functions in scipy.ndimage's places, for every thread.

`fastconv.patch` swaps for one; some of SciPy's tests compare what several threads compute.
"""

import scipy.ndimage

from fastconv import _drop_in, ndimage


def swap():
    for name in ndimage.__all__:
        theirs, ours = getattr(scipy.ndimage, name), getattr(ndimage, name)
        _drop_in.originals["ndimage", name] = theirs
        setattr(scipy.ndimage, name, ours)
        try:  # SciPy's tests look up by function which array libraries it takes
            from scipy._lib._array_api import xp_capabilities_table
        except ImportError:
            continue
        if theirs in xp_capabilities_table:
            xp_capabilities_table[ours] = xp_capabilities_table[theirs]


swap()
