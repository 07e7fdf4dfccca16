"""Workloads of Sia (SOSP'23): 160 jobs in 8 hours (Philly), 960 in 48 (newtrace), 1,280 in 8 (scale_8x)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked


@dataclass(frozen=True)
class Sia(Source):
    """Submissions with an application and a batch size. How long they run follows from goodput: there is no run time.

    Args:
        workload: which file below ``dl_jobs/sia_workloads``.
    """

    kind = "submissions"

    workload: str = "philly/workload-1"

    def read(self) -> Table:
        """The jobs in the file's order."""
        return read_workload(self.file(f"dl_jobs/sia_workloads/{self.workload}.csv"))


def read_workload(path: Path) -> Table:
    """A workload file of Sia or Pollux."""
    columns = {"time": pa.float64(), "application": pa.string(), "num_replicas": pa.int64(), "batch_size": pa.int64()}
    table = read_csv(path, columns)
    return checked(
        "submissions",
        {
            "arrival_s": table["time"].to_numpy(),
            "model": table["application"].to_pandas(),
            "gpus": table["num_replicas"].to_numpy(),
            "batch": table["batch_size"].to_numpy(),
        },
        str(path),
    )
