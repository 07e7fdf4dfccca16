"""A short part of the reproduction of FGD, and what it is made of; every row of it is in test_rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hcsim.control import run
from hcsim.events import Kind
from hcsim.log import Log
from hcsim.planning.fragmentation import Fragmentation, popular
from hcsim.repro.fgd import POINTS, POLICIES, Cluster, Fragments, Pods, _Case, drawn_order, play
from hcsim.repro.table import reference
from hcsim.scores import NodeTable
from hcsim.sim import Simulation
from hcsim.state import State

#: How many demands are typical: the README of the reference.
TYPICAL = {"default": 35, "gpuspec25": None, "cpu050": 35, "cpu100": 35, "gpushare40": 36, "gpushare60": 33,
           "gpushare80": 32, "multigpu20": 38, "multigpu30": 40, "multigpu40": 42}  # fmt: skip
#: How many pods there are after tuning with the authors' seed 42; another seed gives a few more or fewer.
TUNED = {"default": 10_866, "cpu050": 9_957, "gpushare80": 15_020, "multigpu30": 8_496, "multigpu40": 7_435}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, shared_traces: Path, shared_reference: Path) -> str:
    monkeypatch.setenv("HCSIM_REFERENCE", str(shared_reference))
    return str(shared_traces)


@pytest.mark.parametrize(
    ("variant", "policy", "seed"),
    [
        ("default", "FGD", 42),
        ("default", "FGD", 44),
        ("default", "BestFit", 43),
        ("default", "GpuClustering", 46),
        ("gpuspec25", "FGD", 43),  # its pods ask for the same GPUs, so that the orders are the same
        ("gpuspec10", "GpuPacking", 45),
    ],
)
def test_the_authors_orders_give_what_they_published(folder: str, variant: str, policy: str, seed: int) -> None:
    known = reference("fgd/alloc_per_seed_42_46.csv").set_index(["trace", "policy", "seed"])
    ours = play(_Case(variant, policy, seed, known=True), folder)[0]
    assert np.round(ours, 2).tolist() == known.loc[(variant, policy, seed)].tolist()


def test_scores_that_are_not_cut_would_miss_it(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published: 92.07 instead of 95.23 per cent at 100 per cent, over five seeds."""
    monkeypatch.setattr("hcsim.strategies.fgd.whole", lambda score: (score * 300.0).astype(np.int16))
    at = POINTS.index(100)
    ours = [play(_Case("default", "FGD", seed, known=True), folder)[0][at] for seed in (42, 43)]
    assert 90.5 < np.mean(ours) < 94.5


@pytest.mark.parametrize(("variant", "count"), TYPICAL.items())
def test_demands_that_are_typical(folder: str, variant: str, count: int | None) -> None:
    pods = Pods.read(folder, variant)
    typical = popular(pods.mix, 0.95)
    assert sum(each.weight for each in typical) == pytest.approx(1.0)
    assert sum(each.weight for each in pods.mix) == len(pods.gpus)
    if count:
        assert len(typical) == count
    assert any(each.types for each in typical) == variant.startswith("gpuspec")


@pytest.mark.parametrize(("variant", "count"), TUNED.items())
def test_orders_ask_for_what_they_should(folder: str, variant: str, count: int) -> None:
    cluster, pods = Cluster.read(folder), Pods.read(folder, variant)
    order = drawn_order(pods, cluster.gpu_milli, np.random.default_rng(1))
    asked = (pods.gpus * pods.milli)[order].sum()
    assert 1.3 * cluster.gpu_milli - 8000 < asked < 1.3 * cluster.gpu_milli + 8000
    assert abs(len(order) - count) < 200
    if count > len(pods.gpus):
        assert sorted(order[: len(pods.gpus)]) == list(range(len(pods.gpus)))  # copies come last
    else:
        assert len(set(order.tolist())) == len(order)


def test_fragments_are_counted_the_same_in_two_ways(folder: str) -> None:
    """From the log by the definition, and from the nodes as they are left by the strategy's tables."""
    cluster, pods = Cluster.read(folder), Pods.read(folder, "gpuspec25")
    order = drawn_order(pods, cluster.gpu_milli, np.random.default_rng(2))[:2500]
    jobs, log, typical = pods.jobs(order), Log(), popular(pods.mix, 0.95)
    state = State(cluster.fleet, jobs)
    run(Simulation(cluster.fleet, jobs, until_s=len(order) - 0.5), POLICIES["BestFit"]((), ()), state, log)
    rows = log.array()
    by_log = Fragments(cluster.fleet, typical)
    changes = by_log.changes(rows[rows["kind"] == Kind.PLACED], pods.cpus[order] * 1000.0)
    table = NodeTable(state.books, {})
    by_node = Fragmentation(cluster.fleet, typical).fragmented(table.pool, table.cpus_milli, table.gpu_milli)
    assert by_log.at_first + changes.sum() == pytest.approx(by_node.sum(), rel=1e-9)
    assert np.abs(changes).sum() > 0.1 * by_log.at_first
