"""Print the closing line of each pytest run whose output was kept, and their sum.

Usage: totals.py LOG_FOLDER
"""

import re
import sys
from pathlib import Path

SUMMARY = re.compile(r"^=* ?(.*\d+ (?:passed|failed|skipped|error).* in [\d.]+s.*?) ?=*$")


def main(folder):
    total = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for log in sorted(Path(folder).glob("*.log")):
        lines = [m[1] for line in log.read_text().splitlines() if (m := SUMMARY.match(line))]
        if not lines:
            continue
        print(f"{log.stem}: {lines[-1]}")
        for kind in total:
            total[kind] += sum(int(n) for n in re.findall(rf"(\d+) {kind}", lines[-1]))
    print(", ".join(f"{count} {kind}" for kind, count in total.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
