"""Check that FASTCONV_ISA was obeyed: the library stops at it, and has kernels up to it.

Usage: FASTCONV_ISA=<isa> check_isa.py
"""

import os
import sys
from collections import Counter

from fastconv import _core


def main():
    wanted = os.environ["FASTCONV_ISA"]
    found = _core.cpu()["isa"]
    if found != wanted:
        sys.exit(f"FASTCONV_ISA={wanted}, but the library says {found}")
    usable = Counter(name.rsplit(".", 1)[1] for name, available in _core.kernels() if available)
    print(", ".join(f"{count} {isa} kernels" for isa, count in sorted(usable.items())))
    if not usable[wanted]:
        sys.exit(f"FASTCONV_ISA={wanted}, but no {wanted} kernel can be used")
    beyond = {"scalar": {"avx2", "avx512", "amx"}, "avx2": {"avx512", "amx"}, "avx512": {"amx"}}
    if beyond.get(wanted, set()) & set(usable):
        sys.exit(f"FASTCONV_ISA={wanted}, but wider kernels can be used")


if __name__ == "__main__":
    main()
