"""Jobs that crash by themselves, and first starts that take as long as any other."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest

from hcsim import InputError, Jobs
from hcsim.control import run
from hcsim.crashes import mean_s
from hcsim.log import Log
from hcsim.perf import Perf
from hcsim.rng import exponential, stream, uniform
from hcsim.sim import Simulated
from hcsim.state import State
from hcsim.strategies.fifo import Fifo
from hcsim.traces._transform import Checkpoint
from tests.worlds import owned, story

SEED = 3


def played(jobs: Jobs, **executor: object) -> list[tuple[float, str, int]]:
    log, fleet = Log(), owned(4, 1)
    world = Simulated(**executor).start(fleet, jobs, Perf(), SEED)  # type: ignore[arg-type]
    run(world, Fifo(), State(fleet, jobs, seed=SEED), log)
    return story(log, "STARTED", "LOST", "FINISHED")


def test_a_job_crashes_when_its_draws_say_and_goes_on() -> None:
    # One job without checkpoints: it starts anew after each crash, until one lasts for 1,000 s.
    jobs = Jobs.build(arrival_s=[0.0], duration_s=[1000.0], restart_s=[5.0])
    expected, t, k = [(0.0, "STARTED", 0)], 0.0, 0
    while (runs_s := exponential(700.0, uniform(SEED, stream("crash"), 0, k))) < 1000.0:
        expected += [(t + runs_s, "LOST", 0), (t + runs_s + 5.0, "STARTED", 0)]
        t, k = t + runs_s + 5.0, k + 1
    expected.append((t + 1000.0, "FINISHED", 0))
    assert k > 0
    found = played(jobs, job_mtbf_s=700.0)
    assert [each[1:] for each in found] == [each[1:] for each in expected]
    assert [each[0] for each in found] == pytest.approx([each[0] for each in expected])


def test_no_work_is_skipped() -> None:
    """However often a job crashes, it has run for all its work when it finishes, checkpoints kept, losses run again."""
    n = 40
    jobs = Jobs.build(arrival_s=np.zeros(n), duration_s=np.full(n, 5000.0), checkpoint_interval_s=np.full(n, 300.0))
    ran, since, kept = np.zeros(n), np.zeros(n), np.zeros(n)
    for t, kind, job in played(jobs, job_mtbf_s=900.0):
        if kind == "STARTED":
            since[job] = t
        else:
            ran[job] = t - since[job]
            kept[job] += ran[job] // 300.0 * 300.0 if kind == "LOST" else ran[job]
    assert kept == pytest.approx(np.full(n, 5000.0))


@pytest.mark.parametrize(("cold", "first"), [(False, 0.0), (True, 60.0)])
def test_cold_starts(cold: bool, first: float) -> None:
    jobs = Jobs.build(arrival_s=[0.0], duration_s=[100.0], restart_s=[60.0])
    assert played(jobs, cold_starts=cold) == [(first, "STARTED", 0), (first + 100.0, "FINISHED", 0)]


TABLE = {2: 59036.0, 1024: 39200.0, 16384: 28450.0}


def test_a_table_by_gang_size_is_interpolated_between_logarithms() -> None:
    """At its sizes as it says, at the geometric mean of two sizes that of their times, beyond its ends as at them."""
    found = mean_s(TABLE, np.array([1, 2, 1024, 16384, 100_000, 4096]))
    assert found is not None
    expected = [59036.0, 59036.0, 39200.0, 28450.0, 28450.0, sqrt(39200.0 * 28450.0)]
    assert found.tolist() == pytest.approx(expected)
    assert mean_s(TABLE, np.array([0])) == mean_s(TABLE, np.array([1]))  # a job without GPUs is as the smallest
    assert mean_s(inf, np.array([1])) is None and mean_s(9.0, np.array([1, 8])).tolist() == [9.0, 9.0]  # type: ignore[union-attr]


def test_jobs_crash_as_often_as_their_size_says() -> None:
    """Jobs of 1 and 4 GPUs of the same work: crashes per second of running are 1/4000 and 1/500, within four sigma."""
    n = 60
    gpus = np.tile([1, 4], n // 2)
    jobs = Jobs.build(
        arrival_s=np.zeros(n), duration_s=np.full(n, 10_000.0), gpus=gpus, checkpoint_interval_s=np.full(n, 50.0)
    )
    ran, since, lost = np.zeros(n), np.zeros(n), np.zeros(n)
    for t, kind, job in played(jobs, job_mtbf_s={1: 4000.0, 4: 500.0}):
        if kind == "STARTED":
            since[job] = t
        else:
            ran[job] += t - since[job]
            lost[job] += kind == "LOST"
    for size, mtbf_s in ((1, 4000.0), (4, 500.0)):
        expected = ran[gpus == size].sum() / mtbf_s
        assert abs(lost[gpus == size].sum() - expected) < 4 * sqrt(expected)


def test_a_table_of_one_row_is_the_number() -> None:
    jobs = Jobs.build(arrival_s=[0.0], duration_s=[5000.0], checkpoint_interval_s=[100.0])
    table, number = (np.array([each[0] for each in played(jobs, job_mtbf_s=m)]) for m in ({8: 700.0}, 700.0))
    assert len(number) > 3 and table == pytest.approx(number)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (0.0, "job_mtbf_s is 0.0, expected seconds > 0"),
        ("x", "job_mtbf_s is 'x', expected seconds > 0"),
        ({}, "is an empty table"),
        ({0: 5.0}, "gang size '0', expected an integer >= 1"),
        ({"x": 5.0}, "gang size 'x'"),
        ({8: -1.0}, "job_mtbf_s.8 is -1.0, expected seconds"),
        ({8: "1 h"}, "job_mtbf_s.8 is '1 h'"),
    ],
)
def test_what_is_no_model_is_refused(model: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Simulated(job_mtbf_s=model)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"trace\.steps\.checkpoint\.job_mtbf_s"):
        Checkpoint(write_s=1.0, job_mtbf_s=model)  # type: ignore[arg-type]


def test_intervals_follow_the_table() -> None:
    """Young's square root of 2 x what writing costs x the mean time between failures."""
    jobs = Jobs.build(arrival_s=[0.0, 0.0], duration_s=[9e4, 9e4], gpus=[2, 1024])
    found = Checkpoint("young", write_s=50.0, job_mtbf_s=TABLE)(jobs, 0).checkpoint_interval_s
    assert found.tolist() == pytest.approx([sqrt(2 * 50.0 * TABLE[2]), sqrt(2 * 50.0 * TABLE[1024])])
