"""Figures: functions that take Matplotlib axes, draw on them and return them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.compare import BETTER, OTHER_JOBS, WORSE, Comparison
from hcsim.stats import dominators
from hcsim.tables import header

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: Okabe and Ito's palette: told apart by readers with colour-blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C510A", "#666666")
SITE_COLOURS = ("#5b6770", "#e8a33d", "#7fb7d6", "#a8c686", "#c79fb4", "#3b8ea5")
MARKET_COLOURS = {
    "owned": "#7f7f7f",
    "reserved": "#009E73",
    "on_demand": "#0072B2",
    "spot": "#56B4E9",
    "egress": "#D55E00",
    "storage": "#CC79A7",
    "control_plane": "#8C510A",
    "energy": "#E69F00",
}
DAY_S, HOUR_S = 86400.0, 3600.0


def colour(comparison: Comparison, name: str) -> str:
    """A strategy's colour, the same in every figure."""
    return COLOURS[comparison.strategies.index(name) % len(COLOURS)]


def line(comparison: Comparison, name: str) -> dict[str, Any]:
    """Colour, dashes and label of a strategy's line: where colours are used up, dashes tell lines apart."""
    turn = comparison.strategies.index(name) // len(COLOURS)
    return {"color": colour(comparison, name), "ls": ("-", "--", ":", "-.")[turn % 4], "label": name}


def tradeoff(ax: Axes, comparison: Comparison, x: str = "cost_usd", y: str = "jct_mean_s") -> Axes:
    """A figure against another with 95 % intervals; the Pareto front is a line through the strategies on it.

    Strategies that finished other jobs than the baseline are hollow and not on the front: their figures are of others.

    Args:
        x, y: keys of metrics of the comparison.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    across, up = comparison.metric(x), comparison.metric(y)
    points, bars, apart = {}, {}, set()
    for name in comparison.strategies:
        ours = [comparison.cells[name][key] for key in (x, y)]
        if any(np.isnan(cell.mean) for cell in ours):
            continue  # it finished nothing
        points[name], tint = (ours[0].mean, ours[1].mean), colour(comparison, name)
        bars[name] = (_bar(ours[0].half), _bar(ours[1].half))
        if any(cell.verdict == OTHER_JOBS for cell in ours):
            apart.add(name)
        style: dict[str, Any] = {"xerr": bars[name][0], "yerr": bars[name][1], "capsize": 2, "lw": 1, "alpha": 0.45}
        ax.errorbar(*points[name], fmt="none", color=tint, **style)
        ax.plot(*points[name], "o", color=tint, mfc="white" if name in apart else tint, ms=6, zorder=3)
    rivals = np.array([point for name, point in points.items() if name not in apart]).reshape(-1, 2)
    sign = np.array([-1.0 if metric.more_is_better else 1.0 for metric in (across, up)])
    front = rivals[~dominators(rivals * sign).any(axis=1)]
    if len(front):
        ax.plot(*front[np.lexsort(front.T[::-1])].T, color="#999999", lw=1, ls="--", zorder=0, label="Pareto front")
        ax.legend(frameon=False, loc="best", fontsize=8)
    heights = [point[1] for point in points.values()]
    if heights and max(heights) > 4 * min(heights) > 0:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.margins(x=0.12, y=0.12)
    ax.set_xlabel(header(across))
    ax.set_ylabel(header(up))
    _label(ax, points, bars, comparison)
    return ax


def _bar(half: float) -> float:
    return 0.0 if np.isnan(half) else half


def _label(
    ax: Axes, points: dict[str, tuple[float, float]], bars: dict[str, tuple[float, float]], comparison: Comparison
) -> None:
    """Name each point near it, with a line to it where the name is not beside it.

    Of the places around a point the one is taken that costs least: far away, over a bar, across another point, and
    above all over another name or outside the axes cost. ``bars`` are half-widths of the intervals.
    """
    figure = ax.figure
    figure.canvas.draw()  # so that places on paper are known
    unit = figure.dpi / 72.0
    frame = ax.get_window_extent()
    legend = ax.get_legend()
    named = [_boxes(legend.get_window_extent().extents)] if legend else []
    names = list(points)
    at = ax.transData.transform([points[name] for name in names]).reshape(-1, 2)
    dots = np.c_[at - 5 * unit, at + 5 * unit]
    lines = []
    for (x, y), (across, up) in zip(points.values(), bars.values(), strict=True):
        for ends in ([(x - across, y), (x + across, y)], [(x, y - up), (x, y + up)]):
            lines.append(_boxes(ax.transData.transform(ends).ravel() + np.array([-unit, -unit, unit, unit])))
    far = np.array([*product(range(0, 96, 8), range(0, 96, 8), (1, -1, 0), (1, -1, 0))], float)
    far = far[(far[:, 2] != 0) | (far[:, 3] != 0)]
    for k in np.lexsort(at.T[::-1]).tolist():
        style: dict[str, Any] = {"color": colour(comparison, names[k]), "fontsize": 9, "ha": "center", "va": "center"}
        text = ax.annotate(names[k], points[names[k]], **style)
        half = np.array([text.get_window_extent().width, text.get_window_extent().height]) / 2
        text.remove()
        by = far[:, 2:] * (half + (far[:, :2] + np.array([5, 3])) * unit)
        box = np.c_[at[k] + by - half, at[k] + by + half]
        way = at[k] + by[:, None, :] * np.linspace(0.0, 1.0, 16)[None, :-1, None]  # the line, point by point
        way_boxes = np.concatenate([way - 1, way + 1], axis=2)
        outside = (box[:, :2] < (frame.x0, frame.y0)).any(1) | (box[:, 2:] > (frame.x1, frame.y1)).any(1)
        cost = far[:, 0] + far[:, 1] + 1000.0 * outside + 30.0 * _hits(box, np.concatenate(lines))
        cost += 300.0 * _hits(box, np.concatenate([dots, *named]))
        tied = far[:, 0] + far[:, 1] > 0
        for obstacles, price in ((np.delete(dots, k, 0), 10.0), *((each, 60.0) for each in named)):
            cost += tied * price * sum((_hits(way_boxes[:, i], obstacles) for i in range(way.shape[1])), np.zeros(1))
        best = int(np.argmin(cost))
        named.append(box[best : best + 1] + np.array([-2, -2, 2, 2]) * unit)
        if tied[best]:
            named.append(way_boxes[best])
            style["arrowprops"] = {"arrowstyle": "-", "color": style["color"], "lw": 0.7, "shrinkA": 1, "shrinkB": 4}
        ax.annotate(
            names[k], points[names[k]], xytext=tuple(by[best] / unit), textcoords="offset points", zorder=4, **style
        )


def _boxes(extents: Any) -> npt.NDArray[np.float64]:
    """Left, bottom, right and top on paper, shape (1, 4)."""
    return np.asarray(extents, np.float64).reshape(1, 4)


def _hits(some: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How many of ``others`` each of some boxes overlaps; shapes (n, 4) and (m, 4), to (n,)."""
    apart = (some[:, None, :2] >= others[None, :, 2:]).any(2) | (others[None, :, :2] >= some[:, None, 2:]).any(2)
    count: npt.NDArray[np.float64] = (~apart).sum(axis=1).astype(np.float64)
    return count


def jct_cdf(ax: Axes, jobs: pd.DataFrame, comparison: Comparison) -> Axes:
    """Share of all jobs that finished within a JCT, all seeds together, on a logarithmic axis."""
    for name in comparison.strategies:
        mine = jobs.loc[jobs["strategy"] == name, "jct_s"]
        values = np.sort(mine.dropna().to_numpy()) / HOUR_S
        if len(values):
            at = np.unique(np.linspace(0, len(values) - 1, 500).astype(int))
            ax.plot(np.maximum(values[at], 1e-3), (at + 1) / len(mine), **line(comparison, name))
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
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
    ax.margins(x=0)  # no fixed limit: where panels share an axis, the longest run decides
    return ax


def queue(ax: Axes, timeline: pd.DataFrame, comparison: Comparison) -> Axes:
    """GPUs that waiting jobs ask for over time, one line per strategy; zero is drawn at the axis's foot."""
    for name in comparison.strategies:
        mine = timeline[timeline["strategy"] == name]
        mine = mine[mine["site"] == mine["site"].iloc[0]]
        ax.plot(mine["time_s"] / DAY_S, mine["waiting_gpus"], lw=1, **line(comparison, name))
    ax.set_yscale("symlog", linthresh=10)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(0, None)
    ax.set_xlim(0, None)
    ax.set_xlabel("time (days)")
    ax.set_ylabel("GPUs asked for by waiting jobs")
    ax.legend(frameon=False, fontsize=8, ncols=3)
    return ax


def _costs(ledger: pd.DataFrame, comparison: Comparison) -> pd.DataFrame:
    """Mean kUSD per run, a row per strategy and a column per (market or category, whether a job's)."""
    part = [ledger["strategy"], ledger["market"].astype(str), ledger["job"] >= 0]
    usd = ledger["usd"].groupby(part).sum() / len(comparison.pairs or comparison.seeds) / 1000.0
    return usd.unstack([1, 2]).reindex(list(comparison.strategies)).fillna(0.0)


def cost_by_market(ax: Axes, ledger: pd.DataFrame, comparison: Comparison) -> Axes:
    """Mean cost per run, stacked by market and what is bought in none; hatched is what no job had: idle or unused."""
    costs = _costs(ledger, comparison)
    names, left = list(comparison.strategies)[::-1], np.zeros(len(comparison.strategies))
    there = set(costs.columns.get_level_values(0))
    markets = [m for m in MARKET_COLOURS if m in there]
    for market in markets:
        for of_jobs in (True, False):
            if (market, of_jobs) not in costs.columns:
                continue
            width = costs[market, of_jobs].reindex(names).to_numpy()
            first = of_jobs or (market, True) not in costs.columns
            label = market.replace("_", " ") if first else None
            unused = not of_jobs and market in ("owned", "reserved", "on_demand", "spot")
            style: dict[str, Any] = {"alpha": 0.45, "hatch": "////", "edgecolor": "white", "lw": 0} if unused else {}
            ax.barh(names, width, left=left, color=MARKET_COLOURS[market], label=label, height=0.65, **style)
            left += width
    ax.set_xlabel("mean cost per run (kUSD); hatched: idle or unused")
    ax.legend(frameon=False, fontsize=8, ncols=min(len(markets), 4), loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def cost_steps(ax: Axes, ledger: pd.DataFrame, comparison: Comparison) -> Axes:
    """Where a strategy's cost differs from the baseline's: a step per market and category, dearer to the right.

    The steps of one row follow one another from zero and end at the whole difference, which a line marks.
    """
    costs = _costs(ledger, comparison).T.groupby(level=0).sum().T
    delta = costs - costs.loc[comparison.baseline]
    names = [n for n in comparison.strategies if n != comparison.baseline][::-1]
    markets = [m for m in MARKET_COLOURS if m in delta.columns and delta[m].abs().max() > 0]
    steps = delta.reindex(index=names, columns=markets).to_numpy(np.float64)
    for row in range(len(names)):
        at = 0.0
        for k, market in enumerate(markets):
            height = 0.7 / len(markets)
            y = row + 0.35 - (k + 0.5) * height
            ax.barh(y, steps[row, k], left=at, height=height, color=MARKET_COLOURS[market])
            at += steps[row, k]
        ax.plot([at, at], [row - 0.4, row + 0.4], color="#222222", lw=1.2)
    ax.axvline(0, color="#444444", lw=0.8)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.6, max(len(names), 1) - 0.4)
    ax.use_sticky_edges = False  # bars would stick to the frame
    ax.margins(x=0.06)
    ax.set_xlabel(f"mean cost less {comparison.baseline}'s (kUSD), step by step")
    return ax


def differences(ax: Axes, comparison: Comparison, key: str) -> Axes:
    """Paired difference of a metric from the baseline with its 95 % interval; hollow where it is not claimed."""
    metric = comparison.metric(key)
    names = [n for n in comparison.strategies if n != comparison.baseline][::-1]
    reach = []
    for i, name in enumerate(names):
        cell = comparison.cells[name][key]
        if np.isnan(cell.low):
            ax.annotate("not comparable", (0, i), xytext=(6, 0), textcoords="offset points", va="center")
            continue
        tint = colour(comparison, name)
        ax.plot([cell.low, cell.high], [i, i], color=tint, lw=2)
        ax.plot(cell.difference, i, "o", color=tint, mfc=tint if cell.verdict in (BETTER, WORSE) else "white")
        reach.append(max(abs(cell.low), abs(cell.high)))
    ax.axvline(0, color="#444444", lw=0.8)
    better = "right" if metric.more_is_better else "left"
    scale = ""
    if reach and max(reach) > 8 * min(reach) > 0:  # one far-off strategy must not flatten the others
        ax.set_xscale("symlog", linthresh=min(reach))
        ax.xaxis.set_major_formatter("{x:g}")
        scale = f", logarithmic beyond ±{min(reach):.2g}"
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_xlabel(f"{metric.title} less {comparison.baseline}'s ({metric.unit}; {better} is better{scale})")
    return ax
