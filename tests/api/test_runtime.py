"""What the build and the machine say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

import fastconv as fc


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_peaks_are_rates_of_every_level(dtype):
    found = fc.peaks(dtype)
    assert {"fma_flops", "l1_bytes", "l2_bytes", "l3_bytes", "memory_bytes"} <= set(found)
    assert all(1e8 < rate < 1e14 for rate in found.values()), found


def test_peaks_refuse_what_no_kernel_computes():
    with pytest.raises(TypeError, match="dtype must be one of float32, .* got 'int8'"):
        fc.peaks("int8")


def test_caches_are_those_that_linux_tells():
    """One cache of each level as a core sees it, not the sum of a package's."""
    names = {"1": "l1d_bytes", "2": "l2_bytes", "3": "l3_bytes"}
    told, runtime = {}, fc.show_runtime()
    for cache in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        level, kind, size = (
            (cache / fact).read_text().strip() for fact in ("level", "type", "size")
        )
        if kind != "Instruction" and level in names:
            told[names[level]] = int(size.removesuffix("K")) << 10
    if not told:
        pytest.skip("this system tells nothing of its caches")
    assert {name: runtime[name] for name in told} == told


def test_every_algorithm_says_what_bounds_it(capsys):
    """Printed as returned, and in the map of the core word for word."""
    bounds = fc.show_runtime()["bounds"]
    printed = capsys.readouterr().out
    written = (Path(__file__).parents[2] / "fastconv/csrc/README.md").read_text(encoding="utf-8")
    assert sorted(bounds) == sorted(fc.algorithms())
    for name, row in bounds.items():
        assert row["bound"] in printed
        assert row["reached"] in printed
        if name != "reference":
            assert f"| {name} | {row['bound']} | {row['reached']} |" in written
