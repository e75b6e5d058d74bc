"""The machine's rates: measured once, kept in one file that all processes use, else defaults."""

import json
import os
import subprocess
import sys
import warnings

import pytest

import fastconv as fc
from fastconv import _calibration, _core, _planning

DEFAULTS = _core.rates_used()  # conftest.py allows no others
PLAN = """
import fastconv as fc
from fastconv import _calibration, _core
assert _calibration.source is None
fc.explain((1, 3, 8, 8), (4, 3, 3, 3))
print(_calibration.source)
print(sorted(_core.rates_used().items()))
"""


@pytest.fixture
def unsettled(monkeypatch, tmp_path):
    """As in a process that has planned nothing, with a cache folder of its own."""
    monkeypatch.setenv("FASTCONV_CALIBRATE", "1")
    monkeypatch.setenv("FASTCONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_calibration, "source", None)
    yield tmp_path / "cache"
    _core.use_rates(DEFAULTS)
    _planning.find_plan.cache_clear()


def again():
    """The next process."""
    _core.use_rates(DEFAULTS)
    _calibration.source = None
    _calibration.settle()


def no_measurement():
    raise AssertionError("measured")


def run(code, folder, **variables):
    environment = {**os.environ, "FASTCONV_CALIBRATE": "1", "FASTCONV_CACHE": str(folder)}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env={**environment, **variables}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def outcome(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


@pytest.mark.parametrize(
    ("measured", "wanted"),
    [(100, 100), (118, 100), (119.5, 141.42), (84.5, 100), (83.5, 70.71), (1e9, 400), (1e-9, 25)],
)
def test_grid(measured, wanted):
    assert _calibration.on_grid(measured, 100.0) == pytest.approx(wanted, rel=1e-3)


def test_rates_are_measured_once(unsettled, monkeypatch):
    fc.explain((1, 3, 8, 8), (4, 3, 3, 3))
    path = _calibration.file_path()
    assert _calibration.source == str(path)
    assert [entry.name for entry in unsettled.iterdir()] == [path.name]
    data = json.loads(path.read_text())
    assert data["cpu"] == _core.cpu()["brand"]
    assert data["isa"] == _core.cpu()["isa"]
    used = _core.rates_used()
    for name, rate in data["rates"].items():
        assert used[name] == pytest.approx(rate)
        assert rate == pytest.approx(_calibration.on_grid(data["measured"][name], DEFAULTS[name]))
    assert {"fma_flops", "l2_bytes", "l3_bytes"} <= data["rates"].keys()
    monkeypatch.setattr(_core, "calibrate_rates", no_measurement)
    fc.explain((1, 3, 9, 9), (4, 3, 3, 3))
    again()
    assert _core.rates_used() == pytest.approx(used)
    assert _calibration.source == str(path)


def test_rates_of_the_file_are_used(unsettled):
    _calibration.settle()
    path = _calibration.file_path()
    data = json.loads(path.read_text())
    problem = (1, 64, 28, 28), (64, 64, 3, 3)
    data["rates"] = {"fma_flops": DEFAULTS["fma_flops"]}
    path.write_text(json.dumps(data))
    again()
    seconds = fc.explain(*problem, algorithm="gemm").estimated_seconds
    data["rates"] = {"fma_flops": DEFAULTS["fma_flops"] / 2}
    path.write_text(json.dumps(data))
    again()
    assert fc.explain(*problem, algorithm="gemm").estimated_seconds > 1.9 * seconds
    assert _core.rates_used()["l3_bytes"] == DEFAULTS["l3_bytes"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: "{",
        lambda data: "[]",
        lambda data: json.dumps({**data, "cpu": "another"}),
        lambda data: json.dumps({**data, "rates": {"fma_flops": -1.0}}),
        lambda data: json.dumps({**data, "rates": {"fma_flops": "fast"}}),
        lambda data: json.dumps({**data, "rates": {"fma_flops": float("nan")}}),
        lambda data: json.dumps({**data, "rates": {"speed": 1.0}}),
        lambda data: json.dumps({**data, "rates": None}),
        lambda data: " " * (1 << 17),
    ],
)
def test_damaged_file_is_put_aside_and_measured_again(unsettled, damage):
    _calibration.settle()
    path = _calibration.file_path()
    text = damage(json.loads(path.read_text()))
    path.write_text(text)
    with pytest.warns(RuntimeWarning, match="measured again"):
        again()
    assert _calibration.source == str(path)
    assert path.with_name(path.name + ".bad").read_text() == text
    assert "rates" in json.loads(path.read_text())


def test_a_warning_made_an_error_leaves_defaults(unsettled):
    unsettled.mkdir()
    _calibration.file_path().write_text("{")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            _calibration.settle()
    assert _calibration.source == "defaults"
    assert _core.rates_used() == pytest.approx(DEFAULTS)


def test_no_folder_no_measurement(unsettled, monkeypatch):
    unsettled.write_text("a file where the folder should be")
    monkeypatch.setattr(_core, "calibrate_rates", no_measurement)
    fc.explain((1, 3, 8, 8), (4, 3, 3, 3))
    assert _calibration.source.startswith("defaults: ")
    assert _core.rates_used() == pytest.approx(DEFAULTS)


def test_folder_that_cannot_be_written(unsettled, monkeypatch):
    unsettled.mkdir()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_calibration.tempfile, "mkstemp", refuse)  # root may write anywhere
    monkeypatch.setattr(_core, "calibrate_rates", no_measurement)
    _calibration.settle()
    assert "cannot be written (Permission denied)" in _calibration.source


def test_link_refused_leaves_nothing_behind(unsettled, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(_calibration.os, "link", refuse)
    _calibration.settle()
    assert _calibration.source.startswith("defaults: ")
    assert _core.rates_used() == pytest.approx(DEFAULTS)
    assert list(unsettled.iterdir()) == []


def test_switched_off(unsettled, monkeypatch):
    monkeypatch.setenv("FASTCONV_CALIBRATE", "0")
    fc.explain((1, 3, 8, 8), (4, 3, 3, 3))
    assert _calibration.source == "defaults: FASTCONV_CALIBRATE=0"
    assert not unsettled.exists()


def test_the_first_of_two_wins(unsettled, monkeypatch):
    """What happens when another process puts its file in place while this one measures."""
    _calibration.settle()
    path = _calibration.file_path()
    theirs = json.loads(path.read_text())
    theirs["rates"] = {name: rate / 2 for name, rate in theirs["rates"].items()}
    path.unlink()
    measure = _core.calibrate_rates

    def slower():
        path.write_text(json.dumps(theirs))
        return measure()

    monkeypatch.setattr(_core, "calibrate_rates", slower)
    again()
    assert _core.rates_used()["fma_flops"] == pytest.approx(theirs["rates"]["fma_flops"])
    assert [entry.name for entry in unsettled.iterdir()] == [path.name]


def test_processes_share_one_file(tmp_path):
    together = [run(PLAN, tmp_path) for _ in range(4)]
    results = {outcome(process)[0] for process in together}
    results.add(outcome(run(PLAN, tmp_path))[0])
    assert len(results) == 1
    assert str(tmp_path) in results.pop()
    assert len(list(tmp_path.iterdir())) == 1


def test_import_reads_and_measures_nothing(tmp_path):
    outcome(run("import fastconv, fastconv.conv, fastconv.functional", tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_forked_child_settles(tmp_path):
    code = """
import os, sys, threading
import fastconv as fc
from fastconv import _calibration
held = threading.Event()
def hold():
    with _calibration._lock:
        held.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    fc.explain((1, 3, 8, 8), (4, 3, 3, 3))
    os._exit(_calibration.source is None)
sys.stdout.write(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
sys.stdout.flush()
os._exit(0)
"""
    assert outcome(run(code, tmp_path))[0] == "0"


def test_unknown_value_warns(tmp_path):
    _, err = outcome(run(PLAN, tmp_path, FASTCONV_CALIBRATE="maybe"))
    assert "FASTCONV_CALIBRATE=maybe is unknown and ignored; known: 0 1" in err


def test_show_runtime_names_rates(capsys):
    runtime = fc.show_runtime()
    assert runtime["rates"].keys() == DEFAULTS.keys()
    assert runtime["rates_from"] == "defaults: FASTCONV_CALIBRATE=0"
    assert "rates_from" in capsys.readouterr().out
