"""Tickets for tenants, and trades of fast for slow GPUs between them: Gandiva_fair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hcsim import Plan
from hcsim.planning.rounds import Cluster, Floats, RoundBased


@dataclass(frozen=True)
class GandivaFair(RoundBased):
    """Every tenant with jobs has a part of each pool by its tickets (``weights``); tenants then trade, and each divides
    what it has evenly among its jobs' GPUs. Rounds do the time slicing that the paper does by stride scheduling.

    For two pools a tenant's speed-up is the mean of its jobs' throughput on one over that on the other. The tenant with
    the highest buys GPUs of the fast pool from the one with the lowest, for as many of the slow one each as the second
    highest speed-up says, until one of them has no more; then the next. So nobody has less work done than before it
    traded. Source: Chaudhary et al., Gandiva_fair, EuroSys 2020, sections 3.2 to 3.4. Knows throughputs, no run times.
    """

    trades: bool = True

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        view, rate = cluster.view, np.where(cluster.gpus > 0, cluster.throughput, 0.0)
        codes, of = np.unique([view.tenant[job] for job in cluster.jobs], return_inverse=True)
        tickets = np.array([self._weight(int(code)) for code in codes])
        has = tickets[:, None] / tickets.sum() * cluster.gpus
        if self.trades:
            typical = np.median(rate / np.maximum(rate.max(axis=1, keepdims=True), 1e-300), axis=0)
            pools = np.argsort(-typical, kind="stable").tolist()  # the fastest first
            for i, fast in enumerate(pools):
                for slow in pools[i + 1 :]:
                    _trade(has, _speed_ups(rate, of, len(codes), fast, slow), fast, slow)
        out = np.zeros_like(rate)
        for tenant in range(len(codes)):
            may = (rate > 0) & (of == tenant)[:, None]
            wanted = (may * cluster.gangs[:, None]).sum(axis=0)
            out += may * np.divide(has[tenant], wanted, out=np.zeros(len(wanted)), where=wanted > 0)
        return out / np.maximum(out.sum(axis=1, keepdims=True), 1.0), None


def _speed_ups(rate: Floats, of: Any, tenants: int, fast: int, slow: int) -> Floats:
    """Of each tenant, NaN of one whose jobs do not all run on both."""
    out = np.full(tenants, np.nan)
    for tenant in range(tenants):
        mine = rate[of == tenant]
        if (mine[:, slow] > 0).all() and (mine[:, fast] > 0).all():
            out[tenant] = (mine[:, fast] / mine[:, slow]).mean()
    return out


def _trade(has: Floats, speed_up: Floats, fast: int, slow: int) -> None:
    """Let tenants trade two pools, in place."""
    order = [int(t) for t in np.argsort(-speed_up, kind="stable") if not np.isnan(speed_up[t])]
    while len(order) > 1:
        buyer, seller = order[0], order[-1]
        price = speed_up[order[1]]
        if speed_up[buyer] <= price or price < 1:
            order.pop(0)
            continue
        count = min(has[seller, fast], has[buyer, slow] / price)
        has[buyer, fast] += count
        has[seller, fast] -= count
        has[buyer, slow] -= count * price
        has[seller, slow] += count * price
        order.pop(-1 if has[seller, fast] <= 1e-12 else 0)
