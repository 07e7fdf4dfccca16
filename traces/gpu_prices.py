"""GPU list prices of 2026 from 43 providers by the day, and of p5.48xlarge since 2025."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv, seconds
from hcsim.traces._table import Source, Table, checked, left_out


@dataclass(frozen=True)
class GpuPrices(Source):
    """Daily observations, 2026-02-11 to 2026-06-28. The file's prices are per GPU; here they are of the whole offer.

    Regions are in the providers' own words. The source of the figures changes on 2026-05-08.

    Args:
        which: of an offer's prices that day, ``min``, ``median`` or ``max``.
    """

    kind = "prices"

    which: str = "median"

    def read(self) -> Table:
        """The observations in the file's order."""
        path = self.file("prices/gpu_cloud_observations_2026/observations.csv.gz")
        price = f"price_{self.which}_usd"
        text = ("provider", "gpu_model", "region", "rental_type")
        kinds = dict.fromkeys(text, pa.string()) | {"date": pa.date32(), "gpu_count": pa.float64(), price: pa.float64()}
        table = read_csv(path, kinds, nullable=("region",))
        frame = table.to_pandas()
        days = table["date"].to_numpy().astype("datetime64[s]").astype(np.int64)
        return checked(
            "prices",
            {
                "time_s": days,
                "provider": frame["provider"],
                "place": frame["region"].fillna(""),
                "instance": frame["gpu_model"] + "x" + frame["gpu_count"].map("{:g}".format),
                "gpu": frame["gpu_model"],
                "gpus": frame["gpu_count"],
                "market": frame["rental_type"],
                "usd_per_h": frame[price] * frame["gpu_count"],
            },
            str(path),
        )


@dataclass(frozen=True)
class AwsP5(Source):
    """p5.48xlarge (8 H100), USD per hour on demand, 2025-04-23 to 2026-08-22. Backfilled days without a price are left
    out and counted."""

    kind = "prices"

    def read(self) -> Table:
        """The days in the file's order."""
        path = self.file("prices/aws_p5_daily/gpu_prices.csv")
        kinds = {"timestamp": pa.string(), "instance": pa.string(), "price_usd": pa.float64()}
        table = read_csv(path, kinds, nullable=("price_usd",))
        frame = table.to_pandas()
        rows = np.arange(2, len(frame) + 2)
        keep = frame["price_usd"].notna().to_numpy()
        frame = frame[keep].reset_index(drop=True)
        return checked(
            "prices",
            {
                "time_s": seconds(path, frame["timestamp"], rows[keep]),
                "provider": np.full(len(frame), "aws"),
                "place": np.full(len(frame), ""),
                "instance": frame["instance"],
                "gpu": np.full(len(frame), "H100"),
                "gpus": np.full(len(frame), 8.0),
                "market": np.full(len(frame), "on_demand"),
                "usd_per_h": frame["price_usd"],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "a backfilled day without a price"),
        )
