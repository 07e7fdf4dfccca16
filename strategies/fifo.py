"""Strict FIFO: jobs start in arrival order, and nobody overtakes."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class Fifo(Strategy):
    """Place waiting jobs in arrival order on the first node that fits; stop at the first job that does not fit.

    Source: first come, first served, the baseline of every batch scheduler (Feitelson and Rudolph, JSSPP 1995, sec. 2).
    """

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in view.waiting:
            where = plan.first_fit(job)
            if where is None:
                break
            plan.place(job, where)
        return plan
