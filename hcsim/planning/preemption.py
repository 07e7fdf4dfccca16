"""Whom to stop so that a more urgent job can start."""

from __future__ import annotations

from collections.abc import Callable

from hcsim.actions import Allocation
from hcsim.plan import Plan
from hcsim.view import View


def make_room(view: View, plan: Plan, job: int, yields: Callable[[int], float], stopped: set[int]) -> bool:
    """Preempt as few GPUs as possible and place ``job`` on them; False, and nothing done, if that is impossible.

    Args:
        yields: how willingly a running job gives way: 0 or less not at all, larger first.
        stopped: jobs that this plan has stopped or placed already; the ones stopped here are added.

    Nodes are compared by the GPUs that would be preempted beyond what is free; ties go to the lower number. A gang
    larger than a node takes the cheapest nodes that can be emptied. Jobs that share a GPU are left alone.
    """
    gpus = view.gpus[job]
    for pool in view.allowed_pools(job):
        size = view.pools[pool].gpus_per_node
        on_node: dict[int, list[tuple[float, int, int]]] = {}
        for other, allocation in view.running().items():
            if other in stopped or view.pool_of(allocation[0][0]) != pool or allocation[0][2] != 1000:
                continue
            willing = yields(other)
            if willing > 0:
                for node, mask, _ in allocation:
                    on_node.setdefault(node, []).append((-willing, other, mask.bit_count()))
        need, per_node = (1, gpus) if gpus <= size else (-(-gpus // size), size)
        options = []
        first = view.fleet.first_node
        nodes = on_node if need == 1 else range(first[pool], first[pool + 1])
        for node in nodes:
            short = per_node - view.free_gpus(node)
            victims = []
            for _, other, count in sorted(on_node.get(node, ())):
                if short <= 0:
                    break
                victims.append(other)
                short -= count
            if short <= 0:
                cost = sum(count for _, other, count in on_node.get(node, ()) if other in victims)
                options.append((cost, node, victims))
        if len(options) < need:
            continue
        options.sort()
        chosen = options[:need]
        for victim in dict.fromkeys(v for _, _, victims in chosen for v in victims):
            plan.preempt(victim)
            stopped.add(victim)
        where = _allocation(view, plan, [node for _, node, _ in chosen], gpus, size)
        if where is not None and plan.place(job, where):
            stopped.add(job)
            return True
    return False


def _allocation(view: View, plan: Plan, nodes: list[int], gpus: int, size: int) -> Allocation | None:
    parts = []
    for node in nodes:
        mask = plan.lowest_gpus(node, min(gpus, size))
        if not mask:
            return None
        parts.append((node, mask, 1000))
        gpus -= min(gpus, size)
    return tuple(parts)
