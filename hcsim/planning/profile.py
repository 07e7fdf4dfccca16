"""Free GPUs of a pool's nodes over estimated time, with reservations."""

from __future__ import annotations

from bisect import bisect_left
from heapq import heapify, heappop, heappush
from math import inf, nextafter

from hcsim.actions import Allocation
from hcsim.view import View


class _Curve:
    """A node's free GPUs as a step function: ``free[i]`` from ``times[i]`` until ``times[i + 1]``."""

    __slots__ = ("free", "times")

    def __init__(self, now: float, free: int) -> None:
        self.times = [now]
        self.free = [free]

    def start(self, gpus: int, hold_s: float) -> float:
        """The first time from which ``gpus`` are free for ``hold_s``; inf when that never happens."""
        times, frees = self.times, self.free
        begun = -1.0
        until = inf
        for i, free in enumerate(frees):
            if free < gpus:
                if times[i] >= until:
                    return begun
                begun, until = -1.0, inf
            elif begun < 0.0:
                begun = times[i]
                until = begun + hold_s
        return begun if begun >= 0.0 else inf

    def change(self, start_s: float, end_s: float, gpus: int) -> None:
        """Add ``gpus`` (take them, when negative) from ``start_s`` until ``end_s``."""
        i = self._edge(start_s)
        j = self._edge(end_s) if end_s < inf else len(self.times)
        for k in range(i, j):
            self.free[k] += gpus

    def _edge(self, time_s: float) -> int:
        i = bisect_left(self.times, time_s)
        if i == len(self.times) or self.times[i] != time_s:
            self.times.insert(i, time_s)
            self.free.insert(i, self.free[i - 1])
        return i

    def windows(self, gpus: int, hold_s: float) -> list[tuple[float, float]]:
        """Each (first, last) time at which ``gpus`` could be had for ``hold_s``."""
        found = []
        begun = -1.0
        for time_s, free in zip(self.times, self.free, strict=True):
            if free >= gpus:
                begun = begun if begun >= 0.0 else time_s
            else:
                if begun >= 0.0 and time_s - hold_s >= begun:
                    found.append((begun, time_s - hold_s))
                begun = -1.0
        if begun >= 0.0:
            found.append((begun, inf))
        return found


class Profile:
    """When which nodes have room, if all that holds GPUs ends by its estimate and all reservations are kept.

    A job that has outrun its estimate ends the next moment. A GPU that is shared comes free with the last job on it.
    Nodes to rent have room now; whoever claims one holds it for ``boot_s`` longer. CPUs and RAM are not looked at.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        now, soon = view.now, nextafter(view.now, inf)
        fleet = view.fleet
        self._curves = [_Curve(now, view.free_gpus(node)) for node in range(fleet.nodes)]
        self._off: set[int] = set()
        for p, pool in enumerate(view.pools):
            for node in view.rentable(p) if pool.elastic else ():
                self._off.add(node)
                self._curves[node].free[0] = pool.gpus_per_node
        self._shared_until: dict[tuple[int, int], float] = {}
        for end_s, job in view.ends():
            end_s = max(end_s, soon)
            for node, mask, milli in view.claims[job]:
                if milli != 1000:
                    self._shared_until[node, mask] = end_s
                    continue
                curve = self._curves[node]
                if curve.times[-1] == end_s:
                    curve.free[-1] += mask.bit_count()
                else:
                    curve.times.append(end_s)
                    curve.free.append(curve.free[-1] + mask.bit_count())
        for (node, _), end_s in self._shared_until.items():
            self._curves[node].change(end_s, inf, 1)
        self._heaps: dict[tuple[int, int], list[tuple[float, bool, int]]] = {}

    def earliest(self, pool: int, gpus: int, hold_s: float) -> tuple[float, tuple[int, ...]]:
        """The first time at which a pool has room for a gang for ``hold_s``, and the nodes: nodes that are on before
        those to rent, then in their order; (inf, ()) when that never happens."""
        size = self._view.pools[pool].gpus_per_node
        if gpus > size:
            return self._earliest_gang(pool, -(-gpus // size), hold_s)
        heap = self._heaps.get((pool, gpus))
        if heap is None:
            first = self._view.fleet.first_node
            heap = [
                (self._curves[node].start(gpus, 0.0), node in self._off, node)
                for node in range(first[pool], first[pool + 1])
            ]
            heap = self._heaps[pool, gpus] = [entry for entry in heap if entry[0] < inf]
            heapify(heap)
        best = (inf, True, -1)
        seen = []
        while heap and heap[0] < best:  # entries are lower bounds: reservations only ever take room away
            _, off, node = heappop(heap)
            curve = self._curves[node]
            seen.append((curve.start(gpus, 0.0), off, node))
            best = min(best, (curve.start(gpus, hold_s + self._boot_s(off, pool)), off, node))
        for entry in seen:
            heappush(heap, entry)
        return (best[0], (best[2],)) if best[0] < inf else (inf, ())

    def _earliest_gang(self, pool: int, count: int, hold_s: float) -> tuple[float, tuple[int, ...]]:
        """The first time at which ``count`` nodes are entirely free for ``hold_s``."""
        first = self._view.fleet.first_node
        size = self._view.pools[pool].gpus_per_node
        windows = []
        for node in range(first[pool], first[pool + 1]):
            off = node in self._off
            for begin, end in self._curves[node].windows(size, hold_s + self._boot_s(off, pool)):
                windows.append((begin, off, node, end))
        windows.sort()
        ready: list[tuple[float, int]] = []  # (last start, node) of windows that are open
        for i, (begin, _, node, end) in enumerate(windows):
            heappush(ready, (end, node))
            if len(ready) < count or (i + 1 < len(windows) and windows[i + 1][0] == begin):
                continue
            while ready and ready[0][0] < begin:
                heappop(ready)
            if len(ready) >= count:
                nodes = sorted((n in self._off, n) for _, n in ready)
                return begin, tuple(n for _, n in nodes[:count])
        return inf, ()

    def take(self, nodes: tuple[int, ...], start_s: float, hold_s: float, gpus: int) -> None:
        """Reserve a gang's GPUs on ``nodes`` from ``start_s`` for ``hold_s``; nothing when ``nodes`` is empty.

        A gang larger than a node starts on nodes that are entirely free, so until it has started its last node is kept
        for it whole.
        """
        left = gpus
        for node in nodes:
            pool = self._view.pool_of(node)
            size = self._view.pools[pool].gpus_per_node
            end_s = start_s + hold_s + self._boot_s(node in self._off, pool)
            whole = len(nodes) > 1 and start_s > self._view.now
            self._curves[node].change(start_s, end_s, -(size if whole else min(left, size)))
            left -= size

    def shared_until(self, where: Allocation) -> float:
        """When the GPU of a share comes free by the estimates; 0 when nobody has a share of it now."""
        return self._shared_until.get(where[0][:2], 0.0)

    def _boot_s(self, off: bool, pool: int) -> float:
        return self._view.pools[pool].boot_s if off else 0.0
