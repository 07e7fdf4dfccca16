"""EASY backfill: the queue's head gets a reservation, others may overtake it only if they do not delay it."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import InputError, Plan, Strategy, View, while_waiting
from hcsim.planning.reservation import reserve


@dataclass(frozen=True)
class EasyBackfill(Strategy):
    """Start jobs in arrival order; when the head does not fit, reserve its earliest start by the estimates, and start
    later jobs that end before it or that use only GPUs that it will not need.

    Source: Lifka, The ANL/IBM SP scheduling system, JSSPP 1995; the shadow time and extra nodes as in Mu'alem and
    Feitelson, TPDS 2001, section 2. At most ``depth`` jobs that fit are examined per decision, in arrival order (as
    Slurm's bf_max_job_test). A head that no estimated end would let start (a node is down) holds nobody back.
    """

    depth: int = 100

    wake = while_waiting
    needs = frozenset({"runtime"})

    def __post_init__(self) -> None:
        if not self.depth >= 0:
            raise InputError(f"strategy.depth is {self.depth}, expected >= 0")

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        head = -1
        for job in view.waiting:
            where = plan.first_fit(job)
            if where is None:
                head = job
                break
            plan.place(job, where)
        reservation = None
        barred = set()  # demand classes that no longer fit beside the reservation
        for examined, job in enumerate(plan.placeable(view.waiting)):
            if examined >= self.depth:
                break
            if reservation is None:
                reservation = reserve(view, plan, head)
            where = plan.first_fit(job)
            if where is None:
                continue
            run_s = view.ready_in_s(where) + view.remaining_s(job) / view.rate(job, where)
            if view.now + run_s <= reservation.start_s:
                plan.place(job, where)
            elif view.job_class(job) not in barred:
                with plan.reserving(reservation.hidden(view)):
                    where = plan.first_fit(job)
                    if where is None:
                        barred.add(view.job_class(job))
                    else:
                        plan.place(job, where)
                        reservation.use(where)
        return plan
