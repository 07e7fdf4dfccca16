"""Nothing is made or lost: GPUs, GPU-seconds, work, dollars; and what cannot be is not in the log."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import Fleet, Jobs, Link, NodePool, Plan, Site, Strategy, View
from hcsim.actions import Verb
from hcsim.constraints import Rule
from hcsim.events import Kind
from hcsim.ledger import bill
from hcsim.metrics import Rows, gpu_seconds, summarize
from hcsim.state import State
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategy import AnyStrategy
from tests.properties.audit import Audit, AuditError
from tests.properties.naive import check
from tests.properties.worlds import Fuzz, Happening, World, fuzzes, shipped, worlds
from tests.worlds import hybrid, jobs, owned


def audited(rows: Rows, world: World) -> Audit:
    """The auditor after all rows."""
    audit = Audit(world.fleet, world.jobs)
    for row in rows.tolist():
        audit.see(row)
    audit.close()
    return audit


def reconcile(rows: Rows, world: World, audit: Audit) -> None:
    """The auditor's sums are those of the metrics and the ledger."""
    use = gpu_seconds(rows, world.fleet)
    assert use == pytest.approx(audit.seconds, abs=1e-3)
    assert sum(use.values()) == pytest.approx(world.fleet.gpus * audit.now, abs=1e-3)
    figures = summarize(rows, world.jobs, world.fleet)
    assert figures["gpu_seconds_used"] == pytest.approx(audit.seconds["busy"], abs=1e-3)
    assert figures["gpu_seconds_lost"] == pytest.approx(audit.lost_gpu_s, abs=1e-3)
    assert figures["residency_violations"] == 0
    ledger = bill(rows, world.fleet)
    assert ledger.total_usd == ledger.usd.sum() == pytest.approx(audit.usd, abs=1e-6)


def bills(rows: Rows, world: World) -> None:
    """After every event the bill is at least what it was; at some prefixes it is compared with the ledger's."""
    audit, last = Audit(world.fleet, world.jobs), 0.0
    some = set(np.linspace(1, len(rows), 12).astype(int).tolist())
    for i, row in enumerate(rows.tolist(), 1):
        audit.see(row)
        assert audit.usd >= last - 1e-9
        last = audit.usd
        if i in some:
            assert bill(rows[:i], world.fleet).total_usd == pytest.approx(audit.usd, abs=1e-6)


@settings(max_examples=80)
@given(worlds(), fuzzes)
def test_any_run_adds_up(world: World, fuzz: Fuzz) -> None:
    rows = world.run(fuzz).array()
    for row in rows[rows["kind"] == Kind.REFUSED].tolist():  # a view does not say which nodes still drain
        assert (row[3], row[4]) == (Verb.RELEASE, Rule.STATUS)
    reconcile(rows, world, audited(rows, world))
    bills(rows, world)


@settings(max_examples=60)
@given(worlds(), st.sampled_from(sorted(shipped().items())))
def test_any_run_of_a_shipped_strategy_adds_up(world: World, named: tuple[str, AnyStrategy]) -> None:
    rows = world.run(named[1]).array()
    assert not (rows["kind"] == Kind.REFUSED).any()
    reconcile(rows, world, audited(rows, world))


@settings(max_examples=40)
@given(worlds(), fuzzes)
def test_the_index_is_what_the_claims_make_it(world: World, fuzz: Fuzz) -> None:
    """After each instant; and looking changes nothing."""
    assert world.run(fuzz, partial(check, world)).sha256 == world.run(fuzz).sha256


# -- the checks can fail ---------------------------------------------------------------------------------------------


@cache
def busy() -> tuple[World, Rows]:
    """A world in which everything happens, and its rows."""
    rented = {"market": "on_demand", "boot_s": 50.0, "idle_release_s": 30.0, "min_billing_s": 60.0}
    sites = (
        Site("home", (NodePool("own", "A100", 4, 2, 1.0, mtbf_s=1500.0, repair_s=300.0),), "us"),
        Site("cloud", (NodePool("rent", "H100", 4, 3, 4.0, **rented),), "eu", quota_gpus=8),  # type: ignore[arg-type]
    )
    n = 16
    work = Jobs.build(
        arrival_s=np.arange(n) * 60.0,
        duration_s=300.0 + np.arange(n) % 5 * 100.0,
        gpus=np.array([1, 2, 4, 8, 1, 3, 2, 1] * 2),
        gpu_milli=np.array([500, 1000, 1000, 1000, 250, 1000, 1000, 1000] * 2),
        checkpoint_interval_s=np.full(n, 70.0),
        checkpoint_s=np.full(n, 20.0),
        dataset_site=np.zeros(n),
        dataset_bytes=np.full(n, 5e9),
        dataset_sites=("home",),
    )
    links = (Link("home", "cloud", 1e9, 0.0, 0.1), Link("cloud", "home", 1e9, 0.0, 0.1))
    world = World(Fleet(sites, links), work, (Happening(400.0, "set_price", (1, 2.0)),), seed=3)
    return world, world.run(Fuzz(6)).array()


def nth(rows: Rows, kind: Kind, n: int = 2) -> int:
    """The number of the ``n``-th row of a kind."""
    return int(np.flatnonzero(rows["kind"] == kind)[n])


def without(kind: Kind, n: int = 2) -> Callable[[Rows], Rows]:
    return lambda rows: np.delete(rows, nth(rows, kind, n))


def twice(kind: Kind, n: int = 2) -> Callable[[Rows], Rows]:
    return lambda rows: np.insert(rows, nth(rows, kind, n), rows[nth(rows, kind, n)])


def changed(kind: Kind, column: str, change: Callable[[float], float], n: int = 2) -> Callable[[Rows], Rows]:
    def corrupt(rows: Rows) -> Rows:
        rows = rows.copy()
        i = nth(rows, kind, n)
        rows[column][i] = change(rows[column][i])
        return rows

    return corrupt


def lost_more(rows: Rows) -> Rows:
    rows = rows.copy()
    rows["value"][rows["kind"] == Kind.PREEMPTED] += 1.0
    return rows


CORRUPT: dict[str, Callable[[Rows], Rows]] = {
    **{
        f"no {kind.name}": without(kind)
        for kind in (Kind.ARRIVED, Kind.PLACED, Kind.STARTED, Kind.FINISHED, Kind.PREEMPTED, Kind.DRAINING)
    },
    **{f"no {kind.name}": without(kind, 0) for kind in (Kind.NODE_UP, Kind.NODE_DOWN, Kind.LOST, Kind.PROVISIONING)},
    **{f"{kind.name} twice": twice(kind) for kind in (Kind.ARRIVED, Kind.PLACED, Kind.STARTED, Kind.FINISHED)},
    "starts before it is placed": lambda rows: np.insert(
        rows, nth(rows, Kind.ARRIVED) + 1, rows[nth(rows, Kind.STARTED)]
    ),
    "time goes back": changed(Kind.STARTED, "time_s", lambda t: t - 1000.0, 5),
    "finishes too early": changed(Kind.FINISHED, "time_s", lambda t: t - 0.5),
    "arrives too late": changed(Kind.ARRIVED, "time_s", lambda t: t + 0.5),
    "a node too many is rented": changed(Kind.PROVISIONING, "subject", lambda n: n + 1),
    "lost more than it ran": changed(Kind.LOST, "value", lambda s: s + 1000.0, 0),
    "lost more than it did": lost_more,
    "GPUs that the node does not have": changed(Kind.PLACED, "value", lambda mask: 16.0),
    "more of a GPU": changed(Kind.PLACED, "detail", lambda milli: milli + 1.0),
}


def test_the_auditor_passes_what_is_right() -> None:
    world, rows = busy()
    kinds = {Kind(kind) for kind in rows["kind"].tolist()}
    wanted = {Kind.LOST, Kind.NODE_OFF, Kind.STAGED, Kind.PRICE_CHANGED, Kind.TRANSFERRING, Kind.LEASE_ENDED, Kind.HELD}
    assert wanted <= kinds
    reconcile(rows, world, audited(rows, world))


@pytest.mark.parametrize("name", CORRUPT)
def test_the_auditor_finds_what_is_wrong(name: str) -> None:
    world, rows = busy()
    with pytest.raises(AuditError):
        audited(CORRUPT[name](rows), world)


def test_the_auditor_knows_the_hard_rules() -> None:
    world, rows = busy()
    n = len(world.jobs)
    codes = np.zeros(n, np.int32)
    cloud = world.fleet.sites[1]
    others = {
        "residency": world.replace(jobs=dataclasses.replace(world.jobs, residency=codes, residencies=("us",))),
        "wrong GPU type": world.replace(jobs=dataclasses.replace(world.jobs, gpu_type=codes, gpu_types=("A100",))),
        "GPU memory": world.replace(jobs=dataclasses.replace(world.jobs, gpu_memory_bytes=np.full(n, 90e9))),
        "quota": world.replace(
            fleet=dataclasses.replace(
                world.fleet, sites=(world.fleet.sites[0], dataclasses.replace(cloud, quota_gpus=4))
            )
        ),
    }
    for reason, other in others.items():
        with pytest.raises(AuditError, match=reason):
            audited(rows, other)


def test_two_jobs_on_one_gpu_are_found() -> None:
    world, rows = busy()
    rows = rows.copy()
    placed = np.flatnonzero((rows["kind"] == Kind.PLACED) & (rows["detail"] == 1000))
    rows["node"][placed], rows["value"][placed] = 0, 1
    started = np.flatnonzero(rows["kind"] == Kind.STARTED)
    rows["node"][started] = 0
    with pytest.raises(AuditError):
        audited(rows, world)


@pytest.mark.parametrize("kind", [Kind.NODE_OFF, Kind.NODE_UP, Kind.TRANSFERRED, Kind.PRICE_CHANGED, Kind.FINISHED])
def test_sums_of_another_log_do_not_reconcile(kind: Kind) -> None:
    world, rows = busy()
    with pytest.raises(AssertionError):
        reconcile(without(kind, 0)(rows), world, audited(rows, world))


@pytest.mark.parametrize("what", ["mask", "free", "full", "on"])
def test_a_wrong_index_is_found(what: str) -> None:
    world, _ = busy()
    state = State(world.fleet, world.jobs)
    check(world, state)
    getattr(state.books.capacity, what)[0] += 1
    with pytest.raises(AssertionError):
        check(world, state)


# -- what the checks have found ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Once(Strategy):
    """First fit, but at 50 s it asks for something that is refused."""

    ask: str

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        if view.now == 50.0 and self.ask == "stage":
            plan.stage(2, 1)
        elif view.now == 50.0:
            held = plan.migrate(0, ((0, 15, 1000),)) if self.ask == "migrate" else plan.resize(0, ((0, 15, 1000),))
            assert not held
        for job in plan.placeable(view.waiting):
            plan.place(job, plan.first_fit(job))
        return plan


@pytest.mark.parametrize("ask", ["migrate", "resize"])
def test_a_refused_move_leaves_a_job_its_gpus(ask: str) -> None:
    """Job 0 may not grow to four GPUs; job 1 must not get what it gives back for that."""
    world = World(owned(1, 4), jobs((0, 100, 2), (50, 100, 2), (50, 100, 2)))
    rows = world.run(Once(ask), partial(check, world)).array()
    assert (rows["kind"] == Kind.REFUSED).sum() == 1
    reconcile(rows, world, audited(rows, world))


def test_data_is_not_staged_where_no_link_goes() -> None:
    """Also where another rule bars the job before the missing link does."""
    home = NodePool("own", "A100", 4, 1)
    fleet = Fleet((Site("home", (home,)), Site("far", (NodePool("far", "H100", 4, 1),))))
    data = {"dataset_site": [0] * 3, "dataset_bytes": [1e9] * 3, "dataset_sites": ("home",)}
    work = jobs((0, 100, 4), (0, 100, 4), (50, 100, 4), gpu_type=[0] * 3, gpu_types=("A100",), **data)
    refused = [row for row in World(fleet, work).run(Once("stage")).array().tolist() if row[1] == Kind.REFUSED]
    assert [(row[3], row[4]) for row in refused] == [(Verb.STAGE, Rule.DATA)]


@pytest.mark.parametrize("rented", [False, True])
def test_a_node_that_comes_up_and_fails_at_one_instant_is_down(rented: bool) -> None:
    fleet = hybrid(1, 1) if rented else owned(1, 4)
    whats = [(100.0, "fail")] if rented else [(20.0, "fail"), (100.0, "repair"), (100.0, "fail")]
    node = 1 if rented else 0
    events = tuple(Happening(t, what, (node,)) for t, what in (*whats, (200.0, "repair")))
    work = jobs((0, 50, 4), (0, 500, 4))
    world = World(fleet, work, events)
    rows = world.run(FirstFit(), partial(check, world)).array()
    reconcile(rows, world, audited(rows, world))
    assert (rows["kind"] == Kind.FINISHED).sum() == 2
