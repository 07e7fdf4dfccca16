"""For authors of strategies: tiny worlds, and a check that a strategy keeps the contract.

Like a gym's environment checker: ``check_strategy(MyStrategy())`` returns, or raises :class:`CheckFailed` with one line
that says what is wrong.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.constraints import Rule
from hcsim.events import Kind
from hcsim.model import Fleet, InputError, Jobs
from hcsim.plan import Plan
from hcsim.strategy import AnyStrategy, RememberingStrategy, Strategy, shape_fault
from hcsim.tiny import EVENTS, Event, tiny_fleets, tiny_jobs
from hcsim.view import View

if TYPE_CHECKING:
    from hcsim.log import Log
    from hcsim.sim import Simulation

#: A strategy that decides more often than this in a tiny world is taken to do so for ever.
MOST_DECISIONS = 100_000


class CheckFailed(AssertionError):
    """A strategy broke the contract: one line that says how, and in which tiny world."""


def check_strategy(strategy: AnyStrategy) -> None:
    """Run a strategy in tiny worlds and return if it keeps the contract.

    It must be a frozen, hashable dataclass; return a plan at every decision; decide the same for the same seed, in
    another process too; keep nothing on itself; read run-time estimates only if it declares so; know nothing of the
    future (run times, arrivals, prices and failures after a time do not move decisions before it); ask for nothing that
    hard rules refuse; and let every job finish that it does not reject or hold.

    Raises:
        CheckFailed: one line with what is wrong and the tiny world in which it shows.
    """
    _check_shape(strategy)
    before = _memory_of(strategy)
    hashes = {}
    for world in _worlds():
        log = world.run(strategy)
        hashes[world.name] = log.sha256
        rows = log.array()
        world.require(_memory_of(strategy) == before, strategy, "keeps state on itself: its attributes changed")
        again = world.run(strategy)
        world.require(again.sha256 == log.sha256, strategy, "decides differently when run again with the same seed")
        reason = violation(log, world.fleet, world.jobs)
        world.require(not reason, strategy, reason)
        _check_outcome(world, strategy, rows)
        if "runtime" not in strategy.needs:
            other = world.run(strategy, estimate_s=world.estimate_s[::-1].copy())
            why = "its decisions depend on run-time estimates: declare needs = frozenset({'runtime'})"
            world.require(other.sha256 == log.sha256, strategy, why)
        wakes = rows["time_s"][rows["kind"] == Kind.WAKE]
        for t in np.unique(wakes[[len(wakes) * k // 6 for k in range(1, 6)]]) if len(wakes) else ():
            _check_future(world, strategy, rows, float(t))
    _check_elsewhere(strategy, hashes)


def violation(log: Log, fleet: Fleet, jobs: Jobs) -> str:
    """The first thing in a log that must not happen, in words; empty when there is none.

    Times go back; a job placed before it arrives, off its residency or GPU type, with the wrong gang size, started
    twice or on GPUs that others use, or doing anything after it has ended.
    """
    audit = _Audit(fleet, jobs)
    last = 0.0
    for time_s, kind, job, node, value, detail in log.array().tolist():
        if time_s < last:
            return f"time goes back from {last:g} s to {time_s:g} s"
        last = time_s
        reason = audit.see(time_s, kind, job, node, int(value), int(detail)) if kind in _Audit.KINDS else ""
        if reason:
            return f"job {job} {reason} (t = {time_s:g} s)"
    return ""


class _Audit:
    """Who holds which GPUs, from the rows of a log."""

    KINDS = frozenset(
        {Kind.ARRIVED, Kind.PLACED, Kind.STARTED, Kind.DRAINING, Kind.PREEMPTED, Kind.LOST, Kind.FINISHED}
    )

    def __init__(self, fleet: Fleet, jobs: Jobs) -> None:
        self.fleet, self.jobs = fleet, jobs
        self.placed: dict[int, list[tuple[int, int, int]]] = {}
        self.running: dict[int, list[tuple[int, int, int]]] = {}
        self.used: dict[tuple[int, int], int] = {}  # (node, gpu) -> milli-GPU in use
        self.arrived: set[int] = set()
        self.ended: set[int] = set()

    def see(self, time_s: float, kind: int, job: int, node: int, mask: int, milli: int) -> str:
        """Take in one row of a job; what is wrong with it."""
        if job in self.ended:
            return f"is {Kind(kind).name} after it has finished"
        if kind == Kind.ARRIVED:
            self.arrived.add(job)
            return "" if time_s >= self.jobs.arrival_s[job] else "arrives too early"
        if job not in self.arrived:
            return f"is {Kind(kind).name} before it arrives"
        if kind == Kind.PLACED:
            self.placed.setdefault(job, []).append((node, mask, milli))
            return self._barred(job, node, mask)
        if kind == Kind.STARTED:
            if job in self.running:
                return "starts while it runs"
            return self._start(job)
        if kind == Kind.DRAINING:
            self.placed.pop(job, None)
            return ""
        if kind == Kind.FINISHED:
            if job not in self.running:
                return "finishes without having started"
            self.ended.add(job)
        elif kind == Kind.LOST:
            self.placed.pop(job, None)
        for node, mask, milli in self.running.pop(job, ()):
            for gpu in _bits(mask):
                self.used[node, gpu] -= milli
        return ""

    def _start(self, job: int) -> str:
        parts = self.placed.pop(job, [])
        held = sum(mask.bit_count() for _, mask, _ in parts)
        if not self.jobs.min_gpus[job] <= held <= self.jobs.max_gpus[job]:
            return f"starts on {held} GPUs, asked for {self.jobs.gpus[job]}"
        self.running[job] = parts
        for node, mask, milli in parts:
            for gpu in _bits(mask):
                self.used[node, gpu] = self.used.get((node, gpu), 0) + milli
                if self.used[node, gpu] > 1000:
                    return f"starts on GPU {gpu} of node {node}, which is in use"
        return ""

    def _barred(self, job: int, node: int, mask: int) -> str:
        fleet, jobs = self.fleet, self.jobs
        p = fleet.node_pool[node]
        jurisdiction = fleet.sites[fleet.pool_site[p]].jurisdiction
        if jobs.residency[job] >= 0 and jurisdiction not in jobs.residencies[jobs.residency[job]].split("|"):
            return f"is placed in {jurisdiction}, outside its residency"
        if jobs.gpu_type[job] >= 0 and fleet.pools[p].gpu not in jobs.gpu_types[jobs.gpu_type[job]].split("|"):
            return f"is placed on {fleet.pools[p].gpu}, on which it does not run"
        if mask < bool(jobs.gpus[job]) or mask >> fleet.pools[p].gpus_per_node:
            return f"is placed on GPUs that node {node} does not have"
        return ""


def _bits(mask: int) -> list[int]:
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


@dataclass(frozen=True)
class _World:
    """A tiny world and how to run a strategy in it."""

    name: str
    fleet: Fleet
    jobs: Jobs
    events: tuple[Event, ...]

    @property
    def estimate_s(self) -> npt.NDArray[np.float64]:
        """Estimates that do not move with the true run times of a perturbed world."""
        return np.array([600.0 * (1 + (7 * i) % 5) for i in range(len(self.jobs))])

    def run(self, strategy: AnyStrategy, estimate_s: npt.NDArray[np.float64] | None = None) -> Log:
        """The log of a run, or CheckFailed."""
        from hcsim.control import StrategyError, run
        from hcsim.log import Log
        from hcsim.sim import Simulation
        from hcsim.state import State

        estimates = self.estimate_s if estimate_s is None else estimate_s
        log = Log()
        state = State(self.fleet, self.jobs, estimate_s=estimates.data, seed=11)
        executor = Simulation(self.fleet, self.jobs, seed=11, processes=(self._process,), stall_s=2 * 86400.0)
        try:
            run(executor, _watched(strategy), state, log)
        except StrategyError as error:
            cause = error.__cause__
            if isinstance(cause, CheckFailed):
                raise CheckFailed(f"{strategy.name} {cause} (tiny world '{self.name}')") from None
            if isinstance(cause, InputError) and "run-time estimates" in str(cause) and "runtime" not in strategy.needs:
                reason = "reads run-time estimates without declaring needs = frozenset({'runtime'})"
                raise CheckFailed(f"{strategy.name} {reason} (tiny world '{self.name}')") from None
            raise CheckFailed(f"{error} (tiny world '{self.name}')") from error
        log.flush(everything=True)
        return log

    def _process(self, world: Simulation) -> Generator[Any, Any, None]:
        for event in self.events:
            yield world.timeout(event.time_s - world.now)
            getattr(world, event.what)(*event.args)

    def require(self, ok: bool, strategy: AnyStrategy, reason: str) -> None:
        """Raise CheckFailed unless ``ok``."""
        if not ok:
            raise CheckFailed(f"{strategy.name}: {reason} (tiny world '{self.name}')")


def _worlds() -> list[_World]:
    jobs = tiny_jobs()
    return [_World(name, fleet, jobs[name], EVENTS.get(name, ())) for name, fleet in tiny_fleets().items()]


def _check_shape(strategy: AnyStrategy) -> None:
    fault = shape_fault(strategy)
    if not fault:
        try:
            hash(strategy)
        except TypeError as error:
            fault = f"cannot be hashed ({error}): use tuples for its fields"
    if not fault and dataclasses.replace(strategy) != strategy:  # type: ignore[type-var]
        fault = "does not equal its own copy"
    if fault:
        raise CheckFailed(f"{type(strategy).__name__} {fault}")


def _check_outcome(world: _World, strategy: AnyStrategy, rows: npt.NDArray[Any]) -> None:
    """Nothing was refused, and every job ended."""
    refused = rows[rows["kind"] == Kind.REFUSED]
    if len(refused):
        row = refused[0]
        from hcsim.actions import Verb

        verb, rule = Verb(int(row["node"])).name.lower(), Rule(int(row["value"])).name
        reason = f"asks to {verb} {row['subject']} at t = {row['time_s']:g} s, which rule {rule} refuses"
        world.require(False, strategy, f"{reason} ({len(refused)} refusals; ask plan.fits or plan.first_fit)")
    excused = np.isin(rows["kind"], [Kind.FINISHED, Kind.REJECTED, Kind.HELD])
    left = sorted(set(range(len(world.jobs))) - set(rows["subject"][excused].tolist()))
    why = f"{len(left)} jobs never finish, the first is job {left[0] if left else ''}"
    world.require(not left, strategy, f"{why}, which the fleet could hold")


def _check_future(world: _World, strategy: AnyStrategy, rows: npt.NDArray[Any], until_s: float) -> None:
    """Change what happens after ``until_s`` and compare the logs up to then."""
    jobs, n = world.jobs, len(world.jobs)
    known = rows[rows["time_s"] <= until_s]
    ended = np.zeros(n, bool)
    ended[known["subject"][known["kind"] == Kind.FINISHED]] = True
    later = jobs.arrival_s > until_s
    number = np.arange(n)
    columns: dict[str, Any] = {
        "duration_s": np.where(ended, jobs.duration_s, jobs.duration_s * (1.2 + (number * 5 % 7) / 2.0)),
        "arrival_s": np.where(later, jobs.arrival_s + 31.0, jobs.arrival_s),
        "gpus": np.where(later, 1, jobs.gpus).astype(np.int32),
        "min_gpus": np.where(later, 1, jobs.min_gpus).astype(np.int32),
        "max_gpus": np.where(later, 1, jobs.max_gpus).astype(np.int32),
    }
    for column in columns.values():
        column.setflags(write=False)
    keep = ~later | (number % 3 > 0)
    events = tuple(
        dataclasses.replace(event, time_s=event.time_s + 45.0) if event.time_s > until_s else event
        for event in world.events
    )
    changed = dataclasses.replace(world, jobs=dataclasses.replace(jobs, **columns).take(keep), events=events)
    other = changed.run(strategy).array()
    other = other[other["time_s"] <= until_s]
    if len(other) == len(known) and (other == known).all():
        return
    size = min(len(other), len(known))
    differ = np.flatnonzero(other[:size] != known[:size])
    at = float(known["time_s"][differ[0]] if len(differ) else until_s)
    reason = f"knows the future: what happens after t = {until_s:g} s changes what it does at t = {at:g} s"
    world.require(False, strategy, reason)


#: Another interpreter: told where modules lie before it reads the strategy.
_ELSEWHERE = """
import pickle, sys
sys.path[:], strategy = pickle.load(sys.stdin.buffer)
from hcsim.testing import _hashes
_hashes(pickle.loads(strategy))
"""


def _check_elsewhere(strategy: AnyStrategy, hashes: dict[str, str]) -> None:
    """Run the tiny worlds in a process in which ``hash`` of a text, and so the order of a set, is another.

    The strategy travels by cloudpickle, so that one defined in a notebook or a function can as well.
    """
    import cloudpickle

    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    try:
        told = pickle.dumps((sys.path, cloudpickle.dumps(strategy)))
    except Exception as error:  # whatever an object of the user's own raises when it is pickled
        raise CheckFailed(f"{strategy.name}: cannot be sent to another process ({error})") from None
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE], input=told, capture_output=True, env=os.environ | {"PYTHONHASHSEED": seed}
    )
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines() or [f"status {done.returncode}"]
        raise CheckFailed(f"{strategy.name}: cannot be run in another process ({why[-1]})")
    there = json.loads(done.stdout.splitlines()[-1])
    for name, sha256 in hashes.items():
        if there[name] != sha256:
            reason = "decides differently in another process: does it depend on hash() or on the order of a set?"
            raise CheckFailed(f"{strategy.name}: {reason} (tiny world '{name}', PYTHONHASHSEED={seed})")


def _hashes(strategy: AnyStrategy) -> None:
    """Say what the logs of the tiny worlds hash to, on the last line of standard output."""
    sys.stdout.write("\n" + json.dumps({world.name: world.run(strategy).sha256 for world in _worlds()}))


def _memory_of(strategy: AnyStrategy) -> tuple[str, str]:
    """What a strategy, and its class, hold; to be compared with later."""
    own = vars(strategy) if hasattr(strategy, "__dict__") else {}
    shared = {
        key: value
        for key, value in vars(type(strategy)).items()
        if not key.startswith("__") and not callable(value) and not isinstance(value, (property, classmethod))
    }
    return repr(sorted(own.items())), repr(sorted((key, repr(value)) for key, value in shared.items()))


def _watched(strategy: AnyStrategy) -> AnyStrategy:
    """The strategy, watched for decisions without end and for memory that is changed in place."""
    if isinstance(strategy, RememberingStrategy):
        return _WatchedMemory(strategy)
    return _Watched(strategy)


class _Watched(Strategy):
    def __init__(self, inner: Strategy) -> None:
        self.__dict__.update(inner=inner, wake=inner.wake, needs=inner.needs)

    @property
    def name(self) -> str:
        name: str = self.__dict__["inner"].name
        return name

    def decide(self, view: View) -> Plan:
        _count(view)
        decide: Callable[[View], Plan] = self.__dict__["inner"].decide
        return decide(view)


class _WatchedMemory(RememberingStrategy[Any]):
    def __init__(self, inner: RememberingStrategy[Any]) -> None:
        self.__dict__.update(inner=inner, wake=inner.wake, needs=inner.needs)

    @property
    def name(self) -> str:
        name: str = self.__dict__["inner"].name
        return name

    def initial(self, view: View) -> Any:
        return self.__dict__["inner"].initial(view)

    def decide(self, view: View, memory: Any) -> tuple[Plan, Any]:
        _count(view)
        before = pickle.dumps(memory)
        answer: tuple[Plan, Any] = self.__dict__["inner"].decide(view, memory)
        if pickle.dumps(memory) != before:
            raise CheckFailed("changes its memory in place: return a new one")
        return answer


def _count(view: View) -> None:
    if view.decision > MOST_DECISIONS:
        raise CheckFailed(f"decides without end: {MOST_DECISIONS} times by t = {view.now:g} s")
