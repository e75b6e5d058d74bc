"""``fastconv tune``: measure the algorithms for the shapes in a file, and remember the fastest."""

from __future__ import annotations

import argparse
import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastconv.cli import EXIT_DONE, CommandError

__all__ = ["add_parser"]

EXAMPLE = '[{"x_shape": [1, 64, 56, 56], "w_shape": [64, 64, 3, 3], "padding": 1}]'


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"wanted a number of seconds above 0, got {text!r}")
    return seconds


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its arguments to the command line's parser."""
    parser = verbs.add_parser(
        "tune",
        help="measure the algorithms for given shapes, and use the fastest from now on",
        description="Measures every algorithm that can run the convolutions in a file, and keeps "
        "the fastest for every later program on this machine, in the folder FASTCONV_CACHE or the "
        "user's cache folder.",
        epilog=f"example of SHAPES.json: {EXAMPLE}, by the names of fastconv.explain's arguments",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("shapes", nargs="?", metavar="SHAPES.json", help="what to measure")
    what.add_argument("--export", metavar="FILE", help="write the choices known here to a file")
    what.add_argument("--import", dest="import_", metavar="FILE", help="use an exported file's")
    what.add_argument("--clear", action="store_true", help="forget every choice")
    parser.add_argument(
        "--seconds", type=_seconds, default=1.0, metavar="S", help="for each shape (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def _read(path: str) -> list[Any]:
    try:
        problems = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from error
    if not isinstance(problems, list) or not problems:
        raise CommandError(f"{path}: wanted a list of problems such as {EXAMPLE}")
    return problems


def _print(found: list[Any], as_json: bool) -> None:
    from fastconv.cli.table import Column, Section, milliseconds, print_table, shape

    if as_json:
        print(json.dumps([result._asdict() for result in found], indent=1))
        return
    titles = ("input", "weight", "details", "runs", "estimated")
    columns = [Column(title) for title in titles]
    columns += [Column(title, right=True) for title in ("ms", "gain")]
    rows = [
        [shape(r.x_shape), shape(r.weight_shape), r.details, r.algorithm, r.estimated,
         milliseconds(r.seconds[r.algorithm] * 1e3), f"{r.speedup:.2f}x"]
        for r in found
    ]  # fmt: skip
    print_table(columns, [Section(None, rows)])


def _done(text: str, count: int, options: argparse.Namespace) -> int:
    import fastconv as fc

    facts = {"choices": count, "file": str(fc.tune.path())}
    print(json.dumps(facts, indent=1) if options.json else text)
    return EXIT_DONE


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line each, without the source line they come from."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"fastconv tune: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastconv tune``; returns the exit code."""
    with _plain_warnings():
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    import fastconv as fc
    from fastconv.cli.table import progress

    try:
        if options.export:
            count = fc.tune.export(options.export)
            return _done(f"{count} choices written to {options.export}", count, options)
        if options.import_:
            count = fc.tune.import_(options.import_)
            return _done(f"{count} choices for this machine, in {fc.tune.path()}", count, options)
        if options.clear:
            fc.tune.clear()
            return _done(f"{fc.tune.path()} is gone", 0, options)
        problems = _read(options.shapes)
        with progress(len(problems), plain=True) as step:
            found = fc.tune.tune(problems, options.seconds, progress=step)
    except (OSError, TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
    _print(found, options.json)
    return EXIT_DONE
