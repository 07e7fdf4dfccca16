"""Fit a generator to spot capacity or to prices: a table of figures, and no row of the original.

Of capacity: how long it stays at none, at some and at all of the nodes that were probed, which of these follows which,
and how many "some" are. Of prices: the time between changes, prices in shares of their mean, and how alike successive
ones are. Places that stand in one table are fitted as one. What is under way at a table's ends is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hcsim.errors import InputError, require
from hcsim.traces._quantiles import LEAST_ALIKE, Floats, correlation, normal_scores, quantiles
from hcsim.traces._table import Table
from hcsim.traces._twins import AvailabilityFigures, CapacityState, PriceFigures

if TYPE_CHECKING:
    import pandas as pd

#: A table with fewer changes is not fitted.
LEAST_CHANGES = 30


def fit(table: Table) -> AvailabilityFigures | PriceFigures:
    """The figures of a table of kind ``availability`` or ``prices``.

    Raises:
        InputError: it has several kinds of node, or too few changes.
    """
    return _capacity(table) if table.kind == "availability" else _prices(table)


def _groups(frame: pd.DataFrame, *columns: str) -> Iterator[pd.DataFrame]:
    for _, group in frame.sort_values("time_s", kind="stable").groupby(list(columns)):
        yield group


def _one(table: Table, column: str) -> str:
    found = sorted({str(each) for each in table.frame[column]})
    require(len(found) == 1, f"{table.source}: {column} is {' and '.join(found)}, expected one to fit")
    return found[0]


def _capacity(table: Table) -> AvailabilityFigures:
    frame = table.frame
    gpu, most = _one(table, "gpu"), int(frame["nodes"].max())
    tick_s, span_s = 0.0, 0.0
    holds: list[list[float]] = [[], [], []]
    follows = np.zeros((3, 3))
    some: list[float] = []
    for group in _groups(frame, "place"):
        time, nodes = (group[name].to_numpy(np.float64) for name in ("time_s", "nodes"))
        tick_s = float(np.median(np.diff(time))) if len(time) > 1 else 0.0
        span_s = max(span_s, float(time[-1] - time[0]) + tick_s)
        some += nodes[(nodes > 0) & (nodes < most)].tolist()
        state = np.where(nodes == 0, 0, np.where(nodes == most, 2, 1))
        at = np.flatnonzero(np.diff(nodes)) + 1  # some may be followed by more or fewer
        for i, j in pairwise(at):
            holds[state[i]].append(float(time[j] - time[i]))
            follows[state[i], state[j]] += 1
    changes = int(follows.sum())
    require(changes >= LEAST_CHANGES, f"{table.source}: {changes} changes, expected at least {LEAST_CHANGES}")
    follows[follows < LEAST_ALIKE] = 0.0
    states = []
    for hold, row in zip(holds, follows, strict=True):
        row = row / row.sum() if row.sum() else row
        known = len(hold) >= LEAST_ALIKE and row.sum() > 0
        shares = tuple(round(float(share), 4) for share in row) if known else ()
        states.append(CapacityState(hold_s=quantiles(np.array(hold)) if known else None, next_share=shares))
    return AvailabilityFigures(
        tick_s=tick_s,
        span_s=span_s,
        nodes=most,
        gpu=gpu,
        gpus=float(frame["gpus"].iloc[0]) if "gpus" in frame else 1.0,
        states=tuple(states),
        some=quantiles(np.array(some)) if len(some) >= LEAST_ALIKE else None,
    )


def _prices(table: Table) -> PriceFigures:
    frame = table.frame
    gaps: list[Floats] = []
    shares: list[Floats] = []
    before, after = [], []
    span_s, means = 0.0, []
    gpu, gpus, market = (frame[name].iloc[0] for name in ("gpu", "gpus", "market"))
    _one(table, "instance")
    for group in _groups(frame.dropna(subset="time_s"), "place"):
        time, usd = (group[name].to_numpy(np.float64) for name in ("time_s", "usd_per_h"))
        new = np.r_[True, np.diff(usd) != 0] & np.r_[True, np.diff(time) > 0]
        time, usd = time[new], usd[new]
        if len(time) < 3:
            continue
        means.append(float(np.average(usd[:-1], weights=np.diff(time))))
        span_s = max(span_s, float(time[-1] - time[0]))
        score = normal_scores(usd)
        before.append(score[:-1])
        after.append(score[1:])
        gaps.append(np.diff(time))
        shares.append(usd / means[-1])
    changes = sum(map(len, gaps))
    if changes < LEAST_CHANGES:
        raise InputError(f"{table.source}: {changes} changes of a price, expected at least {LEAST_CHANGES}")
    return PriceFigures(
        span_s=span_s,
        usd_per_h=round(float(np.mean(means)), 5),
        gpu=str(gpu),
        gpus=float(gpus),
        market=str(market),
        gap_s=quantiles(np.concatenate(gaps)),
        share=quantiles(np.concatenate(shares)),
        rho=max(correlation(np.concatenate(before), np.concatenate(after)), 0.0),
    )


def distances(table: Table, drawn: Table) -> dict[str, float]:
    """How far figures of a twin are from those of its original, in shares of the latter."""
    return {name: abs(figure(drawn) / whole - 1.0) for name, figure in MEASURES[table.kind].items()
            if (whole := figure(table))}  # fmt: skip


def held_mean(table: Table, up: bool) -> float:
    """The mean time for which there is some capacity (``up``), or none."""
    lengths: list[float] = []
    for group in _groups(table.frame, "place"):
        time, there = group["time_s"].to_numpy(np.float64), group["nodes"].to_numpy() > 0
        at = np.flatnonzero(np.diff(there)) + 1
        lengths += [float(time[j] - time[i]) for i, j in pairwise(at) if there[i] == up]
    return float(np.mean(lengths)) if lengths else 0.0


def _paid(table: Table) -> Floats:
    """Mean price, its deviation, changes per day: weighted by time, over all places."""
    found = []
    for group in _groups(table.frame, "place"):
        time, usd = (group[name].to_numpy(np.float64) for name in ("time_s", "usd_per_h"))
        if len(time) > 2:
            weight = np.diff(time)
            mean = np.average(usd[:-1], weights=weight)
            spread = np.sqrt(np.average((usd[:-1] - mean) ** 2, weights=weight))
            found.append((mean, spread, (np.diff(usd) != 0).sum() / weight.sum() * 86400.0))
    out: Floats = np.array(found).mean(axis=0)
    return out


MEASURES: dict[str, dict[str, Callable[[Table], float]]] = {
    "availability": {
        "mean time with capacity": lambda table: held_mean(table, True),
        "mean time without": lambda table: held_mean(table, False),
        "mean nodes": lambda table: float(table.frame["nodes"].mean()),
    },
    "prices": {
        "mean price": lambda table: float(_paid(table)[0]),
        "deviation of the price": lambda table: float(_paid(table)[1]),
        "changes per day": lambda table: float(_paid(table)[2]),
    },
}
