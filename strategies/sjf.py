"""Shortest job first: the waiting job with the least estimated run time goes first."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class Sjf(Strategy):
    """Place waiting jobs in order of estimated remaining run time, first fit; longer jobs may fill what is left.

    Source: shortest processing time first (Smith, Naval Res. Logist. 1956); for GPU clusters as in MLaaS in the Wild
    (Weng et al., NSDI'22, section 5). Not preemptive.
    """

    wake = while_waiting
    needs = frozenset({"runtime"})

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting_by(view.remaining_s)):
            plan.place(job, plan.first_fit(job))
        return plan
