"""The suite of the SciPy drop-ins as one table: lines, pictures and volumes, one thread.

    taskset -c 0 python bench/drop_ins.py [--cases REGEX] [--rounds N] [--limit SECONDS]
        [--json FILE] [--table FILE]

The cases are those of test_signal.py and image_filters.py. In each round every runner of a case
takes its turn, once untimed and then as often as fills its share; the figure is the median over the
rounds of processor time per call. Results are compared before anything is timed. A call of a third
of a second or more is timed once. SciPy's direct form is left out where it is estimated to take
longer than ``--limit``, which its cell says. ``--json`` adds the rows to those the file holds, so a
long suite can be measured in parts; ``--table`` prints a file's rows without measuring.

OpenCV rounds 8-bit results to nearest, from weights of a few bits; SciPy and fastconv truncate.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import image_filters
import test_signal

import fastconv as fc

SHARE = 0.004  # seconds of a runner in a round
SLOW = 0.3
FFT_FORMS = ("scipy.fftconvolve", "scipy.oaconvolve")
COLUMNS = ("scipy.direct", *FFT_FORMS, "numpy.convolve", "opencv", "skimage")
SHORT_LINE, SHORT_KERNEL = 4000, 65
# What the suite is to show: ratios over all cases that have the other runner, and the value wanted.
TARGETS = (
    ("SciPy's direct forms, geometric mean", 15.0),
    ("the better of fftconvolve and oaconvolve, geometric mean", 1.5),
    ("OpenCV, geometric mean", 1.2),
    ("OpenCV, least", 0.8),
    ("np.convolve, short lines, least", 1.0),
)


class Job(NamedTuple):
    name: str
    group: str
    seconds: float  # SciPy's direct form, estimated
    prepare: Callable[[bool], tuple[dict[str, Callable], Callable[[str, Any], None]]]


def jobs() -> Iterator[Job]:
    """Every case; `prepare` says whether SciPy's direct form is wanted too."""
    for name, case in test_signal.CASES.items():
        yield Job(name, f"signal, {name.split()[0]}s", case.seconds, case.prepare)
    for picture in image_filters.all_cases():
        kind = "pictures" if len(picture.shape) == 2 else "volumes"
        group = f"ndimage, {kind} {picture.dtype}"
        yield Job(picture.name, group, picture.seconds, picture.prepare)


def timed(call: Callable, number: int) -> float:
    begin = time.process_time()
    for _ in range(number):
        call()
    return (time.process_time() - begin) / number


def measure(job: Job, rounds: int, limit: float) -> dict[str, float]:
    """Median seconds of each runner."""
    calls, check = job.prepare(job.seconds <= limit)
    numbers, seconds = {}, {}
    for name, call in calls.items():
        begin = time.process_time()
        result = call()
        first = time.process_time() - begin
        check(name, result)
        if first >= SLOW and not name.startswith("fastconv"):
            seconds[name] = [first]
        else:
            numbers[name] = max(int(SHARE / max(timed(call, 1), 1e-7)), 1)
            seconds[name] = []
    order = list(numbers)
    for _ in range(rounds):
        for name in order:
            if numbers[name] > 1:
                calls[name]()
            seconds[name].append(timed(calls[name], numbers[name]))
        order = order[1:] + order[:1]
    return {name: statistics.median(values) for name, values in seconds.items()}


def ratios_of(row: dict[str, float]) -> dict[str, float]:
    """Times of the others over fastconv's; the better FFT form under its own name."""
    own = next(value for name, value in row.items() if name.startswith("fastconv"))
    found = {name: row[name] / own for name in COLUMNS if name in row}
    forms = [row[name] / own for name in FFT_FORMS if name in row]
    return found | ({"fft": min(forms)} if forms else {})


def geometric_mean(values: Iterable[float]) -> float:
    logarithms = [math.log(value) for value in values]
    return math.exp(statistics.fmean(logarithms)) if logarithms else math.nan


def cells(row: dict[str, float], estimate: float) -> str:
    own = next(value for name, value in row.items() if name.startswith("fastconv"))
    found = [f"{own * 1e3:.4g}"]
    for name in COLUMNS:
        left_out = name == "scipy.direct" and name not in row
        text = f"({estimate:.0f} s)" if left_out else ""
        found.append(f"{row[name] * 1e3:.4g} ({row[name] / own:.2f})" if name in row else text)
    return " | ".join(found)


def is_short(name: str) -> bool:
    found = re.match(r"line (\d+) by (\d+)", name)
    return bool(found and int(found[1]) <= SHORT_LINE and int(found[2]) <= SHORT_KERNEL)


def summary(rows: dict[str, dict[str, float]], groups: dict[str, str]) -> None:
    ratios = {name: ratios_of(row) for name, row in rows.items()}
    kinds = ("scipy.direct", "fft", "opencv", "skimage")
    titles = ("SciPy direct", "better FFT form", "OpenCV", "scikit-image")
    print("\nGeometric mean of the others' time over fastconv's, least in brackets, cases:\n")
    print(f"| | {' | '.join(titles)} |\n|---|" + "---|" * len(titles))
    for group in [*dict.fromkeys(groups[name] for name in rows), "all"]:
        found = [group]
        for kind in kinds:
            values = [ratio[kind] for name, ratio in ratios.items()
                      if kind in ratio and group in (groups[name], "all")]  # fmt: skip
            text = (
                f"{geometric_mean(values):.2f} ({min(values):.2f}), {len(values)}" if values else ""
            )
            found.append(text)
        print(f"| {' | '.join(found)} |")
    over = [[ratio[kind] for ratio in ratios.values() if kind in ratio] for kind in kinds[:3]]
    short = [ratios[name]["numpy.convolve"] for name in rows if is_short(name)]
    figures = [
        *(geometric_mean(values) for values in over), min(over[2], default=math.nan),
        min(short, default=math.nan),
    ]  # fmt: skip
    print("\n| target | wanted | measured |\n|---|---|---|")
    for (title, wanted), figure in zip(TARGETS, figures, strict=True):
        print(f"| {title} | {wanted} | {figure:.2f} |")
    below = sorted((ratio["opencv"], name) for name, ratio in ratios.items()
                   if ratio.get("opencv", 1) < TARGETS[3][1])  # fmt: skip
    if below:
        print("\nBelow 0.8 of OpenCV: " + ", ".join(f"{name} {r:.2f}" for r, name in below))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", default="", help="only cases whose name this matches")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=5.0, help="seconds of a SciPy direct form")
    parser.add_argument("--json", type=Path, help="add the medians to those there")
    parser.add_argument("--table", type=Path, help="print the rows of such a file, measure nothing")
    arguments = parser.parse_args()
    fc.set_num_threads(1)
    everything = {job.name: job for job in jobs()}
    stored = arguments.table or arguments.json
    rows = json.loads(stored.read_text()) if stored and stored.exists() else {}
    wanted = re.compile(arguments.cases)
    print("| case | fastconv ms | " + " | ".join(f"{name} ms (ratio)" for name in COLUMNS) + " |")
    print("|---|---|" + "---|" * len(COLUMNS))
    for name, job in everything.items():
        if not wanted.search(name) or (arguments.table and name not in rows):
            continue
        if not arguments.table:
            rows[name] = measure(job, arguments.rounds, arguments.limit)
        print(f"| {name} | {cells(rows[name], job.seconds)} |", flush=True)
        if arguments.json and not arguments.table:
            arguments.json.write_text(json.dumps(rows, indent=1))
    shown = {name: row for name, row in rows.items() if wanted.search(name) and name in everything}
    if shown:
        summary(shown, {name: everything[name].group for name in shown})


if __name__ == "__main__":
    main()
