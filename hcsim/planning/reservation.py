"""When a job that does not fit now will, by the estimates, and what must stay free for it until then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from math import inf

from hcsim.actions import Allocation
from hcsim.plan import Plan
from hcsim.view import View


@dataclass
class Reservation:
    """A start in the future: at ``start_s`` (inf: by the estimates never) on the nodes of ``extra``.

    ``extra[node]`` is how many GPUs of a reserved node the job will not need at ``start_s``: others may hold them past
    that time.
    """

    start_s: float = inf
    extra: dict[int, int] = field(default_factory=dict)

    def hidden(self, view: View) -> dict[int, int]:
        """GPUs free now, per node, that a job which runs past ``start_s`` must leave free."""
        return {node: view.free_gpus(node) - extra for node, extra in self.extra.items()}

    def use(self, allocation: Allocation) -> None:
        """A job that runs past ``start_s`` took these GPUs."""
        for node, mask, _ in allocation:
            if node in self.extra:
                self.extra[node] -= mask.bit_count()


def reserve(view: View, plan: Plan, job: int) -> Reservation:
    """The earliest start of a waiting job on any pool that may hold it, if everything that holds GPUs, or that ``plan``
    has placed, ends as estimated.

    Running jobs are taken in order of their estimated end; the walk stops at the first end at which some pool has room:
    one node with the gang's GPUs, or, for a gang larger than a node, enough entirely free nodes (nodes to rent
    included). Of several such nodes those that free themselves last are reserved, then those to rent, then the
    highest-numbered free ones, because others are placed on the lowest (the extra-nodes rule of EASY: Mu'alem and
    Feitelson, TPDS 2001, section 2). CPUs and RAM are not looked at. A job that asks for a share of a GPU is given a
    whole one.
    """
    gpus = view.gpus[job]
    pools = frozenset(view.allowed_pools(job))
    first = view.fleet.first_node
    freed: dict[int, int] = {}  # node -> GPUs that come free by the time looked at
    whole: dict[int, list[int]] = {}  # pool -> nodes that are entirely free by then, preferred ones last
    for p in pools:
        size = view.pools[p].gpus_per_node
        if gpus > size:
            whole[p] = [n for n in range(first[p], first[p + 1]) if view.free_gpus(n) == size] + view.rentable(p)
    for end_s, released in groupby(_released(view, plan), key=lambda item: item[0]):
        fitting: list[tuple[int, int]] = []
        changed = set()
        for _, node, count in released:
            p = view.pool_of(node)
            if p not in pools:
                continue
            size = view.pools[p].gpus_per_node
            freed[node] = freed.get(node, 0) + count
            room = view.free_gpus(node) + freed[node]
            if gpus > size:
                if room == size:
                    whole[p].append(node)
                    changed.add(p)
            elif room >= gpus:
                fitting = [item for item in fitting if item[1] != node] + [(room, node)]
        if fitting:
            room, node = max(fitting, key=lambda item: (item[0], -item[1]))  # the most room for others
            return Reservation(end_s, {node: room - gpus})
        for p in sorted(changed):
            need = -(-gpus // view.pools[p].gpus_per_node)
            if len(whole[p]) >= need:
                return Reservation(end_s, dict.fromkeys(whole[p][-need:], 0))
    return Reservation()


def _released(view: View, plan: Plan) -> Iterator[tuple[float, int, int]]:
    """(estimated end, node, whole GPUs that come free there then), soonest first. A GPU that is shared comes free with
    the last job on it."""
    sharers: dict[tuple[int, int], int] = {}
    placed = plan.placed()
    if view.shares:
        for allocation in (*view.claims.values(), *placed.values()):
            for node, mask, milli in allocation:
                if milli != 1000:
                    sharers[node, mask] = sharers.get((node, mask), 0) + 1
    new_ends = sorted(
        (view.now + view.ready_in_s(where) + view.remaining_s(job) / view.rate(job, where), job)
        for job, where in placed.items()
    )
    for end_s, job in merge(view.ends(), new_ends):
        for node, mask, milli in placed[job] if job in placed else view.claims[job]:
            if milli == 1000:
                yield end_s, node, mask.bit_count()
            else:
                sharers[node, mask] -= 1
                if not sharers[node, mask]:
                    yield end_s, node, 1
