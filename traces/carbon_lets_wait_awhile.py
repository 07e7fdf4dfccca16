"""Carbon intensity of Let's Wait Awhile (Middleware'21): Germany, France and Great Britain in 2020."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv, stem
from hcsim.traces._table import Source, Table, checked

FILES = {"DE": "ger_ci.csv.gz", "FR": "fr_ci.csv", "GB": "gb_ci.csv"}


@dataclass(frozen=True)
class CarbonLetsWaitAwhile(Source):
    """Steps of 15 minutes (Germany, which has two gaps of 30), 30 (France) or both (Great Britain): gaps stay.

    Args:
        zone: ``DE`` (the default), ``FR`` or ``GB``; of a file given by ``path`` its name says it (``fr_ci``).
    """

    kind = "carbon"

    zone: str = ""

    def read(self) -> Table:
        """A row per step. Times are taken as UTC."""
        zone = self.said("zone", "DE", {stem(name): zone for zone, name in FILES.items()}.get(stem(self.path)), FILES)
        path = self.file(f"carbon/lets_wait_awhile/{FILES.get(zone, '')}")
        table = read_csv(path, {"Time": pa.timestamp("s"), "Carbon Intensity": pa.float64()})
        return checked(
            "carbon",
            {
                "place": np.full(table.num_rows, zone),
                "time_s": table["Time"].to_numpy().astype(np.int64),
                "g_per_kwh": table["Carbon Intensity"].to_numpy(),
            },
            str(path),
        )
