"""Latency between 34 regions of Google's cloud, 1,122 ordered pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked


@dataclass(frozen=True)
class GcpLatency(Source):
    """The file's column is called milliseconds and is taken as a round trip; it gives no throughput and no price."""

    kind = "links"

    def read(self) -> Table:
        """The pairs in the file's order, places as ``gcp:region``."""
        path = self.file("network/gcp_latency/raw_gcp_latency.csv")
        text = ("sending_region", "receiving_region")
        frame = read_csv(path, dict.fromkeys(text, pa.string()) | {"milliseconds": pa.float64()}).to_pandas()
        unknown = np.full(len(frame), np.nan)
        return checked(
            "links",
            {
                "source": "gcp:" + frame["sending_region"],
                "target": "gcp:" + frame["receiving_region"],
                "bytes_per_s": unknown,
                "rtt_s": frame["milliseconds"] / 1e3,
                "usd_per_gb": unknown,
            },
            str(path),
        )
