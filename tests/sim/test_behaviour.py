"""What the engine does with each action and event, worked out by hand. Strategies here follow a script."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import pytest

from hcsim import (
    Fleet,
    InputError,
    Jobs,
    Link,
    NodePool,
    Plan,
    Site,
    Strategy,
    View,
    every,
    on,
)
from hcsim.actions import Verb
from hcsim.constraints import Rule
from hcsim.control import StrategyError, run
from hcsim.events import Kind
from hcsim.experiment import Experiment
from hcsim.log import Log
from hcsim.replay import replay
from hcsim.sim import Simulated, Simulation
from hcsim.state import State
from hcsim.strategies.fifo import Fifo
from hcsim.strategies.first_fit import FirstFit
from tests.worlds import Act, hybrid, jobs, owned, play, refusals, script, starts, story

# -- one instant -------------------------------------------------------------------------------------------------------


def test_events_of_one_instant_stand_in_the_documented_order_and_wake_once() -> None:
    # at 100: a node fails under job 1, job 0 finishes, a price changes, a timer comes, job 2 arrives
    def trouble(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(100.0)
        world.set_price(0, 2.0)
        world.fail(1)

    work = jobs((0.0, 100.0, 1), (0.0, 500.0, 1), (100.0, 10.0, 1))
    log = play(
        script((0.0, "place", 0, 0), (0.0, "place", 1, 1), (100.0, "wake_at", 100.0)), owned(3, 1), work, trouble
    )
    at_100 = [kind for t, kind, _ in ((r[0], r[1], r[2]) for r in log.frame().itertuples(index=False)) if t == 100.0]
    first = ["NODE_DOWN", "LOST", "FINISHED", "PRICE_CHANGED", "ARRIVED", "TIMER", "WAKE"]
    assert at_100[: len(first)] == first


def test_a_job_that_takes_no_time_finishes_in_an_instant_of_its_own() -> None:
    log = play(FirstFit(), owned(1, 1), jobs((5.0, 0.0, 1), (5.0, 1.0, 1)))
    assert story(log, "STARTED", "FINISHED") == [
        (5.0, "STARTED", 0),
        (5.0, "FINISHED", 0),
        (5.0, "STARTED", 1),
        (6.0, "FINISHED", 1),
    ]


# -- stopping and moving -----------------------------------------------------------------------------------------------


def test_preempting_with_a_checkpoint_keeps_the_work_and_charges_writing_and_restart() -> None:
    # runs 0-40 of 100; writes 40-45; waits; placed at 60, restart takes 10: runs 70 to 130
    work = jobs((0.0, 100.0, 1), checkpoint_s=[5.0], restart_s=[10.0])
    acts = ((0.0, "place", 0, 0), (40.0, "preempt", 0), (60.0, "place", 0, 0))
    log = play(script(*acts), owned(1, 1), work)
    assert story(log, "DRAINING", "PREEMPTED", "STARTED", "FINISHED") == [
        (0.0, "STARTED", 0),
        (40.0, "DRAINING", 0),
        (45.0, "PREEMPTED", 0),
        (70.0, "STARTED", 0),
        (130.0, "FINISHED", 0),
    ]


def test_preempting_without_one_loses_the_work_since_the_last_periodic_checkpoint() -> None:
    # checkpoints at 30 and 60; stopped at 75: 15 lost, 40 left, placed at once
    work = jobs((0.0, 100.0, 1), checkpoint_interval_s=[30.0], checkpoint_s=[5.0])
    log = play(script((0.0, "place", 0, 0), (75.0, "preempt", 0, False), (80.0, "place", 0, 0)), owned(1, 1), work)
    rows = log.array()
    assert rows["value"][rows["kind"] == Kind.PREEMPTED].tolist() == [15.0]
    assert story(log, "FINISHED") == [(120.0, "FINISHED", 0)]


def test_a_place_in_the_same_plan_queues_on_the_draining_gpus() -> None:
    work = jobs((0.0, 100.0, 1), (10.0, 20.0, 1), checkpoint_s=[5.0, 0.0])
    acts = ((0.0, "place", 0, 0), (50.0, "preempt", 0), (50.0, "place", 1, 0), (90.0, "place", 0, 0))
    log = play(script(*acts), owned(1, 1), work)
    assert story(log, "PLACED", "PREEMPTED", "STARTED") == [
        (0.0, "PLACED", 0),
        (0.0, "STARTED", 0),
        (50.0, "PLACED", 1),
        (55.0, "PREEMPTED", 0),
        (55.0, "STARTED", 1),
        (90.0, "PLACED", 0),
        (90.0, "STARTED", 0),
    ]


def test_migrating_checkpoints_moves_and_restarts() -> None:
    # runs 0-40, writes to 42, carries 2e9 bytes over 1e9 bytes/s to the cloud (booted at 0 + 100 s by hand), restarts 3
    fleet = hybrid(boot_s=30.0, idle_release_s=1000.0)
    work = jobs((0.0, 100.0, 4), checkpoint_s=[2.0], restart_s=[3.0], checkpoint_bytes=[2e9])
    log = play(script((0.0, "place", 0, 0), (0.0, "provision", 1, 1), (40.0, "migrate", 0, 1)), fleet, work)
    assert story(log, "NODE_UP", "DRAINING", "PREEMPTED", "TRANSFERRING", "STARTED", "FINISHED") == [
        (0.0, "STARTED", 0),
        (30.0, "NODE_UP", 1),
        (40.0, "DRAINING", 0),
        (42.0, "PREEMPTED", 0),
        (42.0, "TRANSFERRING", 0),
        (47.0, "STARTED", 0),
        (107.0, "FINISHED", 0),
    ]


def test_resizing_an_elastic_job_changes_its_speed() -> None:
    # 100 s of work on 2 GPUs; from 50 on 4 GPUs at 2 ** 0.9 times the speed
    work = jobs((0.0, 100.0, 2), min_gpus=[1], max_gpus=[4])
    log = play(script((0.0, "place", 0, 0), (50.0, "resize", 0, ((0, 0b1111, 1000),))), owned(1, 4), work)
    assert story(log, "FINISHED")[0][0] == pytest.approx(50.0 + 50.0 / 2**0.9)


def test_resizing_beyond_what_the_job_allows_is_refused() -> None:
    work = jobs((0.0, 100.0, 2), min_gpus=[1], max_gpus=[2])
    log = play(script((0.0, "place", 0, 0), (50.0, "resize", 0, ((0, 0b1111, 1000),))), owned(1, 4), work)
    assert refusals(log) == [(50.0, Verb.RESIZE, 0, Rule.GANG)]
    assert story(log, "FINISHED") == [(100.0, "FINISHED", 0)]


# -- losses ------------------------------------------------------------------------------------------------------------


def test_a_failure_loses_work_since_the_checkpoint_and_the_node_comes_back() -> None:
    def outage(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(70.0)
        world.fail(0)
        yield world.timeout(30.0)
        world.repair(0)

    work = jobs((0.0, 100.0, 1), checkpoint_interval_s=[30.0], restart_s=[5.0])
    log = play(FirstFit(), owned(1, 1), work, outage)
    rows = log.array()
    assert rows["value"][rows["kind"] == Kind.LOST].tolist() == [10.0]
    # 60 of 100 are safe; up at 100, restart to 105, runs 40
    assert story(log, "NODE_DOWN", "LOST", "NODE_UP", "STARTED", "FINISHED") == [
        (0.0, "STARTED", 0),
        (70.0, "NODE_DOWN", 0),
        (70.0, "LOST", 0),
        (100.0, "NODE_UP", 0),
        (105.0, "STARTED", 0),
        (145.0, "FINISHED", 0),
    ]


def test_a_gang_dies_with_any_of_its_nodes() -> None:
    def outage(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(10.0)
        world.fail(1)

    log = play(FirstFit(), owned(3, 2), jobs((0.0, 100.0, 4), (0.0, 100.0, 2)), outage)
    assert (10.0, "LOST", 0) in story(log)
    assert story(log, "FINISHED") == [(100.0, "FINISHED", 1), (200.0, "FINISHED", 0)]


def test_random_failures_come_and_go_with_their_means() -> None:
    fleet = owned(200, 1, mtbf_s=1000.0, repair_s=250.0)
    log = play(script(), fleet, jobs((0.0, 1.0, 1)), seed=3)  # a job that nobody places: the world goes on for stall_s
    down, up = story(log, "NODE_DOWN"), story(log, "NODE_UP")
    span = log.array()["time_s"][-1]
    cycles = 200 * span / 1250.0
    assert len(down) == pytest.approx(cycles, rel=0.01)
    since = {node: t for t, _, node in down[:200]}
    assert since and len(up) == pytest.approx(len(down), rel=0.01)


# -- clouds ------------------------------------------------------------------------------------------------------------


def test_placing_on_a_node_that_is_off_boots_it_and_idleness_gives_it_back() -> None:
    log = play(script((0.0, "place", 0, 1)), hybrid(), jobs((0.0, 10.0, 1)))
    assert story(log, "PROVISIONING", "NODE_UP", "STARTED", "FINISHED") == [
        (0.0, "PROVISIONING", 1),
        (100.0, "NODE_UP", 1),
        (100.0, "STARTED", 0),
        (110.0, "FINISHED", 0),
    ]
    log = play(script((0.0, "place", 0, 1), (400.0, "place", 1, 0)), hybrid(), jobs((0.0, 10.0, 1), (0.0, 1.0, 1)))
    assert story(log, "IDLE", "NODE_OFF") == [(160.0, "IDLE", 1), (160.0, "NODE_OFF", 1)]


def test_a_node_that_is_used_again_in_time_stays() -> None:
    acts = ((0.0, "place", 0, 1), (140.0, "place", 1, 1), (900.0, "place", 2, 0))
    log = play(script(*acts), hybrid(), jobs((0.0, 10.0, 1), (0.0, 30.0, 1), (0.0, 1.0, 1)))
    assert story(log, "NODE_OFF") == [(220.0, "NODE_OFF", 1)]  # not at 160: it worked from 140 to 170


def test_releasing_by_hand_and_only_what_is_idle() -> None:
    acts = ((0.0, "provision", 1, 1), (100.0, "place", 0, 1), (105.0, "release", 1), (120.0, "release", 1))
    log = play(script(*acts, (300.0, "place", 1, 0)), hybrid(), jobs((0.0, 10.0, 1), (0.0, 1.0, 1)))
    assert refusals(log) == [(105.0, Verb.RELEASE, 1, Rule.STATUS)]
    assert story(log, "NODE_OFF") == [(120.0, "NODE_OFF", 1)]


def test_quota_bounds_what_is_rented_at_one_time() -> None:
    pool = NodePool("rent", "A100", 4, 3, 4.0, "on_demand", boot_s=10.0, idle_release_s=0.0)
    fleet = Fleet((Site("cloud", (pool,), quota_gpus=8),))
    log = play(script((0.0, "provision", 0, 3)), fleet, jobs((0.0, 1.0, 1)))
    assert len(story(log, "PROVISIONING")) == 2
    assert refusals(log) == [(0.0, Verb.PROVISION, 0, Rule.QUOTA)]
    log = play(FirstFit(), fleet, jobs(*[(0.0, 100.0, 4)] * 3))
    assert sorted(starts(log).values()) == [10.0, 10.0, 110.0]


def test_a_pool_whose_slots_are_all_rented_is_full_and_not_over_a_quota() -> None:
    pool = NodePool("rent", "A100", 4, 2, 4.0, "on_demand", boot_s=10.0)
    fleet = Fleet((Site("cloud", (pool,)),))
    log = play(script((0.0, "provision", 0, 3)), fleet, jobs((0.0, 1.0, 1)))
    assert len(story(log, "PROVISIONING")) == 2
    assert refusals(log) == [(0.0, Verb.PROVISION, 0, Rule.CAPACITY)]


# -- data --------------------------------------------------------------------------------------------------------------


def test_a_dataset_is_carried_before_the_start_once_and_staging_ahead_saves_the_wait() -> None:
    data = {"dataset_site": [0], "dataset_bytes": [5e9], "dataset_sites": ("home",)}
    fleet = hybrid(boot_s=0.0)
    log = play(script((0.0, "place", 0, 1)), fleet, jobs((0.0, 10.0, 1), **data))
    assert starts(log) == {0: 5.0}  # 5e9 bytes at 1e9 per second
    log = play(script((0.0, "stage", 0, 1), (20.0, "place", 0, 1)), fleet, jobs((0.0, 10.0, 1), **data))
    assert story(log, "TRANSFERRING", "STAGED", "STARTED") == [
        (0.0, "TRANSFERRING", 0),
        (5.0, "STAGED", 0),
        (20.0, "STARTED", 0),
    ]


def test_data_may_not_go_where_the_job_may_not() -> None:
    work = jobs(
        (0.0, 10.0, 1),
        dataset_site=[0],
        dataset_bytes=[5e9],
        dataset_sites=("home",),
        residency=[0],
        residencies=("us",),
    )
    log = play(script((0.0, "stage", 0, 1), (1.0, "place", 0, 1), (2.0, "place", 0, 0)), hybrid(), work)
    assert refusals(log) == [(0.0, Verb.STAGE, 0, Rule.RESIDENCY), (1.0, Verb.PLACE, 0, Rule.RESIDENCY)]
    assert starts(log) == {0: 2.0}


# -- rules -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "columns"),
    [
        (Rule.GPU_TYPE, {"gpu_type": [0], "gpu_types": ("H100",)}),
        (Rule.GPU_MEMORY, {"gpu_memory_bytes": [100e9]}),
        (Rule.RESIDENCY, {"residency": [0], "residencies": ("eu",)}),
        (Rule.HOST, {"cpus": [8.0]}),
    ],
)
def test_hard_rules_refuse_by_name(rule: Rule, columns: dict[str, Any]) -> None:
    fleet = Fleet((Site("home", (NodePool("own", "A100", 4, 1, 1.0, cpus_per_node=4.0),), "us"),))
    log = play(script((0.0, "place", 0, 0)), fleet, jobs((0.0, 10.0, 1), **columns))
    assert refusals(log) == [(0.0, Verb.PLACE, 0, rule)]
    assert not story(log, "STARTED")


def test_what_is_taken_is_refused_also_within_one_plan() -> None:
    acts = ((0.0, "place", 0, ((0, 0b11, 1000),)), (0.0, "place", 1, ((0, 0b10, 1000),)))
    log = play(script(*acts), owned(1, 4), jobs((0.0, 10.0, 2), (0.0, 10.0, 1)))
    assert refusals(log) == [(0.0, Verb.PLACE, 1, Rule.CAPACITY)]


@pytest.mark.parametrize(
    "act",
    [
        ("place", 7, 0),
        ("place", 0, 9),
        ("preempt", 0),
        ("place", 1, 0),  # has not arrived
    ],
)
def test_illegal_actions_end_the_run_with_one_line(act: Act) -> None:
    with pytest.raises(StrategyError, match=r"strategy script was refused: illegal action: .* \(decision 0, t = 0 s\)"):
        play(script((0.0, *act)), owned(1, 4), jobs((0.0, 10.0, 1), (5.0, 1.0, 1)))


# -- queue -------------------------------------------------------------------------------------------------------------


def test_hold_leaves_the_queue_and_comes_back() -> None:
    log = play(script((0.0, "hold", 0, 30.0), fit=True), owned(1, 1), jobs((0.0, 10.0, 1), (0.0, 5.0, 1)))
    assert story(log, "HELD", "RESUMED") == [(0.0, "HELD", 0), (30.0, "RESUMED", 0)]
    assert starts(log) == {0: 30.0, 1: 0.0}


def test_a_rejected_job_never_runs_and_the_run_ends() -> None:
    log = play(script((0.0, "reject", 0), fit=True), owned(1, 1), jobs((0.0, 10.0, 1), (0.0, 5.0, 1)))
    assert starts(log) == {1: 0.0}
    assert log.array()["time_s"][-1] == 5.0


def test_leases_end_one_by_one_and_all_of_them_early() -> None:
    acts = ((0.0, "place", 0, 0, 60.0), (0.0, "place", 1, 0, 60.0))
    log = play(script(*acts), owned(1, 2), jobs((0.0, 100.0, 1), (0.0, 20.0, 1)))
    assert story(log, "LEASE_ENDED", "ALL_LEASES_ENDED") == [(60.0, "LEASE_ENDED", 0), (60.0, "ALL_LEASES_ENDED", 0)]
    log = play(script(*acts), owned(1, 2), jobs((0.0, 50.0, 1), (0.0, 20.0, 1), (70.0, 1.0, 1)))
    assert story(log, "LEASE_ENDED", "ALL_LEASES_ENDED") == [(50.0, "ALL_LEASES_ENDED", 0)]  # a round ends early


def test_a_round_ends_when_its_last_job_is_lost_or_preempted() -> None:
    def outage(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(60.0)
        world.fail(1)

    acts = ((0.0, "place", 0, 0, 100.0), (0.0, "place", 1, 1, 100.0))
    work = jobs((0.0, 50.0, 1), (0.0, 500.0, 1), (300.0, 1.0, 1))
    log = play(script(*acts), owned(2, 1), work, outage)
    assert story(log, "LEASE_ENDED", "ALL_LEASES_ENDED") == [(60.0, "ALL_LEASES_ENDED", 0)]
    log = play(script(*acts, (70.0, "preempt", 1)), owned(2, 1), work)
    assert story(log, "LEASE_ENDED", "ALL_LEASES_ENDED") == [(70.0, "ALL_LEASES_ENDED", 0)]


def test_a_lease_counts_from_the_start_and_goes_along_with_a_migration() -> None:
    # the node boots for 100 s; a lease of 50 s is over at 150
    log = play(script((0.0, "place", 0, 1, 50.0)), hybrid(), jobs((0.0, 400.0, 1)))
    assert story(log, "LEASE_ENDED") == [(150.0, "LEASE_ENDED", 0)]
    acts = ((0.0, "place", 0, 0, 100.0), (10.0, "migrate", 0, 1))
    log = play(script(*acts), owned(2, 1), jobs((0.0, 400.0, 1), checkpoint_s=[5.0], restart_s=[5.0]))
    assert story(log, "LEASE_ENDED") == [(100.0, "LEASE_ENDED", 0)]


# -- what a strategy hears ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PreemptsOnce(Strategy):
    """First fit; at t = 10 s it stops what runs."""

    wake = on(Kind.ARRIVED, Kind.PREEMPTED)

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        if view.now == 0.0:
            plan.wake_at(10.0)
        if view.now == 10.0 and view.running():
            for job in view.running():
                plan.preempt(job)
        else:
            for job in plan.placeable(view.waiting):
                plan.place(job, plan.first_fit(job))
        return plan


@pytest.mark.parametrize("checkpoint_s", [0.0, 5.0])
def test_a_preemption_is_heard_of_however_long_its_checkpoint_takes(checkpoint_s: float) -> None:
    log = play(PreemptsOnce(), owned(1, 1), jobs((0.0, 100.0, 1), checkpoint_s=[checkpoint_s]))
    assert story(log, "FINISHED") == [(100.0 + checkpoint_s, "FINISHED", 0)]


@dataclass(frozen=True)
class Ticks(Strategy):
    """Decides at fixed intervals."""

    @property
    def wake(self) -> Any:  # type: ignore[override]
        return every(self.period_s)

    period_s: float = 1.0

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting):
            plan.place(job, plan.first_fit(job))
        return plan


@pytest.mark.parametrize("period_s", [0.1, 0.2, 0.3, 60.1, 33.3, 3600.0 / 7.0, 1e-3])
def test_a_period_ticks_at_its_multiples(period_s: float) -> None:
    """Quotients of floats are rounded: (now // p + 1) * p may be now again."""
    log = play(Ticks(period_s), owned(1, 1), jobs((0.0, 500.0 * period_s, 1)))
    rows = log.array()
    wakes = rows["time_s"][rows["kind"] == Kind.WAKE]
    assert wakes[:499] == pytest.approx(np.arange(499) * period_s)
    assert len(wakes) <= 502


@dataclass(frozen=True)
class Restless(Strategy):
    """Moves its job back and forth without end."""

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting):
            plan.place(job, 0)
            plan.wake_at(1.0)
        for job in view.running():
            plan.migrate(job, 1 - view.claims[job][0][0])
        return plan


def test_a_strategy_that_does_not_settle_is_stopped() -> None:
    with pytest.raises(StrategyError, match="restless decided 1001 times at one instant and does not settle"):
        play(Restless(), owned(2, 1), jobs((0.0, 100.0, 1)))


# -- plans that are not returned ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thinks(Strategy):
    """Tries things in a plan that it drops: places all, stops all, moves all, rents."""

    stale: bool = False

    def decide(self, view: View) -> Plan:
        thought = view.plan()
        for job in view.running():
            if job % 2:
                thought.preempt(job)
            else:
                thought.migrate(job, view.claims[job][0][0])
        for job in thought.placeable(view.waiting):
            thought.place(job, thought.first_fit(job))
        plan = view.plan()
        for job in plan.placeable(view.waiting):
            plan.place(job, plan.first_fit(job))
        return thought if self.stale else plan


def test_a_plan_that_is_dropped_leaves_nothing_behind() -> None:
    work = jobs(*((10.0 * i, 95.0, 1 + i % 4) for i in range(40)), checkpoint_s=[5.0] * 40)
    assert play(Thinks(), hybrid(), work).sha256 == play(FirstFitOnChange(), hybrid(), work).sha256
    with pytest.raises(StrategyError, match="a plan that is not the last of"):
        play(Thinks(stale=True), hybrid(), work)


@dataclass(frozen=True)
class FirstFitOnChange(Strategy):
    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting):
            plan.place(job, plan.first_fit(job))
        return plan


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ((0.0, "wake_at", float("nan")), "wake_at with time_s = nan, expected a finite number"),
        ((0.0, "wake_at", "x"), "wake_at with time_s = 'x', expected a finite number"),
        ((0.0, "hold", 0, float("nan")), "hold with until_s = nan, expected a finite number"),
        ((0.0, "place", 0, 0, float("nan")), "place with lease_s = nan, expected a finite number >= 0"),
        ((0.0, "place", 0, 0, -5.0), "place with lease_s = -5.0, expected a finite number >= 0"),
        ((0.0, "provision", 1, 1.5), "provision nodes 1.5, expected a whole number"),
    ],
)
def test_an_action_with_a_number_that_is_none_is_illegal(act: Act, said: str) -> None:
    with pytest.raises(StrategyError, match=re.escape(said)):
        play(script(act), hybrid(), jobs((0.0, 10.0, 1)))


@dataclass(frozen=True)
class Leaves(Strategy):
    def decide(self, view: View) -> Plan:
        sys.exit(0)


def test_a_strategy_cannot_leave_the_program() -> None:
    with pytest.raises(StrategyError, match="leaves raised SystemExit: 0"):
        play(Leaves(), owned(1, 1), jobs((0.0, 10.0, 1)))


@dataclass(frozen=True)
class Peeks(Strategy):
    """Looks for jobs that have not arrived."""

    def decide(self, view: View) -> Plan:
        for column in ("arrival_s", "gpus", "milli", "tenant", "priority", "deadline_s", "dataset_bytes", "min_gpus"):
            known = getattr(view, column)
            assert len(known) == sum(1 for t in (0.0, 5.0, 8.0) if t <= view.now)
            with pytest.raises(IndexError):
                known[len(known)]
        return view.plan()


def test_columns_end_with_the_jobs_that_have_arrived() -> None:
    play(Peeks(), owned(1, 1), jobs((0.0, 10.0, 1), (5.0, 10.0, 1), (8.0, 10.0, 1)))


# -- what is lost, and what is not -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["preempted", "failed"])
def test_data_that_did_not_arrive_has_to_be_carried_again(how: str) -> None:
    """10 TB at 1 GB/s take 10,000 s; stopped after one second of it, the next try takes them all."""

    def outage(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(1.0)
        if how == "failed":
            world.fail(1)
            world.repair(1)

    acts = ((0.0, "place", 0, 1), (2.0, "place", 0, 1))
    stop = ((1.0, "preempt", 0),) if how == "preempted" else ()
    work = jobs((0.0, 1000.0, 4), dataset_bytes=[10_000e9], dataset_site=[0], dataset_sites=("home",))
    log = play(script(*acts, *stop), hybrid(boot_s=0.0), work, outage)
    assert story(log, "STARTED", "FINISHED") == [(10_002.0, "STARTED", 0), (11_002.0, "FINISHED", 0)]


def test_a_checkpoint_that_was_never_written_is_not_carried() -> None:
    """The node fails before the first periodic checkpoint: the job starts anew elsewhere, without a transfer."""

    def outage(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(200.0)
        world.fail(1)

    work = jobs((0.0, 1000.0, 4), checkpoint_bytes=[100e9], restart_s=[7.0])
    log = play(script((0.0, "place", 0, 1), (200.0, "place", 0, 0)), hybrid(boot_s=0.0), work, outage)
    assert story(log, "TRANSFERRING") == []
    assert story(log, "STARTED", "FINISHED")[1:] == [(207.0, "STARTED", 0), (1207.0, "FINISHED", 0)]


def test_a_checkpoint_that_is_cut_short_saves_nothing() -> None:
    """Periodic ones at 30 and 60; told to stop at 75, the node fails while it writes: 15 s of its run are lost."""

    def outage(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(76.0)
        world.fail(0)

    work = jobs((0.0, 100.0, 1), checkpoint_interval_s=[30.0], checkpoint_s=[3600.0])
    acts = ((0.0, "place", 0, 0), (75.0, "preempt", 0), (76.0, "place", 0, 1))
    log = play(script(*acts), owned(2, 1), work, outage)
    rows = log.array()
    assert rows["value"][rows["kind"] == Kind.LOST].tolist() == [15.0]
    assert story(log, "FINISHED") == [(116.0, "FINISHED", 0)]


@pytest.mark.parametrize("verb", ["scale", "split"])
def test_what_is_not_simulated_yet_is_no_silent_matter(verb: str) -> None:
    """Services come with their own model; until then a strategy that asks for their actions ends the run."""
    with pytest.raises(StrategyError, match=rf"script raised AttributeError: 'Plan' object has no attribute '{verb}'"):
        play(script((0.0, verb, 0, 2)), owned(), jobs((0.0, 10.0, 1)))


def test_an_outage_outlasts_the_repair_of_another_failure() -> None:
    def outage(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(10.0)
        world.fail(0, "failure")
        world.fail(0)
        yield world.timeout(10.0)
        world.repair(0, "failure")
        world.repair(0, "failure")
        yield world.timeout(10.0)
        world.repair(0)

    log = play(script(fit=True), owned(1, 1), jobs((15.0, 10.0, 1)), outage)
    assert story(log, "NODE_DOWN", "NODE_UP", "STARTED") == [
        (10.0, "NODE_DOWN", 0),
        (30.0, "NODE_UP", 0),
        (30.0, "STARTED", 0),
    ]


@pytest.mark.parametrize("milli", [1000, 200])
def test_a_node_that_fails_and_is_up_again_at_once_frees_its_gpus_once(milli: int) -> None:
    """Job 1 waits for what job 0 drains; the node goes and comes at one time, and both jobs are lost."""

    def blink(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(20.0)
        world.fail(0)
        world.repair(0)

    work = jobs((0.0, 100.0, 1), (0.0, 50.0, 1), checkpoint_s=[30.0, 0.0], gpu_milli=[1000, milli])
    fleet = owned(1, 1)
    state = State(fleet, work)
    log = Log()
    acts = ((0.0, "place", 0, 0), (10.0, "preempt", 0), (10.0, "place", 1, ((0, 1, milli),)))
    run(Simulation(fleet, work, processes=(blink,)), script(*acts), state, log)
    assert [row[::2] for row in story(log, "LOST")] == [(20.0, 0), (20.0, 1)]
    assert (state.books.capacity.free, state.books.capacity.mask) == ([1], [1])


def test_a_delay_that_vanishes_in_rounding_is_none() -> None:
    t = 1e8
    work = jobs((t, 100.0, 1), (t, 1.0, 1), checkpoint_s=[1e-9, 0.0], restart_s=[1e-9, 0.0])
    acts = ((t, "place", 0, 0), (t + 50.0, "preempt", 0), (t + 50.0, "place", 1, 0), (t + 60.0, "place", 0, 0))
    strategy = script(*acts)
    log = play(strategy, owned(1, 1), work)
    assert replay(log, owned(1, 1), work, strategy).sha256 == log.sha256
    assert story(log, "FINISHED")[-1] == (t + 110.0, "FINISHED", 0)


def test_an_elastic_job_starts_on_as_many_as_there_are() -> None:
    work = jobs((0.0, 80.0, 4), min_gpus=[2], max_gpus=[8])
    log = play(script((0.0, "place", 0, ((0, 0b11, 1000),))), owned(1, 8), work)
    assert story(log, "FINISHED")[0][0] == pytest.approx(80.0 / 0.5**0.9)
    log = play(script((0.0, "place", 0, ((0, 0b1, 1000),))), owned(1, 8), work)
    assert [rule for *_, rule in refusals(log)] == [Rule.GANG]


def test_data_may_not_be_staged_abroad_even_where_nothing_can_run() -> None:
    sites = (*hybrid().sites, Site("store", (), "us"))
    links = (*hybrid().links, Link("cloud", "store"))
    bound = {"residency": [0], "residencies": ("eu",), "dataset_site": [0], "dataset_sites": ("cloud",)}
    log = play(script((0.0, "stage", 0, 2), fit=True), Fleet(sites, links), jobs((0.0, 10.0, 1), **bound))
    assert [rule for *_, rule in refusals(log)] == [Rule.RESIDENCY]


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_run_stops_at_until_s() -> None:
    fleet, work = owned(1, 1), jobs((0.0, 10.0, 1), (0.0, 10.0, 1), (0.0, 10.0, 1))
    log = Log()
    executor = Simulated(until_s=15.0).start(fleet, work, State(fleet, work).books.perf, 0)
    run(executor, Fifo(), State(fleet, work), log)
    assert story(log, "FINISHED") == [(10.0, "FINISHED", 0)]
    assert story(log, "STARTED")[-1] == (10.0, "STARTED", 1)


def test_a_job_that_nobody_places_does_not_keep_the_world_going() -> None:
    fleet, work = owned(2, 1, mtbf_s=1000.0), jobs((0.0, 10.0, 1), (0.0, 10.0, 1))
    log = Log()
    run(Simulation(fleet, work, stall_s=5000.0), script((0.0, "place", 0, 0)), State(fleet, work), log)
    assert log.array()["time_s"][-1] < 7000.0


def test_a_users_process_sees_the_clock_and_changes_the_price() -> None:
    seen: list[float] = []

    def market(world: Simulation) -> Generator[Any, Any, None]:
        while True:
            yield world.timeout(30.0)
            seen.append(world.now)
            world.set_price(0, 1.0 + world.now / 100.0)

    log = play(FirstFit(), owned(1, 1), jobs((0.0, 100.0, 1)), market)
    assert seen[:3] == [30.0, 60.0, 90.0]
    rows = log.array()
    assert rows["value"][rows["kind"] == Kind.PRICE_CHANGED].tolist() == pytest.approx([1.3, 1.6, 1.9])


def test_switches_take_realism_out() -> None:
    fleet = hybrid(mtbf_s=500.0)
    work = jobs(
        (0.0, 10.0, 1),
        restart_s=[5.0],
        checkpoint_s=[5.0],
        dataset_site=[0],
        dataset_bytes=[5e9],
        dataset_sites=("home",),
        residency=[0],
        residencies=("us",),
    )
    plain, bare = Simulated(without=["boot", "failures", "data", "egress", "overheads", "residency", "minimum"]).world(
        fleet, work
    )
    assert [pool.boot_s for pool in plain.pools] == [0.0, 0.0]
    assert all(pool.mtbf_s == inf for pool in plain.pools)
    assert plain.pools[1].min_billing_s == 0.0
    assert all(link.usd_per_gb == 0.0 for link in plain.links)
    assert (bare.restart_s[0], bare.checkpoint_s[0], bare.dataset_site[0], bare.residency[0]) == (0.0, 0.0, -1, -1)


def test_a_link_that_is_missing_is_named() -> None:
    fleet = Fleet(
        (Site("a", (NodePool("x", "A100", 1, 1),)), Site("b", (NodePool("y", "A100", 1, 1),))), (Link("a", "b"),)
    )
    work = jobs((0.0, 10.0, 1), checkpoint_bytes=[1e9])
    said = "no link b -> a to carry checkpoints over, and job 0 may run at both; trace.attributes.checkpoint_bytes=0"
    with pytest.raises(ValueError, match=said):
        play(FirstFit(), fleet, work)
    log = play(FirstFit(), fleet, jobs((0.0, 10.0, 1)))
    assert story(log, "FINISHED") == [(10.0, "FINISHED", 0)]


@pytest.mark.parametrize("bound", ["residency", "gpu_type"])
def test_links_are_asked_only_where_one_job_may_go_both_ways(bound: str) -> None:
    """Two sites without a link. Jobs of which each may run at one alone need none, nor does one without checkpoints."""
    pools = (NodePool("x", "A100", 1, 2), NodePool("y", "T4", 1, 2))
    fleet = Fleet((Site("a", pools[:1], "us"), Site("b", pools[1:], "eu")))
    table = {"residencies": ("us", "eu")} if bound == "residency" else {"gpu_types": ("A100", "T4")}
    columns: dict[str, Any] = {bound: [0, 1, -1], "checkpoint_bytes": [1e9, 1e9, 0.0]} | table
    work = jobs((0.0, 10.0, 1), (0.0, 10.0, 1), (0.0, 10.0, 1), **columns)
    assert len(story(play(FirstFit(), fleet, work), "FINISHED")) == 3
    columns["checkpoint_bytes"] = [1e9] * 3
    with pytest.raises(InputError, match="no link a -> b to carry checkpoints over, and job 2 may run at both"):
        play(FirstFit(), fleet, jobs((0.0, 10.0, 1), (0.0, 10.0, 1), (0.0, 10.0, 1), **columns))


def test_jobs_that_share_a_gpu_run_at_once_and_never_above_the_whole() -> None:
    work = Jobs.build(arrival_s=[0.0] * 5, duration_s=[10.0] * 5, gpus=[1] * 5, gpu_milli=[500, 300, 200, 400, 1000])
    log = play(FirstFit(), owned(1, 2), work)
    assert starts(log) == {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0, 4: 10.0}


def test_a_job_that_shares_a_gpu_cannot_be_elastic() -> None:
    with pytest.raises(InputError, match="row 1: gpu_milli is 500, expected 1000 for an elastic job"):
        jobs((0.0, 1.0, 1), gpu_milli=[500], min_gpus=[1], max_gpus=[2])


def test_what_was_found_for_one_job_is_checked_for_another() -> None:
    @dataclass(frozen=True)
    class Swap(Strategy):
        def decide(self, view: View) -> Plan:
            plan = view.plan()
            if view.decision == 0:
                assert not plan.place(1, plan.first_fit(0))  # job 1 asks for more CPUs than there are
            return plan

    log = play(Swap(), owned(1, 4, cpus_per_node=8.0), jobs((0.0, 1.0, 1), (0.0, 1.0, 1), cpus=[1.0, 16.0]))
    assert refusals(log) == [(0.0, Verb.PLACE, 1, Rule.HOST)]


def test_a_claim_given_up_while_nodes_boot_leaves_nothing_behind() -> None:
    # a gang on two booting nodes is stopped and placed on the very same GPUs again: it starts when both are up
    fleet = hybrid(boot_s=100.0)
    where = ((1, 0b1111, 1000), (2, 0b1111, 1000))
    acts = ((0.0, "place", 0, where), (10.0, "preempt", 0), (20.0, "place", 0, where))

    def late(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(50.0)
        world.fail(2)  # not up yet: nothing happens

    log = play(script(*acts), fleet, jobs((0.0, 10.0, 8)), late)
    assert story(log, "STARTED") == [(100.0, "STARTED", 0)]
    acts = ((0.0, "provision", 1, 1), (50.0, "place", 0, where), (60.0, "preempt", 0), (70.0, "place", 0, where))
    log = play(script(*acts), fleet, jobs((0.0, 10.0, 8)))
    assert story(log, "NODE_UP", "STARTED") == [(100.0, "NODE_UP", 1), (150.0, "NODE_UP", 2), (150.0, "STARTED", 0)]


def test_a_job_above_the_quota_fits_no_pool() -> None:
    """Nodes of four GPUs within a quota of eight: a gang of twelve can never be rented."""
    rent = NodePool("rent", "A100", 4, 4, 4.0, market="on_demand")
    fleet = Fleet((Site("cloud", (rent,), quota_gpus=8),))
    work = jobs((0.0, 10.0, 8), (0.0, 10.0, 12))
    with pytest.raises(InputError, match=r"job 1 \(12 GPUs\) fits no pool \(rent: quota\)"):
        Experiment(fleet, work, Fifo(), on_infeasible="error").run()
    assert Experiment(fleet, work, Fifo()).run().summary["jobs_infeasible"] == 1


@pytest.mark.parametrize("until_s", [-1.0, 0.0, float("nan")])
def test_a_run_ends_after_it_began(until_s: float) -> None:
    with pytest.raises(InputError, match=r"executor\.until_s is .*, expected > 0"):
        Simulated(until_s=until_s)
