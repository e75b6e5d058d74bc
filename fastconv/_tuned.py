"""What tuning measured: read once, asked by every plan, written as a whole.

One file, ``tune.json`` in the cache folder, holds the choices of any number of machines; only the
section of this CPU, instruction set and version counts, and in it those measured with as many
threads as the plan's call may use. Without the file a process pays for one failed open. A file that
cannot be read is ignored with a warning that names it; it is data, never code.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastconv import _core, _env
from fastconv._observe import details_of, sizes, weight_shape
from fastconv._options import algorithm_names
from fastconv._threads import get_num_threads

__all__ = [
    "Choices",
    "all_choices",
    "any_here",
    "as_choice",
    "choice",
    "clear",
    "count_here",
    "file_path",
    "key_of",
    "read",
    "remember",
    "write",
]

_FORMAT = {"format": "fastconv tuning", "format_version": 1}
_MACHINE = ("cpu", "isa", "version", "threads")
_USES = ("object", "call")  # a `Conv` has its weights packed; a functional call packs them
_MOST_BYTES = 1 << 26

# (cpu, isa, version, threads): {key: {"object": algorithm, "call": algorithm, "seconds": {..}}}
Choices = dict[tuple[str, str, str, int], dict[str, dict[str, Any]]]

_lock = threading.RLock()
_choices: Choices | None = None  # None: not read yet
_here: dict[int, dict[str, dict[str, Any]]] = {}  # threads: what counts on this machine


def _machine(threads: int) -> tuple[str, str, str, int]:
    cpu = _core.cpu()
    return cpu["brand"], cpu["isa"], _core.version(), threads


def file_path() -> Path:
    """FASTCONV_CACHE, else the user's cache folder as the system has it."""
    named = _env.cache_folder()
    if named is not None:
        return Path(named).expanduser() / "tune.json"
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches"
    else:
        # The XDG rule; platformdirs gives the same after 20 ms of imports, which every first plan
        # of a process would pay.
        named = os.environ.get("XDG_CACHE_HOME", "")
        folder = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    return folder / "fastconv" / "tune.json"


def key_of(problem: Any, in_size: tuple[int, ...], pads: Any, x_last: bool, out_last: bool) -> str:
    """The part of a problem that algorithms' times depend on: not the batch, nor what is added to
    the result."""
    words = [
        f"{problem.operation}{problem.rank}d",
        f"x={problem.in_ch}@{sizes(in_size)}",
        f"weight={sizes(weight_shape(problem))}",
        details_of(problem._replace(padding=pads)),
    ]
    if (x_last, out_last) != (problem.channels_last,) * 2:
        words.append(f"dense={'last' if x_last else 'first'}:{'last' if out_last else 'first'}")
    if problem.weights_unsafe:
        words.append("weights_unsafe")
    return " ".join(words)


def any_here() -> bool:
    """Whether there is any choice for this machine."""
    if _choices is None:
        _load()
    return bool(_here)


def choice(
    problem: Any, in_size: tuple[int, ...], pads: Any, x_last: bool, out_last: bool, per_call: bool
) -> str | None:
    """The algorithm that tuning found for a problem whose algorithm is "auto"."""
    known = _here.get(get_num_threads())
    if known is None:
        return None
    entry = known.get(key_of(problem, in_size, pads, x_last, out_last))
    name: str | None = entry[_USES[per_call]] if entry is not None else None
    return name


def _load() -> None:
    """Read the file, once in a process."""
    with _lock:
        if _choices is not None:
            return
        found: Choices = {}
        try:
            with contextlib.suppress(RuntimeError, OSError):  # no home folder
                found.update(_read_or_warn(file_path()))
        finally:  # even if the warning was made an error
            _use(found)


def _use(choices: Choices) -> None:
    """Take these; what plans read without the lock is replaced as a whole, before they may look."""
    global _choices, _here
    mine = _machine(0)[:3]
    _here = {machine[3]: dict(known) for machine, known in choices.items() if machine[:3] == mine}
    _choices = choices


# The file


def read_json(path: Path) -> Any:
    """What a JSON file holds; ValueError when it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, not JSON ({error})") from error


def read(path: Any) -> Choices:
    """The choices in a file; ValueError when it is none of ours or damaged."""
    path = Path(path)
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path}: more than {_MOST_BYTES >> 20} MiB, no tuning file")
    data = read_json(path)
    if not isinstance(data, dict) or any(data.get(k) != v for k, v in _FORMAT.items()):
        raise ValueError(f"{path}: no tuning file of this version of its format")
    found: Choices = {}
    try:
        for section in data["machines"]:
            machine = tuple(section[name] for name in _MACHINE)
            if [type(fact) for fact in machine] != [str, str, str, int]:
                raise TypeError
            known = found.setdefault(machine, {})
            for key, entry in section["choices"].items():
                if any(type(entry[use]) is not str for use in _USES):
                    raise TypeError
                if type(entry["seconds"]) is not dict:
                    raise TypeError
                known[key] = {use: entry[use] for use in (*_USES, "seconds")}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: damaged, a section has not the form it should have") from error
    _refuse_unknown(path, found)
    return found


def _refuse_unknown(path: Path, found: Choices) -> None:
    mine, names = _machine(0)[:3], set(algorithm_names())
    for machine, known in found.items():
        for entry in known.values() if machine[:3] == mine else ():
            wrong = {entry[use] for use in _USES} - names
            if wrong:
                raise ValueError(f"{path}: damaged, {sorted(wrong)[0]!r} is no algorithm")


def _read_or_warn(path: Path) -> Choices:
    try:
        return read(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        text = str(error) if isinstance(error, ValueError) else f"{path}: {error}"
        warnings.warn(f"{text}; ignored", RuntimeWarning, stacklevel=2)
        return {}


def merge(into: Choices, new: Choices) -> None:
    """Add choices; the new ones win."""
    for machine, known in new.items():
        into.setdefault(machine, {}).update(known)


def write(path: Path, choices: Choices) -> None:
    """Put a whole file in the place of the old one: a reader sees either."""
    machines = [
        {**dict(zip(_MACHINE, machine, strict=True)), "choices": known}
        for machine, known in sorted(choices.items())
    ]
    text = json.dumps({**_FORMAT, "machines": machines}, indent=1, sort_keys=True) + "\n"
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process between reading a file and replacing it."""
    import fcntl

    with open(path.with_name(path.name + ".lock"), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _save(new: Choices) -> None:
    path = file_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        try:
            all_of_them = read(path)
        except FileNotFoundError:
            all_of_them = {}
        except ValueError as error:
            aside = path.with_name(path.name + ".bad")
            os.replace(path, aside)
            warnings.warn(f"{error}; moved to {aside.name}", RuntimeWarning, stacklevel=2)
            all_of_them = {}
        merge(all_of_them, new)
        write(path, all_of_them)


def remember(new: Choices) -> None:
    """Use these choices from now on, here and in later processes."""
    if _choices is None:
        _load()
    with _lock:
        assert _choices is not None
        merge(_choices, new)
        _use(_choices)
    try:
        _save(new)
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"{file_path()} was not written ({error}): the choices end with this process",
            RuntimeWarning,
            stacklevel=2,
        )


def all_choices() -> Choices:
    """Everything known: what the file held when it was read, and what was measured since."""
    if _choices is None:
        _load()
    with _lock:
        assert _choices is not None
        return {machine: dict(known) for machine, known in _choices.items()}


def as_choice(
    key: str, winners: tuple[str, str], seconds: dict[str, float], threads: int
) -> Choices:
    """One measured problem of this machine."""
    entry = {**dict(zip(_USES, winners, strict=True)), "seconds": seconds}
    return {_machine(threads): {key: entry}}


def count_here(choices: Choices) -> int:
    """How many of these count on this machine."""
    mine = _machine(0)[:3]
    return sum(len(known) for machine, known in choices.items() if machine[:3] == mine)


def clear() -> None:
    """Forget every choice and remove the file."""
    global _choices, _here
    with _lock:
        _choices, _here = {}, {}
    file_path().unlink(missing_ok=True)
