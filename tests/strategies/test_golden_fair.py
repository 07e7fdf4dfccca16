"""Golden schedules of strategies that share by tenant, service or place in a queue; the comment is the working."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from hcsim import Fleet, InputError, Jobs, Kind, NodePool, Site
from hcsim.control import run
from hcsim.log import Log
from hcsim.planning.rounds import Cluster
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.allox import Allox
from hcsim.strategies.drf import Drf
from hcsim.strategies.gandiva_fair import GandivaFair
from hcsim.strategies.srsf import Srsf
from hcsim.strategies.themis import Themis
from hcsim.strategy import AnyStrategy
from hcsim.testing import violation
from tests.planning.worlds import Trace


def times(strategy: AnyStrategy, fleet: Fleet, jobs: Jobs) -> list[list[float]]:
    """When each job starts, and starts again."""
    log = Log()
    run(Simulation(fleet, jobs), strategy, State(fleet, jobs, estimate_s=np.array(jobs.duration_s).data), log)
    assert not violation(log, fleet, jobs)
    rows = log.array()
    assert (rows["kind"] == Kind.FINISHED).sum() == len(jobs)
    rows = rows[rows["kind"] == Kind.STARTED]
    return [rows["time_s"][rows["subject"] == j].tolist() for j in range(len(jobs))]


def pool(nodes: int, gpus: int, **more: float) -> Fleet:
    return Fleet((Site("here", (NodePool("own", "A100", gpus, nodes, **more),)),))  # type: ignore[arg-type]


def test_srsf() -> None:
    # GPU-seconds: J0 3 x 10 = 30, J1 4 x 5 = 20, J2 20, J3 4. Four GPUs at 0: J3, then J1 does not fit, J2, and J0 does
    # not fit. At 4 J3 ends, three are free: not for J1, but for J0, until 14. J1 needs all four: when J2 ends at 20.
    jobs = Jobs.build(arrival_s=[0.0] * 4, duration_s=[10.0, 5.0, 20.0, 4.0], gpus=[3, 4, 1, 1])
    assert times(Srsf(margin_gpu_s=1.0), pool(1, 4), jobs) == [[4.0], [20.0], [0.0], [0.0]]


def test_srsf_weighs_by_gpus() -> None:
    # J0 (4 GPUs) has 60 s to go at 40, which is 240 GPU-s; J1 (1 GPU, 100 s) has 100, so J0 makes way, though it would
    # end sooner. It goes on at 140.
    jobs = Jobs.build(arrival_s=[0.0, 40.0], duration_s=[100.0, 100.0], gpus=[4, 1])
    assert times(Srsf(margin_gpu_s=1.0), pool(1, 4), jobs) == [[0.0, 140.0], [40.0]]


def test_drf() -> None:
    # The paper's example (NSDI'11, section 4.1): 9 CPUs and 18 GB; a's jobs want 1 CPU and 4 GB, b's 3 CPUs and 1 GB.
    # Three of a's (2/3 of the memory) and two of b's (2/3 of the CPUs) run; GPUs, one each, do not bind.
    jobs = Jobs.build(
        arrival_s=[0.0] * 8, duration_s=[100.0] * 8, cpus=[1.0] * 4 + [3.0] * 4, ram_bytes=[4e9] * 4 + [1e9] * 4,
        tenant=[0] * 4 + [1] * 4, tenants=("a", "b"),
    )  # fmt: skip
    fleet = pool(1, 16, cpus_per_node=9.0, ram_bytes_per_node=18e9)
    assert times(Drf(), fleet, jobs) == [[0.0]] * 3 + [[100.0]] + [[0.0]] * 2 + [[100.0]] * 2


def test_drf_by_weight() -> None:
    # Three GPUs; b counts twice and has two of them.
    jobs = Jobs.build(arrival_s=[0.0] * 4, duration_s=[100.0] * 4, tenant=[0, 0, 1, 1], tenants=("a", "b"))
    assert times(Drf(weights=(1.0, 2.0)), pool(1, 3), jobs) == [[0.0], [100.0], [0.0], [0.0]]
    with pytest.raises(InputError, match=r"strategy.weights.0 is 0.0, expected a finite number > 0"):
        Drf(weights=(0.0,))


def test_themis() -> None:
    # One GPU, leases of 100 s. J0 (300 s) at 0. J1 (100 s) comes at 10, when J0's lease stands. At 100 each one's part
    # is half a GPU: J0 would have taken 100 + 200 of 600 s, ρ = 1/2; J1 90 + 100 of 200 s, ρ = 0.95. So J1 has the GPU,
    # and J0 goes on at 200.
    jobs = Jobs.build(arrival_s=[0.0, 10.0], duration_s=[300.0, 100.0])
    assert times(Themis(lease_s=100.0), pool(1, 1), jobs) == [[0.0, 200.0], [100.0]]


def test_themis_lets_the_better_off_keep_what_nobody_bids_for() -> None:
    # Two GPUs, J0 and J1 alone: leases are renewed, nobody stops. J2 (10 s) comes at 50, and at 100 ρ is 60 / (10 /
    # (2/3) = 10): it has one in three of two GPUs, at most all of its one; 60 / 15 = 4. Of J0 and J1 (both 300 / 450)
    # the one with the higher number goes.
    jobs = Jobs.build(arrival_s=[0.0, 0.0, 50.0], duration_s=[300.0, 300.0, 10.0])
    assert times(Themis(lease_s=100.0), pool(1, 2), jobs) == [[0.0], [0.0, 110.0], [100.0]]


#: Seconds of model a on a V100 are four on a K80; of model b hardly more than one.
RATES = {("a", 1): {"V100": 4.0, "K80": 1.0}, ("b", 1): {"V100": 2.0, "K80": 1.9}}


def test_allox() -> None:
    # J0 100 s on the V100 or 400 s on the K80, J1 200 or 210 s. Apart they take 100 + 210 in all, both on the V100
    # 100 + 300, the other way round 200 + 400.
    trace = Trace(RATES, {"V100": 1, "K80": 1}, [(0.0, "a", 1, 400), (0.0, "b", 1, 399)])
    assert trace.ends(Allox()).tolist() == pytest.approx([100.0, 210.0])
    # J1 50 s or 200 s: both on the V100, the shorter first, take 50 + 150; apart it is 100 + 200 or 50 + 400. So J0
    # waits beside an idle K80.
    trace = Trace(RATES, {"V100": 1, "K80": 1}, [(0.0, "a", 1, 400), (0.0, "a", 1, 200)])
    assert trace.ends(Allox()).tolist() == pytest.approx([150.0, 50.0])


def test_allox_keeps_a_pool_for_a_gang_that_came_first() -> None:
    # J0 has one of two GPUs until 100. J1 wants both, for 50 s; J2 (60 s) is matched behind it, and so does not take
    # the one that is free.
    jobs = Jobs.build(arrival_s=[0.0, 10.0, 20.0], duration_s=[100.0, 50.0, 60.0], gpus=[1, 2, 1])
    assert times(Allox(), pool(1, 2), jobs) == [[0.0], [100.0], [150.0]]


def test_gandiva_fair() -> None:
    # Two V100, two K80; a's two jobs have a speed-up of 4, b's of 2 / 1.9 = 1.0526, and each has one of both. The price
    # is 1.0526 K80: a gives its K80 for 0.95 V100. Then a has 1.95 V100, and b 0.05 with both K80: as much as before.
    jobs = [(0.0, "a", 1, 14_400), (0.0, "a", 1, 14_400), (0.0, "b", 1, 6840), (0.0, "b", 1, 6840)]
    trace = Trace(RATES, {"V100": 2, "K80": 2}, jobs, tenants=(0, 0, 1, 1))
    view = SimpleNamespace(tenant=[0, 0, 1, 1])
    rate = np.array([[4.0, 1.0]] * 2 + [[2.0, 1.9]] * 2)
    cluster = Cluster(view, [0, 1, 2, 3], rate, np.ones(4), np.full(2, 2.0), np.ones(4))  # type: ignore[arg-type]
    shares, _ = GandivaFair().shares(cluster, None, None)  # type: ignore[arg-type]
    np.testing.assert_allclose(shares, [[0.975, 0.0]] * 2 + [[0.025 / 1.025, 1 / 1.025]] * 2)
    alone, _ = GandivaFair(trades=False).shares(cluster, None, None)  # type: ignore[arg-type]
    np.testing.assert_allclose(alone, np.full((4, 2), 0.5))
    # so a's jobs stay on the V100s, b's on the K80s: an hour each
    assert trace.ends(GandivaFair()).tolist() == pytest.approx([3600.0] * 4)


def test_tickets_divide_by_tenant_and_not_by_job() -> None:
    # One V100, 1,080 s of work each. a has one job and half of the time, b two with a quarter each. X / f by rounds, f
    # from 1/3: 1.5, 0.75, 0.75: J0. Then 0.5 / 0.6, 0.25 / 0.2 twice: J1. Then 1.17, 0.58, 1.75: J2. Then all f are 1/3
    # again: J0, and with 0.5 / 0.4545 over 0.25 / 0.2727 once more. It has ended at 1,800; J1 and J2 then take turns.
    trace = Trace(RATES, {"V100": 1}, [(0.0, "a", 1, 4320)] + [(0.0, "b", 1, 2160)] * 2, tenants=(0, 1, 1))
    _, rows = trace.play(GandivaFair())
    rows = rows[rows["kind"] == Kind.STARTED]
    assert [rows["time_s"][rows["subject"] == j].tolist() for j in range(3)] == [
        [0.0, 1080.0], [360.0, 1800.0, 2520.0], [720.0, 2160.0, 2880.0]
    ]  # fmt: skip


def test_parameters_are_held_against_their_bounds() -> None:
    for strategy, options, said in (
        (Srsf, {"depth": -1}, "strategy.depth is -1, expected >= 0"),
        (Srsf, {"margin_gpu_s": float("nan")}, "strategy.margin_gpu_s is nan"),
        (Themis, {"fairness": 1.0}, "strategy.fairness is 1.0, expected 0 to below 1"),
        (Themis, {"lease_s": 0.0}, "strategy.lease_s is 0.0"),
        (Allox, {"depth": 0}, "strategy.depth is 0, expected > 0"),
    ):
        with pytest.raises(InputError, match=said):
            strategy(**options)  # type: ignore[operator]
    assert dataclasses.replace(GandivaFair(), trades=False) != GandivaFair()
