"""Transfers that share links, fairly: max-min (Bertsekas and Gallager, Data Networks, 2nd ed., section 6.5.2).

Bytes are a fluid. A transfer between two sites uses their link, the way out of the one and the way into the other; each
may have a capacity. Transfers between the same two sites are alike, so they form a class: a change costs as much as
there are classes, however many transfers are under way. Of each class the bytes are kept that one of its transfers has
had since the class began; a transfer is over when that has grown by its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any

from hcsim.model import Fleet
from hcsim.sim.environment import LaneEnvironment


def _nothing() -> None:
    """What a transfer that was given up brings about."""


class Transfer:
    """Bytes on their way. ``done`` is called when the last has arrived, unless it is stopped before.

    One that takes no time that the clock could tell is ``over`` at once, and ``done`` is left to who started it.
    """

    __slots__ = ("begun_at", "done", "over", "pair", "size_bytes")

    def __init__(self, pair: tuple[int, int], size_bytes: float, begun_at: float, done: Callable[[], None]) -> None:
        self.pair, self.size_bytes, self.begun_at, self.done = pair, size_bytes, begun_at, done
        self.over = False


class _Class:
    """The transfers between two sites; one that was there from the beginning would have ``had`` so much by ``at_s``."""

    __slots__ = ("at_s", "count", "had", "rate", "waiting", "ways")

    def __init__(self, ways: tuple[int, ...]) -> None:
        self.ways = ways
        self.rate = self.had = self.at_s = 0.0
        self.count = 0
        self.waiting: list[tuple[float, int, Transfer | None]] = []  # (what it takes ``had`` to be, number, transfer)


class Network:
    """The links of a fleet and what is carried over them; ``shared`` False: each transfer as if it were alone."""

    def __init__(self, world: LaneEnvironment, fleet: Fleet, shared: bool = True) -> None:
        self._world, self._fleet, self._shared = world, fleet, shared
        sites = len(fleet.sites)
        self._ways: list[float] = [s.egress_bytes_per_s for s in fleet.sites]  # out of each site ...
        self._ways += [s.ingress_bytes_per_s for s in fleet.sites]  # ... into each ...
        self._ways += [link.bytes_per_s for link in fleet.links]  # ... and the links
        self._way_of = {
            (fleet.site_names.index(k.source), fleet.site_names.index(k.target)): 2 * sites + i
            for i, k in enumerate(fleet.links)
        }
        self._cut: set[int] = set()
        self._classes: dict[tuple[int, int], _Class] = {}
        self._number = 0
        self._next_s = inf

    def start(self, source: int, target: int, size_bytes: float, done: Callable[[], None]) -> Transfer:
        """Carry bytes from one site number to another; ``done`` is called at the time at which they are there.

        Raises:
            InputError: the sites have no link.
        """
        link = self._fleet.link(source, target)
        assert link is not None
        pair = (source, target)
        found = self._classes.get(pair)
        if found is None:
            sites = len(self._fleet.sites)
            ends = tuple(way for way in (source, sites + target) if self._ways[way] < inf)
            found = self._classes[pair] = _Class((*ends, self._way_of[pair]))
        transfer = Transfer(pair, size_bytes, found.had, done)
        now = self._world.now
        if now + size_bytes / link.bytes_per_s + link.latency_s <= now and self._way_of[pair] not in self._cut:
            transfer.over = True
            return transfer
        self._advance()
        transfer.begun_at = found.had
        self._number += 1
        heappush(found.waiting, (found.had + size_bytes, self._number, transfer))
        found.count += 1
        self._share()
        return transfer

    def stop(self, transfer: Transfer) -> float:
        """Give a transfer up; how many of its bytes have been carried."""
        transfer.done = _nothing
        self._advance()
        mine = self._classes[transfer.pair]
        for i, (_, _, each) in enumerate(mine.waiting):
            if each is transfer:
                mine.waiting[i] = (mine.waiting[i][0], mine.waiting[i][1], None)  # it stays in the heap as a gap
                mine.count -= 1
                self._share()
                return min(mine.had - transfer.begun_at, transfer.size_bytes)
        return transfer.size_bytes

    def cut(self, link: int, *, down: bool) -> None:
        """A link carries nothing until it is up again; what is under way waits."""
        self._advance()
        way = 2 * len(self._fleet.sites) + link
        (self._cut.add if down else self._cut.discard)(way)
        self._share()

    def rate(self, source: int, target: int) -> float:
        """Bytes per second that each transfer between two sites has now; 0 when there is none."""
        found = self._classes.get((source, target))
        return found.rate if found is not None and found.count else 0.0

    def _advance(self) -> None:
        """Let every class have what it had coming until now."""
        now = self._world.now
        for each in self._classes.values():
            if each.count:
                each.had += each.rate * (now - each.at_s)
            each.at_s = now

    def _share(self) -> None:
        """Share capacities among the classes, and call again when the first transfer is over."""
        busy = [each for each in self._classes.values() if each.count]
        for each in busy:
            each.rate = 0.0
        capacity = {way: 0.0 if way in self._cut else self._ways[way] for each in busy for way in each.ways}
        if self._shared:
            _fill(busy, capacity)
        else:
            for each in busy:
                each.rate = min(capacity[way] for way in each.ways)
        now, soonest = self._world.now, inf
        for each in busy:
            while each.waiting and each.waiting[0][2] is None:
                heappop(each.waiting)
            if each.rate > 0.0:
                soonest = min(soonest, now + max(each.waiting[0][0] - each.had, 0.0) / each.rate)
        if soonest < inf and soonest != self._next_s:
            self._next_s = soonest
            self._world.at(soonest, lambda: self._arrive(soonest))
        elif soonest == inf:
            self._next_s = inf

    def _arrive(self, due_s: float) -> None:
        """Transfers whose last byte comes now are over."""
        if due_s != self._next_s:
            return  # capacities have been shared anew since
        self._next_s = inf
        now = self._world.now
        self._advance()
        over: list[tuple[int, Transfer]] = []
        for each in self._classes.values():
            while each.waiting:
                finish, number, transfer = each.waiting[0]
                # what is left would take less time than the clock can tell
                if transfer is not None and now + (finish - each.had) / (each.rate or inf) > now:
                    break
                heappop(each.waiting)
                if transfer is not None:
                    each.count -= 1
                    over.append((number, transfer))
            if not each.count:
                each.had = 0.0
                each.waiting.clear()
        self._share()
        for _, transfer in sorted(over, key=lambda entry: entry[0]):
            self._end(transfer)

    def _end(self, transfer: Transfer) -> None:
        """The last byte has left; it is there after the link's latency."""
        link = self._fleet.link(*transfer.pair)
        if link is not None and link.latency_s:
            self._world.at(self._world.now + link.latency_s, lambda: transfer.done())
        else:
            transfer.done()


def _fill(classes: Sequence[Any], capacity: dict[int, float]) -> None:
    """Progressive filling: raise all rates together; the classes on the way that is full first keep theirs."""
    left = list(classes)
    while left:
        users: dict[int, int] = {}
        for each in left:
            for way in each.ways:
                users[way] = users.get(way, 0) + each.count
        full = min(users, key=lambda way: (capacity[way] / users[way], way))
        share = capacity[full] / users[full]
        rest = []
        for each in left:
            if full in each.ways:
                each.rate = share
                for way in each.ways:
                    capacity[way] = max(capacity[way] - share * each.count, 0.0)
            else:
                rest.append(each)
        left = rest
