"""Jobs that ask for no GPU: CPUs and RAM of one node, beside jobs that ask for both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from hcsim import Fleet, InputError, Jobs, Kind, NodePool, Plan, Site, Strategy, View
from hcsim.control import run
from hcsim.log import Log
from hcsim.metrics import job_table
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.best_fit import BestFit
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategies.weighted_best_fit import WeightedBestFit
from hcsim.testing import violation


def fleet(nodes: int = 1, gpus: int = 2, cpus: float = 10.0, **more: object) -> Fleet:
    return Fleet((Site("here", (NodePool("own", "H100", gpus, nodes, 2.0, cpus_per_node=cpus, **more),)),))  # type: ignore[arg-type]


def played(strategy: Strategy, where: Fleet, jobs: Jobs, **world: object) -> Log:
    log = Log()
    run(Simulation(where, jobs, **world), strategy, State(where, jobs), log)  # type: ignore[arg-type]
    assert not violation(log, where, jobs)
    return log


def starts(log: Log, jobs: Jobs) -> list[float]:
    rows = log.array()
    rows = rows[rows["kind"] == Kind.STARTED]
    return [float(rows["time_s"][rows["subject"] == job][-1]) for job in range(len(jobs))]


@pytest.mark.parametrize("strategy", [FirstFit(), BestFit(), WeightedBestFit()], ids=lambda s: s.name)
def test_cpus_are_what_they_wait_for(strategy: Strategy) -> None:
    # 10 CPUs, 2 GPUs. J0 takes both GPUs and 4 CPUs; J1 and J2 (no GPU, 3 CPUs each) fit beside it, J3 (1) does not. At
    # 5 J1 ends and J3 starts. An H100 does the work of J0 in half the time; CPUs are alike: J1 takes its 5 s.
    jobs = Jobs.build(
        arrival_s=[0.0] * 4, duration_s=[20.0, 5.0, 50.0, 1.0], gpus=[2, 0, 0, 0], cpus=[4.0, 3.0, 3.0, 1.0]
    )
    log = played(strategy, fleet(), jobs)
    assert starts(log, jobs) == [0.0, 0.0, 0.0, 5.0]
    table = job_table(log.array(), jobs, fleet())
    assert table["finish_s"].tolist() == [10.0, 5.0, 50.0, 6.0]
    assert table["gpu_s"].tolist() == [20.0, 0.0, 0.0, 0.0] and table["cost_usd"][1:].tolist() == [0.0] * 3


@pytest.mark.parametrize("strategy", [FirstFit(), WeightedBestFit()], ids=lambda s: s.name)
def test_what_fits_exactly_fits(strategy: Strategy) -> None:
    # 0.3 + 0.3 + 9.4 CPUs are 10, though not in floating point.
    assert 10.0 - 0.3 - 0.3 < 9.4
    jobs = Jobs.build(arrival_s=[0.0] * 3, duration_s=[9.0] * 3, gpus=[0] * 3, cpus=[0.3, 0.3, 9.4])
    assert starts(played(strategy, fleet(), jobs), jobs) == [0.0] * 3


def test_a_rented_node_stays_while_one_runs() -> None:
    # J0 has the node's only GPU until 10, J1 runs without one until 100; an idle node is given back after 5 s. J2 rents
    # it again.
    where = fleet(gpus=1, market="on_demand", idle_release_s=5.0)
    jobs = Jobs.build(arrival_s=[0.0, 0.0, 200.0], duration_s=[20.0, 100.0, 1.0], gpus=[1, 0, 0], cpus=[1.0] * 3)
    rows = played(FirstFit(), where, jobs).array()
    assert rows["time_s"][rows["kind"] == Kind.FINISHED].tolist() == [10.0, 100.0, 201.0]
    assert rows["time_s"][rows["kind"] == Kind.NODE_OFF].tolist() == [105.0]


def test_a_node_that_is_down_takes_none() -> None:
    # Down from 10 to 30: J0 is lost and starts anew at 30, where J1, which comes at 20, starts as well.
    def outage(world: Simulation):  # type: ignore[no-untyped-def]
        yield world.timeout(10.0)
        world.fail(node=0)
        yield world.timeout(20.0)
        world.repair(node=0)

    jobs = Jobs.build(arrival_s=[0.0, 20.0], duration_s=[50.0, 5.0], gpus=[0, 0], cpus=[6.0, 4.0])
    for strategy in (FirstFit(), WeightedBestFit()):
        log = played(strategy, fleet(), jobs, processes=(outage,))
        assert starts(log, jobs) == [30.0, 30.0]


def test_one_can_be_moved() -> None:
    @dataclass(frozen=True)
    class Moves(Strategy):
        def decide(self, view: View) -> Plan:
            plan = view.plan()
            for job in plan.placeable(view.waiting):
                plan.place(job, plan.first_fit(job))
            if 10.0 <= view.now < 20.0 and 0 in view.running() and view.claims[0][0][0] == 0:
                assert plan.migrate(0, 1)
            plan.wake_at(10.0) if view.now < 10.0 else None
            return plan

    jobs = Jobs.build(arrival_s=[0.0], duration_s=[50.0], gpus=[0], cpus=[6.0])
    log = played(Moves(), fleet(nodes=2), jobs)
    rows = log.array()
    assert rows["node"][rows["kind"] == Kind.PLACED].tolist() == [0, 1]
    assert rows["time_s"][rows["kind"] == Kind.FINISHED].tolist() == [50.0]


def test_a_job_asks_for_something() -> None:
    with pytest.raises(InputError, match=r"row 2: gpus is 0, expected at least 1 \(0 with cpus or ram_bytes\)"):
        Jobs.build(arrival_s=[0.0, 0.0], duration_s=[1.0, 1.0], gpus=[1, 0])
    with pytest.raises(InputError, match="row 1: gpu_milli is 500, expected 1000 unless gpus is 1"):
        Jobs.build(arrival_s=[0.0], duration_s=[1.0], gpus=[0], gpu_milli=[500], cpus=[1.0])
    assert Jobs.build(arrival_s=[0.0], duration_s=[1.0], gpus=[0], ram_bytes=[1.0]).max_gpus.tolist() == [0]


def test_metrics_and_bill_hold_without_any_gpu() -> None:
    from hcsim import Experiment

    jobs = Jobs.build(
        arrival_s=np.arange(20.0), duration_s=np.full(20, 30.0), gpus=np.zeros(20, int), cpus=np.full(20, 2.5)
    )
    result = Experiment(fleet(), jobs, FirstFit()).run()
    assert result.summary["cost_usd"] > 0.0  # of the idle node
    assert result.summary["jobs_finished"] == 20 and result.summary["gpu_seconds_used"] == 0.0
