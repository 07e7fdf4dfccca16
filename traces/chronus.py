"""Chronus (SoCC'21): 30,940 jobs derived from Philly, with deadlines and models that its authors made up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import JobSource, Table, checked, left_out


@dataclass(frozen=True)
class Chronus(JobSource):
    """Tenants are Philly's virtual clusters. The file is not sorted by submission; jobs with 0 GPUs are left out.

    The file's times have no stated unit; they are taken as seconds. ``expect_time_list`` (the deadline as seconds after
    submission) stands for strict jobs; best-effort jobs and those whose deadline is not one number have none.
    """

    def read(self) -> Table:
        """The jobs in the file's order."""
        path = self.file("dl_jobs/chronus/trace_job_Philly_SLO.csv.gz")
        table = read_csv(
            path,
            {
                "job_id": pa.int64(),
                "user": pa.string(),
                "num_gpu": pa.int64(),
                "submit_time": pa.float64(),
                "iterations": pa.float64(),
                "model_name": pa.string(),
                "duration": pa.float64(),
                "expect_time_list": pa.string(),
                "best_effort": pa.int64(),
            },
            nullable=("expect_time_list",),
        )
        import pandas as pd

        rows = np.arange(2, table.num_rows + 2)
        keep = table["num_gpu"].to_numpy() != 0
        frame = table.to_pandas()[keep]
        submitted = frame["submit_time"].to_numpy()
        after_s = pd.to_numeric(frame["expect_time_list"], errors="coerce").to_numpy(dtype=np.float64)
        strict = (frame["best_effort"].to_numpy() == 0) & np.isfinite(after_s)
        start_s = submitted.min() if len(submitted) else 0.0
        return checked(
            "jobs",
            {
                "id": frame["job_id"].to_numpy(),
                "arrival_s": submitted - start_s,
                "duration_s": frame["duration"].to_numpy(),
                "gpus": frame["num_gpu"].to_numpy(),
                "tenant": frame["user"].reset_index(drop=True),
                "model": frame["model_name"].reset_index(drop=True),
                "iterations": frame["iterations"].to_numpy(),
                "deadline_s": np.where(strict, submitted - start_s + after_s, np.nan),
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "asks for 0 GPUs"),
        )
