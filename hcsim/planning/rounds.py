"""Rounds as in Gavel: every few minutes those jobs run that are furthest behind the share of time that a policy gives
them, each on one GPU type (here: a pool).

Rules: Narayanan et al., Gavel, OSDI 2020, sections 3 and 5, with the details of the authors' simulator. A policy gives
X, the share of time of each job on each pool. X is computed anew when jobs or nodes have come or gone, at least
``reset_s`` after the last time. In every round the priority of a job on a pool is X / f, f being the part of all time
given there since X was computed that the job had; both begin with half a round each. Pools take jobs in order of
priority, by their number of GPUs, and pass over what does not fit.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from hcsim.books import Status
from hcsim.events import Kind
from hcsim.model import InputError
from hcsim.plan import Plan
from hcsim.strategy import RememberingStrategy, on
from hcsim.view import View

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cluster:
    """What a policy sees when it computes shares.

    Args:
        view: of now.
        jobs: numbers of the jobs that have not ended, ascending, shape (m,).
        throughput: iterations per second of each on each pool, 0 where it does not run, shape (m, k).
        gangs: GPUs that each takes, shape (m,).
        gpus: GPUs that each pool has or could rent, shape (k,).
        weights: of the jobs, shape (m,).
    """

    view: View
    jobs: list[int]
    throughput: Floats
    gangs: Floats
    gpus: Floats
    weights: Floats

    @property
    def prices_usd(self) -> Floats:
        """Of a GPU-hour in each pool, shape (k,)."""
        return np.array([self.view.price_usd(p) for p in range(len(self.gpus))])

    @property
    def iterations_left(self) -> Floats:
        """By the estimates, shape (m,). Raises like :meth:`hcsim.View.remaining_s`."""
        view = self.view
        out = np.zeros(len(self.jobs))
        for i, job in enumerate(self.jobs):
            p = int(np.argmax(self.throughput[i]))
            out[i] = view.remaining_s(job) * self.throughput[i, p] / view.speed(p, job)
        return out


class Round(NamedTuple):
    """What is remembered from one decision to the next; rows are those of ``jobs``."""

    began_s: float = -inf
    ended_s: float = 0.0  # when the last round was over in which anything ran
    reset_s: float = -inf
    changed: bool = False
    jobs: tuple[int, ...] = ()
    gpus: tuple[float, ...] = ()  # of each pool, when shares were computed
    rate: Floats = np.zeros((0, 0))  # iterations per second, 0 where a job does not run
    shares: Floats = np.zeros((0, 0))
    received_s: Floats = np.zeros((0, 0))
    deficit_s: Floats = np.zeros((0, 0))
    total_s: Floats = np.zeros(0)  # time given per pool, W
    chosen: tuple[tuple[int, int], ...] = ()  # (job, pool) of this round, in the order in which they were taken
    before_gpu_s: tuple[float, ...] = ()  # what each of them had had before
    todo: tuple[tuple[int, int], ...] = ()  # (job, pool) that are still to be placed in this round
    rounds: int = 0  # how many there were before this one
    kept: Any = None  # what the policy remembers


@dataclass(frozen=True)
class RoundBased(RememberingStrategy[Round]):
    """A policy of shares. Subclasses define :meth:`shares`.

    Args:
        round_s: how long a round lasts; it ends early when all that ran in it has ended.
        reset_s: least time between two computations of the shares.
        weights: of the tenants by number, 1 for those that are not named.
        quirks: do as the authors' simulator does where that is an artefact. A round's work is cut to whole iterations,
            and the rest of the round is idle; jobs for which no share has been computed yet take GPUs in a round, and
            leave them idle; a gap in which nothing ran counts as time of those who run next; a reset at time 0 counts
            for none; and the order of pools is drawn by Python's generator, from ``shuffle_seed``.
    """

    round_s: float = 360.0
    reset_s: float = 1920.0
    weights: tuple[float, ...] = ()
    quirks: bool = False
    shuffle_seed: int = 5

    wake = on(Kind.ARRIVED, Kind.LEASE_ENDED, Kind.ALL_LEASES_ENDED, Kind.PREEMPTED, Kind.LOST, Kind.NODE_UP)
    #: Whether what others leave goes to jobs without a share.
    fills: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))
        for name in ("round_s", "reset_s"):
            if not 0 < getattr(self, name) < inf:
                raise InputError(f"strategy.{name} is {getattr(self, name)}, expected a finite number > 0")
        for tenant, weight in enumerate(self.weights):
            if not 0 < weight < inf:
                raise InputError(f"strategy.weights.{tenant} is {weight}, expected a finite number > 0")

    @property
    def shuffled(self) -> bool:
        """Whether pools are taken in a new random order in every round, as for policies that know no throughputs."""
        return False

    @abstractmethod
    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        """X, shape (m, k), and what to remember until the next time (None at first)."""

    def initial(self, view: View) -> Round:
        """Nothing has run."""
        k = len(view.pools)
        none = np.zeros((0, k))
        return Round(rate=none, shares=none, received_s=none, deficit_s=none, total_s=np.zeros(k))

    def decide(self, view: View, memory: Round) -> tuple[Plan, Round]:
        plan = view.plan()
        for job in [job for job in view.waiting if not view.gpus[job]]:  # without GPUs it takes none from anybody
            if (where := plan.first_fit(job)) is not None:
                plan.place(job, where)
        if view.leases or view.now == memory.began_s:
            return plan, self._within(view, plan, memory)
        return plan, self._next(view, plan, memory)

    # -- within a round ----------------------------------------------------------------------------------------------

    def _within(self, view: View, plan: Plan, memory: Round) -> Round:
        """Stop who has done all of a round's whole iterations; place who had to make way first."""
        if self.quirks and view.now > memory.began_s:
            for job in [job for job in view.claims if view.gpus[job] and job not in view.leases]:
                plan.preempt(job)
        left = tuple(
            (job, p)
            for job, p in memory.todo
            if view.status(job) is not Status.WAITING or not self._place(view, plan, job, p)
        )
        return memory if left == memory.todo else memory._replace(todo=left)

    def _place(self, view: View, plan: Plan, job: int, p: int) -> bool:
        where = plan.first_fit(job, (p,))
        return where is not None and plan.place(job, where, self._lease_s(view, job, p))

    def _lease_s(self, view: View, job: int, p: int) -> float:
        if not self.quirks:
            return self.round_s
        rate = view.throughput(job, p)
        return int(rate * self.round_s) / rate

    # -- a new round -------------------------------------------------------------------------------------------------

    def _next(self, view: View, plan: Plan, memory: Round) -> Round:
        now = view.now
        memory = self._credited(view, memory)
        drain = (j for j in memory.jobs if view.status(j) is Status.DRAINING)
        jobs = sorted({j for j in (*view.waiting, *view.claims) if view.gpus[j]}.union(drain))
        if not jobs:
            rounds = memory.rounds + bool(memory.jobs)  # one without jobs
            return memory._replace(jobs=(), todo=(), changed=memory.changed or bool(memory.jobs), rounds=rounds)
        memory = self._aligned(view, memory, tuple(jobs))
        gangs = np.array([view.gpus[j] * view.milli[j] / 1000.0 for j in jobs])
        rate = memory.rate
        gpus = _gpus(view)
        reset_at_s = memory.reset_s if memory.reset_s or not self.quirks else -inf
        idle = not any(view.gpus[j] for j in view.claims) and not self.quirks  # then there is nothing to wait for
        if (memory.changed or memory.gpus != tuple(gpus)) and (idle or now - reset_at_s >= self.reset_s):
            weights = np.array([self._weight(view.tenant[j]) for j in jobs])
            cluster = Cluster(view, jobs, rate, gangs, gpus, weights)
            shares, kept = self.shares(cluster, plan, memory.kept)
            elapsed_s = now - memory.reset_s if memory.reset_s > -inf else 0.0
            due_s = np.maximum(memory.shares, 0.0) * elapsed_s
            deficit = memory.deficit_s + (due_s - (memory.received_s - self.round_s / 2))
            memory = memory._replace(
                reset_s=now, changed=False, gpus=tuple(gpus), shares=np.clip(shares, 0.0, 1.0), deficit_s=deficit,
                received_s=np.full_like(memory.received_s, self.round_s / 2),
                total_s=np.full(len(gpus), self.round_s / 2 * len(jobs)), kept=kept,
            )  # fmt: skip
        chosen = self._admitted(memory, gangs, rate, gpus, self._order(view, gpus, memory.rounds))
        before = tuple(view.attained_gpu_s(job) for job, _ in chosen)
        starts, todo = self._started(view, plan, gangs, jobs, chosen)
        if not starts:
            wait_s = self.round_s if todo or not self.quirks else max(self.round_s, memory.reset_s + self.reset_s - now)
            plan.wake_at(now + wait_s)
        return memory._replace(
            began_s=now, chosen=tuple(chosen), before_gpu_s=before, todo=tuple(todo), rounds=memory.rounds + 1
        )

    def _weight(self, tenant: int) -> float:
        return self.weights[tenant] if tenant < len(self.weights) else 1.0

    def _credited(self, view: View, memory: Round) -> Round:
        """Add the time that jobs had in the round that is over."""
        if not memory.chosen:
            return memory
        received, total = memory.received_s.copy(), memory.total_s.copy()
        row = {job: i for i, job in enumerate(memory.jobs)}
        for (job, p), before in zip(memory.chosen, memory.before_gpu_s, strict=True):
            status = view.status(job)
            ran_s = (view.attained_gpu_s(job) - before) / (view.gpus[job] * view.milli[job] / 1000.0)
            if status is Status.FINISHED or (self.quirks and ran_s > 0):
                start_s = memory.ended_s if self.quirks else memory.began_s
                ran_s = (view.now if status is Status.RUNNING else view.since_s(job)) - start_s
            received[row[job], p] += ran_s
            total[p] += ran_s
        return memory._replace(received_s=received, total_s=total, chosen=(), ended_s=view.now)

    def _aligned(self, view: View, memory: Round, jobs: tuple[int, ...]) -> Round:
        """The memory with a row for each of these jobs."""
        if jobs == memory.jobs:
            return memory
        row = {job: i for i, job in enumerate(memory.jobs)}
        old = [(i, row[job]) for i, job in enumerate(jobs) if job in row]
        to, of = [i for i, _ in old], [i for _, i in old]
        k = memory.shares.shape[1]
        columns = {"rate": 0.0, "shares": -1.0, "received_s": self.round_s / 2, "deficit_s": 0.0}
        new = {name: np.full((len(jobs), k), default) for name, default in columns.items()}
        for name, column in new.items():
            column[to] = getattr(memory, name)[of]
        for i, job in enumerate(jobs):
            if job not in row:
                for p in view.allowed_pools(job):
                    new["rate"][i, p] = view.throughput(job, p)
        more: dict[str, Any] = {**new}
        return memory._replace(jobs=jobs, changed=True, **more)

    def _order(self, view: View, gpus: Floats, number: int) -> list[int]:
        """The order in which pools take their jobs."""
        order = [p for p, count in enumerate(gpus) if count > 0]
        if not self.shuffled:
            return order
        if not self.quirks:
            return sorted(order, key=view.uniform)
        return [order[i] for i in _Shuffles.of(self.shuffle_seed, len(order)).number(number)]

    def _admitted(
        self, memory: Round, gangs: Floats, rate: Floats, gpus: Floats, order: list[int]
    ) -> list[tuple[int, int]]:
        """(job, pool) of those that run in this round, in the order in which they are taken."""
        shares, unknown = np.maximum(memory.shares, 0.0), memory.shares[:, 0] < 0
        with np.errstate(divide="ignore", invalid="ignore"):
            priority = np.where((shares > 0) & (rate > 0), shares / (memory.received_s / memory.total_s), 0.0)
        may = rate > 0 if self.fills else priority > 0
        rank = np.lexsort((-shares, -memory.deficit_s, -priority), axis=0)  # stable: else by number
        size, free = gangs.tolist(), np.ones(len(gangs), bool)
        chosen = []
        for p in order:
            left = gpus[p] + 1e-9
            rows = rank[:, p]
            for i in rows[may[rows, p] & free[rows]].tolist():
                if size[i] <= left:
                    left -= size[i]
                    free[i] = False
                    if not (self.quirks and unknown[i]):
                        chosen.append((memory.jobs[i], p))
        return chosen

    def _started(
        self, view: View, plan: Plan, gangs: Floats, jobs: list[int], chosen: list[tuple[int, int]]
    ) -> tuple[bool, list[tuple[int, int]]]:
        """Stop who is not to run, let go on who stays, place the others, larger gangs first; whether anything runs, and
        who is still to be placed."""
        wanted, starts, todo = dict(chosen), False, []
        stays = set()
        for job, allocation in list(view.claims.items()):
            if wanted.get(job) == view.pool_of(allocation[0][0]):
                stays.add(job)
            elif view.gpus[job]:
                plan.preempt(job)
        size = dict(zip(jobs, gangs.tolist(), strict=True))
        crowded: dict[int, float] = {}  # pool -> the largest gang that finds no nodes
        for job, p in sorted(chosen, key=lambda each: (-size[each[0]], each[0])):
            if job in stays:
                continue
            if view.status(job) is Status.WAITING:
                if self._place(view, plan, job, p):
                    starts = True
                    continue
                crowded.setdefault(p, size[job])
            todo.append((job, p))
        for job in sorted(stays):
            p = wanted[job]
            if size[job] < crowded.get(p, 0.0):  # it makes way, so that the larger one finds whole nodes
                plan.preempt(job)
                todo.append((job, p))
            else:
                plan.renew(job, self._lease_s(view, job, p))
                starts = True
        return starts, sorted(todo, key=lambda each: (-size[each[0]], each[0]))


class _Shuffles:
    """Orders of so many things as Python's generator shuffles them one after the other; each is worked out once."""

    def __init__(self, seed: int, count: int) -> None:
        self._dice, self._count, self._made = random.Random(seed), count, list[list[int]]()

    @staticmethod
    @lru_cache(maxsize=64)
    def of(seed: int, count: int) -> _Shuffles:
        return _Shuffles(seed, count)

    def number(self, number: int) -> list[int]:
        while len(self._made) <= number:
            order = list(range(self._count))
            self._dice.shuffle(order)
            self._made.append(order)
        return self._made[number]


def _gpus(view: View) -> Floats:
    """GPUs of each pool that are up, or could be rented."""
    held = [float(view.pool_claimable_gpus(p)) for p in range(len(view.pools))]
    for job, allocation in view.claims.items():
        held[view.pool_of(allocation[0][0])] += view.gpus[job] * view.milli[job] / 1000.0
    return np.array(held)


def isolated(gangs: Floats, gpus: Floats) -> Floats:
    """Shares of m jobs that each have 1/m of every pool, at most all of their time in all; shape (m, k)."""
    shares = gpus[None, :] / (len(gangs) * gangs[:, None])
    out: Floats = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1.0)
    return out
