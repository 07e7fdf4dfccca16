"""Random fit: each job on a random node among those that fit, a floor for every other placement."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from hcsim import Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class RandomFit(Strategy):
    """Place each waiting job, in arrival order, on a pool drawn at random among its allowed pools (the next that has
    room), and there on the first node that fits at or after a node drawn at random.

    Gangs larger than a node, and jobs for which a pool must rent, take what first fit finds in the pool. Source: the
    random baseline of packing studies (e.g. Weng et al., ATC'23, section 6).
    """

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for i, job in enumerate(plan.placeable(view.waiting)):
            pools = view.allowed_pools(job)
            turn = int(view.uniform(2 * i) * len(pools))
            for pool in pools[turn:] + pools[:turn]:
                where = plan.first_fit(job, (pool,))
                if where is not None:
                    start = int(view.uniform(2 * i + 1) * view.pools[pool].nodes)
                    node = self._from(view, plan, job, pool, start)
                    plan.place(job, where if node is None else node)
                    break
        return plan

    def _from(self, view: View, plan: Plan, job: int, pool: int, start: int) -> int | None:
        """The first node that is on and fits, round from the pool's ``start``-th; None when there is none."""
        first, end = view.fleet.first_node[pool], view.fleet.first_node[pool + 1]
        if view.gpus[job] > view.pools[pool].gpus_per_node:
            return None
        for node in chain(range(first + start, end), range(first, first + start)):
            if (view.free_gpus(node) >= view.gpus[job] or view.milli[job] != 1000) and plan.fits(job, node):
                return node
        return None
