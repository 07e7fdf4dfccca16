"""The live executor: wall clock, worker processes, and injected delays, as an executor for the control loop."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf, isfinite
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from hcsim.actions import Allocation, Do, Order
from hcsim.constraints import dataset_homes
from hcsim.events import Kind, Row
from hcsim.live.worker import Task
from hcsim.model import Fleet, InputError, Jobs
from hcsim.rng import lognormal, stream, uniform

_BOOT = stream("boot")
#: Longest wait without looking up, in wall-clock seconds.
_GLANCE_S = 0.5
#: An interpreter of its own, no fork: torch's threads do not survive one, and so no script needs a guard.
_WORKER = "import sys; from hcsim.live.worker import main; main(int(sys.argv[1]))"


class LiveError(InputError):
    """A job failed in a way that running it again will not mend."""


@dataclass
class _Worker:
    """A process that does one run of a job. Times are in trace seconds."""

    process: subprocess.Popen[bytes]
    connection: Connection
    node: int
    started_s: float = inf  # inf: not yet
    saved_s: float = inf  # when what it has done was last safe
    stopped_s: float = inf  # when it was asked to stop


@dataclass(frozen=True)
class Report:
    """What a finished job came to."""

    steps: int
    loss: float
    weights_sha256: str


class LocalExecutor:
    """Runs jobs as worker processes on this machine.

    ``reports`` holds what finished jobs came to. Checkpoints live in a temporary folder that goes when the run ends.
    """

    end_s = inf

    def __init__(
        self,
        fleet: Fleet,
        jobs: Jobs,
        seed: int,
        steps_per_s: float,
        time_scale: float,
        stall_s: float,
        max_losses: int,
    ) -> None:
        self.fleet, self.jobs, self.seed = fleet, jobs, seed
        self.time_scale, self.stall_s, self.max_losses = time_scale, stall_s, max_losses
        self.steps = [max(1, round(s * steps_per_s / time_scale)) for s in jobs.duration_s.tolist()]
        self.arrived = 0
        self.reports: dict[int, Report] = {}
        self._pool_of = fleet.node_pool
        self._home = [dataset_homes(name, fleet)[0] for name in jobs.dataset_sites]
        self._cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
        sizes = [fleet.pools[p].gpus_per_node for p in self._pool_of]
        self._first_device = [sum(sizes[:node]) for node in range(len(sizes))]
        self._folder = TemporaryDirectory(prefix="hcsim-")
        self._workers: dict[int, _Worker] = {}
        self._losses: dict[int, int] = {}
        self._staged: set[tuple[int, int]] = set()
        self._saved_at: dict[int, int] = {}  # job -> site of its last run
        #: Job that waits for a transfer before its worker starts -> number of its start, and its node.
        self._coming: dict[int, tuple[int, int]] = {}
        self._boots: dict[int, int] = {}  # node that boots -> number of its boot
        self._leases: dict[int, int] = {}
        self._numbers = count()
        self._due: list[tuple[float, int, bool, Callable[[], Sequence[Row]]]] = []
        self._unfinished = len(jobs)
        self._now = 0.0
        self._began = time.monotonic()
        self._last_work = self._began

    # -- the executor's contract -------------------------------------------------------------------------------------

    def instants(self) -> Iterator[tuple[float, Sequence[Row]]]:
        """What has happened since the last look, whenever something has.

        Raises:
            LiveError: a worker failed, or one job's workers died too often.
        """
        self._began = self._last_work = time.monotonic()
        while self._unfinished:
            self._now = max(self._clock(), self._now + 1e-6)  # no two instants at one time
            rows = [*self._arrivals(), *self._happened(), *self._heard()]
            if rows:
                rows.sort(key=lambda row: row[1])
                yield self._now, rows
            elif self._stalled():
                return
            else:
                self._wait()

    def submit(self, order: Order) -> Sequence[Row]:
        """Carry out an order; the events that it caused at once."""
        do, subject, allocation, value = order
        return self._orders[do](self, subject, allocation, value)

    def wake_at(self, time_s: float) -> None:
        """Report a TIMER event at that time."""
        self._later(time_s, lambda: ((self._now, Kind.TIMER, 0, -1, 0.0, 0.0),), works=False)

    def last(self) -> Sequence[Row]:
        """Nothing: transfers are told at their beginning."""
        return ()

    def close(self) -> None:
        """Kill what still runs and remove the checkpoints."""
        for job in list(self._workers):
            self._end(job)
        self._folder.cleanup()

    # -- time --------------------------------------------------------------------------------------------------------

    def _clock(self) -> float:
        return (time.monotonic() - self._began) * self.time_scale

    def _later(self, time_s: float, happen: Callable[[], Sequence[Row]], *, works: bool = True) -> None:
        """Report the rows of ``happen`` at a time. ``works``: the run is not stalled while this is on its way."""
        heappush(self._due, (time_s, next(self._numbers), works, happen))

    def _arrivals(self) -> list[Row]:
        rows: list[Row] = []
        while self.arrived < len(self.jobs) and self.jobs.arrival_s[self.arrived] <= self._now:
            rows.append((self._now, Kind.ARRIVED, self.arrived, -1, 0.0, 0.0))
            self.arrived += 1
        return rows

    def _happened(self) -> list[Row]:
        rows: list[Row] = []
        while self._due and self._due[0][0] <= self._now:
            rows.extend(heappop(self._due)[3]())
        return rows

    def _wait(self) -> None:
        """Sleep until a worker speaks or something falls due."""
        due_s = self._due[0][0] if self._due else inf
        if self.arrived < len(self.jobs):
            due_s = min(due_s, float(self.jobs.arrival_s[self.arrived]))
        left_s = min(max((due_s - self._clock()) / self.time_scale, 0.0), _GLANCE_S)
        connections = [worker.connection for worker in self._workers.values()]
        if connections:
            wait(connections, left_s)
        else:
            time.sleep(left_s)

    def _stalled(self) -> bool:
        """Whether nothing but timers has gone on for too long: what waits will never be placed."""
        if self._workers or self.arrived < len(self.jobs) or any(entry[2] for entry in self._due):
            self._last_work = time.monotonic()
        return time.monotonic() - self._last_work > self.stall_s

    # -- workers -----------------------------------------------------------------------------------------------------

    def _heard(self) -> list[Row]:
        """What workers have said, and which of them have died."""
        rows: list[Row] = []
        for job, worker in list(self._workers.items()):
            try:
                while job in self._workers and worker.connection.poll():
                    rows.extend(self._said(job, worker, worker.connection.recv()))
            except (EOFError, ConnectionResetError):
                rows.append(self._died(job, worker))
        return rows

    def _said(self, job: int, worker: _Worker, message: tuple[object, ...]) -> Sequence[Row]:
        word = message[0]
        if word == "started":
            worker.started_s = worker.saved_s = self._now
            return ((self._now, Kind.STARTED, job, worker.node, 0.0, 0.0),)
        if word == "saved":
            worker.saved_s = self._now
            self._saved_at[job] = self.fleet.pool_site[self._pool_of[worker.node]]
            return ()
        if word == "failed":
            raise LiveError(f"job {self.jobs.id[job]} failed: {message[1]}")
        self._end(job)
        if word == "stopped":
            self._saved_at[job] = self.fleet.pool_site[self._pool_of[worker.node]]
        if word == "stopped" or worker.stopped_s < inf:  # the stop may have crossed with the end
            return ((self._now, Kind.PREEMPTED, job, -1, 0.0, 0.0),)
        _, steps, loss, sha256 = message
        assert isinstance(steps, int) and isinstance(loss, float) and isinstance(sha256, str)
        self.reports[job] = Report(steps, loss, sha256)
        self._unfinished -= 1
        return ((self._now, Kind.FINISHED, job, -1, 0.0, 0.0),)

    def _died(self, job: int, worker: _Worker) -> Row:
        """A worker's process is gone without a word."""
        status = worker.process.wait()
        self._end(job)
        self._losses[job] = self._losses.get(job, 0) + 1
        if self._losses[job] > self.max_losses:
            raise LiveError(
                f"job {self.jobs.id[job]}: its worker died {self._losses[job]} times, last with status {status};"
                f" executor.max_losses is {self.max_losses}"
            )
        ran_until_s = min(worker.stopped_s, self._now)
        lost_s = max(ran_until_s - worker.saved_s, 0.0) if worker.started_s < inf else 0.0
        return (self._now, Kind.LOST, job, worker.node, lost_s, 0.0)

    def _end(self, job: int) -> None:
        """No process of that job is left when this returns."""
        worker = self._workers.pop(job)
        worker.process.kill()
        worker.process.wait()
        worker.connection.close()

    def _launch(self, job: int, allocation: Allocation) -> None:
        node, mask, _ = allocation[0]
        devices = [self._first_device[node] + i for i in range(mask.bit_length()) if mask >> i & 1]
        cores = tuple(sorted({self._cores[device % len(self._cores)] for device in devices}))
        interval_s = float(self.jobs.checkpoint_interval_s[job])
        task = Task(
            job,
            self.seed,
            self.steps[job],
            cores,
            len(devices),
            interval_s / self.time_scale if isfinite(interval_s) else inf,
            str(Path(self._folder.name) / f"{job}.pt"),
        )
        ours, theirs = Pipe()
        process = subprocess.Popen([sys.executable, "-c", _WORKER, str(theirs.fileno())], pass_fds=[theirs.fileno()])
        theirs.close()  # so that our end breaks when the worker dies
        self._workers[job] = _Worker(process, ours, node)
        ours.send(task)

    # -- orders ------------------------------------------------------------------------------------------------------

    def _start(self, job: int, allocation: Allocation, _: float) -> Sequence[Row]:
        """Its data and checkpoint come first, if they are elsewhere; then a worker starts."""
        if len(allocation) > 1:
            raise InputError(f"executor=local: job {self.jobs.id[job]} is placed on several nodes, expected one")
        site = self.fleet.pool_site[self._pool_of[allocation[0][0]]]
        rows: list[Row] = []
        delay_s = 0.0
        home = int(self.jobs.dataset_site[job])
        if home >= 0 and self._home[home] != site and (job, site) not in self._staged:
            delay_s = self._transfer(rows, job, self._home[home], site, float(self.jobs.dataset_bytes[job]))
        saved = self._saved_at.get(job, site)
        if saved != site and self.jobs.checkpoint_bytes[job] > 0:
            delay_s = max(delay_s, self._transfer(rows, job, saved, site, float(self.jobs.checkpoint_bytes[job])))
        if delay_s <= 0.0:
            self._launch(job, allocation)
            return rows
        start = self._coming[job] = (next(self._numbers), allocation[0][0])

        def come() -> Sequence[Row]:
            if self._coming.get(job) == start:
                del self._coming[job]
                self._staged.add((job, site))
                self._launch(job, allocation)
            return ()

        self._later(self._now + delay_s, come)
        return rows

    def _transfer(self, rows: list[Row], job: int, source: int, target: int, size_bytes: float) -> float:
        link = self.fleet.link(source, target)
        rows.append((self._now, Kind.TRANSFERRING, job, source, size_bytes, float(target)))
        return 0.0 if link is None else link.latency_s + size_bytes / link.bytes_per_s

    def _drain(self, job: int, _: Allocation, checkpoint: float) -> Sequence[Row]:
        worker = self._workers.get(job)
        if worker is None:  # its data were still on their way
            self._coming.pop(job, None)
            return ((self._now, Kind.PREEMPTED, job, -1, 0.0, 0.0),)
        worker.stopped_s = self._now
        if checkpoint and worker.started_s < inf:
            with suppress(BrokenPipeError, ConnectionResetError):  # it has ended or died: what it said is read next
                worker.connection.send("stop")
            return ()
        lost_s = self._now - worker.saved_s if worker.started_s < inf else 0.0
        self._end(job)
        return ((self._now, Kind.PREEMPTED, job, -1, max(lost_s, 0.0), 0.0),)

    def _kill(self, job: int, _: Allocation, value: float) -> Sequence[Row]:
        self._coming.pop(job, None)
        if job in self._workers:
            self._end(job)
        return ((self._now, Kind.LOST, job, -1, 0.0, 0.0),)

    def _boot(self, node: int, _: Allocation, value: float) -> Sequence[Row]:
        """Injected: the boot time that the simulation would draw for this node and time."""
        pool = self.fleet.pools[self._pool_of[node]]
        slot = int(self._now // 300.0)
        seconds = lognormal(pool.boot_s, pool.boot_cv, uniform(self.seed, _BOOT, node, slot))
        number = self._boots[node] = next(self._numbers)

        def come() -> Sequence[Row]:
            if self._boots.get(node) != number:
                return ()
            del self._boots[node]
            return ((self._now, Kind.NODE_UP, node, -1, 0.0, 0.0),)

        self._later(self._now + seconds, come)
        return ()

    def _halt(self, node: int, _: Allocation, value: float) -> Sequence[Row]:
        return ((self._now, Kind.NODE_OFF, node, -1, 0.0, 0.0),)

    def _budget(self, number: int, _: Allocation, value: float) -> Sequence[Row]:
        self._later(value, lambda: ((self._now, Kind.BUDGET, number, -1, 0.0, 0.0),), works=False)
        return ()

    def _stop(self, node: int, _: Allocation, value: float) -> Sequence[Row]:
        """A rented node goes with what runs on it, which falls back to its last checkpoint; one that boots, alone."""
        if self._boots.pop(node, None) is not None:
            return ((self._now, Kind.NODE_OFF, node, -1, 1.0, 0.0),)
        rows: list[Row] = [(self._now, Kind.NODE_DOWN, node, -1, 2.0, 0.0)]
        for job, worker in [(j, w) for j, w in self._workers.items() if w.node == node]:
            lost_s = max(self._now - worker.saved_s, 0.0) if worker.started_s < inf else 0.0
            self._end(job)
            rows.append((self._now, Kind.LOST, job, node, lost_s, 0.0))
        for job in [job for job, (_, at) in self._coming.items() if at == node]:
            del self._coming[job]
            rows.append((self._now, Kind.LOST, job, node, 0.0, 0.0))
        return [*rows, (self._now, Kind.NODE_OFF, node, -1, 0.0, 0.0)]

    def _watch(self, node: int, _: Allocation, value: float) -> Sequence[Row]:
        self._later(self._now + value, lambda: ((self._now, Kind.IDLE, node, -1, 0.0, 0.0),), works=False)
        return ()

    def _stage(self, job: int, _: Allocation, value: float) -> Sequence[Row]:
        site, home = int(value), int(self.jobs.dataset_site[job])
        if home < 0 or self._home[home] == site or (job, site) in self._staged:
            return ((self._now, Kind.STAGED, job, site, 0.0, 0.0),)
        rows: list[Row] = []
        seconds = self._transfer(rows, job, self._home[home], site, float(self.jobs.dataset_bytes[job]))

        def arrive() -> Sequence[Row]:
            self._staged.add((job, site))
            return ((self._now, Kind.STAGED, job, site, 0.0, 0.0),)

        self._later(self._now + seconds, arrive)
        return rows

    def _hold(self, job: int, _: Allocation, value: float) -> Sequence[Row]:
        self._later(value, lambda: ((self._now, Kind.RESUMED, job, -1, 0.0, 0.0),))
        return ()

    def _forget(self, job: int, _: Allocation, value: float) -> Sequence[Row]:
        self._unfinished -= 1
        return ()

    def _lease(self, job: int, _: Allocation, value: float) -> Sequence[Row]:
        number = self._leases[job] = next(self._numbers)

        def end() -> Sequence[Row]:
            if self._leases.get(job) != number:
                return ()
            del self._leases[job]
            rows: list[Row] = [(self._now, Kind.LEASE_ENDED, job, -1, 0.0, 0.0)] if value else []
            if not self._leases:
                rows.append((self._now, Kind.ALL_LEASES_ENDED, 0, -1, 0.0, 0.0))
            return rows

        if value < inf:
            self._later(self._now + value, end)
        return ()

    _orders: ClassVar[dict[int, Callable[[LocalExecutor, int, Allocation, float], Sequence[Row]]]] = {
        Do.START: _start,
        Do.DRAIN: _drain,
        Do.KILL: _kill,
        Do.BOOT: _boot,
        Do.HALT: _halt,
        Do.WATCH: _watch,
        Do.STAGE: _stage,
        Do.HOLD: _hold,
        Do.FORGET: _forget,
        Do.LEASE: _lease,
        Do.BUDGET: _budget,
        Do.STOP: _stop,
    }
