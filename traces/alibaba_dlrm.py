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
    """Instances with a GPU, as jobs that hold it from when they are scheduled to their deletion, submitted at their
    creation; the tenant is the application. What lies between creation and scheduling (up to 66 hours) is waiting.

    A blank creation means that the instance was there before the trace (it arrives at 0), a blank deletion that it
    outlived it (it runs to the end of day 31): their run times are what the trace shows of them. 16 instances were
    deleted in the second in which they were scheduled and have a run time of 0. Instances without a GPU (role CN) are
    left out and counted. Memory is GiB in the file; RDMA (per cent of a NIC) and disk are left.
    """

    def read(self) -> Table:
        """The instances in the file's order."""
        path = self.file("gpu_sharing/alibaba_2025_dlrm/disaggregated_DLRM_trace.csv.gz")
        times = ("creation_time", "scheduled_time", "deletion_time")
        kinds = {"gpu_request": pa.int64(), "app_name": pa.string(), "role": pa.string()}
        number = ("cpu_request", "memory_request", *times)
        table = read_csv(path, kinds | dict.fromkeys(number, pa.float64()), nullable=times)
        frame = table.to_pandas()
        rows = np.arange(2, len(frame) + 2)
        keep = frame["gpu_request"].to_numpy() > 0
        frame = frame[keep].reset_index(drop=True)
        submitted, ends = frame["creation_time"].fillna(0.0), frame["deletion_time"].fillna(SPAN_S)
        run_s = (ends - frame["scheduled_time"].fillna(submitted)).to_numpy()
        none = int((run_s == 0).sum())
        return checked(
            "jobs",
            {
                "id": rows[keep] - 2,
                "arrival_s": submitted.to_numpy(),
                "duration_s": run_s,
                "gpus": frame["gpu_request"].to_numpy(),
                "cpus": frame["cpu_request"].to_numpy(),
                "ram_bytes": frame["memory_request"].to_numpy() * GIB,
                "tenant": frame["app_name"],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "asks for no GPU"),
            (f"{none:,} jobs were deleted as they were scheduled and run for 0 s",) if none else (),
        )
