"""Bamboo's spot clusters (NSDI'23): nodes that came and went on EC2 for half a day, and counts on Google's cloud."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import read_csv, refuse, stem
from hcsim.traces._table import Source, Table, checked, left_out

#: Name -> (file, place, GPU).
TRACES = {
    "p3": ("p3-trace.csv", "aws", "V100"),
    "g4dn": ("g4dn-trace.csv", "aws", "T4"),
    "gcp-v100": ("gcloud/v100x1-east1c.txt", "gcp:us-east1-c", "V100"),
    "gcp-a100": ("gcloud/a100x1-east1b.txt", "gcp:us-east1-b", "A100-40GB"),
}


@dataclass(frozen=True)
class Bamboo(Source):
    """EC2 logs are ``ms,add|remove,node``; Google's are ``date, time, instances``.

    Google's observations overlap: a later line of the file may go back a minute or two, where the number of instances
    has changed. It then stands, and the earlier lines for that time or a later one are left out and counted; sorted
    together the two would alternate.

    Args:
        trace: ``p3`` (the default), ``g4dn``, ``gcp-v100`` or ``gcp-a100``. It also says the format, place and GPU of a
            file given by ``path`` that is not called as one of theirs.
    """

    kind = "availability"
    running = True

    trace: str = ""

    def read(self) -> Table:
        """A row per event or observation: nodes there from then on. Times count from the first."""
        named = {stem(name): trace for trace, (name, _, _) in TRACES.items()}
        trace = self.said("trace", "p3", named.get(stem(self.path)))
        if trace not in TRACES:
            raise InputError(f"trace.trace: no trace '{trace}'; {nearest(trace, list(TRACES))}")
        name, place, gpu = TRACES[trace]
        path = self.file(f"spot/bamboo/{name}")
        if place == "aws":
            kinds = {"ms": pa.float64(), "event": pa.string()}
            frame = read_csv(path, kinds, names=("ms", "event", "node")).to_pandas()
            events = frame["event"].to_numpy()
            rows = np.arange(1, len(frame) + 1)
            refuse(path, (~frame["event"].isin(["add", "remove"]).to_numpy(), rows, "event", events, "add or remove"))
            time_s, nodes = (frame["ms"] - frame["ms"].min()) / 1e3, np.where(frame["event"] == "add", 1, -1).cumsum()
            keep = np.ones(len(frame), bool)
        else:
            kinds = {"date": pa.string(), "time": pa.string(), "count": pa.float64()}
            frame = read_csv(path, kinds, names=("date", "time", "count")).to_pandas()
            when = pd.to_datetime(frame["date"].str.strip() + " " + frame["time"].str.strip(), errors="coerce")
            rows = np.arange(1, len(frame) + 1)
            words = (frame["date"] + "," + frame["time"]).to_numpy()
            refuse(path, (when.isna().to_numpy(), rows, "date and time", words, "YYYY-MM-DD, HH:MM:SS"))
            seconds = pd.Series(when.to_numpy().astype("datetime64[s]").astype(np.int64))
            later = seconds[::-1].cummin().shift(fill_value=np.iinfo(np.int64).max)[::-1]
            keep = (seconds < later).to_numpy()
            time_s, nodes = seconds - seconds.min(), frame["count"].to_numpy()
        return checked(
            "availability",
            {
                "time_s": np.asarray(time_s, np.float64)[keep],
                "place": np.full(keep.sum(), place),
                "gpu": np.full(keep.sum(), gpu),
                "nodes": nodes[keep],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "a later line is for the same time or an earlier one"),
        )
