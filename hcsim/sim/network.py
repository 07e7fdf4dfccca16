"""Transfers that share links, fairly: max-min (Bertsekas and Gallager, Data Networks, 2nd ed., section 6.5.2).

Bytes are a fluid. A transfer between two sites uses their link, the way out of the one and the way into the other; each
may have a capacity. Transfers between the same two sites are alike, so they form a class: a change costs as much as
there are classes that it can touch, however many transfers are under way. Of each class the bytes are kept that one of
its transfers has had since the class began; a transfer is over when that has grown by its size.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from math import inf

from hcsim.model import Fleet
from hcsim.sim.environment import LaneEnvironment


def _nothing() -> None:
    """What a transfer that was given up brings about."""


class Transfer:
    """Bytes on their way. ``done`` is called when the last has arrived, unless it is stopped before.

    One that takes no time that the clock could tell is ``over`` at once, and ``done`` is left to who started it.
    """

    __slots__ = ("begun_at", "done", "moving", "over", "pair", "size_bytes")

    def __init__(self, pair: tuple[int, int], size_bytes: float, begun_at: float, done: Callable[[], None]) -> None:
        self.pair, self.size_bytes, self.begun_at, self.done = pair, size_bytes, begun_at, done
        self.over = False
        self.moving = False  # its last byte has not left yet


class _Way:
    """The way out of a site or into it, which all its links share."""

    __slots__ = ("capacity", "classes", "count", "left", "number", "users")

    def __init__(self, number: int, capacity: float) -> None:
        self.number, self.capacity = number, capacity
        self.classes: list[_Class] = []
        self.count = 0  # transfers on it
        self.left, self.users = 0.0, 0  # while it is shared: what is left of it, for how many


class _Class:
    """The transfers between two sites; one that was there from the beginning had ``had`` bytes by ``at_s``."""

    __slots__ = (
        *("at_s", "count", "cut", "due_s", "found", "had"),
        *("link_bytes_per_s", "near", "number", "rate", "waiting", "ways"),
    )

    def __init__(self, number: int, link_bytes_per_s: float, ways: tuple[_Way, ...]) -> None:
        self.number, self.link_bytes_per_s, self.ways = number, link_bytes_per_s, ways
        self.cut = False
        self.near: list[_Class] = [self]  # those that share a way with it, directly or through others
        self.rate = self.had = self.at_s = 0.0
        self.due_s = inf  # when the first of them is over
        self.count = 0
        self.found = 0.0  # the rate that is being worked out, -1: not yet
        self.waiting: list[tuple[float, int, Transfer]] = []  # (what it takes ``had`` to be, number, transfer)

    def advance(self, now: float) -> None:
        """Let it have what it had coming until now."""
        if now > self.at_s:
            self.had += self.rate * (now - self.at_s)
        self.at_s = now


class Network:
    """The links of a fleet and what is carried over them; ``shared`` False: each transfer as if it were alone."""

    def __init__(self, world: LaneEnvironment, fleet: Fleet, shared: bool = True) -> None:
        self._world, self._fleet, self._shared = world, fleet, shared
        out_of = [site.egress_bytes_per_s for site in fleet.sites]
        into = [site.ingress_bytes_per_s for site in fleet.sites]
        ends = list(fleet.links_by_sites)
        for capacity, end in ((out_of, 0), (into, 1)):  # a way that all its links cannot fill limits nothing
            for s, most in enumerate(capacity):
                if sum(k.bytes_per_s for k, pair in zip(fleet.links, ends, strict=True) if pair[end] == s) <= most:
                    capacity[s] = inf
        self._ways = [_Way(i, capacity) for i, capacity in enumerate((*out_of, *into))]
        self._pairs = ends
        self._cut: set[tuple[int, int]] = set()
        self._classes: dict[tuple[int, int], _Class] = {}
        self._due: list[tuple[float, int, _Class]] = []  # heap; an entry holds while it is the class's due_s
        self._number = 0
        self._called_s = inf  # the soonest time at which _arrive will be called

    def start(self, source: int, target: int, size_bytes: float, done: Callable[[], None]) -> Transfer:
        """Carry bytes from one site number to another; ``done`` is called at the time at which they are there.

        Raises:
            InputError: the sites have no link.
        """
        link = self._fleet.link(source, target)
        assert link is not None
        pair, now = (source, target), self._world.now
        found = self._classes.get(pair)
        if found is None:
            found = self._classes[pair] = self._new_class(source, target)
        transfer = Transfer(pair, size_bytes, 0.0, done)
        if now + size_bytes / link.bytes_per_s + link.latency_s <= now and pair not in self._cut:
            transfer.over = True
            return transfer
        found.advance(now)
        transfer.begun_at = found.had
        transfer.moving = True
        self._number += 1
        heappush(found.waiting, (found.had + size_bytes, self._number, transfer))
        self._count(found, 1)
        self._share(found)
        return transfer

    def stop(self, transfer: Transfer) -> float:
        """Give a transfer up; how many of its bytes have been carried."""
        transfer.done = _nothing
        if not transfer.moving:
            return transfer.size_bytes
        carried = self.carried(transfer)
        transfer.moving = False
        mine = self._classes[transfer.pair]
        self._count(mine, -1)
        self._share(mine)
        return carried

    def carried(self, transfer: Transfer) -> float:
        """How many of its bytes have left until now."""
        if not transfer.moving:
            return transfer.size_bytes
        mine = self._classes[transfer.pair]
        mine.advance(self._world.now)
        return min(mine.had - transfer.begun_at, transfer.size_bytes)

    def cut(self, link: int, *, down: bool) -> None:
        """A link carries nothing until it is up again; what is under way waits."""
        pair = self._pairs[link]
        (self._cut.add if down else self._cut.discard)(pair)
        if pair in self._classes:
            self._classes[pair].cut = down
            self._share(self._classes[pair])

    def rate(self, source: int, target: int) -> float:
        """Bytes per second that each transfer between two sites has now; 0 when there is none."""
        found = self._classes.get((source, target))
        return found.rate if found is not None and found.count else 0.0

    def _new_class(self, source: int, target: int) -> _Class:
        ends = (self._ways[source], self._ways[len(self._fleet.sites) + target])
        ways = tuple(way for way in ends if way.capacity < inf)
        link = self._fleet.links_by_sites[source, target]
        new = _Class(len(self._classes), link.bytes_per_s, ways)
        new.cut = (source, target) in self._cut
        for way in ways:
            way.classes.append(new)
        near, seen = [new], {new}
        for each in near:  # grows on the way
            for other in (other for way in each.ways for other in way.classes):
                if other not in seen:
                    seen.add(other)
                    near.append(other)
        for each in near:
            each.near = near
        return new

    def _count(self, mine: _Class, change: int) -> None:
        mine.count += change
        for way in mine.ways:
            way.count += change
        if not mine.count:
            mine.had = mine.rate = 0.0
            mine.waiting.clear()

    def _share(self, *changed: _Class) -> None:
        """Share capacities anew among the classes that those which changed can touch; be called when one is over."""
        classes = list(changed)
        if self._shared:
            classes = changed[0].near if len(changed) == 1 else list(dict.fromkeys(c for k in changed for c in k.near))
            _fill(classes)
        else:
            for each in classes:
                each.found = min((0.0 if each.cut else each.link_bytes_per_s, *(way.capacity for way in each.ways)))
        now, due = self._world.now, self._due
        for each in classes:
            rate = each.found
            if rate != each.rate:
                each.advance(now)
                each.rate = rate
            elif each not in changed:
                continue  # nothing of it has changed
            waiting, soonest = each.waiting, inf
            while waiting and not waiting[0][2].moving:
                heappop(waiting)  # given up
            if waiting and rate > 0.0:
                left = waiting[0][0] - each.had
                soonest = now + (left / rate if left > 0.0 else 0.0)
            if soonest != each.due_s:
                each.due_s = soonest
                if soonest < inf:
                    heappush(due, (soonest, each.number, each))
        self._call()

    def _call(self) -> None:
        """See to it that :meth:`_arrive` is called when the first transfer is over."""
        due = self._due
        while due and due[0][2].due_s != due[0][0]:
            heappop(due)
        if due and due[0][0] < self._called_s:
            self._called_s = due[0][0]
            self._world.at(due[0][0], self._arrive)

    def _arrive(self) -> None:
        """Transfers whose last byte comes now are over."""
        now, due = self._world.now, self._due
        if now >= self._called_s:
            self._called_s = inf
        over: list[tuple[int, Transfer]] = []
        changed = []
        while due and due[0][0] <= now:
            due_s, _, each = heappop(due)
            if each.due_s != due_s:
                continue
            each.at_s = now
            each.had = max(each.waiting[0][0], each.had)  # which is what it was due for
            while each.waiting:
                finish, number, transfer = each.waiting[0]
                # what is left would take less time than the clock can tell
                if transfer.moving and now + (finish - each.had) / each.rate > now:
                    break
                heappop(each.waiting)
                if transfer.moving:
                    transfer.moving = False
                    over.append((number, transfer))
                    for way in each.ways:
                        way.count -= 1
                    each.count -= 1
            each.due_s = inf
            self._count(each, 0)
            changed.append(each)
        self._share(*changed)
        for _, transfer in sorted(over, key=lambda entry: entry[0]):
            self._end(transfer)

    def _end(self, transfer: Transfer) -> None:
        """The last byte has left; it is there after the link's latency."""
        link = self._fleet.link(*transfer.pair)
        if link is not None and link.latency_s:
            self._world.at(self._world.now + link.latency_s, lambda: transfer.done())
        else:
            transfer.done()


def _fill(classes: list[_Class]) -> None:
    """Progressive filling: raise all rates together; the classes on the link or way that is full first keep theirs.

    What a way has for each only grows while others are given less than that, so an entry of the heap that is out of
    date is too low, never too high. A link has one class, so links stand in a row that is sorted once.
    """
    order, ways = [], []
    for each in classes:
        each.found = -1.0 if each.count else 0.0
        if each.count:
            order.append((0.0 if each.cut else each.link_bytes_per_s / each.count, each.number, each))
            for way in each.ways:
                if not way.users:
                    way.left, way.users = way.capacity, way.count
                    ways.append((way.capacity / way.count, way.number, way))
    order.sort()
    heapify(ways)
    for alone, _, mine in order:
        while mine.found < 0.0:
            share = inf
            while ways:
                share, number, way = ways[0]
                if not way.users:
                    heappop(ways)
                    share = inf
                    continue
                now = way.left / way.users
                if now <= share:
                    break
                heapreplace(ways, (now, number, way))
            if alone <= share:
                _give(mine, alone)
                break
            for each in way.classes:
                if each.found < 0.0:
                    _give(each, share)


def _give(mine: _Class, rate: float) -> None:
    """A class has its rate; the rest of its ways is for the others."""
    mine.found = rate
    count = mine.count
    taken = rate * count
    for way in mine.ways:
        way.users -= count
        left = way.left - taken
        way.left = left if left > 0.0 else 0.0
