"""Pictures of the world that jobs run in: networks, carbon, measures of services, machines.

Each function takes a table's frame and gives rows of panels, and with them, where they are not the usual ones, the
rows' heights and the number of columns; see :func:`hcsim.traces._panels.lay_out`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hcsim.plots import COLOURS
from hcsim.traces import _panels as p
from hcsim.traces._measures import (
    LINK_MEASURES,
    YEAR_S,
    grouped,
    provider,
    same_provider,
    split,
    yearly,
)
from hcsim.traces._panels import Panel, Rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: The most rows of names that a panel can hold, and the most panels of metrics.
MOST_NAMES, MOST_METRICS = 24, 6


def links(frame: pd.DataFrame) -> tuple[Rows, Sequence[float]]:
    """A panel for each measure; throughput by round trip; all pairs where there is one measure of few regions."""
    within = same_provider(frame)
    drawn: list[Panel] = []
    words = {
        "bytes_per_s": ("Throughput", "MB/s"),
        "rtt_s": ("Round trips", "round-trip time (ms)"),
        "usd_per_gb": ("Egress", "USD per GB"),
    }
    for key, _, scale in LINK_MEASURES:
        if frame[key].notna().any():
            lines = {
                name: (frame.loc[mask, key].dropna() / scale).to_numpy()
                for name, mask in (("within a provider", within), ("between providers", ~within))
            }
            name, label = words[key]
            drawn.append((name, partial(p.ecdf, lines=lines, label=label, of="ordered pairs")))
    both = frame[["rtt_s", "bytes_per_s"]].notna().all(axis=1)
    if both.any():
        drawn.append(("Throughput by round trip", lambda ax: _by_distance(ax, frame[both], within[both])))
    ends = sorted({*frame["source"], *frame["target"]})
    if len(drawn) == 1 and len(ends) <= 60:
        key = next(key for key, *_ in LINK_MEASURES if frame[key].notna().any())
        drawn.insert(0, ("All pairs", lambda ax: _matrix(ax, frame, key, words[key][1])))
        return [drawn], [max(0.5 + 0.045 * len(ends), 1.0)]
    return p.in_rows(drawn), ()


def _by_distance(ax: Axes, frame: pd.DataFrame, within: pd.Series[bool]) -> Axes:
    for name, mask, colour, marker in (
        ("between providers", ~within, p.SECOND, "x"),
        ("within a provider", within, p.INK, "."),
    ):
        ax.plot(frame.loc[mask, "rtt_s"] * 1e3, frame.loc[mask, "bytes_per_s"] / 1e6, ls="", marker=marker, ms=1.5,
                mew=0.4, alpha=0.6, color=colour, label=name, rasterized=True)  # fmt: skip
    ax.set(xlabel="round-trip time (ms)", ylabel="throughput (MB/s)", ylim=(0, None), xlim=(0, None))
    ax.legend(loc="upper right", markerscale=3)
    return ax


def _matrix(ax: Axes, frame: pd.DataFrame, key: str, label: str) -> Axes:
    """All pairs; regions in alphabetical order, which keeps continents together."""
    scale = next(scale for name, _, scale in LINK_MEASURES if name == key)
    rows, columns = sorted(set(frame["source"])), sorted(set(frame["target"]))
    grid = np.full((len(rows), len(columns)), np.nan)
    at = [
        frame[end].map({name: i for i, name in enumerate(names)})
        for end, names in (("source", rows), ("target", columns))
    ]
    grid[at[0], at[1]] = frame[key] / scale
    image = ax.imshow(grid, cmap="cividis", aspect="auto")
    ax.set_yticks(range(len(rows)), [name.partition(":")[2] or name for name in rows], fontsize=4.5)
    few = len(columns) <= 8
    ax.set_xticks(
        range(len(columns)) if few else [], [p.short(name, 18) for name in columns] if few else [], fontsize=6
    )
    ax.set_xlabel("to" if few or rows != columns else "to, in the same order")
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.02)
    return ax


def carbon(frame: pd.DataFrame) -> tuple[Rows, list[float]]:
    """Intensity over time, its daily cycle and distribution; of yearly figures regions by year and provider."""
    frame = frame[frame["g_per_kwh"].notna()]
    if yearly(frame):
        return _carbon_by_year(frame)
    places = frame["place"].value_counts().index[: p.MOST_LINES]
    by_place = {str(place): frame[frame["place"] == place] for place in places}

    def over_time(ax: Axes) -> Axes:
        for (name, mine), colour in zip(by_place.items(), COLOURS, strict=False):
            p.band(ax, mine["time_s"].to_numpy(), mine["g_per_kwh"].to_numpy(), "gCO$_2$eq per kWh", colour, name)
        ax.set_ylim(0, None)
        ax.legend(loc="upper right", ncols=4)
        ax.set_ylim(0, ax.get_ylim()[1] * 1.15)
        return ax

    first = frame[frame["place"] == places[0]]
    return [
        [("Carbon intensity", over_time)],
        [
            (
                f"Daily cycle, {places[0]}",
                lambda ax: p.level_by_hour(ax, first["time_s"], first["g_per_kwh"].to_numpy(), "gCO$_2$eq per kWh"),
            ),
            (
                "Distribution",
                lambda ax: p.ecdf(
                    ax, {n: x["g_per_kwh"].to_numpy() for n, x in by_place.items()}, "gCO$_2$eq per kWh", "time"
                ),
            ),
        ],
    ], [1.1, 1.0]


def _carbon_by_year(frame: pd.DataFrame) -> tuple[Rows, list[float]]:
    year = 1970 + (frame["time_s"] / YEAR_S).round().astype(int)
    who = provider(frame["place"])
    who = who if who.nunique() <= len(p.STYLES) else who.where(who == "", "").replace("", "all")
    last = frame[year == year.groupby(who).transform("max")]
    groups = {
        str(name): {f"{y}": x["g_per_kwh"].to_numpy() for y, x in frame[who == name].groupby(year[who == name])}
        for name in sorted(who.unique())
    }
    lines = {f"{name} {max(years)}": years[max(years)] for name, years in groups.items()}
    distribution: Panel = (
        "Regions in the latest year",
        lambda ax: p.ecdf(ax, lines, "gCO$_2$eq per kWh", "regions"),
    )
    if len(last) <= 50 and year.nunique() == 1:
        bars = dict(zip(last["place"].str.partition(":")[2], last["g_per_kwh"], strict=True))
        return [[(f"Regions in {year.max()}", lambda ax: _regions(ax, bars)), distribution]], [0.3 + 0.05 * len(bars)]
    return [[("Regions by year: median, P10 to P90", lambda ax: _years(ax, groups)), distribution]], [1.2]


def _years(ax: Axes, groups: dict[str, dict[str, Any]]) -> Axes:
    """Median and spread over regions by year, a line for each provider."""
    for k, (name, years) in enumerate(groups.items()):
        low, middle, high = np.array([np.percentile(x, (10, 50, 90)) for x in years.values()]).T
        at = np.array([int(y) for y in years]) + (k - (len(groups) - 1) / 2) * 0.15
        colour, style = p.STYLES[k]
        ax.errorbar(at, middle, yerr=(middle - low, high - middle), color=colour, ls=style, marker="osD^vP*X"[k], ms=3,
                    elinewidth=0.7, label=name)  # fmt: skip
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="year", ylabel="gCO$_2$eq per kWh")
    ax.set_ylim(0, ax.get_ylim()[1] * 1.3)
    ax.legend(loc="upper right", ncols=1)
    return ax


def _regions(ax: Axes, bars: dict[str, float]) -> Axes:
    names = sorted(bars, key=lambda name: bars[name])
    ax.barh(range(len(names)), [bars[name] for name in names], color=p.INK, height=0.7)
    ax.set_yticks(range(len(names)), names, fontsize=5)
    ax.set_ylim(-0.7, len(names) - 0.3)
    ax.set_xlabel("gCO$_2$eq per kWh")
    return ax


def scaled(values: pd.Series[float], unit: str) -> tuple[float, str]:
    """What to multiply seconds with so that they are numbers of a few digits, and the unit then."""
    if unit == "1":
        return 1.0, "ratio"
    high = float(values.quantile(0.9)) if unit == "s" and len(values) else 1.0
    return (1e6, "µs") if high < 1e-3 else (1e3, "ms") if high < 1 else (1.0, unit)


def summaries(frame: pd.DataFrame) -> tuple[Rows, list[float]]:
    """A panel for each unit: a row for each figure, a marker for each entity."""
    entities = list(dict.fromkeys(frame["entity"]))[:8]
    drawn: list[Panel] = []
    frame = frame.assign(metric=frame["metric"].str.replace("_", " "))
    units = grouped(frame, "unit")
    for unit, mine in list(units.items())[:MOST_METRICS]:
        groups = {who: grouped(mine[mine["entity"] == who], "metric") for who in entities}
        values = {who: {row: x["value"].to_numpy() for row, x in each.items()} for who, each in groups.items()}
        rows = list(dict.fromkeys(mine["metric"]))[:MOST_NAMES]
        key = not drawn
        drawn.append((f"Figures in {unit}", partial(_listed, groups=values, label=unit, rows=rows, key=key)))
    tall = [max(0.45 + 0.1 * len(dict.fromkeys(mine["metric"])), 0.7) for mine in units.values()]
    return [[panel] for panel in drawn], [min(each, 2.4) for each in tall[: len(drawn)]]


def _listed(ax: Axes, groups: dict[str, dict[str, Any]], label: str, rows: list[str], key: bool) -> Axes:
    p.spread(ax, groups, label, rows)
    if key:
        key_below(ax, ax.get_legend_handles_labels()[0])
    return ax


def metrics(frame: pd.DataFrame) -> tuple[Rows, list[float], int]:
    """For each metric its course over time and its distribution."""
    drawn: Rows = []
    for name, mine in itertools.islice(split(frame, "metric").items(), MOST_METRICS):
        words, (scale, unit) = name.replace("_", " "), scaled(mine["value"], str(mine["unit"].iloc[0]))
        when, values, label = mine["time_s"].to_numpy(), mine["value"].to_numpy() * scale, f"{words} ({unit})"
        over_time = partial(_course, when=when, values=values, label=label)
        drawn.append([(words[:1].upper() + words[1:], over_time),
                      ("Distribution", partial(p.ecdf, lines={"": values}, label=label, of="rows"))])  # fmt: skip
    return drawn, [1.0] * len(drawn), 2


def _course(ax: Axes, when: Any, values: Any, label: str) -> Axes:
    p.band(ax, when, values, label)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.25 * (high - low))
    ax.legend(loc="upper right", ncols=2)
    return ax


def key_below(ax: Axes, handles: list[Any]) -> None:
    """One legend for all panels: beside the title, or below where it is long."""
    where: Literal["outside upper right", "outside lower center"]
    beside = len(handles) <= 4 and len(ax.figure.get_suptitle()) <= 60
    where = "outside upper right" if beside else "outside lower center"
    across = max(130 // (max(len(str(handle.get_label())) for handle in handles) + 8), 1)
    ax.figure.legend(handles=handles, loc=where, ncols=min(len(handles), across), fontsize=7)


def nodes(frame: pd.DataFrame) -> Rows:
    """GPUs by type and by how many a node has; CPUs and memory for each GPU."""
    if not (frame["gpus"] > 0).any():
        cpus = {"": np.repeat(frame["cpus"].to_numpy(), frame["nodes"])}
        return [[("CPUs", lambda ax: p.ecdf(ax, cpus, "CPUs of a node", "nodes"))]]
    frame = frame[frame["gpus"] > 0]
    total = (frame["gpus"] * frame["nodes"]).groupby(frame["gpu"]).sum().sort_values(ascending=False)
    types = [str(gpu) for gpu in total.index]
    sizes = sorted(frame["gpus"].unique())

    def stacked(ax: Axes) -> Axes:
        left = np.zeros(len(total))
        for size, colour, hatch in zip(sizes, COLOURS, p.HATCHES, strict=False):
            mine = frame[frame["gpus"] == size]
            width = (mine["gpus"] * mine["nodes"]).groupby(mine["gpu"]).sum().reindex(total.index).fillna(0).to_numpy()
            ax.barh(range(len(total)), width, left=left, color=colour, label=f"{size} per node", hatch=hatch,
                    edgecolor="white", lw=0.3)  # fmt: skip
            left = left + width
        for i, gpus in enumerate(total):
            ax.text(gpus, i, f" {gpus:,}", va="center", fontsize=6)
        ax.set_yticks(range(len(total)), types)
        ax.set_ylim(len(total) - 0.3, -0.7)
        ax.set(xlabel="GPUs", xlim=(0, total.max() * 1.2))
        ax.legend(loc="best")
        return ax

    def per_gpu_of(column: str, scale: float) -> dict[str, dict[str, Any]]:
        known = grouped(frame[frame[column].notna()], "gpu")
        each = {gpu: (x[column] / x["gpus"] / scale).to_numpy() for gpu, x in known.items()}
        return {"": {gpu: np.repeat(values, known[gpu]["nodes"]) for gpu, values in each.items()}}

    per_gpu, ram = per_gpu_of("cpus", 1.0), per_gpu_of("ram_bytes", 2.0**30)
    drawn: list[Panel] = [
        ("GPUs by type", stacked),
        ("CPUs", lambda ax: p.spread(ax, per_gpu, "CPUs per GPU", types, named=False, zero=True)),
    ]
    if ram[""]:
        drawn.append(("Memory", lambda ax: p.spread(ax, ram, "GiB per GPU", types, named=False, zero=True)))
    return [drawn]
