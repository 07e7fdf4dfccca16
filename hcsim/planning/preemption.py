"""Whom to stop so that a more urgent job can start."""

from __future__ import annotations

from collections.abc import Iterable

from hcsim.books import Status
from hcsim.plan import Plan
from hcsim.view import View


def make_room(
    view: View, plan: Plan, job: int, victims: Iterable[int], stopped: set[int], lease_s: float = 0.0
) -> bool:
    """Preempt running jobs, with a checkpoint, and place ``job`` on their GPUs now; False, and nothing done, when all
    of ``victims`` would not make room for it.

    Victims are taken in their order until one node has room for the job or, for a gang larger than a node, until enough
    nodes are entirely free (nodes to rent included); of those on the nodes chosen, only the ones that are needed are
    stopped, the last ones in order spared first. Jobs that share a GPU, and jobs that have not started, are left alone.

    Args:
        victims: jobs that may be stopped for this one, the first to go first; read no further than needed.
        stopped: jobs that this plan has placed or stopped already; the ones stopped here and ``job`` are added.
        lease_s: what ``job`` is placed with.
    """
    gpus = view.gpus[job]
    pools = view.allowed_pools(job)
    sizes = {p: view.pools[p].gpus_per_node for p in pools}
    first = view.fleet.first_node
    room: dict[int, int] = {}  # node -> GPUs that would be free
    on_node: dict[int, list[int]] = {}  # node -> victims there
    whole = {
        p: [n for n in range(first[p], first[p + 1]) if view.free_gpus(n) == size] + view.rentable(p)
        for p, size in sizes.items()
        if gpus > size
    }
    claims, pool_of, free_gpus, status = view.claims, view.pool_of, view.free_gpus, view.status
    for victim in victims:
        allocation = claims[victim]
        p = pool_of(allocation[0][0])
        if p not in sizes or victim in stopped or allocation[0][2] != 1000 or status(victim) is not Status.RUNNING:
            continue
        size = sizes[p]
        nodes: list[int] = []
        for node, mask, _ in allocation:
            if node in room:
                room[node] += mask.bit_count()
                on_node[node].append(victim)
            else:
                room[node] = free_gpus(node) + mask.bit_count()
                on_node[node] = [victim]
            if gpus > size:
                if room[node] == size:
                    whole[p].append(node)
            elif room[node] >= gpus:
                nodes = [node]
        if gpus > size and len(whole[p]) >= -(-gpus // size):
            nodes = whole[p][: -(-gpus // size)]
        if nodes:
            return _take(view, plan, job, nodes, on_node, stopped, lease_s)
    return False


def _take(
    view: View,
    plan: Plan,
    job: int,
    nodes: list[int],
    on_node: dict[int, list[int]],
    stopped: set[int],
    lease_s: float,
) -> bool:
    """Stop those of the victims on ``nodes`` that must go, and place the job there."""
    needed = list(dict.fromkeys(victim for node in nodes for victim in on_node.get(node, ())))
    for victim in reversed(needed) if len(nodes) == 1 else ():  # whole nodes need all of theirs
        rest = [other for other in needed if other != victim]
        with plan.supposing(rest):
            if plan.on_nodes(job, nodes):
                needed = rest
    with plan.supposing(needed):
        if not plan.fits(job, plan.on_nodes(job, nodes)):
            return False  # for want of CPUs or RAM
    for victim in needed:
        plan.preempt(victim)
    stopped.update(needed, (job,))
    return plan.place(job, plan.on_nodes(job, nodes), lease_s)
