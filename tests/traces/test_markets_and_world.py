"""Spot capacity, prices, links, carbon and failures against their files, read a second way."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from hcsim import InputError
from hcsim.traces._table import Source
from hcsim.traces.aws_price_history import AwsPriceHistory
from hcsim.traces.bamboo import Bamboo
from hcsim.traces.carbon_electricitymaps import CarbonElectricitymaps
from hcsim.traces.carbon_lets_wait_awhile import CarbonLetsWaitAwhile
from hcsim.traces.gpu_prices import AwsP5, GpuPrices
from hcsim.traces.skyplane import Skyplane
from hcsim.traces.spot_skypilot import SpotSkypilot
from hcsim.traces.spot_strategy import SpotStrategy
from hcsim.traces.titan import Titan


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
        assert frame["time_s"].iloc[-1] == pytest.approx(known["metadata"]["gap_seconds"] * (len(known["data"]) - 1))
        assert frame["nodes"].max() <= (16 if "16-node" in str(path) else 1)


def test_the_raw_probe_logs_are_the_complement_of_the_traces(shared_traces: Path) -> None:
    """Tick by tick, for the campaign that was published both ways."""
    for zone in ("us-west-2a_k80_1", "us-west-2b_v100_8"):
        raw = SpotStrategy(str(shared_traces), trace=f"2022-10-26T22-05/{zone}").read().frame
        made = SpotSkypilot(str(shared_traces), trace=f"availability/1-node/aws-10-26-2022/{zone}").read().frame
        n = min(len(raw), len(made))
        assert n > 3800
        assert raw["nodes"].tolist()[:n] == made["nodes"].tolist()[:n]


def test_polarity_is_not_guessed(shared_traces: Path) -> None:
    path = str(shared_traces / "spot/skypilot_spot_strategy/2022-11-28T22-23/us-west-2a_v100_1.txt")
    assert "trace.polarity is not given" in error(SpotStrategy(path=path))
    failed, available = (SpotStrategy(path=path, polarity=p).read().frame["nodes"] for p in ("failed", "available"))
    assert (failed + available == 1).all()
    assert len(failed) == 2140


def test_aws_price_history(shared_traces: Path) -> None:
    with gzip.open(shared_traces / "spot/aws_spot_price_history/05.tsv.gz", "rt") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    table = AwsPriceHistory(str(shared_traces)).read()
    linux = [row for row in rows if row[2] == "Linux/UNIX"]
    assert len(rows) == 33_362 and len(table) == len(linux)
    assert table.dropped[0].count == len(rows) - len(linux)
    assert table.frame["usd_per_h"].sum() == pytest.approx(sum(float(row[3]) for row in linux))
    assert table.frame.query("instance == 'p4d.24xlarge'")["gpus"].eq(8).all()


def test_bamboo(shared_traces: Path) -> None:
    for trace, count, hours in (("p3", 344, 11.4), ("g4dn", 153, 10.6)):
        frame = Bamboo(str(shared_traces), trace=trace).read().frame
        assert len(frame) == count and frame["nodes"].min() >= 0
        assert frame["time_s"].iloc[-1] / 3600 == pytest.approx(hours, abs=0.1)
    for trace, count in (("gcp-v100", 1477), ("gcp-a100", 268)):
        frame = Bamboo(str(shared_traces), trace=trace).read().frame
        assert len(frame) == count and (np.diff(frame["time_s"]) >= 0).all()


def test_prices(shared_traces: Path) -> None:
    rows = records(shared_traces / "prices/gpu_cloud_observations_2026/observations.csv.gz")
    frame = GpuPrices(str(shared_traces)).read().frame
    assert len(frame) == len(rows) == 29_943
    assert frame["market"].value_counts().to_dict() == {"on_demand": 22_085, "spot": 7_858}
    assert frame["provider"].nunique() == 43 and frame["gpu"].nunique() == 19
    wanted = sum(float(r["price_median_usd"]) * float(r["gpu_count"]) for r in rows)
    assert frame["usd_per_h"].sum() == pytest.approx(wanted)
    p5 = AwsP5(str(shared_traces)).read()
    assert len(p5) + p5.dropped[0].count == 500
    assert (p5.frame["usd_per_h"].iloc[0], p5.frame["usd_per_h"].iloc[-1]) == (98.32, 55.04)


def test_skyplane(shared_traces: Path) -> None:
    frame = Skyplane(str(shared_traces)).read().frame
    assert not frame.duplicated(["source", "target"]).any()
    rows = records(shared_traces / "network/skyplane/cost.csv")
    price = frame.set_index(["source", "target"])["usd_per_gb"]
    assert price[("aws:us-east-2", "azure:eastus")] == 0.09
    assert frame["usd_per_gb"].notna().sum() <= len(rows) == 4970
    rates = [
        r for r in records(shared_traces / "network/skyplane/throughput.csv.gz") if r["src_region"] == "aws:eu-west-3"
    ]
    to_azure = [float(r["throughput_received"]) for r in rates if r["dst_region"] == "azure:eastus"]
    rate = frame.set_index(["source", "target"])["bytes_per_s"]
    assert rate[("aws:eu-west-3", "azure:eastus")] == pytest.approx(max(to_azure) / 8)
    assert frame["rtt_s"].min() > 0 and frame["rtt_s"].max() < 1
    assert "expected a folder" in error(Skyplane(path=str(shared_traces / "none")))


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


def test_titan(shared_traces: Path) -> None:
    rows = records(shared_traces / "failures/titan_gpu/gc_full.csv.gz")
    table = Titan(str(shared_traces)).read()
    frame = table.frame
    assert len(rows) == 37_343 and len(frame) == 37_343 - 1158
    assert [each.count for each in table.dropped] == [1158] == [sum(not r["insert"] for r in rows)]
    stays = [r for r in rows if r["insert"]]
    assert frame["event"].tolist() == [r["event"] or "none" for r in stays]
    lasted = (frame["end_s"] - frame["start_s"]).to_numpy()
    given = np.array([float(r["duration"]) for r in stays])
    assert np.abs(lasted - given).max() <= 3600


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
    path.write_text("0,2022-10-26T22:05:04.000Z,2\n")
    assert "row 1: flag is 2" in error(SpotStrategy(path=str(path), polarity="failed"))
    path.write_text("0,add,n1\n5,vanish,n1\n")
    assert "row 2: event is 'vanish'" in error(Bamboo(path=str(path), trace="p3"))
    path.write_text(
        "date,provider,gpu_model,gpu_count,region,rental_type,price_median_usd\n2026-01-01,a,H100,1,us,rent,2\n"
    )
    assert "row 2: market is rent, expected one of on_demand, spot, reserved" in error(GpuPrices(path=str(path)))
    path.write_text("Time,Carbon Intensity\n2019-12-20 00:00:00,-3\n")
    assert "row 2: g_per_kwh is -3.0, expected 0 or more" in error(CarbonLetsWaitAwhile(path=str(path), zone="DE"))
