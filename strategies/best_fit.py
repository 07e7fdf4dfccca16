"""Best fit: arrival order, on the node with the fewest free GPUs that still fit."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class BestFit(Strategy):
    """Place each waiting job, in arrival order, on the node that it leaves fullest, pool by pool in fleet order.

    Source: best fit for bin packing (Johnson et al., SIAM J. Comput. 1974); keeps whole nodes free for large gangs.
    """

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting):
            plan.place(job, plan.best_fit(job))
        return plan
