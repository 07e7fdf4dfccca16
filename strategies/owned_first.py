"""Owned first: wait for paid-for capacity, spill to the cloud after a threshold."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class OwnedFirst(Strategy):
    """First fit on owned and reserved pools; a job that has waited ``patience_s`` may also rent, cheapest pool first.

    A job that no owned pool may ever hold rents at once. Source: threshold bursting, as in Waiting Game (Ambati et al.,
    SC'20, section 3, all jobs wait with a time-out) and the fixed-wait baseline of Starburst (Luo et al., ATC'24).
    """

    patience_s: float = 1800.0

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        standing = tuple(p for p, pool in enumerate(view.pools) if not pool.elastic)
        rented = sorted((p for p, pool in enumerate(view.pools) if pool.elastic), key=view.price_usd)
        for job in plan.placeable(view.waiting, standing):
            plan.place(job, plan.first_fit(job, standing))
        if view.arrival_s[view.waiting.newest] == view.now:  # every arrival is decided on, so none is missed
            plan.wake_at(view.now + self.patience_s)
        for job in plan.placeable(view.waiting, rented):
            bound = not any(p in standing for p in view.allowed_pools(job))
            if bound or view.now >= view.arrival_s[job] + self.patience_s:
                plan.place(job, plan.first_fit(job, rented))
        return plan
