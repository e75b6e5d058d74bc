"""``fastconv info``: how fastconv was built and what it found on this machine."""

from __future__ import annotations

import argparse
import contextlib
import io
import json

from fastconv.cli import EXIT_DONE

__all__ = ["add_parser"]


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its arguments to the command line's parser."""
    parser = verbs.add_parser(
        "info",
        help="show the build, the CPU, the threads and the kernels",
        description="Shows how fastconv was built and what it found on this machine: the "
        "instruction sets, the threads and the kernels there are. Put it in a bug report.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastconv info``; returns the exit code."""
    import fastconv as fc

    if not options.json:
        fc.show_config()
        fc.show_runtime()
        return EXIT_DONE
    with contextlib.redirect_stdout(io.StringIO()):
        facts = {"config": fc.show_config(), "runtime": fc.show_runtime()}
    print(json.dumps(facts, indent=1))
    return EXIT_DONE
