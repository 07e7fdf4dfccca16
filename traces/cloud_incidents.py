"""Incidents of AWS, Azure and Google as they reported them in 2018 and 2019 (Cloud Uptime Archive)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_parquet
from hcsim.traces._table import Source, Table, checked, left_out


@dataclass(frozen=True)
class CloudIncidents(Source):
    """A row per incident, UTC. Places are display names of regions, also "Multi-region" and "Unknown".

    Incidents that end before they begin (two of 2019) are left out and counted.

    Args:
        year: 2018 or 2019.
    """

    kind = "failures"

    year: int = 2019

    def read(self) -> Table:
        """The incidents in the file's order."""
        path = self.file(f"failures/cloud_uptime_archive/{self.year}_fixed_infra_cloud.parquet")
        text = ("service_name", "location", "vendor")
        times = ("event_start_time", "event_end_time")
        kinds = dict.fromkeys(text, pa.string()) | dict.fromkeys(times, pa.timestamp("ms"))
        frame = read_parquet(path, kinds).to_pandas()
        start, end = (frame[name].to_numpy().astype("datetime64[s]").astype(np.int64) for name in times)
        rows = np.arange(1, len(frame) + 1)
        keep = end >= start
        frame = frame[keep].reset_index(drop=True)
        return checked(
            "failures",
            {
                "entity": frame["vendor"].fillna(""),
                "start_s": start[keep],
                "end_s": end[keep],
                "event": frame["service_name"].fillna(""),
                "place": frame["location"].fillna(""),
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "ends before it begins"),
        )
