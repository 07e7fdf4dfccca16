"""Markets: boot times, stock, quotas, idle nodes, reclaims, prices and budgets, against closed forms."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import t as student

from hcsim import Budget, Fleet, InputError, Link, NodePool, Quota, Reclaim, Series, Site
from hcsim.actions import Verb
from hcsim.constraints import Rule
from hcsim.control import run
from hcsim.events import Kind
from hcsim.ledger import bill
from hcsim.log import Log
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.fifo import Fifo
from hcsim.strategies.first_fit import FirstFit
from tests.worlds import jobs, play, refusals, script, starts, story


def cloud(nodes: int = 10, fleet: dict[str, Any] | None = None, **pool: Any) -> Fleet:
    """One rented pool of nodes with four GPUs; ``fleet``: quotas, budgets."""
    rented = {"market": "on_demand", "usd_per_gpu_h": 4.0, "idle_release_s": 1e9} | pool
    if "price" in rented:
        rented["usd_per_gpu_h"] = 0.0
    return Fleet((Site("cloud", (NodePool("rent", "A100", 4, nodes, **rented),), provider="aws"),), **(fleet or {}))


def steps(*pairs: tuple[float, float], end_s: float = 1e9) -> Series:
    return Series([t for t, _ in pairs], [v for _, v in pairs], end_s, "hold")


def lives(rows: npt.NDArray[Any]) -> list[float]:
    """How long each node was up before it went down."""
    up: dict[int, float] = {}
    out = []
    for row in rows.tolist():
        if row[1] == Kind.NODE_UP:
            up[row[2]] = row[0]
        elif row[1] == Kind.NODE_DOWN:
            out.append(row[0] - up.pop(row[2]))
    return out


def within(samples: Sequence[float], exact: float) -> None:
    """The exact mean lies in the 99.9 % interval of independent samples."""
    x = np.array(samples)
    half = student.ppf(0.9995, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    assert abs(x.mean() - exact) <= half, f"{x.mean():.5g} ± {half:.2g}, exact {exact:.5g}"
    assert half < 0.1 * exact


# -- how long it takes to have a node --------------------------------------------------------------------------------


@pytest.mark.parametrize(("boot_s", "boot_cv", "image_s", "image_cv"), [(120.0, 0.5, 60.0, 1.0), (90.0, 0.3, 0.0, 0.0)])
def test_boot_and_image_pull_have_their_mean_and_spread(
    boot_s: float, boot_cv: float, image_s: float, image_cv: float
) -> None:
    fleet = cloud(4000, boot_s=boot_s, boot_cv=boot_cv, image_s=image_s, image_cv=image_cv)
    rows = play(script((0.0, "provision", 0, 4000)), fleet, jobs((0.0, 1.0, 1))).array()
    taken = rows["time_s"][rows["kind"] == Kind.NODE_UP]
    assert len(taken) == 4000
    within(taken.tolist(), boot_s + image_s)
    expected = np.hypot(boot_s * boot_cv, image_s * image_cv)  # the two are independent
    assert taken.std() == pytest.approx(expected, rel=0.15)


def test_without_spread_the_image_follows_the_boot() -> None:
    log = play(script((0.0, "place", 0, 0)), cloud(boot_s=100.0, image_s=30.0), jobs((0.0, 10.0, 1)))
    assert story(log, "NODE_UP", "STARTED") == [(130.0, "NODE_UP", 0), (130.0, "STARTED", 0)]


# -- stock and quotas ------------------------------------------------------------------------------------------------


def test_ten_are_asked_for_and_five_are_given() -> None:
    log = play(script((0.0, "provision", 0, 10)), cloud(stock=steps((0.0, 5.0))), jobs((0.0, 1.0, 1)))
    assert len(story(log, "NODE_UP")) == 5
    assert refusals(log) == [(0.0, Verb.PROVISION, 0, Rule.STOCK)]


def test_a_stock_out_that_nobody_foresaw_gives_some_and_ends_with_its_slot() -> None:
    """Every slot has one here. As many are given as its draw says, the rest are told not to come, and it is told."""
    for seed in range(8):
        acts = ((0.0, "provision", 0, 10), (1.0, "provision", 0, 10))
        log = play(
            script(*acts), cloud(stockout_share=1.0, boot_s=30.0), jobs((0.0, 1.0, 8), (2000.0, 1.0, 8)), seed=seed
        )
        rows = log.array()
        up = int((rows["kind"] == Kind.NODE_UP).sum())
        off = rows[(rows["kind"] == Kind.NODE_OFF) & (rows["value"] == 1)]
        assert up + len(off) == 10 and len(off) > 0  # none more at 1 s: that there are none is known by then
        told = rows[rows["kind"] == Kind.STOCK_CHANGED]
        assert [(r["time_s"], r["value"]) for r in told] == [(0.0, up), (600.0, inf)]
        assert refusals(log) == [(1.0, Verb.PROVISION, 0, Rule.STOCK)]


def test_stock_outs_are_as_frequent_as_they_should_be() -> None:
    """One node is asked for in each of many slots: it is refused when there is a stock-out and its level is 0."""
    n = 4000
    acts = [(600.0 * k + 1.0, "provision", 0, 1) for k in range(n)]
    log = play(
        script(*acts), cloud(1, stockout_share=0.3, idle_release_s=10.0), jobs((0.0, 1.0, 8), (600.0 * n, 1.0, 8))
    )
    rows = log.array()
    refused = ((rows["kind"] == Kind.NODE_OFF) & (rows["value"] == 1)).sum()
    # int(1 * u) = 0 always: with one node a stock-out leaves none
    assert refused / n == pytest.approx(0.3, abs=3.3 * np.sqrt(0.3 * 0.7 / n))


@pytest.mark.parametrize(
    ("quota", "most"),
    [
        (Quota(8, provider="acme"), {"a": 1, "b": 1, "c": 0, "d": 2}),
        (Quota(8, site="s0"), {"a": 1, "b": 1, "c": 2, "d": 2}),
        (Quota(8, gpu="A100"), {"a": 1, "b": 2, "c": 1, "d": 0}),
        (Quota(4, provider="acme", gpu="H100"), {"a": 2, "b": 1, "c": 2, "d": 2}),
        (Quota(4), {"a": 1, "b": 0, "c": 0, "d": 0}),
        (Quota(8, region="east"), {"a": 1, "b": 1, "c": 2, "d": 0}),
        (Quota(4, provider="acme", region="east"), {"a": 1, "b": 0, "c": 2, "d": 2}),
        (Quota(4, provider="acme", region="west", gpu="A100"), {"a": 2, "b": 2, "c": 1, "d": 2}),
        (Quota(12, gpu="A100|H100"), {"a": 1, "b": 1, "c": 1, "d": 0}),
        (Quota(4, region="east", gpu="H100|A100"), {"a": 1, "b": 0, "c": 2, "d": 0}),
    ],
)
def test_quotas_of_providers_regions_sites_and_gpu_types(quota: Quota, most: dict[str, int]) -> None:
    """Two nodes of each pool are asked for, one pool after the other in the order a, b, c, d with turns."""
    acts = [(float(turn), "provision", p, 1) for turn in range(2) for p in range(4)]
    fleet = four_pools(quota)
    log = play(script(*acts), fleet, jobs((0.0, 1.0, 1)))
    rows = log.array()
    up = [fleet.pools[fleet.node_pool[n]].name for n in rows["subject"][rows["kind"] == Kind.NODE_UP]]
    assert {name: up.count(name) for name in "abcd"} == most
    assert [rule for *_, rule in refusals(log)] == [Rule.QUOTA] * (8 - sum(most.values()))


def four_pools(*quotas: Quota) -> Fleet:
    """Pools a and b at one site, c and d at others; nodes of four GPUs."""
    rented = {"market": "on_demand", "idle_release_s": 1e9}

    def pool(name: str, gpu: str) -> NodePool:
        return NodePool(name, gpu, 4, 2, 4.0, **rented)  # type: ignore[arg-type]

    sites = (
        Site("s0", (pool("a", "A100"), pool("b", "H100")), provider="acme", region="east"),
        Site("s1", (pool("c", "A100"),), provider="acme", region="west"),
        Site("s2", (pool("d", "A100"),), provider="other", region="east"),
    )
    return Fleet(sites, quotas=quotas)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"provider": "acmme"}, "quota acmme: no provider 'acmme'; did you mean 'acme'?"),
        ({"region": "wets"}, "quota wets: no region 'wets'; did you mean 'west'?"),
        ({"region": "west", "gpu": "A100|H10"}, "quota west/A100|H10: no gpu 'H10'; did you mean 'H100'?"),
        ({"gpu": "A100|"}, "quota A100|: gpu is 'A100|', expected GPU types with | between them"),
        (
            {"provider": "other", "region": "west"},
            "quota other/west: no rented pool is all of that, so gpus limits nothing",
        ),
    ],
)
def test_a_quota_of_what_is_not_there_is_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        four_pools(Quota(8, **options))


def test_a_quota_that_could_never_bar_or_never_let_anything_be_rented_is_refused() -> None:
    own = Site("own", (NodePool("o", "A100", 8, 1),))
    with pytest.raises(InputError, match="quota own: no rented pool is all of that, so gpus limits nothing"):
        Fleet((own, *four_pools().sites), quotas=(Quota(8, site="own"),))
    with pytest.raises(InputError, match="site 'own': no rented pool is all of that, so quota_gpus limits nothing"):
        Fleet((dataclasses.replace(own, quota_gpus=8),))
    with pytest.raises(
        InputError, match="quota A100: gpus is 3, expected at least 4, a node of what it limits; what may"
    ):
        four_pools(Quota(3, gpu="A100"))
    with pytest.raises(InputError, match="site 's1': quota_gpus is 3, expected at least 4, a node of what it limits"):
        Fleet((dataclasses.replace(four_pools().sites[1], quota_gpus=3),))
    small = NodePool("e", "A100", 2, 1, 4.0, "on_demand")
    Fleet((*four_pools().sites, Site("s3", (small,))), quotas=(Quota(3, gpu="A100"),))  # room for the small one


def test_a_quota_of_a_region_counts_what_is_rented_in_its_zones() -> None:
    """AWS names a zone as its region and a letter, Google after a dash."""
    for provider, zones, region in (
        ("aws", ("us-east-1a", "us-east-1b", "us-east-2a"), "us-east-1"),
        ("gcp", ("us-central1-a", "us-central1", "us-east1-b"), "us-central1"),
    ):
        sites = tuple(
            Site(zone, (NodePool(zone, "A100", 4, 2, 4.0, "on_demand", idle_release_s=1e9),), "us", provider, "cloud",
                 region=zone)
            for zone in zones
        )  # fmt: skip
        fleet = Fleet(sites, quotas=(Quota(8, region=region),))
        acts = [(float(turn), "provision", p, 1) for turn in range(2) for p in range(3)]
        log = play(script(*acts), fleet, jobs((0.0, 1.0, 1)))
        rows = log.array()
        up = [fleet.node_pool[n] for n in rows["subject"][rows["kind"] == Kind.NODE_UP]]
        assert [up.count(p) for p in range(3)] == [1, 1, 2]
        assert [found[2:] for found in refusals(log)] == [(0, Rule.QUOTA), (1, Rule.QUOTA)]
    with pytest.raises(InputError, match="site 's': provider 'AWS' unknown; did you mean 'aws'"):
        Site("s", (NodePool("p", "A100", 4, 2),), provider="AWS", kind="cloud", region="us-central1")


# -- idle nodes ------------------------------------------------------------------------------------------------------


def test_nodes_go_after_their_idle_time_whoever_asked_for_them() -> None:
    """One that a strategy provisions and nobody uses goes after the idle time; one that is used, that long after."""
    acts = ((0.0, "provision", 0, 2), (10.0, "place", 0, 0))
    log = play(script(*acts), cloud(2, idle_release_s=100.0), jobs((0.0, 30.0, 4), (500.0, 1.0, 4)))
    assert story(log, "NODE_OFF") == [(100.0, "NODE_OFF", 1), (140.0, "NODE_OFF", 0)]


# -- reclaims --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("notice_s", [0.0, 120.0])
def test_spot_nodes_live_as_long_as_the_hazard_says(notice_s: float) -> None:
    """200 nodes that are always wanted; lives are exponential: their mean, and half of them beyond the median."""
    mean_s = 7200.0
    fleet = cloud(200, market="spot", reclaim=Reclaim(mean_s, notice_s=notice_s))
    log, work = Log(), jobs(*[(0.0, 1e9, 4)] * 200, checkpoint_interval_s=[60.0] * 200)
    run(Simulation(fleet, work, until_s=40 * mean_s), Fifo(), State(fleet, work), log)
    found = lives(log.array())
    assert len(found) > 5000
    within(found, mean_s)
    assert np.mean(np.array(found) > mean_s * np.log(2)) == pytest.approx(0.5, abs=0.03)


def test_a_price_above_the_bid_takes_all_nodes_and_lets_none_be_rented() -> None:
    price = steps((0.0, 1.0), (1000.0, 3.0), (2000.0, 1.5))
    reclaim = Reclaim(bid_usd_per_gpu_h=2.0, notice_s=0.0)
    fleet = cloud(2, market="spot", price=price, reclaim=reclaim)
    log = play(FirstFit(), fleet, jobs((0.0, 1500.0, 4), (0.0, 1500.0, 4), checkpoint_interval_s=[100.0] * 2))
    assert story(log, "NODE_DOWN", "STARTED", "FINISHED") == [
        (0.0, "STARTED", 0),
        (0.0, "STARTED", 1),
        (1000.0, "NODE_DOWN", 0),
        (1000.0, "NODE_DOWN", 1),
        (2000.0, "STARTED", 0),
        (2000.0, "STARTED", 1),
        (2500.0, "FINISHED", 0),
        (2500.0, "FINISHED", 1),
    ]


def test_when_stock_falls_so_many_nodes_go() -> None:
    """An availability trace: 4, then 1, then 3 nodes; as many jobs run at any time as there are nodes to be had."""
    stock = steps((0.0, 4.0), (100.0, 1.0), (300.0, 3.0))
    fleet = cloud(8, market="spot", stock=stock, reclaim=Reclaim(notice_s=0.0))
    log = play(FirstFit(), fleet, jobs(*[(0.0, 1000.0, 4)] * 6, checkpoint_interval_s=[10.0] * 6))
    rows = log.array()
    up = np.cumsum(np.where(rows["kind"] == Kind.NODE_UP, 1, np.where(rows["kind"] == Kind.NODE_DOWN, -1, 0)))
    at = {t: int(up[np.searchsorted(rows["time_s"], t, side="right") - 1]) for t in (0.0, 99.0, 100.0, 299.0, 301.0)}
    assert at == {0.0: 4, 99.0: 4, 100.0: 1, 299.0: 1, 301.0: 3}
    assert (rows["kind"] == Kind.FINISHED).sum() == 6


@pytest.mark.parametrize(
    ("notice_s", "checkpoint_s", "lost_s"),
    [
        (120.0, 50.0, 50.0),  # it stops 50 s before the end to write: all but those is safe
        (120.0, 120.0, 120.0),  # just in time
        (120.0, 121.0, 400.0),  # it does not fit: back to the periodic one at 600
        (0.0, 50.0, 400.0),  # nobody was warned
    ],
)
def test_a_notice_saves_the_work_when_a_checkpoint_fits(notice_s: float, checkpoint_s: float, lost_s: float) -> None:
    stock = steps((0.0, 1.0), (1000.0, 0.0), (1100.0, 1.0))
    fleet = cloud(1, market="spot", stock=stock, reclaim=Reclaim(notice_s=notice_s))
    work = jobs((0.0, 1500.0, 4), checkpoint_interval_s=[600.0], checkpoint_s=[checkpoint_s])
    log = play(FirstFit(), fleet, work)
    rows = log.array()
    assert [(r["time_s"], r["value"]) for r in rows[rows["kind"] == Kind.LOST]] == [(1000.0, lost_s)]
    assert story(log, "FINISHED") == [(1100.0 + 1500.0 - (1000.0 - lost_s), "FINISHED", 0)]
    assert [t for t, *_ in story(log, "NOTICE")] == ([880.0] if notice_s else [])


def test_a_node_that_goes_before_the_announced_time_saves_nothing() -> None:
    """Its stock falls at 1000, announced at 400; it fails at 900."""

    def failure(world: Simulation) -> Any:
        yield world.timeout(900.0)
        world.fail(0)
        yield world.timeout(50.0)
        world.repair(0)

    stock = steps((0.0, 1.0), (1000.0, 0.0), (1001.0, 1.0))
    fleet = cloud(1, market="spot", stock=stock, reclaim=Reclaim(notice_s=600.0))
    rows = play(FirstFit(), fleet, jobs((0.0, 1500.0, 4), checkpoint_interval_s=[800.0]), failure).array()
    lost = rows[rows["kind"] == Kind.LOST]
    assert (lost["time_s"][0], lost["value"][0]) == (900.0, 100.0)


def test_a_strategy_hears_of_a_notice_and_can_leave_in_time() -> None:
    stock = steps((0.0, 1.0), (1000.0, 0.0))
    spot = NodePool("spot", "A100", 4, 1, 1.0, "spot", stock=stock, reclaim=Reclaim(notice_s=120.0))
    fleet = Fleet((Site("home", (spot, NodePool("own", "A100", 4, 1))),))
    acts = ((0.0, "place", 0, 0), (880.0, "migrate", 0, 1))
    log = play(script(*acts), fleet, jobs((0.0, 1500.0, 4), checkpoint_s=[20.0]))
    assert story(log, "LOST") == [] and story(log, "FINISHED") == [(1520.0, "FINISHED", 0)]


# -- prices and budgets ----------------------------------------------------------------------------------------------


def test_prices_are_seen_as_they_change_discounts_taken() -> None:
    fleet = cloud(1, price=steps((0.0, 2.0), (50.0, 3.0)), discount_share=0.25)
    assert fleet.pools[0].first_usd == 1.5
    rows = play(Fifo(), fleet, jobs((0.0, 100.0, 4))).array()
    changed = rows[rows["kind"] == Kind.PRICE_CHANGED]
    assert [(r["time_s"], r["value"]) for r in changed] == [(50.0, 2.25)]


def test_a_budget_stops_what_it_cannot_pay_on_and_bars_renting_until_its_period_is_over() -> None:
    """16 USD an hour, 8 USD a day: 1800 s of a node. Job 1 is stopped 600 s into its run, having saved in time."""
    fleet = cloud(3, {"budgets": (Budget(8.0),)}, idle_release_s=0.0)
    work = jobs((0.0, 1200.0, 4), (1300.0, 1200.0, 4), (3600.0, 600.0, 4), checkpoint_s=[10.0] * 3)
    log = play(Fifo(), fleet, work)
    assert starts(log) == {0: 0.0, 1: 1300.0, 2: 86400.0}
    assert story(log, "NODE_DOWN", "LOST") == [(1900.0, "NODE_DOWN", 0), (1900.0, "LOST", 1)]
    rows = log.array()
    assert rows["value"][rows["kind"] == Kind.LOST].tolist() == [10.0]
    assert dict((job, t) for t, _, job in story(log, "FINISHED")) == {0: 1200.0, 1: 86400.0 + 610.0, 2: 87000.0}
    assert bill(rows, fleet).by_market_usd(fleet)["on_demand"] == pytest.approx(8.0 + 1210 / 225)


@pytest.mark.parametrize(
    ("usd", "stopped"),
    [
        (31.9, {0: 3600.0}),  # its second hour cannot be paid
        (40.0, {0: 7200.0}),  # node 1 would take the money of that hour, so it is not rented
        (48.0, {0: 7200.0, 1: 4000.0}),  # there is one hour more than their first, for whose first is over first
        (1000.0, {}),
    ],
)
def test_a_node_goes_when_the_step_that_is_paid_is_over(usd: float, stopped: dict[int, float]) -> None:
    """Nodes at 16 USD an hour, billed by the hour, come up at 0 and 400; a second one only if both can be paid."""
    fleet = cloud(2, {"budgets": (Budget(usd, 1e6),)}, billing_s=3600.0)
    work = jobs((0.0, 9000.0, 4), (400.0, 9000.0, 4), checkpoint_interval_s=[600.0] * 2)
    log = Log()
    run(Simulation(fleet, work, until_s=9000.0), Fifo(), State(fleet, work), log)
    rows = log.array()
    assert {n: t for t, _, n in story(log, "NODE_DOWN")} == stopped
    assert bill(rows, fleet).total_usd <= usd


def test_a_node_that_boots_is_called_off_when_its_price_rises_beyond_the_budget() -> None:
    """One step is a minute; it is asked for at 0, dearer from 30 s on, and would come at 30 or 40 s."""
    for boot_s in (30.0, 40.0):
        price = steps((0.0, 60.0), (30.0, 120.0), (1000.0, 60.0))
        fleet = cloud(1, {"budgets": (Budget(5.0, 1e6),)}, price=price, usd_per_gpu_h=0.0, boot_s=boot_s)
        rows = play(FirstFit(), fleet, jobs((0.0, 10.0, 4))).array()
        off = rows[(rows["kind"] == Kind.NODE_OFF) & (rows["value"] == 1)]
        assert off["time_s"].tolist() == [30.0]
        assert bill(rows, fleet).total_usd == pytest.approx(4.0)  # it came when it was cheap again


def test_a_budget_of_one_provider_leaves_the_others_alone() -> None:
    rented = {"market": "on_demand", "idle_release_s": 0.0}
    sites = tuple(
        Site(name, (NodePool(name, "A100", 4, 2, usd, **rented),), provider=name)  # type: ignore[arg-type]
        for name, usd in (("aws", 1.0), ("gcp", 2.0))
    )
    links = (Link("aws", "gcp"), Link("gcp", "aws"))
    fleet = Fleet(sites, links, budgets=(Budget(0.0, provider="aws"),))
    log = play(FirstFit(), fleet, jobs((0.0, 10.0, 4)))
    assert [int(r["node"]) for r in log.array() if r["kind"] == Kind.PLACED] == [2]


def test_provision_beyond_a_budget_is_refused_by_its_name() -> None:
    log = play(script((0.0, "provision", 0, 1)), cloud(1, {"budgets": (Budget(0.0),)}), jobs((0.0, 1.0, 1)))
    assert refusals(log) == [(0.0, Verb.PROVISION, 0, Rule.BUDGET)]


# -- series ----------------------------------------------------------------------------------------------------------


def test_a_price_that_ends_before_the_run_ends_it_unless_it_is_said_how_to_go_on() -> None:
    work = jobs((0.0, 250.0, 4))
    with pytest.raises(
        InputError, match=r"series spot.csv ends at 100 s and the run goes on; set beyond: hold or wrap"
    ):
        play(Fifo(), cloud(price=Series([0.0, 50.0], [1.0, 2.0], 100.0, source="spot.csv")), work)
    expected = {"hold": [(50.0, 2.0)], "wrap": [(50.0, 2.0), (100.0, 1.0), (150.0, 2.0), (200.0, 1.0)]}
    for beyond, changes in expected.items():
        price = Series([0.0, 50.0], [1.0, 2.0], 100.0, beyond)  # type: ignore[arg-type]
        rows = play(Fifo(), cloud(price=price), work).array()
        told = rows[rows["kind"] == Kind.PRICE_CHANGED]
        assert [(r["time_s"], r["value"]) for r in told if r["time_s"] < 250.0] == changes


def test_a_series_integrates_to_the_area_below_it() -> None:
    """Against sums of small steps of :meth:`Series.at`."""
    for beyond in ("hold", "wrap"):
        series = Series([-10.0, 5.0, 20.0, 31.0], [2.0, 4.0, 1.0, 3.0], 40.0, beyond)  # type: ignore[arg-type]
        grid = np.arange(0.0, 200.0, 0.25)
        area = np.cumsum([series.at(t) for t in grid]) * 0.25
        assert series.integral(grid[1:]) == pytest.approx(area[:-1])


def test_a_node_is_not_given_back_while_the_plan_has_yet_to_move_its_job() -> None:
    """Asked for in one plan, the release first: the job is still there."""
    sites = (*cloud(1).sites, Site("home", (NodePool("own", "A100", 4, 1),)))
    fleet = Fleet(sites, (Link("cloud", "home"), Link("home", "cloud")))
    acts = ((0.0, "place", 0, 0), (10.0, "release", 0), (10.0, "migrate", 0, 1))
    log = play(script(*acts), fleet, jobs((0.0, 100.0, 4), checkpoint_s=[5.0]))
    assert refusals(log) == [(10.0, Verb.RELEASE, 0, Rule.STATUS)]
    assert story(log, "FINISHED") == [(105.0, "FINISHED", 0)]
