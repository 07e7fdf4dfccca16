"""Gang jobs, FIFO first fit, 90 % load, 1,000 nodes of 8 GPUs: hcsim beside baselines that make the same schedule."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hcsim import Fleet, Jobs
from hcsim.events import Kind
from tests.bench.conftest import Measure
from tests.bench.worlds import (
    GPUS_PER_NODE,
    SIZE,
    USD_PER_GPU_H,
    Baseline,
    Ran,
    Schedule,
    event_heap,
    merged_heap,
    simpy_at_once,
    simpy_first_fit,
    simpy_on_arrival,
    simulate,
    steady,
)

JOBS = SIZE.jobs
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Case:
    """The world, and what hcsim made of it."""

    fleet: Fleet
    jobs: Jobs
    ran: Ran
    finish_s: npt.NDArray[np.float64]
    schedule: Schedule
    seconds: float  # CPU time of hcsim's run


@pytest.fixture(scope="module")
def case() -> Case:
    fleet, jobs = steady(JOBS, SIZE.nodes)
    started = process_time()
    ran = simulate(fleet, jobs)
    seconds = process_time() - started
    return Case(fleet, jobs, ran, ran.times(Kind.FINISHED, JOBS), Schedule.of(ran, jobs, SIZE.nodes), seconds)


def test_hcsim(case: Case, measure: Measure) -> None:
    ran = measure.time("hcsim", lambda: simulate(case.fleet, case.jobs))
    case.seconds = measure.seconds["hcsim"]
    waited = int((np.array(case.schedule.start_s) > case.jobs.arrival_s).sum())
    measure.report("hcsim, us per job", case.seconds / JOBS * 1e6)
    measure.report("hcsim, jobs that waited", waited)
    assert ran.sha256 == case.ran.sha256
    ran.check(case.jobs)
    hours = float(ran.rows["time_s"][-1]) / 3600.0
    assert ran.bill.total_usd == pytest.approx(hours * SIZE.nodes * GPUS_PER_NODE * USD_PER_GPU_H, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "baseline", "target"),
    [
        pytest.param("bare event heap", event_heap, "<= 5", id="event_heap"),
        pytest.param("leanest replay", merged_heap, "", id="merged_heap"),
        pytest.param("SimPy process per job, all at once, no placement", simpy_at_once, "< 1", id="simpy_at_once"),
        pytest.param("SimPy process per job, on arrival, no placement", simpy_on_arrival, "< 1", id="simpy_on_arrival"),
        pytest.param("SimPy process per job, on arrival, first fit", simpy_first_fit, "< 1", id="simpy_first_fit"),
    ],
)
def test_baseline(case: Case, measure: Measure, name: str, baseline: Baseline, target: str) -> None:
    finish_s = measure.time(name, lambda: baseline(case.schedule))
    seconds = measure.seconds[name]
    measure.report(f"{name}, us per job", seconds / JOBS * 1e6)
    measure.report(f"hcsim / {name}", case.seconds / seconds, "x", target)
    if baseline in (event_heap, merged_heap):
        assert finish_s == case.finish_s.tolist()
    else:  # SimPy adds what is left to wait to the time that has passed, which rounds
        np.testing.assert_allclose(finish_s, case.finish_s, rtol=1e-12)


def test_memory(case: Case, measure: Measure) -> None:
    """Peak resident memory of a run above its input, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.memory", str(JOBS), str(SIZE.nodes)]

    def child() -> Any:
        return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)

    told = measure.time("memory", child, rounds=1)
    measure.report("peak memory above the input, bytes per job", told["bytes_per_job"], target="<= 500")
    assert told["rows"] == len(case.ran.rows)
    assert told["sha256"] == case.ran.sha256
