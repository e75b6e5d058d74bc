"""SciPy's own tests of the functions fastconv.signal has, run on fastconv.

They come in SciPy's wheel. A child process runs them with fastconv in SciPy's places
(swapped.py); what fails there is run once more on SciPy itself, and may not pass.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import scipy

HERE = Path(__file__).parent
MODULES = ("test_signaltools", "test_upfirdn", "test_savitzky_golay")
# Tests that ask for what fastconv does otherwise on purpose.
DESELECTED = {
    "test_fft_nan": "wants a warning that a NaN spoils all of an FFT's result; here it stays local",
}
TIMEOUT_SECONDS = 1500


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly",
        "-rf", "--tb=short", "-W", "ignore::pytest.PytestUnknownMarkWarning", *arguments,
    ]  # fmt: skip
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False,
        timeout=TIMEOUT_SECONDS,
    )  # fmt: skip


def failures(output):
    return set(re.findall(r"^(?:FAILED|ERROR) (?:\S*?)::(\S+)", output, re.MULTILINE))


@pytest.mark.parametrize("name", MODULES)
def test_scipy_suite(name, tmp_path):
    tests = Path(scipy.__file__).parent / "signal" / "tests" / f"{name}.py"
    if not tests.exists():
        pytest.skip("this SciPy was installed without its tests")
    module = ["--pyargs", f"scipy.signal.tests.{name}"]
    deselected = "not (" + " or ".join(DESELECTED) + ")"
    done = run(tmp_path, "-p", "swapped", "-k", deselected, *module)
    assert re.search(r"\d+ passed", done.stdout), done.stdout[-3000:] + done.stderr[-3000:]
    failed = failures(done.stdout)
    if done.returncode == 0:
        return
    again = run(tmp_path, *module)
    ours = failed - failures(again.stdout)
    assert not ours, f"pass with SciPy itself: {sorted(ours)}\n{done.stdout[-6000:]}"
    assert failed, done.stdout[-3000:] + done.stderr[-3000:]
