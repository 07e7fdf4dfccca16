"""Every switch takes its feature out of the world, and nothing else."""

from __future__ import annotations

import re
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcsim import Experiment, Fleet, InputError, Jobs, Link, NodePool, Site
from hcsim.audit import Audit
from hcsim.events import Kind
from hcsim.fleet import Budget, Outage, Quota, Reclaim, Tariff
from hcsim.metrics import gpu_seconds
from hcsim.series import Series
from hcsim.sim import Simulated
from hcsim.sim.switches import OF_EXECUTOR, SWITCHES, without
from hcsim.strategies.first_fit import FirstFit

EVERY = sorted([*SWITCHES, *OF_EXECUTOR])
N = 12


def fleet(own: dict[str, Any] | None = None, rent: dict[str, Any] | None = None, **rest: Any) -> Fleet:
    """Two owned nodes of two GPUs, three rented ones that are up at once and billed by the nanosecond."""
    terms = {"market": "on_demand", "min_billing_s": 0.0, "billing_s": 1e-9, "idle_release_s": 0.0} | (rent or {})
    price = {} if "price" in terms else {"usd_per_gpu_h": 4.0}
    site = rest.pop("site", {})
    links = rest.pop("links", (Link("home", "cloud", 1e8, 0.0), Link("cloud", "home", 1e8, 0.0)))
    return Fleet(
        (
            Site("home", (NodePool("own", "A100", 2, 2, 1.0, **(own or {})),), "us"),
            Site("cloud", (NodePool("rent", "A100", 2, 3, **price, **terms),), "eu", "c", "cloud", **site),
        ),
        links,
        **rest,
    )


def work(**columns: Any) -> Jobs:
    """Twelve jobs of one or two GPUs, more than the owned nodes hold."""
    full = {key: np.full(N, value) if np.isscalar(value) else value for key, value in columns.items() if key[-1] != "!"}
    names = {key[:-1]: value for key, value in columns.items() if key[-1] == "!"}
    gpus = full.pop("gpus", np.where(np.arange(N) % 3 == 0, 2, 1))
    return Jobs.build(arrival_s=np.arange(N) * 50.0, duration_s=np.full(N, 400.0), gpus=gpus, **full, **names)


DATA = {"dataset_site": 0, "dataset_bytes": 5e9, "dataset_sites!": ("home",)}
LOSES = Outage("site", "home", ((225.0, 300.0),))
SPOT = {"market": "spot", "reclaim": Reclaim(300.0, notice_s=60.0)}
#: Switch -> a world in which its feature matters, and more about its executor.
MATTERS: dict[str, tuple[Fleet, Jobs, dict[str, Any]]] = {
    "boot": (fleet(rent={"boot_s": 100.0}), work(), {}),
    "images": (fleet(rent={"image_s": 100.0}), work(), {}),
    "idle_time": (fleet(rent={"idle_release_s": 300.0}), work(), {}),
    "minimum": (fleet(rent={"min_billing_s": 3600.0}), work(), {}),
    "discounts": (fleet(rent={"discount_share": 0.5}), work(), {}),
    "commitments": (fleet(own={"market": "reserved"}), work(), {}),
    "price_changes": (fleet(rent={"price": Series([0.0, 300.0], [2.0, 6.0], beyond="hold")}), work(), {}),
    "reclaims": (fleet(rent=SPOT), work(), {}),
    "notice": (fleet(rent=SPOT), work(checkpoint_s=10.0), {}),
    "stock": (fleet(rent={"stock": Series([0.0, 200.0], [1.0, 3.0], beyond="hold")}), work(), {}),
    "quotas": (fleet(quotas=(Quota(2),)), work(), {}),
    "budgets": (fleet(budgets=(Budget(0.5, 1000.0),)), work(), {}),
    "failures": (fleet(own={"mtbf_s": 300.0, "repair_s": 60.0}), work(), {}),
    "outages": (fleet(outages=(LOSES,)), work(), {}),
    "lost_work": (fleet(outages=(LOSES,)), work(), {}),
    "crashes": (fleet(), work(), {"job_mtbf_s": 300.0}),
    "overheads": (fleet(outages=(LOSES,)), work(restart_s=30.0), {}),
    "elasticity": (fleet(own={"mtbf_s": 900.0}), work(gpus=4, min_gpus=2), {}),
    "host": (fleet(own={"cpus_per_node": 8.0}), work(cpus=5.0), {}),
    "data": (fleet(), work(**DATA), {}),
    "checkpoint_moves": (fleet(outages=(LOSES,)), work(checkpoint_bytes=5e9, checkpoint_interval_s=20.0), {}),
    "cache": (fleet(site={"cache_bytes": 0.0}), work(**DATA, dataset=1), {}),
    "gateways": (fleet(site={"ingress_bytes_per_s": 1e7}), work(**DATA), {}),
    "sharing": (fleet(), work(**DATA), {}),
    "egress": (fleet(links=(Link("home", "cloud", 1e8, 0.0, 0.1), Link("cloud", "home", 1e8, 0.0))), work(**DATA), {}),
    "tiers": (
        fleet(
            links=(Link("home", "cloud", 1e8, 0.0, tariff="t"), Link("cloud", "home", 1e8, 0.0)),
            tariffs=(Tariff("t", ((10.0, 0.1), (inf, 0.05))),),
        ),
        work(**DATA),
        {},
    ),
    "residency": (fleet(), work(residency=0, **{"residencies!": ("us",)}), {}),
    "carbon": (fleet(site={"carbon": Series([0.0, 300.0], [100.0, 200.0], beyond="hold")}), work(), {}),
    "power": (fleet(site={"carbon": Series([0.0, 300.0], [100.0, 200.0], beyond="hold")}), work(), {}),
    "fees": (fleet(site={"control_plane_usd_per_h": 0.1, "storage_usd_per_gb_month": 0.02}), work(), {}),
}


def outcome(world: tuple[Fleet, Jobs, dict[str, Any]], *names: str) -> tuple[str, float, float]:
    """The log's hash, what nodes and transfers cost, and the fees of the sites; the auditor has nothing to say."""
    played, jobs, more = world
    executor = Simulated(without=names, **more)
    experiment = Experiment(played, jobs, FirstFit(), executor=executor)
    result = experiment.run()
    audit = Audit(result.fleet, result.jobs, shared_links="sharing" not in names, scheduled=True)
    for row in result.log.array().tolist():
        audit.see(row)
    audit.close()
    fees = sum(site.control_plane_usd_per_h + site.storage_usd_per_gb_month for site in result.fleet.sites)
    return result.log.sha256, round(audit.usd, 6), fees


def test_every_switch_has_a_world_in_which_it_matters() -> None:
    assert sorted(MATTERS) == EVERY


@pytest.mark.parametrize("name", EVERY)
def test_a_switch_takes_its_feature_out(name: str) -> None:
    assert outcome(MATTERS[name]) != outcome(MATTERS[name], name)


@pytest.mark.parametrize("name", EVERY)
def test_a_switch_changes_nothing_where_its_feature_is_not(name: str) -> None:
    """One outage of a site, so that something happens at all; no switch of another feature touches it."""
    touches = {"outages", "lost_work"}
    plain = (fleet(outages=() if name in touches else (LOSES,)), work(), {})
    assert outcome(plain, name) == outcome(plain)


def told(world: tuple[Fleet, Jobs], *names: str, nodes: int = 3) -> dict[str, Any]:
    """Of a run on rented nodes: the rows of markets, most nodes that were up, and the bill by market."""
    result = Experiment(*world, FirstFit(), executor=Simulated(without=names)).run()
    rows = result.log.array()
    kinds = rows["kind"]
    up = np.cumsum(np.where(kinds == Kind.NODE_UP, 1, 0) - np.isin(kinds, [Kind.NODE_DOWN, Kind.NODE_OFF]))
    usd = {market: value for market, value in result.ledger.by_market_usd(result.fleet).items() if value}
    reclaims = int(((kinds == Kind.NODE_DOWN) & (rows["value"] == 1)).sum())
    return {"reclaims": reclaims, "most": int(up.max()), "usd": usd, "end_s": float(rows["time_s"][-1])}


def spot(**changes: Any) -> tuple[Fleet, Jobs]:
    """Three spot nodes, of which there is one from 100 s to 250 s; four jobs of a node each."""
    stock = Series([0.0, 100.0, 250.0], [2.0, 1.0, 3.0], beyond="hold")
    terms = {"market": "spot", "stock": stock, "min_billing_s": 0.0, "idle_release_s": 0.0}
    pool = NodePool("rent", "A100", 2, 3, 4.0, **(terms | changes))
    many = Jobs.build(arrival_s=np.zeros(4), duration_s=np.full(4, 200.0), gpus=np.full(4, 2))
    return Fleet((Site("cloud", (pool,), "eu", "c", "cloud"),)), many


def test_reclaims_and_stock_are_switched_apart() -> None:
    """Without reclaims nodes are spot and billed so, and stock still limits them; without stock every request is met,
    and the market takes back as many as it would have."""
    on = told(spot())
    assert on["reclaims"] == 1 and on["most"] < 3 and set(on["usd"]) == {"spot"}
    stay = told(spot(), "reclaims")
    assert stay["reclaims"] == 0 and stay["most"] == 2 and set(stay["usd"]) == {"spot"}
    plenty = told(spot(), "stock")
    assert plenty["reclaims"] == 2 and plenty["most"] == 3 and set(plenty["usd"]) == {"spot"}
    both = told(spot(), "reclaims", "stock")
    assert both["reclaims"] == 0 and both["most"] == 3
    # four jobs of 200 s on two GPUs at 4 USD, none of them lost
    assert stay["usd"]["spot"] == both["usd"]["spot"] == pytest.approx(4 * 200 * 2 * 4 / 3600)
    assert told(spot(), "stock", "reclaims") == both
    always = told(spot(stock=None, reclaim=Reclaim(60.0)), "stock")
    assert always["reclaims"] > 0  # those at random are no matter of stock


def test_without_price_changes_the_mean_is_of_what_would_have_held() -> None:
    """The last of twelve jobs comes at 550 s, and 16 GPUs for 400 s take ten GPUs 640 s, longer than one job."""
    means = {"hold": (2.0 * 300 + 6.0 * 890) / 1190, "wrap": (2.0 * 600 + 6.0 * 590) / 1190}  # rounds of 100 + 100 s
    for beyond, mean in means.items():
        times = [0.0, 300.0] if beyond == "hold" else [0.0, 100.0]
        price = Series(times, [2.0, 6.0], beyond=beyond)  # type: ignore[arg-type]
        flat, _ = without(fleet(rent={"price": price}), work(), ["price_changes"])
        assert flat.pools[1].price is None and flat.pools[1].usd_per_gpu_h == pytest.approx(mean)
    with pytest.raises(InputError, match=r"^pool 'rent': price: series ends at 900 s and the run goes on; set beyond"):
        without(fleet(rent={"price": Series([0.0, 300.0], [2.0, 6.0], 900.0)}), work(), ["price_changes"])


def test_without_commitments_only_the_bill_changes() -> None:
    """Reserved nodes stand outside the quota of 2 GPUs and the budget, whether committed to or not."""
    bounds = {"quotas": (Quota(2),), "budgets": (Budget(0.2, 1e6),)}
    world = (fleet(own={"market": "reserved"}, **bounds), work())
    on = Experiment(*world, FirstFit()).run()
    off = Experiment(*world, FirstFit(), executor=Simulated(without=["commitments"])).run()
    assert on.log.sha256 == off.log.sha256
    paid, free = (run.ledger.by_category_usd() for run in (on, off))
    assert paid["commitment"] > 0 and free["commitment"] == 0.0
    assert {key: usd for key, usd in paid.items() if key != "commitment"} == pytest.approx(
        {key: usd for key, usd in free.items() if key != "commitment"}
    )
    # 600 GPU-seconds of twelve jobs, less what ran in the cloud, at a dollar an hour
    mine = free["compute"] - off.ledger.by_market_usd(off.fleet)["on_demand"]
    use = gpu_seconds(on.log.array(), on.fleet)["busy"]
    rented = off.ledger.quantity[off.ledger.market(off.fleet) == "on_demand"].sum()
    assert mine == pytest.approx(use / 3600 - rented, rel=1e-6)


def test_all_switches_together_leave_a_plain_world() -> None:
    """With everything off the worlds in which something matters are one world."""
    plain = outcome((fleet(), work(), {}))
    for name in EVERY:
        if name not in ("price_changes", "commitments", "elasticity"):  # their prices, markets and gangs are others
            assert outcome(MATTERS[name], *EVERY) == plain, name


def test_an_unknown_switch_is_named() -> None:
    with pytest.raises(InputError, match="without: no switch 'egres'; did you mean 'egress'"):
        without(fleet(), work(), ["egres"])


def test_every_switch_is_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "world.md").read_text()
    table = [line.rsplit("|", 2)[1] for line in page.splitlines() if line.startswith("|")]
    named = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(EVERY)
