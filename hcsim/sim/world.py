"""The simulated executor: the truth that strategies cannot see, and what follows from what they ask for."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Sequence
from heapq import heappush
from math import inf, isfinite
from typing import Any, ClassVar

import numpy as np
import simpy

from hcsim.actions import Allocation, Do, Order
from hcsim.capacity import POPCOUNT
from hcsim.constraints import check_checkpoints
from hcsim.crashes import Crashes, mean_s
from hcsim.events import Kind, Row
from hcsim.model import Fleet, InputError, Jobs
from hcsim.perf import Perf
from hcsim.rng import exponential, stream, uniform
from hcsim.sim.data import Data
from hcsim.sim.environment import LaneEnvironment
from hcsim.sim.market import open_markets
from hcsim.sim.nodes import Nodes

_CRASH = stream("crash")
_IDLE, _FETCHING, _STARTING, _RUNNING, _DRAINING = range(5)
_STARTED, _FINISHED = int(Kind.STARTED), int(Kind.FINISHED)
_NOTHING: tuple[Row, ...] = ()
#: What sums of seconds may be off by, generously.
ROUNDING_S = 1e-6

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
        job_mtbf_s: mean time between crashes of a running job for reasons of its own (:mod:`hcsim.crashes`).
        shared_links: whether transfers share their links; if not, each has them to itself.
        cold_starts: whether the first start of a job takes its ``restart_s`` as well.
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
        job_mtbf_s: Crashes = inf,
        shared_links: bool = True,
        cold_starts: bool = False,
    ) -> None:
        super().__init__(jobs.arrival_s.data, until_s)
        n = len(jobs)
        self.fleet, self.jobs, self.seed, self.stall_s = fleet, jobs, seed, stall_s
        speeds = (perf or Perf()).speeds(fleet, jobs)
        self._pool_of = fleet.node_pool
        self._site_of = [fleet.pool_site[p] for p in self._pool_of]
        self._node_speed = [speeds.pools[p] for p in self._pool_of]
        self._alike, self._rate = speeds.alike, speeds.rate
        self._gpus = jobs.gpus.data
        self._restart_s, self._interval_s = jobs.restart_s.data, jobs.checkpoint_interval_s.data
        self._left = array("d", jobs.duration_s.tobytes())  # reference seconds of work still to do, as of the last save
        self._due_s = array("d", bytes(8 * n))  # when its phase ends; 0 when nothing is due
        self._began_s = array("d", bytes(8 * n))
        self._phase = bytearray(n)
        self._where: list[Allocation | None] = [None] * n
        self._first_node = np.full(n, -1, np.int32)  # the same, as the first node of it ...
        self._node = self._first_node.data
        self._gangs: set[int] = set()  # ... and who has others
        self._ran_s: dict[int, float] = {}  # draining job -> how long it ran, which is safe when the drain ends
        self._saved_at: dict[int, int] = {}  # job -> site of its last checkpoint (-1: none yet), once it has run
        if cold_starts:
            self._saved_at = dict.fromkeys(range(n), -1)
        self._stalls = jobs.checkpoint_stall_s.data if jobs.checkpoint_stall_s.any() else None
        self._mtbf_s = mean_s(job_mtbf_s, jobs.gpus)  # None: jobs do not crash
        self._crashes: dict[int, tuple[int, float]] = {}  # job -> (crashes drawn, seconds that it runs until the last)
        self._crash_at: dict[int, float] = {}  # running job -> when it will crash, if it still runs
        check_checkpoints(jobs, fleet)
        self._unfinished = n
        self._leases: dict[int, int] = {}  # job -> number of its lease
        self._lease_count = 0
        self._last_due_s = float(jobs.arrival_s[-1]) if n else 0.0  # last arrival, or when a job was last due
        self._answer: list[Row] | None = None  # rows that an order has caused so far
        self._cuts: dict[int, set[str]] = {}  # link -> what keeps it down
        self.data = Data(self, shared_links)
        self.nodes = Nodes(self)
        self._plain = self.data.none and self._stalls is None and self._mtbf_s is None
        open_markets(self)
        for process in processes:
            self.process(process(self))

    def tell(self, kind: Kind, subject: int, node: int = -1, value: float = 0.0, detail: float = 0.0) -> None:
        """An event happens now: of this instant, or as an answer to the order that is being carried out."""
        rows = self.rows if self._answer is None else self._answer
        rows.append((self._now, kind, subject, node, value, detail))

    # -- the executor's contract -------------------------------------------------------------------------------------

    def submit(self, order: Order) -> Sequence[Row]:
        """Carry out an order; the events that it caused at once."""
        do, subject, allocation, value = order
        if do == 1:  # Do.START
            node, mask, _ = allocation[0]
            self._where[subject] = allocation
            self._node[subject] = node
            if len(allocation) > 1:
                self._gangs.add(subject)
            same = len(allocation) == 1 and mask and POPCOUNT[mask] == self._gpus[subject]
            if same and self._plain and self._alike and subject not in self._saved_at:
                self._phase[subject] = _RUNNING  # _begin and _rate, written out for the common case
                self._began_s[subject] = now = self._now
                self._due_s[subject] = due = now + self._left[subject] / self._node_speed[node]
                heappush(self.due, (due, subject))
                return ((now, _STARTED, subject, node, 0.0, 0.0),)
        answer: list[Row] = []
        self._answer = answer
        self._orders[do](self, subject, allocation, value)
        self._answer = None
        return answer

    def wake_at(self, time_s: float) -> None:
        """Report a TIMER event at that time (now, if it has passed)."""
        self._report_at(time_s, Kind.TIMER, 0)

    def last(self) -> Sequence[Row]:
        """What has gone of the transfers that are under way."""
        self.rows = []
        self.data.meter()
        return self.rows

    def close(self) -> None:
        """Nothing to stop: a simulation holds no outside resource."""

    # -- what a process may do ---------------------------------------------------------------------------------------

    def fail(self, node: int, cause: str = "outage") -> None:
        """A node goes down now: its jobs fall back to their last periodic checkpoint.

        One that is down already stays so until every cause is repaired; one that is off or boots is not hit.
        """
        self._there("node", node, self.fleet.nodes)
        self.nodes.fail(node, cause)

    def repair(self, node: int, cause: str = "outage") -> None:
        """A node whose last cause to be down this is comes back: an owned one is up, a rented one is given back."""
        self._there("node", node, self.fleet.nodes)
        self.nodes.repair(node, cause)

    def _there(self, what: str, number: int, count: int) -> None:
        if not 0 <= number < count:
            raise InputError(f"no {what} {number}, expected 0 to {count - 1}")

    def set_price(self, pool: int, usd_per_gpu_h: float) -> None:
        """A GPU-hour of a pool costs this from now on."""
        if not 0 <= usd_per_gpu_h < inf:
            raise InputError(f"price of pool {pool} is {usd_per_gpu_h}, expected a finite number >= 0")
        self._there("pool", pool, len(self.fleet.pools))
        self.tell(Kind.PRICE_CHANGED, pool, value=usd_per_gpu_h)
        self.nodes.priced(pool)

    def cut(self, link: int, cause: str = "outage") -> None:
        """A link carries nothing until every cause is gone; what is under way waits."""
        self._there("link", link, len(self.fleet.links))
        causes = self._cuts.setdefault(link, set())
        if not causes:
            self.data.network.cut(link, down=True)
            self.tell(Kind.LINK_DOWN, link)
        causes.add(cause)

    @property
    def links_cut(self) -> set[int]:
        """Links that carry nothing now."""
        return {link for link, causes in self._cuts.items() if causes}

    def join(self, link: int, cause: str = "outage") -> None:
        """A cause that cut a link is gone."""
        causes = self._cuts.get(link, set())
        if cause in causes:
            causes.remove(cause)
            if not causes:
                self.data.network.cut(link, down=False)
                self.tell(Kind.LINK_UP, link)

    # -- a run of a job ----------------------------------------------------------------------------------------------

    def _start(self, job: int, allocation: Allocation, value: float) -> None:
        """Before a job runs there its data and checkpoint come, and it restarts."""
        self._phase[job] = _FETCHING
        saved = self._saved_at.get(job, -2)  # -2: it has not run
        if self.data.fetch(job, self._site_of[allocation[0][0]], max(saved, -1), self._arrived):
            return
        self._last_due_s = now = self._now
        if saved == -2 or now + self._restart_s[job] <= now:
            self._begin(job)
        else:
            self._come_up(job)

    def _arrived(self, job: int) -> None:
        """What it needs is there. A start that data brought comes after the losses of its instant."""
        self._last_due_s = self._now
        self._come_up(job)

    def _restart_of(self, job: int) -> float:
        """Seconds that a job takes to come up: one that has not run before has nothing to restore."""
        return self._restart_s[job] if job in self._saved_at else 0.0

    def _come_up(self, job: int) -> None:
        """It runs when it has come up; after no time it does when all that befalls it in this instant has."""
        self._phase[job] = _STARTING
        self._due_s[job] = due = self._now + self._restart_of(job)
        heappush(self.due, (due, job))

    def _begin(self, job: int) -> None:
        allocation = self._where[job]
        assert allocation is not None
        self._phase[job] = _RUNNING
        self._began_s[job] = now = self._now
        node, mask, _ = allocation[0]
        alone = self._alike and len(allocation) == 1 and mask and POPCOUNT[mask] == self._gpus[job]
        due = now + self._run_s(
            job, self._left[job] / (self._node_speed[node] if alone else self._rate(job, allocation))
        )
        if self._mtbf_s is not None:
            number, left_s = self._crashes.get(job, (0, 0.0))
            if left_s <= 0.0:
                left_s = exponential(float(self._mtbf_s[job]), uniform(self.seed, _CRASH, job, number))
                self._crashes[job] = (number + 1, left_s)
            self._crash_at[job] = now + left_s
            due = min(due, self._crash_at[job])
        self._due_s[job] = due
        heappush(self.due, (due, job))
        rows = self.rows if self._answer is None else self._answer
        rows.append((now, _STARTED, job, node, 0.0, 0.0))

    def _run_s(self, job: int, work_s: float) -> float:
        """How long a run of so much work lasts: writing each periodic checkpoint stops it."""
        if self._stalls is None or not self._stalls[job]:
            return work_s
        return work_s + work_s // self._interval_s[job] * self._stalls[job]

    def _worked_s(self, job: int, ran_s: float) -> float:
        """How much of a run so far was work."""
        if self._stalls is None or not self._stalls[job]:
            return ran_s
        interval_s, stall_s = self._interval_s[job], self._stalls[job]
        whole = ran_s // (interval_s + stall_s)
        return whole * interval_s + min(ran_s - whole * (interval_s + stall_s), interval_s)

    def on_due(self, t: float, job: int) -> None:
        """A job's phase ends: it starts, finishes, crashes, or has drained."""
        if self._due_s[job] != t:
            return  # it was stopped meanwhile
        self._last_due_s = t
        phase = self._phase[job]
        if phase == _RUNNING:
            if self._plain:  # _stop, written out for the common case
                self._due_s[job] = 0.0
                self._phase[job] = _IDLE
                self._where[job] = None
                self._node[job] = -1
                self._gangs.discard(job)
                spent_s = 0.0
            elif self._mtbf_s is not None and self._crash_at[job] == t:
                self._crash(job, t)
                return
            else:
                ran_s = t - self._began_s[job]
                spent_s = ran_s - self._worked_s(job, ran_s)
                self._stop(job)
            self._unfinished -= 1
            self.rows.append((t, _FINISHED, job, -1, spent_s, 0.0))
        elif phase == _STARTING:
            self._begin(job)
        else:
            lost_s = self._save(job, self._ran_s.pop(job))
            self._stop(job)
            self.tell(Kind.PREEMPTED, job, value=lost_s)

    def _crash(self, job: int, t: float) -> None:
        """A job fails for reasons of its own."""
        lost_s = self._fall_back(job, t - self._began_s[job])
        self._stop(job)
        self._crashes[job] = (self._crashes[job][0], 0.0)  # it draws anew
        self.tell(Kind.LOST, job, -1, lost_s)

    def _drain(self, job: int, allocation: Allocation, checkpoint: float) -> None:
        """Stop a job. With a checkpoint no work is lost, but writing it takes checkpoint_s."""
        lost_s = 0.0
        if self._phase[job] == _RUNNING:
            ran_s = self._now - self._began_s[job]
            due = self._now + float(self.jobs.checkpoint_s[job])
            if checkpoint and due > self._now:
                self._phase[job] = _DRAINING
                self._ran_s[job] = ran_s
                self._due_s[job] = due
                heappush(self.due, (due, job))
                return
            lost_s = self._save(job, ran_s) if checkpoint else self._fall_back(job, ran_s)
        self._stop(job)
        self.tell(Kind.PREEMPTED, job, value=lost_s)

    def _stop(self, job: int, *, leaves: bool = True) -> None:
        """It runs nowhere, and nothing of it is due; unless it ``leaves`` its dataset stays for it."""
        phase = self._phase[job]
        self._due_s[job] = 0.0
        self._phase[job] = _IDLE
        self._where[job] = None
        self._node[job] = -1
        self._gangs.discard(job)
        if phase == _FETCHING:
            self.data.give_up(job)
        if leaves and not self.data.none:
            self.data.leave(job)
        if self._mtbf_s is not None and phase in (_RUNNING, _DRAINING):
            number, left_s = self._crashes[job]
            self._crashes[job] = (number, max(left_s - (self._now - self._began_s[job]), 1e-9))

    def _save(self, job: int, ran_s: float) -> float:
        """A run of so long is safe; how much of it was no work."""
        allocation = self._where[job]
        assert allocation is not None
        worked_s = self._worked_s(job, ran_s)
        self._left[job] = max(self._left[job] - worked_s * self._rate(job, allocation), 0.0)
        self._saved_at[job] = self._site_of[allocation[0][0]]
        return ran_s - worked_s

    def _fall_back(self, job: int, ran_s: float) -> float:
        """Of a run of so long keep what its last periodic checkpoint holds; the seconds that are lost."""
        interval_s = self._interval_s[job]
        stall_s = 0.0 if self._stalls is None else self._stalls[job]
        kept_s = ran_s // (interval_s + stall_s) * interval_s if isfinite(interval_s) else 0.0
        if kept_s > 0.0:
            allocation = self._where[job]
            assert allocation is not None
            self._left[job] = max(self._left[job] - kept_s * self._rate(job, allocation), 0.0)
            self._saved_at[job] = self._site_of[allocation[0][0]]
        else:
            self._saved_at.setdefault(job, -1)  # it starts from its last checkpoint, if there was one, or anew
        return ran_s - kept_s

    # -- losses ------------------------------------------------------------------------------------------------------

    def lose_on(self, node: int, warned_s: float) -> None:
        """A node is gone: each job on it is lost, or shrinks when it is elastic and enough of it is left."""
        found = set(np.flatnonzero(self._first_node == node).tolist())
        found |= {job for job in self._gangs if any(part[0] == node for part in self._where[job] or ())}
        for job in sorted(found):
            self._lose(job, node, warned_s)

    def _lose(self, job: int, node: int, warned_s: float) -> None:
        allocation, phase, lost_s = self._where[job], self._phase[job], 0.0
        assert allocation is not None
        writing_s = float(self.jobs.checkpoint_s[job])
        if phase == _RUNNING:
            ran_s = self._now - self._began_s[job]
            if warned_s and writing_s <= warned_s and writing_s < ran_s:  # it stopped in time to write all it had done
                lost_s = writing_s + self._save(job, ran_s - writing_s)
            else:
                lost_s = self._fall_back(job, ran_s)
        elif phase == _DRAINING:
            lost_s = self._fall_back(job, self._ran_s.pop(job))  # what it was writing is not whole
        left = tuple(part for part in allocation if part[0] != node)
        size = sum(mask.bit_count() for _, mask, _ in left)
        if phase == _DRAINING or not left or size < self.jobs.min_gpus[job]:
            self._stop(job)
            self.tell(Kind.LOST, job, node, lost_s)
            return
        self.tell(Kind.SHRUNK, job, node, lost_s)
        if phase != _FETCHING:  # what is on its way to the site goes on
            self._stop(job, leaves=False)
            self._come_up(job)
        self._where[job] = left
        self._node[job] = left[0][0]
        if len(left) > 1:
            self._gangs.add(job)

    def _kill(self, job: int, allocation: Allocation, value: float) -> None:
        """A node went down, or did not come, under a claim that had not been handed over yet."""
        if self._phase[job] == _DRAINING:  # it moves: where it was all is well, so its checkpoint is taken to be whole
            self._save(job, self._ran_s.pop(job))
        self._stop(job)
        self.tell(Kind.LOST, job, int(value))

    # -- other orders ------------------------------------------------------------------------------------------------

    def _stage(self, job: int, _: Allocation, value: float) -> None:
        if not self.data.stage(job, int(value)):
            self.tell(Kind.STAGED, job, int(value))

    def _forget(self, job: int, _: Allocation, value: float) -> None:
        self._unfinished -= 1

    def _lease(self, job: int, _: Allocation, value: float) -> None:
        self._lease_count += 1
        number = self._leases[job] = self._lease_count

        def end() -> None:
            if self._leases.get(job) == number:
                del self._leases[job]
                if value:
                    self.tell(Kind.LEASE_ENDED, job)
                if not self._leases:
                    self.tell(Kind.ALL_LEASES_ENDED, 0)

        if value < inf:
            end_s = self._now + value
            left_s = self._due_s[job] - end_s  # one that ends its work just then has its lease until it has
            self.at(end_s + left_s if 0.0 < left_s <= ROUNDING_S else end_s, end)

    def _report_at(self, time_s: float, kind: Kind, subject: int) -> None:
        self.at(time_s, lambda: self.rows.append((self._now, kind, subject, -1, 0.0, 0.0)))

    def idle(self, t: float) -> bool:
        """Nothing is due or to arrive: every job has ended, or only timers and failures have gone on for stall_s."""
        return not self._unfinished or (not self.data.fetching() and t - self._last_due_s > self.stall_s)

    _orders: ClassVar[dict[int, Callable[[Simulation, int, Allocation, float], None]]] = {
        Do.START: _start,
        Do.DRAIN: _drain,
        Do.KILL: _kill,
        Do.BOOT: lambda self, node, _, __: self.nodes.boot(node),
        Do.HALT: lambda self, node, _, __: self.nodes.halt(node),
        Do.STOP: lambda self, node, _, warned_s: self.nodes.stop(node, warned_s),
        Do.WATCH: lambda self, node, _, in_s: self._report_at(self._now + in_s, Kind.IDLE, node),
        Do.STAGE: _stage,
        Do.HOLD: lambda self, job, _, until_s: self._report_at(until_s, Kind.RESUMED, job),
        Do.FORGET: _forget,
        Do.LEASE: _lease,
        Do.BUDGET: lambda self, budget, _, at_s: self._report_at(at_s, Kind.BUDGET, budget),
    }
