"""Carbon intensity of Let's Wait Awhile (Middleware'21): Germany, France and Great Britain in 2020."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked

FILES = {"DE": "ger_ci.csv.gz", "FR": "fr_ci.csv", "GB": "gb_ci.csv"}


@dataclass(frozen=True)
class CarbonLetsWaitAwhile(Source):
    """Steps of 15 minutes (Germany, which has two gaps of 30), 30 (France) or both (Great Britain): gaps stay.

    Args:
        zone: ``DE``, ``FR`` or ``GB``.
    """

    kind = "carbon"

    zone: str = "DE"

    def read(self) -> Table:
        """A row per step. Times are taken as UTC."""
        if self.zone not in FILES:
            raise InputError(f"trace.zone: no zone '{self.zone}'; {nearest(self.zone, list(FILES))}")
        path = self.file(f"carbon/lets_wait_awhile/{FILES[self.zone]}")
        table = read_csv(path, {"Time": pa.timestamp("s"), "Carbon Intensity": pa.float64()})
        return checked(
            "carbon",
            {
                "place": np.full(table.num_rows, self.zone),
                "time_s": table["Time"].to_numpy().astype(np.int64),
                "g_per_kwh": table["Carbon Intensity"].to_numpy(),
            },
            str(path),
        )
