"""AWS spot prices of all regions and types on the evening of 2022-05-31, 33,362 changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv, seconds
from hcsim.traces._gpus import of_instances
from hcsim.traces._places import places
from hcsim.traces._table import Source, Table, checked, left_out


@dataclass(frozen=True)
class AwsPriceHistory(Source):
    """Headerless TSV: availability zone, type, product, USD per hour, time. Rows of other products are left out and
    counted. Zones are AWS's zone ids (``use1-az4``), which mean the same for every account.

    Args:
        product: the operating system that is paid with the instance.
    """

    kind = "prices"

    product: str = "Linux/UNIX"

    def read(self) -> Table:
        """The changes in the file's order; the instance's GPUs are from its type's name."""
        path = self.file("spot/aws_spot_price_history/05.tsv.zst")
        text = ("place", "instance", "product", "time")
        kinds = dict.fromkeys(text, pa.string()) | {"usd_per_h": pa.float64()}
        table = read_csv(path, kinds, delimiter="\t", names=("place", "instance", "product", "usd_per_h", "time"))
        frame = table.to_pandas()
        rows = np.arange(1, len(frame) + 1)
        keep = (frame["product"] == self.product).to_numpy()
        frame = frame[keep].reset_index(drop=True)
        gpu, gpus = of_instances("aws", frame["instance"])
        return checked(
            "prices",
            {
                "time_s": seconds(path, frame["time"], rows[keep]),
                "provider": np.full(len(frame), "aws"),
                "place": places("aws", frame["place"]),
                "instance": frame["instance"],
                "gpu": gpu,
                "gpus": gpus,
                "market": np.full(len(frame), "spot"),
                "usd_per_h": frame["usd_per_h"],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, f"product is not {self.product}"),
        )
