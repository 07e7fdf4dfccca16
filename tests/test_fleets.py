"""Fleets that ship: each runs the twin, and what they say of themselves is so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hcsim.cli import build, choices, compose, part
from hcsim.fleet import Fleet
from hcsim.ledger import bill
from hcsim.money_commands import book
from hcsim.traces._fleets import to_fleet
from hcsim.traces.openb import OpenbNodes
from hcsim.traces.pai_machines import PaiMachines
from tests.conftest import shared_folder

ALONE = ["trace.attributes.residency_share=0", "trace.attributes.dataset_share=0"]
#: Fleets without the sites of the twin's data, which it has to leave out.
OTHER_SITES = {"gavel", "lab", "openb", "pai", "spot_history", "spot_twin"}
SIZE = {"hybrid": 440, "lab": 64, "lab_cloud": 192, "enterprise": 2000, "eu_bank": 352, "spot_startup": 176,
        "spot_history": 96, "spot_twin": 96, "openb": 6212, "pai": 6742, "gavel": 48}  # fmt: skip


def fleet_of(name: str) -> Fleet:
    made: Fleet = part(compose([f"fleet={name}"])[0], "fleet")
    return made


@pytest.mark.parametrize("name", [each for each in choices()["fleet"] if each != "local"])
def test_every_fleet_runs_the_twin(name: str) -> None:
    more = ALONE if name in OTHER_SITES else []
    if name == "spot_history":
        more = [*more, f"data_dir={shared_folder('HCSIM_DATA', 'traces')}"]
    config, chosen = compose([f"fleet={name}", "trace.n=150", "trace.gpus=32", "strategy=cheapest_fit", *more])
    experiment = build(config, chosen)
    assert experiment.fleet.gpus == SIZE[name]
    result = experiment.run()
    figures = result.summary
    assert figures["jobs_finished"] == figures["jobs_submitted"] == 150 and figures["residency_violations"] == 0
    assert figures["cost_usd"] == pytest.approx(sum(figures["cost_by_category_usd"].values()))
    assert figures["cost_usd"] == pytest.approx(sum(figures["cost_by_market_usd"].values()))
    rows = result.log.array()
    for share in (0.0, 0.3, 1.0):
        t = share * float(rows["time_s"][-1])
        assert bill(rows, result.fleet, t, jobs=result.jobs).total_usd <= figures["cost_usd"] + 1e-9
    powered = any(pool.max_w for pool in result.fleet.pools)
    assert (figures["energy_kwh"] is not None) == (figures["carbon_kg"] is not None) == powered


def test_what_they_say_of_themselves() -> None:
    enterprise, bank, startup = (fleet_of(name) for name in ("enterprise", "eu_bank", "spot_startup"))
    assert len({s.provider for s in enterprise.sites if s.kind == "cloud"}) == 3
    assert {s.jurisdiction for s in enterprise.sites if s.kind == "cloud"} == {"us", "eu", "sg"}
    assert {pool.market for pool in enterprise.pools} == {"owned", "reserved", "on_demand", "spot"}
    assert {s.jurisdiction for s in bank.sites if s.kind == "owned"} == {"eu"}
    assert {pool.market for pool in startup.pools} == {"spot"}
    lab = fleet_of("lab_cloud")
    assert sum(p.nodes * p.gpus_per_node for p in lab.pools if p.market == "owned") == 64
    assert len({s.provider for s in lab.sites if s.kind == "cloud"}) == 1


def test_their_prices_are_the_books() -> None:
    pools = {pool.name: pool for name in ("lab_cloud", "enterprise") for pool in fleet_of(name).pools}
    assert pools["us-a100-spot"].usd_per_gpu_h == book("gcp").usd("us-central1", "A100", "spot")
    assert pools["aws-h100"].first_usd == pytest.approx(0.9 * 55.04 / 8)
    assert pools["gcp-h100-committed"].usd_per_gpu_h == book("gcp").usd("asia-southeast1", "H100", "committed_1y")
    assert fleet_of("enterprise").tariffs[0] == book("aws").tariff("aws-internet")


@pytest.mark.parametrize(("name", "source"), [("openb", OpenbNodes), ("pai", PaiMachines)])
def test_openb_and_pai_are_the_machines_of_their_traces(name: str, source: Any, shared_traces: Path) -> None:
    table = source(str(shared_traces)).read()
    assert fleet_of(name).pools == to_fleet(table, name).pools
