"""Run mypy's stubtest on every module of the package that has a stub.

A module whose types stand in its source has nothing to compare, and stubtest would report the
names it imports for type checking only, so these modules are passed over.

Usage: check_stubs.py PROJECT_FOLDER
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# What mypy thinks of the implementation is not stubtest's business.
CONFIG = "[mypy]\nignore_errors = True\nignore_missing_imports = True\n"


def module_name(path, project):
    parts = path.relative_to(project).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def main(folder):
    project = Path(folder).resolve()
    stubs = {module_name(path, project) for path in project.glob("fastconv/**/*.pyi")}
    sources = {module_name(path, project) for path in project.glob("fastconv/**/*.py")}
    if "fastconv" not in stubs:
        sys.exit("fastconv/__init__.pyi is missing")
    unstubbed = (sources | {"fastconv._core"}) - stubs
    with tempfile.TemporaryDirectory(prefix="fastconv-stubs-") as scratch:
        config, passed_over = Path(scratch, "mypy.ini"), Path(scratch, "passed_over.txt")
        config.write_text(CONFIG)
        passed_over.write_text(
            "".join(rf"{re.escape(name)}(\..*)?" + "\n" for name in sorted(unstubbed))
        )
        command = [sys.executable, "-m", "mypy.stubtest", "fastconv", "--concise"]
        command += ["--allowlist", str(passed_over), "--ignore-unused-allowlist"]
        command += ["--mypy-config-file", str(config)]
        environment = {**os.environ, "PYTHONPATH": str(project)}
        done = subprocess.run(command, cwd=project, env=environment, check=False)
    print(f"stubtest compared {len(stubs)} stubs: {', '.join(sorted(stubs))}")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
