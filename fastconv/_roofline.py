"""A roofline: the rates layers reached beside the bounds of the machine they ran on."""

from __future__ import annotations

from typing import Any

__all__ = ["draw"]

_LEVELS = {"l1_bytes": "L1", "l2_bytes": "L2", "l3_bytes": "L3", "memory_bytes": "memory"}
_MOST_NAMED = 12


def draw(rows: Any, peaks: dict[str, float], path: Any) -> None:
    """Write the picture of `ProfileRow`s to `path`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "plot needs matplotlib: pip install matplotlib, or fastconv[demo]"
        ) from error
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log")
    threads = max(row.threads for row in rows)
    flat = peaks["fma_flops"] * threads / 1e9
    _draw_bounds(axes, rows, peaks, threads, flat)
    for index, row in enumerate(rows):
        name = f"{row.operation} {'x'.join(map(str, row.weight_shape))} ({row.share:.0%})"
        axes.scatter(
            max(row.intensity, 1e-3), max(row.gflops, 1e-3), s=30 + 600 * row.share, alpha=0.7,
            label=name if index < _MOST_NAMED else None,
        )  # fmt: skip
    axes.set(
        xlabel="operations of the definition for each byte moved once",
        ylabel="GFLOP/s",
        title=f"{threads} thread{'s' if threads > 1 else ''}",
    )
    axes.grid(which="major", alpha=0.3)
    axes.legend(fontsize="small", loc="lower right", markerscale=0.5)
    figure.savefig(path, dpi=120)


def _draw_bounds(axes: Any, rows: Any, peaks: dict[str, float], threads: int, flat: float) -> None:
    """The measured multiply-adds as a flat line, each level of the memory as a slope up to it."""
    bend = flat * 1e9 / (peaks["memory_bytes"] * threads)
    low = min(0.1, *(max(row.intensity, 1e-3) / 2 for row in rows))
    high = max(10 * bend, *(row.intensity * 2 for row in rows))
    axes.axhline(flat, color="black", linewidth=1)
    axes.text(high, flat * 1.04, f"multiply-adds {flat:.0f} GFLOP/s", ha="right", va="bottom")
    for key, name in _LEVELS.items():
        rate = peaks[key] * threads / 1e9
        axes.plot([low, flat / rate], [low * rate, flat], color="gray", linewidth=1)
        axes.text(low, low * rate * 1.1, f"{name} {rate:.0f} GB/s", color="gray", fontsize="small")
    axes.set_xlim(low, high)
