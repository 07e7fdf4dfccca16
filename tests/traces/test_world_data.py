"""Carbon, incidents, latencies, price lists and measured speeds against their files, read a second way."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hcsim import InputError
from hcsim.traces._table import Source
from hcsim.traces.carbon_electricitymaps import CarbonElectricitymaps, ElectricitymapsApi, ElectricitymapsMeans
from hcsim.traces.carbon_opendc import FILES as OPENDC
from hcsim.traces.carbon_opendc import CarbonOpendc
from hcsim.traces.carbon_regions import CarbonGoogle, CarbonGsf
from hcsim.traces.cloud_incidents import SERVICES, CloudIncidents, ServiceOutages
from hcsim.traces.gcp_latency import GcpLatency, GcpLatencyMatrix
from hcsim.traces.gcp_pricing import GcpPricing
from hcsim.traces.profile_gavel import FILES as GAVEL
from hcsim.traces.profile_gavel import ProfileGavel
from hcsim.traces.profile_lucid import ProfileLucid, ProfileLucidSingle
from hcsim.traces.profile_ml_energy import ProfileMlEnergy
from hcsim.traces.profile_sia import ProfileSia
from hcsim.traces.profile_splitwise import ProfileSplitwise
from hcsim.traces.profile_vidur import ProfileVidur
from hcsim.traces.profile_zeus import ProfileZeus, ProfileZeusTrain
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
    rows = records(shared_traces / "carbon/gsf_real_time_cloud/Cloud_Region_Metadata.csv")
    table = CarbonGsf(str(shared_traces)).read()
    frame = table.frame
    assert len(rows) == 373 and [each.count for each in table.dropped] == [7, 2]
    intensity, pue, free = (
        "grid-carbon-intensity-average-consumption-annual",
        "power-usage-effectiveness",
        "provider-cfe-annual",
    )
    assert sum(bool(r[pue]) for r in rows) == 137
    finland = [r for r in rows if r["cloud-region"] == "northeurope" and r["em-zone-id"] == "FI"]
    assert [r["location"] for r in finland] == ["Finland", "Finland"]
    kept = [r for r in rows if (r[intensity] or r[pue] or r[free]) and r not in finland]
    assert len(frame) == len(kept)
    for column, name in (("g_per_kwh", intensity), ("pue", pue), ("carbon_free_share", free)):
        assert frame[column].fillna(-1).tolist() == [float(r[name] or -1) for r in kept]
    assert frame["pue"].notna().sum() == 136  # Finland has the other
    assert (frame["pue"].notna() & frame["g_per_kwh"].isna()).sum() == 9
    assert not frame.duplicated(["place", "time_s"]).any()
    assert set(frame["place"].str.partition(":")[0]) == {"aws", "azure", "gcp"}
    for year in range(2019, 2025):
        rows = records(shared_traces / f"carbon/google_region_carbon/{year}.csv")
        google = CarbonGoogle(str(shared_traces), year=year).read()
        assert len(google) == len(rows) and not google.dropped
        assert google.frame["place"].tolist() == [f"gcp:{r['Google Cloud Region']}" for r in rows]
        column = next(name for name in rows[0] if "arbon intensity" in name)
        assert google.frame["g_per_kwh"].tolist() == [float(r[column]) for r in rows]
        share = google.frame["carbon_free_share"]
        assert share.fillna(-1).tolist() == [float(r["Google CFE"] or -1) for r in rows]


@pytest.mark.parametrize(("year", "count", "dropped"), [(2018, 389, 0), (2019, 361, 2)])
def test_incidents(shared_traces: Path, year: int, count: int, dropped: int) -> None:
    table = CloudIncidents(str(shared_traces), year=year).read()
    assert sum(each.count for each in table.dropped) == dropped
    assert len(table) == count - dropped
    assert (table.frame["end_s"] >= table.frame["start_s"]).all()
    assert set(table.frame["entity"]) == {"aws", "azure", "gcp"}
    rows = pq.read_table(shared_traces / f"failures/cloud_uptime_archive/{year}_fixed_infra_cloud.parquet").to_pylist()
    good = [r for r in rows if r["event_end_time"] >= r["event_start_time"]]
    assert table.frame["entity"].tolist() == [r["vendor"].lower() for r in good]
    assert table.frame["start_s"].tolist() == [int(r["event_start_time"].replace(tzinfo=UTC).timestamp()) for r in good]
    for (vendor, location), place in {
        ("AWS", "N. Virginia"): "aws:us-east-1",
        ("AWS", "Frankfurt"): "aws:eu-central-1",
        ("Azure", "West Europe"): "azure:westeurope",
        ("Azure", "North Central US"): "azure:northcentralus",
        ("Azure", "Multi-region"): "azure:Multi-region",
    }.items():
        mine = [r["vendor"] == vendor and r["location"] == location for r in good]
        assert any(mine) and set(table.frame["place"][mine]) == {place}


@pytest.mark.parametrize("service", SERVICES)
def test_outages_of_services(shared_traces: Path, service: str) -> None:
    rows = records(shared_traces / f"failures/cloud_uptime_archive/{SERVICES[service]}.csv")
    frame = ServiceOutages(str(shared_traces), service=service).read().frame
    for column, name in (("start_s", "start_time"), ("end_s", "end_time"), ("severity", "status")):
        assert frame[column].tolist() == [float(r[name]) for r in rows]
    assert len({r["service"] for r in rows}) == 1 and frame["entity"].nunique() == 1


def test_gcp_latency(shared_traces: Path) -> None:
    frame = GcpLatency(str(shared_traces)).read().frame
    assert len(frame) == 1122 == 34 * 33
    assert frame["source"].nunique() == 34 and not (frame["source"] == frame["target"]).any()
    square = GcpLatencyMatrix(str(shared_traces)).read().frame
    assert len(square) == 34 * 34
    pairs = frame.set_index(["source", "target"])["rtt_s"]
    again = square.set_index(["source", "target"])["rtt_s"]
    assert again[[(name, name) for name in frame["source"].unique()]].eq(0.005).all()
    differ = pairs.index[pairs != again.reindex(pairs.index)]
    assert {frozenset(pair) for pair in differ} == {frozenset(("gcp:europe-west1", "gcp:europe-west9"))}


def test_a_matrix_needs_its_mapper_in_order(shared_traces: Path, tmp_path: Path) -> None:
    folder = shared_traces / "network/gcp_latency"
    for name in ("gcp_latency_matrix.csv", "gcp_dc_zonecode_mapper.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    path = tmp_path / "gcp_latency_matrix.csv"
    assert len(GcpLatencyMatrix(path=str(path)).read()) == 34 * 34
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]))
    assert "its rows are not the zones of its columns" in error(GcpLatencyMatrix(path=str(path)))
    path.write_text("\n".join([lines[0], lines[1].replace(",13", ",x"), *lines[2:]]))
    assert "row 2: gcp:asia-east2 is 'x', expected a number" in error(GcpLatencyMatrix(path=str(path)))
    known = json.loads((tmp_path / "gcp_dc_zonecode_mapper.json").read_text())
    known.pop("asia-east2")
    (tmp_path / "gcp_dc_zonecode_mapper.json").write_text(json.dumps(known))
    assert "expected 'origin' and the zones of" in error(GcpLatencyMatrix(path=str(path)))
    (tmp_path / "gcp_dc_zonecode_mapper.json").unlink()
    assert "gcp_dc_zonecode_mapper.json: cannot be read" in error(GcpLatencyMatrix(path=str(path)))


def test_electricity_maps_means_and_api(shared_traces: Path) -> None:
    rows = records(shared_traces / "carbon/electricitymaps/mean_stats.csv")
    frame = ElectricitymapsMeans(str(shared_traces)).read().frame
    assert len(rows) == 123 and frame["place"].nunique() == 123
    assert frame["g_per_kwh"].tolist() == [float(r[year]) for r in rows for year in ("2020", "2021", "2022")]
    begins = {datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2020, 2021, 2022)}
    assert set(frame["time_s"]) == begins
    # its mean of California in 2021 is of life-cycle intensity, as the hours have it
    california = frame.query("place == 'US-CAL-CISO' and time_s == @begin", local_dict={"begin": sorted(begins)[1]})
    hours = CarbonElectricitymaps(str(shared_traces), zone="US-CAL-CISO", year=2021, life_cycle=True).read().frame
    assert california["g_per_kwh"].item() == pytest.approx(hours["g_per_kwh"].mean(), rel=0.02)
    rows = records(shared_traces / "carbon/carbonscaler/data-sample.csv")
    api = ElectricitymapsApi(str(shared_traces)).read().frame
    assert api["time_s"].tolist() == [float(r["timestamp"]) for r in rows] and len(rows) == 60
    assert api["g_per_kwh"].tolist() == [float(r["carbon_intensity_avg"]) for r in rows]


def test_price_lists(shared_traces: Path) -> None:
    rows = records(shared_traces / "prices/gcp_pricing_yml/derived_gpu_prices_monthly.csv.gz")
    table = GcpPricing(str(shared_traces)).read()
    assert len(rows) == 28_495
    assert len(table) + table.dropped[0].count == 2 * len(rows)
    on_demand = table.frame[table.frame["market"] == "on_demand"]
    assert on_demand["usd_per_h"].sum() == pytest.approx(sum(float(r["hour_usd"] or 0) for r in rows))
    eight = table.frame[table.frame["instance"] == "a2-highgpu-8g"]
    assert eight["gpus"].eq(8).all() and eight["gpu"].eq("A100-40GB").all()
    for instance, gpu, gpus in (
        ("a2-ultragpu-8g", "A100", 8),
        ("a2-megagpu-16g", "A100-40GB", 16),
        ("g2-standard-48", "L4", 4),
        ("a3-highgpu-4g", "H100", 4),
    ):
        mine = table.frame[table.frame["instance"] == instance]
        assert len(mine) and mine["gpu"].eq(gpu).all() and mine["gpus"].eq(gpus).all()
    assert table.frame["gpus"].min() == 1 and table.frame["place"].str.startswith("gcp:").all()
    assert table.frame["instance"].nunique() == 22 and table.frame["place"].nunique() == 40
    months = {datetime.fromtimestamp(each, UTC).strftime("%Y-%m") for each in table.frame["time_s"].unique()}
    assert len(months) == 48 and (min(months), max(months)) == ("2022-02", "2026-01")

    for provider, name in (("aws", "aws.csv.gz"), ("gcp", "gcp.csv")):
        rows = records(shared_traces / "prices/skypilot_catalog_2021_2022" / name)
        listed = SkypilotCatalog(str(shared_traces), provider=provider).read()
        markets = 1 if provider == "aws" else 2
        assert len(listed) + sum(each.count for each in listed.dropped) == markets * len(rows)
        assert "A100-40GB" in set(listed.frame["gpu"]) and listed.frame["place"].str.startswith(f"{provider}:").all()

    with gzip.open(shared_traces / "spot/spotlake_azure/azure_demo_new.json.gz", "rt") as file:
        offers = json.loads(json.loads(file.read()))
    azure = SpotlakeAzure(str(shared_traces)).read()
    assert len(offers) == 16_798 and len(azure) + sum(each.count for each in azure.dropped) == 2 * len(offers)
    assert azure.frame["place"].nunique() == 52 and len({o["InstanceType"] for o in offers}) == 580
    gpus = azure.frame[["instance", "gpu", "gpus"]].drop_duplicates().set_index("instance")
    assert gpus.loc["Standard_ND96amsr_A100_v4"].tolist() == ["A100", 8]
    series = {o["InstanceType"] for o in offers if o["InstanceType"].startswith("N")}
    with_gpus = {name.partition("_")[2] for name in gpus.index[gpus["gpu"] != ""]}
    assert with_gpus == {name for name in series if not name.startswith("NP")}  # those have FPGAs
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
    assert count == 76


def test_other_profiles(shared_traces: Path) -> None:
    rows = records(shared_traces / "gpu_profiles/splitwise_sim/perf_model.csv")
    frame = ProfileSplitwise(str(shared_traces)).read().frame
    assert len(rows) == 1260 and len(frame) == 5 * 1260
    assert set(frame["gpu"]) == {"A100", "H100"} and frame["setting"].str.contains("power capped").sum() == 5 * 420
    prompt = frame[frame["metric"] == "prompt time"]["value"].tolist()
    assert prompt == pytest.approx([float(r["prompt_time"]) / 1e3 for r in rows])
    for gpu in ("v100", "a40", "rtx6000", "p100"):
        rows = records(shared_traces / f"gpu_profiles/zeus/summary_power_{gpu}.csv")
        power = ProfileZeus(str(shared_traces), gpu=gpu).read().frame.query("metric == 'average power'")
        assert power["value"].tolist() == [float(r["average_power"]) for r in rows]
    rows = records(shared_traces / "gpu_profiles/zeus/summary_train.csv")
    train = ProfileZeusTrain(str(shared_traces)).read()
    assert len(rows) == 3759 and train.dropped[0].count == sum(r["target_epoch"] == "nan" for r in rows) == 849
    assert train.frame["value"].tolist() == [float(r["target_epoch"]) for r in rows if r["target_epoch"] != "nan"]
    assert not train.frame.duplicated(["model", "setting"]).any()
    rows = records(shared_traces / "gpu_profiles/lucid_colocation/colocate_info.csv")
    pairs = ProfileLucid(str(shared_traces)).read().frame
    assert len(rows) == 1388 and len(pairs) == 2 * 1388
    assert pairs["value"].tolist() == [float(r[speed]) for speed in ("speed1", "speed2") for r in rows]
    assert pairs["gpu"].eq("RTX3090").all()
    rows = records(shared_traces / "gpu_profiles/lucid_colocation/single_data.csv")
    alone = ProfileLucidSingle(str(shared_traces)).read().frame
    assert len(rows) == 66
    for metric, column, factor in (
        ("throughput", "speed", 1),
        ("GPU utilisation", "gpu_util", 0.01),
        ("memory", "gmem", 2**20),
    ):
        mine = alone[alone["metric"] == metric]["value"].tolist()
        assert mine == pytest.approx([float(r[column]) * factor for r in rows])
    assert set(pairs["model"]) <= set(alone["model"])  # the pairs are of these jobs


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
    data = json.loads((shared_traces / "spot/aws_spot_advisor/spot-advisor-data.json").read_text())
    known = data["spot_advisor"]
    table = SpotAdvisor(str(shared_traces)).read()
    frame = table.frame
    assert len(frame) == sum(len(systems["Linux"]) for systems in known.values()) == 14_962
    windows = SpotAdvisor(str(shared_traces), system="Windows").read()
    assert len(windows) == sum(len(systems["Windows"]) for systems in known.values()) == table.dropped[0].count
    assert sorted([*table.rows, *windows.rows]) == list(range(1, len(table) + len(windows) + 1))
    assert frame["place"].nunique() == 33
    p5 = frame[(frame["instance"] == "p5.48xlarge") & (frame["place"] == "aws:us-east-1")]
    given = known["us-east-1"]["Linux"]["p5.48xlarge"]
    assert p5["saving_share"].tolist() == [given["s"] / 100]
    machine = data["instance_types"]["p5.48xlarge"]
    assert p5[["gpu", "gpus", "cpus", "ram_bytes"]].iloc[0].tolist() == [
        "H100",
        8,
        machine["cores"],
        machine["ram_gb"] * 2**30,
    ]
    assert {"p4d", "p5", "p5en", "g5", "g6"} <= set(frame[frame["gpu"] != ""]["instance"].str.partition(".")[0])
    empty, first, last = 0, datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
    for path in sorted((shared_traces / "spot/training_on_a_dime/aws/cost").glob("*/*.json")):
        history = json.loads(path.read_text())["SpotPriceHistory"]
        source = TrainingOnADime(str(shared_traces), region=path.parent.name, instance=path.stem)
        frame = source.read().frame
        assert len(frame) == len(history) and (np.diff(frame["time_s"]) >= 0).all()
        assert frame["usd_per_h"].sum() == pytest.approx(sum(float(h["SpotPrice"]) for h in history))
        empty += frame.empty
        if len(frame):
            assert frame["place"].str.startswith(f"aws:{path.parent.name}").all()
            assert set(frame["gpu"]) == {"K80" if path.stem.startswith("p2") else "V100"}
            days = [datetime.fromtimestamp(each, UTC) for each in (frame["time_s"].min(), frame["time_s"].max())]
            first, last = min(first, days[0]), max(last, days[1])
    assert empty == 4
    assert (first.date().isoformat(), last.date().isoformat()) == ("2019-12-20", "2020-02-21")


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
    tables = 0
    for path in sorted((shared_traces / "gpu_profiles/vidur/compute").rglob("mlp.csv*")):
        gpu, *model = path.relative_to(shared_traces / "gpu_profiles/vidur/compute").parent.parts
        frame = ProfileVidur(str(shared_traces), gpu=gpu, model="/".join(model)).read().frame
        rows = records(path)
        operators = [
            name.split(".")[1] for name in rows[0] if name.startswith("time_stats.") and name.endswith(".mean")
        ]
        assert set(frame["metric"]) == set(operators) and len(operators) >= 8
        for operator in operators:
            given = [r for r in rows if r[f"time_stats.{operator}.mean"]]
            mine = frame[frame["metric"] == operator]
            assert mine["value"].tolist() == [float(r[f"time_stats.{operator}.mean"]) / 1e3 for r in given]
            assert mine["gpus"].tolist() == [float(r["num_tensor_parallel_workers"]) for r in given]
            assert mine["setting"].tolist() == [f"{int(r['num_tokens'])} tokens" for r in given]
        tables += 1
        assert set(frame["gpu"]) == {gpu.upper()} and frame["gpus"].max() <= 8
    assert tables == 8
