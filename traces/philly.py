"""Microsoft's Philly log, as cleaned by the authors of Pollux (OSDI'21): 82,247 jobs, 2017-09-04 to 2017-12-22."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import JobSource, Table, checked, starts

FILE = "dl_jobs/philly_pollux/philly.csv.gz"


@dataclass(frozen=True)
class Philly(JobSource):
    """The Philly log.

    The file is not sorted by time and holds 65 exact duplicates, which are kept (two submissions may well be equal);
    ids are row numbers from 0 in the file's own order. Times are local wall clock, counted here from the first
    submission. Tenants are the 15 virtual clusters. The log has no status, user or GPU type.
    """

    def read(self) -> Table:
        """The jobs in the file's order."""
        path = self.file(FILE)
        table = read_csv(
            path,
            {
                "timestamp": pa.timestamp("s"),
                "duration": pa.float64(),
                "num_gpus": pa.int64(),
                "cluster": pa.string(),
            },
        )
        when = table["timestamp"].to_numpy().astype(np.int64)
        return checked(
            "jobs",
            {
                "id": np.arange(len(when)),
                "arrival_s": (when - when.min()).astype(np.float64),
                "duration_s": table["duration"].to_numpy(),
                "gpus": table["num_gpus"].to_numpy(),
                "tenant": table["cluster"].to_pandas(),
            },
            str(path),
            notes=starts(when.min()),
        )
