"""SkyPilot's first price catalogues: AWS in four US regions (2021), Google's accelerators by zone (2022)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import header, read_csv
from hcsim.traces._gpus import named
from hcsim.traces._places import places
from hcsim.traces._table import Source, Table, checked, left_out

DATES = {"aws": "2021-11-10", "gcp": "2022-06-24"}


@dataclass(frozen=True)
class SkypilotCatalog(Source):
    """Google's prices are of the accelerators alone, without the machine. Offers without a price are left out, counted.
    What it calls A100 is the smaller of 40 GB, the only one that either cloud had then; TPUs keep their names.

    Args:
        provider: ``aws`` (on demand) or ``gcp`` (on demand and spot, the default); of a file given by ``path`` its
            columns say it, and its day is not known.
    """

    kind = "prices"

    provider: str = ""

    def read(self) -> Table:
        """A row per offer and market."""
        provider = self.said("provider", "gcp", self.path and _provider(Path(self.path)))
        if provider not in DATES:
            raise InputError(f"trace.provider: no provider '{provider}'; {nearest(provider, list(DATES))}")
        name = "aws.csv.gz" if provider == "aws" else "gcp.csv"
        path = self.file(f"prices/skypilot_catalog_2021_2022/{name}")
        if provider == "aws":
            text, number = ("InstanceType", "Region", "GpuName"), ("PricePerHour", "GpuCount")
            kinds = dict.fromkeys(text, pa.string()) | dict.fromkeys(number, pa.float64())
            frame = read_csv(path, kinds, nullable=("GpuName", "GpuCount", "PricePerHour")).to_pandas()
            frame.columns = pd.Index(["instance", "place", "gpu", "usd_per_h", "gpus"])
            frame["market"] = "on_demand"
            rows = np.arange(2, len(frame) + 2)
        else:
            prices = ("AcceleratorCount", "Price", "SpotPrice")
            kinds = {"AcceleratorName": pa.string(), "AvailabilityZone": pa.string()} | dict.fromkeys(
                prices, pa.float64()
            )
            read = read_csv(path, kinds, nullable=prices).to_pandas()
            read.columns = pd.Index(["gpu", "place", "gpus", "on_demand", "spot"])
            read["instance"] = ""
            line = np.arange(2, len(read) + 2)
            frame = pd.concat(
                [read.assign(market=market, usd_per_h=read[market]) for market in ("on_demand", "spot")],
                ignore_index=True,
            )
            rows = np.concatenate([line, line])
        keep = frame["usd_per_h"].notna().to_numpy()
        frame = frame[keep].reset_index(drop=True)
        day_s = float(np.datetime64(DATES[provider], "s").astype(np.int64))
        return checked(
            "prices",
            {
                "time_s": np.full(len(frame), np.nan if self.path else day_s),
                "provider": np.full(len(frame), provider),
                "place": places(provider, frame["place"]),
                "instance": frame["instance"].astype("str"),
                "gpu": named(frame["gpu"].fillna("")).replace("A100", "A100-40GB"),
                "gpus": frame["gpus"].fillna(0.0),
                "market": frame["market"].astype("str"),
                "usd_per_h": frame["usd_per_h"],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "no price"),
        )


def _provider(path: Path) -> str:
    """Whose catalogue has these columns: AWS's lists machines, Google's accelerators."""
    return "gcp" if "AcceleratorName" in header(path) else "aws"
