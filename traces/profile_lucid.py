"""Lucid (ASPLOS'23): 1,388 measured pairs of training jobs on one GPU, and how much slower each ran."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked


@dataclass(frozen=True)
class ProfileLucid(Source):
    """Relative speed (1: as alone) of each job of a pair; the GPU type is not given in the file."""

    kind = "profiles"

    def read(self) -> Table:
        """Two rows per pair, one for each job."""
        path = self.file("gpu_profiles/lucid_colocation/colocate_info.csv")
        text = ("model1", "dataset1", "model2", "dataset2")
        number = ("batchsize1", "amp1", "speed1", "batchsize2", "amp2", "speed2")
        frame = read_csv(path, dict.fromkeys(text, pa.string()) | dict.fromkeys(number, pa.float64())).to_pandas()
        names = {k: self._name(frame, k) for k in ("1", "2")}
        n = len(frame)
        return checked(
            "profiles",
            {
                "model": pd.concat([names["1"], names["2"]], ignore_index=True),
                "gpu": np.full(2 * n, "unknown"),
                "gpus": np.ones(2 * n),
                "setting": "with " + pd.concat([names["2"], names["1"]], ignore_index=True),
                "metric": np.full(2 * n, "relative speed"),
                "value": pd.concat([frame["speed1"], frame["speed2"]], ignore_index=True),
                "unit": np.full(2 * n, "1"),
            },
            str(path),
            np.tile(np.arange(2, n + 2), 2),
        )

    def _name(self, frame: pd.DataFrame, which: str) -> pd.Series[str]:
        """A job of a pair in words."""
        batch = frame[f"batchsize{which}"].map(", batch {:g}".format)
        amp = frame[f"amp{which}"].map(lambda on: ", amp" if on else "")
        name: pd.Series[str] = frame[f"model{which}"] + " (" + frame[f"dataset{which}"] + batch + amp + ")"
        return name
