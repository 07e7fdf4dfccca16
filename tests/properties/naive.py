"""What the state's index must say, worked out slowly from the claims and the nodes' states alone."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest

from hcsim.actions import Allocation
from hcsim.books import NodeState, Status
from hcsim.plan import Plan
from hcsim.state import State
from tests.properties.worlds import World


class Naive:
    """Free GPUs of a state, and first fit and best fit by a scan over nodes."""

    def __init__(self, world: World, state: State) -> None:
        self.world, self.books = world, state.books
        fleet, self.jobs = world.fleet, world.jobs
        self.size = [fleet.pools[p].gpus_per_node for p in fleet.node_pool]
        self.on = [state not in (NodeState.OFF, NodeState.DOWN) for state in self.books.node_state]
        self.left = [[1000 * on] * size for on, size in zip(self.on, self.size, strict=True)]  # milli per GPU
        self.cpus = [fleet.pools[p].cpus_per_node * 1000 or float("inf") for p in fleet.node_pool]  # thousandths
        for job, where in self.books.claims.items():
            for node, mask, milli in where:
                assert self.on[node], f"job {job} claims node {node}, which is off or down"
                self.cpus[node] -= self.milli_cpus(job, len(where))
                for gpu in range(self.size[node]):
                    self.left[node][gpu] -= milli * (mask >> gpu & 1)
                    assert self.left[node][gpu] >= 0, f"GPU {gpu} of node {node} is claimed twice"

    def milli_cpus(self, job: int, nodes: int) -> int:
        """Thousandths of a CPU that a job takes of each of so many nodes, rounded up."""
        return ceil(ceil(round(float(self.jobs.cpus[job]) * 1000, 6)) / nodes)

    def mask(self, node: int) -> int:
        return sum(1 << gpu for gpu, left in enumerate(self.left[node]) if left == 1000)

    def nodes(self, p: int) -> range:
        return range(self.world.fleet.first_node[p], self.world.fleet.first_node[p + 1])

    def rented(self, pools: list[int]) -> int:
        """GPUs of rented nodes of some pools that are up or boot."""
        return sum(self.size[n] for p in pools for n in self.nodes(p) if self.on[n])

    def rentable(self, p: int) -> list[int]:
        """Nodes that are off, as many as quotas and stock leave."""
        fleet, size = self.world.fleet, self.world.fleet.pools[p].gpus_per_node
        off = [n for n in self.nodes(p) if self.books.node_state[n] == NodeState.OFF]
        most = self.books.capacity.stock[p] - self.rented([p]) / size
        for quota in fleet.limits:
            mine = [
                q
                for q, pool in enumerate(fleet.pools)
                if pool.elastic
                and (not quota.gpu or pool.gpu in quota.gpu.split("|"))
                and quota.region in ("", fleet.sites[fleet.pool_site[q]].region)
                and quota.site in ("", fleet.sites[fleet.pool_site[q]].name)
                and quota.provider in ("", fleet.sites[fleet.pool_site[q]].provider)
            ]
            if p in mine:
                most = min(most, (quota.gpus - self.rented(mine)) // size)
        return off[: int(max(min(most, len(off)), 0))]

    def allowed(self, job: int, p: int) -> bool:
        """Residency, GPU type and memory, host and gang size."""
        jobs, fleet = self.jobs, self.world.fleet
        pool, place = fleet.pools[p], fleet.sites[fleet.pool_site[p]].jurisdiction
        count = max(-(-int(jobs.gpus[job]) // pool.gpus_per_node), 1)
        return (
            (jobs.residency[job] < 0 or place in jobs.residencies[jobs.residency[job]].split("|"))
            and (jobs.gpu_type[job] < 0 or pool.gpu in jobs.gpu_types[jobs.gpu_type[job]].split("|"))
            and jobs.gpu_memory_bytes[job] <= pool.gpu_memory_bytes
            and jobs.cpus[job] <= (pool.cpus_per_node or float("inf")) * count
            and count <= pool.nodes
        )

    def fit(self, job: int, *, best: bool = False) -> Allocation | None:
        """Where first fit, or best fit, puts a job."""
        for p in range(len(self.world.fleet.pools)):
            where = self._fit_in(job, p, best) if self.allowed(job, p) else None
            if where is not None:
                return where
        return None

    def _fit_in(self, job: int, p: int, best: bool) -> Allocation | None:
        gpus, milli = int(self.jobs.gpus[job]), int(self.jobs.gpu_milli[job])
        size = self.world.fleet.pools[p].gpus_per_node
        count = max(-(-gpus // size), 1)
        per_node, cpus = min(gpus, size), self.milli_cpus(job, count)
        on = [n for n in self.nodes(p) if self.on[n] and self.cpus[n] >= cpus]
        if milli < 1000:
            on = [n for n in on if max(self.left[n]) >= milli]
        else:
            on = [n for n in on if self.mask(n).bit_count() >= per_node]
        if best:
            on.sort(key=lambda n: (self.mask(n).bit_count(), n))
        chosen = (on + self.rentable(p))[:count]
        if len(chosen) < count:
            return None
        if milli < 1000:
            return ((chosen[0], 1 << self._share(chosen[0], milli), milli),)
        parts = []
        for i, node in enumerate(chosen):
            free = [g for g in range(size) if not self.on[node] or self.left[node][g] == 1000]
            parts.append((node, sum(1 << g for g in free[: min(gpus - i * size, size)]), 1000))
        return tuple(parts)

    def _share(self, node: int, milli: int) -> int:
        """The GPU with least left that has enough, shared ones before free ones."""
        if not self.on[node]:
            return 0
        return min((left, gpu) for gpu, left in enumerate(self.left[node]) if left >= milli)[1]


def check_index(world: World, state: State) -> None:
    """The capacity index and the queue are what the claims and statuses make them."""
    naive = Naive(world, state)
    books, fleet = state.books, world.fleet
    capacity = books.capacity
    shared: dict[tuple[int, int], int] = {}
    for node, p in enumerate(fleet.node_pool):
        mask = naive.mask(node)
        assert capacity.mask[node] == mask and capacity.free[node] == mask.bit_count(), f"free GPUs of node {node}"
        assert bool(capacity.up[node]) == naive.on[node], f"node {node}"
        assert bool(capacity.off[node]) == (books.node_state[node] == NodeState.OFF), f"node {node}"
        shared |= {
            (node, g): left for g, left in enumerate(naive.left[node]) if naive.on[node] and left not in (0, 1000)
        }
        if capacity.track_host:
            assert capacity.cpus[node] == pytest.approx(naive.cpus[node]), f"CPUs of node {node} of pool {p}"
    kept = {key: left for each in capacity.shared for key, left in each.items() if left}
    assert kept == {key: left for key, left in shared.items()}
    for p, size in enumerate(capacity.size):
        nodes = naive.nodes(p)
        assert capacity.full[p] == sum(capacity.free[n] == size for n in nodes)
        off = [n for n in nodes if books.node_state[n] == NodeState.OFF]
        assert sorted(capacity.spare[p]) == (off if fleet.pools[p].elastic else [])
        assert capacity.spare_allowed(p) == len(naive.rentable(p))
        for g, (heap, listed) in capacity.levels[p].items():
            assert sorted(set(heap)) == sorted(heap) == [n for n in nodes if listed[n - nodes[0]]]
            assert {n for n in nodes if capacity.free[n] >= g} <= set(heap)
    for p, pool in enumerate(fleet.pools):
        assert capacity.on[p] == (naive.rented([p]) // pool.gpus_per_node if pool.elastic else 0)
    waiting = [job for job, status in enumerate(books.status) if status == Status.WAITING]
    for queue in (books.queue, *books.keyed.values()):
        assert sorted(queue) == waiting and len(queue) == len(waiting)
    assert list(books.queue) == waiting


def check_fits(world: World, state: State) -> None:
    """First fit, best fit and placeable find what a scan finds, for every job that has arrived."""
    naive, books = Naive(world, state), state.books
    fit: dict[int, Any] = {}
    for job, c in enumerate(books.job_class[: books.arrived]):
        if c not in fit:
            fit[c] = naive.fit(job)
            assert Plan(books).first_fit(job) == fit[c], f"first fit of job {job}"
            assert Plan(books).best_fit(job) == naive.fit(job, best=True), f"best fit of job {job}"
    fitting = [job for job in books.queue if fit[books.job_class[job]] is not None]
    assert list(Plan(books).placeable(books.queue)) == fitting


def check(world: World, state: State) -> None:
    """All of these."""
    check_index(world, state)
    check_fits(world, state)
