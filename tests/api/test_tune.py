"""Tuning: what is measured is used, kept, shared, and never trusted blindly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastconv as fc
from fastconv import _planning, _tuned
from fastconv.__main__ import main

X_SHAPE, W_SHAPE = (1, 8, 20, 20), (8, 8, 3, 3)
PROBLEM = {"x_shape": X_SHAPE, "w_shape": W_SHAPE, "padding": 1}
QUICK = 0.02


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, and no choice before or after it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FASTCONV_CACHE", str(folder))

    def forget():
        monkeypatch.setattr(_tuned, "_choices", None)
        monkeypatch.setattr(_tuned, "_here", {})
        _planning.find_plan.cache_clear()

    forget()
    yield folder
    monkeypatch.undo()
    _planning.find_plan.cache_clear()


def reread(monkeypatch):
    """As a new process would begin."""
    monkeypatch.setattr(_tuned, "_choices", None)
    monkeypatch.setattr(_tuned, "_here", {})
    _planning.find_plan.cache_clear()


def explain():
    return fc.explain(X_SHAPE, W_SHAPE, padding=1)


def choose(cache, monkeypatch, algorithm, **other):
    """Write a tuning file in which `algorithm` won the problem."""
    fc.tune.tune([PROBLEM], QUICK)
    data = json.loads((cache / "tune.json").read_text())
    (entry,) = data["machines"][0]["choices"].values()
    entry.update({"object": algorithm, "call": algorithm})
    data["machines"][0].update(other)
    (cache / "tune.json").write_text(json.dumps(data))
    reread(monkeypatch)


def other_algorithm():
    """Able to run the problem, and not what runs untuned."""
    plan = explain()
    return next(c.algorithm for c in reversed(plan.candidates)
                if c.algorithm not in (plan.algorithm, "reference", "fft"))  # fmt: skip


def test_nothing_is_tuned_unasked(cache):
    assert not explain().tuned
    fc.conv2d(np.ones(X_SHAPE), np.ones(W_SHAPE))
    assert not cache.exists()


def test_tune_measures_and_remembers(cache, monkeypatch):
    (found,) = fc.tune.tune([PROBLEM], QUICK)
    assert found.x_shape, found.weight_shape == (X_SHAPE, W_SHAPE)
    able = {c.algorithm for c in explain().candidates} - {"reference"}
    assert set(found.seconds) == able
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert found.speedup >= 1
    assert found.algorithm in able
    assert found.call_algorithm in able
    for _ in range(2):
        plan = explain()
        assert plan.tuned
        assert plan.algorithm == found.algorithm
        assert "(tuned)" in str(plan)
        assert fc.explain((7, *X_SHAPE[1:]), W_SHAPE, padding=1).tuned, "whatever the batch"
        assert fc.explain(X_SHAPE, W_SHAPE, padding=1, activation="relu", bias=True).tuned
        assert not fc.explain(X_SHAPE, W_SHAPE).tuned
        assert not fc.explain(X_SHAPE, W_SHAPE, padding=1, algorithm="gemm").tuned
        reread(monkeypatch)
    assert [path.name for path in sorted(cache.iterdir())] == ["tune.json", "tune.json.lock"]


def test_conv_tune():
    rng = np.random.default_rng(0)
    conv = fc.Conv(rng.standard_normal(W_SHAPE), rng.standard_normal(8), padding=1)
    x = rng.standard_normal(X_SHAPE)
    before = conv(x)
    plan = conv.tune(X_SHAPE, seconds=QUICK)
    assert plan.tuned
    np.testing.assert_allclose(conv(x), before, atol=1e-12)
    with pytest.raises(ValueError, match="seconds must be above 0"):
        conv.tune(X_SHAPE, seconds=0)
    with pytest.raises(ValueError, match="channels"):
        conv.tune((1, 7, 20, 20))
    with pytest.raises(ValueError, match="algorithm must be 'auto'"):
        fc.Conv(np.ones(W_SHAPE), algorithm="gemm").tune(X_SHAPE, QUICK)
    empty = fc.Conv(np.ones(W_SHAPE)).tune((0, *X_SHAPE[1:]), QUICK)
    assert empty.algorithm == "none"


def test_a_choice_is_used_by_objects_and_functions(cache, monkeypatch):
    chosen = other_algorithm()
    choose(cache, monkeypatch, chosen)
    assert explain().algorithm == chosen
    x, w = np.ones(X_SHAPE, np.float32), np.ones(W_SHAPE, np.float32)
    with fc.profile() as p:
        fc.Conv(w, padding=1)(x)
        fc.conv2d(x, w, padding=1)
    assert {row.kernel.split(".")[0] for row in p.rows} == {chosen}


def test_a_choice_is_used_by_another_process(cache, monkeypatch):
    chosen = other_algorithm()
    choose(cache, monkeypatch, chosen)
    code = (
        "import fastconv as fc;"
        f"p = fc.explain({X_SHAPE}, {W_SHAPE}, padding=1); print(p.algorithm, p.tuned)"
    )
    root = str(Path(fc.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == ([chosen, "True"], "")


@pytest.mark.parametrize("other", [
    {"cpu": "another"}, {"isa": "another"}, {"version": "0.0"}, {"threads": 4000},
])  # fmt: skip
def test_choices_of_another_machine_do_not_count(cache, monkeypatch, other):
    choose(cache, monkeypatch, other_algorithm(), **other)
    assert not explain().tuned


def test_choices_are_by_the_number_of_threads():
    with fc.num_threads(1):
        fc.tune.tune([PROBLEM], QUICK)
        assert explain().tuned
    with fc.num_threads(2):
        assert not explain().tuned


DAMAGED = [
    b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"format": "another"}', b"[" * 100_000,
    b'{"format": "fastconv tuning", "format_version": 99, "machines": []}',
    b'{"format": "fastconv tuning", "format_version": 1}',
    b'{"format": "fastconv tuning", "format_version": 1, "machines": 3}',
    b'{"format": "fastconv tuning", "format_version": 1, "machines": [{}]}',
    b'{"format": "fastconv tuning", "format_version": 1, "machines": [{"cpu": [], "isa": "", '
    b'"version": "", "threads": 1, "choices": {}}]}',
    b'{"format": "fastconv tuning", "format_version": 1, "machines": [{"cpu": "", "isa": "", '
    b'"version": "", "threads": 1, "choices": {"a": {"object": 3, "call": "gemm"}}}]}',
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_ignored_by_name_and_kept_aside(cache, content):
    cache.mkdir()
    file = cache / "tune.json"
    file.write_bytes(content)
    with pytest.warns(RuntimeWarning, match=r"tune\.json: .*ignored"):
        assert not explain().tuned
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain()  # once is enough
    with pytest.raises(ValueError, match=r"tune\.json: "):
        fc.tune.import_(file)
    with pytest.warns(RuntimeWarning, match=r"moved to tune\.json\.bad"):
        fc.tune.tune([PROBLEM], QUICK)
    assert (cache / "tune.json.bad").read_bytes() == content
    assert json.loads(file.read_text())["machines"]


@pytest.mark.parametrize("algorithm", ["os.system", "depthwise", "deform"])
def test_an_impossible_choice_is_ignored(cache, monkeypatch, algorithm):
    choose(cache, monkeypatch, algorithm)
    with pytest.warns(RuntimeWarning, match=r"tune\.json: .*ignored"):
        plan = explain()
    assert not plan.tuned


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setenv("FASTCONV_CACHE", str(file))
    with pytest.warns(RuntimeWarning, match="was not written .* end with this process"):
        fc.tune.tune([PROBLEM], QUICK)
    assert explain().tuned


def test_export_and_import(cache, tmp_path, monkeypatch):
    fc.tune.tune([PROBLEM, {**PROBLEM, "stride": [2, 1]}], QUICK)
    shared = tmp_path / "shared.json"
    assert fc.tune.export(shared) == 2
    chosen = explain().algorithm
    fc.tune.clear()
    assert not fc.tune.path().exists()
    assert not explain().tuned
    assert fc.tune.import_(shared) == 2
    for _ in range(2):
        assert (explain().tuned, explain().algorithm) == (True, chosen)
        reread(monkeypatch)
    with pytest.raises(FileNotFoundError):
        fc.tune.import_(tmp_path / "missing.json")


def test_writing_keeps_what_other_processes_wrote(cache, monkeypatch):
    fc.tune.tune([PROBLEM], QUICK)
    reread(monkeypatch)
    fc.tune.tune([{**PROBLEM, "stride": 2}], QUICK)
    reread(monkeypatch)
    assert explain().tuned
    assert fc.explain(X_SHAPE, W_SHAPE, padding=1, stride=2).tuned


def test_causal_streams_do_not_depend_on_tuning(cache):
    x, w = np.ones((1, 8, 500), np.float32), np.ones((8, 8, 5), np.float32)
    with fc.profile() as before:
        fc.causal_conv1d(x, w)
    fc.tune.tune([{"x_shape": (1, 8, 4096 + 4), "w_shape": (8, 8, 5)}], QUICK)
    with fc.profile() as after:
        fc.causal_conv1d(x, w)
    assert {row.kernel for row in before.rows} == {row.kernel for row in after.rows}


@pytest.mark.parametrize(("problem", "error", "words"), [
    (3, TypeError, r"problems\[1\] must be a mapping"),
    ({"x_shape": X_SHAPE}, ValueError, r"problems\[1\] must have 'w_shape'"),
    ({**PROBLEM, "strid": 2}, ValueError, r"problems\[1\] may have .*got 'strid'"),
    ({**PROBLEM, "stride": -1}, ValueError, r"problems\[1\]: stride"),
    ({**PROBLEM, "x_shape": (1, 7, 9, 9)}, ValueError, r"problems\[1\]: x must have 8 channels"),
    ({**PROBLEM, "dtype": "int8"}, TypeError, r"problems\[1\]: dtype"),
])  # fmt: skip
def test_bad_problems_are_named_before_anything_runs(cache, problem, error, words):
    with pytest.raises(error, match=words):
        fc.tune.tune([PROBLEM, problem], QUICK)
    assert not cache.exists()


# The command


def test_command(cache, tmp_path, capsys):
    shapes = tmp_path / "shapes.json"
    shapes.write_text(json.dumps([PROBLEM, {**PROBLEM, "layout": "NHWC", "x_shape": [20, 20, 8]}]))
    assert main(["tune", str(shapes), "--seconds", str(QUICK), "--json"]) == 0
    out, err = capsys.readouterr()
    assert [row["x_shape"] for row in json.loads(out)] == [[1, 8, 20, 20], [20, 20, 8]]
    assert err.startswith("1/2 1x8x20x20 8x8x3x3 ")
    assert main(["tune", str(shapes), "--seconds", str(QUICK)]) == 0
    assert "1x8x20x20" in capsys.readouterr().out
    shared = str(tmp_path / "shared.json")
    assert main(["tune", "--export", shared]) == 0
    assert "2 choices" in capsys.readouterr().out
    assert main(["tune", "--clear"]) == 0
    assert not explain().tuned
    assert main(["tune", "--import", shared, "--json"]) == 0
    assert "2" in capsys.readouterr().out
    assert explain().tuned


@pytest.mark.parametrize("content", ["", "{}", "[]", "[3]", '[{"x_shape": [1, 2, 3]}]'])
def test_command_refuses(tmp_path, capsys, content):
    shapes = tmp_path / "shapes.json"
    shapes.write_text(content)
    assert main(["tune", str(shapes)]) == 2
    assert capsys.readouterr().err.startswith("fastconv tune: error: ")
    assert main(["tune", "--import", str(shapes)]) == 2
