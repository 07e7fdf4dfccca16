"""Figures: functions that take Matplotlib axes, draw on them and return them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hcsim.compare import METRICS, Comparison

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: Okabe and Ito's palette: told apart by readers with colour-blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C510A", "#666666")
SITE_COLOURS = ("#5b6770", "#e8a33d", "#7fb7d6", "#a8c686", "#c79fb4", "#3b8ea5")
MARKET_COLOURS = {
    "owned": "#7f7f7f",
    "reserved": "#bdbdbd",
    "on_demand": "#0072B2",
    "spot": "#56B4E9",
    "egress": "#D55E00",
}
DAY_S, HOUR_S = 86400.0, 3600.0


def colour(comparison: Comparison, name: str) -> str:
    """A strategy's colour, the same in every figure."""
    return COLOURS[comparison.strategies.index(name) % len(COLOURS)]


def tradeoff(ax: Axes, comparison: Comparison) -> Axes:
    """Cost against mean JCT with 95 % intervals over seeds; the Pareto front is a line through those on it."""
    points = {}
    for name in comparison.strategies:
        x, y = comparison.cells[name]["cost_usd"], comparison.cells[name]["jct_mean_s"]
        points[name] = (x.mean, y.mean)
        ax.errorbar(
            x.mean, y.mean, xerr=_bar(x.half), yerr=_bar(y.half), fmt="o", color=colour(comparison, name), capsize=3
        )
    front = sorted(
        p for p in points.values() if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points.values())
    )
    ax.plot(*np.array(front).T, color="#999999", lw=1, ls="--", zorder=0, label="Pareto front")
    if max(p[1] for p in points.values()) > 4 * min(p[1] for p in points.values()):
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("{x:g}")
    _spread_labels(ax, {name: (x, y, colour(comparison, name)) for name, (x, y) in points.items()})
    ax.set_xlabel("cost (kUSD)")
    ax.set_ylabel("mean JCT (h)")
    ax.legend(frameon=False, loc="best", fontsize=8)
    return ax


def _bar(half: float) -> float:
    return 0.0 if np.isnan(half) else half


def _spread_labels(ax: Axes, points: dict[str, tuple[float, float, str]]) -> None:
    """Name each point beside it, moved apart vertically where names would overlap."""
    ax.margins(x=0.25, y=0.15)
    figure = ax.figure
    figure.canvas.draw()
    taken: list[tuple[float, float]] = []
    for name, (x, y, tint) in sorted(points.items(), key=lambda item: item[1][1]):
        px, py = ax.transData.transform((x, y))
        dy = 5.0
        while any(abs(py + dy - ty) < 13 and abs(px - tx) < 110 for tx, ty in taken):
            dy += 5.0
        taken.append((px, py + dy))
        scale = 72.0 / figure.dpi
        ax.annotate(name, (x, y), xytext=(7, dy * scale), textcoords="offset points", color=tint, fontsize=9)


def jct_cdf(ax: Axes, jobs: pd.DataFrame, comparison: Comparison) -> Axes:
    """Share of finished jobs by JCT, all seeds together, on a logarithmic axis."""
    for name in comparison.strategies:
        values = np.sort(jobs.loc[jobs["strategy"] == name, "jct_s"].dropna().to_numpy()) / HOUR_S
        if len(values):
            at = np.unique(np.linspace(0, len(values) - 1, 500).astype(int))
            ax.plot(np.maximum(values[at], 1e-3), (at + 1) / len(values), color=colour(comparison, name), label=name)
    ax.set_xscale("log")
    ax.set_xlabel("JCT (h)")
    ax.set_ylabel("share of jobs finished within")
    ax.set_ylim(0, 1.01)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return ax


def occupancy(ax: Axes, timeline: pd.DataFrame, title: str, colours: Sequence[str] = SITE_COLOURS) -> Axes:
    """GPUs held over time, stacked by site, under the line of GPUs that were up."""
    wide = timeline.pivot(index="time_s", columns="site", values="gpus_held")
    sites = list(dict.fromkeys(timeline["site"]))
    days = wide.index.to_numpy() / DAY_S
    ax.stackplot(days, [wide[site].to_numpy() for site in sites], labels=sites, colors=list(colours), lw=0)
    up = timeline.groupby("time_s")["gpus_up"].sum().to_numpy()
    ax.plot(days, up, color="#222222", lw=0.8, label="up")
    ax.set_title(title, loc="left", fontsize=9)
    ax.set_xlim(0, None)
    return ax


def queue(ax: Axes, timeline: pd.DataFrame, comparison: Comparison) -> Axes:
    """GPUs that waiting jobs ask for over time, one line per strategy; zero is drawn at the axis's foot."""
    for name in comparison.strategies:
        mine = timeline[timeline["strategy"] == name]
        mine = mine[mine["site"] == mine["site"].iloc[0]]
        ax.plot(mine["time_s"] / DAY_S, mine["waiting_gpus"], color=colour(comparison, name), lw=1, label=name)
    ax.set_yscale("symlog", linthresh=10)
    ax.set_ylim(0, None)
    ax.set_xlim(0, None)
    ax.set_xlabel("time (days)")
    ax.set_ylabel("GPUs asked for by waiting jobs")
    ax.legend(frameon=False, fontsize=8, ncols=3)
    return ax


def cost_by_market(ax: Axes, ledger: pd.DataFrame, comparison: Comparison) -> Axes:
    """Mean cost per run, stacked by market and egress."""
    markets = [m for m in MARKET_COLOURS if (ledger["market"] == m).any()]
    left = np.zeros(len(comparison.strategies))
    names = list(comparison.strategies)[::-1]
    for market in markets:
        part = ledger[ledger["market"] == market].groupby("strategy")["usd"].sum() / len(comparison.seeds) / 1000.0
        width = np.array([part.get(name, 0.0) for name in names])
        ax.barh(names, width, left=left, color=MARKET_COLOURS[market], label=market.replace("_", " "), height=0.65)
        left += width
    ax.set_xlabel("mean cost per run (kUSD)")
    ax.legend(frameon=False, fontsize=8, ncols=len(markets), loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def differences(ax: Axes, comparison: Comparison, key: str) -> Axes:
    """Paired difference of a metric from the baseline with its 95 % interval; hollow where it contains zero."""
    metric = next(m for m in METRICS if m.key == key)
    names = [n for n in comparison.strategies if n != comparison.baseline][::-1]
    for i, name in enumerate(names):
        cell = comparison.cells[name][key]
        clear = cell.verdict in ("better", "worse")
        tint = colour(comparison, name)
        ax.plot([cell.low, cell.high], [i, i], color=tint, lw=2)
        ax.plot(cell.difference, i, "o", color=tint, mfc=tint if clear else "white")
    ax.axvline(0, color="#444444", lw=0.8)
    reach = sorted(max(abs(comparison.cells[n][key].low), abs(comparison.cells[n][key].high)) for n in names)
    if reach and reach[-1] > 8 * reach[0] > 0:  # one far-off strategy must not flatten the others
        ax.set_xscale("symlog", linthresh=reach[0])
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    better = "right" if metric.more_is_better else "left"
    ax.set_xlabel(f"{metric.title}: difference from {comparison.baseline} ({metric.unit}; {better} is better)")
    return ax
