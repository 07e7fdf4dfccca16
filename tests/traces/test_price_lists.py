"""Price lists of GPU offers, of Google's cloud and of EC2: against their files, read a second way, and on files written
here in their formats."""

from __future__ import annotations

import csv
import gzip
import json
import textwrap
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from hcsim import InputError
from hcsim.traces._table import Source
from hcsim.traces.ec2_instances import Ec2Instances
from hcsim.traces.gcp_pricing import GcpPricing
from hcsim.traces.gcp_pricing_yml import GcpEgress, GcpMachines, GcpPricingYml
from hcsim.traces.gpu_offerings import GpuOfferings

DATES = ("2022-09-01", "2023-09-07", "2024-09-05", "2025-09-04", "2026-01-01")


def rows_of(shared: Path, path: str) -> int:
    with (shared / "MANIFEST.csv").open() as file:
        return next(int(r["rows"]) for r in csv.DictReader(file) if r["path"] == path)


def error(source: Source) -> str:
    with pytest.raises(InputError) as said:
        source.read()
    assert "\n" not in str(said.value)
    return str(said.value)


# --- GPU offers ---


def test_gpu_offerings(shared_traces: Path) -> None:
    folder = shared_traces / "prices/gpu_offerings_2026"
    known = json.loads((folder / "offerings.json").read_text())
    table = GpuOfferings(str(shared_traces)).read()
    frame = table.frame
    assert len(frame) == len(known) == rows_of(shared_traces, "prices/gpu_offerings_2026/offerings.json") == 310
    assert not table.dropped
    assert frame["usd_per_h"].tolist() == [offer["price_usd_hour"] for offer in known]
    assert frame["market"].eq("spot").tolist() == [offer["is_spot"] for offer in known]
    providers = json.loads((folder / "providers.json").read_text())
    assert len(providers) == 21 and set(frame["provider"]) <= {each["id"] for each in providers}
    # names meet: an A100 of 40 GB is told from one of 80 GB, whatever the offer calls it
    memory = {offer["id"]: offer["vram_gb"] for offer in known}
    for gpu, size in (("A100", 80), ("A100-40GB", 40), ("H100", 80), ("H100-94GB", 94)):
        assert {memory[name] for name in frame[frame["gpu"] == gpu]["instance"]} == {size}
    assert len(frame[frame["gpu"].str.startswith("A100")]) == sum("A100" in offer["gpu_model"] for offer in known)
    vast = frame.set_index("instance").loc["vast-ai-h100-sxm-on-demand"]
    assert (vast["usd_per_h"], vast["gpu"], vast["market"]) == (1.49, "H100", "on_demand")


OFFER = {
    "id": "x-a100", "provider_id": "x", "gpu_model": "NVIDIA A100 SXM4", "vram_gb": 40, "tier": "on-demand",
    "is_spot": False, "price_usd_hour": 1.5, "collected_at": "2026-05-24",
}  # fmt: skip


def test_offers(tmp_path: Path) -> None:
    path = tmp_path / "offerings.json"
    path.write_text(
        json.dumps([OFFER, OFFER | {"is_spot": True, "gpu_model": "RTX 5090 (High freq.)", "vram_gb": None}])
    )
    frame = GpuOfferings(path=str(path)).read().frame
    assert frame["gpu"].tolist() == ["A100-40GB", "RTX5090"] and frame["market"].tolist() == ["on_demand", "spot"]
    for change, said in (
        ({"price_usd_hour": "1.5"}, "row 1: price_usd_hour is '1.5', expected a number"),
        ({"price_usd_hour": True}, "row 1: price_usd_hour is True, expected a number"),
        ({"price_usd_hour": -1}, "row 1: usd_per_h is -1.0, expected 0 or more"),
        ({"is_spot": 1}, "row 1: is_spot is 1, expected true or false"),
        ({"gpu_model": None}, "row 1: gpu_model is None, expected text"),
        ({"collected_at": "May"}, "row 1: collected_at is 'May', expected a time"),
    ):
        path.write_text(json.dumps([OFFER | change]))
        assert said in error(GpuOfferings(path=str(path)))
    for text in ("3", "[3]", "[]", "[{}]", "{}"):
        path.write_text(text)
        assert "offer" in error(GpuOfferings(path=str(path)))
    path.write_text(json.dumps([OFFER]))
    (tmp_path / "providers.json").write_text('[{"id": "y"}]')
    assert "row 1: provider_id is 'x', expected an id of providers.json" in error(GpuOfferings(path=str(path)))


# --- Google's price list ---


@cache
def price_list(shared: Path, date: str) -> Any:
    path = shared / "prices/gcp_pricing_yml" / date / "pricing.yml"
    raw = path.read_bytes() if path.exists() else gzip.decompress(path.with_suffix(".yml.gz").read_bytes())
    return yaml.load(raw, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def offered(shared: Path) -> set[tuple[str, str]]:
    with (shared / "prices/gcp_pricing_yml/tools/machinetypezone.csv").open() as file:
        return {(r["NAME"], r["ZONE"].rpartition("-")[0]) for r in csv.DictReader(file, delimiter=";")}


@pytest.mark.parametrize("date", DATES)
def test_googles_price_list(shared_traces: Path, date: str) -> None:
    known = price_list(shared_traces, date)
    prices = {
        (name, region, key): usd
        for name, machine in known["compute"]["instance"].items()
        for region, cost in (machine.get("cost") or {}).items()
        for key, usd in cost.items()
    }
    every = GcpPricingYml(str(shared_traces), date=date, zones="none").read()
    frame = every.frame
    keys = {"on_demand": ("hour", 1), "spot": ("hour_spot", 1), "reserved": ("month_1y", 730)}
    for market, (key, hours) in keys.items():
        mine = frame[(frame["market"] == market) & frame["term"].isin(["", "1y"])]
        wanted = {at: usd for at, usd in prices.items() if at[2] == key}
        assert len(mine) == len(wanted)
        assert mine["usd_per_h"].sum() == pytest.approx(sum(wanted.values()) / hours)
    three = frame[frame["term"] == "3y"]
    assert three["usd_per_h"].sum() == pytest.approx(sum(u for at, u in prices.items() if at[2] == "month_3y") / 730)
    assert (frame["market"] == "spot").any() == (date > "2023-06")
    assert frame["time_s"].eq(known["about"]["timestamp"]).all()
    without = sum(not machine.get("cost") for machine in known["compute"]["instance"].values())
    assert sum(each.count for each in every.dropped) == without


def test_what_google_lists_and_does_not_offer(shared_traces: Path) -> None:
    table = GcpPricingYml(str(shared_traces), date=DATES[1]).read()
    pairs = offered(shared_traces)
    types, regions = {name for name, _ in pairs}, {region for _, region in pairs}
    prices = [
        (name, region)
        for name, machine in price_list(shared_traces, DATES[1])["compute"]["instance"].items()
        for region, cost in machine["cost"].items()
        for key in cost
        if key not in ("month", "month_spot")
    ]
    left = [pair for pair in prices if pair not in pairs and pair[0] in types and pair[1] in regions]
    assert table.dropped[0].count == len(left) > 0 and len(table) == len(prices) - len(left)
    mine = set(zip(table.frame["instance"], table.frame["place"].str.removeprefix("gcp:"), strict=True))
    known_pairs = {pair for pair in mine if pair[0] in types and pair[1] in regions}
    assert known_pairs <= pairs


def test_googles_gpu_machines(shared_traces: Path) -> None:
    frame = GcpPricingYml(str(shared_traces), date="2024-09-05", zones="none").read().frame
    mine = frame[(frame["instance"] == "a2-highgpu-1g") & (frame["place"] == "gcp:us-west4")]
    assert mine["market"].tolist() == ["on_demand", "spot", "reserved", "reserved"]
    assert mine["usd_per_h"].tolist()[:2] == [3.934354926, 1.57366]
    assert mine["usd_per_h"].tolist()[2:] == pytest.approx([1793.61866583 / 730, 1009.26738745 / 730])
    assert set(mine["gpu"]) == {"A100-40GB"} and set(mine["gpus"]) == {1.0}
    counts = frame.drop_duplicates("instance").set_index("instance")[["gpu", "gpus"]]
    for instance, gpu, gpus in (
        ("a2-ultragpu-8g", "A100", 8), ("a3-megagpu-8g", "H100", 8), ("g2-standard-32", "L4", 1),
        ("g2-standard-96", "L4", 8), ("n1-standard-8", "", 0),
    ):  # fmt: skip
        assert counts.loc[instance].tolist() == [gpu, gpus]
    # the monthly extract of the same list agrees
    extract = GcpPricing(str(shared_traces)).read().frame
    extract = extract[extract["time_s"] == datetime(2024, 9, 5, tzinfo=UTC).timestamp()]
    for market in ("on_demand", "spot"):
        one, two = (
            each[each["market"] == market]
            .assign(region=each["place"].str.removeprefix("gcp:"))
            .set_index(["instance", "region"])["usd_per_h"]
            for each in (frame, extract)
        )
        both = one.index.intersection(two.index)
        assert len(both) == len(two) > 300 and (one[both] == two[both]).all()


def test_googles_egress(shared_traces: Path) -> None:
    known = price_list(shared_traces, DATES[0])["compute"]["network"]["traffic"]["egress"]["internet"]
    regions = len(known["cost"]["0-1"])
    for tier in ("0-1", "1-10", "10n"):
        table = GcpEgress(str(shared_traces), date=DATES[0], tier=tier).read()
        assert len(table) == 3 * regions and [each.count for each in table.dropped] == [6 * regions]
        frame = table.frame.set_index(["source", "target"])["usd_per_gb"]
        for target, part in (("internet", known), ("internet:china", known["china"])):
            for region, price in part["cost"][tier].items():
                # a GiB is 7.4 % more than a GB
                assert frame[(f"gcp:{region}", target)] == pytest.approx(price["month"] / 1.073741824)
    assert "no tier '2'" in error(GcpEgress(str(shared_traces), tier="2"))


YML = textwrap.dedent(
    """\
    ---
    about:
      timestamp: 1767242268
    compute:
      instance:
        a2-highgpu-1g:
          a100: 1
          cost:
            asia-east1:
              hour: 4
              hour_spot: 1.5
              month: 2920
              month_1y: 1460
            us-central1:
              hour: 3.5
          cpu: 12
          ram: 85
        g4-standard-6:
          cost:
            us-central1:
              hour: 0.5
          cpu: 6
          ram: 22.5
          rtx6000: 0.125
        n4a-standard-1:
          cpu: 1
          ram: 4
      network:
        traffic:
          egress:
            internet:
              china:
                cost:
                  0-1:
                    asia-east1:
                      month: 0.23
              cost:
                0-1:
                  asia-east1:
                    month: 0.12
                1-10:
                  asia-east1:
                    month: 0.11
    """
)


def test_a_price_list_of_googles(tmp_path: Path) -> None:
    path = tmp_path / "pricing.yml"
    path.write_text(YML)
    table = GcpPricingYml(path=str(path)).read()
    frame = table.frame
    assert frame["usd_per_h"].tolist() == [4, 1.5, 2, 3.5, 0.5]
    assert frame["term"].tolist() == ["", "", "1y", "", ""] and set(frame["time_s"]) == {1767242268.0}
    assert frame["gpu"].tolist() == ["A100-40GB"] * 4 + ["RTXPRO6000"] and frame["gpus"].iloc[-1] == 0.125
    assert [(each.reason, each.count) for each in table.dropped] == [("a machine type without prices", 1)]
    zones = tmp_path / "zones.csv"
    zones.write_text("NAME;CPUS;ZONE\na2-highgpu-1g;12;us-central1-a\nn1-standard-1;1;asia-east1-b\n")
    crossed = GcpPricingYml(path=str(path), zones=str(zones)).read()
    assert crossed.frame["usd_per_h"].tolist() == [3.5, 0.5]  # g4 is not in the list: nothing is known of it
    assert [each.count for each in crossed.dropped] == [3, 1]
    (note,) = crossed.notes
    assert note.startswith("1 prices are of types or regions that the list of types by zone (May 2023) does not hold")
    assert note.endswith("unchecked (types g4)") and not table.notes
    egress = GcpEgress(path=str(path)).read()
    assert egress.frame["target"].tolist() == ["internet:china", "internet"]
    assert egress.frame["usd_per_gb"].tolist() == pytest.approx([0.23 / 1.073741824, 0.12 / 1.073741824])
    assert "has no price of tier 10n" in error(GcpEgress(path=str(path), tier="10n"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("hour: 3.5", "hour: free", "row 4: compute.instance.a2-highgpu-1g.cost.us-central1.hour is 'free', expected"),
        ("hour: 3.5", "hour: -3.5", "row 4: usd_per_h is -3.5, expected 0 or more"),
        ("hour: 3.5", "day: 3.5", "'day', expected one of hour, hour_spot, month_1y, month_3y, month, month_spot"),
        ("hour: 3.5", "hour: 3.5: 4", "row 15: not YAML (mapping values are not allowed"),
        ("hour: 3.5", "hour: " + "9" * 5000, "not YAML"),
        ("a100: 1", "a100: one", "expected one kind of accelerator"),
        ("a100: 1", "a100: 1\n      l4: 1", "expected one kind of accelerator"),
        ("timestamp: 1767242268", "timestamp: now", "about.timestamp is 'now', expected a number"),
        ("timestamp", "time", "key about.timestamp is missing"),
        ("  instance:", "  machine:", "key compute.instance is missing"),
        ("compute:", "storage:", "key compute is missing"),
        ("---\n", "\0", "not YAML"),
    ],
)  # fmt: skip
def test_price_lists_that_are_wrong(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "pricing.yml"
    path.write_text(YML.replace(old, new, 1))
    assert said in error(GcpPricingYml(path=str(path)))


@pytest.mark.parametrize("by_zone", [True, False])
def test_googles_machine_types(shared_traces: Path, by_zone: bool) -> None:
    name = f"prices/gcp_pricing_yml/tools/{'machinetypezone' if by_zone else 'machinetypes'}.csv"
    with (shared_traces / name).open() as file:
        known = list(csv.DictReader(file, delimiter=";"))
    frame = GcpMachines(str(shared_traces), by_zone=by_zone).read().frame
    assert len(frame) == len(known) == rows_of(shared_traces, name)
    assert frame["cpus"].sum() == sum(float(r["CPUS"]) for r in known)
    assert (frame["ram_bytes"] / 2**30).tolist() == [float(r["MEMORY_GB"]) for r in known]
    assert frame["place"].nunique() == (125 if by_zone else 1)
    eight = frame[frame["instance"] == "a2-ultragpu-8g"].iloc[0]
    assert (eight["gpu"], eight["gpus"], eight["cpus"]) == ("A100", 8, 96)
    assert frame["gpu"].eq("").eq(frame["gpus"] == 0).all()


# --- EC2 ---


def test_ec2s_price_list(shared_traces: Path) -> None:
    path = "prices/ec2instances_2017/instances.json.gz"
    with gzip.open(shared_traces / path) as file:
        known = json.load(file)
    assert len(known) == rows_of(shared_traces, path) == 88
    count = {
        system: 0 for system in ("linux", "mswin", "rhel", "sles", "mswinSQL", "mswinSQLWeb", "mswinSQLEnterprise")
    }
    for each in known:
        for systems in each["pricing"].values():
            for system, prices in systems.items():
                if system != "ebs":
                    count[system] += 1 + len(prices.get("reserved", {}))
    for system, wanted in count.items():
        table = Ec2Instances(str(shared_traces), system=system).read()
        assert len(table) == wanted and table.dropped[0].count == sum(count.values()) - wanted
    frame = Ec2Instances(str(shared_traces)).read().frame
    assert frame["instance"].nunique() == 88
    p3 = frame[(frame["instance"] == "p3.2xlarge") & (frame["place"] == "aws:us-east-1")].set_index("term")["usd_per_h"]
    assert len(p3) == 13
    assert (p3[""], p3["1y standard no upfront"], p3["3y standard all upfront"]) == (3.06, 2.088, 1.159)
    gpus = frame[frame["gpus"] > 0].drop_duplicates("instance").set_index("instance")
    assert len(gpus) == 9 and (gpus["gpu"] != "").all()
    assert gpus.loc["p2.16xlarge", ["gpu", "gpus"]].tolist() == ["K80", 16.0]
    assert gpus.loc["g3.8xlarge", ["gpu", "gpus"]].tolist() == ["M60", 2.0]
    # whoever commits for longer, or pays more at the start, pays less
    wide = frame[frame["market"] == "reserved"].pivot(index=["instance", "place"], columns="term", values="usd_per_h")
    for dear, cheap in (("1y standard no upfront", "1y standard all upfront"), ("1y standard all upfront", "3y standard all upfront")):  # fmt: skip  # noqa: E501
        pairs = wide[[dear, cheap]].dropna()
        assert len(pairs) > 400 and (pairs[dear] >= pairs[cheap]).mean() > 0.99


EC2 = [
    {
        "instance_type": "p3.2xlarge",
        "GPU": 1,
        "pricing": {
            "us-east-1": {
                "ebs": "0.05",
                "linux": {"ondemand": "3.06", "reserved": {"yrTerm3Convertible.noUpfront": "1.795"}},
                "mswin": {"ondemand": "3.428"},
            }
        },
    }
]


def test_a_price_list_of_ec2s(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(EC2))
    table = Ec2Instances(path=str(path)).read()
    assert table.frame["usd_per_h"].tolist() == [3.06, 1.795] and table.dropped[0].count == 1
    assert table.frame["term"].tolist() == ["", "3y convertible no upfront"]
    assert table.frame["gpu"].tolist() == ["V100"] * 2 and set(table.frame["place"]) == {"aws:us-east-1"}
    assert "trace.system is 'dos', expected one of linux, mswin" in error(Ec2Instances(path=str(path), system="dos"))
    text = json.dumps(EC2)
    for old, new, said in (
        ('"3.06"', '"N/A"', "not a list of instances (ValueError: could not convert string to float: 'N/A')"),
        ('"3.06"', '"-1"', "row 1: usd_per_h is -1.0, expected 0 or more"),
        ("yrTerm3", "term3", "unknown term 'term3Convertible.noUpfront'"),
        ('"GPU"', '"gpu"', "not a list of instances (KeyError: 'GPU')"),
        ("[{", "{", "not JSON"),
    ):
        path.write_text(text.replace(old, new, 1))
        assert said in error(Ec2Instances(path=str(path)))
    for text in ("[]", "3", "{}"):
        path.write_text(text)
        assert "instances.json: " in error(Ec2Instances(path=str(path)))
