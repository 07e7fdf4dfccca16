"""What a job costs on a larger fleet and in front of a longer queue."""

from __future__ import annotations

import numpy as np

from hcsim.events import Kind
from tests.bench.conftest import Measure
from tests.bench.worlds import SIZE, Ran, backlog, blocked, simulate, steady

FEW = 10


def waiting(ran: Ran) -> float:
    """Mean number of waiting jobs over the run's decisions."""
    kinds = ran.rows["kind"]
    change = (kinds == Kind.ARRIVED).astype(np.int64) - (kinds == Kind.STARTED)
    return float(np.cumsum(change)[kinds == Kind.WAKE].mean())


def test_nodes(measure: Measure) -> None:
    """The same load on a hundred times the nodes (ten times at default size)."""
    count = SIZE.scale_jobs
    for nodes in (SIZE.many_nodes, SIZE.nodes):
        fleet, jobs = steady(count, nodes)
        name = f"{nodes:,} nodes"
        ran = measure.time(name, lambda fleet=fleet, jobs=jobs: simulate(fleet, jobs))
        ran.check(jobs)
        measure.report(f"{name}, us per job", measure.seconds[name] / count * 1e6)
    many, few = (measure.seconds[f"{nodes:,} nodes"] for nodes in (SIZE.many_nodes, SIZE.nodes))
    measure.report(f"{SIZE.many_nodes:,} / {SIZE.nodes:,} nodes", many / few, "x", "<= 4")


def test_pending_blocked(measure: Measure) -> None:
    """Gangs for which there is no room wait throughout; a stream of small jobs passes them."""
    finish_s = []
    for pending in (SIZE.pending, FEW):
        fleet, jobs, until_s = blocked(SIZE.stream_jobs, pending)
        name = f"{pending:,} gangs blocked"
        ran = measure.time(name, lambda fleet=fleet, jobs=jobs, until_s=until_s: simulate(fleet, jobs, until_s))
        first = len(jobs) - SIZE.stream_jobs
        assert ran.count(Kind.ARRIVED) == len(jobs)
        assert ran.count(Kind.STARTED) == len(jobs) - pending
        assert ran.count(Kind.FINISHED) == SIZE.stream_jobs
        assert pending <= waiting(ran) < pending + FEW
        finish_s.append(ran.times(Kind.FINISHED, len(jobs))[first:].tolist())
        measure.report(f"{name}, us per job", measure.seconds[name] / SIZE.stream_jobs * 1e6)
    assert finish_s[0] == finish_s[1]  # whoever waits behind takes nothing from the stream
    ratio = measure.seconds[f"{SIZE.pending:,} gangs blocked"] / measure.seconds[f"{FEW} gangs blocked"]
    measure.report(f"{SIZE.pending:,} / {FEW} gangs blocked", ratio, "x", "<= 2")


def test_pending_backlog(measure: Measure) -> None:
    """A full fleet works off a queue while as many jobs join it as leave, beside one whose queue stays short."""
    for pending, load, name in ((SIZE.pending, 1.0, "long backlog"), (0, 0.95, "short backlog")):
        fleet, jobs, until_s = backlog(SIZE.stream_jobs, pending, load)
        ran = measure.time(name, lambda fleet=fleet, jobs=jobs, until_s=until_s: simulate(fleet, jobs, until_s))
        started = ran.count(Kind.STARTED)
        assert ran.count(Kind.ARRIVED) == len(jobs)
        assert SIZE.stream_jobs / 2 < started <= len(jobs)
        assert ran.count(Kind.WAKE) == ran.decisions
        measure.seconds[name] /= started
        measure.report(f"{name}, jobs waiting on average", waiting(ran))
        measure.report(f"{name}, us per job started", measure.seconds[name] * 1e6)
    measure.report("long / short backlog", measure.seconds["long backlog"] / measure.seconds["short backlog"], "x")
