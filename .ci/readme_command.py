"""Print the fenced command that follows `<!-- command: NAME -->` in a README.

Usage: readme_command.py README.md NAME
"""

import re
import sys
from pathlib import Path


def main(path, name):
    text = Path(path).read_text(encoding="utf-8")
    marker = rf"<!--\s*command:\s*{re.escape(name)}\s*-->"
    blocks = re.findall(marker + r"\s*\n```[a-z]*\n(.*?)\n```", text, flags=re.DOTALL)
    if len(blocks) != 1:
        sys.exit(f"{path}: wanted one fenced block after the marker of {name!r}, got {len(blocks)}")
    lines = [line for line in blocks[0].splitlines() if line.strip()]
    if len(lines) != 1:
        sys.exit(f"{path}: the {name!r} command must be one line, got {len(lines)}")
    print(lines[0].strip().removeprefix("$ "))


if __name__ == "__main__":
    main(*sys.argv[1:])
