"""Incidents of AWS, Azure and Google in 2018 and 2019 and outages of four services (Cloud Uptime Archive)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import read_csv, read_parquet
from hcsim.traces._places import place, provider_code
from hcsim.traces._table import Source, Table, checked, left_out


@dataclass(frozen=True)
class CloudIncidents(Source):
    """A row per incident, UTC. Places are display names in the file ("N. Virginia"), the providers' codes here; what is
    no single region ("Multi-region", "Unknown", "GovCloud") keeps its name after the provider's.

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
        frame = frame[keep].reset_index(drop=True).fillna({name: "" for name in text})
        where = {pair: place(*pair) for pair in set(zip(frame["vendor"], frame["location"], strict=True))}
        return checked(
            "failures",
            {
                "entity": frame["vendor"].map(provider_code),
                "start_s": start[keep],
                "end_s": end[keep],
                "event": frame["service_name"].str.strip(),
                "place": pd.Series(
                    [where[pair] for pair in zip(frame["vendor"], frame["location"], strict=True)], dtype="str"
                ),
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "ends before it begins"),
        )


SERVICES = {
    "github": "github-status_global-status_operator_reported",
    "github-users": "Github_user_reported",
    "bitbucket": "atlassian_bitbucket_operator_reported",
    "slack": "slack_global-status_operator_reported",
}


@dataclass(frozen=True)
class ServiceOutages(Source):
    """Outages of a service, as its operator reported them (``github-users``: as users did). Times are seconds from its
    first outage; ``severity`` is the share of the service that was down.

    Args:
        service: ``github``, ``github-users``, ``bitbucket`` or ``slack``.
    """

    kind = "failures"

    service: str = "github"

    def read(self) -> Table:
        """The outages in the file's order."""
        if self.service not in SERVICES:
            raise InputError(f"trace.service: no service '{self.service}'; {nearest(self.service, list(SERVICES))}")
        path = self.file(f"failures/cloud_uptime_archive/{SERVICES[self.service]}.csv")
        number = ("start_time", "end_time", "status")
        frame = read_csv(path, {"service": pa.string(), **dict.fromkeys(number, pa.float64())}).to_pandas()
        rows = np.arange(2, len(frame) + 2)
        keep = (frame["end_time"] >= frame["start_time"]).to_numpy()
        frame = frame[keep].reset_index(drop=True)
        return checked(
            "failures",
            {
                "entity": frame["service"],
                "start_s": frame["start_time"],
                "end_s": frame["end_time"],
                "event": np.full(len(frame), "outage"),
                "severity": frame["status"],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "ends before it begins"),
        )
