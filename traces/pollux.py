"""Workloads of Pollux (OSDI'21): eight files of 160 jobs in 8 hours, arrivals sampled from Philly."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim.traces._table import Source, Table
from hcsim.traces.sia import read_workload


@dataclass(frozen=True)
class Pollux(Source):
    """Submissions with an application and a batch size, without run times (see ``sia``).

    Args:
        workload: 1 to 8.
    """

    kind = "submissions"

    workload: int = 1

    def read(self) -> Table:
        """The jobs in the file's order."""
        return read_workload(self.file(f"dl_jobs/pollux_workloads/workload-{self.workload}.csv"))
