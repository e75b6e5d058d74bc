"""How much is lost by what the dispatcher chose, against the best of its own candidates.

    python bench/regret.py --shapes 60 --json regret.json --plot regret.png

For each problem every algorithm that can run it is timed in interleaved rounds. The fastest of many
is in part the luckiest, so its time there proves nothing: the chosen one and the fastest other one
are timed again, next to each other and in either order. The regret is the median of these ratios,
or one if the chosen one wins: it is a candidate itself. A duel that comes out above 1.3 is fought
three times in all, and all its ratios count: a real regret repeats. Problems are drawn from a seed
(one to three axes, groups, strides, dilations, 1 to 512 channels, both layouts), and the named
layers of layers.py come beside them. Processor time of one thread, so that a neighbour on the
machine changes little. Weights are packed beforehand, unless `--functional` is given.
Choices are those of the rates in use (`fastconv info`; FASTCONV_CALIBRATE=0: the defaults). The
plot shows predicted against measured seconds of all candidates.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from layers import random_data, select

import fastconv as fc

# The naive loops are no candidate anybody waits for.
SKIPPED = ("reference",)
# Beyond this a candidate cannot be the fastest, and is timed once.
HOPELESS = 4.0
# A rival this much behind the chosen one in the race needs no duel.
BEATEN = 1.25
# A regret above this is measured again, as often as said.
DOUBTED = 1.3
DUELS = 3


class Shape(NamedTuple):
    """A problem: x in its own layout, and what `Conv` takes."""

    name: str
    x: np.ndarray
    weight: np.ndarray
    options: dict


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=int, default=60, help="random problems (default 60)")
    parser.add_argument("--layers", default="", help="named layers matching this expression")
    parser.add_argument("--seed", type=int, default=0, help="seed of shapes and data")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per problem (default 5)")
    parser.add_argument("--round-ms", type=float, default=5.0, help="a candidate's share of each")
    parser.add_argument("--functional", action="store_true",
                        help="functional calls, which pack the weights each time")
    parser.add_argument("--max-mflop", type=float, default=400.0, help="largest random problem")
    parser.add_argument("--most-mean", type=float, default=1.05,
                        help="exit status 1 if a group's geometric mean is above (default 1.05)")
    parser.add_argument("--most", type=float, default=1.5,
                        help="and if any regret is above (default 1.5)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--plot", type=Path, help="predicted against measured time, as a picture")
    return parser.parse_args()


def layout_of(rank: int, last: bool) -> str:
    return (("NCL", "NLC"), ("NCHW", "NHWC"), ("NCDHW", "NDHWC"))[rank - 1][last]


def random_shape(rng: np.random.Generator, index: int, max_mflop: float) -> Shape:
    """One problem, drawn again until it has a thousandth of a MFLOP and no more than allowed."""
    while True:
        rank = int(rng.choice([1, 2, 2, 2, 3]))
        channels = [int(2 ** rng.uniform(0, 9)) for _ in range(2)]
        groups = int(rng.choice([1, 1, 1, 1, 2, 4, 8, 32, 0]))
        if groups == 0:  # depthwise
            groups = channels[0]
            channels[1] = channels[0] * int(rng.choice([1, 1, 2]))
        channels = [max(1, c // groups) * groups for c in channels]
        kernel = [int(rng.choice([1, 1, 2, 3, 3, 3, 3, 5, 7, 11])) for _ in range(rank)]
        if rng.random() < 0.8:
            kernel = [kernel[0]] * rank
        stride = int(rng.choice([1, 1, 1, 1, 2]))
        dilation = int(rng.choice([1, 1, 1, 1, 2, 4]))
        longest = (12, 11, 6)[rank - 1]
        sizes = [int(2 ** rng.uniform(2, longest - 3 * (rank == 2))) for _ in range(rank)]
        sizes = [max(size, (k - 1) * dilation + 1) for size, k in zip(sizes, kernel, strict=True)]
        pads = [(k - 1) * dilation // 2 if rng.random() < 0.8 else 0 for k in kernel]
        last = bool(rng.random() < 0.5)
        options = {"stride": stride, "padding": tuple(pads), "dilation": dilation,
                   "groups": groups, "layout": layout_of(rank, last)}
        w_shape = (channels[1], channels[0] // groups, *kernel)
        x_shape = (1, *sizes, channels[0]) if last else (1, channels[0], *sizes)
        mflop = fc.explain(x_shape, w_shape, **options).flops / 1e6
        if 1e-3 <= mflop <= max_mflop:
            break
    x = rng.standard_normal(x_shape, dtype=np.float32)
    weight = rng.standard_normal(w_shape, dtype=np.float32)
    name = (f"random{index} {channels[0]}→{channels[1]} @ {'×'.join(map(str, sizes))} "
            f"k {'×'.join(map(str, kernel))} s {stride} d {dilation} g {groups}")
    return Shape(name, x, weight, options)


def named_shapes(pattern: str, seed: int) -> list[Shape]:
    shapes = []
    for layer in select(pattern):
        x, weight = random_data(layer, seed)
        for last in (False, True):
            options = {"stride": layer.stride, "padding": layer.padding,
                       "dilation": layer.dilation, "groups": layer.groups,
                       "layout": layout_of(layer.rank, last)}
            moved = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
            shapes.append(Shape(layer.name, moved, weight, options))
    return shapes


def callables(shape: Shape, algorithms: list[str], functional: bool) -> dict[str, Callable]:
    """A call without arguments of each algorithm, into the same output: pages that lie well or ill
    in the caches are nobody's advantage."""
    function = getattr(fc, f"conv{shape.weight.ndim - 2}d")
    calls, out = {}, None
    for name in algorithms:
        options = {"algorithm": name, **shape.options}
        call = (partial(function, weight=shape.weight, **options) if functional
                else fc.Conv(shape.weight, **options))
        out = call(shape.x) if out is None else out
        calls[name] = partial(call, shape.x, out=out)
    return calls


def timed(call: Callable, repeats: int) -> float:
    """Seconds a call, after one that brings its operands near."""
    call()
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def race(calls: dict[str, Callable], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of all candidates in interleaved rounds, each of which starts with another."""
    samples = {name: [min(timed(call, 1) for _ in range(3))] for name, call in calls.items()}
    fastest = min(min(times) for times in samples.values())
    racing = [name for name in calls if samples[name][0] < HOPELESS * fastest]
    repeats = {name: repeats_of(samples[name][0], arguments) for name in racing}
    for name in racing:
        samples[name].clear()
    for index in range(arguments.rounds):
        turn = index % len(racing)
        for name in racing[turn:] + racing[:turn]:
            samples[name].append(timed(calls[name], repeats[name]))
    return samples


def repeats_of(seconds: float, arguments: argparse.Namespace) -> int:
    return max(1, round(arguments.round_ms / 1e3 / max(seconds, 1e-6)))


def duel(one: Callable, other: Callable, repeats: tuple[int, int], rounds: int) -> list[float]:
    """One's time over the other's, taken next to each other in either order."""
    ratios = []
    for index in range(rounds):
        if index % 2:
            second, first = timed(other, repeats[1]), timed(one, repeats[0])
        else:
            first, second = timed(one, repeats[0]), timed(other, repeats[1])
        ratios.append(first / second)
    return ratios


def measure(shape: Shape, arguments: argparse.Namespace) -> dict:
    """A race of all candidates, then a duel of the chosen one and the fastest other one."""
    functional = arguments.functional
    plan = fc.explain(shape.x.shape, shape.weight.shape, functional=functional, **shape.options)
    names = [c.algorithm for c in plan.candidates if c.algorithm not in SKIPPED]
    calls = callables(shape, names, functional)
    seconds = {n: statistics.median(t) for n, t in race(calls, arguments).items()}
    chosen, ratio = plan.algorithm, None
    rivals = [name for name in names if name != chosen]
    rival = min(rivals, key=seconds.__getitem__, default=None)
    if rival is not None and seconds[rival] < BEATEN * seconds[chosen]:
        repeats = [repeats_of(seconds[name], arguments) for name in (chosen, rival)]
        fight = partial(
            duel, calls[chosen], calls[rival], (repeats[0], repeats[1]), 2 * arguments.rounds
        )
        ratios = fight()
        if statistics.median(ratios) > DOUBTED:
            ratios += [ratio for _ in range(DUELS - 1) for ratio in fight()]
        ratio = statistics.median(ratios)
    regret = max(1.0, ratio or 1.0)
    return {
        "name": shape.name,
        "layout": shape.options["layout"],
        "chosen": chosen,
        "best": rival if regret > 1 else chosen,
        "regret": regret,
        "raced": seconds[chosen] / min(seconds.values()),
        "duel": ratio,
        "seconds": seconds,
        "predicted": {c.algorithm: c.estimated_seconds for c in plan.candidates},
    }


def plot(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 7))
    for name in sorted({name for row in rows for name in row["seconds"]}):
        pairs = [(row["seconds"][name], row["predicted"][name])
                 for row in rows if name in row["seconds"]]
        axes.loglog(*zip(*pairs, strict=True), ".", label=name, alpha=0.7)
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], "k-", linewidth=0.5)
    axes.set(xlabel="measured seconds", ylabel="predicted seconds")
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


def report(title: str, rows: list[dict], arguments: argparse.Namespace) -> bool:
    """Whether the group keeps both limits."""
    if not rows:
        return True
    regrets = [row["regret"] for row in rows]
    worst = max(rows, key=lambda row: row["regret"])
    mean = statistics.geometric_mean(regrets)
    print(f"{title}: regret, geometric mean {mean:.3f} of "
          f"{len(rows)}, worst {worst['regret']:.2f} ({worst['name']}, {worst['layout']}: "
          f"{worst['chosen']} for {worst['best']})")
    return mean <= arguments.most_mean and worst["regret"] <= arguments.most


def main() -> int:
    arguments = parse_arguments()
    fc.set_num_threads(1)
    rng = np.random.default_rng(arguments.seed)
    groups = {
        "random shapes": [random_shape(rng, i, arguments.max_mflop)
                          for i in range(arguments.shapes)],
        "named layers": named_shapes(arguments.layers, arguments.seed),
    }
    results = {}
    for title, shapes in groups.items():
        results[title] = []
        for shape in shapes:
            row = measure(shape, arguments)
            results[title].append(row)
            mark = "" if row["regret"] < 1.1 else f"  {row['regret']:.2f} × {row['best']}"
            print(f"{row['name']:64} {row['layout']:5} {row['chosen']}{mark}", flush=True)
    print()
    kept = [report(title, rows, arguments) for title, rows in results.items()]
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if arguments.plot:
        plot([row for rows in results.values() for row in rows], arguments.plot)
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main())
