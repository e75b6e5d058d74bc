"""The machine's rates that plans are compared by: measured once, kept, read once in a process.

Bits follow the choice of an algorithm, and the choice follows these rates: so they are measured
once on a machine and not once in a process, each is rounded to a coarse geometric grid around its
default, and what processes share is a file. Where no file can be written, plans use the defaults,
which are the same everywhere; nothing is measured then.

The file is called after the CPU, its caches, the instruction set and the version, so that one
folder serves any number of machines. It is put in place by a hard link: of several processes that
measure at the same time the first wins, and the others read what it wrote.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

from fastconv import _core, _env, _tuned

__all__ = ["file_path", "on_grid", "settle", "source"]

_FORMAT = {"format": "fastconv rates", "format_version": 1}
_MOST_BYTES = 1 << 16
_STEPS_PER_OCTAVE = 2
_MOST_STEPS = 4  # a quarter of the default to four times as much

source: str | None = None  # where the rates in use come from; None: not settled yet
_lock = threading.RLock()


def _new_lock() -> None:
    """Of a forked child: the thread that held the old one may not be there."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_new_lock)


def on_grid(measured: float, default: float) -> float:
    """The nearest of default * 2 ** (k / 2), k from -4 to 4."""
    steps = round(_STEPS_PER_OCTAVE * math.log2(measured / default))
    steps = min(max(steps, -_MOST_STEPS), _MOST_STEPS)
    return float(default * 2 ** (steps / _STEPS_PER_OCTAVE))


def _machine() -> dict[str, Any]:
    cpu = _core.cpu()
    return {
        "cpu": cpu["brand"],
        "l2_bytes": cpu["l2_bytes"],
        "l3_bytes": cpu["l3_bytes"],
        "isa": cpu["isa"],
        "version": _core.version(),
    }


def file_path() -> Path:
    """Beside the tuning file."""
    words = "-".join(str(fact) for fact in _machine().values())
    plain = "".join(c if c.isalnum() or c in ".-" else " " for c in words)
    return _tuned.file_path().with_name(f"rates-{'-'.join(plain.split())}.json")


def settle() -> None:
    """Decide on the rates, once in a process and before its first plan."""
    global source
    with _lock:
        if source is not None:
            return
        found, where = {}, "defaults"
        try:
            found, where = _find()
        finally:  # even if a warning was made an error
            _core.use_rates(found)
            source = where


def _find() -> tuple[dict[str, float], str]:
    """The rates to use, none for the defaults, and where they come from."""
    if not _env.calibrate():
        return {}, "defaults: FASTCONV_CALIBRATE=0"
    try:
        path = file_path()
    except RuntimeError:
        return {}, "defaults: no home folder"
    try:
        return _read(path), str(path)
    except FileNotFoundError:
        pass
    except ValueError as error:
        warnings.warn(f"{error}; measured again", RuntimeWarning, stacklevel=2)
        with contextlib.suppress(OSError):
            os.replace(path, path.with_name(path.name + ".bad"))
    except OSError as error:
        return {}, f"defaults: {path} cannot be read ({error.strerror})"
    try:
        return _measure(path), str(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        return {}, f"defaults: {path} cannot be written ({why})"
    except MemoryError:
        return {}, "defaults: no memory to measure with"


def _read(path: Path) -> dict[str, float]:
    """The rates in a file; ValueError when it is none of this machine's or damaged."""
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path}: more than {_MOST_BYTES >> 10} KiB, no file of rates")
    data = _tuned.read_json(path)
    wanted = {**_FORMAT, **_machine()}
    if not isinstance(data, dict) or any(data.get(k) != v for k, v in wanted.items()):
        raise ValueError(f"{path}: no rates of this machine and version")
    rates = data.get("rates")
    known = _core.rates_used()  # the defaults: none have been given yet
    if not isinstance(rates, dict) or not rates.keys() <= known.keys():
        raise ValueError(f"{path}: damaged, its rates have not the form they should have")
    for name, rate in rates.items():
        if type(rate) not in (int, float) or not 0 < rate / known[name] < math.inf:
            raise ValueError(f"{path}: damaged, {name} is {rate!r}")
    return {name: float(rate) for name, rate in rates.items()}


def _measure(path: Path) -> dict[str, float]:
    """Measure, unless the file cannot be written; what the file holds afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            known, measured = _core.rates_used(), _core.calibrate_rates()
            rates = {name: on_grid(rate, known[name]) for name, rate in measured.items()}
            data = {**_FORMAT, **_machine(), "rates": rates, "measured": measured}
            file.write(json.dumps(data, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
    return _read(path)
