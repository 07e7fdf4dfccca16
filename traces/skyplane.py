"""Skyplane (NSDI'23): throughput, round trips and egress prices between regions of AWS, Azure and Google, 2022."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import read_csv
from hcsim.traces._places import places
from hcsim.traces._schemas import TIERS
from hcsim.traces._table import Dropped, Source, Table, checked, left_out

FOLDER = "network/skyplane"
PAIR = ["source", "target"]
ENDS, TIER = ("src_region", "dst_region"), ("src_tier", "dst_tier")


@dataclass(frozen=True)
class Skyplane(Source):
    """A row per ordered pair of regions, named ``cloud:region``; what was not measured for a pair is missing.

    The three tables of :class:`SkyplaneThroughput`, :class:`SkyplaneRtt` and :class:`SkyplaneCost` joined for one
    network tier. Measurements of the other tier are left out, and of several of one pair the median stands; both are
    counted. A row's number is that of its first measurement in ``throughput.csv.gz``, else in ``latency.csv``, else in
    ``cost.csv``.

    Args:
        tier: of Google's ends, ``premium`` (its own network) or ``standard`` (the internet; throughput differs up to 56
            times). AWS and Azure have none; the file calls theirs premium.
        path: the folder with ``throughput.csv.gz``, ``latency.csv`` and ``cost.csv`` (default: in the data folder).
    """

    kind = "links"

    tier: str = "premium"

    def read(self) -> Table:
        """The pairs, sorted."""
        if self.tier not in TIERS:
            raise InputError(f"trace.tier is '{self.tier}', expected {' or '.join(TIERS)}")
        folder = Path(self.path) if self.path else self.file(f"{FOLDER}/cost.csv").parent
        if not folder.is_dir():
            raise InputError(f"{folder}: expected a folder with throughput.csv.gz, latency.csv and cost.csv")
        tables = [
            ("bytes_per_s", SkyplaneThroughput(path=str(folder / "throughput.csv.gz")).read()),
            ("rtt_s", SkyplaneRtt(path=str(folder / "latency.csv")).read()),
            ("usd_per_gb", SkyplaneCost(path=str(folder / "cost.csv")).read()),
        ]
        parts, dropped = [], []
        for name, table in tables:
            part, left = self._pairs(table, name)
            parts.append(part)
            dropped += left
        frame = pd.concat(parts, axis=1).sort_index().reset_index()
        rows = frame[["row of bytes_per_s", "row of rtt_s", "row of usd_per_gb"]].bfill(axis=1).iloc[:, 0]
        return checked(
            "links",
            {name: frame[name] for name in (*PAIR, "bytes_per_s", "rtt_s", "usd_per_gb")},
            str(folder),
            rows.to_numpy(dtype=np.int64),
            tuple(dropped),
        )

    def _pairs(self, table: Table, value: str) -> tuple[Any, list[Dropped]]:
        """Median and first row of each pair at the tier, and what of the table that leaves out."""
        frame = table.frame.assign(row=table.rows)
        mine = np.ones(len(frame), bool)
        for end in PAIR:
            if f"{end}_tier" in frame:
                google = frame[end].str.startswith("gcp:")
                mine &= (frame[f"{end}_tier"] == np.where(google, self.tier, "premium")).to_numpy()
        name = Path(table.source).name
        dropped = list(left_out(mine, table.rows, f"{name}: of another network tier"))
        again = ~frame[mine].duplicated(PAIR).to_numpy()
        dropped += left_out(again, table.rows[mine], f"{name}: a pair that was measured before; the median stands")
        found = frame[mine].groupby(PAIR).agg(**{value: (value, "median"), f"row of {value}": ("row", "first")})
        return found, dropped


@dataclass(frozen=True)
class SkyplaneThroughput(Source):
    """A row per measurement: what was received over 64 connections (bits per second in the file), with the network tier
    of each end. 80 pairs of ends and tiers were measured twice and 44 rows are a region to itself; all are kept.

    Google's zones lose their letter, so that its tables meet.

    Args:
        within_gcp: the later measurements between 27 regions of Google (April 2022), for which no tier is given.
    """

    kind = "links"

    within_gcp: bool = False

    def read(self) -> Table:
        """The measurements in the file's order."""
        path = self.file(f"{FOLDER}/{'gcp_intracloud_throughput.csv' if self.within_gcp else 'throughput.csv.gz'}")
        names = ("throughput_received", "throughput_recieved")  # as the later file spells it
        text = dict.fromkeys((*ENDS, *TIER), pa.string())
        frame = read_csv(path, text | dict.fromkeys(names, pa.float64()), optional=names, nullable=TIER).to_pandas()
        named = [name for name in names if name in frame]
        if not named:
            raise InputError(f"{path}: row 1: column '{names[0]}' is missing")
        return _links(path, frame, bytes_per_s=frame[named[0]] / 8.0)


@dataclass(frozen=True)
class SkyplaneRtt(Source):
    """A row per ordered pair of regions and network tiers: the mean round trip of pings (ms in the file)."""

    kind = "links"

    def read(self) -> Table:
        """The measurements in the file's order."""
        path = self.file(f"{FOLDER}/latency.csv")
        kinds = dict.fromkeys((*ENDS, *TIER), pa.string()) | {"avg_rtt": pa.float64()}
        frame = read_csv(path, kinds, nullable=TIER).to_pandas()
        return _links(path, frame, rtt_s=frame["avg_rtt"] / 1e3)


@dataclass(frozen=True)
class SkyplaneCost(Source):
    """A row per ordered pair of regions: the list price of egress, USD per GB.

    Args:
        aws: the finer list of AWS alone, whose targets are its regions and ``internet``.
    """

    kind = "links"

    aws: bool = False

    def read(self) -> Table:
        """The prices in the file's order."""
        path = self.file(f"{FOLDER}/{'aws_transfer_costs.csv' if self.aws else 'cost.csv'}")
        ends = ("src", "dst") if self.aws else ("src", "dest")
        frame = read_csv(path, dict.fromkeys(ends, pa.string()) | {"cost": pa.float64()}).to_pandas()
        frame.columns = pd.Index([*ENDS, "cost"])
        if self.aws:
            for end in ENDS:
                frame[end] = places("aws", frame[end]).where(frame[end] != "internet", "internet")
        return _links(path, frame, usd_per_gb=frame["cost"])


def _links(path: Path, frame: pd.DataFrame, **value: Any) -> Table:
    """A table of links with one of the three values; the others are missing."""
    unknown = np.full(len(frame), np.nan)
    ends = [
        frame[end].where(~frame[end].str.startswith("gcp:"), frame[end].str.replace(r"-[a-f]$", "", regex=True))
        for end in ENDS
    ]
    tiered = TIER[0] in frame and frame[TIER[0]].fillna("").ne("").all()
    tiers = [frame[tier].str.lower() if tiered else None for tier in TIER]
    return checked(
        "links",
        {
            "source": ends[0],
            "target": ends[1],
            "bytes_per_s": value.get("bytes_per_s", unknown),
            "rtt_s": value.get("rtt_s", unknown),
            "usd_per_gb": value.get("usd_per_gb", unknown),
            "source_tier": tiers[0],
            "target_tier": tiers[1],
        },
        str(path),
    )


@dataclass(frozen=True)
class SkyplaneMachines(Source):
    """The 34 machine types that Skyplane may start, with their vCPUs; memory is not given. None has a GPU."""

    kind = "nodes"

    def read(self) -> Table:
        """The types in the file's order."""
        path = self.file(f"{FOLDER}/vcpu_info.csv")
        text = ("instance_name", "cloud_provider")
        frame = read_csv(path, dict.fromkeys(text, pa.string()) | {"vcpu_cost": pa.float64()}).to_pandas()
        return checked(
            "nodes",
            {
                "gpu": np.full(len(frame), ""),
                "gpus": np.zeros(len(frame), np.int64),
                "cpus": frame["vcpu_cost"],
                "ram_bytes": np.full(len(frame), np.nan),
                "nodes": np.ones(len(frame), np.int64),
                "place": frame["cloud_provider"],
                "instance": frame["instance_name"],
            },
            str(path),
        )
