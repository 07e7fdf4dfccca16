"""What a strategy may not do: see the future, act through another plan than the last, claim GPUs that do not exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hcsim import Experiment, Fleet, InputError, Jobs, NodePool, Plan, Site, Strategy, View, on, while_waiting
from hcsim.control import StrategyError
from hcsim.events import Kind
from hcsim.sim import Simulated
from hcsim.strategies.first_fit import FirstFit
from hcsim.testing import CheckFailed, check_strategy
from tests.worlds import jobs as some

OWN = NodePool("own", "A100", 8, 1, 1.0)
RENTED = NodePool("rented", "A100", 8, 2, 2.0, "on_demand")
FLEET = Fleet((Site("home", (OWN,)), Site("cloud", (RENTED,), provider="c", kind="cloud")))


@dataclass(frozen=True)
class Doing(Strategy):
    """What is given, and first fit for the rest."""

    what: Callable[[View, Plan], Any]
    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        self.what(view, plan)
        for job in plan.placeable(view.waiting):
            if (where := plan.first_fit(job)) is not None:
                plan.place(job, where)
        return plan


def run(strategy: Strategy, work: Jobs, fleet: Fleet = FLEET, **executor: Any) -> Any:
    return Experiment(fleet, work, strategy, executor=Simulated(**executor)).run()


PEEKS: dict[str, Callable[[View, Plan, int], Any]] = {
    "status": lambda view, plan, job: view.status(job),
    "class": lambda view, plan, job: view.job_class(job),
    "queued": lambda view, plan, job: view.queued_s(job),
    "attained": lambda view, plan, job: view.attained_gpu_s(job),
    "progress": lambda view, plan, job: view.progress_s(job),
    "rate": lambda view, plan, job: view.rate(job, ((0, 1, 1000),)),
    "allowed": lambda view, plan, job: view.allowed_pools(job),
    "egress": lambda view, plan, job: view.egress_usd(job, 0),
    "transfer": lambda view, plan, job: view.transfer_s(job, 0),
    "data": lambda view, plan, job: view.has_data(job, 0),
    "first fit": lambda view, plan, job: plan.first_fit(job),
    "best fit": lambda view, plan, job: plan.best_fit(job),
    "fits": lambda view, plan, job: plan.fits(job, 0),
    "on nodes": lambda view, plan, job: plan.on_nodes(job, [0]),
    "place": lambda view, plan, job: plan.place(job, 0),
    "hold": lambda view, plan, job: plan.hold(job, view.now + 1.0),
    "reject": lambda view, plan, job: plan.reject(job),
    "stage": lambda view, plan, job: plan.stage(job, 0),
}


@pytest.mark.parametrize("peek", PEEKS)
@pytest.mark.parametrize("job", [1, -1, 7])
def test_nothing_tells_of_jobs_to_come(peek: str, job: int) -> None:
    """Two jobs; the second comes later. It is as unknown as the one before the first, and one that never comes."""
    said = []

    def look(view: View, plan: Plan) -> None:
        if view.now == 0.0:
            with pytest.raises(InputError) as error:
                PEEKS[peek](view, plan, job)
            said.append(str(error.value))

    run(Doing(look), some((0, 10, 1), (5000, 10, 4)))
    assert said and all("1 have arrived" in each or "unknown" in each for each in said)


def test_the_checker_finds_who_counts_jobs_to_come() -> None:
    def counting(view: View, plan: Plan) -> None:
        view.status(len(view.arrival_s))

    with pytest.raises(CheckFailed, match="have arrived"):
        check_strategy(Doing(counting))


@pytest.mark.parametrize("mask", [1 << 10, 1 << 8, 1 << 20, -1, 0])
@pytest.mark.parametrize("node", [0, 1])
def test_gpus_that_a_node_does_not_have_are_refused(mask: int, node: int) -> None:
    """On a node that is up, and on a rented one that is off."""

    def place(view: View, plan: Plan) -> None:
        if view.decision == 0:
            assert not plan.place(0, ((node, mask, 1000),))

    log = run(Doing(place), some((0, 10, 1), (1, 10, 1))).log.array()
    assert (log["kind"] == Kind.REFUSED).sum() == 1
    assert not (log["value"][log["kind"] == Kind.PLACED] > 255).any()


def test_only_the_last_plan_may_act() -> None:
    kept: list[Plan] = []

    def older(view: View, plan: Plan) -> None:
        kept.append(plan)
        if len(kept) > 1:
            kept[0].place(next(iter(view.waiting)), 0)

    work = some((0, 10, 8), (5, 10, 8))
    with pytest.raises(StrategyError, match="place job 1 by a plan that no longer stands"):
        run(Doing(older), work)

    @dataclass(frozen=True)
    class Two(Strategy):
        def decide(self, view: View) -> Plan:
            first, second = view.plan(), view.plan()
            for job in view.waiting:
                first.place(job, 0)
            return second

    with pytest.raises(StrategyError, match=r"no longer stands.*\(decision 0, t = 0 s\)"):
        run(Two(), work)


def test_a_refusal_is_an_event_that_can_be_woken_by() -> None:
    @dataclass(frozen=True)
    class Learns(Strategy):
        wake = on(Kind.ARRIVED, Kind.REFUSED)

        def decide(self, view: View) -> Plan:
            plan = view.plan()
            for job in view.waiting:
                plan.place(job, ((0, 1, 1000),) if view.decision == 0 else plan.first_fit(job))  # one GPU for eight
            return plan

    result = run(Learns(), some((0, 10, 8)))
    assert result.summary["jobs_finished"] == 1 and result.summary["decisions"] == 2


@pytest.mark.parametrize("kind", [Kind.WAKE, Kind.REMEMBERED, 3, "LOST"])
def test_nobody_wakes_by_what_is_no_event(kind: Any) -> None:
    with pytest.raises(ValueError, match="expected kinds of events"):
        on(kind)


def test_a_run_that_is_cut_counts_until_then() -> None:
    fleet = Fleet((Site("home", (OWN,)),))
    result = run(FirstFit(), some((0, 1e6, 4), (10, 1, 1)), fleet, until_s=36000.0)
    assert result.summary["cost_usd"] == pytest.approx(80.0)
    assert result.summary["gpu_seconds_used"] == pytest.approx(4 * 36000.0 + 1.0)
    assert result.log.array()["kind"][-1] == Kind.ENDED
    whole = run(FirstFit(), some((0, 10, 4)), fleet, until_s=36000.0)
    assert whole.log.array()["kind"][-1] == Kind.FINISHED


def test_illegal_actions_name_the_decision_they_are_of() -> None:
    for act in (
        lambda plan: plan.provision("x", 2),
        lambda plan: plan.release("x"),
        lambda plan: plan.provision(1, "y"),
    ):
        with pytest.raises(StrategyError, match=r"illegal action: .*\(decision 0, t = 0 s\)"):
            run(Doing(lambda view, plan, act=act: act(plan)), some((0, 10, 1)))


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda world: world.set_price(0, np.inf), "price of pool 0 is inf"),
        (lambda world: world.set_price(9, 1.0), "no pool 9, expected 0 to 1"),
        (lambda world: world.fail(99), "no node 99, expected 0 to 2"),
        (lambda world: world.fail(-1), "no node -1, expected 0 to 2"),
        (lambda world: world.cut(0), "no link 0"),
    ],
)
def test_processes_are_told_what_is_not_there(act: Callable[[Any], None], said: str) -> None:
    def process(world: Any) -> Any:
        yield world.timeout(1.0)
        act(world)

    with pytest.raises(InputError, match=said):
        run(FirstFit(), some((0, 10, 1)), processes=(process,))
