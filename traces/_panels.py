"""Panels that pictures of traces are made of. Each takes Matplotlib axes, draws on them and returns them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from hcsim.plots import COLOURS
from hcsim.traces._measures import DAY_S, HOUR_S, dated, gang_bins

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = npt.NDArray[Any]
Panel = tuple[str, Callable[["Axes"], "Axes"]]
Rows = list[list[Panel]]
INK, SECOND, GREY = COLOURS[0], COLOURS[1], "#7f7f7f"
#: Colours are told apart by the colour-blind, and line styles in print without colour.
STYLES: tuple[tuple[str, Any], ...] = tuple(
    zip(COLOURS, ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-", "--"), strict=True)
)
HATCHES = (None, "///", "...", "xxx", "\\\\\\", "++", "--", "||")
#: A figure as wide as a page of two columns, so that its text is printed at the size that it has.
WIDTH_IN, ROW_IN = 7.2, 2.15
TEXT: dict[Any, Any] = {
    "font.size": 8.0, "axes.titlesize": 8.0, "axes.labelsize": 7.5, "xtick.labelsize": 7.0, "ytick.labelsize": 7.0,
    "legend.fontsize": 6.5, "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "lines.linewidth": 1.0, "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "legend.frameon": False, "legend.handlelength": 2.2,
}  # fmt: skip
_BINS_S = (1.0, 10.0, 60.0, 600.0, HOUR_S, 6 * HOUR_S, DAY_S, 7 * DAY_S)
_MOST_BINS, _MOST_POINTS, MOST_LINES = 420, 1000, 6


def lay_out(
    figure: Figure, title: str, rows: Sequence[Sequence[Panel]], heights: Sequence[float] = (), columns: int = 0
) -> None:
    """Draw rows of panels, each titled and lettered.

    Args:
        heights: of the rows, in units of the usual one.
        columns: so many to each row; else every row fills the width.
    """
    heights = heights or [1.0] * len(rows)
    figure.set_size_inches(WIDTH_IN, ROW_IN * sum(heights) + 0.25)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=8.5, fontweight="bold")
    across = columns or int(np.lcm.reduce([len(row) for row in rows]))
    grid = figure.add_gridspec(len(rows), across, height_ratios=list(heights))
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    for i, row in enumerate(rows):
        each = across // (columns or len(row))
        for k, (name, draw) in enumerate(row):
            ax = figure.add_subplot(grid[i, k * each : (k + 1) * each])
            draw(ax).set_title(f"({next(letters)}) {name}")


def in_rows(drawn: Sequence[Panel]) -> list[list[Panel]]:
    """Panels in rows of two or three."""
    across = len(drawn) if len(drawn) <= 3 else 2 if len(drawn) == 4 else 3
    return [list(drawn[i : i + across]) for i in range(0, len(drawn), across)]


def time_axis(ax: Axes, when_s: Values) -> tuple[Values, Axes]:
    """Times as they are drawn: dates where they are seconds since 1970, else days, hours or minutes from 0."""
    import matplotlib.dates as dates

    first, last = (float(np.min(when_s)), float(np.max(when_s))) if len(when_s) else (0.0, 0.0)
    if dated(first, last):
        locator = dates.AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        ax.set_xlabel("date (UTC)")
        return np.asarray(when_s) / DAY_S, ax
    unit, name = next(
        ((unit, name) for unit, name in ((DAY_S, "days"), (HOUR_S, "h"), (60.0, "min")) if last > 2 * unit), (1.0, "s")
    )
    ax.set_xlabel(f"time ({name})")
    return np.asarray(when_s) / unit, ax


def bins_of(when_s: Values) -> float:
    """A bin width for counts over the time from the first to the last."""
    span_s = float(np.ptp(when_s)) if len(when_s) else 0.0
    return next((bin_s for bin_s in _BINS_S if span_s / bin_s <= _MOST_BINS), span_s / _MOST_BINS)


def span(seconds: float) -> str:
    """A bin's width in words."""
    for unit, name in ((DAY_S, "day"), (HOUR_S, "h"), (60.0, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:g} s"


def arrivals(ax: Axes, when_s: Values, what: str) -> Axes:
    """Arrivals per second, minute or hour over time, and their mean. A lone far higher bin is cut off and named."""
    when_s = np.sort(when_s[np.isfinite(when_s)])
    when_s = when_s if len(when_s) else np.zeros(1)
    bin_s = bins_of(when_s)
    counts = np.bincount(((when_s - when_s[0]) // bin_s).astype(int))
    mean_per_s = len(when_s) / max(len(counts) * bin_s, 1e-9)
    per_s, per = next(((s, n) for s, n in ((1.0, "s"), (60.0, "min")) if mean_per_s * s >= 0.5), (HOUR_S, "h"))
    rate = counts / bin_s * per_s
    at, _ = time_axis(ax, when_s[0] + np.arange(len(counts) + 1) * bin_s)
    ax.stairs(rate, at, color=INK, lw=0.7, fill=False, baseline=None)
    ax.axhline(rate.mean(), color=SECOND, lw=0.9, ls="--", label=f"mean {rate.mean():.3g}")
    rest = np.sort(rate)[-2] if len(rate) > 1 else 0.0
    headroom = 1.28
    if rest > 0 and rate.max() > 4 * rest:
        peak = int(rate.argmax())
        ax.plot(at[peak], rest * headroom, marker="^", ms=4, color=INK, clip_on=False)
        told = f"{counts[peak]:,} {what} in {span(bin_s)}"
        ax.annotate(told, (at[peak], rest * headroom), (6, -3), textcoords="offset points", va="center", fontsize=6.5)
        ax.set_ylim(0, rest * headroom)
    else:
        ax.set_ylim(0, max(float(rate.max()), 1e-9) * headroom)
    ax.set_xlim(at[0], at[-1])
    ax.set_ylabel(f"{what} per {per} ({span(bin_s)} bins)")
    ax.legend(loc="upper right")
    return ax


def demand(ax: Axes, begin_s: Values, duration_s: Values, gpus: Values, device: str) -> Axes:
    """Devices in use over time if every job started as it was submitted, averaged per bin."""
    order = np.argsort(times := np.r_[begin_s, begin_s + duration_s], kind="stable")
    change, at_s = np.r_[gpus, -gpus][order], times[order]
    used = np.r_[0.0, np.cumsum(np.cumsum(change)[:-1] * np.diff(at_s))]  # device seconds so far
    bin_s = bins_of(begin_s)
    edges = np.arange(begin_s.min(), begin_s.max() + bin_s, bin_s)
    edges = edges if len(edges) > 1 else np.array([begin_s.min(), begin_s.min() + bin_s])
    busy = np.diff(np.interp(edges, at_s, used)) / bin_s
    at, _ = time_axis(ax, edges)
    ax.stairs(busy, at, color=INK, lw=0.8, baseline=None)
    ax.axhline(busy.mean(), color=SECOND, lw=0.9, ls="--", label=f"mean {busy.mean():,.4g}")
    ax.set_ylim(0, max(float(busy.max()), 1e-9) * 1.28)
    ax.set_xlim(at[0], at[-1])
    ax.set_ylabel(f"{device}s asked for")
    ax.legend(loc="upper right")
    return ax


def by_hour(ax: Axes, when_s: Values, of: str) -> Axes:
    """The share of arrivals in each hour of the day, beside the share that each would have without a cycle."""
    counts = np.bincount((when_s // HOUR_S % 24).astype(int), minlength=24)
    ax.bar(np.arange(24), counts / max(counts.sum(), 1), 0.8, color=INK)
    ax.axhline(1 / 24, color=SECOND, lw=0.9, ls="--", label="no cycle")
    ax.set_xlim(-0.6, 23.6)
    ax.set_xticks(range(0, 24, 6))
    ax.set_ylim(0, max(float(counts.max() / max(counts.sum(), 1)), 1 / 24) * 1.28)
    ax.set_xlabel(
        "hour of the day (the log's clock)"
        if len(when_s) and dated(when_s.min(), when_s.max())
        else "hour, from the first (modulo 24)"
    )
    ax.set_ylabel(f"share of {of}")
    ax.legend(loc="upper right")
    return ax


def level_by_hour(ax: Axes, when_s: Values, values: Values, label: str) -> Axes:
    """Values by hour of the day, UTC: the median and the band from P10 to P90."""
    import pandas as pd

    grouped = pd.Series(values).groupby((np.asarray(when_s) // HOUR_S % 24).astype(int))
    low, middle, high = (grouped.quantile(q) for q in (0.1, 0.5, 0.9))
    ax.fill_between(low.index, low, high, color=INK, alpha=0.2, lw=0, label="P10 to P90")
    ax.plot(middle.index, middle, color=INK, marker=".", ms=3, label="median")
    ax.set(xlim=(0, 23), xticks=range(0, 24, 6), xlabel="hour of the day (UTC)", ylabel=label)
    ax.set_ylim(0, float(high.max()) * 1.3 or 1.0)
    ax.legend(loc="upper right", ncols=2)
    return ax


def logarithmic(ax: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """A logarithmic axis from low to high with labels that do not run into each other."""
    from matplotlib.ticker import LogLocator

    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    (ax.set_xlim if which == "x" else ax.set_ylim)(low, high)
    if high < 120 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def ecdf(
    ax: Axes,
    lines: Mapping[str, Values],
    label: str,
    of: str,
    weights: Mapping[str, Values] | None = None,
    linear: bool = False,
) -> Axes:
    """Shares of values at or below x, a line for each name. Logarithmic where they span decades.

    Args:
        weights: name -> weights of its values (default: equal).
        linear: not logarithmic, however far they span.
    """
    lines = {name: np.asarray(x, np.float64)[np.isfinite(x)] for name, x in lines.items()}
    lines = {name: x for name, x in lines.items() if len(x)}
    every = np.concatenate(list(lines.values())) if lines else np.zeros(1)
    positive = every[every > 0]
    decades = (
        not linear and len(positive) > 0 and every.min() >= 0 and positive.max() > 30 * np.quantile(positive, 0.02)
    )
    low = float(np.quantile(positive, 0.001)) if decades else float(every.min())
    for (name, x), (colour, style) in zip(lines.items(), itertools.cycle(STYLES), strict=False):
        order = np.argsort(x)
        weight = (weights or {}).get(name, np.ones(len(x)))[order]
        x, y = x[order], np.cumsum(weight) / max(weight.sum(), 1e-300)
        # points that are even in number, and even in weight
        keep = np.r_[np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)), np.searchsorted(y, np.linspace(0, 1, 300))]
        keep = np.unique(np.minimum(keep, len(x) - 1).astype(int))
        x, y = np.r_[min(low, x[0]), x[keep]], np.r_[0.0 if x[0] > 0 or not decades else y[0], y[keep]]
        ax.plot(x, y, color=colour, ls=style, drawstyle="steps-post", label=name)
    if decades:
        logarithmic(ax, "x", low, float(positive.max()) * 1.1)
    else:
        ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel(label)
    ax.set_ylabel(f"share of {of}")
    ax.set_ylim(0, 1.02)
    if len(lines) > 1:
        ax.legend(loc="best")
    return ax


def gaps(ax: Axes, when_s: Values, of: str) -> Axes:
    """Time between arrivals beside the exponential distribution of the same mean, which memoryless arrivals have."""
    gap = np.diff(np.sort(when_s[np.isfinite(when_s)]))
    ecdf(ax, {"measured": gap}, "time between arrivals (s)", of)
    if len(gap) and gap.mean() > 0:
        low, high = ax.get_xlim()
        x = np.geomspace(low, high, 200) if ax.get_xscale() == "log" else np.linspace(max(low, 0), high, 200)
        ax.plot(x, -np.expm1(-x / gap.mean()), color=GREY, ls="--", label="exponential, same mean")
        ax.set_xlim(low, high)
        ax.legend(loc="best")
    return ax


def gangs(ax: Axes, gpus: Values, duration_s: Values | None, device: str) -> Axes:
    """Gang sizes: the share of jobs, and of device time where run times are known, that each has."""
    labels, which = gang_bins(np.asarray(gpus, np.float64))
    bars = {"of jobs": np.ones(len(gpus))}
    if duration_s is not None:
        bars[f"of {device} time"] = gpus * duration_s
    x, width = np.arange(len(labels)), 0.8 / len(bars)
    most = 0.0
    for k, (name, weight) in enumerate(bars.items()):
        height = np.bincount(which, weights=weight, minlength=len(labels)) / max(weight.sum(), 1e-12)
        at, colour, hatch = x + (k - (len(bars) - 1) / 2) * width, COLOURS[4 * k], HATCHES[k]
        ax.bar(at, height, width, color=colour, label=name, hatch=hatch, edgecolor="white", lw=0.3)
        most = max(most, float(height.max(initial=0.0)))
    upper = [label.rpartition("–")[2] for label in labels]
    ranges = upper != labels
    thousands = [label.isdigit() and int(label) % 1024 == 0 for label in upper]
    ax.set_xticks(x, [f"{int(t) // 1024}k" if k else t for t, k in zip(upper, thousands, strict=True)])
    if len(labels) > 10:
        ax.tick_params(axis="x", labelsize=6)
    if len(labels) == 1:
        ax.set_xlim(-1.5, 1.5)
    ax.set_xlabel(f"{device}s of a job" + (" (up to)" if ranges else ""))
    ax.set_ylabel("share")
    if len(bars) > 1:
        ax.set_ylim(0, most * 1.28)
        ax.legend(loc="upper right", ncols=2, columnspacing=1.0)
    return ax


def ranks(ax: Axes, counts: Mapping[str, float], label: str) -> Axes:
    """Bars of the ten largest, the largest on top; the axis says what share the others have."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    shown, rest = ordered[:10], ordered[10:]
    ax.barh(range(len(shown)), [count for _, count in shown], color=INK, height=0.7)
    ax.set_yticks(range(len(shown)), [short(name) for name, _ in shown])
    ax.set_ylim(max(len(shown), 4) - 0.4, -0.6)
    if rest:
        share = sum(count for _, count in rest) / sum(counts.values())
        ax.text(0.99, 0.03, f"{len(rest):,} others: {share:.0%}", transform=ax.transAxes, ha="right", fontsize=6.5)
    ax.set_xlabel(label)
    return ax


def short(name: str, most: int = 24) -> str:
    """A name of at most so many characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def band(ax: Axes, when_s: Values, values: Values, label: str, colour: str = INK, name: str = "mean") -> Axes:
    """A long series: its mean per bin, and the band from the 10th to the 90th percentile where bins hold several."""
    import pandas as pd

    bin_s = bins_of(when_s)
    grouped = pd.Series(values).groupby((np.asarray(when_s) // bin_s).astype(int))
    mean, several = grouped.mean(), grouped.size().median() > 3
    index = np.arange(mean.index[0], mean.index[-1] + 1)  # a bin without rows is a gap in the line
    at, _ = time_axis(ax, (index + 0.5) * bin_s)
    if several:
        low, high = grouped.quantile(0.1).reindex(index), grouped.quantile(0.9).reindex(index)
        ax.fill_between(at, low, high, color=colour, alpha=0.25, lw=0, label=f"P10 to P90 in {span(bin_s)}")
    marker = "." if len(mean) < 60 else ""  # a lone bin is no line
    ax.plot(
        at,
        mean.reindex(index),
        color=colour,
        lw=0.9,
        marker=marker,
        ms=2,
        label=f"{name}, {span(bin_s)} bins" if several else name,
    )
    ax.set_ylabel(label)
    ax.margins(x=0.0)
    return ax


def spread(
    ax: Axes,
    groups: Mapping[str, Mapping[str, Values]],
    label: str,
    rows: Sequence[str] = (),
    named: bool = True,
    zero: bool = False,
) -> Axes:
    """A row for each name: the median of its values, and a line from P10 to P90; a colour and marker for each group.

    Args:
        groups: group -> row -> values.
        rows: the rows from the top (default: by their greatest median).
        named: write the names of the rows.
        zero: begin at 0 where the axis is not logarithmic.
    """
    from matplotlib.ticker import EngFormatter

    every = np.concatenate([np.zeros(0), *(np.asarray(v) for each in groups.values() for v in each.values())])
    if not rows:
        middle = {row: max(np.median(each[row]) for each in groups.values() if row in each) for row in _rows_of(groups)}
        rows = sorted(middle, key=lambda row: -middle[row])
    at = {row: i for i, row in enumerate(rows)}
    step = 0.6 / max(len(groups), 1)
    for k, (group, each) in enumerate(groups.items()):
        mine = [row for row in each if row in at and len(each[row])]
        low, median, high = np.array([np.percentile(each[row], (10, 50, 90)) for row in mine]).reshape(-1, 3).T
        y = np.array([at[row] for row in mine]) + (k - (len(groups) - 1) / 2) * step
        colour = COLOURS[k % len(COLOURS)]
        ax.hlines(y, low, high, color=colour, lw=1.0)
        ax.plot(median, y, ls="", marker="osD^vP*X"[k % 8], ms=3.2, color=colour, label=group)
    ax.set_yticks(range(len(rows)), [short(row, 34) for row in rows] if named else [""] * len(rows))
    ax.tick_params(axis="y", labelsize=5.5 if len(rows) > 12 else 7.0)
    ax.set_ylim(len(rows) - 0.3, -0.7)
    ax.grid(axis="y", lw=0.3, color="#dddddd")
    ax.set_axisbelow(True)
    above = every[every > 0]
    ends = (float(above.min()) * 0.8, float(above.max()) * 1.25) if len(above) else (0.0, 1.0)
    least, most = np.quantile(every, (0.1, 0.9)) if len(every) else (0.0, 0.0)
    if least > 0 and most > 20 * least:
        logarithmic(ax, "x", *ends)
    else:
        ax.locator_params(axis="x", nbins=5)
        if len(every) and every.max() >= 1e5:
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))  # 20G for 2e10
        if zero:
            ax.set_xlim(left=0.0)
    ax.set_xlabel(label)
    return ax


def _rows_of(groups: Mapping[str, Mapping[str, Values]]) -> list[str]:
    return list(dict.fromkeys(row for each in groups.values() for row in each))
