"""The auditor finds every kind of breach at its row, and nothing in what is right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import Fleet, Jobs, Link, NodePool, Site
from hcsim.audit import Audit, Breach
from hcsim.events import Kind
from hcsim.fleet import Budget, Quota, Reclaim, Tariff
from hcsim.log import DTYPE
from hcsim.metrics import Rows, gpu_seconds
from hcsim.series import Series
from hcsim.strategies.first_fit import FirstFit
from tests.audit.rich import Rich, rich_worlds
from tests.properties.worlds import Fuzz, World, fuzzes, shipped

A, B, C = 0, 1, 2  # sites of the world below: home (us), near (us), far (eu)


def fleet(**changes: Any) -> Fleet:
    """Owned nodes 0 and 1, rented ones 2 to 5 nearby and 6 to 8 abroad, of four GPUs each, and links among all."""
    rented: dict[str, Any] = {"market": "on_demand", "boot_s": 40.0, "idle_release_s": 30.0}
    spot: dict[str, Any] = {"market": "spot", "boot_s": 20.0, "reclaim": Reclaim(900.0, notice_s=30.0)}
    own = NodePool("own", "A100", 4, 2, 1.0, cpus_per_node=16.0)
    near = NodePool("near", "A100", 4, 4, 4.0, cpus_per_node=16.0, **rented)
    far = NodePool("far", "A100", 4, 3, price=Series([0, 600, 1200], [1.0, 2.0, 1.5], beyond="hold"), **spot)
    names = ("home", "near", "far")
    links = tuple(Link(a, b, 1e8, 0.05, tariff="t") for a in names for b in names if a != b)
    plain: dict[str, Any] = {
        "sites": (Site("home", (own,), "us"), Site("near", (near,), "us", "c"), Site("far", (far,), "eu", "c")),
        "links": links,
        "tariffs": (Tariff("t", ((10.0, 0.2), (inf, 0.1))),),
        "quotas": (Quota(28, provider="c"),),
        "budgets": (Budget(1000.0, 3600.0),),
    }
    return Fleet(**(plain | changes))


def work(**changes: Any) -> Jobs:
    """Eighteen jobs, every third bound to the US, with data at home and checkpoints."""
    n = 18
    columns: dict[str, Any] = {
        "arrival_s": np.arange(n) * 40.0,
        "duration_s": 300.0 + np.arange(n) % 5 * 100.0,
        "gpus": np.array([1, 2, 4] * 6),
        "cpus": np.array([1.0, 2.0, 4.0] * 6),
        "residency": np.where(np.arange(n) % 3 == 0, 0, -1),
        "residencies": ("us",),
        "dataset_site": np.zeros(n),
        "dataset_bytes": np.full(n, 5e9),
        "dataset": np.where(np.arange(n) % 3 == 0, 0, 2) + np.arange(n) % 2,  # bound jobs have theirs in common
        "dataset_sites": ("home",),
        "checkpoint_bytes": np.full(n, 2e9),
        "checkpoint_interval_s": np.full(n, 70.0),
        "checkpoint_s": np.full(n, 10.0),
        "restart_s": np.full(n, 15.0),
    }
    return Jobs.build(**(columns | changes))


@cache
def busy() -> tuple[World, Rows]:
    """A world in which much happens, and its rows."""
    world = World(fleet(), work(), seed=3)
    return world, Rich(world).run(Fuzz(6)).array()


def audited(rows: Rows, world: World, whole: bool = True, **more: Any) -> Audit:
    audit = Audit(world.fleet, world.jobs, scheduled=True, **more)
    for row in rows.tolist():
        audit.see(row)
    audit.close(whole)
    return audit


def nth(rows: Rows, kind: Kind, n: int = 0, where: Callable[[Any], bool] | None = None) -> int:
    """The number of the ``n``-th row of a kind for which something holds."""
    found = [i for i in np.flatnonzero(rows["kind"] == kind).tolist() if where is None or where(rows[i])]
    return found[n]


def changed(rows: Rows, i: int, **columns: float) -> Rows:
    rows = rows.copy()
    for name, value in columns.items():
        rows[name][i] = value
    return rows


def breach(rows: Rows, world: World | None = None, **more: Any) -> Breach:
    with pytest.raises(Breach) as found:
        audited(rows, world or busy()[0], **more)
    return found.value


def test_what_is_right_passes_and_every_second_is_accounted_for() -> None:
    world, rows = busy()
    kinds = {Kind(kind) for kind in rows["kind"].tolist()}
    wanted = {Kind.LOST, Kind.NODE_DOWN, Kind.STAGED, Kind.PRICE_CHANGED, Kind.TRANSFERRED, Kind.PREEMPTED, Kind.NOTICE}
    assert wanted <= kinds, wanted - kinds
    audit = audited(rows, world)
    for pool, use in zip(world.fleet.pools, audit.nodes.gpu_seconds(), strict=True):
        assert sum(use.values()) == pytest.approx(pool.nodes * pool.gpus_per_node * audit.now, rel=1e-12)
        assert min(use.values()) >= 0
    total = {c: sum(use[c] for use in audit.nodes.gpu_seconds()) for c in ("busy", "staging", "lost", "drained", "off")}
    assert min(total.values()) > 0, total


def test_the_classes_of_a_run_worked_out_by_hand() -> None:
    """A rented node of two GPUs boots for 100 s; 5 GB take 50 s; the job runs 200 s and fails to 140 s of work."""
    pool = NodePool("rent", "A100", 2, 1, 3600.0, "on_demand", boot_s=100.0, min_billing_s=0.0, idle_release_s=0.0)
    world = World(
        Fleet(
            (Site("home", (NodePool("own", "T4", 1, 1),)), Site("cloud", (pool,))),
            (Link("home", "cloud", 1e8, 0.0, 0.1), Link("cloud", "home", 1e8, 0.0)),
        ),
        Jobs.build(
            arrival_s=[0.0], duration_s=[200.0], gpus=[2], gpu_type=[0], gpu_types=("A100",), dataset_site=[0],
            dataset_bytes=[5e9], dataset_sites=("home",),
        ),
    )  # fmt: skip
    audit = audited(Rich(world).run(FirstFit()).array(), world)
    own, rent = audit.nodes.gpu_seconds()
    assert own["idle"] == 350.0
    # two GPUs: off for 100 s, staging for 50 s, busy for 200 s
    assert rent == {
        "busy": 400.0, "idle": 0.0, "starting": 0.0, "staging": 100.0, "lost": 0.0, "drained": 0.0, "off": 200.0
    }  # fmt: skip
    assert audit.nodes.usd() == pytest.approx(250.0 * 2)  # a dollar a second and GPU
    assert audit.data.egress_usd == pytest.approx(0.5)


# -- each kind of breach, at its row ---------------------------------------------------------------------------------


def test_a_claim_outside_its_residency() -> None:
    world, rows = busy()
    i = nth(rows, Kind.PLACED, 2, lambda row: world.jobs.residency[row["subject"]] == 0)
    found = breach(changed(rows, i, node=6))
    assert (found.row, found.time_s) == (i, rows["time_s"][i])
    assert found.what.startswith("residency: job") and "far" in found.value and found.limit == "us"


@pytest.mark.parametrize("what", ["the dataset", "a checkpoint"])
def test_data_carried_outside_their_residency(what: str) -> None:
    """A log made by hand: a bound job has run at home, and what it owns goes abroad."""
    world = World(fleet(), work())
    size = 5e9 if what == "the dataset" else 2e9
    rows = made(
        (0, Kind.ARRIVED, 0), (0, Kind.PLACED, 0, 0, 1, 1000), (0, Kind.STARTED, 0, 0),
        (30, Kind.DRAINING, 0, -1, 1), (40, Kind.PREEMPTED, 0), (40, Kind.TRANSFERRING, 0, A, size, C),
    )  # fmt: skip
    found = breach(rows, world)
    assert found.row == 5 and found.what == f"residency: {what} of job 0 is carried outside of it"


def test_a_copy_kept_outside_its_residency() -> None:
    rows = made((0, Kind.ARRIVED, 0), (0, Kind.STAGED, 0, C, 5e9))
    assert breach(rows, World(fleet(), work())).what == "residency: the dataset of job 0 is kept outside of it"


def test_a_dataset_that_lies_outside_its_residency() -> None:
    """Its home is one of two, of which one is abroad; no load would have taken it."""
    abroad = work(dataset_sites=("home|far",))
    found = breach(made((0, Kind.ARRIVED, 0)), World(fleet(), abroad))
    assert (found.row, found.what) == (0, "residency: the dataset of job 0 lies outside of it")
    assert found.value == "site 'far' in eu" and found.limit == "us"


def test_a_gpu_that_is_promised_twice() -> None:
    _, rows = busy()
    first = nth(rows, Kind.PLACED)
    i = nth(rows, Kind.PLACED, 1)
    found = breach(changed(rows, i, node=rows["node"][first], value=rows["value"][first]))
    assert found.row == i and "promised twice" in found.what and found.limit == "1 GPU"


def test_more_than_the_quota() -> None:
    world, rows = busy()
    found = breach(rows, world.replace(fleet=fleet(quotas=(Quota(8, provider="c"),))))
    asked = np.flatnonzero(rows["kind"] == Kind.PROVISIONING)
    assert found.row in asked and found.what == "quota c"
    assert (found.value, found.limit) == ("12 GPUs rented", "at most 8")
    sites = world.fleet.sites
    zones = [dataclasses.replace(sites[i], provider="aws", region=f"us-east-1{'_ab'[i]}") for i in (1, 2)]
    found = breach(rows, world.replace(fleet=fleet(sites=(sites[0], *zones), quotas=(Quota(8, region="us-east-1"),))))
    assert (found.what, found.value) == ("quota us-east-1", "12 GPUs rented")
    bound = (*sites[:1], dataclasses.replace(sites[1], quota_gpus=4), sites[2])
    found = breach(rows, world.replace(fleet=fleet(sites=bound)))
    assert found.row == nth(rows, Kind.PROVISIONING, 1, lambda row: 2 <= row["subject"] < 6)
    assert found.what == "quota near"


def test_more_than_the_budget() -> None:
    world, rows = busy()
    found = breach(rows, world.replace(fleet=fleet(budgets=(Budget(0.5, 3600.0, "c"),))))
    assert found.what == "budget of c" and float(found.value.split()[0]) > 0.5
    before = rows[: found.row][rows["kind"][: found.row] == Kind.PROVISIONING]
    assert len(before) > 0  # those were rented while there was money left
    first = nth(rows, Kind.PROVISIONING)
    found = breach(rows, world.replace(fleet=fleet(budgets=(Budget(0.01, 3600.0, "c"),))))
    assert found.row == first and found.value.endswith("USD spent or asked for")  # its minimum is more


@pytest.mark.parametrize("nodes", [0.0, 1.0])
def test_more_than_the_stock(nodes: float) -> None:
    world, rows = busy()
    sites = world.fleet.sites
    pool = dataclasses.replace(sites[1].pools[0], stock=Series([0.0], [nodes], 1e6, "hold"))
    found = breach(
        rows, world.replace(fleet=fleet(sites=(sites[0], dataclasses.replace(sites[1], pools=(pool,)), sites[2])))
    )
    assert rows["kind"][found.row] == Kind.PROVISIONING
    assert found.what == "stock of pool 'near'" and found.limit == f"at most {nodes:g}"
    told = np.insert(rows, 0, np.array([(0.0, Kind.STOCK_CHANGED, 1, -1, nodes, 0.0)], DTYPE))
    assert breach(told).row == found.row + 1


def test_more_cpus_than_a_node_has() -> None:
    world, rows = busy()
    found = breach(rows, world.replace(jobs=work(cpus=np.full(18, 12.0))))
    assert found.what.startswith("CPUs of node") and found.value > 16.0


def test_a_fuller_cache_than_there_is() -> None:
    rows = made(
        (40, Kind.ARRIVED, 0), (40, Kind.ARRIVED, 1), (40, Kind.TRANSFERRING, 0, A, 5e9, B),
        (100, Kind.TRANSFERRED, 0, A, 5e9, B), (100, Kind.STAGED, 0, B, 5e9), (200, Kind.WAKE, 0),
    )  # fmt: skip
    sites = fleet().sites
    small = fleet(sites=(sites[0], dataclasses.replace(sites[1], cache_bytes=4e9), sites[2]))
    late = work(arrival_s=np.r_[40.0, 40.0, np.full(16, 1e6)])
    audited(rows, World(fleet(), late))
    found = breach(rows, World(small, late))
    assert found.what == "cache of near" and found.time_s == 100.0


def test_a_link_that_carries_more_than_it_can() -> None:
    """Two transfers of 5 GB over 0.1 GB/s: both may be there after 100 s, and one after 50 s, but not both."""
    late = work(arrival_s=np.r_[0.0, 0.0, np.full(16, 1e6)])

    def carried(first_s: float, second_s: float) -> Rows:
        return made(
            (0, Kind.ARRIVED, 0), (0, Kind.ARRIVED, 1),
            (0, Kind.TRANSFERRING, 0, A, 5e9, B), (0, Kind.TRANSFERRING, 1, A, 5e9, B),
            (first_s, Kind.TRANSFERRED, 0, A, 5e9, B), (first_s, Kind.STAGED, 0, B, 5e9),
            (second_s, Kind.TRANSFERRED, 1, A, 5e9, B), (second_s, Kind.STAGED, 1, B, 5e9),
        )  # fmt: skip

    for right in ((100.05, 100.05), (50.05, 100.05), (75.05, 110.05)):
        audited(carried(*right), World(fleet(), late))
    for wrong, row in (((49.0, 100.05), 4), ((50.05, 99.0), 6), ((90.05, 95.05), 6)):
        found = breach(carried(*wrong), World(fleet(), late))
        assert found.row == row and "link home -> near" in found.what
    audited(carried(50.05, 50.06), World(fleet(), late), shared_links=False)
    sites = fleet().sites
    narrow = fleet(sites=(dataclasses.replace(sites[0], egress_bytes_per_s=5e7), *sites[1:]))
    assert "the way out of home" in breach(carried(100.05, 100.05), World(narrow, late)).what


def test_a_link_that_carries_while_it_is_cut() -> None:
    late = work(arrival_s=np.r_[0.0, np.full(17, 1e6)])
    number = fleet().links.index(next(k for k in fleet().links if (k.source, k.target) == ("home", "near")))

    def carried(end_s: float) -> Rows:
        return made(
            (0, Kind.ARRIVED, 0), (0, Kind.TRANSFERRING, 0, A, 5e9, B),
            (20, Kind.LINK_DOWN, number), (50, Kind.LINK_UP, number),
            (end_s, Kind.TRANSFERRED, 0, A, 5e9, B), (end_s, Kind.STAGED, 0, B, 5e9),
        )  # fmt: skip

    audited(carried(80.05), World(fleet(), late))
    assert breach(carried(75.0), World(fleet(), late)).row == 4


def test_sites_of_a_transfer_that_are_swapped() -> None:
    _, rows = busy()
    i = nth(rows, Kind.TRANSFERRING)
    found = breach(changed(rows, i, node=rows["detail"][i], detail=rows["node"][i]))
    assert found.row == i


def test_a_node_that_is_reclaimed_and_was_not_spot() -> None:
    rows = made((0, Kind.PROVISIONING, 2), (40, Kind.NODE_UP, 2), (50, Kind.NODE_DOWN, 2, -1, 1.0))
    found = breach(rows, World(fleet(), work(arrival_s=np.full(18, 1e6))))
    assert found.row == 2 and "reclaimed" in found.what


@pytest.mark.parametrize("shift_s", [-20.0, 20.0])
def test_a_price_that_is_not_its_series(shift_s: float) -> None:
    _, rows = busy()
    i = nth(rows, Kind.PRICE_CHANGED)
    assert breach(changed(rows, i, value=1.99)).row == i
    row = np.array([rows[i]], DTYPE)
    row["time_s"] += shift_s
    rest = np.delete(rows, i)
    at = int(np.searchsorted(rest["time_s"], row["time_s"][0], side="right"))
    found = breach(np.insert(rest, at, row))
    assert "PRICE_CHANGED" in found.what and found.row <= at
    assert "is missing" in breach(rest).what


CUT = (
    Kind.ARRIVED, Kind.PLACED, Kind.STARTED, Kind.FINISHED, Kind.PREEMPTED, Kind.DRAINING, Kind.LOST, Kind.NODE_UP,
    Kind.NODE_DOWN, Kind.PROVISIONING, Kind.TRANSFERRING, Kind.TRANSFERRED, Kind.PRICE_CHANGED, Kind.WAKE,
)  # fmt: skip


@pytest.mark.parametrize("kind", CUT)
def test_an_event_that_is_cut_or_told_twice(kind: Kind) -> None:
    _, rows = busy()
    i = nth(rows, kind)
    assert breach(np.delete(rows, i)).row >= i
    assert breach(np.insert(rows, i, rows[i])).row == i + 1


@pytest.mark.parametrize(("kind", "shift_s"), [(Kind.FINISHED, -0.5), (Kind.ARRIVED, 0.5), (Kind.STARTED, -0.5)])
def test_times_that_are_shifted(kind: Kind, shift_s: float) -> None:
    _, rows = busy()
    i = nth(rows, kind, 1)
    row = np.array([rows[i]], DTYPE)
    row["time_s"] += shift_s
    rest = np.delete(rows, i)
    breach(np.insert(rest, int(np.searchsorted(rest["time_s"], row["time_s"][0], side="right")), row))
    assert breach(changed(rows, i, time_s=rows["time_s"][i] - 1e5)).what == "time goes back"


def test_a_log_that_ends_in_the_middle_is_right_as_far_as_it_goes() -> None:
    """Every prefix of whole instants: a run that was stopped adds up as well."""
    world, rows = busy()
    ends = np.flatnonzero(np.diff(rows["time_s"]) > 0) + 1
    for end in ends[:: max(len(ends) // 25, 1)].tolist():
        audit = audited(rows[:end], world, whole=False)
        use = gpu_seconds(rows[:end], world.fleet)
        assert audit.seconds == pytest.approx(use, abs=1e-3)


def made(*rows: tuple[float, ...]) -> Rows:
    """A log from rows whose last columns may be left out."""
    full = [(*row, *(0, -1, 0.0, 0.0)[len(row) - 2 :]) for row in rows]
    return np.array(full, DTYPE)


# -- any world -------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(rich_worlds(), st.one_of(fuzzes, st.sampled_from(sorted(shipped().values(), key=str))))
def test_any_run_in_any_world_holds(rich: Rich, strategy: Any) -> None:
    rows = rich.run(strategy).array()
    audit = audited(rows, rich.world)
    assert audit.seconds == pytest.approx(gpu_seconds(rows, rich.world.fleet), abs=1e-3)


#: What a log cannot show, by kind: another value of it is another history that may have been, or nothing at all.
UNSEEN: dict[Kind, str] = {
    Kind.TIMER: "a time that a strategy asked for is its own",
    Kind.IDLE: "says what follows from other rows",
    Kind.BUDGET: "says when budgets are looked at; what is rented and stopped shows",
    Kind.LEASE_ENDED: "leases are the strategy's",
    Kind.ALL_LEASES_ENDED: "leases are the strategy's",
    Kind.FELL_BACK: "a solver is the strategy's",
    Kind.STAGING: "an order; what is carried shows",
    Kind.RELEASING: "an order; the node that goes off shows",
    Kind.REFUSED: "nothing came of it",
    Kind.NOTICE: "a node that fails or is given back before makes it void",
    Kind.STOCK_CHANGED: "of several causes the least is told, and only what is rented against it shows",
    Kind.HELD: "a job that waits, or is set aside, looks the same",
    Kind.RESUMED: "as above",
    Kind.ENDED: "a run may be stopped at any time",
    Kind.REJECTED: "the same as waiting for ever",
    Kind.LINK_DOWN: "only what is carried meanwhile shows",
    Kind.LINK_UP: "as above",
    Kind.STAGED: "told twice it is still there",
    Kind.EVICTED: "a copy that nobody uses again",
}
#: Kind -> columns that do not matter, or whose other values may have been as well.
FREE: dict[Kind, tuple[str, ...]] = {
    Kind.PLACED: ("node", "value"),  # other GPUs were free
    Kind.NODE_DOWN: ("subject",),  # another node
    Kind.NODE_UP: ("subject",),
    Kind.NODE_OFF: ("subject",),
    Kind.PREEMPTED: ("subject", "value"),  # of a run that goes on to no end
    Kind.DRAINING: ("value", "detail"),
    Kind.LOST: ("node", "value"),
    Kind.SHRUNK: ("value",),
    Kind.FINISHED: ("value",),
    Kind.TRANSFERRED: ("subject", "value"),  # of one that was stopped
    Kind.METERED: ("subject", "value"),  # how much of what has gone went in which month is the network's word
    Kind.TRANSFERRING: ("subject",),
    Kind.STARTED: (),
    Kind.PROVISIONING: (),
    Kind.ARRIVED: (),
    Kind.PRICE_CHANGED: (),
    Kind.CARBON_CHANGED: (),
    Kind.WAKE: (),
}
#: Kinds in which column ``subject`` or ``value`` can never be wrong unseen.
STRICT = {
    Kind.ARRIVED: "subject", Kind.STARTED: "subject", Kind.PROVISIONING: "subject", Kind.WAKE: "subject",
    Kind.FINISHED: "subject", Kind.DRAINING: "subject", Kind.PLACED: "detail", Kind.PRICE_CHANGED: "value",
    Kind.CARBON_CHANGED: "value", Kind.TRANSFERRING: "value",
}  # fmt: skip


def test_every_kind_is_either_strict_or_said_why_not() -> None:
    silent = {Kind.REMEMBERED}  # a strategy's memory is the strategy's
    assert set(Kind) == set(UNSEEN) | set(FREE) | silent
    assert set(STRICT) <= set(FREE)


@settings(max_examples=150)
@given(rich_worlds(), fuzzes, st.data())
def test_a_corrupted_row_is_found(rich: Rich, fuzz: Fuzz, data: st.DataObject) -> None:
    """A row told twice, or one whose strict column says something else, is never passed over."""
    rows = rich.run(fuzz).array()
    strict = [i for i, kind in enumerate(rows["kind"].tolist()) if Kind(kind) in STRICT]
    i = data.draw(st.sampled_from(strict))
    if data.draw(st.booleans()):
        corrupt = np.insert(rows, i, rows[i])
    else:
        column = STRICT[Kind(int(rows["kind"][i]))]
        corrupt = changed(rows, i, **{column: rows[column][i] + data.draw(st.sampled_from((1, 3)))})
    with pytest.raises(Breach):
        audited(corrupt, rich.world)
