"""Print the instruction sets this machine has, narrowest first, one per line.

Reads what Linux reports, not what the library found: the two must agree for the tests to pass.
"""

from pathlib import Path

NEEDS = {
    "scalar": set(),
    "avx2": {"avx2", "fma", "f16c"},
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "amx": {"amx_tile", "amx_bf16", "amx_int8", "avx512_bf16"},
}


def main():
    flags = set()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            flags = set(line.split(":", 1)[1].split())
            break
    for isa, needs in NEEDS.items():
        if not needs <= flags:
            break
        print(isa)


if __name__ == "__main__":
    main()
