"""Leases: when they end, that they can be renewed, and that rounds can be replayed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from hcsim import Fleet, InputError, Jobs, Kind, NodePool, Plan, Site, Strategy, View, on
from hcsim.control import StrategyError, run
from hcsim.log import Log
from hcsim.planning.rounds import RoundBased
from hcsim.replay import replay
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.finish_time_fairness import FinishTimeFairness
from hcsim.strategies.isolated import Isolated
from hcsim.strategies.max_min_fairness_perf import MaxMinFairnessPerf
from hcsim.strategies.themis import Themis

FLEET = Fleet((Site("here", (NodePool("own", "A100", 1, 2),)),))


def log_of(strategy: Strategy | RoundBased, jobs: Jobs, fleet: Fleet = FLEET) -> Log:
    log = Log()
    run(Simulation(fleet, jobs), strategy, State(fleet, jobs, estimate_s=np.array(jobs.duration_s).data), log)
    log.flush(everything=True)
    return log


def ends(log: Log) -> list[tuple[float, str, int]]:
    rows = log.array()
    kinds = {Kind.LEASE_ENDED: "one", Kind.ALL_LEASES_ENDED: "all", Kind.FINISHED: "job"}
    return [(r["time_s"], kinds[r["kind"]], int(r["subject"])) for r in rows if r["kind"] in kinds]


@dataclass(frozen=True)
class Leased(Strategy):
    """Leases of 100 s, each renewed once, for 50 s."""

    wake = on(Kind.ARRIVED, Kind.LEASE_ENDED)

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in list(view.waiting):
            plan.place(job, plan.first_fit(job), 100.0)
        for job in view.claims:
            if job not in view.leases and view.progress_s(job) < 120.0:
                plan.renew(job, 50.0)
        return plan


def test_leases_end_and_are_renewed() -> None:
    # J0 (1,000 s) from 0 until 100, and again until 150. J1 (60 s) comes at 30: it ends with its lease running.
    log = log_of(Leased(), Jobs.build(arrival_s=[0.0, 30.0], duration_s=[1000.0, 60.0]))
    assert ends(log) == [(90.0, "job", 1), (100.0, "one", 0), (100.0, "all", 0), (150.0, "one", 0), (150.0, "all", 0),
                         (1000.0, "job", 0)]  # fmt: skip


def test_all_leases_end_with_the_job_that_had_the_last() -> None:
    log = log_of(Leased(), Jobs.build(arrival_s=[0.0, 0.0, 500.0], duration_s=[40.0, 60.0, 10.0]))
    assert ends(log) == [(40.0, "job", 0), (60.0, "job", 1), (60.0, "all", 0), (510.0, "job", 2)]


def test_a_lease_that_would_end_just_before_its_job_ends_with_it() -> None:
    log = log_of(Leased(), Jobs.build(arrival_s=[0.0], duration_s=[100.0 + 1e-9]))
    assert ends(log) == [(100.0 + 1e-9, "job", 0), (100.0 + 1e-9, "one", 0), (100.0 + 1e-9, "all", 0)]


@dataclass(frozen=True)
class RenewsAtOnce(Strategy):
    """A new lease for jobs that hold nothing."""

    lease_s: float = 10.0

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        plan.renew(0, self.lease_s)
        return plan


def test_only_who_holds_gpus_can_renew() -> None:
    jobs = Jobs.build(arrival_s=[0.0], duration_s=[10.0])
    with pytest.raises(StrategyError, match="illegal action: renew job 0, whose status is WAITING"):
        log_of(RenewsAtOnce(), jobs)


@dataclass(frozen=True)
class RenewsForEver(Leased):
    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in list(view.waiting):
            plan.place(job, plan.first_fit(job), 100.0)
        for job in view.claims:
            if job not in view.leases:
                plan.renew(job, float("inf"))
        return plan


def test_a_lease_is_finite() -> None:
    with pytest.raises(InputError, match="renew with lease_s = inf, expected a finite number >= 0"):
        log_of(RenewsForEver(), Jobs.build(arrival_s=[0.0], duration_s=[200.0]))


@pytest.mark.parametrize("strategy", [Isolated(), MaxMinFairnessPerf(), FinishTimeFairness(), Themis()], ids=repr)
def test_rounds_come_out_the_same_when_replayed(strategy: RoundBased) -> None:
    rng = np.random.default_rng(3)
    jobs = Jobs.build(
        arrival_s=np.sort(rng.uniform(0, 4000, 12)),
        duration_s=rng.uniform(100, 3000, 12),
        gpus=rng.choice([1, 2], 12),
        checkpoint_s=np.full(12, 7.0),
        restart_s=np.full(12, 13.0),
    )
    log = log_of(strategy, jobs)
    again = replay(log, FLEET, jobs, strategy, estimate_s=np.array(jobs.duration_s).data)
    assert again.sha256 == log.sha256
    rows = log.array()
    assert (rows["kind"] == Kind.FINISHED).sum() == 12
    assert (rows["kind"] == Kind.PREEMPTED).sum() > 3
