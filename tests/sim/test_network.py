"""Transfers that share links, against a water-filling of the textbook's and against what links can carry."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import Fleet, Link, NodePool, Site
from hcsim.events import Kind
from hcsim.sim.environment import LaneEnvironment
from hcsim.sim.network import Network
from tests.worlds import jobs, play, script, story

SITES = 4


def fleet_of(out_of: list[float], into: list[float], links: list[float], latency_s: float = 0.0) -> Fleet:
    sites = [
        Site(f"s{i}", (NodePool(f"p{i}", "A100", 4, 4),), egress_bytes_per_s=a, ingress_bytes_per_s=b)
        for i, (a, b) in enumerate(zip(out_of, into, strict=True))
    ]
    pairs = [(i, j) for i in range(len(sites)) for j in range(len(sites)) if i != j]
    return Fleet(
        tuple(sites),
        tuple(Link(f"s{i}", f"s{j}", c, latency_s) for (i, j), c in zip(pairs, links, strict=True)),
    )


def water_filling(fleet: Fleet, flows: list[tuple[int, int]]) -> list[float]:
    """Max-min fair rates, flow by flow: raise all that are not held back by the same amount until a way is full."""
    ways: dict[tuple[str, int, int], float] = {}
    for i, site in enumerate(fleet.sites):
        ways["out", i, 0], ways["in", i, 0] = site.egress_bytes_per_s, site.ingress_bytes_per_s
    for (i, j), link in fleet.links_by_sites.items():
        ways["link", i, j] = link.bytes_per_s
    uses = [[("out", a, 0), ("in", b, 0), ("link", a, b)] for a, b in flows]
    rates, free = [0.0] * len(flows), set(range(len(flows)))
    while free:
        step, full = inf, ("", 0, 0)
        for way, capacity in ways.items():
            users = [f for f in free if way in uses[f]]
            if users:
                room = (capacity - sum(rates[f] for f in range(len(flows)) if way in uses[f])) / len(users)
                if room < step:
                    step, full = room, way
        for f in free:
            rates[f] += step
        free -= {f for f in free if full in uses[f]}
    return rates


capacities = st.sampled_from((1e8, 3e8, 1e9, 2.5e9))
ends = st.sampled_from((2e8, 1e9, 2e9, inf))


@settings(max_examples=150)
@given(
    st.lists(ends, min_size=SITES, max_size=SITES),
    st.lists(ends, min_size=SITES, max_size=SITES),
    st.lists(capacities, min_size=SITES * (SITES - 1), max_size=SITES * (SITES - 1)),
    st.lists(
        st.tuples(st.integers(0, SITES - 1), st.integers(0, SITES - 1), st.booleans()).filter(lambda t: t[0] != t[1]),
        min_size=1,
        max_size=25,
    ),
)
def test_rates_are_max_min_fair(
    out_of: list[float], into: list[float], links: list[float], changes: list[tuple[int, int, bool]]
) -> None:
    """After every change: transfers begin, and some are given up again."""
    fleet = fleet_of(out_of, into, links)
    network = Network(LaneEnvironment(np.zeros(0).data), fleet)
    live = []
    for source, target, gives_up in changes:
        mine = [t for t in live if t.pair == (source, target)]
        if gives_up and mine:
            network.stop(mine[0])
            live.remove(mine[0])
        else:
            live.append(network.start(source, target, 1e15, lambda: None))
        expected = water_filling(fleet, [t.pair for t in live])
        assert [network.rate(*t.pair) for t in live] == pytest.approx(expected, rel=1e-9)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.integers(0, 30)), min_size=1, max_size=12),
    st.sampled_from((inf, 6e8)),
)
def test_transfers_end_when_a_fluid_would(flows: list[tuple[int, int, int]], egress: float) -> None:
    """Against a fluid that is integrated from one arrival or end to the next with the rates of the textbook."""
    fleet = fleet_of([egress] * 4, [inf] * 4, [4e8] * 12)
    world = LaneEnvironment(np.zeros(0).data)
    network = Network(world, fleet)
    ended: dict[int, float] = {}
    for k, (target, size, begin) in enumerate(flows):

        def begins(k: int = k, target: int = target, size: int = size) -> None:
            network.start(0, target + 1, size * 1e9, lambda: ended.setdefault(k, world.now))

        world.at(float(begin), begins)
    for _ in world.instants():  # until nothing is due; rows are not told here
        pass
    while world.peek() < inf:
        world.step()
    expected = fluid(fleet, [(0, t + 1, size * 1e9, float(begin)) for t, size, begin in flows])
    assert [ended[k] for k in range(len(flows))] == pytest.approx(expected, rel=1e-6)


def fluid(fleet: Fleet, flows: list[tuple[int, int, float, float]]) -> list[float]:
    left = [size for _, _, size, _ in flows]
    end, now = [inf] * len(flows), 0.0
    while any(e == inf for e in end):
        on = [k for k, (_, _, _, begin) in enumerate(flows) if begin <= now and end[k] == inf]
        rates = dict(zip(on, water_filling(fleet, [flows[k][:2] for k in on]), strict=True))
        nexts = [begin for *_, begin in flows if begin > now]
        t = min([now + left[k] / rates[k] for k in on] + nexts)
        for k in on:
            left[k] -= rates[k] * (t - now)
            if left[k] <= 1e-3:
                end[k] = t
        now = t
    return end


def test_two_transfers_share_a_link_and_the_second_speeds_up_when_the_first_is_over() -> None:
    # 1 GB/s: 4 GB from 0, 4 GB from 2. Alone to 2 (2 left), half each to 6, the second has 2 left: at 8
    fleet = fleet_of([inf, inf], [inf, inf], [1e9, 1e9])
    columns = {"dataset_site": [0, 0], "dataset_bytes": [4e9, 4e9], "dataset_sites": ("s0",)}
    acts = ((0.0, "place", 0, 4), (2.0, "place", 1, 5))
    log = play(script(*acts), fleet, jobs((0.0, 1.0, 4), (0.0, 1.0, 4), **columns))
    assert story(log, "STARTED") == [(6.0, "STARTED", 0), (8.0, "STARTED", 1)]


def test_latency_comes_on_top() -> None:
    fleet = fleet_of([inf, inf], [inf, inf], [1e9, 1e9], latency_s=0.5)
    work = jobs((0.0, 1.0, 4), dataset_site=[0], dataset_bytes=[4e9], dataset_sites=("s0",))
    assert story(play(script((0.0, "place", 0, 4)), fleet, work), "STARTED") == [(4.5, "STARTED", 0)]


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_a_link_never_carries_more_than_it_can_and_all_is_carried(seed: int) -> None:
    """Bytes of TRANSFERRED rows: those of the jobs, and over any window that ends with one at most what fits."""
    rng = np.random.default_rng(seed)
    fleet = fleet_of([inf, inf], [inf, inf], [1e9, 1e9])
    n = 16
    size = rng.integers(1, 20, n) * 1e9
    arrival_s = np.sort(rng.integers(0, 60, n)).astype(float)
    rows = tuple((float(t), 1.0, 1) for t in arrival_s)
    work = jobs(*rows, dataset_site=[0] * n, dataset_bytes=size, dataset_sites=("s0",))
    acts = [(float(t), "place", job, 4 + job // 4) for job, t in enumerate(arrival_s)]
    told = play(script(*acts), fleet, work).array()
    done = told[told["kind"] == Kind.TRANSFERRED]
    assert done["value"].sum() == size.sum() and len(done) == n
    begun = {int(r["subject"]): float(r["time_s"]) for r in told[told["kind"] == Kind.TRANSFERRING]}
    for t0 in arrival_s:  # all that begins at or after t0 and is over by t has been carried between them
        for t in done["time_s"][done["time_s"] > t0]:
            inside = [r for r in done if begun[int(r["subject"])] >= t0 and r["time_s"] <= t]
            assert sum(float(r["value"]) for r in inside) <= 1e9 * (t - t0) * (1 + 1e-9) + 1
    # it is never idle while there is something to carry: what is over last is over as in a queue of one server
    last_s = 0.0
    for t, each in zip(arrival_s, size, strict=True):
        last_s = max(last_s, t) + each / 1e9
    assert done["time_s"].max() == pytest.approx(last_s)


def test_without_sharing_each_has_the_link_to_itself() -> None:
    from hcsim.control import run
    from hcsim.log import Log
    from hcsim.sim import Simulation
    from hcsim.state import State

    fleet = fleet_of([1e8, inf], [inf, inf], [1e9, 1e9])
    columns = {"dataset_site": [0, 0], "dataset_bytes": [4e8, 4e8], "dataset_sites": ("s0",)}
    work, log = jobs((0.0, 1.0, 4), (0.0, 1.0, 4), **columns), Log()
    acts = ((0.0, "place", 0, 4), (0.0, "place", 1, 5))
    run(Simulation(fleet, work, shared_links=False), script(*acts), State(fleet, work), log)
    assert story(log, "STARTED") == [(4.0, "STARTED", 0), (4.0, "STARTED", 1)]  # at the 100 MB/s out of the site
