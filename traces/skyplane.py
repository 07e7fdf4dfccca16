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
from hcsim.traces._table import Source, Table, checked

FOLDER = "network/skyplane"
PAIR = ["source", "target"]


@dataclass(frozen=True)
class Skyplane(Source):
    """A row per ordered pair of regions, named ``cloud:region``; what was not measured for a pair is missing.

    Throughput is what was received over 64 connections (bits per second in the file); round trips are the mean, ms in
    the file; prices are list prices, USD per GB. Of repeated pairs (both network tiers, several runs) the fastest
    throughput and the shortest round trip stand. Google's zones lose their letter, so that the three tables meet.

    Args:
        path: the folder with ``throughput.csv.gz``, ``latency.csv`` and ``cost.csv`` (default: in the data folder).
    """

    kind = "links"

    def read(self) -> Table:
        """The pairs, sorted."""
        folder = Path(self.path) if self.path else self.file(f"{FOLDER}/cost.csv").parent
        if not folder.is_dir():
            raise InputError(f"{folder}: expected a folder with throughput.csv.gz, latency.csv and cost.csv")
        rate = self._pairs(folder / "throughput.csv.gz", ("src_region", "dst_region"), "throughput_received", "max")
        rtt = self._pairs(folder / "latency.csv", ("src_region", "dst_region"), "avg_rtt", "min")
        cost = self._pairs(folder / "cost.csv", ("src", "dest"), "cost", "min")
        frame = pd.concat([rate, rtt, cost], axis=1).sort_index().reset_index()
        return checked(
            "links",
            {
                "source": frame["source"],
                "target": frame["target"],
                "bytes_per_s": frame["throughput_received"] / 8.0,
                "rtt_s": frame["avg_rtt"] / 1e3,
                "usd_per_gb": frame["cost"],
            },
            str(folder),
        )

    def _pairs(self, path: Path, ends: tuple[str, str], value: str, keep: str) -> Any:
        kinds = dict.fromkeys(ends, pa.string()) | {value: pa.float64()}
        frame = read_csv(path, kinds, nullable=(value,)).to_pandas()
        frame.columns = pd.Index([*PAIR, value])
        for end in PAIR:
            google = frame[end].str.startswith("gcp:") & frame[end].str.contains(r"-[a-f]$")
            frame[end] = np.where(google, frame[end].str.replace(r"-[a-f]$", "", regex=True), frame[end])
        grouped = frame.groupby(PAIR)[value]
        return grouped.max() if keep == "max" else grouped.min()
