"""Owned first: wait for paid-for capacity, spill to the cloud after a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from hcsim import InputError, Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class OwnedFirst(Strategy):
    """First fit on owned and reserved pools; a job that arrived ``patience_s`` ago may also rent, cheapest pool first.

    A job that no owned or reserved pool may ever hold rents at once. Jobs rent in the order in which their patience
    ends; the strategy asks to be woken when the next one's does. Source: threshold bursting, as in Waiting Game (Ambati
    et al., SC'20, section 3, all jobs wait with a time-out) and the fixed-wait baseline of Starburst (Luo et al.,
    ATC'24).
    """

    patience_s: float = 1800.0

    wake = while_waiting

    def __post_init__(self) -> None:
        if not self.patience_s >= 0:
            raise InputError(f"strategy.patience_s is {self.patience_s}, expected >= 0 (inf: never rent what may wait)")

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        standing = tuple(p for p, pool in enumerate(view.pools) if not pool.elastic)
        rented = sorted((p for p, pool in enumerate(view.pools) if pool.elastic), key=view.price_usd)
        for job in plan.placeable(view.waiting, standing):
            plan.place(job, plan.first_fit(job, standing))
        rents_at = _RentsAt(view, self.patience_s)
        for job in plan.placeable(view.waiting_by(rents_at), rented):
            if rents_at(job) > view.now:
                if rents_at(job) < inf:
                    plan.wake_at(rents_at(job))
                break
            plan.place(job, plan.first_fit(job, rented))
        return plan


@dataclass(frozen=True)
class _RentsAt:
    """When a job may rent; a value, so that every decision names the same order."""

    view: View
    patience_s: float

    def __call__(self, job: int) -> float:
        bound = all(self.view.pools[p].elastic for p in self.view.allowed_pools(job))
        return self.view.arrival_s[job] + (0.0 if bound else self.patience_s)
