"""Pictures of measured speed; what their functions give is as in :mod:`hcsim.traces._figures_world`."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from hcsim.traces import _panels as p
from hcsim.traces._figures_world import MOST_METRICS, MOST_NAMES, key_below, scaled
from hcsim.traces._measures import grouped
from hcsim.traces._panels import Panel, Rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MOST_LINED = 15
_SIZE = r"^([\d.]+) (tokens|bytes)\b(.*)$"
_INPUT = re.compile(r"^input (\d+)")
_OTHER_QUANTILES = re.compile(r", (?:min|max|mean|P(?!99$)[\d.]+)$")
#: Parts of the names of operators, in words.
_WORDS = {
    "emb": "embedding", "attn": "attention", "proj": "projection", "layernorm": "layer norm", "mlp": "MLP",
    "act": "activation", "fn": "function", "rope": "rotary embedding", "add": "residual addition",
}  # fmt: skip


def profiles(frame: pd.DataFrame) -> tuple[Rows, list[float], int]:
    """A panel per metric; a row per model, or per number of GPUs where there is one model; a colour per GPU.

    Of what was measured alone and beside others only the former is drawn; of several gangs of a model the smallest.
    Times by a size (``512 tokens``, ``input 512``) are lines over it. MLPerf's scenarios have panels of their own.
    """
    over_size = _by_size(frame)
    if over_size is not None:
        return over_size
    alone = frame["setting"] == "alone"
    frame = frame[alone] if alone.any() else frame
    if frame["model"].nunique() > 1:
        frame = frame[frame["gpus"] == frame.groupby("model")["gpus"].transform("min")]
        gang = frame["gpus"].map(" ×{:g}".format) if frame["gpus"].nunique() > 1 else ""
        frame = frame.assign(row=frame["model"].str.rpartition("/")[2] + gang)
    else:
        frame = frame.assign(
            row=frame["gpus"].map("{:g} GPUs".format).replace({"1 GPUs": "1 GPU", "0 GPUs": "all"})
        ).sort_values("gpus")
    names = frame["row"].value_counts().index[:MOST_NAMES]
    frame = frame[frame["row"].isin(names)]
    scenario = frame["setting"].str.extract(r"^(Offline|Server|SingleStream|MultiStream)\b")[0]
    frame = frame.assign(scenario=scenario if scenario.notna().all() else "")
    metrics = list(frame[["metric", "unit", "scenario"]].drop_duplicates().itertuples(index=False, name=None))
    at = {name: i for i, name in enumerate(dict.fromkeys(each[:2] for each in metrics))}
    # of a distribution its P99 goes first; the scenarios of a metric stand side by side
    metrics.sort(key=lambda each: (bool(_OTHER_QUANTILES.search(each[0])), at[each[:2]], each[2]))
    most = MOST_METRICS if scenario.isna().any() else MOST_METRICS + 2
    units = frame.groupby("metric")["unit"].nunique()
    first = frame[(frame["metric"] == metrics[0][0]) & (frame["unit"] == metrics[0][1])]
    rows = list(dict.fromkeys(frame["row"]))
    if frame["model"].nunique() > 1:
        rows = sorted(rows, key=lambda row: -first.loc[first["row"] == row, "value"].median())
    gpus = sorted(frame["gpu"].unique())
    columns = min(3 if scenario.isna().any() else 2, len(metrics))
    drawn: list[Panel] = []
    for metric, unit, where in metrics[:most]:
        mine = frame[(frame["metric"] == metric) & (frame["unit"] == unit) & (frame["scenario"] == where)]
        title = _title(metric) + (f" in {unit}" if units[metric] > 1 else "") + (f", {where}" if where else "")
        scale, unit = scaled(mine["value"], unit)
        groups = {
            gpu: {r: x["value"].to_numpy() * scale for r, x in grouped(mine[mine["gpu"] == gpu], "row").items()}
            for gpu in gpus
        }
        k = len(drawn)
        label = f"{metric.replace('_', ' ')} ({unit})"
        more = len(metrics) - most if k == most - 1 else 0
        draw = partial(_measured, groups=groups, label=label, rows=rows, named=k % columns == 0, key=k == 0, more=more)
        drawn.append((title, draw))
    tall = max(0.45 + (0.075 if len(rows) > 12 else 0.09) * len(rows) * max(1.0, 0.4 * len(gpus)), 0.8)
    lined = [drawn[i : i + columns] for i in range(0, len(drawn), columns)]
    return lined, [min(tall, 2.4)] * len(lined), columns


def _title(metric: str) -> str:
    """A metric in words, for a title: ``mlp_up_proj`` is an MLP's up projection."""
    words = " ".join(_WORDS.get(word, word) for word in metric.split("_"))
    return words[:1].upper() + words[1:]


def _by_size(frame: pd.DataFrame) -> tuple[Rows, list[float], int] | None:
    """For each metric its median by size, both logarithmic: a line for each gang, and what else the setting says. None
    where settings are of no size, or there would be more lines than can be told apart."""
    size = frame["setting"].str.replace(_INPUT, r"\1 tokens", regex=True).str.extract(_SIZE)
    unit = str(size[1].iloc[0])
    if size[0].isna().any() or size[1].nunique() > 1 or size[0].nunique() <= 5:
        return None
    rest = size[2].fillna("").str.rpartition(", ")
    also = rest[0] if rest[2].nunique() == 1 else size[2].fillna("")  # what all have in common tells no lines apart
    gang = frame["gpus"].map("{:g} GPUs".format).replace("1 GPUs", "1 GPU") + also
    if frame["gpu"].nunique() > 1:
        gang = frame["gpu"] + ", " + gang
    frame = frame.assign(size=size[0].astype(float), gang=gang).sort_values("gpus", kind="stable")
    names = list(dict.fromkeys(frame["gang"]))
    if len(names) > len(p.STYLES):
        return None
    metrics = list(dict.fromkeys(frame["metric"]))
    columns = min(3, len(metrics))
    drawn: list[Panel] = []
    for metric in metrics[:_MOST_LINED]:
        mine = frame[frame["metric"] == metric]
        scale, shown = scaled(mine["value"], str(mine["unit"].iloc[0]))
        lines = {name: (mine[mine["gang"] == name].groupby("size")["value"].median() * scale) for name in names}
        left = len(metrics) - _MOST_LINED if len(drawn) == _MOST_LINED - 1 else 0
        draw = partial(_lined, lines=lines, labels=(unit, f"time ({shown})"), key=not drawn, more=left)
        drawn.append((_title(metric), draw))
    rows = [drawn[i : i + columns] for i in range(0, len(drawn), columns)]
    return rows, [1.0 if len(metrics) > 1 else 1.4] * len(rows), columns


def _lined(ax: Axes, lines: dict[str, pd.Series[float]], labels: tuple[str, str], key: bool, more: int) -> Axes:
    known = {name: line[line > 0] for name, line in lines.items()}
    for (name, line), (colour, style) in zip(known.items(), p.STYLES, strict=False):
        ax.plot(line.index, line, color=colour, ls=style, label=name)
    every = [line for line in known.values() if len(line)]
    if every:
        x = (min(line.index.min() for line in every), max(line.index.max() for line in every))
        y = (min(line.min() for line in every) / 1.25, max(line.max() for line in every) * 1.25)
        p.logarithmic(ax, "x", max(x[0], 1e-9), x[1])
        p.logarithmic(ax, "y", *y)
    ax.set(xlabel=labels[0], ylabel=labels[1])
    if key:
        key_below(ax, ax.get_legend_handles_labels()[0])
    return _more(ax, more)


def _more(ax: Axes, metrics: int) -> Axes:
    """Say how many metrics there is no panel for."""
    if metrics:
        note = f"{metrics} more {'measure is' if metrics == 1 else 'measures are'} not drawn"
        ax.annotate(note, (1, 0), (0, -32), "axes fraction", "offset points", ha="right", fontsize=6.5)
    return ax


def _measured(
    ax: Axes,
    groups: dict[str, dict[str, Any]],
    label: str,
    rows: list[str],
    named: bool,
    key: bool,
    more: int,
) -> Axes:
    p.spread(ax, groups, label, rows, named)
    if key:
        from matplotlib.lines import Line2D

        medians = [handle for handle, gpu in zip(*ax.get_legend_handles_labels(), strict=True) if gpu != "unknown"]
        between = Line2D([], [], color=p.GREY, label="P10 to P90")
        key_below(ax, [*medians, between])
    return _more(ax, more)
