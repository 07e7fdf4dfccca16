"""Least attained service in two queues, preemptive: discretised 2D-LAS as in Tiresias."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf

from hcsim import InputError, Plan, Status, Strategy, View, while_waiting
from hcsim.planning.preemption import make_room


@dataclass(frozen=True)
class Las(Strategy):
    """Jobs with less than ``threshold_gpu_s`` GPU-seconds of service go before those with more; FIFO within each queue.

    Jobs that fit somewhere start first fit, in that order, rented capacity included. The first ``depth`` jobs of the
    first queue that do not fit may each preempt running jobs of the second, latest arrivals first, if that lets them
    start now. Jobs of one queue never preempt each other and service only grows, so nobody preempts in turn; a job that
    loses its turn waits in the second queue. While one of the first queue waits, the strategy wakes within a second of
    the next crossing of the threshold. Source: Gu et al., Tiresias, NSDI'19, section 3.2 (2D-LAS, K = 2 queues, without
    the promotion of starved jobs); 18,000 GPU-seconds as in its re-implementations. Knows no run times.
    """

    threshold_gpu_s: float = 18_000.0
    depth: int = 4

    wake = while_waiting

    def __post_init__(self) -> None:
        if not self.threshold_gpu_s >= 0:
            raise InputError(f"strategy.threshold_gpu_s is {self.threshold_gpu_s}, expected >= 0")
        if not self.depth >= 0:
            raise InputError(f"strategy.depth is {self.depth}, expected >= 0")

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        acted = set()
        queue = view.waiting_by(_Level(view, self.threshold_gpu_s))
        for job in plan.placeable(queue):
            plan.place(job, plan.first_fit(job))
            acted.add(job)
        second: list[int] | None = None
        crossing_s = inf
        tried = 0
        for job in queue:
            if job in acted:
                continue
            if tried == self.depth or view.attained_gpu_s(job) >= self.threshold_gpu_s:
                break
            tried += 1
            if second is None:
                second, crossing_s = self._running(view)
            if not make_room(view, plan, job, second, acted) and crossing_s < inf:
                plan.wake_at(floor(crossing_s) + 1.0)
        return plan

    def _running(self, view: View) -> tuple[list[int], float]:
        """Running jobs of the second queue, latest arrivals first, and when the next one will join them."""
        second = []
        crossing_s = inf
        for job in view.claims:
            if view.status(job) is not Status.RUNNING:
                continue
            short = self.threshold_gpu_s - view.attained_gpu_s(job)
            if short <= 0:
                second.append(job)
            else:
                held = view.gpus[job] * view.milli[job] / 1000  # one without GPUs attains none
                crossing_s = min(crossing_s, view.now + short / held if held else inf)
        return sorted(second, reverse=True), crossing_s


@dataclass(frozen=True)
class _Level:
    """The queue that a waiting job is in, 0 or 1; a value, so that every decision names the same order."""

    view: View
    threshold_gpu_s: float

    def __call__(self, job: int) -> float:
        return float(self.view.attained_gpu_s(job) >= self.threshold_gpu_s)
