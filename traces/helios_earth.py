"""SenseTime's Helios (SC'21), cluster Earth: occupancy of three virtual clusters by the minute, May 2020."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked


@dataclass(frozen=True)
class HeliosEarth(Source):
    """A load profile: jobs and GPUs running, pending and there, 44,640 minutes. The jobs themselves could not be had.

    Args:
        cluster: ``vc3sl`` (64 GPUs, the default), ``vcSoL`` (32) or ``vc6YE`` (208); of a file given by ``path`` its
            folder says it (``vcSoL/cluster_sequence_vc.csv.gz``).
    """

    kind = "load"

    cluster: str = ""

    def read(self) -> Table:
        """A row per minute. Times are wall clock without a zone, taken as UTC."""
        folder = Path(self.path).absolute().parent.name
        cluster = self.said("cluster", "vc3sl", folder if re.fullmatch(r"vc\w{3}", folder) else None)
        path = self.file(f"dl_jobs/helios_earth/{cluster}/cluster_sequence_vc.csv.gz")
        numbers = ("running_gpu_num", "total_gpu_num", "running_job_num", "pending_job_num")
        table = read_csv(path, {"time": pa.timestamp("s")} | dict.fromkeys(numbers, pa.float64()))
        return checked(
            "load",
            {
                "time_s": table["time"].to_numpy().astype(np.int64).astype(np.float64),
                "place": np.full(table.num_rows, cluster),
                "gpus": table["running_gpu_num"].to_numpy(),
                "capacity_gpus": table["total_gpu_num"].to_numpy(),
                "running_jobs": table["running_job_num"].to_numpy(),
                "pending_jobs": table["pending_job_num"].to_numpy(),
            },
            str(path),
        )
