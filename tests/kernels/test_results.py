"""Every kernel row against the float64 truth, at sizes around every tile and with every option."""

import driver
import numpy as np
import pytest
from cases import FAMILIES

from fastconv import _core

# The families an algorithm exists for, and the least share of them it must accept. An algorithm
# not named here must accept LEAST_CASES of all of them.
MEANT_FOR = {
    "reference": dict.fromkeys(FAMILIES, 0.9),
    "gemm": {family: 1.0 for family in FAMILIES if family not in ("deform", "separable")},
    "deform": {"deform": 1.0},
    "separable": {"separable": 1.0},
    "winograd_f2": {"three_taps": 0.8, "pieces": 0.6},
    "winograd_f4": {"three_taps": 0.8, "pieces": 0.6},
    "winograd_f4_k2": {"three_taps": 0.8, "pieces": 0.8},
    "winograd_f2_split": {"three_taps": 0.8, "pieces": 0.6},
    "winograd_f4_split": {"three_taps": 0.8, "pieces": 0.6},
    "depthwise": {"depthwise": 0.8},
    "grouped": {"grouped": 0.3},
    "direct": {"kernels": 0.5, "strides_and_dilations": 0.5},
    "gemm_split": {family: 1.0 for family in FAMILIES if family not in ("deform", "separable")},
}
LEAST_CASES = 20


def accepted(row, family):
    return [case for case in FAMILIES[family] if driver.runs(row, case)]


PAIRS = [
    (row, family)
    for row in driver.ROWS
    for family in FAMILIES
    if any(driver.runs(row, case) for case in FAMILIES[family])
]


@pytest.mark.parametrize(("row", "family"), PAIRS)
def test_result(row, family):
    cases = [case for case in accepted(row, family) if driver.takes(row, case)]
    driver.report(
        driver.difference(
            row, case, driver.compute(row, case, driver.values_of(case)), *driver.expected_of(case)
        )
        for case in cases
    )
    assert cases


def test_row_accepts_enough_cases(every_row):
    meant = MEANT_FOR.get(driver.algorithm_of(every_row), {})
    counts = {family: len(accepted(every_row, family)) for family in FAMILIES}
    for family, share in meant.items():
        assert counts[family] >= share * len(FAMILIES[family]), family
    assert sum(counts.values()) >= LEAST_CASES


def test_a_wrong_output_is_noticed(every_row):
    """One output off by twice the tolerance, one NaN, one infinity: each is reported."""
    case = next(case for family in FAMILIES for case in accepted(every_row, family))
    y, magnitude = driver.expected_of(case)
    assert driver.difference(every_row, case, y, y, magnitude) is None
    allowed = driver.tolerance(every_row, case, y, magnitude)
    allowed = np.broadcast_to(allowed, y.shape).flat[0]
    for wrong in (y.flat[0] + 2 * allowed, float("nan"), float("inf")):
        changed = y.copy()
        changed.flat[0] = wrong
        assert driver.difference(every_row, case, changed, y, magnitude) is not None


def test_rows_are_of_this_build():
    """The sweep would be empty, and green, if the list of kernels were."""
    algorithms = {driver.algorithm_of(row) for row in driver.ROWS}
    assert {"reference", "gemm", "deform", "separable"} <= algorithms
    assert {driver.dtype_of(row) for row in driver.ROWS} == {"f32", "f64", "f16", "bf16"}
    built = any(name.endswith(".amx") for name, _ in _core.kernels())
    split = {"gemm_split", "winograd_f2_split", "winograd_f4_split"}
    assert split & algorithms == (split if built and _core.cpu()["isa"] == "amx" else set())
