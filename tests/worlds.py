"""Small worlds that several tests share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hcsim import Fleet, Jobs, Link, NodePool, Perf, Plan, RememberingStrategy, Site, View, on_change
from hcsim.actions import Verb
from hcsim.constraints import Rule
from hcsim.control import run
from hcsim.events import Kind
from hcsim.log import Log
from hcsim.sim import Process, Simulation
from hcsim.state import State
from hcsim.strategy import AnyStrategy


def owned(nodes: int = 1, gpus: int = 8, **pool: Any) -> Fleet:
    """One owned pool."""
    return Fleet((Site("home", (NodePool("own", "A100", gpus, nodes, 1.0, **pool),), "us"),), name="owned")


def hybrid(own: int = 1, rent: int = 2, **pool: Any) -> Fleet:
    """An owned pool in the US and a rented one in the EU, nodes of four GPUs, linked both ways."""
    rented = {"market": "on_demand", "boot_s": 100.0, "idle_release_s": 50.0, "min_billing_s": 60.0} | pool
    return Fleet(
        (
            Site("home", (NodePool("own", "A100", 4, own, 1.0),), "us"),
            Site("cloud", (NodePool("rent", "A100", 4, rent, 4.0, **rented),), "eu", "cloud", "cloud"),
        ),
        (Link("home", "cloud", 1e9, 0.0, 0.02), Link("cloud", "home", 1e9, 0.0, 0.1)),
        name="hybrid",
    )


def jobs(*rows: tuple[float, float, int], **columns: Any) -> Jobs:
    """Jobs from (arrival_s, duration_s, gpus)."""
    arrival_s, duration_s, gpus = zip(*rows, strict=True)
    return Jobs.build(arrival_s=arrival_s, duration_s=duration_s, gpus=gpus, **columns)


def play(
    strategy: AnyStrategy, fleet: Fleet, work: Jobs, *processes: Process, seed: int = 0, perf: Perf | None = None
) -> Log:
    """A run with true run times as estimates."""
    log = Log()
    state = State(fleet, work, perf, work.duration_s.data, seed)
    run(Simulation(fleet, work, perf, seed, processes), strategy, state, log)
    return log


def story(log: Log, *kinds: str) -> list[tuple[float, str, int]]:
    """(time, kind, subject) of the rows of some kinds (default: all but WAKE)."""
    frame = log.frame()
    chosen = frame[frame["kind"].isin(kinds)] if kinds else frame[frame["kind"] != "WAKE"]
    return list(zip(chosen["time_s"], chosen["kind"], chosen["subject"], strict=True))


def starts(log: Log) -> dict[int, float]:
    """First start of each job."""
    out: dict[int, float] = {}
    for t, _, job in story(log, "STARTED"):
        out.setdefault(job, t)
    return out


Act = tuple[Any, ...]  # (time, method of Plan, arguments ...)


@dataclass(frozen=True)
class Script(RememberingStrategy[float]):
    """Does once what it is told at the times it is told; places what waits by first fit if ``fit``."""

    acts: tuple[Act, ...]
    fit: bool = False
    wake = on_change

    def initial(self, view: View) -> float:
        return -1.0

    def decide(self, view: View, memory: float) -> tuple[Plan, float]:
        plan = view.plan()
        for time_s, what, *arguments in self.acts:
            if time_s == view.now > memory:
                getattr(plan, what)(*arguments)
            elif view.decision == 0:
                plan.wake_at(time_s)
        if self.fit:
            for job in plan.placeable(view.waiting):
                plan.place(job, plan.first_fit(job))
        return plan, view.now


def script(*acts: Act, fit: bool = False) -> Script:
    return Script(acts, fit)


def refusals(log: Log) -> list[tuple[float, Verb, int, Rule]]:
    rows = log.array()
    rows = rows[rows["kind"] == Kind.REFUSED]
    return [(r["time_s"], Verb(int(r["node"])), int(r["subject"]), Rule(int(r["value"]))) for r in rows]
