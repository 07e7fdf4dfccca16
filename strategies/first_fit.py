"""First fit: each waiting job, in arrival order, on the first node that fits."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class FirstFit(Strategy):
    """Place each waiting job, in arrival order, on the first node that fits.

    Source: the list-scheduling baseline (Graham, 1969); jobs behind one that does not fit may overtake it.
    """

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting):
            plan.place(job, plan.first_fit(job))
        return plan
