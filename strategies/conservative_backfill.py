"""Conservative backfill: every queued job has a reservation, and nobody may delay any of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from hcsim import InputError, Plan, Strategy, View, while_waiting
from hcsim.planning.profile import Profile


@dataclass(frozen=True)
class ConservativeBackfill(Strategy):
    """Give each waiting job, in arrival order, the earliest start on any allowed pool that moves no reservation made
    before; start those whose turn is now. Of equally early pools the first in fleet order is taken.

    Reservations are made anew, node by node, at each decision at which something could start, for the first ``depth``
    waiting jobs; those behind wait. Source: Mu'alem and Feitelson, TPDS 2001, section 2 (conservative backfilling, with
    compression of the schedule at every completion).
    """

    depth: int = 100

    wake = while_waiting
    needs = frozenset({"runtime"})

    def __post_init__(self) -> None:
        if not self.depth >= 1:
            raise InputError(f"strategy.depth is {self.depth}, expected at least 1")

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        if next(iter(plan.placeable(view.waiting)), None) is None:
            return plan
        jobs = list(islice(view.waiting, self.depth))
        fits: dict[int, bool] = {}  # demand class -> whether one more of it could be placed now
        profile = Profile(view)
        for i, job in enumerate(jobs):
            while jobs and not self._fits(view, plan, jobs[-1], fits):
                jobs.pop()
            if i >= len(jobs):
                break  # nothing from here on could start, so nobody needs a reservation
            plans = []
            for pool in view.allowed_pools(job):
                hold_s = view.remaining_s(job) / view.speed(pool)
                plans.append((*profile.earliest(pool, view.gpus[job], hold_s), hold_s))
            if not plans:
                continue  # no pool may ever hold it
            start_s, nodes, hold_s = min(plans, key=lambda each: each[0])
            if view.milli[job] != 1000:
                where = plan.first_fit(job)
                if where is not None and profile.shared_until(where) >= view.now + hold_s:
                    plan.place(job, where)  # moves nobody: the GPU is shared for longer than that
                    fits.clear()
                    continue
            if start_s <= view.now and plan.fits(job, now := plan.on_nodes(job, nodes)):
                plan.place(job, now)
                fits.clear()
            profile.take(nodes, start_s, hold_s, view.gpus[job])
        return plan

    def _fits(self, view: View, plan: Plan, job: int, fits: dict[int, bool]) -> bool:
        c = view.job_class(job)
        if c not in fits:
            fits[c] = plan.first_fit(job) is not None
        return fits[c]
