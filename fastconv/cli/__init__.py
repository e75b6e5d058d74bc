"""The command line: one file per verb, each with `add_parser`; the rest is what they share.

Results go to standard output and everything else to standard error, so that ``--json`` leaves
nothing but JSON on the former. Exit codes: 0 done, 1 a result was wrong, 2 bad arguments.
"""

from __future__ import annotations

__all__ = ["EXIT_BAD_ARGUMENTS", "EXIT_DONE", "EXIT_WRONG_RESULT", "CommandError"]

EXIT_DONE = 0
EXIT_WRONG_RESULT = 1
EXIT_BAD_ARGUMENTS = 2


class CommandError(Exception):
    """What the user gave cannot be used; printed as the command's error, exit code 2."""
