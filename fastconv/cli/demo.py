"""``fastconv demo``: photographs filtered, a layer of every kind, all of it next to SciPy.

Prints a table (or JSON) and saves a contact sheet. A result that differs from SciPy's by more than
TOLERANCE of the largest output is marked and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastconv.cli import EXIT_DONE, EXIT_WRONG_RESULT, CommandError
from fastconv.cli.table import Column, Section, milliseconds, print_table, progress, shape

if TYPE_CHECKING:
    import numpy as np

    from fastconv.cli.measure import Measurement, Workload
    from fastconv.cli.pictures import Picture

    Results = Mapping[str, tuple[Measurement, np.ndarray]]

__all__ = ["add_parser"]

# Two float32 sums of a few thousand terms, one of them through SciPy's FFT.
TOLERANCE = 2e-5
PICTURES = 3
LONGEST_SIDE, LONGEST_SIDE_QUICK = 1024, 256
BUDGET_SECONDS, BUDGET_SECONDS_QUICK = 0.25, 0.05
COLUMNS = (
    Column(""),
    Column("input"),
    Column("weight"),
    Column("algorithm"),
    Column("kernel"),
    Column("ms", right=True),
    Column("GFLOP/s", right=True),
    Column("SciPy ms", right=True),
    Column("speed-up", right=True),
    Column("difference", right=True),
)


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its arguments to the command line's parser."""
    parser = verbs.add_parser(
        "demo",
        help="filter photographs, run a layer of every kind, compare with SciPy",
        description="Blurs, sharpens, finds edges and applies a Gabor bank to photographs, runs "
        "one convolution layer of every kind on the first of them, times all of it next to SciPy, "
        "prints a table and saves a contact sheet.",
    )
    parser.add_argument(
        "pictures",
        nargs="*",
        metavar="PICTURE",
        help="picture files; without any, scikit-image's samples or the one fastconv carries",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("contact_sheet.png"),
        metavar="FILE",
        help="where to save the contact sheet (default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer repeats")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads for fastconv and for SciPy's FFTs"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.set_defaults(run=run)


def _load(paths: Sequence[str], quick: bool) -> list[Picture]:
    from fastconv.cli import pictures

    longest = LONGEST_SIDE_QUICK if quick else LONGEST_SIDE
    try:
        if paths:
            return [pictures.read(path, longest) for path in paths]
        return pictures.default_pictures(1 if quick else PICTURES, longest)
    except pictures.PictureError as error:
        raise CommandError(str(error)) from error


def _measure_all(
    pictures: Sequence[Picture], quick: bool
) -> tuple[list[tuple[Picture, Results]], Results]:
    """Every filter on every picture, then every layer on the first."""
    from fastconv.cli.filters import picture_filters
    from fastconv.cli.layers import layers, prepare
    from fastconv.cli.measure import measure

    budget = BUDGET_SECONDS_QUICK if quick else BUDGET_SECONDS
    per_picture = [(picture, picture_filters(picture)) for picture in pictures]
    layer_work = layers(pictures[0].name, prepare(pictures[0], quick))
    total = len(layer_work) + sum(len(work) for _, work in per_picture)
    with progress(total) as step:

        def results(work: Mapping[str, Workload], of: str) -> Results:
            done = {}
            for key, workload in work.items():
                step(f"{workload.name}{of}")
                done[key] = measure(workload, budget)
            return done

        filtered = [(p, results(work, f" of {p.name}")) for p, work in per_picture]
        return filtered, results(layer_work, "")


def _mean_speedup(measurements: Sequence[Measurement]) -> float:
    """The geometric mean, which is the same whichever of the two is the unit."""
    return math.exp(sum(math.log(m.speedup) for m in measurements) / len(measurements))


def _row(measurement: Measurement) -> list[str]:
    wrong = "" if measurement.relative_difference <= TOLERANCE else " WRONG"
    return [
        measurement.name,
        shape(measurement.input_shape),
        shape(measurement.weight_shape),
        measurement.algorithm,
        measurement.kernel,
        milliseconds(measurement.milliseconds),
        f"{measurement.gflops:.1f}",
        milliseconds(measurement.scipy_milliseconds),
        f"{measurement.speedup:.1f}x",
        f"{measurement.relative_difference:.0e}{wrong}",
    ]


def _picture_heading(picture: Picture) -> str:
    rows, columns = picture.pixels.shape[1:]
    text = f"{picture.name} ({picture.source}), {columns}x{rows} pixels"
    if picture.reduced_from is not None:
        text += f", reduced from {picture.reduced_from[1]}x{picture.reduced_from[0]}"
    return text


def _print_report(
    filtered: Sequence[tuple[Picture, Results]], layers: Results, summary: str
) -> None:
    sections = [
        Section(_picture_heading(picture), [_row(m) for m, _ in results.values()])
        for picture, results in filtered
    ]
    sections.append(
        Section(f"layers, on {filtered[0][0].name}", [_row(m) for m, _ in layers.values()])
    )
    print_table(COLUMNS, sections)
    print()
    print(summary)
    print("difference: the largest, over the largest output. SciPy's side of it is")
    calls: dict[str, list[str]] = {}
    for _, results in (filtered[0], (None, layers)):
        for measurement, _ in results.values():
            calls.setdefault(measurement.scipy_call, []).append(measurement.name)
    for call, names in calls.items():
        print(f"  {call}: {'; '.join(names)}")


def _save_sheet(path: Path, *parts: object) -> str | None:
    """Why the contact sheet was not saved, or None."""
    from fastconv.cli import contact_sheet

    try:
        contact_sheet.save(path, *parts)
    except ImportError as error:
        return f"no contact sheet: it needs matplotlib (pip install matplotlib): {error}"
    except (OSError, ValueError) as error:
        raise CommandError(f"--out {path}: {error}") from error
    return None


def _json(
    filtered: Sequence[tuple[Picture, Results]],
    layers: Results,
    threads: int,
    sheet: Path | None,
    taken: float,
) -> dict[str, object]:
    import scipy

    import fastconv as fc

    rows = [m for _, results in filtered for m, _ in results.values()]
    rows += [m for m, _ in layers.values()]
    return {
        "versions": {"fastconv": fc.__version__, "scipy": scipy.__version__},
        "threads": threads,
        "tolerance": TOLERANCE,
        "pictures": [
            {
                "name": picture.name,
                "source": picture.source,
                "shape": picture.pixels.shape,
                "reduced_from": picture.reduced_from,
            }
            for picture, _ in filtered
        ],
        "rows": [m.as_dict() for m in rows],
        "geometric_mean_speedup": _mean_speedup(rows),
        "contact_sheet": None if sheet is None else str(sheet),
        "seconds": taken,
    }


def _with_threads(count: int | None, work: Callable[[], int]) -> int:
    """Run `work` with `count` threads in fastconv and in SciPy's FFTs, then set both back."""
    import scipy.fft

    import fastconv as fc

    before = fc.get_num_threads()
    try:
        if count is not None:
            fc.set_num_threads(count)
        with scipy.fft.set_workers(fc.get_num_threads()):
            return work()
    finally:
        fc.set_num_threads(before)


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastconv demo``; returns the exit code."""
    if options.threads is not None and options.threads < 1:
        raise CommandError(f"--threads {options.threads}: wanted 1 or more")
    if not options.out.parent.is_dir():
        raise CommandError(f"--out {options.out}: no directory {options.out.parent}")
    pictures = _load(options.pictures, options.quick)
    return _with_threads(options.threads, lambda: _run(options, pictures))


def _run(options: argparse.Namespace, pictures: Sequence[Picture]) -> int:
    import fastconv as fc

    begin = time.perf_counter()
    filtered, layers = _measure_all(pictures, options.quick)
    measurements = [m for _, results in filtered for m, _ in results.values()]
    measurements += [m for m, _ in layers.values()]
    threads = fc.get_num_threads()
    speedup = _mean_speedup(measurements)
    summary = (
        f"float32, {threads} thread{'' if threads == 1 else 's'}: "
        f"{speedup:.1f} times as fast as SciPy (geometric mean of {len(measurements)})"
    )
    missing = _save_sheet(options.out, filtered, layers, summary)
    sheet = None if missing else options.out
    if options.json:
        taken = time.perf_counter() - begin
        print(json.dumps(_json(filtered, layers, threads, sheet, taken), indent=1))
    else:
        _print_report(filtered, layers, summary)
        if sheet is not None:
            print(f"contact sheet: {sheet}")
    if missing:
        print(f"fastconv demo: {missing}", file=sys.stderr)
    wrong = [m for m in measurements if not m.relative_difference <= TOLERANCE]
    for m in wrong:
        print(
            f"fastconv demo: {m.name} on {m.picture} differs from SciPy by "
            f"{m.relative_difference:.1e} of the largest output; the limit is {TOLERANCE:g}",
            file=sys.stderr,
        )
    return EXIT_WRONG_RESULT if wrong else EXIT_DONE
