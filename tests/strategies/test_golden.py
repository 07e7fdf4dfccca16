"""One schedule per strategy, small enough to work out by hand; the comment is the working."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hcsim import Fleet, Jobs, Kind, Link, NodePool, Site
from hcsim.control import run
from hcsim.fleet import Reclaim
from hcsim.log import Log
from hcsim.rng import stream, uniform
from hcsim.series import Series
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.best_fit import BestFit
from hcsim.strategies.carbon_waiting import CarbonWaiting
from hcsim.strategies.cheapest_fit import CheapestFit
from hcsim.strategies.conservative_backfill import ConservativeBackfill
from hcsim.strategies.easy_backfill import EasyBackfill
from hcsim.strategies.fifo import Fifo
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategies.greedy_spot import GreedySpot
from hcsim.strategies.las import Las
from hcsim.strategies.on_demand_only import OnDemandOnly
from hcsim.strategies.owned_first import OwnedFirst
from hcsim.strategies.random_fit import RandomFit
from hcsim.strategies.sjf import Sjf
from hcsim.strategies.srtf import Srtf
from hcsim.strategies.uniform_progress import UniformProgress
from hcsim.strategy import Strategy
from hcsim.testing import violation


def starts(strategy: Strategy, fleet: Fleet, jobs: Jobs, seed: int = 0) -> list[list[tuple[float, int]]]:
    """(time, first node) of every start of each job."""
    log = Log()
    state = State(fleet, jobs, estimate_s=np.array(jobs.duration_s).data, seed=seed)
    run(Simulation(fleet, jobs, seed=seed), strategy, state, log)
    assert not violation(log, fleet, jobs)
    rows = log.array()
    assert (rows["kind"] == Kind.FINISHED).sum() == len(jobs)
    rows = rows[rows["kind"] == Kind.STARTED]
    return [[(row["time_s"], row["node"]) for row in rows[rows["subject"] == j]] for j in range(len(jobs))]


def times(strategy: Strategy, fleet: Fleet, jobs: Jobs) -> list[list[float]]:
    return [[float(time_s) for time_s, _ in each] for each in starts(strategy, fleet, jobs)]


def pool(nodes: int, gpus: int) -> Fleet:
    return Fleet((Site("here", (NodePool("own", "A100", gpus, nodes),)),))


def batch(*gpus_and_seconds: tuple[int, float]) -> Jobs:
    """Jobs that all arrive at 0."""
    gpus, seconds = zip(*gpus_and_seconds, strict=True)
    return Jobs.build(arrival_s=[0.0] * len(gpus), duration_s=seconds, gpus=gpus)


#: One node of 4 GPUs. J0 takes 3 of them for 10 s; J1 needs all 4, J2 and J3 one each.
BATCH = batch((3, 10.0), (4, 5.0), (1, 20.0), (1, 4.0))


def test_fifo() -> None:
    # J0 at 0. J1 does not fit, so nobody behind it starts. J1 at 10 (J0 ends). J2, J3 at 15 (J1 ends).
    assert times(Fifo(), pool(1, 4), BATCH) == [[0.0], [10.0], [15.0], [15.0]]


def test_first_fit() -> None:
    # J0 and J2 at 0, now full. At 10 J0 ends: 3 free, J1 needs 4, J3 starts (until 14). J1 waits for J2: 20.
    assert times(FirstFit(), pool(1, 4), BATCH) == [[0.0], [20.0], [0.0], [10.0]]


def test_easy_backfill() -> None:
    # J0 at 0. J1 is reserved at 10 and needs every GPU. J2 would run until 20: no. J3 ends at 4 <= 10: starts at 0.
    # At 4 one GPU is free, J2 would still run past 10. J1 at 10, J2 at 15.
    assert times(EasyBackfill(), pool(1, 4), BATCH) == [[0.0], [10.0], [15.0], [0.0]]


#: One node of 5 GPUs. J1 (4) waits for J0 (3) until 10 and then leaves one GPU; J2 (5) can follow at 20; J3 (1, 25 s).
LONG_TAIL = batch((3, 10.0), (4, 10.0), (5, 5.0), (1, 25.0))


def test_easy_protects_only_the_head() -> None:
    # J3 uses the one GPU that J1 does not need, from 0 until 25. J2, which has no reservation at 0, waits for it: 25.
    assert times(EasyBackfill(), pool(1, 5), LONG_TAIL) == [[0.0], [10.0], [25.0], [0.0]]


def test_conservative_backfill() -> None:
    # J1 is reserved for 10 to 20, J2 for 20 to 25 on all GPUs. J3 would be in J2's way anywhere before: 25.
    assert times(ConservativeBackfill(), pool(1, 5), LONG_TAIL) == [[0.0], [10.0], [20.0], [25.0]]


def test_sjf() -> None:
    # Order J3 (4 s), J1 (5), J0 (10), J2 (20). At 0: J3, J1 does not fit, J0; full. At 4 one GPU is free: not for J1,
    # J2 takes it until 24. At 10 three are free; J1 needs four: 24.
    assert times(Sjf(), pool(1, 4), BATCH) == [[0.0], [24.0], [4.0], [0.0]]


def test_srtf() -> None:
    # One GPU, checkpoints take 2 s, restarts 3 s. J0 (100 s) at 0. J1 (10 s) arrives at 5: J0 has 95 to go, more than
    # 10 + margin 1, so it is stopped; its checkpoint is written at 7 and J1 runs 7 to 17. J2 (95 s) arrives at 6: J1
    # has less to go. At 17 J0 and J2 both have 95 to go, J0 came first: placed at 17, restarted at 20, done at 115.
    jobs = Jobs.build(
        arrival_s=[0.0, 5.0, 6.0], duration_s=[100.0, 10.0, 95.0], checkpoint_s=[2.0] * 3, restart_s=[3.0] * 3
    )
    assert times(Srtf(margin_s=1.0), pool(1, 1), jobs) == [[0.0, 20.0], [7.0], [115.0]]


def test_srtf_stops_no_more_than_needed() -> None:
    # A node of 4 GPUs holds J0 (1 GPU, 100 s), J1 (1, 90), J2 (2, 80). J3 (2 GPUs, 10 s) comes at 10. Longest first:
    # J0, J1 would do, and then J2 need not go. J3 runs 10 to 20, then J0 and J1 go on.
    jobs = Jobs.build(arrival_s=[0.0, 0.0, 0.0, 10.0], duration_s=[100.0, 90.0, 80.0, 10.0], gpus=[1, 1, 2, 2])
    assert times(Srtf(margin_s=1.0), pool(1, 4), jobs) == [[0.0, 20.0], [0.0, 20.0], [0.0], [10.0]]
    # With J2 the longest it alone goes; and with J0 longest, then J2, J0 is spared because J2's two GPUs are enough.
    jobs = Jobs.build(arrival_s=[0.0, 0.0, 0.0, 10.0], duration_s=[99.0, 80.0, 90.0, 10.0], gpus=[1, 1, 2, 2])
    assert times(Srtf(margin_s=1.0), pool(1, 4), jobs)[3] == [10.0]


def test_las() -> None:
    # One GPU, threshold 20 GPU-s. J0 (100 s) at 0. J1 (30 s) comes at 10: J0 is in the first queue too, until 20; the
    # next whole second is 21, when J0 is stopped and J1 starts. J2 (5 s) comes at 45: J1 has had 24, is stopped, and J2
    # runs until 50. Then the second queue in order of arrival: J0 (79 s left) 50 to 129, J1 (6 s left) at 129.
    jobs = Jobs.build(arrival_s=[0.0, 10.0, 45.0], duration_s=[100.0, 30.0, 5.0])
    assert times(Las(threshold_gpu_s=20.0), pool(1, 1), jobs) == [[0.0, 50.0], [21.0, 129.0], [45.0]]


def test_las_preempts_for_a_gang() -> None:
    # Two nodes of 2 GPUs, threshold 20 GPU-s. J0 and J1 (1 GPU each, 100 s) share node 0, J2 (2 GPUs, 100 s) has node
    # 1. J3 (4 GPUs, 10 s) comes at 30, when J0 and J1 have had 30 GPU-s and J2 60: all three make room, then go on.
    jobs = Jobs.build(arrival_s=[0.0, 0.0, 0.0, 30.0], duration_s=[100.0, 100.0, 100.0, 10.0], gpus=[1, 1, 2, 4])
    assert times(Las(threshold_gpu_s=20.0), pool(2, 2), jobs) == [[0.0, 40.0], [0.0, 40.0], [0.0, 40.0], [30.0]]


def test_best_fit() -> None:
    # Two nodes of 4. J0 (2) on node 0 (equal, the lower number), J1 (3) fits on node 1 only. J2 (1): node 1 has 1 free,
    # node 0 has 2, so node 1. That leaves node 0 for J3 (2). First fit would have put J2 on node 0 and made J3 wait.
    jobs = batch((2, 9.0), (3, 9.0), (1, 9.0), (2, 9.0))
    assert starts(BestFit(), pool(2, 4), jobs) == [[(0.0, 0)], [(0.0, 1)], [(0.0, 1)], [(0.0, 0)]]
    assert times(FirstFit(), pool(2, 4), jobs)[3] == [9.0]


def hybrid(gpu: str, usd: float) -> Fleet:
    """An owned A100 at 2 USD per hour, and one GPU to rent that boots in 10 s."""
    cloud = NodePool("rented", gpu, 1, 1, usd, "on_demand", boot_s=10.0)
    return Fleet(
        (Site("home", (NodePool("own", "A100", 1, 1, 2.0),)), Site("cloud", (cloud,), kind="cloud")),
        (Link("home", "cloud", bytes_per_s=1e12, latency_s=0.0, usd_per_gb=0.09), Link("cloud", "home")),
    )


def test_cheapest_fit() -> None:
    # An H100 at 3 USD does twice the work of an A100: 1.5 USD per unit of work against 2. But J0's 10 GB would cost 0.9
    # USD to move: 2.4, so it stays at home. J1 rents: boots until 10, runs 100/2 s until 60. J2 finds home busy until
    # 100 and the cloud until 60: the cloud, at 60.
    jobs = Jobs.build(
        arrival_s=[0.0, 0.0, 0.0],
        duration_s=[100.0, 100.0, 100.0],
        dataset_site=[0, -1, -1],
        dataset_sites=("home",),
        dataset_bytes=[1e10, 0.0, 0.0],
    )
    assert starts(CheapestFit(), hybrid("H100", 3.0), jobs) == [[(0.0, 0)], [(10.0, 1)], [(60.0, 1)]]


def test_owned_first() -> None:
    # Patience 30 s. J0 (100 s) takes the owned GPU at 0. J1 (50 s) comes at 5, may rent at 35, when nothing else
    # happens: the node boots and J1 runs 45 to 95. J2 (comes at 6) may rent from 36 but the cloud is full until 95,
    # when the owned GPU is still busy (until 100): it starts at 95 on the rented node, which is still on.
    jobs = Jobs.build(arrival_s=[0.0, 5.0, 6.0], duration_s=[100.0, 50.0, 10.0])
    assert starts(OwnedFirst(patience_s=30.0), hybrid("A100", 3.0), jobs) == [[(0.0, 0)], [(45.0, 1)], [(95.0, 1)]]


def test_owned_first_rents_at_once_for_a_job_bound_to_the_cloud() -> None:
    # J0 runs on H100 only, which is rented: no patience. J1 may run anywhere and starts on the owned GPU.
    jobs = Jobs.build(arrival_s=[0.0, 0.0], duration_s=[10.0, 10.0], gpu_type=[0, -1], gpu_types=("H100",))
    assert starts(OwnedFirst(patience_s=30.0), hybrid("H100", 3.0), jobs) == [[(10.0, 1)], [(0.0, 0)]]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_fit(seed: int) -> None:
    # Four nodes of one GPU. Decision 0: the i-th job draws number 2i for the pool (one only) and 2i + 1 for the node
    # from which to look, round the pool.
    drawn = [int(uniform(seed, stream("strategy"), 0, 2 * i + 1) * 4) for i in range(3)]
    taken: list[int] = []
    for node in drawn:
        while node in taken:
            node = (node + 1) % 4
        taken.append(node)
    found = starts(RandomFit(), pool(4, 1), batch((1, 9.0), (1, 9.0), (1, 9.0)), seed)
    assert found == [[(0.0, node)] for node in taken]


#: Node 0 on demand at 3 USD, node 1 on spot at 1 USD, there until 1,000 s and from 3,000 s on.
SPOT = Fleet(
    (
        Site(
            "cloud",
            (
                NodePool("on-demand", "A100", 1, 1, 3.0, "on_demand", idle_release_s=0.0),
                NodePool(
                    "spot", "A100", 1, 1, 1.0, "spot", idle_release_s=0.0, reclaim=Reclaim(notice_s=0.0),
                    stock=Series([0.0, 1000.0, 3000.0], [1.0, 0.0, 1.0], beyond="hold"),
                ),
            ),
            kind="cloud",
        ),
    )
)  # fmt: skip


def due(deadline_s: float) -> Jobs:
    """2,000 s of work, saved every second, 100 s to restart."""
    return Jobs.build(
        arrival_s=[0.0], duration_s=[2000.0], deadline_s=[deadline_s], restart_s=[100.0], checkpoint_interval_s=[1.0]
    )


def test_on_demand_only() -> None:
    # The dearer node, and there it stays.
    assert starts(OnDemandOnly(), SPOT, due(1e5)) == [[(0.0, 0)]]


def test_greedy_spot() -> None:
    # Ticks of 500 s. On spot until 1,000, when 1,000 s are left. Due at 6,000: nothing until spot is back at 3,000;
    # there at 3,100 after its restart, done at 4,100.
    assert starts(GreedySpot(500.0), SPOT, due(6000.0)) == [[(0.0, 1), (3100.0, 1)]]
    # Due at 4,000: 1,000 + 100 s fill three ticks; at 2,500 three are left, so on demand at 2,600. At 3,000, with 600 s
    # and a restart to go, 700 s fill two ticks and two are left: no going back.
    assert starts(GreedySpot(500.0), SPOT, due(4000.0)) == [[(0.0, 1), (2600.0, 0)]]


def test_greedy_spot_in_slices() -> None:
    # Due at 8,000, two slices of 4,000 s with 1,000 s of work each. 1,000 s are done at 1,000, so the first slice is
    # met and it waits for spot, which is back at 3,000.
    assert starts(GreedySpot(500.0, slice_s=4000.0), SPOT, due(8000.0)) == [[(0.0, 1), (3100.0, 1)]]
    # Four slices of 1,500 s with 500 s each (due at 6,000): met until 3,000, when spot is back.
    assert starts(GreedySpot(500.0, slice_s=1500.0), SPOT, due(6000.0)) == [[(0.0, 1), (3100.0, 1)]]
    # Two slices of 2,500 s: the second begins at 2,500 with 1,000 s done, and all 2,000 + 100 s fill three of five
    # ticks: it waits as before. In five slices of 1,000 s with 400 s each the third, from 2,000 on, wants 1,200 by
    # 3,000: 200 s and a restart fill one tick of the two left at 2,000, and of the one left at 2,500: on demand, at
    # 2,600. At 3,000 spot is back and the fourth slice wants 1,600: 200 + 100 s fill one of two ticks, so to spot, at
    # 3,100.
    assert starts(GreedySpot(500.0, slice_s=2500.0), SPOT, due(5000.0)) == [[(0.0, 1), (3100.0, 1)]]
    assert starts(GreedySpot(500.0, slice_s=1000.0), SPOT, due(5000.0)) == [[(0.0, 1), (2600.0, 0), (3100.0, 1)]]


def test_uniform_progress() -> None:
    # Due at 6,000: the line rises 1 s of work in 3 s. 1,000 s are done at 1,000, which is ahead until 3,000, when spot
    # is back. Due at 4,000 (1 in 2) it is ahead until 2,000, on the line then, and behind at 2,500: on demand at 2,600.
    # At 3,000 it has done 1,400 s; the line will be at 1,600 two launches later, so it stays.
    assert starts(UniformProgress(500.0), SPOT, due(6000.0)) == [[(0.0, 1), (3100.0, 1)]]
    assert starts(UniformProgress(500.0), SPOT, due(4000.0)) == [[(0.0, 1), (2600.0, 0)]]


def test_uniform_progress_leaves_on_demand_when_far_ahead() -> None:
    # No spot before 1,000. Due at 8,000, the line rises 1 in 4. At 0 it is on the line and waits; at 500 it is behind:
    # on demand (a first start costs no restart). At 1,000 it has done 500 s, two launches (200 s) later the line is at
    # 300: to spot, there at 1,100.
    early = dataclasses.replace(SPOT.pools[1], stock=Series([0.0, 1000.0], [0.0, 1.0], beyond="hold"))
    fleet = dataclasses.replace(SPOT, sites=(dataclasses.replace(SPOT.sites[0], pools=(SPOT.pools[0], early)),))
    assert starts(UniformProgress(500.0), fleet, due(8000.0)) == [[(500.0, 0), (1100.0, 1)]]
    # Due at 3,500 (4 in 7): at 1,000 it has done 500 s, less than the line (571). Without hysteresis it takes spot all
    # the same (1,500 + 200 s fill four of five ticks); with it stays until 1,500, when it has done 1,000 and the line
    # is at 971 two launches later.
    assert starts(UniformProgress(500.0), fleet, due(3500.0)) == [[(500.0, 0), (1600.0, 1)]]
    assert starts(UniformProgress(500.0, hysteresis=False), fleet, due(3500.0)) == [[(500.0, 0), (1100.0, 1)]]


def test_carbon_waiting() -> None:
    # Intensity by the hour: 5, 5, 3, 1, 4, 0.5, 5, 5. J0 (1.5 h, due at 6 h) has 2.5 h to 4 h (3/2 + 1 = 2.5, less than
    # any other stretch: 3 to 4.5 is 1 + 4/2 = 3, 4.5 to 6 is 4/2 + 0.5 = 2.5). Two are equal: the earlier. J1 (1 h) has
    # no deadline and may be put off by 2 h: 2 h to 3 h is the cleanest.
    hours = Series((np.arange(8) * 3600.0).tolist(), [5.0, 5.0, 3.0, 1.0, 4.0, 0.5, 5.0, 5.0], beyond="hold")
    fleet = Fleet((Site("here", (NodePool("own", "A100", 1, 2),), carbon=hours),))
    jobs = Jobs.build(arrival_s=[0.0, 0.0], duration_s=[5400.0, 3600.0], deadline_s=[21600.0, np.inf])
    assert times(CarbonWaiting(slack_s=7200.0), fleet, jobs) == [[9000.0], [7200.0]]
    # In pieces J0 takes hour 5 (0.5) and half of hour 3 (1), the first half; J1 hour 2.
    assert times(CarbonWaiting(slack_s=7200.0, interruptible=True), fleet, jobs) == [[10800.0, 18000.0], [7200.0]]
