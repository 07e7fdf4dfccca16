"""Shockwave's traces (NSDI'23): 120, 220 and 460 synthetic jobs whose batch sizes change as they run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import read_csv
from hcsim.traces._table import JobSource, Table, checked

NAMES = (
    "type",
    "command",
    "folder",
    "arg",
    "needs_data",
    "steps",
    "gpus",
    "mode",
    "priority",
    "slo",
    "duration",
    "arrival",
)
FILES = {
    120: "120_0.2_5_100_40_25_0,0.5,0.5_0.6,0.3,0.09,0.01_multigpu_dynamic.trace",
    220: "220_0.2_5_100_25_4_0,0.5,0.5_0.6,0.3,0.09,0.01_multigpu_dynamic.trace",
    460: "460_0.2_5_100_10_1_0,0.5,0.5_0.6,0.3,0.09,0.01_multigpu_dynamic.trace",
}


@dataclass(frozen=True)
class Shockwave(JobSource):
    """Tab-separated lines of 12 columns. The run time is the one that the generator wrote, at the first batch size.

    The way in which the batch size changes (``gns``, ``accordion``, ``static``) is kept as the status column.

    Args:
        size: which trace: 120, 220 or 460 jobs.
    """

    size: int = 120

    def read(self) -> Table:
        """The jobs in the file's order."""
        if self.size not in FILES:
            raise InputError(f"trace.size is {self.size}, expected one of {', '.join(map(str, FILES))}")
        path = self.file(f"dl_jobs/shockwave/{FILES[self.size]}")
        text, number = ("type", "mode"), ("steps", "duration", "arrival")
        kinds = dict.fromkeys(text, pa.string()) | dict.fromkeys(number, pa.float64()) | {"gpus": pa.int64()}
        table = read_csv(path, kinds, delimiter="\t", names=NAMES)
        return checked(
            "jobs",
            {
                "id": np.arange(table.num_rows),
                "arrival_s": table["arrival"].to_numpy(),
                "duration_s": table["duration"].to_numpy(),
                "gpus": table["gpus"].to_numpy(),
                "model": table["type"].to_pandas(),
                "iterations": table["steps"].to_numpy(),
                "status": table["mode"].to_pandas(),
            },
            str(path),
            np.arange(1, table.num_rows + 1),
        )
