"""Consolidated: a gang waits for the fewest nodes that could hold it, for a time."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from hcsim import InputError, Plan, Strategy, View, while_waiting
from hcsim.planning.locality import over_nodes


@dataclass(frozen=True)
class Consolidated(Strategy):
    """Place each waiting job, in arrival order, best fit: on one node, or as many entirely free ones as it takes. A
    gang that has waited for ``patience_s`` is placed on any free GPUs of one pool, on as few nodes as will do.

    ``patience_s`` inf never gives locality up, 0 at once. A gang on more nodes than needed runs slower (by
    ``perf.spread_factor``). Source: delay scheduling (Zaharia et al., EuroSys'10); for gangs of GPUs Jeon et al.,
    ATC'19, section 2.3, whose scheduler relaxes locality with time. Knows no run times.
    """

    patience_s: float = 600.0

    wake = while_waiting

    def __post_init__(self) -> None:
        if not self.patience_s >= 0:
            raise InputError(f"strategy.patience_s is {self.patience_s}, expected >= 0")

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        unfit: set[int] = set()
        relaxed_s = inf
        for job in view.waiting:
            demand = view.job_class(job)
            if demand in unfit:
                continue
            where = plan.best_fit(job)
            if where is None and view.gpus[job] > 1:
                left_s = self.patience_s - view.queued_s(job)
                if left_s > 1e-6:  # waking at a sum may come a rounding error early
                    relaxed_s = min(relaxed_s, view.now + left_s)
                    continue
                where = over_nodes(view, plan, job, fewest=True)
            if where is None:
                unfit.add(demand)
            else:
                plan.place(job, where)
        if relaxed_s < inf:
            plan.wake_at(relaxed_s)
        return plan
