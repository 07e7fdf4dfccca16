"""Workloads of Pollux (OSDI'21): eight files of 160 jobs in 8 hours, arrivals sampled from Philly."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim.traces._table import JobSource, Source, Table
from hcsim.traces.sia import as_jobs, read_workload


@dataclass(frozen=True)
class Pollux(Source):
    """Submissions with an application and a batch size, without run times (see ``sia``). With those of fixed gangs
    they are :class:`PolluxJobs`, which is ``trace=pollux``.

    Args:
        workload: 1 to 8.
    """

    kind = "submissions"

    workload: int = 1

    def read(self) -> Table:
        """The jobs in the file's order."""
        return read_workload(self.file(f"dl_jobs/pollux_workloads/workload-{self.workload}.csv"))


@dataclass(frozen=True)
class PolluxJobs(JobSource):
    """Pollux's workloads as rigid jobs, with run times of Sia's profiles; see :class:`hcsim.traces.sia.SiaJobs`.

    Args:
        workload: 1 to 8.
        cluster: the profiles' name of the GPUs and nodes, ``aws`` (4 T4) by default.
        profiles: the folder of the profiles, if not that of the data folder.
    """

    workload: int = 1
    cluster: str = "aws"
    profiles: str = ""

    def read(self) -> Table:
        """The jobs in the file's order."""
        path = self.file(f"dl_jobs/pollux_workloads/workload-{self.workload}.csv")
        return as_jobs(self, path, self.cluster, self.profiles)
