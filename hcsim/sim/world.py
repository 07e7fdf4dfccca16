"""The simulated executor: the truth that strategies cannot see, and what follows from what they ask for."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Sequence
from heapq import heappush
from math import inf, isfinite
from typing import Any, ClassVar

import simpy

from hcsim.actions import Allocation, Do, Order
from hcsim.capacity import POPCOUNT
from hcsim.constraints import dataset_site
from hcsim.events import Kind, Row
from hcsim.model import Fleet, InputError, Jobs
from hcsim.perf import Perf
from hcsim.rng import exponential, lognormal, stream, uniform
from hcsim.sim.environment import LaneEnvironment

_BOOT, _FAIL, _REPAIR = stream("boot"), stream("failure"), stream("repair")
#: Boot times are drawn per node and absolute slot of this length, never by draw order.
SLOT_S = 300.0
_IDLE, _STARTING, _RUNNING, _DRAINING = range(4)
_STARTED, _FINISHED = int(Kind.STARTED), int(Kind.FINISHED)
_NOTHING: tuple[Row, ...] = ()

Process = Callable[["Simulation"], Generator[simpy.Event, Any, Any]]


class Simulation(LaneEnvironment):
    """A fleet and its jobs in simulated time, as an executor for :func:`hcsim.control.run`.

    It is a SimPy environment, so a process is a generator that yields its events::

        def outage(world):
            yield world.timeout(3600.0)
            world.fail(node=3)
            yield world.timeout(600.0)
            world.repair(node=3)

    Args:
        processes: generator functions started at time 0, called with this object.
        until_s: stop there (default: when every job has ended, or nothing has run for ``stall_s`` after the last
            arrival, so that an unplaceable job does not keep failures and timers going forever).
    """

    def __init__(
        self,
        fleet: Fleet,
        jobs: Jobs,
        perf: Perf | None = None,
        seed: int = 0,
        processes: Sequence[Process] = (),
        until_s: float = inf,
        stall_s: float = 30 * 86400.0,
    ) -> None:
        super().__init__(jobs.arrival_s.data, until_s)
        n = len(jobs)
        self.fleet, self.jobs, self.seed, self.stall_s = fleet, jobs, seed, stall_s
        self._perf = perf or Perf()
        self._speed = self._perf.of_pools(fleet)
        self._pool_of = fleet.node_pool
        self._gpus = jobs.gpus.data
        self._left = array("d", jobs.duration_s.tobytes())  # reference seconds of work still to do, as of the last save
        self._due_s = array("d", bytes(8 * n))  # when its phase ends; 0 when nothing is due
        self._began_s = array("d", bytes(8 * n))
        self._phase = bytearray(n)
        self._where: list[Allocation | None] = [None] * n
        self._ran_s: dict[int, float] = {}  # draining job -> how long it ran, which is safe when the drain ends
        self._home = [dataset_site(name, fleet) for name in jobs.dataset_sites]
        if (jobs.checkpoint_bytes > 0).any():  # a checkpoint may have to go from any site to any other
            for source in range(len(fleet.sites)):
                for target in range(len(fleet.sites)):
                    fleet.link(source, target)
        self._staged: set[tuple[int, int]] = set()  # (job, site) whose dataset is there
        self._saved_at: dict[int, int] = {}  # job -> site of its last checkpoint (-1: none yet), once it has run
        self._plain = not len(jobs.dataset_sites)
        self._up = bytearray(0 if fleet.pools[p].elastic else 1 for p in fleet.node_pool)
        self._down: dict[int, set[str]] = {}  # node -> what keeps it down
        self._unfinished = n
        self._leases: dict[int, int] = {}  # job -> number of its lease
        self._lease_count = 0
        self._last_due_s = float(jobs.arrival_s[-1]) if n else 0.0  # last arrival, or when a job was last due
        self._node_speed = [self._speed[p] for p in self._pool_of]
        for p, pool in enumerate(fleet.pools):
            if isfinite(pool.mtbf_s):
                for node in range(fleet.first_node[p], fleet.first_node[p + 1]):
                    self.process(self._failures(node, pool.mtbf_s, pool.repair_s))
        for process in processes:
            self.process(process(self))

    # -- the executor's contract -------------------------------------------------------------------------------------

    def submit(self, order: Order) -> Sequence[Row]:
        """Carry out an order; the events that it caused at once."""
        do, subject, allocation, value = order
        if do != 1:  # Do.START
            return self._orders[do](self, subject, allocation, value)
        self._where[subject] = allocation
        if not self._plain or subject in self._saved_at:
            return self._set_up(subject, allocation)
        node, mask, _ = allocation[0]
        if len(allocation) > 1 or POPCOUNT[mask] != self._gpus[subject]:
            return (self._begin(subject, allocation, self._now),)
        self._phase[subject] = _RUNNING  # _begin and _rate, written out for the common case
        self._began_s[subject] = now = self._now
        self._due_s[subject] = due = now + self._left[subject] / self._node_speed[node]
        heappush(self.due, (due, subject))
        return ((now, _STARTED, subject, node, 0.0, 0.0),)

    def wake_at(self, time_s: float) -> None:
        """Report a TIMER event at that time (now, if it has passed)."""
        self._report_at(time_s, Kind.TIMER, 0)

    def close(self) -> None:
        """Nothing to stop: a simulation holds no outside resource."""

    # -- what a process may do ---------------------------------------------------------------------------------------

    def fail(self, node: int, cause: str = "outage") -> None:
        """A node goes down now: its jobs fall back to their last periodic checkpoint.

        One that is down already stays so until every cause is repaired; one that is off or boots is not hit.
        """
        if node in self._down:
            self._down[node].add(cause)
        if not self._up[node]:
            return
        self._up[node] = 0
        self._down[node] = {cause}
        came_up = (self.now, Kind.NODE_UP, node, -1, 0.0, 0.0)
        if came_up in self.rows:  # losses come first in an instant, so it has not been up at all
            self.rows.remove(came_up)
            if not self.fleet.pools[self._pool_of[node]].elastic:
                return  # it was down and still is
        self.rows.append((self.now, Kind.NODE_DOWN, node, -1, 0.0, 0.0))
        for job in sorted({job for _, job in self.due}):  # whatever a job is doing, its end is in there
            if any(part[0] == node for part in self._where[job] or ()):
                self._lose(job, node)

    def repair(self, node: int, cause: str = "outage") -> None:
        """A node whose last cause to be down this is comes back: an owned one is up, a rented one is given back."""
        causes = self._down.get(node, set())
        if cause not in causes:
            return
        causes.remove(cause)
        if causes:
            return
        del self._down[node]
        if self.fleet.pools[self._pool_of[node]].elastic:
            self.rows.append((self.now, Kind.NODE_OFF, node, -1, 0.0, 0.0))
        else:
            self._up[node] = 1
            self.rows.append((self.now, Kind.NODE_UP, node, -1, 0.0, 0.0))

    def set_price(self, pool: int, usd_per_gpu_h: float) -> None:
        """A GPU-hour of a pool costs this from now on."""
        if not usd_per_gpu_h >= 0:
            raise InputError(f"price of pool {pool} is {usd_per_gpu_h}, expected >= 0")
        self.rows.append((self.now, Kind.PRICE_CHANGED, pool, -1, usd_per_gpu_h, 0.0))

    # -- jobs --------------------------------------------------------------------------------------------------------

    def _rate(self, job: int, allocation: Allocation) -> float:
        node, mask, _ = allocation[0]
        if len(allocation) == 1 and POPCOUNT[mask] == self._gpus[job]:
            return self._node_speed[node]
        p = self._pool_of[node]
        return self._perf.rate(self._speed[p], self._gpus[job], self.fleet.pools[p].gpus_per_node, allocation)

    def _begin(self, job: int, allocation: Allocation, t: float) -> Row:
        self._phase[job] = _RUNNING
        self._began_s[job] = t
        self._due_s[job] = due = t + self._left[job] / self._rate(job, allocation)
        heappush(self.due, (due, job))
        return (t, _STARTED, job, allocation[0][0], 0.0, 0.0)

    def _set_up(self, job: int, allocation: Allocation) -> Sequence[Row]:
        """Before a job runs there its data and checkpoint come, and it restarts."""
        site = self.fleet.pool_site[self._pool_of[allocation[0][0]]]
        rows: list[Row] = []
        delay = 0.0
        home = int(self.jobs.dataset_site[job])
        if home >= 0 and self._home[home] != site and (job, site) not in self._staged:
            delay = self._transfer(rows, job, self._home[home], site, float(self.jobs.dataset_bytes[job]))
        saved = self._saved_at.get(job)
        if saved is not None:
            if saved not in (-1, site) and self.jobs.checkpoint_bytes[job] > 0:
                delay = max(delay, self._transfer(rows, job, saved, site, float(self.jobs.checkpoint_bytes[job])))
            delay += float(self.jobs.restart_s[job])
        if self._now + delay <= self._now:
            return [*rows, self._begin(job, allocation, self._now)]
        self._phase[job] = _STARTING
        self._due_s[job] = due = self._now + delay
        heappush(self.due, (due, job))
        return rows

    def _transfer(self, rows: list[Row], job: int, source: int, target: int, size_bytes: float) -> float:
        """Seconds to carry bytes between two sites; the row is what egress is billed by."""
        link = self.fleet.link(source, target)
        rows.append((self._now, Kind.TRANSFERRING, job, source, size_bytes, float(target)))
        return 0.0 if link is None else link.latency_s + size_bytes / link.bytes_per_s

    def on_due(self, t: float, job: int) -> None:
        """A job's phase ends: it starts, finishes, or has drained."""
        if self._due_s[job] != t:
            return  # it was stopped meanwhile
        self._last_due_s = t
        phase = self._phase[job]
        if phase == _RUNNING:
            self._stop(job)
            self._unfinished -= 1
            self.rows.append((t, _FINISHED, job, -1, 0.0, 0.0))
        elif phase == _STARTING:
            allocation = self._where[job]
            assert allocation is not None
            if self.jobs.dataset_site[job] >= 0:
                self._staged.add((job, self.fleet.pool_site[self._pool_of[allocation[0][0]]]))
            self.rows.append(self._begin(job, allocation, t))
        else:
            self._save(job, self._ran_s.pop(job))
            self._stop(job)
            self.rows.append((t, Kind.PREEMPTED, job, -1, 0.0, 0.0))

    def _drain(self, job: int, allocation: Allocation, checkpoint: float) -> Sequence[Row]:
        """Stop a job. With a checkpoint nothing is lost, but writing it takes checkpoint_s."""
        lost = 0.0
        if self._phase[job] == _RUNNING:
            ran_s = self._now - self._began_s[job]
            due = self._now + float(self.jobs.checkpoint_s[job])
            if checkpoint and due > self._now:
                self._phase[job] = _DRAINING
                self._ran_s[job] = ran_s
                self._due_s[job] = due
                heappush(self.due, (due, job))
                return _NOTHING
            if checkpoint:
                self._save(job, ran_s)
            else:
                lost = self._fall_back(job, ran_s)
        self._stop(job)
        return ((self._now, Kind.PREEMPTED, job, -1, lost, 0.0),)

    def _stop(self, job: int) -> None:
        """It runs nowhere, and nothing of it is due."""
        self._due_s[job] = 0.0
        self._phase[job] = _IDLE
        self._where[job] = None

    def _save(self, job: int, ran_s: float) -> None:
        """The first ``ran_s`` seconds of the current run are safe."""
        allocation = self._where[job]
        assert allocation is not None
        self._left[job] = max(self._left[job] - ran_s * self._rate(job, allocation), 0.0)
        self._saved_at[job] = self.fleet.pool_site[self._pool_of[allocation[0][0]]]

    def _fall_back(self, job: int, ran_s: float) -> float:
        """Of a run of so long keep what its last periodic checkpoint holds; the seconds that are lost."""
        interval = float(self.jobs.checkpoint_interval_s[job])
        kept_s = ran_s // interval * interval if isfinite(interval) else 0.0
        if kept_s > 0.0:
            self._save(job, kept_s)
        else:
            self._saved_at.setdefault(job, -1)  # it starts from its last checkpoint, if there was one, or anew
        return ran_s - kept_s

    def _lose(self, job: int, node: int) -> None:
        """A node failed under a job."""
        lost = 0.0
        if self._phase[job] == _RUNNING:
            lost = self._fall_back(job, self._now - self._began_s[job])
        elif self._phase[job] == _DRAINING:
            lost = self._fall_back(job, self._ran_s.pop(job))  # what it was writing is not whole
        self._stop(job)
        self.rows.append((self._now, Kind.LOST, job, node, lost, 0.0))

    def _kill(self, job: int, allocation: Allocation, value: float) -> Sequence[Row]:
        """A node went down under a claim that had not been handed over yet."""
        if self._phase[job] == _DRAINING:  # it moves: where it was all is well, so its checkpoint is taken to be whole
            self._save(job, self._ran_s.pop(job))
        self._stop(job)
        down = next((part[0] for part in allocation if part[0] in self._down), -1)
        return ((self._now, Kind.LOST, job, down, 0.0, 0.0),)

    def _stage(self, job: int, _: Allocation, value: float) -> Sequence[Row]:
        site, home = int(value), int(self.jobs.dataset_site[job])
        if home < 0 or self._home[home] == site or (job, site) in self._staged:
            return ((self._now, Kind.STAGED, job, site, 0.0, 0.0),)
        rows: list[Row] = []
        seconds = self._transfer(rows, job, self._home[home], site, float(self.jobs.dataset_bytes[job]))
        if self._now + seconds <= self._now:
            self._staged.add((job, site))
            return [*rows, (self._now, Kind.STAGED, job, site, 0.0, 0.0)]

        def arrive() -> None:
            self._staged.add((job, site))
            self.rows.append((self._now, Kind.STAGED, job, site, 0.0, 0.0))

        self.at(self._now + seconds, arrive)
        return rows

    def _hold(self, job: int, _: Allocation, value: float) -> Sequence[Row]:
        self._report_at(value, Kind.RESUMED, job)
        return _NOTHING

    def _forget(self, job: int, _: Allocation, value: float) -> Sequence[Row]:
        self._unfinished -= 1
        return _NOTHING

    def _lease(self, job: int, _: Allocation, value: float) -> Sequence[Row]:
        self._lease_count += 1
        number = self._leases[job] = self._lease_count

        def end() -> None:
            if self._leases.get(job) == number:
                del self._leases[job]
                if value:
                    self.rows.append((self._now, Kind.LEASE_ENDED, job, -1, 0.0, 0.0))
                if not self._leases:
                    self.rows.append((self._now, Kind.ALL_LEASES_ENDED, 0, -1, 0.0, 0.0))

        if value < inf:
            self.at(self._now + value, end)
        return _NOTHING

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _boot(self, node: int, _: Allocation, value: float) -> Sequence[Row]:
        pool = self.fleet.pools[self._pool_of[node]]
        seconds = pool.boot_s
        if pool.boot_cv:
            seconds = lognormal(seconds, pool.boot_cv, uniform(self.seed, _BOOT, node, int(self._now // SLOT_S)))
        if self._now + seconds <= self._now:
            self._up[node] = 1
            return ((self._now, Kind.NODE_UP, node, -1, 0.0, 0.0),)

        def up() -> None:
            self._up[node] = 1
            self.rows.append((self._now, Kind.NODE_UP, node, -1, 0.0, 0.0))

        self.at(self._now + seconds, up)
        return _NOTHING

    def _halt(self, node: int, _: Allocation, value: float) -> Sequence[Row]:
        self._up[node] = 0
        return ((self._now, Kind.NODE_OFF, node, -1, 0.0, 0.0),)

    def _watch(self, node: int, _: Allocation, value: float) -> Sequence[Row]:
        self._report_at(self._now + value, Kind.IDLE, node)
        return _NOTHING

    def _failures(self, node: int, mtbf_s: float, repair_s: float) -> Generator[simpy.Event, Any, None]:
        """A node's alternating renewal process, the same whatever the strategy does. It hits a node that is up."""
        k = 0
        while True:
            yield self.timeout(exponential(mtbf_s, uniform(self.seed, _FAIL, node, k)))
            self.fail(node, "failure")
            yield self.timeout(exponential(repair_s, uniform(self.seed, _REPAIR, node, k)))
            self.repair(node, "failure")
            k += 1

    def _report_at(self, time_s: float, kind: Kind, subject: int) -> None:
        self.at(time_s, lambda: self.rows.append((self._now, kind, subject, -1, 0.0, 0.0)))

    def idle(self, t: float) -> bool:
        """Nothing is due or to arrive: every job has ended, or only timers and failures have gone on for stall_s."""
        return not self._unfinished or t - self._last_due_s > self.stall_s

    _orders: ClassVar[dict[int, Callable[..., Sequence[Row]]]] = {
        Do.DRAIN: _drain,
        Do.KILL: _kill,
        Do.BOOT: _boot,
        Do.HALT: _halt,
        Do.WATCH: _watch,
        Do.STAGE: _stage,
        Do.HOLD: _hold,
        Do.FORGET: _forget,
        Do.LEASE: _lease,
    }
