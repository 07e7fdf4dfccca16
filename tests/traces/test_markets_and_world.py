"""Spot capacity, prices, links, carbon and failures against their files, read a second way."""

from __future__ import annotations

import csv
import gzip
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from hcsim import InputError
from hcsim.traces._gpus import of_instance
from hcsim.traces._table import Source
from hcsim.traces.aws_price_history import AwsPriceHistory
from hcsim.traces.bamboo import Bamboo
from hcsim.traces.carbon_electricitymaps import CarbonElectricitymaps
from hcsim.traces.carbon_lets_wait_awhile import CarbonLetsWaitAwhile
from hcsim.traces.gpu_prices import AwsP5, GpuPrices
from hcsim.traces.skyplane import Skyplane, SkyplaneCost, SkyplaneMachines, SkyplaneRtt, SkyplaneThroughput
from hcsim.traces.spot_skypilot import SpotSkypilot
from hcsim.traces.spot_strategy import SpotStrategy
from hcsim.traces.titan import Titan, TitanGpus, TitanLifetimes


def records(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return list(csv.DictReader(file))


def error(source: Source) -> str:
    with pytest.raises(InputError) as said:
        source.read()
    assert "\n" not in str(said.value)
    return str(said.value)


def test_spot_skypilot_in_all(shared_traces: Path) -> None:
    folder = shared_traces / "spot/skypilot_spot_traces"
    paths = sorted(folder.rglob("*.json"))
    assert len(paths) == 29
    for path in paths:
        known = json.loads(path.read_text())
        frame = SpotSkypilot(str(shared_traces), trace=str(path.relative_to(folder).with_suffix(""))).read().frame
        assert frame["nodes"].tolist() == known["data"]
        assert ("usd_per_h" in frame) == ("prices" in known)
        if "prices" in known:
            assert frame["usd_per_h"].tolist() == known["prices"]
        provider = "gcp" if "/gcp-" in str(path) else "aws"
        zone, gpu, *count = path.stem.split("_")
        assert set(frame["place"]) == {f"{provider}:{zone}"}
        known_gpu = gpu in ("v100", "k80")
        assert set(frame["gpu"]) == {gpu.upper() if known_gpu else ""}
        assert set(frame["gpus"]) == {float(count[0]) if known_gpu else 0.0}
        assert frame["time_s"].iloc[-1] == pytest.approx(known["metadata"]["gap_seconds"] * (len(known["data"]) - 1))
        assert frame["nodes"].max() <= (16 if "16-node" in str(path) else 1)


def test_the_raw_probe_logs_are_the_complement_of_the_traces(shared_traces: Path) -> None:
    """Tick by tick, for the campaign that was published both ways."""
    names = [f"us-west-2{zone}_{gpu}_{count}" for zone in "ab" for gpu in ("k80", "v100") for count in (1, 8)]
    for name in names:
        raw = SpotStrategy(str(shared_traces), trace=f"2022-10-26T22-05/{name}").read().frame
        made = SpotSkypilot(str(shared_traces), trace=f"availability/1-node/aws-10-26-2022/{name}").read().frame
        assert len(raw) == len(made) == 3895
        assert raw[["place", "gpu", "gpus", "nodes"]].equals(made[["place", "gpu", "gpus", "nodes"]])
        assert raw["time_s"].iloc[-1] - raw["time_s"].iloc[0] == pytest.approx(600 * 3894, rel=1e-3)
        assert len(SpotStrategy(str(shared_traces), trace=f"2022-11-28T22-23/{name}").read()) == 2140


def test_polarity_is_not_guessed(shared_traces: Path, tmp_path: Path) -> None:
    path = str(shared_traces / "spot/skypilot_spot_strategy/2022-11-28T22-23/us-west-2a_v100_1.txt")
    published = SpotStrategy(path=path).read().frame["nodes"]  # known by its hash
    lines = Path(path).read_text()
    path = str(tmp_path / "us-west-2a_v100_1.txt")
    Path(path).write_text(lines + "\n")
    assert "trace.polarity is not given" in error(SpotStrategy(path=path))
    failed, available = (SpotStrategy(path=path, polarity=p).read().frame["nodes"] for p in ("failed", "available"))
    assert (failed + available == 1).all() and published.equals(failed)
    assert len(failed) == 2140


def test_aws_price_history(shared_traces: Path) -> None:
    with gzip.open(shared_traces / "spot/aws_spot_price_history/05.tsv.gz", "rt") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    table = AwsPriceHistory(str(shared_traces)).read()
    linux = [row for row in rows if row[2] == "Linux/UNIX"]
    assert len(rows) == 33_362 and len(table) == len(linux)
    assert table.dropped[0].count == len(rows) - len(linux)
    assert table.frame["usd_per_h"].sum() == pytest.approx(sum(float(row[3]) for row in linux))
    p4d = table.frame[table.frame["instance"] == "p4d.24xlarge"]
    assert len(p4d) and p4d["gpus"].eq(8).all() and p4d["gpu"].eq("A100-40GB").all()
    # what the README counts as GPU rows, over all products
    families = {"p2", "p3", "p3dn", "p4d", "g4dn", "g4ad", "g5"}
    every = [of_instance("aws", row[1])[0] for row in rows]
    assert sum(row[1].split(".")[0] in families for row in rows) == 1_373
    assert sum(bool(gpu) for gpu, row in zip(every, rows, strict=True) if row[1].split(".")[0] in families) == 1_373
    others = {row[1].split(".")[0] for gpu, row in zip(every, rows, strict=True) if gpu} - families
    assert others == {"g2", "g3", "g3s", "g5g", "dl1"}


def test_bamboo(shared_traces: Path) -> None:
    for trace, count, hours in (("p3", 344, 11.4), ("g4dn", 153, 10.6)):
        frame = Bamboo(str(shared_traces), trace=trace).read().frame
        assert len(frame) == count and frame["nodes"].min() >= 0
        assert frame["time_s"].iloc[-1] / 3600 == pytest.approx(hours, abs=0.1)
    for trace, file, count in (("gcp-v100", "v100x1-east1c", 1477), ("gcp-a100", "a100x1-east1b", 268)):
        table = Bamboo(str(shared_traces), trace=trace).read()
        rows = (shared_traces / f"spot/bamboo/gcloud/{file}.txt").read_text().splitlines()
        when = [datetime.fromisoformat(row.rpartition(",")[0].replace(", ", "T")) for row in rows]
        # a line stands unless a later one is for the same time or an earlier one
        keep = [i for i in range(len(rows)) if all(when[i] < later for later in when[i + 1 :])]
        assert len(rows) == count and len(table) + sum(each.count for each in table.dropped) == count
        assert table.rows.tolist() == [i + 1 for i in keep]
        assert table.frame["nodes"].tolist() == [int(rows[i].rpartition(",")[2]) for i in keep]
        assert (np.diff(table.frame["time_s"]) > 0).all()
        changes = [
            int(np.count_nonzero(np.diff(counts)))
            for counts in (
                [int(row.rpartition(",")[2]) for row in rows],
                table.frame["nodes"],
                [int(rows[i].rpartition(",")[2]) for i in np.argsort(np.array(when), kind="stable")],
            )
        ]
        assert changes[1] <= changes[0] <= changes[2]  # sorted, the counts would alternate
        assert trace != "gcp-v100" or (changes[0], changes[2]) == (120, 148)


def test_prices(shared_traces: Path) -> None:
    rows = records(shared_traces / "prices/gpu_cloud_observations_2026/observations.csv.gz")
    table = GpuPrices(str(shared_traces)).read()
    frame = table.frame.assign(date=[rows[line - 2]["date"] for line in table.rows])
    assert len(rows) == 29_943 and len(frame) == 29_943 - 146 - 13
    assert [each.count for each in table.dropped] == [146, 13]
    assert "1,268 prices fetched before 2026-02-18 12:00 are of the whole offer" in table.told
    markets = [r["rental_type"] for r in rows]
    assert (markets.count("on_demand"), markets.count("spot")) == (22_085, 7_858)
    assert frame["provider"].nunique() == 43
    assert frame["instance"].str.rpartition("x")[0].nunique() == 19  # as the file calls them
    assert set(frame["gpu"]) >= {"A100", "A100-40GB", "H100", "RTX4090"} and frame["gpu"].nunique() == 15

    # 8 H100 of the two clouds whose price is known from elsewhere, every day the same
    for provider, usd_per_h in (("aws", 55.04), ("azure", 98.32)):
        eight = (frame["instance"] == "H100_SXMx8") & (frame["market"] == "on_demand")
        mine = frame[eight & (frame["provider"] == provider)]
        assert mine["usd_per_h"].round(2).unique().tolist() == [usd_per_h]
        assert {"2026-02-11", "2026-02-17", "2026-02-19", "2026-03-06"} <= set(mine["date"])
        assert "2026-02-18" not in set(mine["date"])
    # no offer's price jumps by its number of GPUs where the unit changes, but three of a marketplace
    offer = ["provider", "instance", "place", "market"]
    several = frame[frame["gpus"] > 1]
    before = several[several["date"] == "2026-02-17"].groupby(offer)["usd_per_h"].median()
    after = several[several["date"].between("2026-02-19", "2026-03-06")].groupby(offer)["usd_per_h"].median()
    ratio = (after / before).dropna()
    jumped = ratio[~ratio.between(0.7, 1.4)]
    assert len(ratio) == 159 and len(jumped) == 3
    assert set(jumped.index.get_level_values("provider")) == {"vast.ai"}
    assert (frame["usd_per_h"] / frame["gpus"]).between(0.05, 30).all()
    p5 = AwsP5(str(shared_traces)).read()
    assert len(p5) + p5.dropped[0].count == 500
    assert (p5.frame["usd_per_h"].iloc[0], p5.frame["usd_per_h"].iloc[-1]) == (98.32, 55.04)


def test_skyplanes_measurements(shared_traces: Path) -> None:
    folder = shared_traces / "network/skyplane"
    rates, rtts, costs = (records(folder / name) for name in ("throughput.csv.gz", "latency.csv", "cost.csv"))
    rate, rtt, cost = (cls(str(shared_traces)).read() for cls in (SkyplaneThroughput, SkyplaneRtt, SkyplaneCost))
    assert [len(table) for table in (rate, rtt, cost)] == [7_053, 8_010, 4_970] == [len(rates), len(rtts), len(costs)]
    assert rate.frame["bytes_per_s"].tolist() == [float(r["throughput_received"]) / 8 for r in rates]
    assert rtt.frame["rtt_s"].tolist() == [float(r["avg_rtt"]) / 1e3 for r in rtts]
    assert cost.frame["usd_per_gb"].tolist() == [float(r["cost"]) for r in costs]
    for frame, rows in ((rate.frame, rates), (rtt.frame, rtts)):
        assert frame["source_tier"].str.upper().tolist() == [r["src_tier"] for r in rows]
        assert frame["target_tier"].str.upper().tolist() == [r["dst_tier"] for r in rows]
    ends, tiers = ["source", "target"], ["source_tier", "target_tier"]
    assert len(set(rate.frame["source"]) | set(rate.frame["target"])) == 63
    assert rate.frame.duplicated([*ends, *tiers]).sum() == 80
    assert (rate.frame["source"] == rate.frame["target"]).sum() == 44
    assert rtt.frame.duplicated(ends).sum() == 3_297 and not rtt.frame.duplicated([*ends, *tiers]).any()
    assert len(set(cost.frame["source"]) | set(cost.frame["target"])) == 71
    within = SkyplaneThroughput(str(shared_traces), within_gcp=True).read().frame
    assert len(within) == 702 == 27 * 26 and "source_tier" not in within
    assert not within["source"].str.contains("-[a-f]$").any()
    aws = SkyplaneCost(str(shared_traces), aws=True).read().frame
    assert len(aws) == 674 and (aws["target"] == "internet").sum() == 26 and aws["source"].str.startswith("aws:").all()
    machines = SkyplaneMachines(str(shared_traces)).read().frame.set_index("instance")
    assert len(machines) == 34 and machines.loc["n2-standard-32", ["cpus", "gpus", "place"]].tolist() == [32, 0, "gcp"]


@pytest.mark.parametrize("tier", ["premium", "standard"])
def test_skyplane_joins_one_tier(shared_traces: Path, tier: str) -> None:
    table = Skyplane(str(shared_traces), tier=tier).read()
    frame = table.frame.set_index(["source", "target"])
    assert not frame.index.duplicated().any()
    assert (
        frame["usd_per_gb"].notna().sum() == 4_970
        and frame.loc[("aws:us-east-2", "azure:eastus"), "usd_per_gb"] == 0.09
    )
    folder = shared_traces / "network/skyplane"

    def wanted(name: str, value: str) -> dict[tuple[str, str], list[float]]:
        found: dict[tuple[str, str], list[float]] = {}
        for r in records(folder / name):
            tiers = [r[f"{end}_tier"].lower() if r[f"{end}_region"][:3] == "gcp" else tier for end in ("src", "dst")]
            if tiers == [tier, tier]:
                pair = [re.sub("(gcp:.*)-[a-f]$", r"\1", r[f"{end}_region"]) for end in ("src", "dst")]
                found.setdefault((pair[0], pair[1]), []).append(float(r[value]))
        return found

    rate = wanted("throughput.csv.gz", "throughput_received")
    assert frame["bytes_per_s"].dropna().to_dict() == pytest.approx({k: np.median(v) / 8 for k, v in rate.items()})
    rtt = wanted("latency.csv", "avg_rtt")
    assert frame["rtt_s"].dropna().to_dict() == pytest.approx({k: v[0] / 1e3 for k, v in rtt.items()})
    told = {each.reason.partition(":")[0]: 0 for each in table.dropped}
    for each in table.dropped:
        told[each.reason.partition(":")[0]] += each.count
    assert told == {"throughput.csv.gz": 7_053 - len(rate), "latency.csv": 8_010 - len(rtt)}
    google = frame.index.get_level_values(0).str.startswith("gcp:") & frame.index.get_level_values(1).str.startswith(
        "gcp:"
    )
    assert frame[google]["bytes_per_s"].notna().any()


def test_skyplanes_parameters_are_checked(shared_traces: Path) -> None:
    assert "expected a folder" in error(Skyplane(path=str(shared_traces / "none")))
    assert "trace.tier is 'best', expected premium or standard" in error(Skyplane(str(shared_traces), tier="best"))


@pytest.mark.parametrize("zone", ["US-CAL-CISO", "NO", "BR"])
def test_electricity_maps(shared_traces: Path, zone: str) -> None:
    for year in (2021, 2022, 2023):
        rows = records(shared_traces / f"carbon/electricitymaps/{zone}_{year}_hourly.csv")
        frame = CarbonElectricitymaps(str(shared_traces), zone=zone, year=year).read().frame
        assert len(frame) == len(rows) == 8760
        assert np.diff(frame["time_s"]).tolist() == [3600.0] * 8759
        column = next(name for name in rows[0] if "(direct)" in name)
        assert frame["g_per_kwh"].sum() == pytest.approx(sum(float(r[column]) for r in rows))


def test_lets_wait_awhile(shared_traces: Path) -> None:
    steps = {}
    for zone in ("DE", "FR", "GB"):
        frame = CarbonLetsWaitAwhile(str(shared_traces), zone=zone).read().frame
        found, counts = np.unique(np.diff(frame["time_s"]), return_counts=True)
        steps[zone] = dict(zip((found / 60).tolist(), counts.tolist(), strict=True))
    assert steps["DE"][30.0] == 2 and set(steps["DE"]) == {15.0, 30.0}  # its two gaps
    assert set(steps["FR"]) == {30.0}
    assert set(steps["GB"]) == {15.0, 30.0}


def seconds(time: str) -> float:
    return datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()


def test_titans_failures(shared_traces: Path) -> None:
    rows = records(shared_traces / "failures/titan_gpu/gc_full.csv.gz")
    table = Titan(str(shared_traces)).read()
    failed = [r for r in rows if r["event"]]
    assert len(rows) == 37_343 and len(table) == len(failed) == 6_367
    assert table.frame["event"].value_counts().to_dict() == {"DBE": 4_826, "OTB": 1_541}
    assert table.frame["start_s"].tolist() == [seconds(r["remove"]) for r in failed]
    assert table.frame["end_s"].isna().all()
    again = [r["event"] for r in failed if not r["insert"]]  # a further failure of a GPU that was just removed
    assert (again.count("DBE"), again.count("OTB")) == (1_039, 119)


def test_titans_lifetimes(shared_traces: Path) -> None:
    rows = records(shared_traces / "failures/titan_gpu/gc_full.csv.gz")
    table = TitanLifetimes(str(shared_traces)).read()
    frame = table.frame
    stays = [r for r in rows if r["insert"]]
    assert len(frame) == len(stays) == 37_343 - 1_158 and [each.count for each in table.dropped] == [1_158]
    assert frame["event"].tolist() == [r["event"] for r in stays]
    there = frame["end_s"].isna()
    assert there.sum() == 18_637
    assert there.tolist() == [r["remove"] == "2019-08-01 20:07:33" for r in stays]
    assert not frame[there]["entity"].duplicated().any() and frame[there]["place"].nunique() <= 18_688
    assert frame["observed_s"].tolist() == [float(r["duration"]) for r in stays]
    lasted = (frame["end_s"] - frame["start_s"])[~there]
    assert (lasted - frame["observed_s"][~there]).abs().max() <= 3600  # summer time
    assert frame["start_s"].min() == seconds("2013-11-19 18:35:15")


def test_titans_gpus_are_the_sums_of_their_stays(shared_traces: Path) -> None:
    stays = TitanLifetimes(str(shared_traces)).read().frame
    gpus = TitanGpus(str(shared_traces)).read().frame.set_index("entity")
    assert len(gpus) == 30_207 and (gpus["event"] != "").sum() == 5_089
    assert stays.groupby("entity")["observed_s"].sum().equals(gpus["observed_s"].sort_index())
    still = stays[stays["end_s"].isna()]["entity"]
    assert set(gpus.index[gpus["end_s"].isna()]) == set(still)
    longest = stays.sort_values("observed_s").groupby("entity")["place"].last()
    assert longest.equals(gpus["place"].sort_index())


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "us-west-2a_v100_1.json"
    for text, said in (
        ("{", "not JSON"),
        ('{"data": [1]}', "key 'metadata' is missing"),
        ('{"metadata": {"gap_seconds": 0}, "data": [1]}', "gap_seconds above 0"),
        (
            '{"metadata": {"gap_seconds": 5}, "data": [1, -1, "x"]}',
            "row 2: entry of data is -1, expected a whole number",
        ),
    ):
        path.write_text(text)
        assert said in error(SpotSkypilot(path=str(path)))
    good = '{"metadata": {"gap_seconds": 5}, "data": [1, 0], "prices": %s}'
    path.write_text(good % "[1.5]")
    assert "expected as many prices as entries of data, 2" in error(SpotSkypilot(path=str(path)))
    path.write_text(good % '[1.5, "x"]')
    assert "row 2: entry of prices is 'x', expected USD per hour" in error(SpotSkypilot(path=str(path)))
    path.write_text("0,2022-10-26T22:05:04.000Z,2\n")
    assert "row 1: flag is 2" in error(SpotStrategy(path=str(path), polarity="failed"))
    path.write_text("0,add,n1\n5,vanish,n1\n")
    assert "row 2: event is 'vanish'" in error(Bamboo(path=str(path), trace="p3"))
    path.write_text(
        "date,provider,gpu_model,gpu_count,region,rental_type,price_median_usd,fetched_at\n"
        "2026-03-01,a,H100,1,us,rent,2,2026-03-01T21:00:00Z\n"
    )
    assert "row 2: market is rent, expected one of on_demand, spot, reserved" in error(GpuPrices(path=str(path)))
    path.write_text("Time,Carbon Intensity\n2019-12-20 00:00:00,-3\n")
    assert "row 2: g_per_kwh is -3.0, expected 0 or more" in error(CarbonLetsWaitAwhile(path=str(path), zone="DE"))
