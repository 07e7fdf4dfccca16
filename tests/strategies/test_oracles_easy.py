"""The schedules of ``reference/oracles`` (EASY rows): runtimes exact, all jobs arrive at 0 in order."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest

from hcsim import Fleet, Jobs, Kind, NodePool, Site
from hcsim.control import run
from hcsim.log import Log
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.conservative_backfill import ConservativeBackfill
from hcsim.strategies.easy_backfill import EasyBackfill
from hcsim.strategies.fifo import Fifo
from hcsim.strategy import Strategy

TOY_1 = (8, [(4, 10), (8, 5), (4, 10), (4, 11)])
TOY_2 = (10, [(6, 10), (8, 5), (2, 100), (2, 9)])
TOY_3 = (10, [(6, 10), (8, 5), (2, 100), (2, 9), (2, 100)])


def schedule(
    strategy: Strategy, nodes: int, work: list[tuple[int, int]], per_node: int = 1
) -> tuple[list[float], float]:
    """Start of each job, and the makespan, on ``nodes`` GPUs."""
    fleet = Fleet((Site("here", (NodePool("own", "A100", per_node, nodes // per_node),)),))
    gpus, seconds = zip(*work, strict=True)
    jobs = Jobs.build(arrival_s=[0.0] * len(work), duration_s=seconds, gpus=gpus)
    log = Log()
    run(Simulation(fleet, jobs), strategy, State(fleet, jobs, estimate_s=np.array(jobs.duration_s).data), log)
    rows = log.array()
    started = rows[rows["kind"] == Kind.STARTED]
    assert len(started) == len(work)
    begun = dict(zip(started["subject"].tolist(), started["time_s"].tolist(), strict=True))
    return [begun[j] for j in range(len(work))], float(rows["time_s"][rows["kind"] == Kind.FINISHED].max())


@pytest.mark.parametrize("per_node", [1, 2])
def test_easy(per_node: int) -> None:
    assert schedule(EasyBackfill(), *TOY_1, per_node) == ([0, 10, 0, 15], 26)
    assert schedule(EasyBackfill(), *TOY_2, per_node) == ([0, 10, 0, 0], 100)
    assert schedule(EasyBackfill(), *TOY_3, per_node)[0][4] == 15


def test_conservative() -> None:
    assert schedule(ConservativeBackfill(), *TOY_1) == ([0, 10, 0, 15], 26)
    assert schedule(ConservativeBackfill(), *TOY_3)[0] == [0, 10, 0, 0, 15]


def test_fifo() -> None:
    assert schedule(Fifo(), *TOY_1) == ([0, 10, 15, 15], 26)


@pytest.mark.shared
def test_the_cases_are_those_of_the_reference() -> None:
    here = Path(__file__).parents[2]
    folder = Path(os.environ.get("HCSIM_REFERENCE", here.parent / "shared" / "reference"))
    path = folder / "oracles" / "analytic_oracles.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with path.open(newline="") as file:
        rows = {row[0]: row for row in csv.reader(file) if row and row[0].startswith("EASY")}
    for name, (nodes, work) in {"EASY toy 1": TOY_1, "EASY toy 2 (extra nodes rule)": TOY_2}.items():
        _, given, _, _, value = rows[name]
        assert int(re.match(r"(\d+) nodes", given)[1]) == nodes  # type: ignore[index]
        assert [(int(n), int(s)) for n, s in re.findall(r"\((\d+)n,(\d+)s\)", given)] == work
        found, makespan = schedule(EasyBackfill(), nodes, work)
        shown = " ".join(f"J{i + 1}={start:g}" for i, start in enumerate(found))
        assert value.startswith(f"{shown}; makespan {makespan:g}")
    assert rows["EASY vs conservative"][4] == "J5 start=15"
