"""Year-scaled job samples used by GAIA (ASPLOS'24): Alibaba PAI, LANL Mustang, Azure VMs; about 100,000 jobs each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import read_csv, refuse, stem
from hcsim.traces._table import JobSource, Table, checked

#: Sample -> file, and seconds per unit of its two times: the large ones are in hours of a year, pai_1k in seconds.
SAMPLES = {
    "pai": ("pai-100k.csv.gz", 3600.0),
    "mustang": ("mustang-trace-2015-100k.csv.gz", 3600.0),
    "azure": ("azure-100k.csv.gz", 3600.0),
    "pai_1k": ("pai_1k.csv", 1.0),
}
YEAR_H = 8784.0


@dataclass(frozen=True)
class Gaia(JobSource):
    """Sampled and rescaled to a year by GAIA's authors, not raw logs. A job's gang is its CPUs; there are no GPUs.

    Args:
        sample: ``pai`` (the default), ``mustang``, ``azure`` (times in hours in the file) or ``pai_1k`` (seconds). It
            also says the unit of a file given by ``path`` that is not called as one of theirs.
    """

    sample: str = ""

    @property
    def device(self) -> str:
        """The samples count CPUs."""
        return "CPU"

    def read(self) -> Table:
        """The jobs in the file's order."""
        named = {stem(name): sample for sample, (name, _) in SAMPLES.items()}
        sample = self.said("sample", "pai", named.get(stem(self.path)), hint="pai (hours) or pai_1k (seconds)")
        if sample not in SAMPLES:
            raise InputError(f"trace.sample: no sample '{sample}'; {nearest(sample, list(SAMPLES))}")
        name, unit_s = SAMPLES[sample]
        path = self.file(f"dl_jobs/gaia/{name}")
        table = read_csv(path, {"arrival_time": pa.float64(), "length": pa.float64(), "cpus": pa.int64()})
        hours = table["arrival_time"].to_numpy()
        late = (hours * unit_s > YEAR_H * 3600.0) & (unit_s > 1)  # another unit, or two of them
        expected = f"at most {YEAR_H:g}, the hours of a year (sample=pai_1k: seconds)"
        refuse(path, (late, np.arange(2, len(late) + 2), "arrival_time", hours, expected))
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
