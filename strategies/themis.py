"""Finish-time fairness by leases and offers to those who are worst off: Themis."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

from hcsim import InputError, Plan, Status, Strategy, View, on_change
from hcsim.planning.preemption import make_room


@dataclass(frozen=True)
class Themis(Strategy):
    """GPUs are leased; those that are free or whose lease is over are offered to the jobs with the worst ρ.

    ρ is how long a job will have been there when it ends, if it runs from now on, over how long it would have taken
    with its part, one in N, of the GPUs on which it may run. Of the jobs that wait or whose lease is over the worst 1 -
    ``fairness`` may take GPUs from better-off jobs whose lease is over; what is left goes to the others, worst first;
    who keeps its GPUs has them for another ``lease_s``. A gang's bid is all or nothing, so the partial auction of the
    paper, which makes the product of the bids as large as it can be, comes to this order; its hidden payments are left
    out. Source: Mahajan et al., Themis, NSDI'20, sections 3 and 5 (fairness knob f = 0.8, leases of 20 minutes).
    """

    fairness: float = 0.8
    lease_s: float = 1200.0

    wake = on_change
    needs = frozenset({"runtime"})

    def __post_init__(self) -> None:
        if not 0 <= self.fairness < 1:
            raise InputError(f"strategy.fairness is {self.fairness}, expected 0 to below 1")
        if not 0 < self.lease_s < inf:
            raise InputError(f"strategy.lease_s is {self.lease_s}, expected a finite number > 0")

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        over = [j for j in view.claims if j not in view.leases and view.status(j) is Status.RUNNING]
        if not over and not view.waiting:
            return plan
        jobs = [job for job in (*view.waiting, *over) if view.allowed_pools(job)]
        rho = _rho(view, jobs)
        worst = sorted(jobs, key=lambda job: (-rho[job], job))
        bidders = set(worst[: ceil((1 - self.fairness) * len(worst))])
        kept, acted = set(over), set[int]()
        for job in worst:
            if job in kept or job in acted:
                continue
            where = plan.first_fit(job)
            if where is not None:
                plan.place(job, where, self.lease_s)
                acted.add(job)
            elif job in bidders and kept:
                better = [other for other in reversed(worst) if other in kept and rho[other] < rho[job]]
                make_room(view, plan, job, better, acted, self.lease_s)
                kept -= acted
        for job in sorted(kept):
            plan.renew(job, self.lease_s)
        return plan


def _rho(view: View, jobs: list[int]) -> dict[int, float]:
    """ρ of each job: what it will have taken over what it would have taken alone."""
    there = len(view.waiting) + len(view.claims)
    out = {}
    for job in jobs:
        pools = view.allowed_pools(job)
        if not pools:  # nothing can be done for it
            out[job] = 0.0
            continue
        speed = max(view.speed(p, job) for p in pools)
        part = sum(view.pools[p].nodes * view.pools[p].gpus_per_node for p in pools) / there
        gang = view.gpus[job] * view.milli[job] / 1000.0 or 1.0
        alone_s = view.estimate_s(job) / speed / min(1.0, part / gang)
        out[job] = (view.now - view.arrival_s[job] + view.remaining_s(job) / speed) / max(alone_s, 1e-9)
    return out
