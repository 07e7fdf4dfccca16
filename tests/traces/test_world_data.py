"""Carbon, incidents, latencies, price lists and measured speeds against their files, read a second way."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hcsim import InputError
from hcsim.traces._table import Source
from hcsim.traces.carbon_opendc import FILES as OPENDC
from hcsim.traces.carbon_opendc import CarbonOpendc
from hcsim.traces.carbon_regions import CarbonGoogle, CarbonGsf
from hcsim.traces.cloud_incidents import CloudIncidents
from hcsim.traces.gcp_latency import GcpLatency
from hcsim.traces.gcp_pricing import GcpPricing
from hcsim.traces.profile_gavel import FILES as GAVEL
from hcsim.traces.profile_gavel import ProfileGavel
from hcsim.traces.profile_lucid import ProfileLucid
from hcsim.traces.profile_ml_energy import ProfileMlEnergy
from hcsim.traces.profile_sia import ProfileSia
from hcsim.traces.profile_splitwise import ProfileSplitwise
from hcsim.traces.profile_vidur import ProfileVidur
from hcsim.traces.profile_zeus import ProfileZeus
from hcsim.traces.skypilot_catalog import SkypilotCatalog
from hcsim.traces.spot_advisor import SpotAdvisor
from hcsim.traces.spotlake_azure import SpotlakeAzure
from hcsim.traces.training_on_a_dime import TrainingOnADime


def records(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def error(source: Source) -> str:
    with pytest.raises(InputError) as said:
        source.read()
    assert "\n" not in str(said.value)
    return str(said.value)


@pytest.mark.parametrize("zone", OPENDC)
def test_opendc(shared_traces: Path, zone: str) -> None:
    rows = pq.read_table(shared_traces / "carbon/opendc" / OPENDC[zone]).to_pylist()
    frame = CarbonOpendc(str(shared_traces), zone=zone).read().frame
    assert len(frame) == len(rows)
    assert frame["g_per_kwh"].sum() == pytest.approx(sum(r["carbon_intensity"] for r in rows))
    steps = set((np.diff(frame["time_s"]) / 60).tolist())
    assert steps <= {15.0, 60.0, 120.0} and (120.0 in steps) == (zone == "FR")  # its gap


def test_regions(shared_traces: Path) -> None:
    table = CarbonGsf(str(shared_traces)).read()
    assert len(table) + table.dropped[0].count == 373
    assert table.frame["pue"].notna().sum() <= 137
    assert table.frame["pue"].dropna().between(1, 2).all()
    for year in range(2019, 2025):
        rows = records(shared_traces / f"carbon/google_region_carbon/{year}.csv")
        google = CarbonGoogle(str(shared_traces), year=year).read()
        assert len(google) + sum(each.count for each in google.dropped) == len(rows)
        assert google.frame["carbon_free_share"].dropna().between(0, 1).all()


@pytest.mark.parametrize(("year", "count", "dropped"), [(2018, 389, 0), (2019, 361, 2)])
def test_incidents(shared_traces: Path, year: int, count: int, dropped: int) -> None:
    table = CloudIncidents(str(shared_traces), year=year).read()
    assert sum(each.count for each in table.dropped) == dropped
    assert len(table) == count - dropped
    assert (table.frame["end_s"] >= table.frame["start_s"]).all()
    assert set(table.frame["entity"]) <= {"AWS", "Azure", "GCP"} | set(table.frame["entity"])


def test_gcp_latency(shared_traces: Path) -> None:
    frame = GcpLatency(str(shared_traces)).read().frame
    assert len(frame) == 1122 == 34 * 33
    assert frame["source"].nunique() == 34 and not (frame["source"] == frame["target"]).any()


def test_price_lists(shared_traces: Path) -> None:
    rows = records(shared_traces / "prices/gcp_pricing_yml/derived_gpu_prices_monthly.csv.gz")
    table = GcpPricing(str(shared_traces)).read()
    assert len(rows) == 28_495
    assert len(table) + table.dropped[0].count == 2 * len(rows)
    on_demand = table.frame[table.frame["market"] == "on_demand"]
    assert on_demand["usd_per_h"].sum() == pytest.approx(sum(float(r["hour_usd"] or 0) for r in rows))
    eight = table.frame[table.frame["instance"] == "a2-highgpu-8g"]
    assert eight["gpus"].eq(8).all() and eight["gpu"].eq("A100").all()

    for provider, name in (("aws", "aws.csv.gz"), ("gcp", "gcp.csv")):
        rows = records(shared_traces / "prices/skypilot_catalog_2021_2022" / name)
        listed = SkypilotCatalog(str(shared_traces), provider=provider).read()
        markets = 1 if provider == "aws" else 2
        assert len(listed) + sum(each.count for each in listed.dropped) == markets * len(rows)

    with gzip.open(shared_traces / "spot/spotlake_azure/azure_demo_new.json.gz", "rt") as file:
        offers = json.loads(json.loads(file.read()))
    azure = SpotlakeAzure(str(shared_traces)).read()
    assert len(offers) == 16_798 and len(azure) + sum(each.count for each in azure.dropped) == 2 * len(offers)
    spot = azure.frame[azure.frame["market"] == "spot"]["usd_per_h"]
    assert spot.sum() == pytest.approx(sum(o["SpotPrice"] for o in offers if o["SpotPrice"] >= 0))


@pytest.mark.parametrize("name", GAVEL)
def test_gavels_throughputs(shared_traces: Path, name: str) -> None:
    with gzip.open(shared_traces / GAVEL[name]) as file:
        known = json.load(file)
    frame = ProfileGavel(str(shared_traces), table_name=name).read().frame
    assert len(frame) == sum(len(others) for jobs in known.values() for others in jobs.values())
    if name == "simulation":
        mine = frame.query(
            "gpu == 'V100' and setting == 'alone' and model == 'ResNet-18 (batch size 16)' and gpus == 1"
        )
        assert mine["value"].tolist() == [known["v100"]["('ResNet-18 (batch size 16)', 1)"]["null"]]


def test_sias_profiles(shared_traces: Path) -> None:
    folder = shared_traces / "gpu_profiles/sia"
    count = 0
    for path in sorted(folder.glob("*/placements-*.csv")) + sorted(folder.glob("*/scalability-*.csv")):
        rows = records(path)
        frame = ProfileSia(str(shared_traces), model=path.parent.name, table_name=path.stem).read().frame
        assert len(frame) == 2 * len(rows)
        assert frame["value"].sum() == pytest.approx(sum(float(r["step_time"]) + float(r["sync_time"]) for r in rows))
        count += 1
    assert count >= 60


def test_other_profiles(shared_traces: Path) -> None:
    rows = records(shared_traces / "gpu_profiles/splitwise_sim/perf_model.csv")
    frame = ProfileSplitwise(str(shared_traces)).read().frame
    assert len(rows) == 1260 and len(frame) == 5 * 1260
    prompt = frame[frame["metric"] == "prompt time"]["value"].tolist()
    assert prompt == pytest.approx([float(r["prompt_time"]) / 1e3 for r in rows])
    for gpu in ("v100", "a40", "rtx6000", "p100"):
        rows = records(shared_traces / f"gpu_profiles/zeus/summary_power_{gpu}.csv")
        power = ProfileZeus(str(shared_traces), gpu=gpu).read().frame.query("metric == 'average power'")
        assert power["value"].tolist() == [float(r["average_power"]) for r in rows]
    rows = records(shared_traces / "gpu_profiles/lucid_colocation/colocate_info.csv")
    pairs = ProfileLucid(str(shared_traces)).read().frame
    assert len(rows) == 1388 and len(pairs) == 2 * 1388
    assert pairs["value"].tolist()[:1388] == [float(r["speed1"]) for r in rows]


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "placements-x.csv"
    path.write_text("local_bsz,placement,step_time,sync_time\n20,1,0.1,0.2\n20,a,0.1,0.2\n")
    assert "row 3: placement is 'a', expected digits" in error(ProfileSia(path=str(path), model="bert"))
    path.write_text("not parquet")
    assert "not a Parquet table" in error(CarbonOpendc(path=str(path), zone="DE"))
    for text in ("[]", '{"v100": {"nonsense": {"null": 1}}}', '{"v100": 3}'):
        path.write_text(text)
        assert "not a table of throughputs" in error(ProfileGavel(path=str(path)))
    for text in ("3", '"[]"', '"[{}]"', '"not json"'):
        path.write_text(text)
        assert "not a list of prices" in error(SpotlakeAzure(path=str(path)))


def test_advice_and_a_dime(shared_traces: Path) -> None:
    known = json.loads((shared_traces / "spot/aws_spot_advisor/spot-advisor-data.json").read_text())["spot_advisor"]
    frame = SpotAdvisor(str(shared_traces)).read().frame
    assert len(frame) == sum(len(systems["Linux"]) for systems in known.values()) == 14_962
    assert frame["place"].nunique() == 33
    p5 = frame[(frame["instance"] == "p5.48xlarge") & (frame["place"] == "us-east-1")]
    given = known["us-east-1"]["Linux"]["p5.48xlarge"]
    assert p5["saving_share"].tolist() == [given["s"] / 100]
    empty = 0
    for path in sorted((shared_traces / "spot/training_on_a_dime/aws/cost").glob("*/*.json")):
        history = json.loads(path.read_text())["SpotPriceHistory"]
        source = TrainingOnADime(str(shared_traces), region=path.parent.name, instance=path.stem)
        if not history:
            empty += 1
            assert "its list of prices is empty" in error(source)
            continue
        frame = source.read().frame
        assert len(frame) == len(history) and (np.diff(frame["time_s"]) >= 0).all()
        assert frame["usd_per_h"].sum() == pytest.approx(sum(float(h["SpotPrice"]) for h in history))
    assert empty == 4


def test_serving_profiles(shared_traces: Path) -> None:
    count = 0
    for task in ("gpqa", "lm-arena-chat", "sourcegraph-fim"):
        known = json.loads((shared_traces / f"gpu_profiles/ml_energy/{task}.json").read_text())["configurations"]
        frame = ProfileMlEnergy(str(shared_traces), task=task).read().frame
        assert len(frame) == 5 * len(known)
        power = frame[frame["metric"] == "average power"]["value"].tolist()
        assert power == [float(each["avg_power_watts"]) for each in known]
        count += len(known)
    assert count == 565
    for path in sorted((shared_traces / "gpu_profiles/vidur/compute").rglob("mlp.csv*")):
        gpu, *model = path.relative_to(shared_traces / "gpu_profiles/vidur/compute").parent.parts
        frame = ProfileVidur(path=str(path), gpu=gpu, model="/".join(model)).read().frame
        rows = records(path)
        wanted = sum(float(r["time_stats.emb.mean"] or 0) for r in rows) / 1e3
        assert frame[frame["metric"] == "emb"]["value"].sum() == pytest.approx(wanted)
