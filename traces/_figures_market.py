"""Pictures of what clouds offer: spot capacity, prices, and what a provider says of interruptions.

Each function takes a table's frame and gives rows of panels, and with them, where they are not the usual ones, the
rows' heights and the number of columns; see :func:`hcsim.traces._panels.lay_out`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from hcsim.plots import COLOURS
from hcsim.traces import _panels as p
from hcsim.traces._measures import (
    DAY_S,
    HOUR_S,
    grouped,
    per_gpu,
    runs,
    spells,
)
from hcsim.traces._panels import Rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: The most rows of names that a panel can hold.
_MOST_NAMES = 24


def availability(frame: pd.DataFrame) -> tuple[Rows, list[float]]:
    """A strip for each place; uptime, or the share of time with at least so many nodes; how long runs last."""
    spell = spells(frame)
    names = (spell["place"] + " " + spell["gpu"]).drop_duplicates().tolist()
    strips = len(names)
    counts = int(spell["nodes"].max()) > 1
    up, down = spell[spell["nodes"] > 0], spell[spell["nodes"] == 0]
    lengths = {
        name: np.concatenate([np.zeros(0), *(runs(mine) for mine in _by_place(each).values())]) / HOUR_S
        for name, each in (("available", up), ("not available", down))
    }
    if counts:
        lengths = {"": spell["duration_s"].to_numpy() / HOUR_S}
    label = "time between changes (h)" if counts else "length of a run (h)"
    rows: Rows = [
        [("Nodes that could be had", lambda ax: _strips(ax, spell, names))],
        [
            ("Capacity", lambda ax: _at_least(ax, spell))
            if counts
            else ("Uptime", lambda ax: _uptime(ax, spell, names)),
            ("Changes" if counts else "Runs", lambda ax: p.ecdf(ax, lengths, label, "changes" if counts else "runs")),
        ],
    ]
    return rows, [min(0.45 + 0.2 * strips, 2.5), 1.0]


def _strips(ax: Axes, spell: pd.DataFrame, names: list[str]) -> Axes:
    """A strip for each place and GPU: dark where nodes could be had, the darker the more."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LinearSegmentedColormap

    most = int(spell["nodes"].max())
    shades = LinearSegmentedColormap.from_list(
        "nodes", ["#f2d9c8", "#0072B2"] if most <= 1 else ["#f2d9c8", "#56B4E9", "#003a5d"]
    )
    ends = np.r_[spell["start_s"], (spell["start_s"] + spell["duration_s"])]
    at, _ = p.time_axis(ax, ends)
    begin, end = np.split(at, 2)
    row = (spell["place"] + " " + spell["gpu"]).map({name: i for i, name in enumerate(names)}).to_numpy()
    low, high = row - 0.42, row + 0.42
    corners = np.stack([np.c_[begin, low], np.c_[begin, high], np.c_[end, high], np.c_[end, low]], axis=1)
    strip = PolyCollection(list(corners), array=spell["nodes"].to_numpy(float), cmap=shades, lw=0, rasterized=True)
    strip.set_clim(0, max(most, 1))
    ax.add_collection(strip)
    ax.set(xlim=(at.min(), at.max()), ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=names)
    bar = ax.figure.colorbar(strip, ax=ax, pad=0.01, aspect=8, ticks=[0, most] if most else [0])
    bar.set_label("nodes")
    return ax


def _uptime(ax: Axes, spell: pd.DataFrame, names: list[str]) -> Axes:
    """The share of time in which a node could be had, by place."""
    key = spell["place"] + " " + spell["gpu"]
    up = (spell["duration_s"] * (spell["nodes"] > 0)).groupby(key).sum() / spell["duration_s"].groupby(key).sum()
    share = [float(up[name]) for name in names]
    ax.barh(range(len(names)), share, color=p.INK, height=0.6)
    for i, value in enumerate(share):
        inside = value > 0.5
        ax.text(value, i, f"{value:.1%} ", va="center", ha="right" if inside else "left", fontsize=6.5,
                color="white" if inside else "black")  # fmt: skip
    ax.set(xlim=(0, 1), yticks=range(len(names)), yticklabels=names, xlabel="share of time with capacity")
    ax.set_ylim(max(len(names), 2) - 0.5, -0.5 - (len(names) == 1) * 0.5)
    return ax


def _at_least(ax: Axes, spell: pd.DataFrame) -> Axes:
    """The share of time in which at least so many nodes could be had."""
    for (name, mine), (colour, style) in zip(_by_place(spell).items(), itertools.cycle(p.STYLES), strict=False):
        held = mine.groupby("nodes")["duration_s"].sum()
        at_least = (held[::-1].cumsum()[::-1] / held.sum()).loc[1:]
        nodes, share = np.r_[1, at_least.index], np.r_[at_least.iloc[:1], at_least]
        ax.plot(nodes, share, color=colour, ls=style, drawstyle="steps-pre", label=name)
    ax.set(xlabel="nodes, at least", ylabel="share of time", ylim=(0, 1.02), xlim=(0.5, None))
    if len(_by_place(spell)) > 1:
        ax.legend(loc="best")
    return ax


def _by_place(spell: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return grouped(spell.assign(name=spell["place"] + " " + spell["gpu"]), "name")


def prices(frame: pd.DataFrame) -> tuple[Rows, list[float]]:
    """Prices per GPU-hour over time, and sorted; of one day only sorted. Rows are GPUs, or places where all are one."""
    mine = per_gpu(frame)
    if not len(mine):
        by_market = {m.replace("_", " "): x["usd_per_h"].to_numpy() for m, x in grouped(frame, "market").items()}
        return [[("Prices", lambda ax: p.ecdf(ax, by_market, "USD per h of an instance", "offers"))]], [1.2]
    one = mine["gpu"].nunique() == 1 and mine["place"].nunique() > 1
    mine = mine.assign(row=mine["place"] if one else mine["gpu"])
    names = mine["row"].value_counts().index[:_MOST_NAMES]
    groups = {
        market.replace("_", " "): {row: x["usd_per_gpu_h"].to_numpy() for row, x in grouped(each, "row").items()}
        for market, each in grouped(mine[mine["row"].isin(names)], "market").items()
    }
    what = f"{mine['gpu'].iloc[0]} by place" if one else "By GPU"
    rows: Rows = []
    heights = []
    when = mine["time_s"].to_numpy()
    if np.isfinite(when).all() and np.ptp(when) > 2 * DAY_S:
        every = "day" if np.ptp(when) < 70 * DAY_S else "week" if np.ptp(when) < 490 * DAY_S else "month"
        rows.append([(f"Median over offers by the {every}", lambda ax: _prices_over_time(ax, mine, every))])
        heights.append(1.2)
    if len(names) > 1 or not rows:
        rows.append([(f"{what}: median, P10 to P90", lambda ax: _priced(ax, groups))])
        heights.append(max(0.35 + 0.09 * len(names), 0.7))
    return rows, heights


def _priced(ax: Axes, groups: dict[str, dict[str, Any]]) -> Axes:
    p.spread(ax, groups, "USD per GPU-hour", zero=True)
    ax.legend(loc="lower right")
    return ax


def _prices_over_time(ax: Axes, mine: pd.DataFrame, every: str) -> Axes:
    """Median price per GPU-hour over time, of the rows with most offers; a colour for each, a style for each market.

    Args:
        every: day, week or month; one without offers is a gap in the line.
    """
    rows = mine["row"].value_counts().index[: p.MOST_LINES - 1]
    markets = [m for m in ("on_demand", "spot", "reserved") if (mine["market"] == m).any()]
    bin_of = mine["time_s"].to_numpy().astype("datetime64[s]").astype(f"datetime64[{every[0].upper()}]")
    bins = np.arange(bin_of.min(), bin_of.max() + 1)
    at, _ = p.time_axis(ax, bins.astype("datetime64[s]").astype(np.float64))
    for row, colour in zip(rows, COLOURS, strict=False):
        for market, style in zip(markets, ("-", "--", ":"), strict=False):
            is_of = ((mine["row"] == row) & (mine["market"] == market)).to_numpy()
            if is_of.any():
                middle = mine.loc[is_of, "usd_per_gpu_h"].groupby(bin_of[is_of]).median().reindex(bins)
                label = " ".join((str(row), market.replace("_", " "))).strip()
                ax.plot(at, middle, color=colour, ls=style, marker=".", ms=2, label=label)
    least, most = mine["usd_per_gpu_h"].quantile((0.05, 0.95))
    if least > 0 and most > 8 * least:
        drawn = np.concatenate([np.asarray(line.get_ydata()) for line in ax.lines])
        p.logarithmic(ax, "y", float(np.nanmin(drawn)) * 0.8, float(np.nanmax(drawn)) * 1.25)
    ax.set_ylabel("USD per GPU-hour")
    ax.margins(x=0.01)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def advice(frame: pd.DataFrame) -> Rows:
    """How often instances are interrupted, and what is saved, by that."""
    bands = sorted(frame["interruption_share"].unique())
    edges = [0.0, *bands]
    names = [f">{low:.0%}" if high == 1.0 else f"{100 * low:.0f}–{high:.0%}" for low, high in itertools.pairwise(edges)]
    groups = [frame.loc[frame["interruption_share"] == band, "saving_share"].to_numpy() for band in bands]

    def count(ax: Axes) -> Axes:
        ax.bar(range(len(names)), [len(group) / len(frame) for group in groups], color=p.INK, width=0.7)
        ax.set_xticks(range(len(names)), names)
        ax.set(xlabel="interrupted within a month", ylabel="share of offers")
        return ax

    def saving(ax: Axes) -> Axes:
        ax.boxplot(groups, whis=(10, 90), showfliers=False, widths=0.5, medianprops={"color": p.SECOND})
        ax.set_xticks(range(1, len(names) + 1), names)
        ax.set(xlabel="interrupted within a month", ylabel="saving (share)")
        return ax

    return [[("Interruptions", count), ("Saving below on demand: quartiles, P10 to P90", saving)]]
