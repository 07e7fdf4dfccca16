"""Shanghai AI Lab's Acme (NSDI'24): 319 pretraining and tuning jobs of Kalos as a third party converted them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import JobSource, Source, Table, checked
from hcsim.traces.helios_earth import read_summary


@dataclass(frozen=True)
class Acme(JobSource):
    """Completed jobs over 90 days, 1 to 1,024 GPUs each. The original log could not be had.

    The run time is iterations × 0.5 s, as the conversion means it. Its networking and tensor columns are invented
    constants and are left. CPUs are per GPU worker.
    """

    def read(self) -> Table:
        """The jobs in the file's order."""
        path = self.file("dl_jobs/acme/converted_kalos_trace.csv")
        whole = ("job_id", "gpu_workers")
        decimal = ("arrival_time", "num_iteration", "iteration_computing_time", "gpu_per_worker", "cpu_per_gpu_worker")
        table = read_csv(path, dict.fromkeys(whole, pa.int64()) | dict.fromkeys(decimal, pa.float64()))
        column = {name: table[name].to_numpy() for name in table.column_names}
        return checked(
            "jobs",
            {
                "id": column["job_id"],
                "arrival_s": column["arrival_time"],
                "duration_s": column["num_iteration"] * column["iteration_computing_time"],
                "gpus": column["gpu_workers"] * column["gpu_per_worker"],
                "cpus": column["gpu_workers"] * column["cpu_per_gpu_worker"],
                "iterations": column["num_iteration"],
            },
            str(path),
        )


@dataclass(frozen=True)
class AcmeSummary(Source):
    """27 figures each of Acme's clusters Seren and Kalos and of Philly, Helios and PAI, as its authors compare them:
    run and queue times, gang sizes, and what share of jobs and of GPU time completed, was cancelled or failed."""

    kind = "summaries"

    def read(self) -> Table:
        """A row per cluster and figure that is given."""
        return read_summary(self.file("dl_jobs/acme/cluster_summary.csv"))
