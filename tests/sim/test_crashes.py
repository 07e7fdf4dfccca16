"""Jobs that crash by themselves, and first starts that take as long as any other."""

from __future__ import annotations

import numpy as np
import pytest

from hcsim import Jobs
from hcsim.control import run
from hcsim.log import Log
from hcsim.perf import Perf
from hcsim.rng import exponential, stream, uniform
from hcsim.sim import Simulated
from hcsim.state import State
from hcsim.strategies.fifo import Fifo
from tests.worlds import owned, story

SEED = 3


def played(jobs: Jobs, **executor: float | bool) -> list[tuple[float, str, int]]:
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
