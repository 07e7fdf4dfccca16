"""No run exceeds a budget, whatever a strategy asks for: counted step by step from the log, beside the ledger, the
state's own account and the auditor."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcsim import Budget, Fleet
from hcsim.constraints import Rule
from hcsim.events import Kind
from hcsim.ledger import bill
from hcsim.metrics import Rows
from hcsim.replay import replay
from hcsim.state import State
from tests.properties.audit import Audit
from tests.properties.hybrid import Adversary, hybrids
from tests.properties.worlds import Fuzz, World

strategies = st.one_of(
    st.builds(Adversary, st.integers(0, 1000), st.sampled_from((0, 60))),
    st.builds(Fuzz, st.integers(0, 1000), st.sampled_from((0, 30))),
)


@st.composite
def bounded(draw: Any) -> World:
    """A hybrid world whose nodes are billed in steps and minimums, under one to three budgets that bind."""
    world = draw(hybrids())
    bills = {"billing_s": st.sampled_from((1.0, 60.0, 700.0)), "min_billing_s": st.sampled_from((0.0, 60.0, 90.0))}
    sites = tuple(
        dataclasses.replace(
            site,
            pools=tuple(
                dataclasses.replace(pool, **{name: draw(values) for name, values in bills.items()})
                for pool in site.pools
            ),
        )
        for site in world.fleet.sites
    )
    providers = sorted({site.provider for site in sites})
    budget = st.builds(
        Budget,
        st.sampled_from((0.0, 0.05, 0.3, 1.0, 4.0)),
        st.sampled_from((700.0, 1000.0, 1e9)),
        st.sampled_from(("", *providers)),
    )
    budgets = draw(st.lists(budget, min_size=1, max_size=3, unique=True))
    return world.replace(fleet=dataclasses.replace(world.fleet, sites=sites, budgets=tuple(budgets)))


def payments(rows: Rows, fleet: Fleet) -> list[tuple[float, int, float]]:
    """(time, pool, USD) of each step of billing that rented nodes began, and of each minimum."""
    end_s = float(rows["time_s"][-1])
    prices = [[(0.0, pool.first_usd)] for pool in fleet.pools]
    since: dict[int, float] = {}
    stretches: list[tuple[int, float, float]] = []
    for t, kind, subject, _, value, _ in rows.tolist():
        if kind == Kind.PRICE_CHANGED:
            prices[subject].append((t, value))
        elif kind == Kind.NODE_UP and fleet.pools[fleet.node_pool[subject]].elastic:
            since[subject] = t
        elif kind in (Kind.NODE_DOWN, Kind.NODE_OFF) and subject in since:
            stretches.append((subject, since.pop(subject), t))
    stretches += [(node, t, end_s) for node, t in since.items()]
    out = []
    for node, begin_s, over_s in stretches:
        p = fleet.node_pool[node]
        pool = fleet.pools[p]
        least = int(np.ceil(pool.min_billing_s / pool.billing_s - 1e-6))
        steps = max(int(np.ceil((over_s - begin_s) / pool.billing_s - 1e-6)), least)
        for k in range(steps):
            t = begin_s if k < least else begin_s + k * pool.billing_s
            usd = [each for at, each in prices[p] if at <= t + 1e-9][-1]
            out.append((t, p, usd * pool.gpus_per_node * pool.billing_s / 3600.0))
    return out


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(bounded(), strategies)
def test_no_budget_is_ever_exceeded(world: World, strategy: Adversary | Fuzz) -> None:
    states: list[State] = []
    log = world.run(strategy, lambda state: states.__setitem__(slice(None), [state]))
    rows, fleet = log.array(), world.fleet
    paid = payments(rows, fleet)
    for budget in fleet.budgets:
        spent: defaultdict[int, float] = defaultdict(float)
        for t, p, usd in paid:
            if budget.provider in ("", fleet.sites[fleet.pool_site[p]].provider):
                spent[int(t // budget.period_s)] += usd
        assert max(spent.values(), default=0.0) <= budget.usd + 1e-9
        if states:
            account = states[0].books.budgets
            assert account is not None
            account.accrue(float(rows["time_s"][-1]))
            number = int(rows["time_s"][-1] // budget.period_s)
            found = account.spent_usd[fleet.budgets.index(budget)]
            assert found == pytest.approx(spent[number], abs=1e-9)
    ledger = bill(rows, fleet, jobs=world.jobs).by_market_usd(fleet)
    assert ledger["on_demand"] + ledger["spot"] == pytest.approx(sum(usd for *_, usd in paid), abs=1e-9)
    audit = Audit(fleet, world.jobs, scheduled=not world.events)
    for row in rows.tolist():
        audit.see(row)
    audit.close()
    again = replay(log, fleet, world.jobs, strategy, None, world.estimate_s, world.seed)
    assert again.sha256 == log.sha256


def test_budgets_do_bind_in_these_worlds() -> None:
    """Renting is refused, nodes are stopped with jobs on them, and jobs save their work before."""
    found = {"refused": 0, "stopped": 0, "lost": 0}

    @settings(max_examples=300, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(bounded(), strategies)
    def count(world: World, strategy: Adversary | Fuzz) -> None:
        rows = world.run(strategy).array()
        kinds = rows["kind"]
        found["refused"] += int(((kinds == Kind.REFUSED) & (rows["value"] == Rule.BUDGET)).sum())
        stops = (kinds == Kind.NODE_DOWN) & (rows["value"] == 2)
        found["stopped"] += int(stops.sum())
        found["lost"] += int((stops[:-1] & (kinds[1:] == Kind.LOST)).sum())

    count()
    assert min(found.values()) > 0, found
