"""Rounds as in Gavel, and their programmes: microseconds per job and round, seconds per programme."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hcsim.planning.fairness import max_min, normalised
from hcsim.planning.rounds import RoundBased
from hcsim.repro.gavel import world_a
from hcsim.strategies.fifo_perf import FifoPerf
from hcsim.strategies.isolated import Isolated
from hcsim.strategies.max_min_fairness_perf import MaxMinFairnessPerf
from tests.bench.conftest import Measure

#: Strategy -> its name in the reference, and microseconds per job and round that its authors' simulator takes with its
#: logging off, on a machine like ours.
PEER = {
    FifoPerf: ("fifo_perf", 88.0),
    Isolated: ("isolated", 88.0),
    MaxMinFairnessPerf: ("max_min_fairness_perf", 318.0),
}


@pytest.mark.parametrize("kind", PEER, ids=lambda kind: kind.__name__)
def test_rounds(measure: Measure, shared_traces: Path, shared_reference: Path, kind: type[RoundBased]) -> None:
    name, peer_us = PEER[kind]
    table = pd.read_csv(shared_reference / "gavel" / "summary.csv")
    row = table[(table["config"] == "A") & (table["policy"] == name) & (table["solver"] == "ECOS")].iloc[0]
    world = world_a(str(shared_traces))
    outcome = measure.time(name, lambda: world.play(kind(quirks=True)))
    assert outcome.finish_s.max() == pytest.approx(row["makespan_s"], rel=0.03)
    assert np.isfinite(outcome.finish_s).all()
    us = 1e6 * measure.seconds[name] / row["job_rounds"]
    measure.report(f"Gavel A, {name}, per job and round", us, " µs", f"at most {peer_us / 2:g}: half of its authors'")


@pytest.mark.parametrize(("jobs", "target_s"), [(1000, 0.15), (10_000, 3.0)])
def test_programmes(measure: Measure, jobs: int, target_s: float) -> None:
    rng = np.random.default_rng(0)
    gangs, gpus = rng.choice([1.0, 2.0, 4.0], jobs), np.array([0.2, 0.3, 0.4, 0.5]) * jobs
    cluster = SimpleNamespace(
        throughput=rng.uniform(0.1, 3.0, (jobs, 4)), gangs=gangs, gpus=gpus, weights=np.ones(jobs)
    )
    answer = measure.time("max-min", lambda: max_min(normalised(cluster), cluster))  # type: ignore[arg-type]
    assert answer.solved
    shares = answer.x[:-1].reshape(jobs, 4)
    assert (gangs @ shares <= gpus * (1 + 1e-5)).all()
    seconds = measure.seconds["max-min"]
    measure.report(f"max-min of {jobs:,} jobs on 4 pools", 1e3 * seconds, " ms", f"at most {1e3 * target_s:g}")
