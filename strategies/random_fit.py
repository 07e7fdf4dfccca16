"""Random fit: each job on a random node among those that fit, a floor for every other placement."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class RandomFit(Strategy):
    """Place each waiting job, in arrival order, on a pool drawn at random among its allowed pools, and there on the
    first node that fits at or after a node drawn at random (larger gangs: the pool's first entirely free nodes).

    Source: the random baseline of packing studies (e.g. Weng et al., ATC'23, section 6).
    """

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for i, job in enumerate(plan.placeable(view.waiting)):
            pools = list(view.allowed_pools(job))
            turn = int(view.uniform(2 * i) * len(pools))
            for pool in pools[turn:] + pools[:turn]:
                first, last = view.fleet.first_node[pool], view.fleet.first_node[pool + 1]
                start = first + int(view.uniform(2 * i + 1) * (last - first))
                nodes = (*range(start, last), *range(first, start))
                where = next((node for node in nodes if view.free_gpus(node) and plan.fits(job, node)), None)
                where = plan.first_fit(job, (pool,)) if where is None else where
                if where is not None:
                    plan.place(job, where)
                    break
        return plan
