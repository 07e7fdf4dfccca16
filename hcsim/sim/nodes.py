"""Nodes of a simulated world: they boot, or cannot be had, fail, are repaired, reclaimed and given back."""

from __future__ import annotations

from math import inf, nextafter
from typing import TYPE_CHECKING

from hcsim.events import Kind
from hcsim.rng import lognormal, stream, uniform

if TYPE_CHECKING:
    from hcsim.sim.world import Simulation

_BOOT, _IMAGE, _STOCKOUT, _RECLAIM = stream("boot"), stream("image"), stream("stockout"), stream("reclaimed")
#: Boot times are drawn per node and absolute slot of this length, never by draw order ...
SLOT_S = 300.0
#: ... and stock-outs per pool and slot of this length.
STOCK_SLOT_S = 600.0


class Nodes:
    """The state of every node, as the world knows it."""

    def __init__(self, world: Simulation) -> None:
        self._world, self._fleet = world, world.fleet
        self._pool_of = world.fleet.node_pool
        self.up = bytearray(0 if world.fleet.pools[p].elastic else 1 for p in self._pool_of)
        self.down: dict[int, set[str]] = {}  # node -> what keeps it down
        self._notices: dict[int, dict[float, float]] = {}  # node that is up -> when it goes -> when that was told
        self._ends: dict[int, set[float]] = {}  # rented slot -> times at which whatever is up there goes
        self._falls: list[dict[float, int]] = [{} for _ in world.fleet.pools]  # when stock will fall -> to how many
        self._booting: dict[int, int] = {}  # node -> number of its boot
        self._out: dict[int, set[str]] = {}  # rented slot -> outages of its own that keep it from coming up
        self._late: set[int] = set()  # nodes whose boot is over and that wait for the end of these
        self._boots = 0
        self._limits: list[dict[str, float]] = [
            {} for _ in world.fleet.pools
        ]  # what limits each pool, to how many nodes
        self._told: set[tuple[int, int]] = set()  # (pool, slot) whose stock-out has been told

    # -- orders ------------------------------------------------------------------------------------------------------

    def boot(self, node: int) -> None:
        """Ask for a node. It comes after its boot and image pull, or cannot be had."""
        world, p = self._world, self._pool_of[node]
        pool, now = self._fleet.pools[p], world.now
        if pool.stockout_share and not self._stocked(p):
            world.tell(Kind.NODE_OFF, node, value=1.0)
            return
        slot = int(now // SLOT_S)
        seconds = pool.boot_s + pool.image_s
        if pool.boot_cv or pool.image_cv:
            seconds = lognormal(pool.boot_s, pool.boot_cv, uniform(world.seed, _BOOT, node, slot))
            seconds += lognormal(pool.image_s, pool.image_cv, uniform(world.seed, _IMAGE, node, slot))
        if now + seconds <= now and not self._out.get(node):
            self._appear(node)
            return
        self._boots += 1
        number = self._booting[node] = self._boots

        def come() -> None:
            if self._booting.get(node) == number:
                self._come(node)

        world.at(now + seconds, come)

    def _come(self, node: int) -> None:
        """A boot is over: the node is up, or will be when no outage keeps it."""
        if self._out.get(node):
            self._late.add(node)
            return
        p = self._pool_of[node]
        if any(row[1] == Kind.PRICE_CHANGED and row[2] == p for row in self._world.rows):
            self.put_off(node)  # whoever pays is asked first
            return
        del self._booting[node]
        self._appear(node)

    def _appear(self, node: int) -> None:
        """A rented node is up; what it could not be warned of before it is warned of now."""
        self.up[node] = 1
        self._world.tell(Kind.NODE_UP, node)
        p, now = self._pool_of[node], self._world.now
        for when_s in sorted(self._ends.get(node, ())):
            self._notice(node, when_s)
        for when_s, level in self._falls[p].items():
            if when_s > now and self._standing(p, when_s) > level:
                self._notice(node, when_s)

    def put_off(self, node: int) -> None:
        """A node comes up at the next time that the clock can tell: what happens now is heard of before."""
        self.up[node] = 0
        self._unwarn(node)
        self._boots += 1
        number = self._booting[node] = self._boots
        later_s = nextafter(self._world.now, inf)
        self._world.at(later_s, lambda: self._come(node) if self._booting.get(node) == number else None)

    def priced(self, p: int) -> None:
        """The price of a pool changes: what comes up at this very time pays the new one, and has to be asked."""
        rows, now, first = self._world.rows, self._world.now, self._fleet.first_node
        for row in [row for row in rows if row[1] == Kind.NODE_UP and first[p] <= row[2] < first[p + 1]]:
            if row[0] == now and self._fleet.pools[p].elastic:
                rows.remove(row)
                self.put_off(row[2])

    def strike(self, node: int, cause: str) -> None:
        """An outage of this node begins: it does not come up, or goes down."""
        self.cancel(node)
        self._out.setdefault(node, set()).add(cause)
        self._world.fail(node, cause)

    def mend(self, node: int, cause: str) -> None:
        """An outage of this node is over: what has booted meanwhile is up."""
        self._out[node].discard(cause)
        self._world.repair(node, cause)
        if node in self._late and not self._out[node]:
            self._late.discard(node)
            self._come(node)

    def halt(self, node: int) -> None:
        """Give a rented node back."""
        self.up[node] = 0
        self._unwarn(node)
        self._world.tell(Kind.NODE_OFF, node)

    def _stocked(self, p: int) -> bool:
        """Whether one more node of a pool can be had in this slot; when not, that is told, until the slot is over."""
        world, pool = self._world, self._fleet.pools[p]
        slot = int(world.now // STOCK_SLOT_S)
        if uniform(world.seed, _STOCKOUT, p, 2 * slot) >= pool.stockout_share:
            return True
        level = int(pool.nodes * uniform(world.seed, _STOCKOUT, p, 2 * slot + 1))
        if len(self.rented(p)) < level:
            return True
        if (p, slot) not in self._told:
            self._told.add((p, slot))
            world.at(world.now, lambda: self.limit(p, "stock-out", float(level)))
            world.at((slot + 1) * STOCK_SLOT_S, lambda: self.limit(p, "stock-out", inf))
        return False

    def limit(self, p: int, cause: str, level: float) -> None:
        """So many nodes of a pool can be had from now on, by one cause; the least of all causes is told."""
        limits = self._limits[p]
        before = min(limits.values(), default=inf)
        limits[cause] = level
        after = min(limits.values())
        if after != before:
            self._world.tell(Kind.STOCK_CHANGED, p, value=after)

    def cancel(self, node: int) -> None:
        """A node that boots does not come."""
        if self._booting.pop(node, None) is not None:
            self._late.discard(node)
            self._world.tell(Kind.NODE_OFF, node, value=1.0)

    # -- what befalls them -------------------------------------------------------------------------------------------

    def rented(self, p: int) -> list[int]:
        """Nodes of a pool that are up or boot."""
        first = self._fleet.first_node
        return [n for n in range(first[p], first[p + 1]) if self.up[n] or n in self._booting]

    def fail(self, node: int, cause: str) -> None:
        """A node goes down, or a cause is added to what keeps it down; one that is off or boots is not hit."""
        world = self._world
        if node in self.down:
            self.down[node].add(cause)
        if not self.up[node]:
            return
        self.up[node] = 0
        self._unwarn(node)
        self.down[node] = {cause}
        came_up = (world.now, Kind.NODE_UP, node, -1, 0.0, 0.0)
        if came_up in world.rows:  # losses come first in an instant, so it has not been up at all
            world.rows.remove(came_up)
            if not self._fleet.pools[self._pool_of[node]].elastic:
                return  # it was down and still is
        world.tell(Kind.NODE_DOWN, node)
        world.lose_on(node, warned_s=0.0)

    def repair(self, node: int, cause: str) -> None:
        """A cause is gone; with the last one an owned node is up, a rented one is given back."""
        world, causes = self._world, self.down.get(node, set())
        if cause not in causes:
            return
        causes.remove(cause)
        if causes:
            return
        del self.down[node]
        if self._fleet.pools[self._pool_of[node]].elastic:
            world.tell(Kind.NODE_OFF, node)
        else:
            self.up[node] = 1
            world.tell(Kind.NODE_UP, node)

    def _notice(self, node: int, when_s: float) -> None:
        """Say that a node will be reclaimed, once."""
        told = self._notices.setdefault(node, {})
        if when_s > self._world.now and when_s not in told:
            told[when_s] = self._world.now
            self._world.tell(Kind.NOTICE, node, value=when_s)

    def _unwarn(self, node: int) -> None:
        """A node goes: its notices are void, and those of this instant have not been told."""
        if self._notices.pop(node, None):
            rows = self._world.rows
            rows[:] = [row for row in rows if row[1] != Kind.NOTICE or row[2] != node]

    def warn(self, node: int, when_s: float) -> None:
        """What is up in a slot at a time will go then: a node that is up is told, others when they come up."""
        ends = self._ends.setdefault(node, set())
        ends.difference_update([each for each in ends if each < self._world.now])
        ends.add(when_s)
        if self.up[node]:
            self._notice(node, when_s)

    def warn_beyond(self, p: int, when_s: float, level: int, salt: int) -> None:
        """A pool's nodes beyond so many will go at a time: those that are up are told, others when they come up."""
        self._falls[p][when_s] = level
        standing = [node for node in self.rented(p) if self.up[node] and self._stands(node, when_s)]
        for node in self.unlucky(standing, len(standing) - level, salt):
            self._notice(node, when_s)

    def reclaim_beyond(self, p: int, level: int, salt: int) -> None:
        """A pool's nodes beyond so many go: first those that were warned, which leaves no others that are up."""
        now = self._world.now
        warned = self._falls[p].pop(now, None) is not None
        for node in self.rented(p) if warned else ():
            if not self._stands(node, now):
                self.reclaim(node)
        nodes = self.rented(p)
        others = [node for node in nodes if not (warned and self.up[node])]
        for node in self.unlucky(others, len(nodes) - level, salt):
            self.reclaim(node)

    def _stands(self, node: int, when_s: float) -> bool:
        """Whether nothing says that a node is gone by then."""
        return not any(each <= when_s for each in self._notices.get(node, ()))

    def _standing(self, p: int, when_s: float) -> int:
        return sum(self.up[node] and self._stands(node, when_s) for node in self.rented(p))

    def reclaim(self, node: int) -> None:
        """The market takes what is up or boots in a slot; what runs there has had its notice, if this is the time it
        gave, to write a checkpoint."""
        now = self._world.now
        self._take(node, 1.0, now - self._notices.get(node, {}).get(now, now))

    def stop(self, node: int, warned_s: float) -> None:
        """A rented node goes because a budget cannot pay it on."""
        self._take(node, 2.0, warned_s)

    def _take(self, node: int, why: float, warned_s: float) -> None:
        world = self._world
        self._unwarn(node)
        self.cancel(node)
        if self.up[node]:
            self.up[node] = 0
            came_up = (world.now, Kind.NODE_UP, node, -1, 0.0, 0.0)
            if came_up in world.rows and why == 1.0:
                world.rows.remove(came_up)
                world.tell(Kind.NODE_OFF, node, value=1.0)
                return
            world.tell(Kind.NODE_DOWN, node, value=why)
            world.lose_on(node, warned_s)
            world.tell(Kind.NODE_OFF, node)

    def unlucky(self, nodes: list[int], count: int, salt: int) -> list[int]:
        """Which of some nodes a market takes first: by a draw per node and occasion, whatever they run."""
        order = sorted(nodes, key=lambda node: uniform(self._world.seed, _RECLAIM, node, salt))
        return order[: max(count, 0)]
