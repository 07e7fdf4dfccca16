"""Alibaba's disaggregated recommendation serving of 2025: 23,871 instances of 156 applications, 31 days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import JobSource, Table, checked, left_out

GIB = 1024.0**3
SPAN_S = 31 * 86400.0


@dataclass(frozen=True)
class AlibabaDlrm(JobSource):
    """Instances with a GPU, as jobs that hold it from their creation to their deletion; the tenant is the application.

    A blank creation means that the instance was there before the trace (it arrives at 0), a blank deletion that it
    outlived it (it runs to the end of day 31): their run times are what the trace shows of them. Instances without
    a GPU (role CN) are left out and counted. Memory is GiB in the file; RDMA (per cent of a NIC) and disk are left.
    """

    def read(self) -> Table:
        """The instances in the file's order."""
        path = self.file("gpu_sharing/alibaba_2025_dlrm/disaggregated_DLRM_trace.csv.gz")
        number = ("cpu_request", "memory_request", "creation_time", "deletion_time")
        kinds = {"gpu_request": pa.int64(), "app_name": pa.string(), "role": pa.string()}
        table = read_csv(path, kinds | dict.fromkeys(number, pa.float64()), nullable=("creation_time", "deletion_time"))
        frame = table.to_pandas()
        rows = np.arange(2, len(frame) + 2)
        keep = frame["gpu_request"].to_numpy() > 0
        frame = frame[keep].reset_index(drop=True)
        begins, ends = frame["creation_time"].fillna(0.0), frame["deletion_time"].fillna(SPAN_S)
        return checked(
            "jobs",
            {
                "id": rows[keep] - 2,
                "arrival_s": begins.to_numpy(),
                "duration_s": (ends - begins).to_numpy(),
                "gpus": frame["gpu_request"].to_numpy(),
                "cpus": frame["cpu_request"].to_numpy(),
                "ram_bytes": frame["memory_request"].to_numpy() * GIB,
                "tenant": frame["app_name"],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "asks for no GPU"),
        )
