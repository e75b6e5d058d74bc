"""Tables and progress for the command line.

A table is a list of columns and a list of sections, each a heading (or None) and rows of strings.
On a terminal with rich installed it is drawn with rich, which honours NO_COLOR; anywhere else, and
where the terminal is too narrow for it, it is plain text aligned by spaces.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

__all__ = ["Column", "Section", "milliseconds", "print_table", "progress", "shape"]


@dataclass(frozen=True)
class Column:
    """A column's title and whether its cells are aligned to the right, as numbers are."""

    title: str
    right: bool = False


@dataclass(frozen=True)
class Section:
    """Rows that belong together, under a heading of their own."""

    heading: str | None
    rows: Sequence[Sequence[str]]


def shape(sizes: Sequence[int]) -> str:
    """``(1, 64, 56, 56)`` as ``1x64x56x56``."""
    return "x".join(str(size) for size in sizes)


def milliseconds(value: float) -> str:
    """Milliseconds with three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _widths(columns: Sequence[Column], sections: Sequence[Section]) -> list[int]:
    widths = [len(column.title) for column in columns]
    for section in sections:
        for row in section.rows:
            widths = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]
    return widths


def _print_plain(columns: Sequence[Column], sections: Sequence[Section], file: IO[str]) -> None:
    widths = _widths(columns, sections)

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        ).rstrip()

    print(line([column.title for column in columns]), file=file)
    print(line(["-" * width for width in widths]), file=file)
    for section in sections:
        if section.heading is not None:
            print(section.heading, file=file)
        for row in section.rows:
            print(line(row), file=file)


def _rich_wanted(stream: IO[str]) -> bool:
    return (
        stream.isatty()
        and os.environ.get("TERM") != "dumb"
        and importlib.util.find_spec("rich") is not None
    )


def _print_rich(columns: Sequence[Column], sections: Sequence[Section], file: IO[str]) -> bool:
    """Draw the table with rich; False when the terminal is too narrow for it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file)
    widths = _widths(columns, sections)
    if sum(widths) + 2 * len(columns) > console.width:
        return False

    def table(rows: Sequence[Sequence[str]], show_header: bool) -> Table:
        # A heading is no cell, so each section is a table of its own, all with the same widths.
        grid = Table(box=None, show_header=show_header, pad_edge=False, padding=(0, 1))
        for column, width in zip(columns, widths, strict=True):
            justify = "right" if column.right else "left"
            grid.add_column(column.title, justify=justify, no_wrap=True, width=width)
        for row in rows:
            # Text, so that a bracket in a file's name is not taken for markup.
            grid.add_row(*(Text(cell) for cell in row))
        return grid

    console.print(table([], show_header=True))
    rule = "─" if console.encoding.startswith("utf") else "-"
    console.print(Text(rule * (sum(widths) + 2 * len(widths) - 2)))
    for section in sections:
        if section.heading is not None:
            console.print(Text(section.heading, style="bold cyan"), soft_wrap=True)
        console.print(table(section.rows, show_header=False))
    return True


def print_table(
    columns: Sequence[Column], sections: Sequence[Section], file: IO[str] | None = None
) -> None:
    """Print the sections to `file` (standard output unless given)."""
    file = sys.stdout if file is None else file
    if not (_rich_wanted(file) and _print_rich(columns, sections, file)):
        _print_plain(columns, sections, file)


@contextlib.contextmanager
def progress(total: int, plain: bool = False) -> Iterator[Callable[[str], None]]:
    """A progress bar on standard error, when that is a terminal and rich is installed.

    Elsewhere nothing, or with `plain` a line for each step. Yields a function to call with the name
    of each of the `total` steps as it starts.
    """
    if not _rich_wanted(sys.stderr):
        numbers = itertools.count(1)

        def line(name: str) -> None:
            if plain:
                print(f"{next(numbers)}/{total} {name}", file=sys.stderr, flush=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=total)
        begun = 0

        def step(name: str) -> None:
            nonlocal begun
            bar.update(task, description=name, completed=begun)
            begun += 1

        yield step
