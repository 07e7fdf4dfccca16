"""What the closed forms are played with: draws, fleets, and strategies that only they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from hcsim.control import run
from hcsim.fleet import Fleet, NodePool, Site
from hcsim.log import Log
from hcsim.model import Jobs
from hcsim.plan import Plan
from hcsim.rng import stream, uniforms
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategy import AnyStrategy, Strategy, while_waiting
from hcsim.view import View

Floats = npt.NDArray[np.float64]
N, WARM, HOUR_S = 12_000, 2_000, 3600.0


def draws(seed: int, name: str, n: int = N) -> Floats:
    """Uniform numbers of a stream."""
    return uniforms(seed, stream(name), np.arange(n))


def arrivals(seed: int, rate: float, n: int = N) -> Floats:
    """A Poisson process."""
    out: Floats = np.cumsum(-np.log(draws(seed, "arrival", n)) / rate)
    return out


def exponentials(seed: int, mean: float = 1.0, name: str = "service", n: int = N) -> Floats:
    """Exponential variates."""
    out: Floats = -mean * np.log(draws(seed, name, n))
    return out


def service(seed: int, scv: float) -> Floats:
    """Service times of mean 1: constant (0), exponential (1), else hyperexponential with balanced means."""
    if scv == 0.0:
        return np.ones(N)
    if scv == 1.0:
        return exponentials(seed)
    p = (1 + np.sqrt((scv - 1) / (scv + 1))) / 2
    out: Floats = exponentials(seed) / np.where(draws(seed, "phase") < p, 2 * p, 2 * (1 - p))
    return out


def play(strategy: AnyStrategy, fleet: Fleet, jobs: Jobs, seed: int = 0, **options: Any) -> npt.NDArray[Any]:
    """The rows of a run with true run times as estimates."""
    log = Log()
    run(
        Simulation(fleet, jobs, seed=seed, **options),
        strategy,
        State(fleet, jobs, None, jobs.duration_s.data, seed),
        log,
    )
    return log.array()


def owned(nodes: int, **more: Any) -> Fleet:
    """Nodes of one GPU each."""
    return Fleet((Site("home", (NodePool("own", "A100", 1, nodes, 1.0, **more),)),), name="owned")


def cloud_beside(nodes: int) -> Fleet:
    """So many own nodes (none: 0), and as many as one likes to rent."""
    rented = NodePool("rent", "A100", 1, 400, 4.0, "on_demand", idle_release_s=0.0)
    cloud = Site("cloud", (rented,), kind="cloud")
    home = [Site("home", (NodePool("own", "A100", 1, nodes, 1.0),))] if nodes else []
    return Fleet((*home, cloud), name="hybrid")


def overlap(begin_s: Floats, end_s: Floats, window: tuple[float, float]) -> float:
    """Mean number of intervals that are open at a time of a window."""
    low, high = window
    return float((np.clip(end_s, low, high) - np.clip(begin_s, low, high)).sum() / (high - low))


def half_width(samples: Floats) -> float:
    """Half the 99 % interval of the mean of independent samples."""
    return float(student.ppf(0.995, len(samples) - 1) * samples.std(ddof=1) / np.sqrt(len(samples)))


# -- strategies that only these cases need -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Impatient(Strategy):
    """First come, first served on own nodes; from its deadline on a job rents."""

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        own, rented = (0,), (1,)
        for job in plan.placeable(view.waiting, own):
            plan.place(job, plan.first_fit(job, own))
        placed = plan.placed()
        for job in view.waiting_by(_deadline(view)):
            if job in placed:
                continue
            if view.deadline_s[job] > view.now:
                plan.wake_at(view.deadline_s[job])
                break
            plan.place(job, plan.first_fit(job, rented))
        return plan


@dataclass(frozen=True)
class _deadline:
    view: View

    def __call__(self, job: int) -> float:
        return float(self.view.deadline_s[job])


@dataclass(frozen=True)
class Priorities(Strategy):
    """Higher priority first, first come, first served within one; with ``preempts`` lower ones make way and go on."""

    preempts: bool = False

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in view.waiting_by(_priority(view)):
            where = plan.first_fit(job)
            lower = [j for j in view.claims if view.priority[j] < view.priority[job]]
            if where is None and self.preempts and lower:
                plan.preempt(lower[0])
                where = plan.first_fit(job)
            if where is None:
                break
            plan.place(job, where)
        return plan


@dataclass(frozen=True)
class _priority:
    view: View

    def __call__(self, job: int) -> float:
        return -float(self.view.priority[job])
