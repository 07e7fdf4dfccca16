"""Carbon waiting: start each job, or run it piece by piece, when its site's power is forecast to be cleanest."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from hcsim import InputError, Plan, Status, Strategy, View, on_change


@dataclass(frozen=True)
class CarbonWaiting(Strategy):
    """Wait, within a job's slack, for the start with the least forecast carbon, at the site where that is least.

    The slack is the time to the deadline beyond the estimated run time, else ``slack_s`` from arrival on. With
    ``interruptible`` a job runs in the cleanest steps of its time and pauses in between. Power that is nowhere known
    makes no difference, and jobs start at once. It looks at carbon alone, not at prices. Source: Wiesner et al., Let's
    Wait Awhile, Middleware 2021, section 5.2 (non-interrupting and interrupting strategies).

    Args:
        slack_s: how long a job without a deadline may be put off.
    """

    slack_s: float = 86400.0
    interruptible: bool = False

    wake = on_change
    needs = frozenset({"runtime", "carbon"})

    def __post_init__(self) -> None:
        if not 0 <= self.slack_s < inf:
            raise InputError(f"strategy.slack_s is {self.slack_s}, expected a finite number >= 0")

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        if self.interruptible:
            for job in [j for j in view.claims if view.status(j) is Status.RUNNING]:
                _, begin_s, step_s = self.best(view, job, view.pool_of(view.claims[job][0][0]))
                if begin_s > view.now:
                    plan.preempt(job)
                elif step_s < inf:
                    plan.wake_at(step_s)
        for job in plan.placeable(view.waiting):
            choices = []
            for pool in view.allowed_pools(job):
                where = plan.first_fit(job, (pool,))
                if where is not None:
                    choices.append((*self.best(view, job, pool)[:2], pool, where))
            grams, begin_s, _, where = min(choices)
            if begin_s > view.now and grams < inf:
                plan.hold(job, begin_s)
            else:
                plan.place(job, where)
        return plan

    def best(self, view: View, job: int, pool: int) -> tuple[float, float, float]:
        """Mean forecast intensity of a job's cleanest time in a pool (inf: not known), when that begins, and when the
        forecast's next step does (inf: there is none)."""
        now, speed = view.now, view.speed(pool)
        rest_s = view.remaining_s(job) / speed
        if view.status(job) is not Status.RUNNING and view.progress_s(job) > 0:
            rest_s += view.restart_s[job]
        end_s: float = view.deadline_s[job]
        if end_s == inf:
            end_s = view.arrival_s[job] + self.slack_s + view.estimate_s(job) / speed
        at_s, value = view.carbon_ahead(view.fleet.pool_site[pool], max(end_s, now + rest_s))
        if not len(at_s) or rest_s <= 0:
            return inf, now, inf
        step_s = float(at_s[1]) if len(at_s) > 1 else inf
        if end_s - rest_s <= now:
            return float(value[0]), now, step_s
        edges = np.r_[at_s, max(end_s, at_s[-1] + 1.0)]  # what lies beyond a forecast is taken to be like its end
        if self.interruptible:
            length = np.diff(edges)
            order = np.argsort(value, kind="stable")
            used = np.diff(np.minimum(np.r_[0.0, np.cumsum(length[order])], rest_s))
            return float((used * value[order]).sum() / rest_s), float(at_s[order[used > 0]].min()), step_s
        area = np.r_[0.0, np.cumsum(value * np.diff(edges))]
        begin = np.unique(np.clip(np.r_[now, at_s, edges - rest_s], now, end_s - rest_s))
        mean = (np.interp(begin + rest_s, edges, area) - np.interp(begin, edges, area)) / rest_s
        first = 0 if mean[0] <= mean.min() * (1 + 1e-9) else int(mean.argmin())
        return float(mean[first]), float(begin[first]), step_s
