"""Notices: who is reclaimed has been warned, in good time or as soon as it came up."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import Fleet, NodePool, Reclaim, Series, Site, View
from hcsim.audit import Audit, Breach
from hcsim.control import run
from hcsim.events import Kind
from hcsim.log import Log
from hcsim.model import Jobs
from hcsim.replay import replay
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategy import AnyStrategy
from tests.worlds import jobs, script, story


def spot(nodes: int, **pool: Any) -> Fleet:
    pool = {"market": "spot", "idle_release_s": 1e9} | ({} if "price" in pool else {"usd_per_gpu_h": 1.0}) | pool
    return Fleet((Site("cloud", (NodePool("spot", "A100", 4, nodes, **pool),)),))


def steps(*pairs: tuple[float, float]) -> Series:
    return Series([t for t, _ in pairs], [v for _, v in pairs], 1e9, "hold")


def played(fleet: Fleet, work: Jobs, strategy: AnyStrategy | None = None, until_s: float = inf, seed: int = 0) -> Log:
    """A run that the auditor passes and that replays."""
    strategy, log = strategy or FirstFit(), Log()
    run(Simulation(fleet, work, seed=seed, until_s=until_s), strategy, State(fleet, work, seed=seed), log)
    audit = Audit(fleet, work)
    for row in log.array().tolist():
        audit.see(row)
    audit.close()
    assert replay(log, fleet, work, strategy, seed=seed).sha256 == log.sha256
    return log


def reclaimed(rows: npt.NDArray[Any], notice_s: float) -> int:
    """How many nodes were, each warned of that time ``notice_s`` before or as it came up."""
    up: dict[int, float] = {}
    told: dict[tuple[int, float], float] = {}
    count = 0
    # in an instant a node comes up before it is warned
    ordered = sorted(rows.tolist(), key=lambda row: (row[0], row[1] == Kind.NOTICE))
    for t, kind, node, _, value, _ in ordered:
        if kind == Kind.NODE_UP:
            up[node] = t
        elif kind == Kind.NOTICE:
            told[node, value] = t
        elif kind == Kind.NODE_DOWN and value == 1.0:
            count += 1
            assert up[node] <= told[node, t] <= max(t - notice_s, up[node]) * (1 + 1e-12)
    return count


def test_who_is_rented_in_the_window_is_warned_as_it_comes_up_and_nobody_else_goes_for_it() -> None:
    """Stock falls from 4 to 2 at 1000. Two nodes are up when that is announced, so both stay; two more come at 950."""
    fleet = spot(4, stock=steps((0.0, 4.0), (1000.0, 2.0)), reclaim=Reclaim(notice_s=120.0))
    work = jobs((0.0, 2000.0, 4), (0.0, 2000.0, 4), (950.0, 100.0, 4), (950.0, 100.0, 4))
    log = played(fleet, work)
    assert story(log, "NOTICE") == [(950.0, "NOTICE", 2), (950.0, "NOTICE", 3)]
    assert story(log, "NODE_DOWN") == [(1000.0, "NODE_DOWN", 2), (1000.0, "NODE_DOWN", 3)]


def test_falls_that_are_closer_than_the_notice_are_each_announced_in_time() -> None:
    fleet = spot(4, stock=steps((0.0, 4.0), (1000.0, 2.0), (1050.0, 1.0)), reclaim=Reclaim(notice_s=120.0))
    log = played(fleet, jobs(*[(0.0, 2000.0, 4)] * 4))
    notices = log.array()[log.array()["kind"] == Kind.NOTICE]
    assert [(r["time_s"], r["value"]) for r in notices] == [(880.0, 1000.0), (880.0, 1000.0), (930.0, 1050.0)]
    assert reclaimed(log.array(), 120.0) == 3


def test_a_price_above_the_bid_is_announced_to_what_comes_up_in_the_window() -> None:
    """Also to the node that takes the slot of one that was given back."""
    price = steps((0.0, 1.0), (1000.0, 3.0), (2000.0, 1.0))
    fleet = spot(1, price=price, reclaim=Reclaim(bid_usd_per_gpu_h=2.0, notice_s=120.0))
    acts = ((0.0, "provision", 0, 1), (900.0, "release", 0), (940.0, "provision", 0, 1))
    log = played(fleet, jobs((0.0, 1.0, 4)), script(*acts), 1500.0)
    assert story(log, "NOTICE") == [(880.0, "NOTICE", 0), (940.0, "NOTICE", 0)]
    assert reclaimed(log.array(), 120.0) == 1


@pytest.mark.parametrize("boot_s", [0.0, 100.0])
def test_slots_that_a_hazard_hits_are_announced(boot_s: float) -> None:
    """Ten slots, hit every 1000 s on the mean, always wanted: half of the time or so a node came up in the window."""
    fleet = spot(10, boot_s=boot_s, reclaim=Reclaim(1000.0, notice_s=500.0))
    rows = played(fleet, jobs(*[(0.0, 1e9, 4)] * 10, checkpoint_interval_s=[60.0] * 10), until_s=50_000.0).array()
    assert reclaimed(rows, 500.0) > 200


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 6)), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from([1.0, 2.0, 3.0])), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 40), st.integers(1, 8)), min_size=1, max_size=15),
    st.sampled_from([0.0, 7.0, 20.0, 45.0]),
    st.sampled_from([10.0, 35.0, 120.0]),
    st.sampled_from([inf, 150.0]),
    st.sampled_from([inf, 200.0]),
)
def test_nobody_is_reclaimed_unwarned(
    levels: list[tuple[int, int]], prices: list[tuple[int, float]], work: list[tuple[int, int, int]], boot_s: float,
    notice_s: float, hazard_s: float, mtbf_s: float,
) -> None:  # fmt: skip
    """Stock, price, hazard and failures at once: as many changes within the notice as chance has it."""

    def series(first: float, changes: list[Any]) -> Series:
        times = np.r_[0.0, np.cumsum([10.0 * dt for dt, _ in changes])]
        return Series(times, np.array([first, *(float(v) for _, v in changes)]), 1e9, "hold")

    fleet = spot(
        6, boot_s=boot_s, stock=series(6.0, levels), price=series(1.0, prices), mtbf_s=mtbf_s, repair_s=30.0,
        reclaim=Reclaim(hazard_s, notice_s=notice_s, bid_usd_per_gpu_h=2.5), idle_release_s=25.0,
    )  # fmt: skip
    rows = sorted((10.0 * a, 10.0 * d, g) for a, d, g in work)
    log = played(fleet, jobs(*rows, checkpoint_interval_s=[10.0] * len(rows)), until_s=2000.0)
    reclaimed(log.array(), notice_s)


def test_a_notice_whose_time_has_passed_is_over() -> None:
    fleet = spot(1)
    state = State(fleet, jobs((0.0, 1.0, 1)))
    view: View = state.view()
    up = [(0.0, Kind.PROVISIONING, 0, -1, 0.0, 0.0), (0.0, Kind.NODE_UP, 0, -1, 0.0, 0.0)]
    state.books.capacity.open(0)
    state.apply([*up, (1.0, Kind.NOTICE, 0, -1, 10.0, 0.0), (2.0, Kind.NOTICE, 0, -1, 20.0, 0.0)])
    assert view.notice_s(0) == 10.0
    state.apply([(10.0, Kind.TIMER, 0, -1, 0.0, 0.0)])
    assert view.notice_s(0) == 20.0
    state.apply([(20.0, Kind.TIMER, 0, -1, 0.0, 0.0)])
    assert view.notice_s(0) == inf


def test_the_auditor_misses_a_notice() -> None:
    fleet = spot(2, stock=steps((0.0, 2.0), (1000.0, 0.0)), reclaim=Reclaim(notice_s=120.0))
    work = jobs((0.0, 2000.0, 4), (0.0, 2000.0, 4))
    rows = played(fleet, work, until_s=1500.0).array()
    late = rows.copy()
    late["time_s"][late["kind"] == Kind.NOTICE] = 900.0
    for wrong, said in ((rows[rows["kind"] != Kind.NOTICE], "not announced"), (late, "announced at 900 s")):
        audit = Audit(fleet, work)
        with pytest.raises(Breach, match=f"is reclaimed: {said}, expected a NOTICE by 880 s"):
            for row in wrong[wrong["kind"] != Kind.WAKE].tolist():
                audit.see(row)
