"""``python -m fastconv``, also the console command ``fastconv``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from fastconv.cli import EXIT_BAD_ARGUMENTS, CommandError, demo, explain, info, tune

__all__ = ["main"]

VERBS = (demo, info, explain, tune)


def _parser() -> argparse.ArgumentParser:
    import fastconv

    parser = argparse.ArgumentParser(
        prog="fastconv", description="Convolutions on the CPU: try them, ask about them."
    )
    parser.add_argument("--version", action="version", version=f"fastconv {fastconv.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        verb.add_parser(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; ``sys.argv[1:]`` unless given.

    Returns
    -------
    int
        The exit code: 0 done, 1 a result was wrong, 2 bad arguments. Arguments that do not parse
        raise SystemExit(2), as argparse does.

    Examples
    --------
    >>> from fastconv.__main__ import main
    >>> main(["explain", "1x3x32x32", "8x3x3x3", "--json"])  # doctest: +ELLIPSIS
    {...
    0
    """
    options = _parser().parse_args(argv)
    try:
        code = options.run(options)
        sys.stdout.flush()
    except CommandError as error:
        print(f"fastconv {options.verb}: error: {error}", file=sys.stderr)
        return EXIT_BAD_ARGUMENTS
    except BrokenPipeError:
        # The reader left, as `| head` does. Give the interpreter's last flush somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    return code


if __name__ == "__main__":
    sys.exit(main())
