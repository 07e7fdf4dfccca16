"""When jobs held GPUs, from the rows of a log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.events import Kind
from hcsim.model import Fleet

Rows = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
_OF_SPELLS = (Kind.PLACED, Kind.STARTED, Kind.DRAINING, Kind.PREEMPTED, Kind.LOST, Kind.FINISHED, Kind.SHRUNK)
#: So many rows are looked at together, so that what is made of them on the way stays small and near.
_BLOCK_ROWS = 1 << 16
#: Number of set bits of a GPU mask, as an array.
POPCOUNT = np.array([mask.bit_count() for mask in range(1 << 16)], np.int64)


def of_kinds(rows: Rows, *kinds: Kind) -> Rows:
    """The rows of some kinds, in log order."""
    # take and compress copy a structured row in one piece, fifteen times as fast as rows[...] does
    return np.compress(np.isin(rows["kind"], [int(kind) for kind in kinds]), rows)


@dataclass(frozen=True)
class Spells:
    """Each time that a job held GPUs, one row per spell, in log order.

    ``placed_s``, ``started_s`` (NaN: it never started), ``stopped_s`` (when it was told to stop, or ended),
    ``released_s`` (when it let go of its GPUs: after its drain), ``lost_s`` seconds of run to be done again, ``gpus``
    (shares count as fractions), ``pool``, and ``how`` it ended (an event kind; 0: still going at the end of the log).
    """

    job: npt.NDArray[np.int64]
    pool: npt.NDArray[np.int64]
    gpus: Floats
    placed_s: Floats
    started_s: Floats
    stopped_s: Floats
    released_s: Floats
    lost_s: Floats
    how: npt.NDArray[np.int64]


def spells(rows: Rows, fleet: Fleet, end_s: float | None = None) -> Spells:
    """The spells of a log that ends at ``end_s`` (default: with its last row), each column of as many rows."""
    if end_s is None:
        end_s = float(rows["time_s"][-1]) if len(rows) else 0.0
    return Spells(*joined([spells_of(mine, opens, fleet, end_s) for mine, opens in of_jobs(rows)]))


def joined(blocks: list[list[Any]]) -> list[npt.NDArray[Any]]:
    """Columns of blocks one after the other. A block lets go of each as it is used, so that little is held twice."""
    out = []
    for c in range(len(blocks[0])):
        out.append(np.concatenate([block[c] for block in blocks]))
        for block in blocks:
            block[c] = None
    return out


def of_jobs(rows: Rows) -> Iterator[tuple[Rows, npt.NDArray[np.bool_]]]:
    """The rows of a log that spells are made of, job by job and some jobs at a time, and which of them open one."""
    rows = with_shrunk_claims(rows)
    kept = np.flatnonzero(np.isin(rows["kind"], [int(kind) for kind in _OF_SPELLS]))
    job = rows["subject"].take(kept)
    order = np.argsort(job, kind="stable")
    kept, job = kept.take(order), job.take(order)
    del order
    cuts = np.unique(np.searchsorted(job, job[_BLOCK_ROWS::_BLOCK_ROWS]))
    del job
    for a, b in pairwise([0, *cuts[cuts > 0].tolist(), len(kept)]):
        mine = rows.take(kept[a:b])
        yield mine, _opens(mine)


def spells_of(mine: Rows, opens: npt.NDArray[np.bool_], fleet: Fleet, end_s: float) -> list[npt.NDArray[Any]]:
    """Columns of :class:`Spells`, of what :func:`of_jobs` gave of a log that ends at ``end_s``."""
    kind, job, time = (np.ascontiguousarray(mine[name]) for name in ("kind", "subject", "time_s"))
    is_part = kind == Kind.PLACED
    number = np.cumsum(opens) - 1
    count = int(opens.sum())
    first = np.flatnonzero(opens)
    part = np.compress(is_part, mine)
    part_gpus = POPCOUNT[part["value"].astype(np.int64)] * part["detail"] / 1000.0
    gpus = np.bincount(number[is_part], part_gpus, minlength=count).astype(np.float64)
    nan = np.full(count, np.nan)
    out = Spells(
        job[first].astype(np.int64),
        np.array(fleet.node_pool, np.int64)[mine["node"][first]],
        gpus,
        time[first].copy(),
        nan.copy(),
        nan.copy(),
        nan.copy(),
        np.zeros(count),
        np.zeros(count, np.int64),
    )
    started = kind == Kind.STARTED
    out.started_s[number[started]] = time[started]
    spell_of = number - _ends_a_move(kind, mine["detail"], job)  # the spell that a row is about
    drains = kind == Kind.DRAINING
    out.stopped_s[spell_of[drains]] = time[drains]
    for ends in (Kind.PREEMPTED, Kind.SHRUNK, Kind.LOST, Kind.FINISHED):
        at = np.flatnonzero(kind == ends)
        where = spell_of[at]
        out.released_s[where] = time[at]
        out.stopped_s[where] = np.where(np.isnan(out.stopped_s[where]), time[at], out.stopped_s[where])
        out.how[where] = int(ends)
        if ends != Kind.FINISHED:
            out.lost_s[where] = mine["value"][at]
        if ends == Kind.LOST:  # one lost while it drains to move lets go of where it was as well
            old = where - 1
            open_ = (old >= 0) & (out.job[old] == out.job[where]) & np.isnan(out.released_s[old])
            out.lost_s[old[open_]], out.lost_s[where[open_]] = out.lost_s[where[open_]], 0.0
            out.released_s[old[open_]] = time[at][open_]
            out.how[old[open_]] = int(ends)
    for column in (out.stopped_s, out.released_s):
        column[np.isnan(column)] = end_s
    return list(vars(out).values())


def claims(rows: Rows) -> list[npt.NDArray[Any]]:
    """What spells hold, as :func:`claims_of`, of a whole log; spells are numbered as those of :func:`spells`."""
    blocks, count = [], 0
    for mine, opens in of_jobs(rows):
        blocks.append(claims_of(mine, opens, count))
        count += int(opens.sum())
    return joined(blocks)


def claims_of(mine: Rows, opens: npt.NDArray[np.bool_], first: int) -> list[npt.NDArray[Any]]:
    """Spell (numbered from ``first``), node, mask of GPUs and milli-GPU of each, one row per node that a spell holds;
    of what :func:`of_jobs` gave."""
    is_part = mine["kind"] == Kind.PLACED
    spell = (np.cumsum(opens) + (first - 1))[is_part]
    part = np.compress(is_part, mine)
    return [spell, part["node"].astype(np.int64), part["value"].astype(np.int64), part["detail"].copy()]


def with_shrunk_claims(rows: Rows) -> Rows:
    """The rows of a log, each SHRUNK followed by PLACED rows of what the job still holds."""
    at = np.flatnonzero(rows["kind"] == Kind.SHRUNK)
    if not len(at):
        return rows
    jobs = set(rows["subject"][at].tolist())
    kinds = [int(kind) for kind in _OF_SPELLS]
    held: dict[int, list[Any]] = {}  # job that shrinks -> its claim
    last: dict[int, int] = {}  # job that shrinks -> the kind of its last row
    before: list[int] = []
    more: list[Any] = []
    for i in np.flatnonzero(np.isin(rows["kind"], kinds) & np.isin(rows["subject"], list(jobs))).tolist():
        job, kind = int(rows["subject"][i]), int(rows["kind"][i])
        if kind == Kind.PLACED:
            held[job] = [*(held[job] if last.get(job) == kind else ()), rows[i]]
        elif kind == Kind.SHRUNK:
            held[job] = [part.copy() for part in held.get(job, ()) if part["node"] != rows["node"][i]]
            for part in held[job]:
                part["time_s"] = rows["time_s"][i]
            before += [i + 1] * len(held[job])
            more += held[job]
        last[job] = kind
    return np.insert(rows, before, np.array(more, rows.dtype))


def _opens(mine: Rows) -> npt.NDArray[np.bool_]:
    """Which rows open a spell: the first of the PLACED rows of a job that stand together."""
    is_part = mine["kind"] == Kind.PLACED
    job, time = mine["subject"], mine["time_s"]
    opens: npt.NDArray[np.bool_] = (
        is_part & ~np.r_[False, is_part[:-1] & (job[1:] == job[:-1]) & (time[1:] == time[:-1])]
    )
    return opens


def _ends_a_move(kind: npt.NDArray[Any], detail: Floats, job: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """1 for the PREEMPTED rows that end the drain of a job that moves, 0 for all others.

    Such a job is placed anew while it still drains: its rows are DRAINING (with ``detail`` above 0), PLACED for each
    node of the next claim, PREEMPTED. This last row stands in the new spell and closes the one before.
    """
    ends = np.zeros(len(kind), np.int64)
    for drain in np.flatnonzero((kind == Kind.DRAINING) & (detail > 0)).tolist():
        row = drain + 1
        while row < len(kind) and job[row] == job[drain] and kind[row] == Kind.PLACED:
            row += 1
        if row < len(kind) and job[row] == job[drain] and kind[row] == Kind.PREEMPTED:
            ends[row] = 1
    return ends
