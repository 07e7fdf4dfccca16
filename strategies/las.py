"""Least attained service in two queues, preemptive: discretised 2D-LAS as in Tiresias."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import Plan, Strategy, View, while_waiting
from hcsim.planning.preemption import make_room


@dataclass(frozen=True)
class Las(Strategy):
    """Jobs with less than ``threshold_gpu_s`` GPU-seconds of service go before those with more; FIFO within each queue.

    A job of the first queue that does not fit preempts jobs of the second, latest arrivals first; jobs of one queue
    never preempt each other. At most ``depth`` such jobs are tried per decision. Source: Gu et al., Tiresias, NSDI'19,
    section 3.2 (2D-LAS with K = 2 queues); the threshold of re-implementations, 18,000 GPU-seconds. Knows no run times.
    """

    threshold_gpu_s: float = 18_000.0
    depth: int = 4

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        placed = set()
        # attained service does not change while a job waits, and jobs are numbered by arrival
        queue = view.waiting_by(_Level(view, self.threshold_gpu_s))
        for job in plan.placeable(queue):
            plan.place(job, plan.first_fit(job))
            placed.add(job)
        tried = 0
        for job in queue:
            if job in placed:
                continue
            if tried == self.depth or view.attained_gpu_s(job) >= self.threshold_gpu_s:
                break
            tried += 1
            make_room(view, plan, job, lambda other: self._gives_way(view, other), placed)
        return plan

    def _gives_way(self, view: View, job: int) -> float:
        return view.arrival_s[job] + 1.0 if view.attained_gpu_s(job) >= self.threshold_gpu_s else 0.0


@dataclass(frozen=True)
class _Level:
    """The queue that a job is in: 0 or 1. A value, so that every decision names the same order."""

    view: View
    threshold_gpu_s: float

    def __call__(self, job: int) -> float:
        return float(self.view.attained_gpu_s(job) >= self.threshold_gpu_s)
