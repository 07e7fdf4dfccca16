"""On-demand only: capacity that stands, else on-demand nodes; never spot."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class OnDemandOnly(Strategy):
    """Place each waiting job, in arrival order, on owned or reserved nodes, else on the cheapest on-demand ones.

    It never uses spot capacity and never moves a job. Source: the on-demand baseline of Wu et al., Can't Be Late,
    NSDI 2024, section 5.
    """

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        kept = [p for p, pool in enumerate(view.pools) if pool.market != "spot"]
        kept.sort(key=lambda p: (view.pools[p].elastic, view.price_usd(p) / view.speed(p), p))
        for job in plan.placeable(view.waiting, kept):
            plan.place(job, plan.first_fit(job, kept))
        return plan
