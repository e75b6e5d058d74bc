"""What the build and the machine say of themselves."""

from __future__ import annotations

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



def test_every_algorithm_says_what_bounds_it(capsys):
    bounds = fc.show_runtime()["bounds"]
    assert sorted(bounds) == sorted(fc.algorithms())
    assert all(row["bound"] and row["reached"] for row in bounds.values())
    assert all(row["reached"] in capsys.readouterr().out for row in list(bounds.values())[:1])
