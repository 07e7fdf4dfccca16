"""Google's GPU machines by the month, February 2022 to January 2026: 28,495 prices, on demand and spot, 40 regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._gpus import of_instances
from hcsim.traces._places import places
from hcsim.traces._table import Source, Table, checked, left_out


@dataclass(frozen=True)
class GcpPricing(Source):
    """Monthly extracts of Google's price list for the machine families with GPUs. Spot prices are in it since 2023-06.

    A price is listed also where the machine is not offered. GPUs are from the machines' names (those of a2-highgpu
    are A100 of 40 GB, of a2-ultragpu of 80). Rows without a price for a market are left out and counted.
    """

    kind = "prices"

    def read(self) -> Table:
        """A row per machine, region, month and market."""
        path = self.file("prices/gcp_pricing_yml/derived_gpu_prices_monthly.csv.gz")
        kinds = {"commit_date": pa.date32(), "instance_type": pa.string(), "region": pa.string()}
        number = ("hour_usd", "hour_spot_usd")
        table = read_csv(path, kinds | dict.fromkeys(number, pa.float64()), nullable=number)
        read = table.to_pandas()
        read["time_s"] = table["commit_date"].to_numpy().astype("datetime64[s]").astype(np.int64)
        line = np.arange(2, len(read) + 2)
        markets = (("on_demand", "hour_usd"), ("spot", "hour_spot_usd"))
        frame = pd.concat([read.assign(market=m, usd_per_h=read[column]) for m, column in markets], ignore_index=True)
        rows = np.concatenate([line, line])
        keep = frame["usd_per_h"].notna().to_numpy()
        frame = frame[keep].reset_index(drop=True)
        gpu, gpus = of_instances("gcp", frame["instance_type"])
        return checked(
            "prices",
            {
                "time_s": frame["time_s"],
                "provider": np.full(len(frame), "gcp"),
                "place": places("gcp", frame["region"]),
                "instance": frame["instance_type"],
                "gpu": gpu,
                "gpus": gpus,
                "market": frame["market"].astype("str"),
                "usd_per_h": frame["usd_per_h"],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "no price for that market"),
        )
