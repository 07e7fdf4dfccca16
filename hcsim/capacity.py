"""Which GPUs can be claimed, indexed so that a question costs the same on a hundred nodes or a hundred thousand.

For every per-node demand g that occurs, each pool keeps a heap of nodes that had at least g claimable GPUs. Entries are
invalidated lazily: a node whose count has dropped stays until it surfaces. So the first node that fits is the top of
one heap, a claim costs nothing but the count, and a release pushes the node into the heaps that it newly qualifies for.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil, floor, inf

from hcsim.actions import Allocation
from hcsim.constraints import Demands
from hcsim.model import Fleet

#: Number of set bits of a GPU mask (at most 16 GPUs on a node).
POPCOUNT = bytes(mask.bit_count() for mask in range(1 << 16))


def lowest_bits(mask: int, count: int) -> int:
    """The ``count`` lowest set bits of ``mask``; 0 when it has fewer."""
    taken = 0
    if mask.bit_count() < count:
        return 0
    while count:
        bit = mask & -mask
        taken |= bit
        mask ^= bit
        count -= 1
    return taken


def _most(has: float) -> float:
    """What a node has, in whole numbers; 0 is not modelled, and any demand fits."""
    return floor(round(has, 6)) if has else inf


_LOWEST8 = [[lowest_bits(mask, g) for g in range(17)] for mask in range(256)]


class Capacity:
    """Claimable GPUs per node. A node that is off or down has none; off nodes of rented pools wait in ``spare``."""

    def __init__(self, fleet: Fleet, demands: Demands) -> None:
        pools = fleet.pools
        self.pool_of = fleet.node_pool
        self.size = [p.gpus_per_node for p in pools]
        self.first = fleet.first_node
        self.free = [0 if pools[p].elastic else pools[p].gpus_per_node for p in self.pool_of]
        self.mask = [(1 << n) - 1 for n in self.free]
        self.off = bytearray(1 if pools[p].elastic else 0 for p in self.pool_of)
        self.spare = [
            list(range(self.first[p], self.first[p + 1])) if pools[p].elastic else [] for p in range(len(pools))
        ]
        self.full = [0 if p.elastic else p.nodes for p in pools]
        self.quotas = fleet.pool_quotas
        self.left = [limit.gpus for limit in fleet.limits]  # GPUs that may still be rented, per quota
        self.rented = bytearray(len(self.pool_of))  # nodes of rented pools that are on, boot, or are claimed and will
        self.on = [0] * len(pools)  # how many they are
        self.stock = [inf] * len(pools)  # how many of them can be had
        self.purses: list[tuple[int, ...]] = [()] * len(pools)  # the budgets that pay for each pool
        self.purse_usd: list[float] = []  # what each may spend on further nodes
        self.first_usd: list[float] = []  # what has to be there to rent a node of each pool
        self.opening: set[int] = set()  # nodes asked for and not yet up, whose money is held
        self.shared: list[dict[tuple[int, int], int]] = [{} for _ in pools]  # (node, gpu) -> free milli-GPU
        # Free milli-CPUs and bytes of RAM are kept only if anyone asks, in whole numbers: what fits exactly fits.
        self.track_host = any(demands.cpus) or any(demands.ram_bytes)
        self.cpus_of_pool = [_most(pool.cpus_per_node * 1000.0) for pool in pools]
        self.ram_of_pool = [_most(pool.ram_bytes_per_node) for pool in pools]
        self.cpus = [self.cpus_of_pool[p] for p in self.pool_of] if self.track_host else []
        self.ram = [self.ram_of_pool[p] for p in self.pool_of] if self.track_host else []
        self.host = [
            (ceil(round(cpus * 1000.0, 6)), ceil(ram))
            for cpus, ram in zip(demands.cpus, demands.ram_bytes, strict=True)
        ]
        self.up = bytearray(0 if pools[p].elastic else 1 for p in self.pool_of)  # nodes that are neither off nor down
        self.cpu_jobs: dict[int, int] = {}  # node -> claims on it without a GPU
        #: What has changed, (allocation, 1: taken, -1: given back, 0: all of its nodes), once somebody wants to know.
        self.news: list[tuple[Allocation, int]] | None = None
        # closed[scope]: demand classes known not to fit in that set of pools; openers[pool]: what a release re-opens
        self.closed: dict[tuple[int, ...], set[int]] = {}
        self.openers: list[dict[tuple[tuple[int, ...], int], int]] = [{} for _ in pools]
        self.levels: list[dict[int, tuple[list[int], bytearray]]] = [{} for _ in pools]
        self._exact: dict[int, list[list[int]]] = {}  # pool -> heap of nodes per exact free count, once asked for
        self._steps: list[list[list[tuple[list[int], bytearray, int]]]] = [[] for _ in pools]
        for p, size in enumerate(self.size):
            for g in {min(g, size) for g in demands.gpus if g} | {size}:
                self._add_level(p, g)

    def _add_level(self, p: int, g: int) -> None:
        """Start to keep a heap of the nodes of pool ``p`` with at least ``g`` claimable GPUs."""
        first, size = self.first[p], self.size[p]
        listed = bytearray(1 if self.free[n] >= g else 0 for n in range(first, self.first[p + 1]))
        self.levels[p][g] = ([first + i for i, yes in enumerate(listed) if yes], listed)
        # steps[old * 17 + new]: the heaps that a node enters when its count rises from old to new
        self._steps[p] = [
            [(*self.levels[p][k], first) for k in sorted(self.levels[p]) if old < k <= new]
            for old in range(size + 1)
            for new in range(17)
        ]

    # -- questions ---------------------------------------------------------------------------------------------------

    def first_fit(self, p: int, g: int) -> int:
        """The lowest-numbered node of pool ``p`` with ``g`` claimable GPUs; an off node when no node that is on has
        them; -1 when there is none."""
        if g not in self.levels[p]:
            self._add_level(p, g)
        heap, listed = self.levels[p][g]
        free, first = self.free, self.first[p]
        while heap:
            node = heap[0]
            if free[node] >= g:
                return node
            listed[heappop(heap) - first] = 0
        return self.next_spare(p)

    def best_fit(self, p: int, g: int) -> int:
        """The lowest-numbered node among those of pool ``p`` with the fewest claimable GPUs that still fit ``g``."""
        free, first = self.free, self.first[p]
        heaps = self._exact.get(p)
        if heaps is None:
            heaps = self._exact[p] = [[] for _ in range(self.size[p] + 1)]
            for node in range(first, self.first[p + 1]):
                heaps[free[node]].append(node)
        for count in range(g, self.size[p] + 1):
            heap = heaps[count]
            while heap:
                node = heap[0]
                if free[node] == count:
                    return node
                heappop(heap)
        return self.next_spare(p)

    def full_nodes(self, p: int, count: int) -> list[int]:
        """The first ``count`` nodes of pool ``p`` whose GPUs are all claimable, spare ones last; [] if too few."""
        if self.full[p] + self.spare_allowed(p) < count:
            return []
        size, first = self.size[p], self.first[p]
        heap, listed = self.levels[p][size]
        found: list[int] = []
        while heap and len(found) < count:
            node = heappop(heap)
            if self.free[node] >= size:
                found.append(node)
            else:
                listed[node - first] = 0
        for node in found:
            heappush(heap, node)
        if len(found) < count:
            off = [n for n in self.spare[p] if self.off[n]]
            found += sorted(off)[: count - len(found)]
        return found if len(found) == count else []

    def next_spare(self, p: int) -> int:
        """An off node of pool ``p`` that could be rented within quotas, stock and budgets; -1 when there is none."""
        spare, off = self.spare[p], self.off
        while spare and not off[spare[0]]:
            heappop(spare)
        return spare[0] if spare and self.spare_allowed(p) > 0 else -1

    def spare_allowed(self, p: int) -> int:
        """How many more nodes of pool ``p`` may be rented."""
        spare = len(self.spare[p])
        if not spare:
            return 0
        if self.stock[p] != inf:
            spare = min(spare, max(int(self.stock[p]) - self.on[p], 0))
        for i in self.quotas[p]:
            spare = min(spare, self.left[i] // self.size[p])
        for i in self.purses[p]:
            if self.purse_usd[i] < spare * self.first_usd[p]:
                return min(spare, self.paid_for(p))
        return spare

    def paid_for(self, p: int) -> int:
        """How many more nodes of a pool its budgets can pay for, of as many as it has."""
        most = len(self.spare[p])
        for i in self.purses[p]:
            left, usd = self.purse_usd[i], self.first_usd[p]
            if usd and left < most * usd:
                most = max(int(left / usd + 1e-9), 0)
        return most

    def lowest(self, node: int, g: int) -> int:
        """Mask of the ``g`` lowest claimable GPUs of a node (0: too few); a spare node has them all."""
        if g > self.size[self.pool_of[node]]:
            return 0
        mask = self.mask[node] or (((1 << self.size[self.pool_of[node]]) - 1) if self.off[node] else 0)
        return _LOWEST8[mask][g] if mask < 256 else lowest_bits(mask, g)

    def host_fits(self, node: int, c: int, nodes: int) -> bool:
        """Whether a node has the CPUs and RAM that demand class ``c`` takes of each of so many nodes."""
        cpus, ram = self.host[c]
        return self.cpus[node] >= -(-cpus // nodes) and self.ram[node] >= -(-ram // nodes)

    def gpu_milli(self, node: int) -> list[int]:
        """Thousandths of each GPU of a node that can be claimed now."""
        p, mask = self.pool_of[node], self.mask[node]
        shared = self.shared[p]
        return [1000 if mask >> gpu & 1 else shared.get((node, gpu), 0) for gpu in range(self.size[p])]

    def holds(self, allocation: Allocation, c: int) -> bool:
        """Whether every GPU of an allocation, and the CPUs and RAM of demand class ``c``, can be claimed now."""
        if self.track_host and not all(self.host_fits(node, c, len(allocation)) for node, _, _ in allocation):
            return False
        opened = 0
        for node, mask, milli in allocation:
            if self.off[node]:
                opened += 1
                if self.spare_allowed(self.pool_of[node]) < opened:
                    return False
            elif not mask:
                if not self.up[node]:
                    return False
            elif milli == 1000:
                if self.mask[node] & mask != mask:
                    return False
            elif not self.mask[node] & mask:
                gpu = mask.bit_length() - 1
                if self.shared[self.pool_of[node]].get((node, gpu), 0) < milli:
                    return False
        return True

    # -- changes -----------------------------------------------------------------------------------------------------

    def take(self, allocation: Allocation, c: int) -> None:
        """Claim an allocation that :meth:`holds` for demand class ``c`` (-1: GPUs only); off nodes are opened."""
        if self.track_host and c >= 0:
            self.use_host(allocation, c, -1)
        for node, mask, milli in allocation:
            if self.off[node]:
                self.open(node)
            if not mask:
                self.cpu_jobs[node] = self.cpu_jobs.get(node, 0) + 1
                continue
            p = self.pool_of[node]
            if milli != 1000:
                gpu = mask.bit_length() - 1
                if not self.mask[node] & mask:
                    self.shared[p][node, gpu] -= milli
                    continue
                self.shared[p][node, gpu] = 1000 - milli
            free = self.free[node]
            if free == self.size[p]:
                self.full[p] -= 1
            self.mask[node] ^= mask
            self.free[node] = left = free - POPCOUNT[mask]
            if self._exact:
                self._list_exact(node, left)
        if self.news is not None:  # after those of nodes that were opened
            self.news.append((allocation, 1))

    def give(self, allocation: Allocation, c: int) -> None:
        """Return what :meth:`take` claimed."""
        if self.track_host and c >= 0:
            self.use_host(allocation, c, 1)
        if self.news is not None:
            self.news.append((allocation, -1))
        for node, mask, milli in allocation:
            p = self.pool_of[node]
            if not mask:
                self.cpu_jobs[node] -= 1
                self.reopen(p)
                continue
            if milli != 1000:
                gpu = mask.bit_length() - 1
                left = self.shared[p][node, gpu] + milli
                if left < 1000:
                    self.shared[p][node, gpu] = left
                    if self.openers[p]:
                        self._reopen(p, 1)
                    continue
                del self.shared[p][node, gpu]
            self.mask[node] |= mask
            # _rise, inlined: this is the hottest line of a run
            old = self.free[node]
            self.free[node] = new = old + POPCOUNT[mask]
            for heap, listed, first in self._steps[p][old * 17 + new]:
                if not listed[node - first]:
                    listed[node - first] = 1
                    heappush(heap, node)
            if new == self.size[p]:
                self.full[p] += 1
            if self._exact:
                self._list_exact(node, new)
            if self.openers[p]:
                self._reopen(p, new)

    def use_host(self, allocation: Allocation, c: int, sign: int) -> None:
        """A gang's CPUs and RAM are spread evenly over its nodes, rounded up to whole milli-CPUs and bytes."""
        cpus, ram = self.host[c]
        nodes = len(allocation)
        for node, _, _ in allocation:
            self.cpus[node] -= sign * (-cpus // nodes)
            self.ram[node] -= sign * (-ram // nodes)

    def _rise(self, p: int, node: int) -> None:
        """A node has all its GPUs from now: list it where it qualifies, re-open the classes that it may hold."""
        size = self.size[p]
        self.mask[node] = (1 << size) - 1
        self.free[node] = size
        self.full[p] += 1
        self.up[node] = 1
        if self.news is not None:
            self.news.append((((node, 0, 0),), 0))
        for heap, listed, first in self._steps[p][size]:
            if not listed[node - first]:
                listed[node - first] = 1
                heappush(heap, node)
        if self._exact:
            self._list_exact(node, size)
        if self.openers[p]:
            self._reopen(p, size)

    def _list_exact(self, node: int, count: int) -> None:
        heaps = self._exact.get(self.pool_of[node])
        if heaps is not None and count:
            heap = heaps[count]
            heappush(heap, node)
            if len(heap) > 4096 and len(heap) > 4 * len(self.free):  # drop duplicates and stale entries
                heap[:] = sorted({n for n in heap if self.free[n] == count})

    def open(self, node: int) -> None:
        """A spare node can be claimed from now on (it boots)."""
        p = self.pool_of[node]
        self.off[node] = 0
        if self.spare[p] and self.spare[p][0] == node:
            heappop(self.spare[p])
        else:
            self.spare[p].remove(node)
            self.spare[p].sort()
        self.rented[node] = 1
        self.on[p] += 1
        for i in self.quotas[p]:
            self.left[i] -= self.size[p]
        if self.purses[p]:
            self.opening.add(node)
            for i in self.purses[p]:
                self.purse_usd[i] -= self.first_usd[p]
        self._rise(p, node)

    def close(self, node: int, *, spare: bool, rented: bool = False) -> None:
        """A node goes down, or off when ``spare``: nothing of it can be claimed. ``rented``: it is for a while yet."""
        p = self.pool_of[node]
        if self.free[node] == self.size[p]:
            self.full[p] -= 1
        for gpu in [key for key in self.shared[p] if key[0] == node]:
            del self.shared[p][gpu]
        self.free[node] = 0
        self.mask[node] = 0
        self.up[node] = 0
        self.cpu_jobs.pop(node, None)
        if self.news is not None:
            self.news.append((((node, 0, 0),), 0))
        opens, gone = spare and not self.off[node], bool(self.rented[node]) and not rented
        if opens:
            self.off[node] = 1
            heappush(self.spare[p], node)
        if gone:
            self.rented[node] = 0
            self.on[p] -= 1
            for i in self.quotas[p]:
                self.left[i] += self.size[p]
            if node in self.opening:  # it never came
                self.opening.discard(node)
                for i in self.purses[p]:
                    self.purse_usd[i] += self.first_usd[p]
        if opens or gone:
            for other in range(len(self.size)):  # a quota or budget may have been what kept another pool shut
                shared = set(self.quotas[other]) & set(self.quotas[p]) or set(self.purses[other]) & set(self.purses[p])
                if other == p or shared:
                    self.reopen(other)

    def restore(self, node: int) -> None:
        """A repaired node can be claimed again."""
        self._rise(self.pool_of[node], node)

    # -- classes that do not fit -------------------------------------------------------------------------------------

    def shut(self, scope: tuple[int, ...], demand_class: int, need: int) -> None:
        """Remember that a class does not fit anywhere in ``scope`` until GPUs come free there."""
        self.closed.setdefault(scope, set()).add(demand_class)
        for p in scope:
            self.openers[p][scope, demand_class] = min(need, self.size[p])

    def reopen(self, p: int) -> None:
        """More nodes of a pool may be rented than before: what was shut is looked at again."""
        if self.openers[p]:
            self._reopen(p, 16)

    def _reopen(self, p: int, free: int) -> None:
        openers = self.openers[p]
        for key in [key for key, need in openers.items() if need <= free]:
            del openers[key]
            classes = self.closed.get(key[0])
            if classes is not None:
                classes.discard(key[1])
                if not classes:
                    del self.closed[key[0]]
