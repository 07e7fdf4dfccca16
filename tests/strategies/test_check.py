"""Every strategy that ships passes check_strategy; strategies that break the contract do not."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import itertools
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml

from hcsim import Jobs, Plan, RememberingStrategy, Strategy, View, every, on_change, while_waiting
from hcsim.strategy import AnyStrategy
from hcsim.testing import CheckFailed, check_strategy, tiny_fleets, tiny_jobs

CONF = Path(__file__).parents[2] / "conf" / "strategy"
FILES = sorted(CONF.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_shipped(file: Path) -> None:
    options = yaml.safe_load(file.read_text())
    module, name = options.pop("_target_").rsplit(".", 1)
    strategy = getattr(importlib.import_module(module), name)(**options)
    assert strategy.name == file.stem == module.rsplit(".", 1)[1]
    assert type(strategy).__doc__ and "Source:" in type(strategy).__doc__
    check_strategy(strategy)


def test_every_strategy_has_its_yaml_file() -> None:
    modules = {file.stem for file in (CONF.parents[1] / "strategies").glob("*.py")} - {"__init__"}
    assert modules == {file.stem for file in FILES}


def test_tiny_worlds_are_feasible() -> None:
    fleets, jobs = tiny_fleets(), tiny_jobs()
    assert fleets.keys() == jobs.keys()
    for name, fleet in fleets.items():
        assert 16 <= len(jobs[name]) <= 24
        assert fleet.name == name


def first_fit(view: View) -> Plan:
    plan = view.plan()
    for job in plan.placeable(view.waiting):
        plan.place(job, plan.first_fit(job))
    return plan


@dataclass(frozen=True)
class Raises(Strategy):
    def decide(self, view: View) -> Plan:
        raise KeyError("job")


@dataclass(frozen=True)
class ReturnsNone(Strategy):
    def decide(self, view: View) -> Plan:
        first_fit(view)
        return None  # type: ignore[return-value]


class NotFrozen(Strategy):
    def decide(self, view: View) -> Plan:
        return first_fit(view)


@dataclass
class Thawed(Strategy):
    limit: int = 3

    def decide(self, view: View) -> Plan:
        return first_fit(view)


@dataclass(frozen=True)
class Unhashable(Strategy):
    pools: list[int] = field(default_factory=list)

    def decide(self, view: View) -> Plan:
        return first_fit(view)


@dataclass(frozen=True)
class WakesOnWords(Strategy):
    wake: ClassVar[Any] = "always"

    def decide(self, view: View) -> Plan:
        return first_fit(view)


@dataclass(frozen=True)
class WrongNeeds(Strategy):
    needs = frozenset({"truth"})

    def decide(self, view: View) -> Plan:
        return first_fit(view)


@dataclass(frozen=True)
class Dice(Strategy):
    def decide(self, view: View) -> Plan:
        return first_fit(view) if random.random() < 0.7 else view.plan()


@dataclass(frozen=True)
class WritesOnItself(Strategy):
    seen: int = 0

    def decide(self, view: View) -> Plan:
        object.__setattr__(self, "seen", self.seen + 1)
        return first_fit(view)


@dataclass(frozen=True)
class WritesOnItsClass(Strategy):
    seen: ClassVar[dict[int, float]] = {}

    def decide(self, view: View) -> Plan:
        self.seen[view.decision] = view.now
        return first_fit(view)


COUNTER = itertools.count()


@dataclass(frozen=True)
class CountsElsewhere(Strategy):
    def decide(self, view: View) -> Plan:
        return first_fit(view) if next(COUNTER) % 7 else view.plan()


@dataclass(frozen=True)
class OrdersByHash(Strategy):
    """The order of texts by ``hash`` is the same in one process, and another in the next."""

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in sorted(view.waiting, key=lambda job: hash(f"job {job}")):
            plan.place(job, where) if (where := plan.first_fit(job)) is not None else None
        return plan


@dataclass(frozen=True)
class PlacesTwice(Strategy):
    def decide(self, view: View) -> Plan:
        plan = first_fit(view)
        for job, where in plan.placed().items():
            plan.place(job, where)
        return plan


@dataclass(frozen=True)
class IgnoresResidency(Strategy):
    def decide(self, view: View) -> Plan:
        abroad = len(view.pools) - 1
        for job in view.waiting:
            if view.gpus[job] <= view.pools[abroad].gpus_per_node and (nodes := view.rentable(abroad)):
                plan = view.plan()
                plan.place(job, nodes[0])
                return plan
        return first_fit(view)


@dataclass(frozen=True)
class ReadsEstimates(Strategy):
    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting_by(view.estimate_s)):
            plan.place(job, plan.first_fit(job))
        return plan


@dataclass(frozen=True)
class StealsEstimates(Strategy):
    def decide(self, view: View) -> Plan:
        plan = view.plan()
        estimate_s: Any = view._books.estimate_s
        for job in sorted(view.waiting, key=lambda job: (estimate_s[job], job)):
            plan.place(job, where) if (where := plan.first_fit(job)) is not None else None
        return plan


def run_times(view: View) -> Any:
    """The truth, by way of the garbage collector: who else holds the column of arrivals?"""
    return next(
        jobs.duration_s for jobs in gc.get_objects() if type(jobs) is Jobs and jobs.arrival_s is view.arrival_s.obj
    )


@dataclass(frozen=True)
class KnowsRunTimes(Strategy):
    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        duration_s = run_times(view)
        for job in sorted(view.waiting, key=lambda job: (duration_s[job], job)):
            plan.place(job, where) if (where := plan.first_fit(job)) is not None else None
        return plan


@dataclass(frozen=True)
class KnowsArrivals(Strategy):
    def decide(self, view: View) -> Plan:
        """Waits for a few seconds when somebody is about to arrive."""
        coming = [t for t in view._books.arrival_s if view.now < t < view.now + 20.0]
        if not coming:
            return first_fit(view)
        plan = view.plan()
        plan.wake_at(coming[-1] + 20.0)
        return plan


@dataclass(frozen=True)
class NeverLargeGangs(Strategy):
    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting):
            if view.gpus[job] <= 4:
                plan.place(job, plan.first_fit(job))
        return plan


@dataclass(frozen=True)
class NeverEnds(Strategy):
    def decide(self, view: View) -> Plan:
        plan = view.plan()
        plan.wake_at(view.now + 0.01)
        return plan


@dataclass(frozen=True)
class Thrashes(Strategy):
    """Stops whatever runs at every decision: nothing that has no checkpoint in time gets anywhere."""

    wake = on_change | every(60.0)

    def decide(self, view: View) -> Plan:
        plan = first_fit(view)
        for job in view.running():
            plan.preempt(job, checkpoint=False)
        return plan


@dataclass(frozen=True)
class RemembersInPlace(RememberingStrategy[list[int]]):
    def initial(self, view: View) -> list[int]:
        return []

    def decide(self, view: View, memory: list[int]) -> tuple[Plan, list[int]]:
        memory.append(view.decision)
        return first_fit(view), memory


@dataclass(frozen=True)
class ForgetsToReturnItsMemory(RememberingStrategy[int]):
    def initial(self, view: View) -> int:
        return 0

    def decide(self, view: View, memory: int) -> tuple[Plan, int]:
        return first_fit(view)  # type: ignore[return-value]


BROKEN: list[tuple[Callable[[], Any], str]] = [
    (Raises, "raised KeyError"),
    (ReturnsNone, "returned NoneType, expected the Plan"),
    (NotFrozen, "not decorated with @dataclass(frozen=True)"),
    (Thawed, "not decorated with @dataclass(frozen=True)"),
    (Unhashable, "cannot be hashed"),
    (WakesOnWords, "has wake = 'always'"),
    (WrongNeeds, "has needs = frozenset({'truth'})"),
    (Dice, "decides differently when run again"),
    (WritesOnItself, "keeps state on itself"),
    (WritesOnItsClass, "keeps state on itself"),
    (CountsElsewhere, "decides differently when run again"),
    (OrdersByHash, "decides differently in another process"),
    (PlacesTwice, "this plan has acted on it already"),
    (IgnoresResidency, "which rule RESIDENCY refuses"),
    (ReadsEstimates, "without declaring needs = frozenset({'runtime'})"),
    (StealsEstimates, "declare needs = frozenset({'runtime'})"),
    (KnowsRunTimes, "knows the future"),
    (KnowsArrivals, "knows the future"),
    (NeverLargeGangs, "never finish"),
    (NeverEnds, "decides without end"),
    (Thrashes, "decided 1001 times at one instant and does not settle"),
    (RemembersInPlace, "changes its memory in place"),
    (ForgetsToReturnItsMemory, "returned Plan, expected a pair of plan and memory"),
    (object, "is no hcsim.Strategy"),
]


@pytest.mark.parametrize(("broken", "reason"), BROKEN, ids=[each[0].__name__ for each in BROKEN])
def test_broken(broken: Callable[[], AnyStrategy], reason: str) -> None:
    with pytest.raises(CheckFailed, match=re.escape(reason)) as failed:
        check_strategy(broken())
    assert "\n" not in str(failed.value)


@dataclass(frozen=True)
class Calm(RememberingStrategy[tuple[float, ...]]):
    """First fit, but after three starts it waits ``rest_s``; remembers when it started what it started last."""

    rest_s: float = 30.0
    wake = while_waiting

    def initial(self, view: View) -> tuple[float, ...]:
        return ()

    def decide(self, view: View, memory: tuple[float, ...]) -> tuple[Plan, tuple[float, ...]]:
        plan = view.plan()
        recent = tuple(t for t in memory if t > view.now - self.rest_s)
        for job in plan.placeable(view.waiting):
            if len(recent) == 3:
                plan.wake_at(recent[0] + self.rest_s)
                break
            plan.place(job, plan.first_fit(job))
            recent = (*recent, view.now)
        return plan, recent


@dataclass(frozen=True)
class CountsInAnArray(RememberingStrategy[Any]):
    """Remembers in an array how many jobs of each tenant it has started; the tenant with fewest goes first."""

    def initial(self, view: View) -> Any:
        return np.zeros(2)

    def decide(self, view: View, memory: Any) -> tuple[Plan, Any]:
        plan = view.plan()
        started = memory.copy()
        for job in sorted(view.waiting, key=lambda job: (memory[view.tenant[job]], job)):
            where = plan.first_fit(job)
            if where is not None:
                plan.place(job, where)
                started[view.tenant[job]] += 1
        return plan, started


@pytest.mark.parametrize("strategy", [Calm(), CountsInAnArray()], ids=lambda each: each.name)
def test_remembering(strategy: AnyStrategy) -> None:
    check_strategy(strategy)
    assert strategy == dataclasses.replace(strategy)  # type: ignore[type-var]


def test_the_other_process_has_another_hash_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this process was given. What cannot go there is said."""
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    with pytest.raises(CheckFailed, match="PYTHONHASHSEED=2"):
        check_strategy(OrdersByHash())

    @dataclass(frozen=True)
    class Locked(Strategy):
        lock: Any = field(default_factory=threading.Lock)

        def decide(self, view: View) -> Plan:
            return first_fit(view)

    with pytest.raises(CheckFailed, match="locked: cannot be sent to another process"):
        check_strategy(Locked())


def test_a_rejecting_strategy_passes() -> None:
    @dataclass(frozen=True)
    class RejectsLargeGangs(Strategy):
        def decide(self, view: View) -> Plan:
            plan = view.plan()
            for job in view.waiting:
                if view.gpus[job] > 4:
                    plan.reject(job)
            for job in plan.placeable(view.waiting):
                plan.place(job, plan.first_fit(job))
            return plan

    check_strategy(RejectsLargeGangs())
