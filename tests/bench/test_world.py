"""What realism costs: the first case of the benchmarks with all of it beside none of it, and changes of transfers."""

from __future__ import annotations

from random import Random

import numpy as np

from hcsim import Fleet, Link, NodePool, Site
from hcsim.events import Kind
from hcsim.sim import Simulated
from hcsim.sim.environment import LaneEnvironment
from hcsim.sim.network import Network
from hcsim.sim.switches import OF_EXECUTOR, SWITCHES
from tests.bench.conftest import Measure
from tests.bench.worlds import SIZE, real, simulate

ALL = (*SWITCHES, *sorted(OF_EXECUTOR))
TRANSFERS, CHANGES = 500, 4000


def test_realism(measure: Measure) -> None:
    """The same jobs and nodes: once with everything that can befall them, once with every switch off."""
    fleet, jobs = real(SIZE.jobs, SIZE.nodes)
    hour = float(jobs.arrival_s[-1]) / 3600.0
    for name, without in (("all realism off", ALL), ("all realism on", ())):
        world = Simulated(without=without, job_mtbf_s=200 * 3600.0)
        ran = measure.time(name, lambda world=world: simulate(*world.world(fleet, jobs), world=world))
        assert ran.count(Kind.FINISHED) == len(jobs)
        measure.report(f"{name}, us per job", measure.seconds[name] / len(jobs) * 1e6)
        kinds = {Kind(kind) for kind in np.unique(ran.rows["kind"]).tolist()}
        befalls = {
            *(Kind.LINK_DOWN, Kind.NODE_DOWN, Kind.LOST, Kind.SHRUNK, Kind.NOTICE, Kind.PRICE_CHANGED),
            *(Kind.STOCK_CHANGED, Kind.CARBON_CHANGED, Kind.TRANSFERRED, Kind.STAGED, Kind.EVICTED),
        }
        assert befalls <= kinds if not without else not befalls & kinds
        measure.report(f"{name}, events per simulated hour", len(ran.rows) / hour)
    ratio = measure.seconds["all realism on"] / measure.seconds["all realism off"]
    measure.report("all realism on / off", ratio, "x", "<= 2")


def test_a_change_among_transfers(measure: Measure) -> None:
    """500 transfers among the sites of a fleet; one is given up or begins, and all that it can touch share anew."""
    for sites, capacity in ((2, np.inf), (8, np.inf), (4, 5e9), (8, 5e9)):
        fleet = _linked(sites, capacity)
        name = f"{TRANSFERS} transfers, {sites} sites, " + (
            "their links" if capacity == np.inf else "and their ways out"
        )
        measure.time(name, lambda fleet=fleet: _change(fleet))
        network = _change(fleet)
        assert sum(each.count for each in network._classes.values()) == TRANSFERS
        measure.report(f"{name}, us per change", measure.seconds[name] / (TRANSFERS + CHANGES) * 1e6, target="<= 100")


def _change(fleet: Fleet) -> Network:
    """Begin transfers, then again and again give one up and begin another."""
    pairs, random = list(fleet.links_by_sites), Random(0)
    network = Network(LaneEnvironment(np.zeros(0).data), fleet)
    live = [network.start(*random.choice(pairs), 1e15, _nothing) for _ in range(TRANSFERS)]
    for _ in range(CHANGES // 2):
        which = random.randrange(TRANSFERS)
        network.stop(live[which])
        live[which] = network.start(*random.choice(pairs), 1e15, _nothing)
    return network


def _nothing() -> None:
    """Nobody waits for these."""


def _linked(count: int, capacity: float) -> Fleet:
    """Sites with a link from each to each other, of 1 to 5 GB/s, and ways out and in of a capacity."""
    sites = tuple(
        Site(f"s{i}", (NodePool(f"p{i}", "A100", 8, 1),), egress_bytes_per_s=capacity, ingress_bytes_per_s=capacity)
        for i in range(count)
    )
    ends = [(i, j) for i in range(count) for j in range(count) if i != j]
    return Fleet(sites, tuple(Link(f"s{i}", f"s{j}", 1e9 * (1 + (7 * i + j) % 5), 0.0) for i, j in ends))
