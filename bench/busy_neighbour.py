"""What a call on several threads loses while another process computes on one of their cores.

    python bench/busy_neighbour.py --threads 2 --layers 'vgg.conv3_2|resnet.3x3.c128'

For each layer and runner: calls on one thread, on `--threads` alone, and on `--threads` beside a
process that never pauses and may only run on the last core; the conditions take turns. Half of a
core is gone on average, so two threads that share their work as they find time lose a third of
their speed, and a call that is left to one of them takes twice as long. A library whose threads
wait for each other at every call waits for the neighbour's time slices, milliseconds each.
Printed: median and 90th percentile in milliseconds, and the median's slow-down by the neighbour.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from layers import random_data, select
from peer_adapters import Unsupported, available

CONDITIONS = ("one thread", "alone", "neighbour")
DEFAULT_LAYERS = ("resnet.3x3.c64|resnet.3x3.c512|vgg.conv3_2|mobilenet.dw.c512"
                  "|resnet.1x1.256-64|inception.5x5")
BUSY = "import os; os.sched_setaffinity(0, {%d})\nwhile True: pass"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default=DEFAULT_LAYERS, help="named layers to time")
    parser.add_argument("--runners", default="fc.nchw|torch", help="runners of peer_adapters.py")
    parser.add_argument("--threads", type=int, default=2, help="threads of a call (default 2)")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each condition")
    parser.add_argument("--round-ms", type=float, default=100.0, help="length of a turn")
    parser.add_argument("--json", type=Path, help="write every call's seconds to this file")
    return parser.parse_args()


@contextlib.contextmanager
def neighbour(core: int) -> Iterator[None]:
    """A process that computes on this core only."""
    process = subprocess.Popen([sys.executable, "-S", "-c", BUSY % core])
    try:
        time.sleep(0.15)  # it has started
        yield
    finally:
        process.kill()
        process.wait()


def times(call: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds of each call until that many have passed; at least three calls."""
    call()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def measure(build: Callable[[int], Callable[[], Any]], options: argparse.Namespace, core: int
            ) -> dict[str, list[float]]:
    """Seconds of each call by condition."""
    found: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    for _ in range(options.rounds):
        for name in CONDITIONS:
            call = build(1 if name == "one thread" else options.threads)
            beside = neighbour(core) if name == "neighbour" else contextlib.nullcontext()
            with beside:
                found[name] += times(call, options.round_ms / 1e3)
            time.sleep(0.02)  # idle workers of one condition must not spin into the next
    return found


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def main() -> int:
    options = parse_arguments()
    runners, missing = available(options.runners)
    for name, why in missing.items():
        print(f"skipped {name}: {why}")
    core = max(os.sched_getaffinity(0))
    print(f"{'layer':22}{'runner':10}" + "".join(f"{name:>20}" for name in CONDITIONS)
          + f"{'slow-down':>12}")
    report: dict[str, Any] = {}
    slowdowns: dict[str, list[float]] = {}
    for layer in select(options.layers):
        x, weight = random_data(layer)
        for runner in runners:
            def build(threads: int, runner=runner, layer=layer, x=x, weight=weight):
                return runner.build(layer, x, weight, threads).call

            try:
                found = measure(build, options, core)
            except Unsupported as why:
                print(f"{layer.name:22}{runner.name:10}{why}")
                continue
            ms = {name: [1e3 * s for s in seconds] for name, seconds in found.items()}
            middle = {name: statistics.median(values) for name, values in ms.items()}
            slow = middle["neighbour"] / middle["alone"]
            slowdowns.setdefault(runner.name, []).append(slow)
            cells = (f"{middle[name]:.3f} ({percentile(ms[name], 0.9):.3f})" for name in CONDITIONS)
            print(f"{layer.name:22}{runner.name:10}" + "".join(f"{cell:>20}" for cell in cells)
                  + f"{slow:12.2f}", flush=True)
            report[f"{layer.name} {runner.name}"] = found
    for name, values in slowdowns.items():
        print(f"{name}: slow-down geometric mean {statistics.geometric_mean(values):.2f}, "
              f"worst {max(values):.2f}")
    if options.json:
        options.json.write_text(json.dumps(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
