"""GPU list prices of 2026 from 43 providers by the day, and of p5.48xlarge since 2025."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import read_csv, seconds
from hcsim.traces._gpus import named
from hcsim.traces._places import provider_code
from hcsim.traces._table import Source, Table, checked, left_out, written

DAY_S = 86400.0


#: Until its run of 2026-02-18 09:00 UTC the collector wrote prices of the whole offer, from that of 21:00 on per GPU.
CHANGE_S = float(np.datetime64("2026-02-18T12:00", "s").astype(np.int64))
#: Above this a price per GPU-hour is no offer (the dearest list price of these models is 16 USD).
MOST_USD_PER_GPU_H = 30.0


@dataclass(frozen=True)
class GpuPrices(Source):
    """Daily observations, 2026-02-11 to 2026-06-28, here as prices of the whole offer.

    The file's prices are per GPU, but not those fetched before the evening of 2026-02-18: these are of the whole offer
    (8 H100 of AWS are 55.04 the day before and 6.88 the day after; of 158 offers of several GPUs that are there on both
    sides, 155 change by their number of GPUs, three of a marketplace do not compare). On the 18th itself a row of an
    offer that was there the day before joins a price of either kind; such rows are left out and counted, as are asks
    above 30 USD per GPU-hour, which only a marketplace has.

    Regions are in the providers' own words, after the provider's name. ``gpu`` is the model without its form factor;
    ``instance`` has the file's name of it (``H100_SXMx8``). The source of the figures changes on 2026-05-08.

    Args:
        which: of an offer's prices that day, ``min``, ``median`` or ``max``.
    """

    kind = "prices"

    which: str = "median"

    def read(self) -> Table:
        """The observations in the file's order."""
        if self.which not in ("min", "median", "max"):
            raise InputError(f"trace.which is '{self.which}', expected 'min', 'median' or 'max'")
        path = self.file("prices/gpu_cloud_observations_2026/observations.csv.gz")
        price = f"price_{self.which}_usd"
        offer = ["provider", "gpu_model", "region", "rental_type", "gpu_count"]
        kinds = dict.fromkeys((*offer[:4], "fetched_at"), pa.string())
        table = read_csv(
            path, {**kinds, "date": pa.date32(), "gpu_count": pa.float64(), price: pa.float64()}, nullable=("region",)
        )
        frame = table.to_pandas().fillna({"region": ""})
        rows = np.arange(2, len(frame) + 2)
        days = table["date"].to_numpy().astype("datetime64[s]").astype(np.int64)
        whole = seconds(path, frame["fetched_at"], rows) < CHANGE_S
        before = (days < CHANGE_S // DAY_S * DAY_S) & (days >= CHANGE_S // DAY_S * DAY_S - DAY_S)
        known = frame[before][offer].drop_duplicates()
        there = frame[offer].merge(known, on=offer, how="left", indicator=True)["_merge"].to_numpy() == "both"
        several = frame["gpu_count"].to_numpy() > 1
        joined = (days == CHANGE_S // DAY_S * DAY_S) & ~whole & there & several
        usd_per_h = frame[price].to_numpy() * np.where(whole, 1.0, frame["gpu_count"])
        dear = (usd_per_h > MOST_USD_PER_GPU_H * frame["gpu_count"].to_numpy()) & ~joined
        keep = ~joined & ~dear
        frame = frame[keep].reset_index(drop=True)
        places_ = frame["provider"].map(provider_code) + (":" + frame["region"]).where(frame["region"] != "", "")
        early = int((whole & several).sum())
        note = (
            f"{early:,} prices fetched before 2026-02-18 12:00 are of the whole offer in the file, all others per GPU"
        )
        return checked(
            "prices",
            {
                "time_s": days[keep],
                "provider": frame["provider"],
                "place": places_,
                "instance": frame["gpu_model"] + "x" + written(frame["gpu_count"], "{:g}"),
                "gpu": named(frame["gpu_model"]),
                "gpus": frame["gpu_count"],
                "market": frame["rental_type"],
                "usd_per_h": usd_per_h[keep],
            },
            str(path),
            rows[keep],
            left_out(~joined, rows, "joins prices per GPU and of the whole offer")
            + left_out(~dear, rows, f"more than {MOST_USD_PER_GPU_H:g} USD per GPU-hour"),
            (note,) if early else (),
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
                "place": np.full(len(frame), "aws"),
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
