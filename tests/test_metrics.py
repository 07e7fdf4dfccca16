"""Figures and bills of logs that were worked out by hand, and sums that must hold for any log."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import Fleet, Jobs, NodePool, Site
from hcsim.ledger import bill
from hcsim.log import Log
from hcsim.metrics import finish_time_fairness, gpu_seconds, job_table, summarize, timeline
from hcsim.sim import Simulation
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategies.las import Las
from hcsim.traces.twin import Twin
from tests.worlds import hybrid, jobs, owned, play, script


def test_two_jobs_one_gpu() -> None:
    # one GPU; job 0 runs 0-10, job 1 arrives at 4 and runs 10-30: JCTs 10 and 26, delays 0 and 6
    fleet = owned(1, 1)
    work = jobs((0, 10, 1), (4, 20, 1), deadline_s=[20, 25])
    log = play(FirstFit(), fleet, work)
    s = summarize(log.array(), work, fleet)
    assert (s["jct_mean_s"], s["queue_delay_mean_s"], s["makespan_s"]) == (18.0, 3.0, 30.0)
    assert (s["jobs_finished"], s["jobs_submitted"], s["gpu_utilization"]) == (2, 2, 1.0)
    assert s["deadline_miss_rate"] == 0.5
    assert s["cost_usd"] == pytest.approx(30 / 3600)  # one owned GPU at 1 USD an hour for 30 s
    table = job_table(log.array(), work, fleet)
    assert table["queue_delay_s"].tolist() == [0.0, 6.0]
    assert table["gpu_s"].tolist() == [10.0, 20.0]


def test_a_rented_node_is_billed_from_up_to_off_with_its_minimum() -> None:
    # the owned node is full, so job 1 rents: asked at 0, up at 100, runs 100-110, idle until 160, off: 60 s billed,
    # 4 GPUs at 4 USD; the owned node is paid until the end
    fleet = hybrid()
    work = jobs((0, 500, 4), (0, 10, 4))
    log = play(FirstFit(), fleet, work)
    ledger = bill(log.array(), fleet)
    assert ledger.by_market_usd(fleet)["on_demand"] == pytest.approx(4 * 4 * 60 / 3600)
    assert ledger.by_market_usd(fleet)["owned"] == pytest.approx(4 * 500 / 3600)
    # at 130 s the stretch is 30 s old and owes its minimum of 60 s already
    assert bill(log.array(), fleet, 130.0).by_market_usd(fleet)["on_demand"] == pytest.approx(4 * 4 * 60 / 3600)
    use = gpu_seconds(log.array(), fleet)
    assert use["busy"] == 4 * 500 + 4 * 10
    assert use["starting"] == 0.0  # the claim waited for its node to boot, not on GPUs that were up
    assert use["idle"] == 4 * 50
    assert use["off"] == 12 * 500 - use["busy"] - use["idle"]


def test_egress_is_billed_by_the_link() -> None:
    fleet = hybrid()
    work = jobs((0, 10, 4), dataset_site=[0], dataset_bytes=[50e9], dataset_sites=("home",))
    log = play(script((0.0, "place", 0, 1)), fleet, work)
    ledger = bill(log.array(), fleet)
    assert ledger.usd[ledger.of("egress")].tolist() == [pytest.approx(50 * 0.02)]
    # asked at 0, up at 100, 50 GB at 1 GB/s: starts at 150 after 50 s of staging on four GPUs
    assert job_table(log.array(), work, fleet)["first_start_s"].tolist() == [150.0]
    assert gpu_seconds(log.array(), fleet)["starting"] == 4 * 50


def test_a_price_change_splits_a_stretch() -> None:
    fleet = owned(1, 1)

    def dearer(world: Simulation):  # type: ignore[no-untyped-def]
        yield world.timeout(25.0)
        world.set_price(0, 3.0)

    log = play(FirstFit(), fleet, jobs((0, 100, 1)), dearer)
    assert bill(log.array(), fleet).total_usd == pytest.approx((25 * 1 + 75 * 3) / 3600)


def test_lost_work_and_preemptions() -> None:
    # checkpoints every 30 s; the node fails at 100 for 50 s: 10 s are lost and run again, restart takes 5 s
    fleet = owned(1, 2)
    work = jobs((0, 200, 2), checkpoint_interval_s=[30.0], restart_s=[5.0])

    def outage(world: Simulation):  # type: ignore[no-untyped-def]
        yield world.timeout(100.0)
        world.fail(0)
        yield world.timeout(50.0)
        world.repair(0)

    log = play(FirstFit(), fleet, work, outage)
    table = job_table(log.array(), work, fleet)
    assert table["finish_s"].tolist() == [150 + 5 + 110]
    assert table["lost_gpu_s"].tolist() == [20.0]
    assert table["losses"].tolist() == [1]
    use = gpu_seconds(log.array(), fleet)
    assert use == {"busy": 2 * 210.0, "starting": 10.0, "draining": 0.0, "idle": 0.0, "off": 2 * 50.0}


def test_finish_time_fairness_of_a_shared_gpu() -> None:
    # two equal jobs on one GPU, both there from 0: one is done at 10, the other at 20. The mean number of jobs in the
    # system is 2 in the first one's life and 1.5 in the second's; alone on a 1/n share they take 20 and 15 seconds
    fleet = owned(1, 1)
    work = jobs((0, 10, 1), (0, 10, 1))
    table = job_table(play(FirstFit(), fleet, work).array(), work, fleet)
    assert finish_time_fairness(table, work, fleet).tolist() == pytest.approx([0.5, 20 / 15])


def test_nothing_finished_gives_none_and_not_nan() -> None:
    fleet = owned(1, 1)
    work = jobs((0, 10, 1))
    s = summarize(Log().array(), work, fleet)
    assert s["jct_mean_s"] is None and s["gpu_utilization"] is None and s["jobs_finished"] == 0
    assert not any(isinstance(v, float) and np.isnan(v) for v in s.values())


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 3), st.floats(0.5, 3.0), st.booleans())
def test_sums_hold_for_any_run(seed: int, own: int, load: float, preemptive: bool) -> None:
    fleet = Fleet(
        (
            *hybrid(own, 3).sites,
            Site("lab", (NodePool("old", "A100", 2, 2, 0.3, mtbf_s=20_000.0, repair_s=2_000.0),), "us"),
        ),
        tuple(
            type(hybrid().links[0])(a, b, usd_per_gb=0.01)
            for a in ("home", "cloud", "lab")
            for b in ("home", "cloud", "lab")
            if a != b
        ),
    )
    twin = Twin(n=120, gpus=fleet.gpus, load=load, max_gang=4)
    work = twin.jobs(seed)
    kept = ("arrival_s", "duration_s", "gpus", "checkpoint_interval_s", "checkpoint_s", "restart_s")
    work = Jobs.build(**{key: getattr(work, key) for key in kept})
    log = play(Las(600.0) if preemptive else FirstFit(), fleet, work, seed=seed)
    rows = log.array()
    end_s = float(rows["time_s"][-1])
    use = gpu_seconds(rows, fleet)
    assert sum(use.values()) == pytest.approx(fleet.gpus * end_s)
    assert min(use.values()) >= -1e-6 * fleet.gpus * end_s
    table = job_table(rows, work, fleet)
    assert use["busy"] == pytest.approx((table["run_s"] * work.gpus).sum())
    # every finished job ran its duration plus what it lost
    done = table["status"] == "finished"
    assert (table["run_s"] * work.gpus)[done] == pytest.approx(
        (work.duration_s * work.gpus + table["lost_gpu_s"])[done]
    )
    times = np.linspace(0, end_s, 7)
    bills = [bill(rows, fleet, t).total_usd for t in times]
    assert all(a <= b + 1e-9 for a, b in pairwise(bills))
    ledger = bill(rows, fleet)
    assert ledger.total_usd == pytest.approx(sum(ledger.by_market_usd(fleet).values()))
    assert ledger.total_usd == pytest.approx(bills[-1])
    frame = timeline(rows, work, fleet, 50)
    assert (frame["gpus_held"] >= -1e-9).all() and (frame["waiting_jobs"] >= 0).all()
    assert frame.groupby("time_s")["gpus_up"].sum().max() <= fleet.gpus + 1e-9
