"""Carbon intensity as OpenDC publishes it: four European countries in 2022, Austria and Australia since 2021."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import read_parquet
from hcsim.traces._table import Source, Table, checked

FILES = {
    **{zone: f"2022-01-01_2022-12-31_{zone}.parquet" for zone in ("BE", "DE", "FR", "NL")},
    **{zone: f"{zone}_2021-2024.parquet" for zone in ("AT", "AU")},
}


@dataclass(frozen=True)
class CarbonOpendc(Source):
    """Hourly (Belgium, France with a gap of two hours, Austria, Australia) or every 15 minutes (Germany, Netherlands).

    Args:
        zone: one of the six.
    """

    kind = "carbon"

    zone: str = "DE"

    def read(self) -> Table:
        """A row per step, UTC."""
        if self.zone not in FILES:
            raise InputError(f"trace.zone: no zone '{self.zone}'; {nearest(self.zone, list(FILES))}")
        path = self.file(f"carbon/opendc/{FILES[self.zone]}")
        table = read_parquet(path, {"timestamp": pa.timestamp("ms"), "carbon_intensity": pa.float64()})
        return checked(
            "carbon",
            {
                "place": np.full(table.num_rows, self.zone),
                "time_s": table["timestamp"].to_numpy().astype("datetime64[s]").astype(np.int64),
                "g_per_kwh": table["carbon_intensity"].to_numpy(),
            },
            str(path),
            np.arange(1, table.num_rows + 1),
        )
