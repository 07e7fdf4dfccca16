"""Shortest remaining service first, preemptive: remaining time times GPUs."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import InputError, Plan, Status, Strategy, View, while_waiting
from hcsim.planning.preemption import make_room


@dataclass(frozen=True)
class Srsf(Strategy):
    """Start waiting jobs in order of the GPU-seconds that they have to go by their estimates; preempt those that have
    more.

    Jobs that fit somewhere start first fit, in that order, rented capacity included. The first ``depth`` of those that
    do not fit may each preempt, with a checkpoint, the jobs that have the most to go, if that lets them start now. A
    victim must have at least ``margin_gpu_s`` more to go than the job that it gives way to, so two jobs never preempt
    each other in turn. Source: the SRSF of Tiresias (Gu et al., NSDI'19, section 3.2: shortest remaining service, the
    ideal that its 2D-LAS comes close to without knowing run times).
    """

    margin_gpu_s: float = 600.0
    depth: int = 4

    wake = while_waiting
    needs = frozenset({"runtime"})

    def __post_init__(self) -> None:
        if not self.margin_gpu_s >= 0:
            raise InputError(f"strategy.margin_gpu_s is {self.margin_gpu_s}, expected >= 0")
        if not self.depth >= 0:
            raise InputError(f"strategy.depth is {self.depth}, expected >= 0")

    def decide(self, view: View) -> Plan:
        plan, acted = view.plan(), set()
        queue = view.waiting_by(_Service(view))
        for job in plan.placeable(queue):
            plan.place(job, plan.first_fit(job))
            acted.add(job)
        left = [job for job in queue if job not in acted][: self.depth] if self.depth else []
        if not left:
            return plan
        service = _Service(view)
        running = [(service(job), job) for job in view.claims if view.status(job) is Status.RUNNING]
        running.sort(reverse=True)
        for job in left:
            least = service(job) + self.margin_gpu_s
            make_room(view, plan, job, [other for more, other in running if more >= least], acted)
        return plan


@dataclass(frozen=True)
class _Service:
    """GPU-seconds on reference GPUs that a job has to go; a value, so that every decision names the same order."""

    view: View

    def __call__(self, job: int) -> float:
        return self.view.remaining_s(job) * self.view.gpus[job] * self.view.milli[job] / 1000.0
