"""Workloads of Sia (SOSP'23): 160 jobs in 8 hours (Philly), 960 in 48 (newtrace), 1,280 in 8 (scale_8x)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import locate, read_csv
from hcsim.traces._table import JobSource, Source, Table, checked, left_out

if TYPE_CHECKING:
    import pandas as pd

PROFILES = "gpu_profiles/sia"


@dataclass(frozen=True)
class Sia(Source):
    """Submissions with an application and a batch size. How long they run follows from goodput: there is no run time.
    With run times of fixed gangs they are :class:`SiaJobs`, which is ``trace=sia``.

    Args:
        workload: which file below ``dl_jobs/sia_workloads``.
    """

    kind = "submissions"

    workload: str = "philly/workload-1"

    def read(self) -> Table:
        """The jobs in the file's order."""
        return read_workload(self.file(f"dl_jobs/sia_workloads/{self.workload}.csv"))


@dataclass(frozen=True)
class SiaJobs(JobSource):
    """Submissions as rigid jobs: the gang and batch size that they ask for, and the run time that the profiles of Sia
    give for these on one kind of GPU. Sia and Pollux adapt gang and batch, so that their own jobs end earlier or later.

    The run time is the iterations of the published training run at that batch size, all its epochs
    (``validation-BATCH.csv``, the last row: 2 epochs of bert, 100 of cifar10, 80 of deepspeech2, 90 of imagenet, 10 of
    ncf, 50 of yolov3), times the measured time of an iteration. Sia's simulator ends a job at a target of the
    validation metric, which the data do not say.

    An iteration on a gang, on as few nodes as hold it, of a batch that needs s passes to fit the largest measured local
    batch is step + (s - 1) (step - sync), as gradients are accumulated without synchronising in all passes but the last
    (Pollux, OSDI'21, section 3.2); step and sync are those of ``placements-CLUSTER.csv``, where a gang is not in it of
    ``scalability-CLUSTER.csv``, linear between local batches. Restarts and input cost nothing more. Jobs for which
    something of this was not measured are left out and counted.

    Args:
        workload: which file below ``dl_jobs/sia_workloads``.
        cluster: the profiles' name of the GPUs and nodes: ``aws`` (4 T4), ``dgx-ext`` (8 A100), ``rtx`` (8 RTX 2080
            Ti), ``quad``, ``azure``, ``dgx``.
        profiles: the folder of the profiles, if not that of the data folder.
    """

    workload: str = "philly/workload-1"
    cluster: str = "aws"
    profiles: str = ""

    def read(self) -> Table:
        """The jobs in the file's order."""
        return as_jobs(self, self.file(f"dl_jobs/sia_workloads/{self.workload}.csv"), self.cluster, self.profiles)


def as_jobs(source: Source, path: Path, cluster: str, profiles: str) -> Table:
    """A workload file as jobs, see :class:`SiaJobs`.

    Raises:
        InputError: the profiles are not there, or none of its jobs was measured.
    """
    if not profiles and not source.data_dir:
        raise InputError(f"{path}: run times need profiles, set data_dir= or trace.profiles=FOLDER")
    folder = Path(profiles or f"{source.data_dir}/{PROFILES}")
    table = read_workload(path)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of profiles; hcsim traces fetch profile_sia gets them")
    frame = table.frame
    asked = list(zip(frame["model"], frame["gpus"].tolist(), frame["batch"].tolist(), strict=True))
    known = {each: _measured(folder, cluster, *each) for each in dict.fromkeys(asked)}
    iterations, iteration_s = np.array([known[each] for each in asked]).reshape(-1, 2).T
    keep = np.isfinite(iterations * iteration_s)
    reason = f"its application, gang and batch were not measured on {cluster}"
    if not keep.any():
        raise InputError(f"{path}: of no job the application, gang and batch were measured on {cluster} in {folder}")
    mine = frame[keep].reset_index(drop=True)
    return checked(
        "jobs",
        {
            "id": np.flatnonzero(keep),
            "arrival_s": mine["arrival_s"],
            "duration_s": (iterations * iteration_s)[keep],
            "gpus": mine["gpus"],
            "model": mine["model"],
            "batch": mine["batch"],
            "iterations": iterations[keep],
        },
        str(path),
        table.rows[keep],
        left_out(keep, table.rows, reason),
    )


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


def _measured(folder: Path, cluster: str, model: str, gpus: int, batch: int) -> tuple[float, float]:
    """Iterations of the whole run, and seconds of one; NaN for what was not measured."""
    run = folder / model / f"validation-{batch}.csv"
    steps = folder / model / f"placements-{cluster}.csv"
    if not run.is_file() or not steps.is_file():
        return np.nan, np.nan
    iterations = read_csv(locate("sia", "", str(run), ""), {"iteration": pa.float64()})["iteration"][-1].as_py()
    return iterations, _iteration_s(folder / model, cluster, gpus, batch)


def _iteration_s(folder: Path, cluster: str, gpus: int, batch: int) -> float:
    """Seconds of an iteration; NaN where the gang or the local batch was not measured."""
    times = dict.fromkeys(("local_bsz", "step_time", "sync_time"), pa.float64())
    frame = read_csv(folder / f"placements-{cluster}.csv", times | {"placement": pa.string()}).to_pandas()
    per_node = max(int(digit) for placement in frame["placement"].unique() for digit in placement)
    full, rest = divmod(gpus, per_node)
    rows = frame[frame["placement"] == (str(rest) if rest else "") + str(per_node) * full]
    if not len(rows):
        size = dict.fromkeys(("num_nodes", "num_replicas"), pa.float64())
        path = folder / f"scalability-{cluster}.csv"
        more: pd.DataFrame = read_csv(path, times | size).to_pandas() if path.is_file() else frame.iloc[:0]
        rows = more[(more["num_nodes"] == full + bool(rest)) & (more["num_replicas"] == gpus)] if len(more) else more
    if not len(rows):
        return np.nan
    rows = rows.sort_values("local_bsz")
    measured = rows["local_bsz"].to_numpy()
    passes = max(ceil(batch / gpus / float(measured[-1])), 1)
    local = ceil(batch / (gpus * passes))
    if not measured[0] <= local <= measured[-1]:
        return np.nan
    step, sync = (float(np.interp(local, measured, rows[name])) for name in ("step_time", "sync_time"))
    iteration_s: float = step + (passes - 1) * (step - sync)
    return iteration_s
