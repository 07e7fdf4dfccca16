"""Chronus (SoCC'21): 30,940 jobs of two weeks derived from Philly, with deadlines and models its authors made up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hcsim.model import InputError
from hcsim.traces._files import read_csv, read_json
from hcsim.traces._table import JobSource, Source, Table, by_value, checked, kept, left_out

MINUTE_S = 60.0


@dataclass(frozen=True)
class Chronus(JobSource):
    """Tenants are Philly's virtual clusters. The file is not sorted by submission; jobs with 0 GPUs are left out, as
    its authors' simulator does, and counted.

    Times are minutes in the file. It does not say so; their simulator does, in which an hour is 60 units
    (``hour_metric = 60`` in ``code/alg/scheduler/time_aware_with_lease.py`` of S-Lab-System-Group/ChronusArtifact), and
    the figures agree: submissions then span 13.99 days (20,151 of 20,160 minutes), the longest run 72 hours, and the
    shortest is 20, the lease of their scripts, which run 960 GPUs for an offered load of 1,097. As seconds, 30,940 jobs
    would come in 5.6 hours.

    ``expect_time_list`` is the deadline of strict jobs, after their submission (the first, where several are joined by
    ``-``); best-effort jobs and those whose deadline is not a number have none.
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
        rows = np.arange(2, table.num_rows + 2)
        keep = table["num_gpu"].to_numpy() != 0
        jobs = kept(table, keep)
        submitted_s = jobs["submit_time"].to_numpy() * MINUTE_S
        try:
            after_s = pc.cast(jobs["expect_time_list"], pa.float64()).to_numpy() * MINUTE_S
        except pa.ArrowInvalid:  # some are joined, or no numbers
            after_s = by_value(jobs["expect_time_list"], _first, pa.float64()).to_numpy() * MINUTE_S
        strict = (jobs["best_effort"].to_numpy() == 0) & np.isfinite(after_s)
        start_s = submitted_s.min() if len(submitted_s) else 0.0
        return checked(
            "jobs",
            {
                "id": jobs["job_id"].to_numpy(),
                "arrival_s": submitted_s - start_s,
                "duration_s": jobs["duration"].to_numpy() * MINUTE_S,
                "gpus": jobs["num_gpu"].to_numpy(),
                "tenant": jobs["user"].to_pandas(),
                "model": jobs["model_name"].to_pandas(),
                "iterations": jobs["iterations"].to_numpy(),
                "deadline_s": np.where(strict, submitted_s - start_s + after_s, np.nan),
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "asks for 0 GPUs"),
        )


def _first(text: str | None) -> float:
    """The first of the numbers that ``-`` joins; NaN where it is none."""
    try:
        return float((text or "").partition("-")[0])
    except ValueError:
        return np.nan


@dataclass(frozen=True)
class ChronusModels(Source):
    """Throughput of five models whose gang is spread over nodes, relative to the same gang on one node. The GPU type is
    not given in the file."""

    kind = "profiles"

    def read(self) -> Table:
        """A row per model, gang size and number of nodes."""
        path = self.file("dl_jobs/chronus/model_info.json")
        try:
            rows = [
                (model, float(gang), f"on {int(nodes)} nodes", float(value))
                for model, gangs in read_json(path).items()
                for gang, spread in gangs.items()
                for nodes, value in spread.items()
            ]
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a table of models, gang sizes and nodes ({error})") from None
        frame = pd.DataFrame(rows, columns=["model", "gpus", "setting", "value"])
        return checked(
            "profiles",
            {
                "model": frame["model"].astype("str"),
                "gpu": np.full(len(frame), "unknown"),
                "gpus": frame["gpus"],
                "setting": frame["setting"].astype("str"),
                "metric": np.full(len(frame), "relative throughput"),
                "value": frame["value"],
                "unit": np.full(len(frame), "1"),
            },
            str(path),
            np.arange(1, len(frame) + 1),
        )
