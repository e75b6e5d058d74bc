"""The worker threads and their tasks, from C, under the thread sanitizer where there is one."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "fastconv" / "csrc"
INCLUDE = HERE.parents[1] / "include"
# Each program, and the files of the core that it is made of.
PROGRAMS = {
    "workers": ("workers.c",),
    "tasks": ("threads.c", "workers.c", "error.c", "workspace.c"),
}
COMPILER = shutil.which("cc") or shutil.which("gcc")


@pytest.mark.skipif(COMPILER is None or not CORE.exists(), reason="needs a C compiler, the sources")
@pytest.mark.parametrize("flags", [["-O2"], ["-O1", "-g", "-fsanitize=thread"]], ids=["", "tsan"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_task_runs_once(tmp_path, name, flags):
    program = tmp_path / name
    sources = [str(HERE / f"{name}.c"), *(str(CORE / source) for source in PROGRAMS[name])]
    options = ["-std=gnu11", "-DFC_OPENMP=0", *flags, f"-I{CORE}", f"-I{INCLUDE}"]
    command = [COMPILER, *options, *sources, "-lpthread", "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode and "-fsanitize=thread" in flags:
        pytest.skip("the compiler has no thread sanitizer")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program], capture_output=True, text=True, timeout=300, check=False)
    if "unexpected memory mapping" in ran.stderr:
        pytest.skip("the thread sanitizer does not run on this kernel")
    assert ran.returncode == 0, ran.stderr
