"""Print the requirements an extra of pyproject.toml stands for, build requirements included.

Usage: requirements.py pyproject.toml EXTRA
"""

import re
import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib


def expand(project, extra):
    own = re.compile(rf"{re.escape(project['name'])}\[(.+)\]$")
    for requirement in project["optional-dependencies"][extra]:
        match = own.match(requirement)
        if match:
            for other in match[1].split(","):
                yield from expand(project, other.strip())
        else:
            yield requirement


def main(path, extra):
    settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    project = settings["project"]
    wanted = [*settings["build-system"]["requires"], *project["dependencies"]]
    print("\n".join(dict.fromkeys([*wanted, *expand(project, extra)])))


if __name__ == "__main__":
    main(*sys.argv[1:])
