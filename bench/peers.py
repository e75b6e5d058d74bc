"""fastconv against its peers on the named layers: one process, interleaved rounds, medians.

    python bench/peers.py --threads 1 --json peers.json

Every runner gets the same data, is checked against a float64 result before and after it is timed,
and is timed in the same rounds, each round in another order, so that a machine that speeds up or
slows down does so for all of them. GFLOP/s counts the direct algorithm's arithmetic (layers.py).
The ratio is the best peer's time over fastconv's: above one, fastconv is faster.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import statistics
import sys
import time
from pathlib import Path

# Variables that bound a peer's instruction set or fastconv's; recorded with the result.
RECORDED_VARIABLES = ("FASTCONV_ISA", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
# A peer worse than its tolerance is timed and marked but is not equal, so it is no "best peer"; one
# worse than this computes something else, or breaks when called again, and fails.
WRONG_RELATIVE_ERROR = 1e-2
# Worker threads of the runner before may still be spinning; with more than one thread they would
# take a core from the next one.
SETTLE_SECONDS = 0.02


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of each runner (default 1)")
    parser.add_argument("--layers", default="", help="only layers matching this regular expression")
    parser.add_argument("--runners", default="", help="only runners matching this expression")
    parser.add_argument("--rounds", type=int, default=9, help="rounds per layer (default 9)")
    parser.add_argument("--round-ms", type=float, default=20.0,
                        help="a runner's share of a round, in milliseconds (default 20)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 5 ms")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall",
                        help="cpu: processor time, for one thread on a machine that is shared")
    parser.add_argument("--seed", type=int, default=0, help="seed of inputs and weights")
    parser.add_argument("--values", choices=("relu", "normal"), default="relu",
                        help="input like a rectifier's output, or signed")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--markdown", type=Path, help="write the table of bench/README.md here")
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.rounds < 1 or arguments.round_ms <= 0:
        parser.error("--threads, --rounds and --round-ms must be positive")
    if arguments.clock == "cpu" and arguments.threads != 1:
        parser.error("--clock cpu adds up the threads' time: it needs --threads 1")
    if arguments.quick:
        arguments.rounds, arguments.round_ms = 3, 5.0
    return arguments


# ---------------------------------------------------------------------------------- measuring


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def peaks_gflops(threads: int) -> dict[str, float]:
    """Arithmetic `threads` cores can do, measured: {"fma": ..., "amx_split": ...}.

    "amx_split", float32 by six products of bfloat16 tiles, is missing where tiles are.
    """
    import fastconv

    found = fastconv.peaks("float32")
    peaks = {"fma": found["fma_flops"] * threads / 1e9}
    if "tile_flops" in found:
        peaks["amx_split"] = found["tile_flops"] / 6 * threads / 1e9
    return peaks


def seconds_per_call(call, repeats: int, clock) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def prepare(layer, adapters, x, weight, threads):
    """Build every runner: {name: Prepared}, and {name: reason} for each one that has no such layer
    (first) or failed (second)."""
    from peer_adapters import Unsupported

    runners, unsupported, failed = {}, {}, {}
    for adapter in adapters:
        try:
            prepared = adapter.build(layer, x, weight, threads)
            prepared.call()
        except Unsupported as reason:
            unsupported[adapter.name] = str(reason)
        except Exception as failure:  # a finding, not the end of the run
            failed[adapter.name] = f"{type(failure).__name__}: {failure}"
        else:
            runners[adapter.name] = prepared
    return runners, unsupported, failed


def interleaved_rounds(calls, arguments) -> dict[str, list[float]]:
    """Seconds per call of every runner in every round."""
    clock = CLOCKS[arguments.clock]
    settle = SETTLE_SECONDS if arguments.threads > 1 else 0.0
    repeats = {}
    for name, call in calls.items():
        time.sleep(settle)
        call()
        once = seconds_per_call(call, 1, clock)
        repeats[name] = max(1, round(arguments.round_ms / 1e3 / max(once, 1e-7)))
    seconds = {name: [] for name in calls}
    names = list(calls)
    gc.collect()
    gc.disable()
    try:
        for turn in range(arguments.rounds):
            shift = turn % max(1, len(names))
            for name in names[shift:] + names[:shift]:
                time.sleep(settle)
                calls[name]()  # untimed: brings this runner's weights and code back to the cache
                seconds[name].append(seconds_per_call(calls[name], repeats[name], clock))
    finally:
        gc.enable()
    return seconds


def measure(layer, adapters, arguments) -> dict:
    """Time every runner on one layer; each result is checked before and after the timed rounds."""
    from layers import exact_output, random_data, relative_error

    x, weight = random_data(layer, arguments.seed, values=arguments.values)
    exact = exact_output(layer, x, weight)
    prepared, unsupported, failed = prepare(layer, adapters, x, weight, arguments.threads)

    def errors() -> dict[str, float]:
        return {name: relative_error(p.to_numpy(p.call()), exact) for name, p in prepared.items()}

    before = errors()
    rounds = interleaved_rounds({name: p.call for name, p in prepared.items()}, arguments)
    after = errors()
    tolerances = {adapter.name: adapter.tolerance for adapter in adapters}
    wrong = {adapter.name: min(WRONG_RELATIVE_ERROR, adapter.tolerance)
             if adapter.is_fastconv else WRONG_RELATIVE_ERROR for adapter in adapters}
    timed = {}
    for name, samples in rounds.items():
        error = max(before[name], after[name])
        if error > wrong[name]:
            failed[name] = f"relative error {error:.1e}, accepted {wrong[name]:.0e}"
            continue
        median = statistics.median(samples)
        timed[name] = {
            "median_seconds": median,
            "min_seconds": min(samples),
            "round_seconds": samples,
            "gflops": layer.flop / median / 1e9,
            "relative_error": error,
            "equal": error <= tolerances[name],
        }
    return {
        "shape": layer.describe(),
        "mflop": layer.mflop,
        "runners": timed,
        "unsupported": unsupported,
        "failed": failed,
        **compare(timed),
    }


# fastconv with weights packed beforehand.
PACKED = ("fc.nchw", "fc.nhwc")
# oneDNN with its weights packed by PyTorch's compiler: a peer that programs seldom run.
COMPILED = "torchpk"


def compare(timed: dict[str, dict]) -> dict:
    """Best peer and the ratios of one layer: the rules of the comparison, in one place.

    Packed fastconv runners meet the best of all peers whose results are equal (and, under a key of
    its own, the best of all); the functional form, which packs at each call, meets torch's
    functional forms.
    """
    seconds = {name: found["median_seconds"] for name, found in timed.items()}
    packed = {name: seconds[name] for name in PACKED if name in seconds}
    functional = [seconds[name] for name in ("torch", "torchcl") if name in seconds]
    peers = {name: s for name, s in seconds.items() if not name.startswith("fc.")}
    equal = {name: s for name, s in peers.items() if timed[name]["equal"]}
    ratios = {}
    if equal and packed:
        ratios["fastconv"] = min(equal.values()) / min(packed.values())
        ratios["fastconv against any accuracy"] = min(peers.values()) / min(packed.values())
        ratios |= {name: min(equal.values()) / s for name, s in packed.items()}
    runnable = [s for name, s in equal.items() if name != COMPILED]
    if runnable and packed:
        ratios["fastconv without torchpk"] = min(runnable) / min(packed.values())
    if "fc.func" in seconds and functional:
        ratios["fc.func"] = min(functional) / seconds["fc.func"]
    return {"best_peer": min(equal, key=equal.get) if equal else None, "ratios": ratios}


def summarise(layers: dict[str, dict]) -> dict:
    """Geometric mean and worst layer of each ratio."""
    summary = {}
    for key in SUMMARY_TITLES:
        ratios = {name: row["ratios"][key] for name, row in layers.items() if key in row["ratios"]}
        if ratios:
            worst = min(ratios, key=ratios.get)
            summary[key] = {
                "geometric_mean": statistics.geometric_mean(ratios.values()),
                "worst_layer": worst,
                "worst_ratio": ratios[worst],
                "layers": len(ratios),
            }
    return summary


# ---------------------------------------------------------------------------------- reporting


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1).strip() if found else platform.machine()


def heading(names: list[str]) -> str:
    columns = "".join(f"{name:>9}" for name in names)
    return f"{'layer':24}{'MFLOP':>6}{columns}  {'best peer':<9}{'ratio':>7}{'func':>7}{'peak':>6}"


def table_row(name: str, row: dict, names: list[str], fma_peak: float) -> str:
    def cell(runner: str) -> str:
        if runner not in row["runners"]:
            return "!" if runner in row["failed"] else "–"
        found = row["runners"][runner]
        mark = "" if found["equal"] else "~"
        return f"{mark}{found['gflops']:.1f}"

    def ratio(key: str) -> str:
        return f"{row['ratios'][key]:.2f}" if key in row["ratios"] else "–"

    columns = "".join(f"{cell(runner):>9}" for runner in names)
    packed = [row["runners"][name]["gflops"] for name in PACKED if name in row["runners"]]
    share = f"{max(packed) / fma_peak:.2f}" if packed else "–"
    return (f"{name:24}{row['mflop']:>6.0f}{columns}  {row['best_peer'] or '–':<9}"
            f"{ratio('fastconv'):>7}{ratio('fc.func'):>7}{share:>6}")


LEGEND = ("GFLOP/s of the direct algorithm's arithmetic. ratio: best peer's time / the better of "
          "fc.nchw and fc.nhwc; func: better of torch and torchcl / fc.func; "
          "peak: the better layout's share of the FMA peak.\n"
          "~ relative error above 1e-4: not counted as best peer   ! failed or wrong result   "
          "– not available")

def markdown_table(report: dict) -> str:
    """The layers as bench/README.md shows them, with the geometric means below."""
    names = list(report["versions"])
    keys = ("fastconv", "fastconv without torchpk", "fc.func")
    titles = ["layer", *names, "share of FMA peak", "ratio", "ratio without torchpk", "functional"]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]

    def ratio_cells(ratios) -> list[str]:
        return [f"{ratios[key]:.2f}" if key in ratios else "–" for key in keys]

    for layer, row in report["layers"].items():
        cells = []
        for name in names:
            found = row["runners"].get(name)
            mark = "" if found is None or found["equal"] else "~"
            cells.append("–" if found is None else f"{mark}{found['gflops']:.3g}")
        packed = [row["runners"][name]["gflops"] for name in PACKED if name in row["runners"]]
        cells.append(f"{max(packed) / report['peaks_gflops']['fma']:.2f}" if packed else "–")
        lines.append("| " + " | ".join([layer, *cells, *ratio_cells(row["ratios"])]) + " |")
    for group, summary in report["summary"].items():
        for title, figure in (("geometric mean", "geometric_mean"), ("worst", "worst_ratio")):
            means = ratio_cells({key: found[figure] for key, found in summary.items()})
            empty = [""] * (len(names) + 1)
            lines.append("| " + " | ".join([f"**{group}, {title}**", *empty, *means]) + " |")
    return "\n".join(lines) + "\n"


SUMMARY_TITLES = {
    "fastconv": "best fastconv layout against best peer",
    "fastconv without torchpk": "the same, oneDNN packed by PyTorch's compiler left out",
    "fastconv against any accuracy": "the same, peers with relative error above 1e-4 counted",
    "fc.nchw": "channels first against best peer",
    "fc.nhwc": "channels last against best peer",
    "fc.func": "functional form against torch's functional forms",
}


def print_summary(report: dict) -> None:
    print(f"\n{LEGEND}")
    for group, summary in report["summary"].items():
        for key, found in summary.items():
            print(f"{group}, {SUMMARY_TITLES[key]}: "
                  f"geometric mean {found['geometric_mean']:.2f} of {found['layers']} layers, "
                  f"worst {found['worst_ratio']:.2f} {found['worst_layer']}")
    for unit, gflops in report["peaks_gflops"].items():
        print(f"{unit} peak of {report['threads']} core(s): {gflops:.0f} GFLOP/s")
    failed = {}
    for name, row in report["layers"].items():
        for runner, reason in row["failed"].items():
            failed.setdefault((runner, reason), []).append(name)
    for (runner, reason), names in failed.items():
        print(f"FAILED {runner}: {reason} ({', '.join(names)})")
    print(f"{report['elapsed_seconds']:.0f} s")


def main() -> int:
    arguments = parse_arguments()
    # BLAS reads these when NumPy is first imported, which is why imports wait until here.
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[variable] = str(arguments.threads)
    from layers import ANCHORS, select
    from peer_adapters import available

    chosen = select(arguments.layers)
    adapters, missing = available(arguments.runners)
    if not chosen or not adapters:
        print(f"nothing to run: {len(chosen)} layers, {len(adapters)} runners", file=sys.stderr)
        return 2
    start, load_before = time.perf_counter(), os.getloadavg()[0]
    for name, reason in missing.items():
        print(f"skipped {name}: {reason}")
    versions = {adapter.name: adapter.version for adapter in adapters}
    environment = {name: os.environ[name] for name in RECORDED_VARIABLES if name in os.environ}
    print(f"{cpu_model()}, {arguments.threads} thread(s), {arguments.rounds} rounds, "
          f"{arguments.clock} clock, load {load_before:.1f}, "
          f"{' '.join(f'{k}={v}' for k, v in environment.items()) or 'no ISA bounds set'}")
    print(", ".join(f"{name} {version}" for name, version in versions.items()) + "\n")
    names = list(versions)
    print(heading(names))
    peaks, rows = peaks_gflops(arguments.threads), {}
    for layer in chosen:
        rows[layer.name] = measure(layer, adapters, arguments)
        print(table_row(layer.name, rows[layer.name], names, peaks["fma"]), flush=True)
    # The better of both draws: a neighbour may have slowed one of them.
    peaks = {unit: max(rate, peaks[unit]) for unit, rate in peaks_gflops(arguments.threads).items()}
    anchors = {layer.name for layer in ANCHORS}
    report = {
        "cpu": cpu_model(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "threads": arguments.threads,
        "clock": arguments.clock,
        "load_average_before": load_before,
        "load_average_after": os.getloadavg()[0],
        "rounds": arguments.rounds,
        "round_ms": arguments.round_ms,
        "seed": arguments.seed,
        "values": arguments.values,
        "environment": environment,
        "versions": versions,
        "missing": missing,
        "peaks_gflops": peaks,
        "layers": rows,
        "summary": {
            "anchors": summarise({name: row for name, row in rows.items() if name in anchors}),
            "all layers": summarise(rows),
        },
        "elapsed_seconds": time.perf_counter() - start,
    }
    print_summary(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(markdown_table(report))
    return 1 if any(row["failed"] for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
