"""Electricity Maps' carbon intensity by the hour, 2021 to 2023: California, Norway, Brazil."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked

#: The sign for CO2 is spelt with a subscript in the files.
DIRECT = "Carbon Intensity gCO₂eq/kWh (direct)"
LIFE_CYCLE = "Carbon Intensity gCO₂eq/kWh (LCA)"


@dataclass(frozen=True)
class CarbonElectricitymaps(Source):
    """8,760 hours of one zone and year, UTC.

    Args:
        zone: ``US-CAL-CISO``, ``NO`` or ``BR``.
        year: 2021 to 2023.
        life_cycle: intensity over the life cycle of plants rather than of burning alone.
    """

    kind = "carbon"

    zone: str = "US-CAL-CISO"
    year: int = 2022
    life_cycle: bool = False

    def read(self) -> Table:
        """A row per hour."""
        path = self.file(f"carbon/electricitymaps/{self.zone}_{self.year}_hourly.csv")
        value = LIFE_CYCLE if self.life_cycle else DIRECT
        text = ("Zone Id", "Data Estimated")
        kinds = {"Datetime (UTC)": pa.timestamp("s"), value: pa.float64()} | dict.fromkeys(text, pa.string())
        table = read_csv(path, kinds, nullable=("Data Estimated",))
        return checked(
            "carbon",
            {
                "place": table["Zone Id"].to_pandas(),
                "time_s": table["Datetime (UTC)"].to_numpy().astype(np.int64),
                "g_per_kwh": table[value].to_numpy(),
                "estimated": (table["Data Estimated"].to_pandas().fillna("").str.lower() == "true").to_numpy(),
            },
            str(path),
        )
