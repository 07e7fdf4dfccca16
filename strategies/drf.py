"""Dominant resource fairness over tenants."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from hcsim import InputError, Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class Drf(Strategy):
    """The tenant with the least dominant share by weight starts its next job, first fit, and so on.

    A tenant's dominant share is the largest of its shares of the fleet's GPUs, CPUs and RAM (those that nodes are said
    to have; slots that could be rented included). Within a tenant jobs go in order of arrival, and one that fits
    nowhere now is passed over. Nobody is preempted. ``weights`` are of tenants by number, 1 for the others. Source:
    Ghodsi et al., Dominant Resource Fairness, NSDI'11, section 4.1, progressive filling. Knows no run times.
    """

    weights: tuple[float, ...] = ()

    wake = while_waiting

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))
        for tenant, weight in enumerate(self.weights):
            if not 0 < weight < inf:
                raise InputError(f"strategy.weights.{tenant} is {weight}, expected a finite number > 0")

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        whole = [
            sum(pool.nodes * pool.gpus_per_node for pool in view.pools),
            sum(pool.nodes * pool.cpus_per_node for pool in view.pools),
            sum(pool.nodes * pool.ram_bytes_per_node for pool in view.pools),
        ]
        used: dict[int, list[float]] = {}
        for job in view.claims:
            self._add(view, used, job)
        queues: dict[int, list[int]] = {}
        for job in view.waiting:
            queues.setdefault(view.tenant[job], []).append(job)
        for queue in queues.values():
            queue.reverse()
        while queues:
            tenant = min(queues, key=lambda each: (self._share(used.get(each, ()), whole, each), each))
            queue = queues[tenant]
            job = queue.pop()
            if not queue:
                del queues[tenant]
            where = plan.first_fit(job)
            if where is not None and plan.place(job, where):
                self._add(view, used, job)
        return plan

    def _add(self, view: View, used: dict[int, list[float]], job: int) -> None:
        mine = used.setdefault(view.tenant[job], [0.0, 0.0, 0.0])
        asked = (view.gpus[job] * view.milli[job] / 1000.0, view.cpus[job], view.ram_bytes[job])
        for i, amount in enumerate(asked):
            mine[i] += amount

    def _share(self, used: list[float] | tuple[()], whole: list[float], tenant: int) -> float:
        weight = self.weights[tenant] if tenant < len(self.weights) else 1.0
        return max((mine / of for mine, of in zip(used, whole, strict=False) if of > 0), default=0.0) / weight
