"""AWS spot prices of all regions and types on the evening of 2022-05-31, 33,362 changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv, seconds
from hcsim.traces._table import Source, Table, checked, left_out

#: Accelerators of the instance families that have some: type -> (GPU, count). Others have none.
GPUS = {
    "p2.xlarge": ("K80", 1), "p2.8xlarge": ("K80", 8), "p2.16xlarge": ("K80", 16),
    "p3.2xlarge": ("V100", 1), "p3.8xlarge": ("V100", 4), "p3.16xlarge": ("V100", 8), "p3dn.24xlarge": ("V100", 8),
    "p4d.24xlarge": ("A100", 8), "p4de.24xlarge": ("A100", 8), "p5.48xlarge": ("H100", 8),
    "g4dn.xlarge": ("T4", 1), "g4dn.2xlarge": ("T4", 1), "g4dn.4xlarge": ("T4", 1), "g4dn.8xlarge": ("T4", 1),
    "g4dn.16xlarge": ("T4", 1), "g4dn.12xlarge": ("T4", 4), "g4dn.metal": ("T4", 8),
    "g5.xlarge": ("A10", 1), "g5.2xlarge": ("A10", 1), "g5.4xlarge": ("A10", 1), "g5.8xlarge": ("A10", 1),
    "g5.16xlarge": ("A10", 1), "g5.12xlarge": ("A10", 4), "g5.24xlarge": ("A10", 4), "g5.48xlarge": ("A10", 8),
}  # fmt: skip


@dataclass(frozen=True)
class AwsPriceHistory(Source):
    """Headerless TSV: availability zone, type, product, USD per hour, time. Rows of other products are left out.

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
        return checked(
            "prices",
            {
                "time_s": seconds(path, frame["time"], rows[keep]),
                "provider": np.full(len(frame), "aws"),
                "place": frame["place"],
                "instance": frame["instance"],
                "gpu": frame["instance"].map({name: gpu for name, (gpu, _) in GPUS.items()}).fillna("").astype("str"),
                "gpus": frame["instance"].map({name: count for name, (_, count) in GPUS.items()}).fillna(0.0),
                "market": np.full(len(frame), "spot"),
                "usd_per_h": frame["usd_per_h"],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, f"product is not {self.product}"),
        )
