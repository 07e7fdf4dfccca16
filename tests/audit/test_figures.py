"""The auditor's figures and charges, worked out row by row, are those of the metrics and the ledger, in any world."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import Fleet, Jobs, NodePool, Site
from hcsim.audit import Audit
from hcsim.audit.figures import costs, figures, outcomes
from hcsim.ledger import CATEGORIES, bill
from hcsim.metrics import Rows, job_table, summarize
from hcsim.series import Series
from hcsim.strategies.first_fit import FirstFit
from tests.audit.rich import Rich, rich_worlds
from tests.audit.test_audit import audited, busy
from tests.properties.worlds import World, fuzzes, shipped


def agree(audit: Audit, rows: Rows, world: World) -> None:
    """Every figure, every job's outcome and every charge, against the engine's own way of making them."""
    ledger = bill(rows, world.fleet, jobs=world.jobs)
    theirs = job_table(rows, world.jobs, world.fleet, ledger)
    table = outcomes(audit)
    for name, column in table.items():
        if column.dtype.kind == "f":
            assert column == pytest.approx(theirs[name], rel=1e-9, abs=1e-6, nan_ok=True), name
        else:
            assert column.tolist() == theirs[name].tolist(), name
    mine, told = figures(audit, table), summarize(rows, world.jobs, world.fleet, ledger)
    assert mine.keys() == told.keys() - {"jobs_submitted"}
    for key, value in mine.items():
        if isinstance(value, dict):
            value = dict.fromkeys(told[key], 0.0) | value
        exact = value is None or isinstance(value, str)
        assert told[key] == (value if exact else pytest.approx(value, rel=1e-9, abs=1e-6)), key
    booked: defaultdict[tuple[str, int, int, int], float] = defaultdict(float)
    columns = (ledger.category, ledger.job, ledger.site, ledger.pool, ledger.usd)
    for category, job, site, pool, usd in zip(*(column.tolist() for column in columns), strict=True):
        booked[CATEGORIES[category], job, site, pool] += usd
    found = costs(audit)
    for key in booked.keys() | found.keys():
        assert found.get(key, 0.0) == pytest.approx(booked.get(key, 0.0), rel=1e-9, abs=1e-6), key


@settings(max_examples=80)
@given(rich_worlds(), st.one_of(fuzzes, st.sampled_from(sorted(shipped().values(), key=str))))
def test_any_run_in_any_world_comes_to_what_it_says(rich: Rich, strategy: Any) -> None:
    rows = rich.run(strategy).array()
    if len(rows):
        agree(audited(rows, rich.world), rows, rich.world)


def test_every_stop_of_a_run_comes_to_what_it_says() -> None:
    """Prefixes of whole instants: what goes on counts up to the end, steps of billing that have begun in full."""
    world, rows = busy()
    ends = np.flatnonzero(np.diff(rows["time_s"]) > 0) + 1
    for end in ends[:: max(len(ends) // 25, 1)].tolist():
        agree(audited(rows[:end], world, whole=False), rows[:end], world)


def test_energy_carbon_and_cost_worked_out_by_hand() -> None:
    """Two GPUs of an owned node of 800 to 2,800 W; one of them works for the second hour, and that is dirtier."""
    pool = NodePool("own", "A100", 2, 1, 3.0, idle_w=800.0, max_w=2800.0)
    carbon = Series([0.0, 3600.0], [100.0, 400.0], beyond="hold")
    site = Site("home", (pool,), pue=1.5, usd_per_kwh=0.1, carbon=carbon)
    world = World(Fleet((site,)), Jobs.build(arrival_s=[3600.0], duration_s=[3600.0], gpus=[1]))
    audit = audited(Rich(world).run(FirstFit()).array(), world)
    table = outcomes(audit)
    # the job: half of the node's idle power and half of the rest, for an hour, times 1.5
    assert table["energy_kwh"].tolist() == pytest.approx([(0.4 + 1.0) * 1.5])
    assert table["carbon_kg"].tolist() == pytest.approx([2.1 * 0.4])
    assert table["cost_usd"].tolist() == pytest.approx([3.0 + 0.21])
    told = figures(audit, table)
    assert told["energy_kwh"] == pytest.approx(2.1 + 1.2 + 0.6)  # nobody's: all of it for an hour, half for another
    assert told["carbon_kg"] == pytest.approx(2.1 * 0.4 + 1.2 * 0.1 + 0.6 * 0.4)
    assert told["cost_usd"] == pytest.approx(2 * 2 * 3.0 + 0.39)
