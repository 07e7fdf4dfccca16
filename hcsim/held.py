"""Which GPUs each job held when, and which nodes were up, from the rows of a log: what bills and energy are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.events import Kind
from hcsim.fleet import Fleet
from hcsim.spells import POPCOUNT, Floats, Rows, Spells, claims_of, joined, of_jobs, of_kinds, spells_of

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stretches:
    """Times that nodes were up, one row each, in order of node and time.

    ``end_s`` is when it went, or the end of the bill. A node that stands there is up from 0.
    """

    node: Ints
    start_s: Floats
    end_s: Floats


@dataclass(frozen=True)
class Held:
    """GPUs that a job held on a node, one row per spell, node and begin.

    A claim holds GPUs from when it was made, but not before the node is up and those that drain on them are gone.
    ``gpus`` counts shares as fractions; ``busy_s`` is when the job started (inf: it did not), ``stretch`` the row in
    :class:`Stretches`.
    """

    spell: Ints
    job: Ints
    node: Ints
    gpus: Floats
    since_s: Floats
    until_s: Floats
    busy_s: Floats
    stretch: Ints


def last_before(by: Ints, t: Floats, known_by: Ints, known_t: Floats, *, exact: bool) -> Ints:
    """For each (by, t) the last row of (known_by, known_t) of the same ``by`` before ``t``, or at it where ``exact``.

    -1 where there is none.
    """
    if len(known_by) and (known_by[1:] > known_by[:-1]).all():  # one of each, in order
        at = np.minimum(np.searchsorted(known_by, by), len(known_by) - 1)
        found = (known_by[at] == by) & ((known_t[at] <= t) if exact else (known_t[at] < t))
        return np.where(found, at, -1)
    order = np.lexsort((known_t, known_by))
    both = np.r_[known_by[order], by]
    # known rows stand before a row of the same time when they count, behind it when not
    rank = np.r_[np.full(len(known_by), 0 if exact else 1), np.full(len(by), 1 if exact else 0)]
    place = np.lexsort((rank, np.r_[known_t[order], t], both))
    is_known = place < len(known_by)
    count = np.cumsum(is_known)
    out = np.empty(len(by), np.int64)
    asked = place[~is_known] - len(known_by)
    last = count[~is_known] - 1
    ok = last >= 0
    ok[ok] = known_by[order][last[ok]] == by[asked[ok]]
    out[asked] = np.where(ok, order[np.maximum(last, 0)] if len(order) else -1, -1)
    return out


def stretches(rows: Rows, fleet: Fleet, end_s: float) -> Stretches:
    """When nodes were up, from the start of a log to ``end_s``."""
    pool_of = np.array(fleet.node_pool, np.int64)
    stands = ~np.array([pool.elastic for pool in fleet.pools], bool)[pool_of]
    mine = of_kinds(rows, Kind.NODE_UP, Kind.NODE_OFF, Kind.NODE_DOWN)
    mine = mine[mine["time_s"] <= end_s]
    node = np.r_[np.flatnonzero(stands), mine["subject"].astype(np.int64)]
    time = np.r_[np.zeros(int(stands.sum())), mine["time_s"]]
    up = np.r_[np.ones(int(stands.sum()), bool), mine["kind"] == Kind.NODE_UP]
    order = np.argsort(node, kind="stable")
    node, time, up = node[order], time[order], up[order]
    same = np.r_[False, node[1:] == node[:-1]]
    begins = up & ~(same & np.r_[False, up[:-1]])
    # what ends a stretch is the first row after it that is not an UP; an UP of a node that is up says nothing
    kept = begins | (~up & same & np.r_[False, up[:-1]])
    node, time, up = node[kept], time[kept], up[kept]
    ends = np.r_[time[1:], end_s]
    last = np.r_[node[1:] != node[:-1], True] if len(node) else np.zeros(0, bool)
    ends = np.where(last, end_s, ends) if len(node) else np.zeros(0)
    return Stretches(node[up], time[up], ends[up])


def as_of(rows: Rows, until_s: float | None) -> tuple[Rows, float]:
    """The rows up to a time (default: all of them), and that time."""
    if until_s is None:
        return rows, float(rows["time_s"][-1]) if len(rows) else 0.0
    return rows[: np.searchsorted(rows["time_s"], until_s, side="right")], until_s


def held(rows: Rows, fleet: Fleet, up: Stretches, end_s: float) -> Held:
    """Who held which GPUs when, in a log that ends at ``end_s``."""
    ran: list[list[Any]] = []
    claims: list[list[Any]] = []
    count = 0
    for mine, opens in of_jobs(rows):
        ran.append(spells_of(mine, opens, fleet, end_s))
        claims.append(claims_of(mine, opens, count))
        count += len(ran[-1][0])
    each = Spells(*joined(ran))
    started = np.where(np.isnan(each.started_s), np.inf, each.started_s)
    spell, node, mask, milli = joined(claims)
    stretch = last_before(node, each.released_s[spell], up.node, up.start_s, exact=False)
    came = stretch >= 0
    spell, node, mask, milli, stretch = spell[came], node[came], mask[came], milli[came], stretch[came]
    since = np.maximum(each.placed_s[spell], up.start_s[stretch])
    until = np.minimum(each.released_s[spell], up.end_s[stretch])
    columns: tuple[Any, ...] = (spell, node, mask, milli, stretch, since, until)
    keep = until > since
    columns = tuple(column[keep] for column in columns)
    drains = (started < np.inf) & (each.released_s > each.stopped_s)
    if drains.any():
        columns = _behind_drains(columns, each, started, drains)
    spell, node, mask, milli, stretch, since, until = columns
    gpus = POPCOUNT[mask] * milli / 1000.0
    return Held(spell, each.job[spell], node, gpus, since, until, started[spell], stretch)


def _behind_drains(
    columns: tuple[Any, ...], each: Spells, started: Floats, drains: npt.NDArray[np.bool_]
) -> tuple[Any, ...]:
    """A claim on GPUs that another job drains holds each of them from the end of the drain."""
    spell, node, mask, milli, stretch, since, until = columns
    waits = np.flatnonzero(since < np.minimum(started[spell], until))
    at: dict[int, list[tuple[float, float, int, int]]] = {}
    drained = np.isin(node, node[waits]) & drains[spell]
    for i in np.flatnonzero(drained).tolist():
        s = int(spell[i])
        at.setdefault(int(node[i]), []).append((float(each.stopped_s[s]), float(each.released_s[s]), int(mask[i]), s))
    more: list[tuple[Any, ...]] = []
    drop = np.zeros(len(spell), bool)
    for i in waits.tolist():
        s, claimed = int(spell[i]), float(each.placed_s[spell[i]])
        blocks = [(end, m) for begin, end, m, of in at.get(int(node[i]), ()) if of != s and begin <= claimed < end]
        if not any(m & mask[i] for _, m in blocks):
            continue
        drop[i] = True
        begins: dict[float, int] = {}
        for gpu in (g for g in range(16) if int(mask[i]) >> g & 1):
            begin = max([float(since[i]), *(end for end, m in blocks if m >> gpu & 1)])
            begins[begin] = begins.get(begin, 0) | 1 << gpu
        more += [(s, node[i], m, milli[i], stretch[i], begin, until[i]) for begin, m in begins.items()
                 if begin < until[i]]  # fmt: skip
    if not drop.any():
        return columns
    added = tuple(np.array(column) for column in zip(*more, strict=True)) if more else tuple(c[:0] for c in columns)
    return tuple(np.r_[old[~drop], new.astype(old.dtype)] for old, new in zip(columns, added, strict=True))
