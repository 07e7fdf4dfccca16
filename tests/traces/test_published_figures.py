"""Spans, totals and shares that the README of the shared traces gives, against what the sources read.

What is compared with the files cell by cell is in the other tests of this folder, row counts are in test_manifest.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hcsim.traces._table import Source
from hcsim.traces.acme import Acme
from hcsim.traces.alibaba_genai import AlibabaGenai
from hcsim.traces.aws_price_history import AwsPriceHistory
from hcsim.traces.azure_llm import AzureLlm
from hcsim.traces.bamboo import Bamboo
from hcsim.traces.carbon_electricitymaps import CarbonElectricitymaps
from hcsim.traces.carbon_lets_wait_awhile import CarbonLetsWaitAwhile
from hcsim.traces.carbon_opendc import CarbonOpendc
from hcsim.traces.gaia import Gaia
from hcsim.traces.gpu_prices import AwsP5, GpuPrices
from hcsim.traces.helios_earth import HeliosEarth, PhillyNodes
from hcsim.traces.itp import Itp
from hcsim.traces.lucid_venus import LucidVenus
from hcsim.traces.mooncake import Mooncake
from hcsim.traces.philly import Philly
from hcsim.traces.pollux import Pollux
from hcsim.traces.sia import Sia
from hcsim.traces.spot_skypilot import SpotSkypilot
from hcsim.traces.spot_strategy import SpotStrategy
from hcsim.traces.spotlake_azure import SpotlakeAzure
from hcsim.traces.swf import Swf
from hcsim.traces.training_on_a_dime import TrainingOnADime
from hcsim.traces.vidur import Vidur

DAY_S = 86_400.0
SWF = "dl_jobs/swf/{}.swf.gz"
SKYPILOT = "availability/1-node/aws-{}/us-west-2b_v100_1"


def days(frame: pd.DataFrame) -> float:
    """From the first time to the last."""
    time = frame["arrival_s" if "arrival_s" in frame else "time_s"]
    return float(time.max() - time.min()) / DAY_S


def dates(frame: pd.DataFrame, form: str = "%Y-%m-%d") -> tuple[str, str]:
    """First and last, UTC."""
    first, last = (
        datetime.fromtimestamp(each, UTC).strftime(form) for each in (frame["time_s"].min(), frame["time_s"].max())
    )
    return first, last


#: Name, source, span in days as the README says it, and by how much it may differ (it rounds).
SPANS: list[tuple[str, Callable[[str], Source], float, float]] = [
    ("Philly", Philly, 109, 1),  # 2017-09-04 to 2017-12-22
    *[(f"GAIA {s}", lambda d, s=s: Gaia(d, sample=s), 365, 2) for s in ("pai", "mustang", "azure")],
    ("Acme", Acme, 90, 0.5),
    *[(f"Pollux {k}", lambda d, k=k: Pollux(d, workload=k), 8 / 24, 0.03) for k in range(1, 9)],
    *[(f"Sia philly {k}", lambda d, k=k: Sia(d, workload=f"philly/workload-{k}"), 8 / 24, 0.03) for k in range(1, 9)],
    *[(f"Sia newtrace {k}", lambda d, k=k: Sia(d, workload=f"newtrace/workload-{k}"), 2, 0.02) for k in range(1, 6)],
    *[(f"Sia scale_8x {k}", lambda d, k=k: Sia(d, workload=f"scale_8x/workload-{k}"), 8 / 24, 0.02) for k in (1, 2)],
    ("Azure LLM", AzureLlm, 3502 / DAY_S, 1e-5),  # 18:15:46 to 19:14:08
    ("Azure LLM, Vidur's", Vidur, 3502 / DAY_S, 1e-5),
    ("Mooncake", Mooncake, 1 / 24, 0.002),
    ("Alibaba GenAI", AlibabaGenai, 23.5, 0.6),  # 2024-11-15 to 2024-12-08
    ("SkyPilot 2023-02", lambda d: SpotSkypilot(d, trace=SKYPILOT.format("02-15-2023")), 45.5, 0.05),
    ("SkyPilot 2022-10", lambda d: SpotSkypilot(d, trace=SKYPILOT.format("10-26-2022")), 27.0, 0.05),
    ("SkyPilot V100", lambda d: SpotSkypilot(d, trace="preemption/1-node/aws-04-22-2023/us-east-1f_v100_1"), 7.4, 0.05),
    ("SkyPilot r5", lambda d: SpotSkypilot(d, trace="preemption/1-node/aws-04-19-2023/us-east-1b_intel_64"), 6.3, 0.05),
    ("SkyPilot c3", lambda d: SpotSkypilot(d, trace="preemption/1-node/gcp-04-30-2023/us-east1-b_c3-88"), 1.9, 0.05),
    ("spot strategy", SpotStrategy, 27.0, 0.1),
    ("Bamboo p3", Bamboo, 11.4 / 24, 0.005),
    ("Bamboo g4dn", lambda d: Bamboo(d, trace="g4dn"), 10.6 / 24, 0.005),
]


@pytest.mark.parametrize(("source", "span", "off"), [row[1:] for row in SPANS], ids=[row[0] for row in SPANS])
def test_spans(shared_traces: Path, source: Callable[[str], Source], span: float, off: float) -> None:
    assert days(source(str(shared_traces)).read().frame) == pytest.approx(span, abs=off)


#: Name, source, first and last day or minute.
DATES: list[tuple[str, Callable[[str], Source], str, str]] = [
    ("Helios Earth", HeliosEarth, "2020-05-01 00:00", "2020-05-31 23:59"),
    ("Philly's nodes", PhillyNodes, "2017-10-03", "2017-12-15"),
    ("Venus", LucidVenus, "2020-04-01", "2020-09-28"),
    ("AWS price history", AwsPriceHistory, "2022-05-31 18:20", "2022-05-31 23:59"),
    ("SpotLake", SpotlakeAzure, "2022-08-04", "2022-08-04"),
    ("GPU prices", GpuPrices, "2026-02-11", "2026-06-28"),
    ("p5", AwsP5, "2025-04-23", "2026-08-22"),
    ("spot strategy", SpotStrategy, "2022-10-26", "2022-11-22"),
    ("a dime", TrainingOnADime, "2019-12-22", "2020-02-20"),
    *[
        (f"Let's Wait Awhile {z}", lambda d, z=z: CarbonLetsWaitAwhile(d, zone=z), "2019-12-20", "2021-01-09")
        for z in ("DE", "FR", "GB")
    ],
    *[
        (f"OpenDC {z}", lambda d, z=z: CarbonOpendc(d, zone=z), "2022-01-01 00", "2022-12-30 23")
        for z in ("BE", "FR", "DE", "NL")
    ],
    *[(f"OpenDC {z}", lambda d, z=z: CarbonOpendc(d, zone=z), "2021-01-01 00", "2024-12-31 23") for z in ("AT", "AU")],
    *[
        (f"Electricity Maps {y}", lambda d, y=y: CarbonElectricitymaps(d, year=y), f"{y}-01-01 00", f"{y}-12-31 23")
        for y in (2021, 2022, 2023)
    ],
]


@pytest.mark.parametrize(("source", "first", "last"), [row[1:] for row in DATES], ids=[row[0] for row in DATES])
def test_dates(shared_traces: Path, source: Callable[[str], Source], first: str, last: str) -> None:
    form = {10: "%Y-%m-%d", 13: "%Y-%m-%d %H", 16: "%Y-%m-%d %H:%M"}[len(first)]
    assert dates(source(str(shared_traces)).read().frame, form) == (first, last)


def test_philly(shared_traces: Path) -> None:
    frame = Philly(str(shared_traces)).read().frame
    assert frame["tenant"].nunique() == 15
    assert frame.drop(columns="id").duplicated().sum() == 65
    assert (frame["gpus"].min(), frame["gpus"].max()) == (1, 128)
    assert (frame["gpus"] == 1).mean() == pytest.approx(0.93, abs=0.005)
    assert frame["duration_s"].min() == 1 and frame["duration_s"].max() / DAY_S == pytest.approx(53.6, abs=0.05)
    assert not frame["arrival_s"].is_monotonic_increasing


@pytest.mark.parametrize("cluster", ["01", "02", "03", "04", "05", "06", "07", "10"])
def test_itp(shared_traces: Path, cluster: str) -> None:
    frame = Itp(str(shared_traces), cluster=cluster).read().frame
    with (shared_traces / f"dl_jobs/elasticflow_itp/raw-traces/cluster{cluster}.csv").open() as file:
        submitted = [float(row["submission_time"]) for row in csv.DictReader(file)]
    assert 56 < max(submitted) / DAY_S < 60
    assert days(frame) * DAY_S == max(submitted) - min(submitted)
    assert round(days(frame)) == {"01": 34, "03": 49, "10": 33, "04": 59, "05": 59, "07": 59}.get(cluster, 60)
    assert frame["arrival_s"].is_monotonic_increasing and frame["duration_s"].min() >= 600
    assert frame["gpus"].between(1, 64).all()


@pytest.mark.parametrize(
    ("name", "jobs", "processors", "span", "without"),
    [("LLNL-Atlas-2006-2.1-cln", 43_778, 9_216, 231, 4_588), ("NASA-iPSC-1993-3.1-cln", 18_239, 128, 92, 0)],
)
def test_swf(shared_traces: Path, name: str, jobs: int, processors: int, span: int, without: int) -> None:
    path = shared_traces / SWF.format(name)
    with gzip.open(path, "rt") as file:
        rows = [[float(cell) for cell in line.split()] for line in file if not line.startswith(";")]
    table = Swf(path=str(path)).read()
    assert len(rows) == jobs == len(table) + sum(each.count for each in table.dropped)
    assert table.frame["gpus"].max() <= processors
    assert {row[2] for row in rows} == {-1}  # no wait is known
    assert sum(row[4] == -1 for row in rows) == without
    assert round(max(row[1] for row in rows) / DAY_S) == span
    used = [row for row in rows if row[3] >= 0 and max(row[4], row[7]) > 0]
    assert table.frame["arrival_s"].tolist() == [row[1] - used[0][1] for row in used]


def test_mooncakes_hashes_are_one_per_block_of_512_tokens(shared_traces: Path) -> None:
    frame = Mooncake(str(shared_traces)).read().frame
    blocks = frame["hash_ids"].map(len).to_numpy()
    assert np.array_equal(blocks, -(-frame["prompt_tokens"].to_numpy() // 512))
    assert frame["arrival_s"].is_monotonic_increasing and frame["arrival_s"].duplicated().sum() > 1000


def test_skypilots_traces(shared_traces: Path) -> None:
    folder = shared_traces / "spot/skypilot_spot_traces"
    names = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.json"))
    frames: dict[str, Any] = {name: SpotSkypilot(str(shared_traces), trace=name).read().frame for name in names}
    ticks = {name: np.unique(np.diff(frame["time_s"])).round(6).tolist() for name, frame in frames.items()}
    for part, gap_s, count in (
        ("aws-02-15-2023", 195, 20_158),
        ("aws-10-26-2022", 600, 3_895),
        ("aws-04-22-2023", 32, 19_961),
        ("aws-04-19-2023", 34, 16_090),
        ("gcp-04-30-2023", 30, 5_476),
    ):
        mine = [name for name in names if part in name]
        assert mine and all(len(frames[name]) == count and ticks[name] == [gap_s] for name in mine)
    sixteen = [frames[name] for name in names if "16-node" in name]
    assert [round(days(frame)) for frame in sixteen] == [11, 16, 16] and max(f["nodes"].max() for f in sixteen) == 16
    assert sum("aws-02-15-2023" in name for name in names) == 7
    google = [frames[name]["nodes"].tolist() for name in names if "gcp-" in name]
    assert len(google) == 4 and len({tuple(nodes) for nodes in google}) == 2  # three are the same
    assert sum("usd_per_h" in frame for frame in frames.values()) == 6


def test_aws_price_history(shared_traces: Path) -> None:
    frame = AwsPriceHistory(str(shared_traces)).read().frame
    assert frame["instance"].nunique() == 509
    products = ("Linux/UNIX", "Red Hat Enterprise Linux", "SUSE Linux", "Windows")
    counts = [len(AwsPriceHistory(str(shared_traces), product=product).read()) for product in products]
    assert sum(counts) == 33_362


def test_azure_and_a_dime(shared_traces: Path) -> None:
    regions = [path.name for path in (shared_traces / "spot/training_on_a_dime/aws/cost").iterdir()]
    assert len(regions) == 5
    seen = [
        TrainingOnADime(str(shared_traces), region=region, instance="p3.2xlarge").read().frame for region in regions
    ]
    assert all(set(frame["gpu"]) == {"V100"} and frame["usd_per_h"].between(0.5, 5).all() for frame in seen)
    spotlake = SpotlakeAzure(str(shared_traces)).read().frame
    pairs = spotlake[spotlake["market"] == "spot"]
    assert len(pairs) == 16_798 and not pairs.duplicated(["instance", "place"]).any()
    # a spot machine is not dearer than the same on demand
    prices = spotlake.set_index(["instance", "place", "market"])["usd_per_h"].unstack()
    assert (prices["spot"] <= prices["on_demand"] * 1.001).mean() > 0.99


def test_notes_are_kept_with_a_table(shared_traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCSIM_CACHE", str(tmp_path))
    monkeypatch.setattr("hcsim.traces._cache.LEAST_BYTES", 1)
    source = GpuPrices(str(shared_traces))
    first, again = source.table(), source.table()
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    assert first.notes and again.notes == first.notes and again.told == first.told == source.read().told
    assert again.frame.equals(first.frame) and np.array_equal(again.rows, first.rows)
