"""Electricity Maps' carbon intensity: California, Norway, Brazil by the hour, 123 zones by the year, an API sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv, seconds
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


@dataclass(frozen=True)
class ElectricitymapsMeans(Source):
    """Means of 2020, 2021 and 2022 of 123 zones. ``time_s`` is the first second of the year."""

    kind = "carbon"

    def read(self) -> Table:
        """Three rows per zone."""
        path = self.file("carbon/electricitymaps/mean_stats.csv")
        years = ("2020", "2021", "2022")
        frame = read_csv(path, {"zonecode": pa.string(), **dict.fromkeys(years, pa.float64())}).to_pandas()
        begins = np.array(years, "datetime64[s]").astype(np.int64)
        return checked(
            "carbon",
            {
                "place": frame["zonecode"].repeat(len(years)).reset_index(drop=True),
                "time_s": np.tile(begins, len(frame)),
                "g_per_kwh": frame[list(years)].to_numpy().ravel(),
            },
            str(path),
            np.repeat(np.arange(2, len(frame) + 2), len(years)),
        )


@dataclass(frozen=True)
class ElectricitymapsApi(Source):
    """What the API answers, as CarbonScaler (SIGMETRICS'24) has it: average intensity of consumption. The published
    sample has 60 hours of California in 2020, with gaps."""

    kind = "carbon"

    def read(self) -> Table:
        """A row per hour, UTC."""
        path = self.file("carbon/carbonscaler/data-sample.csv")
        text, value = ("datetime", "zone_name"), "carbon_intensity_avg"
        frame = read_csv(path, {**dict.fromkeys(text, pa.string()), value: pa.float64()}).to_pandas()
        when = seconds(path, frame["datetime"], np.arange(2, len(frame) + 2))
        return checked("carbon", {"place": frame["zone_name"], "time_s": when, "g_per_kwh": frame[value]}, str(path))
