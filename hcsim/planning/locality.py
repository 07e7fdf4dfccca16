"""Gangs over nodes that are not entirely free."""

from __future__ import annotations

from heapq import heapify, heapreplace

from hcsim.actions import Allocation
from hcsim.plan import Plan
from hcsim.view import View


def over_nodes(view: View, plan: Plan, job: int, *, fewest: bool) -> Allocation | None:
    """Whole GPUs for a job on partly used nodes of one pool, the first allowed one in which that is possible; None when
    there is none.

    With ``fewest`` the nodes with the most free GPUs are filled one after another, else each GPU is taken from the node
    that then has the most. Of equal nodes the lowest-numbered goes first. Nodes that are off are not looked at.
    """
    first, gpus = view.fleet.first_node, view.gpus[job]
    for p in view.allowed_pools(job):
        free = [(-view.free_gpus(node), node) for node in range(first[p], first[p + 1]) if view.free_gpus(node)]
        if -sum(count for count, _ in free) < gpus:
            continue
        taken: dict[int, int] = {}
        heapify(free)
        left = gpus
        while left:
            count, node = free[0]
            many = min(-count, left) if fewest else 1
            taken[node] = taken.get(node, 0) + many
            left -= many
            heapreplace(free, (count + many, node))
        where = tuple((node, _lowest(view, node, count), 1000) for node, count in sorted(taken.items()))
        if plan.fits(job, where):
            return where
    return None


def _lowest(view: View, node: int, count: int) -> int:
    """The mask of a node's lowest free GPUs."""
    free = [gpu for gpu, left in enumerate(view.gpu_milli(node)) if left == 1000]
    return sum(1 << gpu for gpu in free[:count])
