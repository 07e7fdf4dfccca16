"""In worlds with markets, caches, shared links, outages and quotas, under a strategy that asks for what it must not
have: nothing is where it may not be, nothing is carried or rented beyond what there is, and what is counted adds up.

Each check reads the log alone and knows nothing of the engine."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace as changed
from functools import partial
from math import inf

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcsim.actions import Verb
from hcsim.constraints import Rule
from hcsim.events import Kind
from hcsim.ledger import bill
from hcsim.log import Log
from hcsim.metrics import Rows, gpu_seconds
from hcsim.replay import replay
from hcsim.state import State
from tests.properties.hybrid import Adversary, hybrids
from tests.properties.naive import check_index
from tests.properties.worlds import World
from tests.worlds import hybrid, jobs

adversaries = st.builds(Adversary, st.integers(0, 1000), st.sampled_from((0, 60)))
hard = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def run(world: World, strategy: Adversary) -> tuple[Rows, State]:
    """The log, and the state at its end."""
    states: list[State] = []
    rows = world.run(strategy, lambda state: states.__setitem__(slice(None), [state])).array()
    return rows, states[0]


def homes(world: World, job: int) -> list[int]:
    names = world.jobs.dataset_sites[world.jobs.dataset_site[job]].split("|")
    return [world.fleet.site_names.index(name) for name in names]


def misplaced(rows: Rows, world: World) -> list[str]:
    """Whatever is, or goes, outside its residency: jobs, datasets and their homes, checkpoints."""
    jobs, fleet = world.jobs, world.fleet
    out = []
    for job in range(len(jobs)):
        code = jobs.residency[job]
        for home in homes(world, job) if code >= 0 and jobs.dataset_site[job] >= 0 else ():
            if fleet.sites[home].jurisdiction not in jobs.residencies[code].split("|"):
                out.append(f"home of the dataset of job {job} at site {home}")
    for time_s, kind, job, node, _, detail in rows.tolist():
        if kind in (Kind.PLACED, Kind.STARTED):
            site = fleet.pool_site[fleet.node_pool[node]]
        elif kind in (Kind.TRANSFERRING, Kind.TRANSFERRED):
            site = int(detail)
        elif kind in (Kind.STAGED, Kind.STAGING):
            site = node
        else:
            continue
        code = jobs.residency[job]
        if code >= 0 and fleet.sites[site].jurisdiction not in jobs.residencies[code].split("|"):
            out.append(f"{Kind(kind).name} of job {job} at site {site} at {time_s:g} s")
    return out


@hard
@given(hybrids(), adversaries)
def test_residency_is_never_broken(world: World, strategy: Adversary) -> None:
    rows, _ = run(world, strategy)
    assert misplaced(rows, world) == []


@hard
@given(hybrids(), adversaries)
def test_quotas_and_stock_are_never_exceeded(world: World, strategy: Adversary) -> None:
    """GPUs on nodes that were asked for and are up or boot, at every instant."""
    rows, _ = run(world, strategy)
    fleet, on = world.fleet, set()
    for _, kind, node, *_ in rows.tolist():
        if kind == Kind.PROVISIONING:
            assert node not in on
            on.add(node)
            for quota in fleet.limits:
                used = 0
                for n in on:
                    pool, site = fleet.pools[fleet.node_pool[n]], fleet.sites[fleet.pool_site[fleet.node_pool[n]]]
                    mine = quota.provider in ("", site.provider) and quota.site in ("", site.name)
                    mine = mine and quota.region in ("", site.region)
                    used += pool.gpus_per_node if mine and (not quota.gpu or pool.gpu in quota.gpu.split("|")) else 0
                assert used <= quota.gpus
        elif kind in (Kind.NODE_OFF, Kind.NODE_DOWN):  # what is down is not paid for either
            on.discard(node)


@hard
@given(hybrids(), adversaries)
def test_every_gpu_second_is_accounted_for(world: World, strategy: Adversary) -> None:
    """The states of the GPUs add up to all there are, none is negative, and busy is what runs hold, row by row."""
    rows, _ = run(world, strategy)
    use = gpu_seconds(rows, world.fleet)
    end_s = float(rows["time_s"][-1])
    assert sum(use.values()) == pytest.approx(world.fleet.gpus * end_s, abs=1e-3)
    assert min(use.values()) >= -1e-3
    claim: dict[int, dict[int, float]] = defaultdict(dict)  # job -> node -> GPUs of its claim
    runs: dict[int, dict[int, float]] = {}  # running job -> the same of its run
    fresh: set[int] = set()  # jobs whose last row was of a claim
    last_s, busy = 0.0, 0.0
    for time_s, kind, job, node, value, detail in rows.tolist():
        busy += (time_s - last_s) * sum(sum(each.values()) for each in runs.values())
        last_s = time_s
        if kind == Kind.PLACED:
            if job not in fresh:
                claim[job] = {}
            claim[job][node] = int(value).bit_count() * detail / 1000
            fresh.add(job)
            continue
        if kind == Kind.SHRUNK:
            del claim[job][node]
        if kind == Kind.STARTED:
            runs[job] = dict(claim[job])
        if kind in (Kind.FINISHED, Kind.DRAINING, Kind.LOST, Kind.SHRUNK):
            runs.pop(job, None)
        if kind in (Kind.FINISHED, Kind.DRAINING, Kind.LOST, Kind.SHRUNK, Kind.STARTED):
            fresh.discard(job)
    assert use["busy"] == pytest.approx(busy, abs=1e-3)


@hard
@given(hybrids(), adversaries)
def test_bytes_are_conserved(world: World, strategy: Adversary) -> None:
    """What is carried was asked for, and is what egress is charged for; no link carries more than it can in the time
    that it is up; a copy is evicted at most as often as it was staged."""
    rows, state = run(world, strategy)
    fleet, end_s = world.fleet, float(rows["time_s"][-1])
    open_: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    carried: dict[tuple[int, int], float] = defaultdict(float)
    copies: set[tuple[int, int]] = set()
    for _, kind, job, node, value, detail in rows.tolist():
        if kind == Kind.TRANSFERRING:
            open_[job, node, int(detail)].append(value)
        elif kind == Kind.TRANSFERRED:
            carried[node, int(detail)] += value
            asked = [pair for pair in open_ if pair[1:] == (node, int(detail)) and open_[pair]]
            mine = [pair for pair in asked if pair[0] == job] or asked  # who gives up may not be who began
            sizes = sorted(size for pair in mine for size in open_[pair] if size >= value * (1 - 1e-9))
            assert sizes, f"job {job}: {value:g} bytes have come that nobody asked for"
            next(open_[pair] for pair in mine if sizes[0] in open_[pair]).remove(sizes[0])
        elif kind == Kind.STAGED:
            code = int(world.jobs.dataset[job])
            copies.add((code if code >= 0 else -1 - job, node))
        elif kind == Kind.EVICTED:
            code = int(world.jobs.dataset[job])
            copies.remove((code if code >= 0 else -1 - job, node))
    up_s = dict.fromkeys(range(len(fleet.links)), end_s)
    since: dict[int, float] = {}
    for time_s, kind, link, *_ in rows.tolist():
        if kind == Kind.LINK_DOWN:
            since[link] = time_s
        elif kind == Kind.LINK_UP:
            up_s[link] -= time_s - since.pop(link)
    for link, time_s in since.items():
        up_s[link] -= end_s - time_s
    numbers = {pair: i for i, pair in enumerate(fleet.links_by_sites)}
    for pair, size in carried.items():
        assert size <= fleet.links_by_sites[pair].bytes_per_s * up_s[numbers[pair]] * (1 + 1e-9) + 1.0
    for s, site in enumerate(fleet.sites):
        if site.egress_bytes_per_s < inf:
            assert sum(size for (a, _), size in carried.items() if a == s) <= site.egress_bytes_per_s * end_s + 1.0
        if site.ingress_bytes_per_s < inf:
            assert sum(size for (_, b), size in carried.items() if b == s) <= site.ingress_bytes_per_s * end_s + 1.0
    billed = sum(state.books.egress._gb.values()) * 1e9
    assert billed == pytest.approx(sum(carried.values()), rel=1e-9)


@hard
@given(hybrids(), adversaries)
def test_dollars_accrue_as_the_ledger_bills_them(world: World, strategy: Adversary) -> None:
    """At the end and at some times before: what the state counts towards a budget is what the ledger says that rented
    nodes have cost; and that is an integral of prices over the nodes that are up."""
    counted: list[tuple[float, float]] = []

    def look(state: State) -> None:
        assert state.books.budgets is not None
        state.books.budgets.accrue(state.books.now)
        counted.append((state.books.now, state.books.budgets.spent_usd[0]))

    rows = world.run(strategy, look).array()
    fleet = world.fleet
    price, up, last_s, usd = [pool.first_usd for pool in fleet.pools], [0] * len(fleet.pools), 0.0, 0.0
    integral: dict[float, float] = {}
    on: set[int] = set()
    for time_s, kind, subject, _, value, _ in rows.tolist():
        usd += (
            (time_s - last_s)
            / 3600.0
            * sum(up[p] * pool.gpus_per_node * price[p] for p, pool in enumerate(fleet.pools) if pool.elastic)
        )
        last_s = time_s
        integral[time_s] = usd
        if kind == Kind.PRICE_CHANGED:
            price[subject] = value
        elif kind == Kind.NODE_UP:
            on.add(subject)
            up[fleet.node_pool[subject]] += 1
        elif kind in (Kind.NODE_DOWN, Kind.NODE_OFF) and subject in on:
            on.remove(subject)
            up[fleet.node_pool[subject]] -= 1
    some = {counted[i][0]: counted[i][1] for i in np.linspace(0, len(counted) - 1, 8).astype(int).tolist()}
    for time_s, spent in some.items():
        assert spent == pytest.approx(integral[time_s], abs=1e-6)
        ledger = bill(rows, fleet, time_s) if time_s else None
        if ledger is not None:
            rented = np.isin(ledger.frame(fleet)["market"], ["on_demand", "spot"])
            compute = ledger.frame(fleet)["pool"].to_numpy() != ""
            assert ledger.usd[rented & compute].sum() == pytest.approx(spent, abs=1e-6)


@hard
@given(hybrids(), adversaries)
def test_a_log_of_all_this_replays_and_its_index_is_right(world: World, strategy: Adversary) -> None:
    log = world.run(strategy, partial(check_index, world))
    again: Log = replay(log, world.fleet, world.jobs, strategy, None, world.estimate_s, world.seed)
    assert again.sha256 == log.sha256


def bound_world() -> tuple[World, World]:
    """Jobs that may run in the US alone on a fleet that is in the EU as well; and the same without the bound."""
    n = 8
    work = jobs(
        *[(20.0 * i, 50.0, 4) for i in range(n)], dataset_site=[0] * n, dataset_bytes=[1e9] * n, dataset_sites=("home",)
    )
    bound = changed(work, residency=np.zeros(n, np.int32), residencies=("us",))
    fleet = hybrid(boot_s=0.0)
    return World(fleet, bound), World(fleet, work)


def test_the_strategy_does_try() -> None:
    """Every way of going abroad is asked for and refused by the name of the rule."""
    world, _ = bound_world()
    tried = set()
    for salt in range(20):
        rows = world.run(Adversary(salt)).array()
        refused = rows[(rows["kind"] == Kind.REFUSED) & (rows["value"] == Rule.RESIDENCY)]
        tried |= {Verb(verb) for verb in refused["node"].tolist()}
        assert misplaced(rows, world) == []
    assert tried == {Verb.PLACE, Verb.MIGRATE, Verb.RESIZE, Verb.STAGE}


def test_what_is_misplaced_would_be_found() -> None:
    """The log of a run without the bound, read as if there were one."""
    world, free = bound_world()
    rows = free.run(Adversary()).array()
    assert misplaced(rows, free) == []
    found = {text.split()[0] for text in misplaced(rows, world)}
    assert found >= {"PLACED", "STARTED", "TRANSFERRING", "TRANSFERRED", "STAGED"}
