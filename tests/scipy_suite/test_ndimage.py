"""scipy.ndimage's own tests of these functions, run against ours: what passes there passes here."""

import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("scipy.ndimage.tests") is None, reason="this SciPy has no tests"
)
HERE = Path(__file__).parent
MODULES = ("test_filters", "test_ni_support", "test_datatypes")


def outcomes(folder, *options):
    """Outcome of every test of the modules: passed, skipped, failure or error."""
    report = folder / "report.xml"
    modules = [f"scipy.ndimage.tests.{name}" for name in MODULES]
    paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull,
         f"--rootdir={folder}", f"--junitxml={report}", *options, "--pyargs", *modules],
        cwd=folder, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert report.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case} & {"skipped", "failure", "error"}
        name = f"{case.get('classname')}.{case.get('name')}"
        text = "".join(child.text or "" for child in case if child.tag in kinds)
        found[name] = (min(kinds, default="passed"), text[-1500:])
    return found


def test_ndimage_passes_scipys_tests(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    theirs = outcomes(tmp_path / "theirs")
    ours = outcomes(tmp_path / "ours", "-p", "swap_ndimage")
    passed = {name for name, (outcome, _) in theirs.items() if outcome == "passed"}
    assert len(passed) > 300
    lost = {name: ours.get(name) for name in passed if ours.get(name, ("gone",))[0] != "passed"}
    assert not lost, "\n\n".join(f"{name}: {outcome}" for name, outcome in list(lost.items())[:10])
