"""Shortest remaining time first, preemptive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from hcsim import InputError, Plan, Strategy, View, while_waiting
from hcsim.planning.preemption import make_room


@dataclass(frozen=True)
class Srtf(Strategy):
    """Start waiting jobs in order of estimated remaining run time; preempt jobs that have longer to go.

    Jobs that fit somewhere start first fit, in that order, rented capacity included. The first ``depth`` of those that
    do not fit may each preempt, with a checkpoint, the jobs that have the longest to go, if that lets them start now. A
    victim must have at least ``margin_s`` longer to go than the job that it gives way to, so two jobs never preempt
    each other in turn. Source: Schrage, Oper. Res. 1968; for GPU clusters the SRTF baseline of Tiresias (Gu et al.,
    NSDI'19, section 2).
    """

    margin_s: float = 600.0
    depth: int = 4

    wake = while_waiting
    needs = frozenset({"runtime"})

    def __post_init__(self) -> None:
        if not self.margin_s >= 0:
            raise InputError(f"strategy.margin_s is {self.margin_s}, expected >= 0")
        if not self.depth >= 0:
            raise InputError(f"strategy.depth is {self.depth}, expected >= 0")

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        acted = set()
        queue = view.waiting_by(view.remaining_s)
        for job in plan.placeable(queue):
            plan.place(job, plan.first_fit(job))
            acted.add(job)
        tried = 0
        for job in queue:
            if job in acted:
                continue
            if tried == self.depth:
                break
            tried += 1
            make_room(view, plan, job, self._longer(view, job), acted)
        return plan

    def _longer(self, view: View, job: int) -> Iterator[int]:
        """Jobs with enough more to go than ``job`` would have in their place, longest first."""
        work_s = view.remaining_s(job)
        after_s = {p: view.now + work_s / view.speed(p) + self.margin_s for p in view.allowed_pools(job)}
        earliest_s = min(after_s.values(), default=inf)
        for end_s, other in view.ends(latest_first=True):
            if end_s < earliest_s:
                return
            if end_s >= after_s.get(view.pool_of(view.claims[other][0][0]), inf):
                yield other
