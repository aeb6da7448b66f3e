"""How fast the networks run on this device: latency and throughput by batch size."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from darts_core.report import palette, style

COLUMNS = ("network", "batch_size", "median_ms", "p90_ms", "throughput_img_s")


def plot_benchmark(frame: pd.DataFrame, path: str | Path, *, device: str, unit: str = "images", subject: str = "") -> Path:
    """Draw latency (median, and up to the 90th percentile) and throughput against the batch size; return ``path``.

    ``frame`` has a row for each network and batch size with the columns network, batch_size, median_ms, p90_ms and throughput_img_s;
    a row without a median (out of memory) is left out. ``device`` is named in the title, and ``subject``, where figures of several stand
    side by side; ``unit`` is what goes through. Raise ``ValueError`` where a column is missing or nothing was measured.
    """
    if missing := [column for column in COLUMNS if column not in frame]:
        raise ValueError(f"The benchmark: the columns {', '.join(COLUMNS)} expected. Missing {', '.join(missing)}.")
    measured = frame[frame["median_ms"].notna()]
    if measured.empty:
        raise ValueError("The benchmark: at least one measured row expected. Got none; lower benchmark_hw.batch_sizes.")
    height = max(2.25, 0.165 * measured["network"].nunique())
    with style.look():
        figure = style.new_figure(10.8, height + 1.65)
        what = f"Latency and throughput, {subject}," if subject else "Latency and throughput"
        style.head(figure, f"{what} on {device}", note="median; bars reach to the 90th percentile")
        latency = style.place(figure, left=0.8, top=1.05, width=3.2, height=height)
        throughput = style.place(figure, left=6.0, top=1.05, width=3.2, height=height)
        _panel(latency, measured, "median_ms", heading="Latency of a batch", unit="latency (ms)")
        _panel(throughput, measured, "throughput_img_s", heading="Throughput", unit=f"{unit} a second")
        return style.save(figure, path)


def _panel(axes: Axes, frame: pd.DataFrame, column: str, *, heading: str, unit: str) -> None:
    axes.set_title(heading, fontsize=9.5, pad=7)
    sizes = sorted(frame["batch_size"].unique())
    axes.set(xscale="log", yscale="log", xlabel="batch size", ylabel=unit)
    ends = []
    colours = palette.network_colours([str(name) for name in frame["network"].unique()])
    for k, (network, rows) in enumerate(frame.groupby("network", sort=False)):
        colour, zorder = colours[str(network)], 3 - 0.01 * k  # the first one on top
        rows = rows.sort_values("batch_size")
        if column == "median_ms":
            axes.vlines(rows["batch_size"], rows["median_ms"], rows["p90_ms"], color=colour, linewidth=3.5, alpha=0.35, zorder=zorder)
        axes.plot(
            rows["batch_size"], rows[column], color=colour, marker="o", markersize=4.5, linewidth=2.2 if k == 0 else 1.3, zorder=zorder
        )
        last = rows.iloc[-1]
        ends.append(style.EndLabel(float(last["batch_size"]), float(last[column]), style.shorten(str(network), 18), colour))
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    style.end_labels(axes, ends)
