"""The environment variables of design.md section 6, each in a process of its own."""

import os
import subprocess
import sys

import pytest

from fastconv import _core

ISAS = ["scalar", "avx2", "avx512", "amx"]
VARIABLES = ("FASTCONV_ISA", "FASTCONV_NUM_THREADS", "OMP_NUM_THREADS", "FASTCONV_VERBOSE")


def python(code, **variables):
    """(stdout, stderr) of a fresh interpreter with only these of our variables set."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **variables},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout.strip(), done.stderr.strip()


KERNELS = (
    "from fastconv import _core;"
    "print(_core.cpu()['isa'], *sorted({n.split('.')[2] for n, ok in _core.kernels() if ok}))"
)
THREADS = "import fastconv as fc; print(fc.get_num_threads())"


@pytest.mark.parametrize("isa", ISAS)
def test_isa_is_the_widest_allowed(isa):
    found = _core.cpu()["isa_found"]
    if found not in ISAS or ISAS.index(isa) > ISAS.index(found):
        pytest.skip(f"this CPU or build has no {isa}")
    words, warning = python(KERNELS, FASTCONV_ISA=isa)
    assert words.split() == [isa, *sorted(ISAS[: ISAS.index(isa) + 1])]
    assert warning == ""


def test_isa_decides_what_runs():
    code = (
        "import numpy as np, fastconv as fc;"
        "print(fc.Conv(np.ones((8, 8, 3, 3), np.float32)).plan((1, 8, 32, 32)).kernel)"
    )
    assert python(code, FASTCONV_ISA="scalar")[0].endswith(".scalar")
    widest = _core.cpu()["isa_found"]
    allowed = ("." + widest, ".avx512") if widest == "amx" else "." + widest
    assert python(code)[0].endswith(allowed)


@pytest.mark.parametrize("value", ["sse9", "AVX2", "avx2,scalar", " scalar"])
def test_unknown_isa_warns(value):
    words, warning = python(KERNELS, FASTCONV_ISA=value)
    assert f"FASTCONV_ISA={value}" in warning
    assert "scalar" in warning, "lists what is known"
    assert words.split()[0] == _core.cpu()["isa_found"]


@pytest.mark.parametrize("value", ["1", "3", "64"])
def test_number_of_threads(value):
    assert python(THREADS, FASTCONV_NUM_THREADS=value) == (value, "")
    assert python(THREADS, FASTCONV_NUM_THREADS=value, OMP_NUM_THREADS="2") == (value, "")


def test_openmp_is_heard():
    assert python(THREADS, OMP_NUM_THREADS="1") == ("1", "")


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "4097", "99999999999999999999", "2 "])
def test_unknown_number_of_threads_warns(value):
    words, warning = python(THREADS, FASTCONV_NUM_THREADS=value)
    assert f"FASTCONV_NUM_THREADS={value}" in warning
    assert int(words) == int(python(THREADS)[0])


def test_empty_values_are_unset():
    assert python(KERNELS, FASTCONV_ISA="") == python(KERNELS)
    assert python(THREADS, FASTCONV_NUM_THREADS="") == python(THREADS)


def test_import_is_quiet_and_starts_no_thread():
    code = (
        "import sys, numpy; before = len(__import__('os').listdir('/proc/self/task'));"
        "import fastconv; assert 'scipy' not in sys.modules;"
        "print(len(__import__('os').listdir('/proc/self/task')) - before)"
    )
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("needs /proc")
    assert python(code) == ("0", "")


def test_isas_agree_on_the_answer():
    """Different bits are allowed between instruction sets, different answers are not."""
    code = (
        "import numpy as np, fastconv as fc; r = np.random.default_rng(0);"
        "x, w = r.standard_normal((1, 16, 20, 21)), r.standard_normal((8, 16, 3, 3));"
        "print(*np.round(fc.conv2d(x, w, padding=1).ravel()[::97], 9))"
    )
    answers = {python(code, FASTCONV_ISA=isa)[0] for isa in ISAS}
    assert len(answers) == 1
