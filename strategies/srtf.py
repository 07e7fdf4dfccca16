"""Shortest remaining time first, preemptive."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from hcsim import Plan, Strategy, View, while_waiting
from hcsim.planning.preemption import make_room


@dataclass(frozen=True)
class Srtf(Strategy):
    """Start waiting jobs in order of estimated remaining run time; preempt jobs that have longer to go.

    A running job is preempted, with a checkpoint, only if a waiting job starts on its GPUs now and has at least
    ``margin_s`` less to run, so that two jobs cannot preempt each other in turn. At most ``depth`` jobs that do not fit
    are tried per decision. Source: Schrage, Oper. Res. 1968; as a baseline for GPU clusters in Tiresias (NSDI'19).
    """

    margin_s: float = 600.0
    depth: int = 4

    wake = while_waiting
    needs = frozenset({"runtime"})

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        placed = set()
        queue = view.waiting_by(view.remaining_s)
        for job in plan.placeable(queue):
            plan.place(job, plan.first_fit(job))
            placed.add(job)
        tried = 0
        for job in queue:
            if job in placed:
                continue
            if tried == self.depth:
                break
            tried += 1
            bar_s = view.remaining_s(job) + self.margin_s
            make_room(view, plan, job, partial(_beyond, view, bar_s), placed)
        return plan


def _beyond(view: View, bar_s: float, job: int) -> float:
    return view.remaining_s(job) - bar_s
