"""Cheapest fit: each job on the pool where its work costs least, rented capacity included."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import InputError, Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class CheapestFit(Strategy):
    """Place each waiting job, in arrival order, on the pool with the lowest price per unit of work that has room now.

    The price of an hour of a job's work on a pool is GPUs × USD per GPU-hour / speed, plus its dataset's egress spread
    over ``egress_hours`` hours of work. Source: the greedy baseline of SkyPilot's optimizer (Yang et al., NSDI'23,
    section 4), one job at a time. It never waits for cheaper capacity.
    """

    egress_hours: float = 1.0

    wake = while_waiting

    def __post_init__(self) -> None:
        if not self.egress_hours > 0:
            raise InputError(f"strategy.egress_hours is {self.egress_hours}, expected > 0")

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting):
            for pool in sorted(view.allowed_pools(job), key=lambda p: self.usd_per_h(view, job, p)):
                where = plan.first_fit(job, (pool,))
                if where is not None:
                    plan.place(job, where)
                    break
        return plan

    def usd_per_h(self, view: View, job: int, pool: int) -> float:
        """USD for what the job does in an hour on reference GPUs."""
        compute = view.gpus[job] * view.milli[job] / 1000 * view.price_usd(pool) / view.speed(pool)
        return compute + view.egress_usd(job, pool) / self.egress_hours
