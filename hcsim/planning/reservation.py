"""When a job that does not fit now will, by the estimates, and what must stay free for it until then."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from hcsim.view import View


@dataclass
class Reservation:
    """A start in the future: on ``nodes``, at ``start_s`` (inf: by the estimates never).

    ``extra[node]`` is how many of a reserved node's GPUs the job will not need at ``start_s``: others may hold them
    past that time.
    """

    start_s: float = inf
    extra: dict[int, int] = field(default_factory=dict)

    def hidden(self, view: View) -> dict[int, int]:
        """GPUs free now, per node, that a job which runs past ``start_s`` must leave free."""
        return {node: view.free_gpus(node) - extra for node, extra in self.extra.items()}

    def use(self, node: int, gpus: int) -> None:
        """A job that runs past ``start_s`` took GPUs of a node."""
        if node in self.extra:
            self.extra[node] -= gpus


def reserve(view: View, job: int) -> Reservation:
    """The earliest start of a waiting job on any pool that may hold it, if everything else ends as estimated.

    Running jobs are taken in order of their estimated end; the walk stops at the first end at which some pool has room:
    one node with the gang's GPUs, or, for a gang larger than a node, enough entirely free nodes. Of those, nodes that
    are not free now are reserved first, then the highest-numbered, because first fit uses the lowest (the extra-nodes
    rule of EASY: Mu'alem and Feitelson, TPDS 2001, section 2).
    """
    gpus = view.gpus[job]
    pools = view.allowed_pools(job)
    freed: dict[int, int] = {}  # node -> GPUs that come free by the time looked at
    whole = {p: _whole_nodes(view, p) for p in pools if gpus > view.pools[p].gpus_per_node}
    for end_s, other in view.ends():
        for node, mask, milli in view.claims[other]:
            p = view.pool_of(node)
            if p not in pools or milli != 1000:
                continue
            freed[node] = freed.get(node, 0) + mask.bit_count()
            size = view.pools[p].gpus_per_node
            room = view.free_gpus(node) + freed[node]
            if gpus <= size:
                if room >= gpus:
                    return Reservation(end_s, {node: room - gpus})
            elif room == size:
                whole[p].append(node)
                need = -(-gpus // size)
                if len(whole[p]) >= need:
                    chosen = sorted(whole[p], key=lambda n: (view.free_gpus(n) == size, -n))[:need]
                    return Reservation(end_s, dict.fromkeys(chosen, 0))
    return Reservation()


def _whole_nodes(view: View, pool: int) -> list[int]:
    size, first = view.pools[pool].gpus_per_node, view.fleet.first_node
    return [node for node in range(first[pool], first[pool + 1]) if view.free_gpus(node) == size]
