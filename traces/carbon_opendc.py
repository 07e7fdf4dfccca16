"""Carbon intensity as OpenDC publishes it: four European countries in 2022, Austria and Australia since 2021."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_parquet, stem
from hcsim.traces._table import Source, Table, checked

FILES = {
    **{zone: f"2022-01-01_2022-12-31_{zone}.parquet" for zone in ("BE", "DE", "FR", "NL")},
    **{zone: f"{zone}_2021-2024.parquet" for zone in ("AT", "AU")},
}


@dataclass(frozen=True)
class CarbonOpendc(Source):
    """Hourly (Belgium, France with a gap of two hours, Austria, Australia) or every 15 minutes (Germany, Netherlands).

    Args:
        zone: one of the six, ``DE`` by default; of a file given by ``path`` its name says it (``AT_2021-2024``).
    """

    kind = "carbon"

    zone: str = ""

    def read(self) -> Table:
        """A row per step, UTC."""
        named = re.fullmatch(r"[\d-]+_[\d-]+_([A-Z]{2})|([A-Z]{2})_[\d-]+", stem(self.path))
        zone = self.said("zone", "DE", named and (named[1] or named[2]), FILES)
        path = self.file(f"carbon/opendc/{FILES.get(zone, '')}")
        table = read_parquet(path, {"timestamp": pa.timestamp("ms"), "carbon_intensity": pa.float64()})
        return checked(
            "carbon",
            {
                "place": np.full(table.num_rows, zone),
                "time_s": table["timestamp"].to_numpy().astype("datetime64[s]").astype(np.int64),
                "g_per_kwh": table["carbon_intensity"].to_numpy(),
            },
            str(path),
            np.arange(1, table.num_rows + 1),
        )
