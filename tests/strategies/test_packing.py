"""Strategies that place by score: a schedule of each by hand, and the ranking against one made from scratch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import Fleet, InputError, Jobs, Kind, NodePool, Plan, Site, Strategy, View
from hcsim.control import run
from hcsim.log import Log
from hcsim.planning.fragmentation import Fragmentation, Typical, popular
from hcsim.planning.packing import Packing
from hcsim.repro.fgd import Fragments
from hcsim.rng import stream, uniform
from hcsim.scores import Nodes, NodeTable, Scorer, Want
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.consolidated import Consolidated
from hcsim.strategies.dot_product import DotProduct
from hcsim.strategies.fgd import Fgd
from hcsim.strategies.gpu_clustering import GpuClustering
from hcsim.strategies.gpu_packing import GpuPacking
from hcsim.strategies.random_node import RandomNode
from hcsim.strategies.spread import Spread
from hcsim.strategies.synergy import Synergy
from hcsim.strategies.tetris import Tetris
from hcsim.strategies.weighted_best_fit import WeightedBestFit
from hcsim.testing import _World, _worlds, violation


def machines(nodes: int, gpus: int, cpus: float = 0.0) -> Fleet:
    return Fleet((Site("here", (NodePool("own", "A100", gpus, nodes, cpus_per_node=cpus),)),))


def stream_of(*asked: tuple[int, int, float]) -> Jobs:
    """(GPUs, milli-GPU of each, CPUs) of jobs that come a second apart and stay."""
    gpus, milli, cpus = zip(*asked, strict=True)
    count = len(asked)
    return Jobs.build(
        arrival_s=np.arange(count, dtype=float), duration_s=[1000.0] * count, gpus=gpus, gpu_milli=milli, cpus=cpus
    )


def by_number(strategy: Strategy, fleet: Fleet) -> Strategy:
    """Of equal nodes the first, where a test says nothing else."""
    if isinstance(strategy, Packing) and not strategy.ties:
        return dataclasses.replace(strategy, ties=tuple(range(fleet.nodes)))
    return strategy


def placements(strategy: Strategy, fleet: Fleet, jobs: Jobs, seed: int = 0) -> list[tuple[int, int]]:
    """(node, mask of GPUs) of each job, all of which start when they come."""
    log = Log()
    run(Simulation(fleet, jobs, seed=seed), by_number(strategy, fleet), State(fleet, jobs, seed=seed), log)
    assert not violation(log, fleet, jobs)
    rows = log.array()
    placed = rows[rows["kind"] == Kind.PLACED]
    assert placed["subject"].tolist() == list(range(len(jobs))) and (placed["time_s"] == placed["subject"]).all()
    return list(zip(placed["node"].tolist(), placed["value"].astype(int).tolist(), strict=True))


def test_weighted_best_fit() -> None:
    # Two nodes of 2 GPUs and 10 CPUs. J0 (1 GPU, 8 CPUs): the same on both, so node 0. J1 (1 GPU, 1 CPU) would leave 1
    # CPU and no GPU there, 100 × (1 − 0.1/2) = 95, and 9 CPUs and a GPU on node 1, 100 × (1 − 0.9/2 − 0.5/2) = 30: node
    # 0. J2 (2 CPUs, no GPU) has no room there: node 1. J3 (0.4 of a GPU): node 1, GPU 0; J4 (0.5) beside it, 0.6 is
    # less than 1; J5 (0.3) on GPU 1.
    jobs = stream_of((1, 1000, 8.0), (1, 1000, 1.0), (0, 1000, 2.0), (1, 400, 0.0), (1, 500, 0.0), (1, 300, 0.0))
    assert placements(WeightedBestFit(), machines(2, 2, 10.0), jobs) == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 1), (1, 2)]


def test_scores_are_cut_to_whole_numbers() -> None:
    # Two nodes of 1 GPU, 100 and 99 CPUs: they differ by half a point after J0 (no GPU, 1 CPU), 100 × (1 − 0.99/2 −
    # 1/2) = 0.5 and 1, that is 0 and 1: node 1. J1 (2 CPUs) would leave 98 and 96: 1 and 2. J2 (1 CPU) 99 and 95: 0
    # and 2. With 100 and 99.5 CPUs J0 has 0.5 and 0.75, which are equal: node 0, or the one that ``ties`` has first.
    fleet = Fleet((Site("here", tuple(NodePool(f"p{c}", "A100", 1, 1, cpus_per_node=c) for c in (100.0, 99.0))),))
    jobs = stream_of((0, 1000, 1.0), (0, 1000, 2.0), (0, 1000, 1.0))
    assert placements(WeightedBestFit(), fleet, jobs) == [(1, 0)] * 3
    fleet = Fleet((Site("here", tuple(NodePool(f"p{c}", "A100", 1, 1, cpus_per_node=c) for c in (100.0, 99.5))),))
    assert placements(WeightedBestFit(), fleet, stream_of((0, 1000, 1.0))) == [(0, 0)]
    assert placements(WeightedBestFit(ties=(1, 0)), fleet, stream_of((0, 1000, 1.0))) == [(1, 0)]


def test_dot_product() -> None:
    # Two nodes of 2 GPUs and 10 CPUs. J0 (1 GPU, 8 CPUs): node 0. J1 (1 GPU, 1 CPU): on node 0 2 CPUs and 1 GPU are
    # free, (0.2 × 0.1 + 0.5 × 0.5) / 2 = 0.135, 86; on node 1 (1 × 0.1 + 1 × 0.5) / 2 = 0.3, 70: node 0. J2 (0.5 of a
    # GPU) has room on node 1 only. J3 (1 CPU, no GPU): node 0 has 1 of 10 free, 100 × (1 − 0.005) = 99, node 1 all, 95.
    jobs = stream_of((1, 1000, 8.0), (1, 1000, 1.0), (1, 500, 0.0), (0, 1000, 1.0))
    assert placements(DotProduct(), machines(2, 2, 10.0), jobs) == [(0, 1), (0, 2), (1, 1), (0, 0)]


def test_gpu_packing() -> None:
    # Two nodes of 2 GPUs. J0 (0.4): both empty, 31: node 0. J1 (1 GPU): on node 0 50 − 1 = 49, node 1 is empty, 31. J2
    # (0.5): GPU 0 of node 0 has 0.6 left, 100 − 6 = 94. J3 (0.2) has no room there: node 1. J4 (0.1): GPU 0 of node 0
    # has 0.1 left, 99; that of node 1 0.8, 92.
    jobs = stream_of((1, 400, 0.0), (1, 1000, 0.0), (1, 500, 0.0), (1, 200, 0.0), (1, 100, 0.0))
    assert placements(GpuPacking(), machines(2, 2), jobs) == [(0, 1), (0, 2), (0, 1), (1, 1), (0, 1)]


def test_gpu_clustering() -> None:
    # Three nodes of 2 GPUs. J0 (0.5): all empty, 25: node 0. J1 (1 GPU): node 0 has another size, 0 + 25 × 0.25 = 6:
    # node 1. J2 (0.6): node 0 again, 75 + 6; GPU 0 has 0.5 left, so GPU 1. J3 (1): node 1 is its own, 75 + 12. J4 (2
    # GPUs): node 2. J5 (0.4): only node 0 has room, and GPU 1 has less left.
    jobs = stream_of((1, 500, 0.0), (1, 1000, 0.0), (1, 600, 0.0), (1, 1000, 0.0), (2, 1000, 0.0), (1, 400, 0.0))
    assert placements(GpuClustering(), machines(3, 2), jobs) == [(0, 1), (1, 1), (0, 2), (1, 2), (2, 3), (0, 2)]


def test_fgd() -> None:
    # Half of the jobs want a whole GPU, half want 0.5 of one; two nodes of 2 GPUs. J0 (0.5): on either node 1.5 GPUs
    # are left, of which the first can use 1 and the second 1.5: 0.25 fragmented, sigmoid(−0.25) = 0.437, 43: node 0.
    # J1 (0.5): on GPU 0 of node 0 fragmentation falls to 0, sigmoid(0.25) = 0.562, 56; elsewhere it grows: 43.
    # J2 (1): none is fragmented before or after, 50 on both: node 0. J3 (1): node 1.
    mix = (Typical(0.0, 1, 1000, "", 3), Typical(0.0, 1, 500, "", 3))
    jobs = stream_of((1, 500, 0.0), (1, 500, 0.0), (1, 1000, 0.0), (1, 1000, 0.0))
    assert placements(Fgd(mix=mix), machines(2, 2), jobs) == [(0, 1), (0, 1), (0, 2), (1, 1)]


def test_fgd_spares_what_is_typical() -> None:
    # All want 2 whole GPUs. J0 (1 GPU) on node 0: the other GPU of it is lost. J1 (0.3) goes there, not on node 1, and
    # so does J2 (0.3): GPU 1 of node 0 was lost anyway. On node 1 two GPUs would be.
    mix = (Typical(0.0, 2, 1000, "", 1),)
    jobs = stream_of((1, 1000, 0.0), (1, 300, 0.0), (1, 300, 0.0), (2, 1000, 0.0))
    assert placements(Fgd(mix=mix), machines(2, 2), jobs) == [(0, 1), (0, 2), (0, 2), (1, 3)]


def test_fgd_learns_what_is_typical() -> None:
    """Without a mix it goes by what has arrived: after 1, 2, 4, ... jobs."""
    seen: list[float] = []

    @dataclass(frozen=True)
    class Watched(Fgd):
        def scorer(self, view: View) -> Scorer:
            seen.append(view.now)
            return super().scorer(view)

    jobs = stream_of(*[(1, 250, 0.0)] * 9)
    placements(Watched(), machines(2, 2), jobs)
    assert seen == [0.0, 1.0, 3.0, 7.0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_node(seed: int) -> None:
    # Three nodes of 2 GPUs; job i comes alone, at decision i: number 0 draws the node, 1 the GPU of a share.
    jobs = stream_of((1, 600, 0.0), (2, 1000, 0.0), (1, 600, 0.0))
    left = np.full((3, 2), 1000)
    expected = []
    for decision, (gpus, milli) in enumerate(((1, 600), (2, 1000), (1, 600))):
        nodes = np.flatnonzero((left >= milli).sum(1) >= gpus)
        node = int(nodes[int(uniform(seed, stream("strategy"), decision, 0) * len(nodes))])
        fits = np.flatnonzero(left[node] >= milli)
        taken = fits if gpus == 2 else fits[[int(uniform(seed, stream("strategy"), decision, 1) * len(fits))]]
        left[node, taken] -= milli
        expected.append((node, int((1 << taken).sum())))
    assert placements(RandomNode(), machines(3, 2), jobs, seed) == expected


def starts(strategy: Strategy, fleet: Fleet, jobs: Jobs) -> list[tuple[float, dict[int, int]]]:
    """When each job starts, and its mask of GPUs by node."""
    log = Log()
    state = State(fleet, jobs, estimate_s=np.array(jobs.duration_s).data)
    run(Simulation(fleet, jobs), by_number(strategy, fleet), state, log)
    assert not violation(log, fleet, jobs)
    rows = log.array()
    assert (rows["kind"] == Kind.FINISHED).sum() == len(jobs) == (rows["kind"] == Kind.STARTED).sum()
    out = []
    for job in range(len(jobs)):
        mine = rows[rows["subject"] == job]
        placed = mine[mine["kind"] == Kind.PLACED]
        where = dict(zip(placed["node"].tolist(), placed["value"].astype(int).tolist(), strict=True))
        out.append((float(mine["time_s"][mine["kind"] == Kind.STARTED][0]), where))
    return out


def at_once(*asked: tuple[int, float, float]) -> Jobs:
    """(GPUs, CPUs, seconds) of jobs that all come at 0."""
    gpus, cpus, seconds = zip(*asked, strict=True)
    return Jobs.build(arrival_s=[0.0] * len(asked), duration_s=seconds, gpus=gpus, cpus=cpus)


def test_tetris_aligns() -> None:
    # Two nodes of 4 GPUs and 16 CPUs. On an empty one J0 (1 GPU, 8 CPUs) aligns by 1/4 + 1/2 = 0.75, J1 (4, 4) by 1.25,
    # J2 (2, 2) by 0.625. J1 goes first: node 0. Then only node 1 has GPUs: J0 there (0.75), and J2 (0.5 × 0.75 + 0.125
    # × 0.5).
    jobs = at_once((1, 8.0, 9.0), (4, 4.0, 9.0), (2, 2.0, 9.0))
    expected = [(0.0, {1: 1}), (0.0, {0: 15}), (0.0, {1: 6})]
    assert starts(Tetris(shortness=0.0), machines(2, 4, 16.0), jobs) == expected


def test_tetris_weighs_how_short_a_job_is() -> None:
    # One node of 2 GPUs; J0 (2 GPUs, 100 s) aligns by 1, J1 (1 GPU, 10 s) by 0.5. Work is 100 × 1 and 10 × 0.5, in the
    # mean 52.5, alignment 0.75: J0 is worth 1 − 0.75 × 100 / 52.5 = −0.43, J1 0.5 − 0.75 × 5 / 52.5 = 0.43.
    jobs = at_once((2, 0.0, 100.0), (1, 0.0, 10.0))
    assert [each[0] for each in starts(Tetris(), machines(1, 2), jobs)] == [10.0, 0.0]
    assert [each[0] for each in starts(Tetris(shortness=0.0), machines(1, 2), jobs)] == [0.0, 100.0]
    # Of equal demands the shortest goes first, whatever the weight.
    same = at_once((2, 0.0, 100.0), (2, 0.0, 10.0))
    assert [each[0] for each in starts(Tetris(shortness=0.0), machines(1, 2), same)] == [10.0, 0.0]


def test_synergy() -> None:
    # Two nodes of 2 GPUs and 10 CPUs. J2 (2 GPUs) goes first: node 0. Then J1 (9 CPUs) before J0 (1 CPU): node 1, where
    # a GPU and a CPU are left for J0. J3 (0.5 CPUs) is last and waits for 9 s.
    jobs = at_once((1, 1.0, 9.0), (1, 9.0, 9.0), (2, 2.0, 9.0), (1, 0.5, 9.0))
    assert starts(Synergy(), machines(2, 2, 10.0), jobs) == [
        (0.0, {1: 2}), (0.0, {1: 1}), (0.0, {0: 3}), (9.0, {0: 1})
    ]  # fmt: skip


def test_spread() -> None:
    # Two nodes of 4 GPUs. J0: node 0; J1: node 1, where more is free. J2 (4 GPUs) finds 3 and 3: GPU by GPU from node
    # 0, 1, 0, 1. J3 (half a GPU): one free on each, node 0; J4 likewise on node 1, J5 on node 0 again, beside J3.
    jobs = Jobs.build(
        arrival_s=np.arange(6.0), duration_s=[100.0] * 6, gpus=[1, 1, 4, 1, 1, 1], gpu_milli=[1000] * 3 + [500] * 3
    )
    assert starts(Spread(), machines(2, 4), jobs) == [
        (0.0, {0: 1}), (1.0, {1: 1}), (2.0, {0: 6, 1: 6}), (3.0, {0: 8}), (4.0, {1: 8}), (5.0, {0: 8})
    ]  # fmt: skip


def test_consolidated() -> None:
    # Two nodes of 4 GPUs. J0 and J1 (3 GPUs, 100 s) leave one free on each. J2 (2 GPUs) comes at 1 and waits for two on
    # one node: 10 s, then it takes one of each; or until 100.
    jobs = Jobs.build(arrival_s=[0.0, 0.0, 1.0], duration_s=[100.0, 100.0, 8.0], gpus=[3, 3, 2])
    assert starts(Consolidated(patience_s=10.0), machines(2, 4), jobs)[2] == (11.0, {0: 8, 1: 8})
    assert starts(Consolidated(patience_s=0.0), machines(2, 4), jobs)[2] == (1.0, {0: 8, 1: 8})
    assert starts(Consolidated(patience_s=np.inf), machines(2, 4), jobs)[2] == (100.0, {0: 3})


def test_consolidated_takes_few_nodes() -> None:
    # Three nodes of 4 GPUs. Best fit puts J0 (3) and J1 (1) on node 0, J2 (2) on node 1; node 2 is there for J3 (4).
    jobs = Jobs.build(arrival_s=[0.0] * 3 + [1.0], duration_s=[100.0] * 4, gpus=[3, 1, 2, 4])
    fleet = machines(3, 4)
    found = starts(Consolidated(patience_s=0.0), fleet, jobs)
    assert [sorted(where) for _, where in found[:3]] == [[0], [0], [1]]
    assert found[3] == (1.0, {2: 15})
    # J0 (3), J1 (2) and J2 (3) each have a node, and leave 1, 2 and 1: J3 fills node 1 first.
    jobs = Jobs.build(arrival_s=[0.0] * 3 + [1.0], duration_s=[100.0] * 4, gpus=[3, 2, 3, 4])
    assert starts(Consolidated(patience_s=0.0), fleet, jobs)[3] == (1.0, {0: 8, 1: 12, 2: 8})


# -- the ranking ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ByEverything(Packing, Scorer):
    """A score in which every column of a node takes part."""

    dtype: ClassVar[type] = np.float64

    def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
        host = np.where(np.isinf(nodes.cpus_milli), 0.0, nodes.cpus_milli) * 1e-3
        host += np.where(np.isinf(nodes.ram_bytes), 0.0, nodes.ram_bytes) * 1e-9
        gpus = (nodes.gpu_milli * (1.0 + np.arange(nodes.gpu_milli.shape[1]))).sum(1)
        score: npt.NDArray[Any] = gpus + host + nodes.held @ np.arange(1e5, 17e5 + 1, 1e5) + nodes.pool + nodes.gpus
        return score


RULES: list[Callable[[], Packing]] = [ByEverything, WeightedBestFit, GpuClustering, GpuPacking, Fgd, Tetris]


@dataclass(frozen=True)
class Checked(Strategy):
    """Places by a rule, preempts at random, and holds each ranking against one made from scratch."""

    rule: Packing
    preempts: float = 0.2

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for number, job in enumerate(view.running()):
            if view.uniform(number) < self.preempts and view.now < 1500.0:  # else nobody would ever end
                plan.preempt(job)
        for job in plan.placeable(view.waiting, score=self.rule):
            where = plan.scored_fit(job, self.rule)
            assert where == self._anew(view, plan, job), f"job {job} at {view.now} s"
            plan.place(job, where)
        return plan

    def _anew(self, view: View, plan: Plan, job: int) -> Any:
        books = view._books
        news, books.capacity.news = books.capacity.news, None
        table, rankings = books.node_table, books.rankings
        books.node_table, books.rankings = None, []
        found = plan._search(job, None, score=self.rule)
        books.node_table, books.rankings, books.capacity.news = table, rankings, news
        return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("world", _worlds(), ids=lambda world: world.name)
def test_the_ranking_is_that_of_all_nodes(world: _World, rule: Callable[[], Packing]) -> None:
    """In every tiny world: shares, hosts, gangs, rented nodes, failures, preemptions."""
    log = world.run(Checked(rule()))
    assert not violation(log, world.fleet, world.jobs)
    rows = log.array()
    assert (rows["kind"] == Kind.FINISHED).sum() == len(world.jobs)


@settings(max_examples=30)
@given(
    nodes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(RULES),
    ties=st.booleans(),
)
def test_the_ranking_in_random_worlds(nodes: list[int], seed: int, rule: Callable[[], Packing], ties: bool) -> None:
    rng = np.random.default_rng(seed)
    pools = tuple(
        NodePool(f"p{i}", "A100", int(rng.integers(2, 5)), n, cpus_per_node=float(rng.choice([0.0, 16.0])))
        for i, n in enumerate(nodes)
    )
    fleet = Fleet((Site("here", pools),))
    gpus = rng.choice([0, 1, 1, 2], 40)
    jobs = Jobs.build(
        arrival_s=np.cumsum(rng.exponential(30.0, 40)),
        duration_s=rng.exponential(300.0, 40) + 1.0,
        gpus=gpus,
        gpu_milli=np.where(gpus == 1, rng.choice([100, 300, 700, 1000], 40), 1000),
        cpus=rng.choice([0.3, 1.1, 4.0], 40),
    )
    order = tuple(rng.permutation(fleet.nodes).tolist()) if ties else ()
    log = Log()
    state = State(fleet, jobs, seed=seed)
    down = int(rng.integers(fleet.nodes))

    def outage(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(300.0)
        world.fail(down)
        yield world.timeout(300.0)
        world.repair(down)

    world = Simulation(fleet, jobs, seed=seed, processes=(outage,))
    run(world, Checked(dataclasses.replace(rule(), ties=order)), state, log)
    assert not violation(log, fleet, jobs)
    assert (log.array()["kind"] == Kind.FINISHED).sum() == len(jobs)
    capacity = state.books.capacity
    assert capacity.cpus == [capacity.cpus_of_pool[p] for p in capacity.pool_of]  # all is given back, to the last milli
    table = state.books.node_table
    assert table is not None
    table.sync()
    assert not table.held.any() and not capacity.shared[0]


def test_ties_must_name_every_node_once() -> None:
    with pytest.raises(Exception, match=r"strategy\.ties has 2 numbers, expected those of all 3 nodes, each once"):
        placements(WeightedBestFit(ties=(0, 1)), machines(3, 2), stream_of((1, 500, 0.0)))
    with pytest.raises(InputError, match=r"strategy\.popular_share is 0, expected above 0, at most 1"):
        Fgd(popular_share=0)
    for wrong in ((1.0, 1, 500, ""), (1.0, 2, 500, "", 1), (1.0, 1, 0, "", 1), (-1.0, 1, 500, "", 1), (1, 1, 500, 3, 1),
                  7, (1.0, 1, 1000, "", 0)):  # fmt: skip
        with pytest.raises(InputError, match=r"strategy\.mix\[1\] is .*, expected \[CPUs >= 0, GPUs, milli-GPU"):
            Fgd(mix=(Typical(0.0, 0, 0, "", 1), wrong))  # type: ignore[arg-type]
    assert Fgd(mix=[[4, 1, 500, "", 2]]) == Fgd(mix=(Typical(4, 1, 500, "", 2),))  # type: ignore[arg-type]


def test_ties_are_drawn_once_per_run() -> None:
    """Twelve jobs that care for no node go to twelve different ones, in another order for another seed."""
    fleet, jobs = machines(12, 1), stream_of(*[(1, 1000, 0.0)] * 12)

    def order(seed: int) -> list[int]:
        log = Log()
        run(Simulation(fleet, jobs, seed=seed), WeightedBestFit(), State(fleet, jobs, seed=seed), log)
        rows = log.array()
        return [int(node) for node in rows["node"][rows["kind"] == Kind.PLACED]]

    assert sorted(order(0)) == sorted(order(1)) == list(range(12))
    assert order(0) != order(1) and order(0) == order(0) != list(range(12))


def test_changes_are_told_node_by_node() -> None:
    """Whether the last changes or the stamps are asked, the answer is the same."""
    fleet, jobs = machines(200, 2), stream_of((1, 500, 0.0))
    books = State(fleet, jobs).books
    table = NodeTable(books, {})
    rng = np.random.default_rng(0)
    changed: list[int] = []
    for _ in range(300):
        node = int(rng.integers(200))
        changed.append(node)
        books.capacity.take(((node, 1, 1000),), -1)
        books.capacity.give(((node, 1, 1000),), -1)
        table.sync()
        assert table.changes == len(changed)
        for since in (0, len(changed) - 1, len(changed) // 2, len(changed)):
            assert sorted(table.changed_since(since).tolist()) == sorted(set(changed[since:])), since


def test_a_ranking_scores_only_what_has_changed() -> None:
    asked: list[int] = []

    @dataclass(frozen=True)
    class Counting(Packing, Scorer):
        def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
            asked.append(len(nodes.pool))
            return np.zeros(len(nodes.pool), np.int16)

    placements(Counting(), machines(1000, 2), stream_of(*[(1, 500, 0.0)] * 6))
    assert asked == [1] * 5  # the pool's empty nodes once, then the node that was filled; full ones are not asked for


# -- fragmentation --------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.5, 4.0, 11.9]), st.sampled_from([0, 1, 1, 2, 4]), st.integers(1, 1000),
            st.sampled_from(["", "A100", "T4", "A100|T4"]), st.integers(1, 50),
        ), min_size=1, max_size=12,
    ),
    st.integers(0, 10**6),
)  # fmt: skip
def test_tables_of_fragmentation_are_its_definition(asked: list[tuple[float, int, int, str, int]], seed: int) -> None:
    typical = popular([Typical(c, g, (m if g == 1 else 1000 if g else 0), t, n) for c, g, m, t, n in asked], 1.0)
    assert sum(each.weight for each in typical) == pytest.approx(1.0)
    fleet = Fleet(
        (Site("here", (NodePool("a", "A100", 4, 3, cpus_per_node=16), NodePool("t", "T4", 2, 3, cpus_per_node=8))),)
    )
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 2, 50)
    left = rng.choice([0, 1, 250, 500, 999, 1000], (50, 4)) * (np.arange(4) < np.where(pool, 2, 4)[:, None])
    cpus = rng.choice([0, 1499, 1500, 4000, 11900, 16000], 50)
    by_tables = Fragmentation(fleet, typical).fragmented(pool, cpus.astype(float), left)
    by_definition = Fragments(fleet, typical).of(pool, cpus, left)
    assert by_tables == pytest.approx(by_definition, abs=1e-6)


def test_the_commonest_demands() -> None:
    mix = [Typical(1.0, 1, 1000, "", 50), Typical(2.0, 1, 500, "", 30), Typical(4.0, 1, 500, "", 10),
           Typical(2.0, 0, 0, "", 10)]  # fmt: skip
    # 80 are less than 85 %, so one of the two with 10 as well: the one with more CPUs
    assert popular(mix, 0.85) == [each._replace(weight=each.weight / 90) for each in mix[:3]]
    assert popular(mix, 0.5) == [mix[0]._replace(weight=1.0)]
