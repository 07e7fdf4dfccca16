"""Carbon of cloud regions by the year: the Green Software Foundation's table (gsf), and Google's own figures."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import Defect, Defective, read_csv, stem
from hcsim.traces._places import places, provider_code
from hcsim.traces._table import Source, Table, checked, left_out


@dataclass(frozen=True)
class CarbonGsf(Source):
    """Regions of AWS, Azure and Google by year: intensity of the grid (average consumption), PUE where it is published.

    ``time_s`` is the first second of the year. Where the grid's intensity is not given it is missing; rows that have no
    PUE and no carbon-free share either are left out and counted. So are the two rows for Finland under Azure's
    ``northeurope``, which lies in Ireland and has rows of its own for these years.
    """

    kind = "carbon"

    def read(self) -> Table:
        """A row per region and year."""
        path = self.file("carbon/gsf_real_time_cloud/Cloud_Region_Metadata.csv")
        value = "grid-carbon-intensity-average-consumption-annual"
        number = (value, "power-usage-effectiveness", "provider-cfe-annual")
        text = ("cloud-provider", "cloud-region", "em-zone-id")
        kinds = {"year": pa.int64()} | dict.fromkeys(text, pa.string()) | dict.fromkeys(number, pa.float64())
        frame = read_csv(path, kinds, nullable=(*number, "em-zone-id")).to_pandas()
        rows = np.arange(2, len(frame) + 2)
        provider = frame["cloud-provider"].map(provider_code)
        told = frame[list(number)].notna().any(axis=1).to_numpy()
        other = (provider == "azure") & (frame["cloud-region"] == "northeurope") & (frame["em-zone-id"] == "FI")
        single = ~other.to_numpy()
        keep = told & single
        bad = np.flatnonzero(~frame["year"].between(1970, 2200))
        if len(bad):
            found = [Defect(int(i) + 2, "year", str(frame["year"].iloc[i]), "1970 to 2200") for i in bad[:1000]]
            raise Defective(path, found, len(bad))
        frame, provider = frame[keep].reset_index(drop=True), provider[keep].reset_index(drop=True)
        return checked(
            "carbon",
            {
                "place": provider + ":" + frame["cloud-region"],
                "time_s": (frame["year"].to_numpy() - 1970)
                .astype("datetime64[Y]")
                .astype("datetime64[s]")
                .astype(np.int64),
                "g_per_kwh": frame[value],
                "pue": frame["power-usage-effectiveness"],
                "carbon_free_share": frame["provider-cfe-annual"],
            },
            str(path),
            rows[keep],
            left_out(told, rows, "neither intensity nor PUE nor carbon-free share")
            + left_out(single, rows, "Finland, under the name of Azure's region in Ireland"),
        )


@dataclass(frozen=True)
class CarbonGoogle(Source):
    """Google's regions of one year. The column's name changes in 2021 (life cycle before, grid since).

    Args:
        year: 2019 to 2024, 2022 by default; of a file given by ``path`` its name says it (``2022.csv``).
    """

    kind = "carbon"

    year: int = 0

    def read(self) -> Table:
        """A row per region; those without an intensity are left out and counted."""
        name = stem(self.path)
        year = self.said("year", 2022, int(name) if re.fullmatch(r"20\d\d", name) else None, range(2019, 2025))
        path = self.file(f"carbon/google_region_carbon/{year}.csv")
        values = ("Lifecycle grid carbon intensity (gCO2eq / kWh)", "Grid carbon intensity (gCO2eq / kWh)")
        kinds = {"Google Cloud Region": pa.string(), "Google CFE": pa.string()} | dict.fromkeys(values, pa.float64())
        frame = read_csv(path, kinds, optional=values, nullable=("Google CFE", *values)).to_pandas()
        named = [name for name in values if name in frame]
        if not named:
            raise InputError(f"{path}: row 1: no column of intensity, expected '{values[0]}' or '{values[1]}'")
        value = named[0]
        rows = np.arange(2, len(frame) + 2)
        keep = frame[value].notna().to_numpy()
        frame = frame[keep].reset_index(drop=True)
        start = np.datetime64(f"{year}-01-01", "s").astype(np.int64)
        share = pd.to_numeric(frame["Google CFE"].astype("str").str.rstrip("%"), errors="coerce")
        return checked(
            "carbon",
            {
                "place": places("gcp", frame["Google Cloud Region"]),
                "time_s": np.full(len(frame), start),
                "g_per_kwh": frame[value],
                "carbon_free_share": np.where(share > 1, share / 100.0, share),
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "no intensity"),
        )
