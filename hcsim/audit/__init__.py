"""The auditor: reads a log row by row and knows nothing but the fleet, the jobs and what a row means.

It shares no code with the state, the simulator's processes or the ledger, so that what it finds right has been worked
out twice. What it proves, and what no log can show, is said in ``docs/world.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappush
from typing import Any

from hcsim.audit.base import Breach, Now
from hcsim.audit.data import Data
from hcsim.audit.lives import Lives
from hcsim.audit.nodes import CLASSES, Nodes
from hcsim.events import Kind, Row
from hcsim.model import Fleet, Jobs
from hcsim.perf import Perf


class Audit:
    """Call :meth:`see` with each row in turn and :meth:`close` at the end; Breach is the first thing wrong.

    Args:
        fleet, jobs: as they were played.
        perf: how fast jobs run where.
        live: the log is of a wall clock (``executor=local``): work takes what it takes, transfers are told at their
            beginning only.
        shared_links: whether concurrent transfers share their links.
        scheduled: prices and carbon intensities come from the fleet's series alone, so that a change that is missing
            or wrong is one; not so where processes of a user's own set them.
    """

    def __init__(
        self,
        fleet: Fleet,
        jobs: Jobs,
        perf: Perf | None = None,
        live: bool = False,
        shared_links: bool = True,
        scheduled: bool = False,
    ) -> None:
        self.fleet, self.jobs = fleet, jobs
        self._now = now = Now()
        self._shared = shared_links and not live
        self.nodes = Nodes(now, fleet, live)
        self.data = Data(now, fleet, jobs, live, lambda job, on: self.lives.staging(job, on))
        self.lives = Lives(now, fleet, jobs, perf or Perf(), self.nodes, self.data, live)
        self._wakes = 0
        self.refusals = self.fallbacks = 0
        self._series: list[tuple[float, int, int, float, Iterator[tuple[float, float]]]] = []
        if scheduled and not live:
            self._schedule()
        self._scheduled = scheduled and not live
        self._do = self._handlers()

    # -- what it comes to ----------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Time of the last row."""
        return self._now.time_s

    @property
    def rows(self) -> int:
        """Rows seen so far."""
        return self._now.row + 1

    @property
    def decisions(self) -> int:
        """How often the strategy was asked."""
        return self._wakes

    @property
    def usd(self) -> float:
        """What nodes and transfers have cost so far."""
        return self.nodes.usd() + self.data.egress_usd

    @property
    def lost_gpu_s(self) -> float:
        """GPU-seconds of run time that came to nothing."""
        return sum(life.lost_gpu_s for life in self.lives.lives)

    @property
    def seconds(self) -> dict[str, float]:
        """GPU-seconds of the whole fleet, in the coarser states of :func:`hcsim.metrics.gpu_seconds`."""
        total = {c: sum(each[c] for each in self.nodes.gpu_seconds()) for c in CLASSES}
        return {
            "busy": total["busy"] + total["lost"],
            "starting": total["starting"] + total["staging"],
            "draining": total["drained"],
            "idle": total["idle"],
            "off": total["off"],
        }

    # -- rows ----------------------------------------------------------------------------------------------------------

    def see(self, row: Row) -> None:
        """Take in the next row.

        Raises:
            Breach: it must not be there, or something else should have come before it.
        """
        t, kind, subject, node, value, detail = row
        now = self._now
        if t != now.time_s:
            if not t > now.time_s:
                now.row, now.event = now.row + 1, row
                now.fail("time goes back", t, f"at least {now.time_s:g}")
            self._settle(t)
            now.time_s = t
        now.row, now.event = now.row + 1, row
        if (node != -1 and kind not in _NODE) or (value and kind not in _VALUE) or (detail and kind not in _DETAIL):
            now.fail(
                "columns that an event of this kind leaves empty", (node, value, detail), "-1, 0, 0 where not used"
            )
        if self.data.closing and kind not in (Kind.METERED, Kind.ENDED):
            now.fail("a transfer was metered before", "more rows", "the last instant of a billing month, or of the log")
        do = self._do.get(kind)
        if do is not None:
            do(subject, node, value, detail)

    def _settle(self, next_s: float) -> None:
        """What must hold whenever time passes; the last row of an instant stands for it."""
        self.lives.settle(next_s)
        self.nodes.settle()
        self.data.settle()
        if self._series and self._series[0][0] < next_s:
            at_s, kind, subject, value, _ = self._series[0]
            self._now.fail(f"{Kind(kind).name} of {subject} at {at_s:g} s is missing", "none", f"{value:g}")

    def close(self, whole: bool = True) -> None:
        """The log is over; not ``whole``: it breaks off.

        Raises:
            Breach: a sum does not add up.
        """
        self._settle(self.now)
        self.nodes.meter()
        self.lives.close()
        self.data.close(self._shared, whole)
        self.data.stored.close()
        self.nodes.shares.close()
        for p, (pool, use) in enumerate(zip(self.fleet.pools, self.nodes.gpu_seconds(), strict=True)):
            total, found = pool.nodes * pool.gpus_per_node * self.now, sum(use.values())
            if abs(found - total) > 1e-6 + 1e-9 * total:
                self._now.fail(f"GPU-seconds of pool '{pool.name}'", found, f"{total:,.3f}")
            for what, gpu_s in use.items():
                if gpu_s < -1e-6 - 1e-9 * total:
                    self._now.fail(f"GPU-seconds {what} in pool '{pool.name}' ({p})", gpu_s, "at least 0")

    # -- by kind -------------------------------------------------------------------------------------------------------

    def _handlers(self) -> dict[int, Callable[[int, int, float, float], Any]]:
        """What to do with a row of each kind, called with (subject, node, value, detail)."""
        lives, nodes, data, job, node_, pool = self.lives, self.nodes, self.data, self._job, self._node, self._pool

        def placed(j: int, n: int, mask: float, milli: float) -> None:
            lives.placed(j, node_(n), _whole(mask), _whole(milli))

        def provisioning(n: int, *_: float) -> None:
            nodes.meter()
            nodes.provisioning(node_(n))

        return {
            Kind.LINK_DOWN: lambda link, *_: data.link(link, down=True),
            Kind.LINK_UP: lambda link, *_: data.link(link, down=False),
            Kind.NODE_DOWN: lambda n, _, value, __: nodes.went_down(node_(n), value == 1.0),
            Kind.NODE_UP: lambda n, *_: nodes.came_up(node_(n)),
            Kind.NODE_OFF: lambda n, _, value, __: nodes.went_off(node_(n), value == 1.0),
            Kind.PROVISIONING: provisioning,
            Kind.RELEASING: lambda n, *_: self._releasing(node_(n)),
            Kind.PRICE_CHANGED: self._price_changed,
            Kind.CARBON_CHANGED: self._carbon_changed,
            Kind.NOTICE: lambda n, _, value, __: nodes.noticed(node_(n), value),
            Kind.STOCK_CHANGED: lambda p, _, value, __: nodes.stocked(pool(p), value),
            Kind.ARRIVED: lambda j, *_: lives.arrived(j),
            Kind.PLACED: placed,
            Kind.STARTED: lambda j, n, *_: lives.started(j, n),
            Kind.DRAINING: lambda j, _, saves, moves: lives.draining(j, bool(saves), bool(moves)),
            Kind.PREEMPTED: lambda j, _, lost_s, __: lives.preempted(j, lost_s),
            Kind.LOST: lambda j, n, lost_s, _: lives.lost(j, node_(n) if n >= 0 else n, lost_s),
            Kind.SHRUNK: lambda j, n, lost_s, _: lives.shrunk(j, node_(n), lost_s),
            Kind.FINISHED: lambda j, _, spent_s, __: lives.finished(j, spent_s),
            Kind.HELD: lambda j, *_: lives.set_aside(j, "held", "waiting"),
            Kind.RESUMED: lambda j, *_: lives.set_aside(j, "waiting", "held"),
            Kind.REJECTED: lambda j, *_: lives.set_aside(j, "rejected", "waiting"),
            Kind.TRANSFERRING: lambda j, s, size, target: data.transferring(job(j), s, _whole(target), size),
            Kind.TRANSFERRED: lambda j, s, size, target: data.transferred(job(j), s, _whole(target), size),
            Kind.METERED: lambda j, s, size, target: data.metered(job(j), s, _whole(target), size),
            Kind.STAGED: lambda j, s, size, _: data.staged(job(j), s, size),
            Kind.EVICTED: lambda j, s, *_: data.evicted(job(j), s),
            Kind.IDLE: lambda n, *_: node_(n),
            Kind.WAKE: self._wake,
            Kind.REFUSED: lambda *_: self._refused(),
            Kind.FELL_BACK: lambda *_: self._fell_back(),
        }

    def _number(self, what: str, number: int, count: int) -> int:
        if not 0 <= number < count:
            self._now.fail(f"number of a {what}", number, f"0 to {count - 1}")
        return number

    def _job(self, job: int) -> int:
        return self._number("job", job, len(self.jobs))

    def _node(self, node: int) -> int:
        return self._number("node", node, self.fleet.nodes)

    def _pool(self, p: int) -> int:
        return self._number("pool", p, len(self.fleet.pools))

    def _wake(self, number: int, *_: float) -> None:
        if number != self._wakes:
            self._now.fail("number of a decision", number, self._wakes)
        self._wakes += 1

    def _refused(self) -> None:
        self.refusals += 1

    def _fell_back(self) -> None:
        self.fallbacks += 1

    def _releasing(self, node: int) -> None:
        if self.nodes.jobs_on[node]:
            holder = f"job {next(iter(self.nodes.jobs_on[node]))} holds it"
            self._now.fail(f"{self.nodes.name(node)} is released", holder, "one that nobody holds")

    # -- series --------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """The changes of prices and intensities that must be in the log."""
        for p, pool in enumerate(self.fleet.pools):
            if pool.price is not None:
                self._push(int(Kind.PRICE_CHANGED), p, pool.price.changes(0.0))
        for s, site in enumerate(self.fleet.sites):
            if site.carbon is not None:
                self._push(int(Kind.CARBON_CHANGED), s, _from_start(site.carbon.at(0.0), site.carbon.changes(0.0)))
        heapify(self._series)

    def _push(self, kind: int, subject: int, changes: Iterator[tuple[float, float]]) -> None:
        following = next(changes, None)
        if following is not None and following[1] == following[1]:
            t, value = following
            value = self.fleet.pools[subject].usd_at(value) if kind == Kind.PRICE_CHANGED else value
            heappush(self._series, (t, kind, subject, value, changes))

    def _expected(self, kind: Kind, subject: int, value: float) -> None:
        """The next change of a series is due, and is this one."""
        if not self._scheduled:
            return
        for i, (t, k, s, want, changes) in enumerate(self._series):
            if (k, s) == (int(kind), subject) and t == self.now and want == value:
                self._series[i] = self._series[-1]
                self._series.pop()
                heapify(self._series)
                self._push(int(kind), subject, changes)
                return
            if t > self.now and i > 64:
                break
        self._now.fail(f"{kind.name} of {subject}", value, "a change of its series")

    def _price_changed(self, p: int, _: int, usd: float, __: float) -> None:
        self.nodes.priced(self._pool(p), usd)
        self._expected(Kind.PRICE_CHANGED, p, usd)

    def _carbon_changed(self, s: int, _: int, grams: float, __: float) -> None:
        if not grams >= 0:
            self._now.fail("g CO2 per kWh", grams, "at least 0")
        self.nodes.shares.intensity(self._number("site", s, len(self.fleet.sites)), grams)
        self._expected(Kind.CARBON_CHANGED, s, grams)


_MOVES = {Kind.TRANSFERRING, Kind.TRANSFERRED, Kind.METERED}
#: Kinds that say something in these columns (hcsim.events); others leave them at -1 and 0.
_NODE = {
    *_MOVES,
    Kind.SHRUNK,
    Kind.LOST,
    Kind.STAGED,
    Kind.EVICTED,
    Kind.STARTED,
    Kind.PLACED,
    Kind.STAGING,
    Kind.REFUSED,
}
_VALUE = {
    *_MOVES, Kind.NODE_DOWN, Kind.SHRUNK, Kind.LOST, Kind.PREEMPTED, Kind.FINISHED, Kind.PRICE_CHANGED,
    Kind.CARBON_CHANGED, Kind.STOCK_CHANGED, Kind.NOTICE, Kind.NODE_OFF, Kind.STAGED, Kind.EVICTED, Kind.REMEMBERED,
    Kind.PLACED, Kind.DRAINING, Kind.HELD, Kind.REJECTED, Kind.REFUSED, Kind.FELL_BACK,
}  # fmt: skip
_DETAIL = {*_MOVES, Kind.PLACED, Kind.DRAINING}


def _whole(value: float) -> int:
    """A number that must be a whole one; -1, which nothing has, if it is not."""
    return int(value) if 0 <= value < 1 << 31 and value == int(value) else -1


def _from_start(value: float, changes: Iterator[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    yield 0.0, value
    yield from changes


__all__ = ["CLASSES", "Audit", "Breach"]
