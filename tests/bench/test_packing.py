"""What a decision costs that scores nodes: FGD on the openb cluster, and on fleets of growing size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hcsim import Fleet, Jobs, NodePool, Site
from hcsim.control import run
from hcsim.events import Kind
from hcsim.log import Log
from hcsim.repro.fgd import LOAD, Cluster, Pods, drawn_order
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.fgd import Fgd
from hcsim.strategy import Strategy
from tests.bench.conftest import Measure
from tests.bench.worlds import SIZE

#: (GPUs, milli-GPU of each, CPUs, how common): the commonest demands of openb have these shapes.
SHAPES: Sequence[tuple[int, int, float, float]] = (
    (0, 1000, 4.0, 0.13), (1, 1000, 8.0, 0.3), (1, 1000, 12.0, 0.15), (1, 460, 6.0, 0.1), (1, 500, 8.0, 0.08),
    (1, 220, 2.0, 0.06), (1, 810, 11.9, 0.05), (1, 120, 1.0, 0.04), (2, 1000, 16.0, 0.03), (4, 1000, 32.0, 0.03),
    (8, 1000, 88.0, 0.03),
)  # fmt: skip


def played(fleet: Fleet, jobs: Jobs, strategy: Strategy, until_s: float = np.inf) -> Log:
    """A whole run: state, simulation, decisions, log."""
    log = Log()
    run(Simulation(fleet, jobs, until_s=until_s), strategy, State(fleet, jobs), log)
    return log


def test_openb(measure: Measure, shared_traces: Path) -> None:
    """Pods of the openb trace until 130 per cent of its GPUs are asked for, one after another, none of which leaves."""
    cluster, pods = Cluster.read(str(shared_traces)), Pods.read(str(shared_traces), "default")
    order = drawn_order(pods, cluster.gpu_milli, np.random.default_rng(0))
    jobs, mix = pods.jobs(order), pods.mix
    log = measure.time("openb", lambda: played(cluster.fleet, jobs, Fgd(mix=mix), len(order) - 0.5))
    rows = log.array()
    placed = rows["subject"][rows["kind"] == Kind.PLACED]
    assert (rows["kind"] == Kind.ARRIVED).sum() == len(order) > 10_000
    used = (pods.gpus * pods.milli)[order[placed]].sum() / cluster.gpu_milli
    assert 0.945 < used < 0.965 < LOAD
    measure.report("openb at 130 %, FGD, pods per CPU second", len(order) / measure.seconds["openb"], "", ">= 4,000")


def crowd(count: int, nodes: int, load: float) -> tuple[Fleet, Jobs]:
    """Jobs of :data:`SHAPES` that come and go on nodes of 8 GPUs and 96 CPUs at a load of their GPUs."""
    rng = np.random.default_rng(0)
    gpus, milli, cpus, share = map(np.array, zip(*SHAPES, strict=True))
    shape = rng.choice(len(SHAPES), count, p=share / share.sum())
    asked = (gpus * milli / 1000.0)[shape]
    duration_s = rng.exponential(3600.0, count) + 1.0
    span_s = float((asked * duration_s).sum() / (load * nodes * 8))
    jobs = Jobs.build(
        arrival_s=np.sort(rng.uniform(0.0, span_s, count)), duration_s=duration_s, gpus=gpus[shape],
        gpu_milli=milli[shape], cpus=cpus[shape],
    )  # fmt: skip
    return Fleet((Site("home", (NodePool("own", "A100", 8, nodes, cpus_per_node=96.0),)),)), jobs


def test_nodes(measure: Measure) -> None:
    """The same jobs, at 80 per cent load of a small fleet, on a hundred times the nodes (ten times at default size)."""
    mix = tuple((cpus, gpus, milli if gpus else 0, "", share) for gpus, milli, cpus, share in SHAPES)
    _, jobs = crowd(SIZE.stream_jobs, SIZE.nodes, 0.8)
    for nodes in (SIZE.many_nodes, SIZE.nodes):
        fleet, _ = crowd(1, nodes, 0.8)
        name = f"{nodes:,} nodes"
        log = measure.time(name, lambda fleet=fleet: played(fleet, jobs, Fgd(mix=mix)))
        kinds = log.array()["kind"]
        assert (kinds == Kind.FINISHED).sum() == (kinds == Kind.PLACED).sum() == len(jobs)
        measure.report(f"FGD, {name}, us per job", measure.seconds[name] / len(jobs) * 1e6)
    many, few = (measure.seconds[f"{nodes:,} nodes"] for nodes in (SIZE.many_nodes, SIZE.nodes))
    measure.report(f"FGD, {SIZE.many_nodes:,} / {SIZE.nodes:,} nodes", many / few, "x", "<= 3")
