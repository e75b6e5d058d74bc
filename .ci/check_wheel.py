"""Check what `python -m build` made: the wheel's size and content, and the sdist's sources.

Usage: check_wheel.py DIST_FOLDER
"""

import sys
import tarfile
import zipfile
from pathlib import Path

WHEEL_LIMIT_BYTES = 4_000_000


def only(folder, pattern):
    found = sorted(Path(folder).glob(pattern))
    if len(found) != 1:
        sys.exit(f"{folder}: wanted one {pattern}, found {len(found)}")
    return found[0]


def wheel_problems(path):
    size = path.stat().st_size
    print(f"{path.name}: {size:,} bytes of at most {WHEEL_LIMIT_BYTES:,}")
    if size >= WHEEL_LIMIT_BYTES:
        yield f"{path.name}: {size:,} bytes"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    for suffix in (".c", ".h", ".inc", ".pyx", ".pxd", ".pxi"):
        for name in names:
            if name.endswith(suffix):
                yield f"{path.name}: holds the source {name}"
    for wanted in ("fastconv/__init__.py", "fastconv/__init__.pyi", "fastconv/py.typed"):
        if wanted not in names:
            yield f"{path.name}: lacks {wanted}"
    if not any(name.startswith("fastconv/_core.") and name.endswith(".so") for name in names):
        yield f"{path.name}: lacks the extension module"
    for name in names:
        if name.split("/")[0] not in ("fastconv",) and ".dist-info/" not in name:
            yield f"{path.name}: holds {name} beside the package"


def sdist_problems(path, project):
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    print(f"{path.name}: {len(names)} entries")
    for pattern in ("fastconv/**/*", "include/**/*", "tests/**/*", ".ci/*", "LICENSE", "*.md"):
        for source in sorted(Path(project).glob(pattern)):
            name = source.relative_to(project).as_posix()
            built = source.suffix in (".so", ".pyc") or "__pycache__" in name
            if source.is_file() and not built and name not in names:
                yield f"{path.name}: lacks {name}"


def main(folder):
    project = Path(__file__).resolve().parent.parent
    wheel, sdist = only(folder, "*.whl"), only(folder, "*.tar.gz")
    problems = [*wheel_problems(wheel), *sdist_problems(sdist, project)]
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
