"""The C interface from a C program: the example compiles cleanly and prints its figures."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fastconv import _core

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "build" / "libfastconv.a"
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

pytestmark = [
    pytest.mark.skipif(not LIBRARY.exists(), reason="no static library: not built in this tree"),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler"),
]


def test_example(tmp_path):
    program = tmp_path / "convolve"
    openmp = ["-fopenmp"] if _core.cpu()["openmp"] else []
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    sources = [f"-I{ROOT / 'include'}", ROOT / "examples" / "c" / "convolve.c", LIBRARY]
    subprocess.run(
        [COMPILER, *strict, *sources, *openmp, "-lpthread", "-lm", "-o", program], check=True
    )
    done = subprocess.run([program], check=True, capture_output=True, text=True)
    first, *rows, refused = done.stdout.splitlines()
    assert first.startswith(f"fastconv {_core.version()}, ")
    assert rows == ["12 12 17", "10 17 19", "9 6 14"]
    assert refused == "refused: weight: kernel width is 0, wanted 1 or more"
