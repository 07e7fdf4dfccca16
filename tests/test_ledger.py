"""The bill against figures worked out by hand, and against a second accountant who walks through time."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import Fleet, InputError, Jobs, Link, NodePool, Site
from hcsim.control import run
from hcsim.events import Kind
from hcsim.fleet import BILLING_MONTH_S, Budget, Reclaim, Tariff
from hcsim.ledger import CATEGORIES, Ledger, bill
from hcsim.log import DTYPE, Log
from hcsim.metrics import job_table, summarize
from hcsim.power import energy
from hcsim.series import Series
from hcsim.sim import Simulation
from hcsim.spells import spells
from hcsim.state import State
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategies.las import Las
from hcsim.traces.twin import Twin
from tests.properties.worlds import Fuzz, World, fuzzes
from tests.worlds import hybrid, jobs, owned, play

MONTH_H = 730.0


def log(*rows: tuple[float, Kind, int, int, float, float]) -> Any:
    return np.array([(t, int(kind), *rest) for t, kind, *rest in rows], DTYPE)


def one(pool: NodePool, **site: Any) -> Fleet:
    kind = {"kind": "cloud", "provider": "cloud"} if pool.elastic else {}
    return Fleet((Site("s", (pool,), **kind | site),))


def up_and_off(up_s: float, off_s: float) -> Any:
    return [(up_s, Kind.NODE_UP, 0, -1, 0.0, 0.0), (off_s, Kind.NODE_OFF, 0, -1, 0.0, 0.0)]


def split(ledger: Ledger) -> dict[str, float]:
    return {name: usd for name, usd in ledger.by_category_usd().items() if usd}


@pytest.mark.parametrize(
    ("billing_s", "least_s", "ran_s", "paid_s"),
    [
        (1, 60, 30, 60),
        (1, 60, 90, 90),
        (1, 60, 90.2, 91),
        (60, 60, 61, 120),
        (3600, 0, 3601, 7200),
        (3600, 60, 1, 3600),
    ],
)
def test_a_step_that_has_begun_is_owed_in_full(billing_s: float, least_s: float, ran_s: float, paid_s: float) -> None:
    pool = NodePool("p", "A100", 8, 1, 2.0, "on_demand", billing_s=billing_s, min_billing_s=least_s)
    ledger = bill(log(*up_and_off(100.0, 100.0 + ran_s)), one(pool))
    assert ledger.total_usd == pytest.approx(8 * 2.0 * paid_s / 3600)
    assert ledger.job.tolist() == [-1]


def test_a_price_that_changes_in_a_step_holds_from_the_next() -> None:
    # steps of 100 s from 50: the price of 150 to 250 is that at 150; it rises at 160, so from 250
    pool = NodePool("p", "A100", 1, 1, 1.0, "spot", billing_s=100.0, min_billing_s=0.0)
    rows = log(
        (50, Kind.NODE_UP, 0, -1, 0, 0), (160, Kind.PRICE_CHANGED, 0, -1, 3.0, 0), (300, Kind.NODE_OFF, 0, -1, 0, 0)
    )
    ledger = bill(rows, one(pool))
    assert list(zip(ledger.start_s, ledger.end_s, ledger.unit_usd, strict=True)) == [(50, 250, 1.0), (250, 350, 3.0)]
    assert ledger.total_usd == pytest.approx((200 * 1 + 100 * 3) / 3600)


def test_reserved_nodes_show_what_was_not_used() -> None:
    # one reserved node of 4 GPUs at half price; a job of 1 GPU runs 1800 s of the hour that another holds an owned GPU
    reserved = NodePool("r", "A100", 4, 1, 2.0, "reserved", discount_share=0.5)
    fleet = Fleet((Site("cloud", (reserved,), kind="cloud"), Site("home", (NodePool("o", "T4", 1, 1, 0.5),))))
    work = jobs((0, 1800, 1), (0, 3600, 1), gpu_type=[0, 1], gpu_types=("A100", "T4"))
    ran = play(FirstFit(), fleet, work)
    seconds = float(ran.array()["time_s"][-1])
    ledger = bill(ran.array(), fleet)
    used = 1800 / 3600 * 1.0
    assert ledger.by_job_usd(2)[0] == pytest.approx(used)
    assert split(ledger)["commitment"] == pytest.approx(4 * seconds / 3600 - used)
    assert ledger.by_market_usd(fleet)["reserved"] == pytest.approx(4 * seconds / 3600)
    assert ledger.unused_share(fleet) == pytest.approx(1 - 1800 / (4 * seconds))
    figures = summarize(ran.array(), work, fleet)
    assert figures["commitment_unused_share"] == pytest.approx(1 - 1800 / (4 * seconds))
    free = one(NodePool("r", "A100", 4, 1, 2.0, "reserved", discount_share=1.0))
    assert bill(ran.array()[:0], free, 3600.0).total_usd == 0.0  # a reservation that somebody else pays


def test_egress_falls_into_tiers_per_month_in_the_order_of_the_log() -> None:
    """AWS's internet tiers: shared/reference/cloud's right column, without the free GB."""
    aws = Tariff("aws", ((10240, 0.09), (51200, 0.085), (153600, 0.07), (inf, 0.05)))
    fleet = Fleet(
        (Site("a", (NodePool("p", "A100", 1, 1),)), Site("b", ())), (Link("a", "b", tariff="aws"),), tariffs=(aws,)
    )
    for gb, usd in ((10239, 921.51), (10240, 921.60), (12000, 1071.20), (51199, 4403.115), (153600, 11571.20)):
        halves = log(*((t, Kind.TRANSFERRED, 0, 0, gb / 2 * 1e9, 1) for t in (0.0, 5.0)))
        assert bill(halves, fleet).total_usd == pytest.approx(usd, abs=1e-6)
    later = BILLING_MONTH_S
    rows = log(
        (0, Kind.TRANSFERRED, 3, 0, 10_000e9, 1),
        (1, Kind.TRANSFERRED, 4, 0, 1_000e9, 1),
        (later, Kind.TRANSFERRED, 5, 0, 1_000e9, 1),
    )
    ledger = bill(rows, fleet)
    mine = ledger.of("egress")
    assert ledger.tier[mine].tolist() == [0, 0, 0, 1] and ledger.job[mine].tolist() == [3, 4, 5, 4]
    assert ledger.quantity[mine].tolist() == pytest.approx([10_000, 240, 1000, 760])
    assert ledger.total_usd == pytest.approx(aws.usd(11_000) + aws.usd(1_000))


def test_free_gigabytes_and_binary_ones() -> None:
    free = Tariff("t", ((10, 1.0), (inf, 0.5)), free_gb=4, gb_bytes=2**30)
    fleet = Fleet(
        (Site("a", (NodePool("p", "A100", 1, 1),)), Site("b", ())), (Link("a", "b", tariff="t"),), tariffs=(free,)
    )
    ledger = bill(log((0, Kind.TRANSFERRED, 0, 0, 20 * 2.0**30, 1)), fleet)
    assert ledger.quantity.tolist() == [4, 6, 10] and ledger.unit_usd.tolist() == [0, 1, 0.5]
    assert ledger.tier.tolist() == [-1, 0, 1]
    assert ledger.total_usd == free.usd(20) == 11


def test_storage_and_control_plane() -> None:
    # a copy of 100 GB from 0 to half a month; a checkpoint of 10 GB from the drain's end to the job's end
    site = {"storage_usd_per_gb_month": 0.02, "control_plane_usd_per_h": 0.1}
    fleet = one(NodePool("p", "A100", 1, 1), **site)
    half = BILLING_MONTH_S / 2
    work = jobs((0, half, 1), checkpoint_bytes=[10e9])
    rows = log(
        (0, Kind.STAGED, 0, 0, 100e9, 0),
        (0, Kind.PLACED, 0, 0, 1, 1000),
        (0, Kind.STARTED, 0, 0, 0, 0),
        (100, Kind.DRAINING, 0, -1, 1, 0),
        (200, Kind.PREEMPTED, 0, -1, 0, 0),
        (half, Kind.EVICTED, 0, 0, 100e9, 0),
        (half, Kind.PLACED, 0, 0, 1, 1000),
        (half, Kind.STARTED, 0, 0, 0, 0),
        (2 * half, Kind.FINISHED, 0, 0, 0, 0),
    )
    ledger = bill(rows, fleet, jobs=work)
    stored = 100 * 0.5 + 10 * (2 * half - 200) / BILLING_MONTH_S
    assert split(ledger) == pytest.approx({"storage": stored * 0.02, "control_plane": 0.1 * MONTH_H})
    assert bill(rows, fleet, half / 2, jobs=work).by_category_usd()["storage"] == pytest.approx(
        0.02 * (100 * 0.25 + 10 * (half / 2 - 200) / BILLING_MONTH_S)
    )
    with pytest.raises(InputError, match="a site charges for storage"):
        bill(rows, fleet)


def test_energy_of_an_owned_node_and_of_a_cloud() -> None:
    # a node of 4 GPUs, 400 W idle, 2000 W full, PUE 1.5; a job of 2 GPUs for 1800 s of 3600: 400 + 0.5 * 1600 W while
    # it runs. 0.2 USD/kWh; 300 g/kWh in the first half, 100 in the second
    pool = NodePool("p", "A100", 4, 1, idle_w=400.0, max_w=2000.0)
    carbon = Series([0.0, 1800.0], [300.0, 100.0], beyond="hold")
    fleet = Fleet((Site("s", (pool,), usd_per_kwh=0.2, pue=1.5, carbon=carbon),))
    rows = log(
        (0, Kind.CARBON_CHANGED, 0, -1, 300.0, 0),
        (0, Kind.PLACED, 0, 0, 3, 1000),
        (0, Kind.STARTED, 0, 0, 0, 0),
        (1800, Kind.FINISHED, 0, -1, 0, 0),
        (1800, Kind.CARBON_CHANGED, 0, -1, 100.0, 0),
        (3600, Kind.TIMER, 0, -1, 0, 0),
    )
    use, ledger = energy(rows, fleet), bill(rows, fleet)
    busy, idle = 1.5 * 1.2 * 0.5, 1.5 * 0.4 * 0.5  # kWh
    assert use.kwh == pytest.approx(busy + idle)
    assert use.carbon_kg() == pytest.approx(0.3 * busy + 0.1 * idle)
    mine = 1.5 * (0.2 + 0.8) * 0.5  # half of the idle watts are the job's, it holds half of the GPUs
    assert use.of_jobs(1)[0].tolist() == pytest.approx([mine])
    assert split(ledger) == pytest.approx({"energy": 0.2 * (busy + idle)})
    assert ledger.by_job_usd(1).tolist() == pytest.approx([0.2 * mine])
    cloud = Fleet((Site("s", (pool,), usd_per_kwh=0.2, kind="cloud"),))
    assert bill(rows, cloud).total_usd == 0.0  # a cloud's prices contain it
    assert energy(rows[1:4], cloud).carbon_kg() is None  # its intensity is not known


def test_a_claim_on_draining_gpus_pays_from_the_end_of_the_drain() -> None:
    fleet = owned(1, 2)
    rows = log(
        (0, Kind.PLACED, 0, 0, 3, 1000),
        (0, Kind.STARTED, 0, 0, 0, 0),
        (100, Kind.DRAINING, 0, -1, 1, 0),
        (100, Kind.PLACED, 1, 0, 3, 1000),
        (160, Kind.PREEMPTED, 0, -1, 0, 0),
        (160, Kind.STARTED, 1, 0, 0, 0),
        (260, Kind.FINISHED, 1, -1, 0, 0),
    )
    assert bill(rows, fleet).by_job_usd(2) == pytest.approx([2 * 160 / 3600, 2 * 100 / 3600])


def test_the_bill_of_budgets_is_the_ledgers() -> None:
    """Where there are neither minimums nor steps the running account of a budget is the ledger's compute."""
    price = Series([0, 70, 130], [4.0, 2.0, 5.0], beyond="hold")
    base = hybrid(1, 3, min_billing_s=0.0, billing_s=1e-9)
    pool = NodePool("rent", "A100", 4, 3, market="on_demand", boot_s=10.0, min_billing_s=0.0, billing_s=1e-9,
                    price=price)  # fmt: skip
    cloud = Site("cloud", (pool,), "eu", "cloud", "cloud")
    fleet = Fleet((base.sites[0], cloud), base.links, budgets=(Budget(1e6, 1e9),))
    work = jobs((0, 300, 4), (0, 200, 4), (20, 150, 3))
    state = State(fleet, work, None, work.duration_s.data, 0)
    kept = Log()
    run(Simulation(fleet, work), FirstFit(), state, kept)
    end_s = float(kept.array()["time_s"][-1])
    assert state.books.budgets is not None
    state.books.budgets.accrue(end_s)
    spent = bill(kept.array(), fleet).by_market_usd(fleet)["on_demand"]
    assert spent > 0 and state.books.budgets.spent_usd[0] == pytest.approx(spent, abs=1e-6)


class Accountant:
    """Pays as time goes on: reads one row after the other and knows what runs where, nothing of spells or segments."""

    def __init__(self, fleet: Fleet, work: Jobs) -> None:
        self.fleet, self.work = fleet, work
        self.now = 0.0
        self.price = [pool.first_usd for pool in fleet.pools]
        self.up_s: dict[int, float] = {
            n: 0.0 for n, p in enumerate(fleet.node_pool) if not fleet.pools[p].elastic
        }  # node -> since when
        self.steps: dict[int, int] = {}  # rented node -> steps that are paid
        self.claim: dict[int, list[tuple[int, float]]] = {}
        self.uses: dict[int, list[tuple[int, float]]] = {}
        self.moved: dict[tuple[str, int], float] = {}
        self.copies: dict[tuple[int, int], float] = {}
        self.intensity = [0.0] * len(fleet.sites)
        self.placing = -1
        self.usd = dict.fromkeys(CATEGORIES, 0.0)
        self.joules = self.grams = 0.0

    def advance(self, t: float) -> None:
        dt, self.now = t - self.now, t
        busy: dict[int, float] = {}
        for parts in self.uses.values():
            for node, gpus in parts:
                busy[node] = busy.get(node, 0.0) + gpus
        for p, pool in enumerate(self.fleet.pools):
            if not pool.elastic:  # used or not; a node that is down costs as well
                self.usd["compute"] += self.price[p] * pool.nodes * pool.gpus_per_node * dt / 3600
        for node in self.up_s:
            pool = self.fleet.pools[self.fleet.node_pool[node]]
            site = self.fleet.sites[self.fleet.pool_site[self.fleet.node_pool[node]]]
            watt = pool.idle_w + busy.get(node, 0.0) / pool.gpus_per_node * (pool.max_w - pool.idle_w)
            joules = watt * site.pue * dt
            self.joules += joules
            self.grams += joules / 3.6e6 * self.intensity[self.fleet.sites.index(site)]
            if site.kind != "cloud":
                self.usd["energy"] += joules / 3.6e6 * site.usd_per_kwh
        for i, site in enumerate(self.fleet.sites):
            self.usd["control_plane"] += site.control_plane_usd_per_h * dt / 3600
            stored = sum(size for (_, s), size in self.copies.items() if s == i)
            self.usd["storage"] += stored / 1e9 * site.storage_usd_per_gb_month * dt / BILLING_MONTH_S
        for node in self.steps:
            self.pay_steps(node, t)

    def pay_steps(self, node: int, t: float) -> None:
        """Steps that have begun by now, at today's price; prices change after this was called."""
        p = self.fleet.node_pool[node]
        pool = self.fleet.pools[p]
        owed = max(
            ceil(pool.min_billing_s / pool.billing_s - 1e-6), ceil((t - self.up_s[node]) / pool.billing_s - 1e-6)
        )
        more, self.steps[node] = owed - self.steps[node], max(owed, self.steps[node])
        self.usd["compute"] += max(more, 0) * pool.billing_s / 3600 * pool.gpus_per_node * self.price[p]

    def see(self, row: Any) -> None:
        t, kind, subject, node, value, detail = row
        self.advance(t)
        if kind not in (Kind.PLACED, Kind.PROVISIONING):  # a claim of several nodes asks for each
            self.placing = -1
        if kind == Kind.PLACED:
            if subject != self.placing:
                self.claim[subject] = []
            self.placing = subject
            self.claim[subject].append((node, int(value).bit_count() * detail / 1000))
        elif kind == Kind.STARTED:
            self.uses[subject] = self.claim[subject]
        elif kind in (Kind.PREEMPTED, Kind.FINISHED, Kind.LOST):
            self.uses.pop(subject, None)
        elif kind == Kind.SHRUNK:  # it restarts on what is left
            held = self.uses.pop(subject, None) or self.claim[subject]
            self.claim[subject] = [part for part in held if part[0] != node]
        elif kind == Kind.PRICE_CHANGED:
            self.price[subject] = value
        elif kind == Kind.CARBON_CHANGED:
            self.intensity[subject] = value
        elif kind == Kind.NODE_UP and subject not in self.up_s:
            self.up_s[subject] = t
            if self.fleet.pools[self.fleet.node_pool[subject]].elastic:
                self.steps[subject] = 0
                self.pay_steps(subject, t)
        elif kind in (Kind.NODE_OFF, Kind.NODE_DOWN):
            self.up_s.pop(subject, None)
            self.steps.pop(subject, None)
        elif kind == Kind.STAGED and value:
            self.copies[subject, node] = value
        elif kind == Kind.EVICTED:
            del self.copies[subject, node]
        elif kind in (Kind.TRANSFERRED, Kind.METERED):
            tariff = self.fleet.tariff_of[node, int(detail)]
            key = (tariff.name, int(t // BILLING_MONTH_S))
            before = self.moved.get(key, 0.0)
            self.moved[key] = before + value / tariff.gb_bytes
            self.usd["egress"] += tariff.usd(self.moved[key]) - tariff.usd(before)


def world(step: float, least: float, tiers: float) -> Fleet:
    """Everything that costs something, at small sizes."""
    spot = Series(np.arange(0, 40_000, 700.0), 1.0 + np.arange(58) % 5, beyond="wrap")
    carbon = Series(np.arange(0, 40_000, 900.0), 50.0 + 10 * (np.arange(45) % 7), beyond="wrap")
    power = {"idle_w": 300.0, "max_w": 1800.0}
    home = Site("home", (NodePool("own", "A100", 4, 2, 1.0, mtbf_s=15_000.0, repair_s=900.0, **power),
                         NodePool("kept", "A100", 4, 1, 2.0, "reserved", discount_share=0.3, **power)),
                usd_per_kwh=0.2, pue=1.4, carbon=carbon)  # fmt: skip
    rented = (
        NodePool("day", "A100", 4, 2, 3.7, "on_demand", boot_s=90.0, boot_cv=0.5, billing_s=step, min_billing_s=least,
                 discount_share=0.1, **power),
        NodePool("spot", "A100", 4, 2, market="spot", price=spot, boot_s=60.0, billing_s=step, min_billing_s=least,
                 reclaim=Reclaim(9_000.0), **power),
    )  # fmt: skip
    cloud = Site("cloud", rented, "eu", "cloud", "cloud", storage_usd_per_gb_month=50.0, cache_bytes=50e9,
                 control_plane_usd_per_h=0.1, carbon=carbon, pue=1.1)  # fmt: skip
    tariff = Tariff("out", ((tiers, 0.1), (3 * tiers, 0.07), (inf, 0.02)), free_gb=tiers / 4, gb_bytes=2**30)
    links = (Link("home", "cloud", 1e9, 0.0, tariff="out"), Link("cloud", "home", 1e9, 0.0, 0.05))
    return Fleet((home, cloud), links, tariffs=(tariff,))


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    step=st.sampled_from((1.0, 60.0, 3600.0, 7.5)),
    least=st.sampled_from((0.0, 60.0, 100.0)),
    tiers=st.sampled_from((5.0, 40.0, 1000.0)),
    preemptive=st.booleans(),
)
def test_the_sum_of_the_items_is_the_bill_at_any_time(
    seed: int, step: float, least: float, tiers: float, preemptive: bool
) -> None:
    fleet, work = world(step, least, tiers), work_of(seed)
    held_against(fleet, work, play(Las(600.0) if preemptive else FirstFit(), fleet, work, seed=seed).array())


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), fuzz=fuzzes)
def test_the_sum_is_the_bill_whatever_a_strategy_does(seed: int, fuzz: Fuzz) -> None:
    """Migrations, resizes, claims on draining GPUs, staging, holds: whatever can be asked for."""
    fleet, work = world(60.0, 100.0, 40.0), work_of(seed, elastic=True)
    rows = World(fleet, work, seed=seed, until_s=15_000.0).run(fuzz).array()
    held_against(fleet, work, rows)


def work_of(seed: int, *, elastic: bool = False) -> Jobs:
    """Sixty jobs over six hours; a third of them reads data at home."""
    twin = Twin(n=60, gpus=16, load=1.5, max_gang=8).jobs(seed)
    kept = {key: getattr(twin, key) for key in ("duration_s", "checkpoint_interval_s", "checkpoint_s", "restart_s")}
    site = np.where(np.arange(60) % 3 == 0, 0, -1)
    gpus = twin.gpus.astype(int)
    if elastic:
        kept |= {"min_gpus": np.maximum(gpus // 2, 1), "max_gpus": np.minimum(gpus * 2, 8)}
    return Jobs.build(
        arrival_s=twin.arrival_s / twin.arrival_s.max() * 20_000.0,
        gpus=gpus,
        dataset_site=site,
        dataset_sites=("home",),
        dataset_bytes=np.where(site >= 0, 20e9, 0.0),
        **kept,
    )


def held_against(fleet: Fleet, work: Jobs, rows: Any) -> None:
    """The ledger and the accountant agree at many times, and the jobs' parts add up."""
    second = Accountant(fleet, work)
    end_s = float(rows["time_s"][-1])
    stops = sorted({*np.linspace(0.0, end_s, 6).tolist(), *rows["time_s"][:: max(len(rows) // 6, 1)].tolist()})
    i, bills = 0, []
    listed = rows.tolist()
    for t in stops:
        while i < len(listed) and listed[i][0] <= t:
            second.see(listed[i])
            i += 1
        second.advance(t)
        ledger = bill(rows, fleet, t, jobs=work)
        found = ledger.by_category_usd()
        found["compute"] += found.pop("commitment")
        assert found == pytest.approx({k: v for k, v in second.usd.items() if k != "commitment"}, rel=1e-9, abs=1e-6)
        assert ledger.total_usd == pytest.approx(sum(second.usd.values()), abs=0.005)
        use = energy(rows, fleet, t)
        assert use.joules.sum() == pytest.approx(second.joules, rel=1e-9)
        assert use.carbon_g.sum() == pytest.approx(second.grams, rel=1e-9)
        bills.append(ledger.total_usd)
        assert (ledger.quantity >= 0).all() and (ledger.end_s >= ledger.start_s).all()
    assert all(a <= b + 1e-9 for a, b in pairwise(bills))
    ledger = bill(rows, fleet, jobs=work)
    table = job_table(rows, work, fleet, ledger)
    nobody = ledger.usd[ledger.job < 0].sum()
    assert table["cost_usd"].sum() + nobody == pytest.approx(ledger.total_usd)
    bought = (ledger.of("compute")) & (ledger.job >= 0)
    held_h = np.bincount(ledger.job[bought], ledger.quantity[bought], minlength=len(work))
    assert (held_h * 3600 <= table["gpu_s"] + 1e-6).all()  # waiting for a boot or a drain is held, and not paid
    each = spells(rows, fleet)
    ran_s = np.where(np.isnan(each.started_s), 0.0, each.stopped_s - each.started_s) * each.gpus
    assert (held_h * 3600 >= np.bincount(each.job, ran_s, minlength=len(work)) - 1e-6).all()
    out = ledger.of("egress")
    gb_bytes = np.array([fleet.tariff_of[pair].gb_bytes for pair in fleet.links_by_sites])
    carried = rows["value"][np.isin(rows["kind"], [Kind.TRANSFERRED, Kind.METERED])].sum()
    assert (ledger.quantity[out] * gb_bytes[ledger.link[out]]).sum() == pytest.approx(carried)
    frame = ledger.frame(fleet, work)
    assert frame["usd"].sum() == pytest.approx(ledger.total_usd)
    assert set(frame["tenant"]) <= {"default", ""}
