"""What nodes cost: stretches in steps and at prices that change, split among the jobs that held them."""

from __future__ import annotations

from typing import Any

import numpy as np

from hcsim.events import Kind
from hcsim.fleet import Fleet, NodePool
from hcsim.held import Held, Ints, Stretches, last_before
from hcsim.spells import Floats, Rows, of_kinds
from hcsim.tariff import STARTED

HOUR_S = 3600.0


def steps(pool: NodePool, seconds: Any) -> Any:
    """Steps that so many seconds of a rented node have begun, the minimum's at least."""
    least = np.ceil(pool.min_billing_s / pool.billing_s - STARTED)
    return np.maximum(np.ceil(np.asarray(seconds) / pool.billing_s - STARTED), least)


def paid(
    rows: Rows, fleet: Fleet, up: Stretches, claims: Held, end_s: float
) -> tuple[Ints, dict[str, Ints], dict[str, Floats]]:
    """Items of all pools up to ``end_s``: their pool, what they belong to, and their numbers (quantity in GPU-hours).

    Of each stretch and price there is one item for what each spell held, and one for the rest, which is nobody's. All
    nodes of an owned or reserved pool are one stretch from 0 to the end; of one not ``committed`` the rest is not paid.
    """
    changes = of_kinds(rows, Kind.PRICE_CHANGED)
    parts: list[tuple[dict[str, Ints], dict[str, Floats]]] = []
    pool_of = np.array(fleet.node_pool, np.int64)
    of_claim = pool_of[claims.node]
    of_stretch = pool_of[up.node]
    for p, pool in enumerate(fleet.pools):
        mine = changes[changes["subject"] == p]
        t, usd = np.r_[-np.inf, mine["time_s"]], np.r_[pool.first_usd, mine["value"]]
        here = np.flatnonzero(of_claim == p)
        if pool.elastic:
            number = np.flatnonzero(of_stretch == p)
            start, stop = up.start_s[number], up.end_s[number]
            until = start + steps(pool, stop - start) * pool.billing_s
            node, gpus = up.node[number], float(pool.gpus_per_node)
            stretch = np.searchsorted(number, claims.stretch[here])
        else:
            start, until, node = np.zeros(1), np.array([end_s]), np.array([-1])
            gpus = float(pool.nodes * pool.gpus_per_node)
            stretch = np.zeros(len(here), np.int64)
        segments = _segments(pool, start, until, t, usd)
        parts += _split(p, segments, node, gpus, stretch, claims, here)[: 2 if pool.committed else 1]
    texts = {name: np.concatenate([a[name] for a, _ in parts]) for name in ("pool", "node", "job", "spell")}
    numbers = {
        name: np.concatenate([b[name] for _, b in parts]) for name in ("start_s", "end_s", "quantity", "unit_usd")
    }
    return texts.pop("pool"), texts, numbers


#: Stretch, begin, end and price of each piece of one price, in order.
_Segments = tuple[Ints, Floats, Floats, Floats]


def _segments(pool: NodePool, start: Floats, until: Floats, t: Floats, usd: Floats) -> _Segments:
    """Stretches cut where their price changes: of a rented one at the end of the step in which it does."""
    number = np.arange(len(start))
    first = np.searchsorted(t, start, side="right") - 1
    last = np.maximum(np.searchsorted(t, until, side="left") - 1, first)  # one that ends as it begins has its price
    if not (last > first).any():
        keep = until > start
        return number[keep], start[keep], until[keep], usd[first[keep]]
    rows: list[tuple[Any, ...]] = []
    for i in number.tolist():
        a, b = float(start[i]), float(until[i])
        own = t[first[i] + 1 : last[i] + 1]
        if pool.elastic:
            own = a + steps(pool, own - a) * pool.billing_s
        edges, price = np.r_[a, own, b], usd[first[i] : last[i] + 1]
        keep = edges[1:] > edges[:-1]
        keep &= edges[:-1] < b
        rows.append((np.full(int(keep.sum()), i), edges[:-1][keep], np.minimum(edges[1:], b)[keep], price[keep]))
    out = tuple(np.concatenate(column) for column in zip(*rows, strict=True))
    return out  # type: ignore[return-value]


def _split(
    p: int, segments: _Segments, node: Ints, gpus: float, stretch: Ints, claims: Held, here: Ints
) -> list[tuple[dict[str, Ints], dict[str, Floats]]]:
    """Segments shared among the claims on them; what is left is nobody's."""
    of, begin, end, usd = segments
    if not len(of):
        return [_block(p, of, of, of, begin, end, usd, usd)]
    since, until = claims.since_s[here], claims.until_s[here]
    first = last_before(stretch, since, of, begin, exact=True)
    last = np.maximum(last_before(stretch, until, of, begin, exact=False), first)
    count = np.where(first >= 0, last - first + 1, 0)
    row = np.repeat(np.arange(len(here)), count)
    segment = np.repeat(first, count) + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    a, b = np.maximum(since[row], begin[segment]), np.minimum(until[row], end[segment])
    some = b > a
    row, segment, a, b = row[some], segment[some], a[some], b[some]
    hours = claims.gpus[here][row] * (b - a) / HOUR_S
    mine = _block(p, claims.node[here][row], claims.job[here][row], claims.spell[here][row], a, b, hours, usd[segment])
    total = (end - begin) / HOUR_S * gpus
    rest = total - np.bincount(segment, hours, minlength=len(of))
    left = rest > 1e-9 * total
    nobody = np.full(int(left.sum()), -1, np.int64)
    idle = _block(p, node[of[left]], nobody, nobody, begin[left], end[left], rest[left], usd[left])
    return [mine, idle]


def _block(
    p: int, node: Ints, job: Ints, spell: Ints, start: Floats, end: Floats, quantity: Floats, unit_usd: Floats
) -> tuple[dict[str, Ints], dict[str, Floats]]:
    texts = {"pool": np.full(len(node), p, np.int64), "node": node, "job": job, "spell": spell}
    return texts, {"start_s": start, "end_s": end, "quantity": quantity, "unit_usd": unit_usd}
