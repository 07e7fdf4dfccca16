"""Year-scaled job samples used by GAIA (ASPLOS'24): Alibaba PAI, LANL Mustang, Azure VMs; about 100,000 jobs each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import read_csv
from hcsim.traces._table import JobSource, Table, checked

#: Sample -> file, and seconds per unit of its two times: the three large ones are in hours, pai_1k in seconds.
SAMPLES = {
    "pai": ("pai-100k.csv.gz", 3600.0),
    "mustang": ("mustang-trace-2015-100k.csv.gz", 3600.0),
    "azure": ("azure-100k.csv.gz", 3600.0),
    "pai_1k": ("pai_1k.csv", 1.0),
}


@dataclass(frozen=True)
class Gaia(JobSource):
    """Sampled and rescaled to a year by GAIA's authors, not raw logs. A job's gang is its CPUs; there are no GPUs.

    Args:
        sample: ``pai``, ``mustang``, ``azure`` (times in hours in the file) or ``pai_1k`` (seconds). It also says the
            unit of a file given by ``path``.
    """

    sample: str = "pai"

    @property
    def device(self) -> str:
        """The samples count CPUs."""
        return "CPU"

    def read(self) -> Table:
        """The jobs in the file's order."""
        if self.sample not in SAMPLES:
            raise InputError(f"trace.sample: no sample '{self.sample}'; {nearest(self.sample, list(SAMPLES))}")
        name, unit_s = SAMPLES[self.sample]
        path = self.file(f"dl_jobs/gaia/{name}")
        table = read_csv(path, {"arrival_time": pa.float64(), "length": pa.float64(), "cpus": pa.int64()})
        return checked(
            "jobs",
            {
                "id": np.arange(table.num_rows),
                "arrival_s": table["arrival_time"].to_numpy() * unit_s,
                "duration_s": table["length"].to_numpy() * unit_s,
                "gpus": table["cpus"].to_numpy(),
            },
            str(path),
        )
