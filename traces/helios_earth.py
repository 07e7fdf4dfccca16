"""SenseTime's Helios (SC'21): Earth's occupancy by the minute and capacity by the day, figures, and Philly's nodes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import header, read_csv
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


@dataclass(frozen=True)
class HeliosCapacity(Source):
    """GPUs that each of Earth's 25 virtual clusters had, by the day, 2020-04-01 to 2020-09-28. GPUs in use are not in
    the file and missing. On 2020-05-09 it gives all 840 GPUs to one of them (``vcIya``) and none to the others."""

    kind = "load"

    def read(self) -> Table:
        """A row per day and virtual cluster. The file's total is their sum and left."""
        path = self.file("dl_jobs/helios_earth/Earth_gpu_number.csv")
        names = header(path)
        clusters = [name for name in names if re.fullmatch(r"vc\w+", name)]
        if not clusters or "total" not in names:
            raise InputError(f"{path}: row 1: expected 'date', a column per virtual cluster and 'total'")
        frame = read_csv(path, {"date": pa.date32(), **dict.fromkeys(clusters, pa.float64())}).to_pandas()
        days = frame["date"].to_numpy().astype("datetime64[s]").astype(np.float64)
        n = len(clusters)
        return checked(
            "load",
            {
                "time_s": np.repeat(days, n),
                "place": np.tile(clusters, len(frame)),
                "gpus": np.full(len(frame) * n, np.nan),
                "capacity_gpus": frame[clusters].to_numpy().ravel(),
            },
            str(path),
            np.repeat(np.arange(2, len(frame) + 2), n),
        )


@dataclass(frozen=True)
class PhillyNodes(Source):
    """Nodes of Microsoft's Philly that were in use and there, by the minute, 2017-10-03 to 2017-12-15, with one gap of
    ten hours. GPUs in use are not in the file and missing. Times are wall clock without a zone, taken as UTC."""

    kind = "load"

    def read(self) -> Table:
        """A row per minute."""
        path = self.file("dl_jobs/helios_earth/philly_node_sequence.csv.gz")
        table = read_csv(path, {"time": pa.timestamp("s"), "active": pa.float64(), "total": pa.float64()})
        return checked(
            "load",
            {
                "time_s": table["time"].to_numpy().astype(np.int64).astype(np.float64),
                "place": np.full(table.num_rows, "Philly"),
                "gpus": np.full(table.num_rows, np.nan),
                "nodes": table["active"].to_numpy(),
                "capacity_nodes": table["total"].to_numpy(),
            },
            str(path),
        )


@dataclass(frozen=True)
class HeliosSummary(Source):
    """26 figures each of Venus, Earth, Saturn, Uranus and all four, April to September 2020."""

    kind = "summaries"

    def read(self) -> Table:
        """A row per cluster and figure."""
        return read_summary(self.file("dl_jobs/helios_earth/helios_cluster_summary.csv"))


def read_summary(path: Path) -> Table:
    """A table with a cluster a row and its figures in columns; empty cells are left."""
    names = header(path)
    figures = [name for name in names if re.fullmatch(r"[a-z_]+", name) and name != "id"]
    kinds = dict.fromkeys(("gpu_job_num", "avg_run_time_gpu", *figures), pa.float64()) | {"id": pa.string()}
    frame = read_csv(path, kinds, nullable=figures).to_pandas()
    frame["row"] = np.arange(2, len(frame) + 2)
    long = frame.melt(["id", "row"], var_name="metric").dropna(subset="value").sort_values("row", kind="stable")
    return checked(
        "summaries",
        {
            "entity": long["id"].reset_index(drop=True),
            "metric": long["metric"].astype("str").reset_index(drop=True),
            "value": long["value"].to_numpy(),
            "unit": long["metric"].map(_unit).astype("str").reset_index(drop=True),
        },
        str(path),
        long["row"].to_numpy(),
    )


def _unit(figure: str) -> str:
    """The unit of a figure such as ``avg_run_time_gpu``, ``fail_rate_gpu_time``, ``fail_gpu_time`` or ``max_gpu``."""
    if "_rate" in figure:
        return "share"
    if figure.endswith("_gpu_time"):
        return "GPU-s"
    if "_time" in figure:
        return "s"
    return "jobs" if figure.endswith("job_num") else "GPUs"
