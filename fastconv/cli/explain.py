"""``fastconv explain``: which algorithm and kernel a convolution of these shapes would run."""

from __future__ import annotations

import argparse
import json
import re

from fastconv.cli import EXIT_DONE, CommandError

__all__ = ["add_parser"]

WORD_PADDINGS = ("same", "same_lower", "valid", "causal")


def _shape(text: str) -> tuple[int, ...]:
    """``1x64x56x56`` or ``1,64,56,56``."""
    if not re.fullmatch(r"\d+([x,]\d+)+", text):
        raise argparse.ArgumentTypeError(f"wanted sizes such as 1x64x56x56, got {text!r}")
    return tuple(int(size) for size in re.split("[x,]", text))


def _per_axis(text: str) -> int | tuple[int, ...]:
    """``2`` for every axis or ``2,1`` for each."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(
            f"wanted a number, or one for each axis such as 2,1; got {text!r}"
        )
    sizes = tuple(int(size) for size in text.split(","))
    return sizes[0] if len(sizes) == 1 else sizes


def _padding(text: str) -> str | int | tuple[int, ...]:
    if text in WORD_PADDINGS:
        return text
    try:
        return _per_axis(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or one of {', '.join(WORD_PADDINGS)}") from None


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its arguments to the command line's parser."""
    parser = verbs.add_parser(
        "explain",
        help="show what would run for a convolution of given shapes, and why",
        description="Shows the algorithm and kernel that would run for an input and a weight of "
        "these shapes, what it would cost, and why the others would not run.",
        epilog="example: fastconv explain 1x64x56x56 64x64x3x3 --padding 1",
    )
    parser.add_argument("x_shape", type=_shape, metavar="INPUT", help="such as 1x64x56x56")
    parser.add_argument("w_shape", type=_shape, metavar="WEIGHT", help="such as 64x64x3x3")
    parser.add_argument("--stride", type=_per_axis, default=1, metavar="N[,N..]")
    parser.add_argument(
        "--padding",
        type=_padding,
        default=0,
        metavar="N[,N..]|WORD",
        help=f"numbers, or one of {', '.join(WORD_PADDINGS)}",
    )
    parser.add_argument("--dilation", type=_per_axis, default=1, metavar="N[,N..]")
    parser.add_argument("--groups", type=int, default=1, metavar="N")
    parser.add_argument("--transposed", action="store_true", help="a transposed convolution")
    parser.add_argument("--output-padding", type=_per_axis, metavar="N[,N..]")
    parser.add_argument("--layout", help="such as NCHW (the default) or NHWC")
    parser.add_argument("--precision", choices=("highest", "high", "medium"))
    parser.add_argument("--algorithm", metavar="NAME", help="instead of the best one")
    parser.add_argument("--dtype", metavar="NAME", help="such as float32 (the default)")
    parser.add_argument("--padding-mode", metavar="NAME", help="such as zeros (the default)")
    parser.add_argument(
        "--functional", action="store_true", help="of a functional call, which packs its weights"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def _keywords(options: argparse.Namespace) -> dict[str, object]:
    """The keywords given, the rest being left to fastconv.explain's own defaults."""
    names = ("stride", "padding", "dilation", "groups")
    given = {name: getattr(options, name) for name in names}
    for name in (
        "transposed", "output_padding", "layout", "precision", "algorithm", "dtype",
        "padding_mode", "functional",
    ):  # fmt: skip
        value = getattr(options, name)
        if value:
            given[name] = value
    return given


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastconv explain``; returns the exit code."""
    import fastconv as fc

    try:
        plan = fc.explain(options.x_shape, options.w_shape, **_keywords(options))
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
    print(json.dumps(plan.as_dict(), indent=1) if options.json else plan)
    return EXIT_DONE
