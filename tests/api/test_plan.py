"""`explain`, `Conv.plan`: what they say agrees with what runs and with itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fastconv as fc
from fastconv import _core
from fastconv.__main__ import main

COSTS = {"core", "l1", "l2", "l3", "memory", "packing", "calls"}
PROBLEMS = [
    ((1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
    ((3, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
    ((1, 4, 8, 8), (4, 4, 3, 3), {}),
    ((1, 512, 7, 7), (512, 512, 1, 1), {}),
    ((1, 96, 112, 112), (96, 1, 3, 3), {"groups": 96, "padding": 1}),
    ((1, 112, 112, 96), (96, 1, 3, 3), {"groups": 96, "padding": 1, "layout": "NHWC"}),
    ((1, 64, 56, 56), (64, 4, 3, 3), {"groups": 16, "padding": 1}),
    ((1, 8, 16, 16), (8, 8, 4, 4), {"transposed": True, "stride": 2}),
    ((1, 4, 100000), (4, 4, 301), {}),
    ((1, 4, 8, 20, 20), (8, 4, 3, 3, 3), {"dtype": "float64"}),
    ((2, 8, 30, 30), (8, 8, 31, 31), {"padding": "same", "algorithm": "fft"}),
]


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize(("x_shape", "w_shape", "options"), PROBLEMS)
def test_costs_add_up_to_the_estimate(x_shape, w_shape, options, functional):
    plan = fc.explain(x_shape, w_shape, functional=functional, **options)
    assert set(plan.costs) <= COSTS
    assert all(cost > 0 for cost in plan.costs.values())
    assert sum(plan.costs.values()) == pytest.approx(plan.estimated_seconds, rel=2e-3)
    assert plan.bound in plan.costs
    assert plan.costs[plan.bound] == max(plan.costs.values())
    assert ("packing" in plan.costs) == functional
    assert plan.functional == functional
    chosen = {c.algorithm: c for c in plan.candidates}[plan.algorithm]
    assert chosen.kernel == plan.kernel
    estimate = plan.estimated_seconds
    assert chosen.estimated_seconds == pytest.approx(estimate, rel=1e-6, abs=2e-6)


def test_bounds_are_where_they_are_known_to_be():
    many_products = fc.explain((1, 64, 56, 56), (64, 64, 3, 3), padding=1, algorithm="direct")
    assert many_products.bound == "core"
    tiny = fc.explain((1, 4, 4, 4), (4, 4, 1, 1))
    assert tiny.bound == "calls"
    shapes = (1, 512, 3, 1, 1), (512, 512, 1, 1, 1)  # for fewer planes tasks pack what they use
    packs = fc.explain(*shapes, functional=True, algorithm="direct")
    vectors = not packs.kernel.endswith(".scalar")  # without them products take longest of all
    assert packs.bound == ("packing" if vectors else "core")
    streams = fc.explain((1, 64, 512, 512), (64, 1, 1, 1), groups=64)
    assert streams.bound in ("l2", "l3", "memory")


def test_one_channel_costs_the_same_in_either_layout():
    first = fc.explain((1, 1, 40, 300), (1, 1, 5, 5), padding=2, algorithm="gemm")
    last = fc.explain((1, 40, 300, 1), (1, 1, 5, 5), padding=2, algorithm="gemm", layout="NHWC")
    assert first.estimated_seconds == last.estimated_seconds


@pytest.mark.parametrize("groups", [1, 8])
def test_dilation_costs_nothing_where_there_is_one_tap(groups):
    x, weight = (1, 8, 13, 9, 20), (8, 8 // groups, 3, 1, 1)
    plans = [fc.explain(x, weight, dilation=dilation, groups=groups)
             for dilation in ((2, 1, 1), (2, 2, 2))]
    assert plans[0].estimated_seconds == plans[1].estimated_seconds
    assert plans[0].algorithm == plans[1].algorithm


@pytest.mark.parametrize("channels", [1024, 4096])
@pytest.mark.parametrize("algorithm", ["gemm", "direct"])
def test_weights_that_l2_does_not_keep_come_from_beyond(algorithm, channels):
    bytes_, cpu = 4 * channels * channels, _core.cpu()
    if bytes_ < cpu["l2_bytes"]:
        pytest.skip("L2 keeps these weights")
    shape = (channels, channels, 1, 1)
    plan = fc.explain((1, channels, 1, 8), shape, algorithm=algorithm)
    level = "l3" if bytes_ < cpu["l3_bytes"] / 2 else "memory"
    beyond = bytes_ - cpu["l2_bytes"] / 2
    assert plan.costs[level] >= 0.99 * beyond / _core.rates_used()[f"{level}_bytes"]


def test_every_algorithm_is_a_candidate_or_rejected_with_a_reason():
    plan = fc.explain((1, 8, 20, 20), (8, 8, 3, 3))
    able = {candidate.algorithm for candidate in plan.candidates}
    assert able | set(plan.rejected) == set(fc.algorithms())
    assert not able & set(plan.rejected)
    assert all(len(why.split()) > 2 for why in plan.rejected.values())
    times = [candidate.estimated_seconds for candidate in plan.candidates]
    assert times == sorted(times)


def test_the_choice_depends_on_neither_batch_nor_threads():
    for x_shape, w_shape, options in PROBLEMS:
        plans = [fc.explain((batch, *x_shape[1:]), w_shape, **options) for batch in (1, 2, 64)]
        with fc.num_threads(7):
            plans.append(fc.explain(x_shape, w_shape, **options))
        assert len({plan.kernel for plan in plans}) == 1, (x_shape, w_shape, options)


def test_unasked_scratch_is_bounded():
    shapes = (1, 16, 128, 128, 128), (16, 16, 7, 7, 7)
    plan = fc.explain(*shapes)
    assert plan.workspace_bytes <= 1 << 28
    asked = fc.explain(*shapes, algorithm="fft")
    assert asked.algorithm == "fft"
    if asked.workspace_bytes > 1 << 28:
        assert "unless asked for" in plan.rejected["fft"]
        assert "fft" not in asked.rejected


def test_json_holds_what_the_plan_says(capsys):
    command = ["explain", "1x64x56x56", "64x64x3x3", "--padding", "1", "--json"]
    plan = fc.explain((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    assert main(command) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == json.loads(json.dumps(plan.as_dict()))
    assert facts["bound"] == plan.bound
    assert [c["algorithm"] for c in facts["candidates"]] == [c.algorithm for c in plan.candidates]
    assert main([*command, "--functional", "--dtype", "float64", "--padding-mode", "reflect"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["functional"], facts["kernel"].split(".")[1]) == (True, "f64")


def test_table_names_everything():
    plan = fc.explain((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    text = str(plan)
    for word in (plan.kernel, "bounds", "<- runs", *fc.algorithms()):
        assert word in text
    assert f"{plan.bound} " in text


def test_no_output_has_no_costs():
    plan = fc.Conv(np.ones((4, 3, 3, 3), np.float32)).plan((0, 3, 8, 8))
    assert (plan.costs, plan.bound, plan.tuned, plan.candidates) == ({}, "none", False, [])
    assert json.dumps(plan.as_dict())


@pytest.mark.parametrize(("wrong", "said"), [
    (np.zeros((1, 4, 8, 8)), r"an array; its shape, \(1, 4, 8, 8\), is meant"),
    ("NCHW", "'NCHW'"),
    (5, "5"),
])
def test_shapes_are_sequences(wrong, said):
    with pytest.raises(TypeError, match=f"x_shape must be a sequence of ints, got {said}$"):
        fc.explain(wrong, (4, 4, 3, 3))
    with pytest.raises(TypeError, match=f"w_shape must be a sequence of ints, got {said}$"):
        fc.explain((1, 4, 8, 8), wrong)
