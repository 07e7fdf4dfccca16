"""What happens after a time does not change a row before it, in random worlds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hcsim import Plan, Strategy, View
from hcsim.events import Kind
from hcsim.metrics import Rows
from hcsim.strategy import AnyStrategy
from tests.properties.worlds import Fuzz, Happening, World, fuzzes, shipped, worlds

times = st.floats(0.0, 1.0)  # which decision to look from
longer = st.integers(1, 6)


def changed(world: World, rows: Rows, until_s: float, longer: int) -> World:
    """The world with another future: run times not yet over, arrivals, failures and prices after ``until_s``."""
    jobs, n = world.jobs, len(world.jobs)
    over = rows[(rows["time_s"] <= until_s) & (rows["kind"] == Kind.FINISHED)]["subject"]
    later = jobs.arrival_s > until_s
    number = np.arange(n)
    columns: dict[str, Any] = {
        "duration_s": np.where(np.isin(number, over), jobs.duration_s, jobs.duration_s * (1 + longer / 2) + 35.0),
        "arrival_s": np.where(later, jobs.arrival_s + 31.0 * longer, jobs.arrival_s),
        "cpus": np.where(later, 12.0 - jobs.cpus % 24.0, jobs.cpus),
        "gpu_milli": np.where(later, 1000, jobs.gpu_milli).astype(np.int32),
    }
    for name in ("gpus", "min_gpus", "max_gpus"):
        columns[name] = np.where(later, 1, getattr(jobs, name)).astype(np.int32)
    for column in columns.values():
        column.setflags(write=False)
    keep = ~later | ((number + longer) % 3 > 0) | (number == n - 1)
    past = [event for event in world.events if event.time_s <= until_s]
    new = [Happening(until_s + 45.0 * longer, "fail", (0,)), Happening(until_s + 300.0, "set_price", (0, 9.0))]
    new.sort(key=lambda event: event.time_s)
    work = dataclasses.replace(jobs, **columns).take(keep)
    return world.replace(jobs=work, events=(*past, *new), until_s=world.until_s + 1000.0)


def first_change(world: World, strategy: AnyStrategy, at: float, longer: int) -> float | None:
    """When the first row before some decision changes with what comes after it; None when none does."""
    rows = world.run(strategy).array()
    wakes = np.unique(rows["time_s"][rows["kind"] == Kind.WAKE])
    if not len(wakes):
        return None
    until_s = float(wakes[int(at * (len(wakes) - 1))])
    other = changed(world, rows, until_s, longer).run(strategy).array()
    a, b = rows[rows["time_s"] <= until_s], other[other["time_s"] <= until_s]
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    if len(differ):
        return float(a["time_s"][differ[0]])
    return None if len(a) == len(b) else until_s


@settings(max_examples=80)
@given(worlds(), fuzzes, times, longer)
def test_the_world_keeps_its_future_to_itself(world: World, fuzz: Fuzz, at: float, longer: int) -> None:
    assert first_change(world, fuzz, at, longer) is None


@pytest.mark.parametrize("name", shipped())
def test_shipped_strategies_know_no_future(name: str) -> None:
    """Those that want run times are given estimates that do not move with the truth."""

    @settings(max_examples=25)
    @given(worlds(), times, longer)
    def holds(world: World, at: float, longer: int) -> None:
        assert first_change(world, shipped()[name], at, longer) is None

    holds()


@dataclass(frozen=True)
class Clairvoyant(Strategy):
    """Places a job only when another will arrive within a minute."""

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        if any(view.now < t <= view.now + 60.0 for t in view._books.arrival_s):
            for job in plan.placeable(view.waiting):
                plan.place(job, plan.first_fit(job))
        return plan


def test_one_that_does_is_found_out() -> None:
    @settings(max_examples=3000, database=None, phases=[Phase.generate])
    @given(worlds(), times, longer)
    def holds(world: World, at: float, longer: int) -> None:
        assert first_change(world, Clairvoyant(), at, longer) is None

    with pytest.raises(AssertionError):
        holds()
