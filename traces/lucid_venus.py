"""Helios Venus as published with Lucid (ASPLOS'23): submissions, starts and ends per ten minutes of half of 2020."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked

BIN_S = 600.0
#: Of a node of Venus, by the defaults of the authors' simulator (simulation/simulator.py, S-Lab-System-Group/Lucid).
GPUS, CPUS = 8, 96.0


@dataclass(frozen=True)
class LucidVenus(Source):
    """A load profile of 26,064 bins. ``rate_per_s`` is GPU jobs submitted per second.

    ``gpus`` is GPUs started less GPUs ended so far, moved up so that its least value is 0: those that ran when the file
    begins are not in it. Its licence is non-commercial.
    """

    kind = "load"

    def read(self) -> Table:
        """A row per ten minutes. Times are wall clock without a zone, taken as UTC."""
        path = self.file("dl_jobs/lucid_venus/cluster_throughput.csv.gz")
        numbers = ("submit_gpu_job", "start_gpu_job", "end_gpu_job", "start_gpu_num", "end_gpu_num")
        table = read_csv(path, {"time": pa.timestamp("s")} | dict.fromkeys(numbers, pa.float64()))
        column = {name: table[name].to_numpy() for name in numbers}

        def level(start: str, end: str) -> npt.NDArray[np.float64]:
            so_far = np.cumsum(column[start] - column[end])
            above: npt.NDArray[np.float64] = so_far - so_far.min()
            return above

        return checked(
            "load",
            {
                "time_s": table["time"].to_numpy().astype(np.int64).astype(np.float64),
                "place": np.full(table.num_rows, "Venus"),
                "gpus": level("start_gpu_num", "end_gpu_num"),
                "running_jobs": level("start_gpu_job", "end_gpu_job"),
                "rate_per_s": column["submit_gpu_job"] / BIN_S,
            },
            str(path),
        )


@dataclass(frozen=True)
class LucidVenusNodes(Source):
    """The 15 virtual clusters of Venus that Lucid simulates: 135 nodes of 8 GPUs and 96 hardware threads each. The file
    has the nodes alone; GPU type (``unknown``) and memory are not given."""

    kind = "nodes"

    def read(self) -> Table:
        """A row per virtual cluster, which is the place."""
        path = self.file("dl_jobs/lucid_venus/vc_config.csv")
        table = read_csv(path, {"": pa.string(), "num": pa.int64()})
        n = table.num_rows
        return checked(
            "nodes",
            {
                "gpu": np.full(n, "unknown"),
                "gpus": np.full(n, GPUS),
                "cpus": np.full(n, CPUS),
                "ram_bytes": np.full(n, np.nan),
                "nodes": table["num"].to_numpy(),
                "place": table[""].to_pandas(),
            },
            str(path),
        )
