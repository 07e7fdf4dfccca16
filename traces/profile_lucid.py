"""Lucid (ASPLOS'23): 1,388 measured pairs of training jobs on one GPU, how much slower each ran, and 66 jobs alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked, written

GPU = "RTX3090"
#: Column -> (metric, unit, factor to the unit).
METRICS = {
    "speed": ("throughput", "samples/s", 1.0),
    "gpu_util": ("GPU utilisation", "share", 0.01),
    "gmem_util": ("memory utilisation", "share", 0.01),
    "gmem": ("memory", "bytes", 1024.0**2),
}


@dataclass(frozen=True)
class ProfileLucid(Source):
    """Relative speed (1: as alone) of each job of a pair, on RTX 3090 (``simulation/policy/lucid.py`` of the authors'
    repository, S-Lab-System-Group/Lucid; the file does not say)."""

    kind = "profiles"

    def read(self) -> Table:
        """Two rows per pair, one for each job."""
        path = self.file("gpu_profiles/lucid_colocation/colocate_info.csv")
        text = ("model1", "dataset1", "model2", "dataset2")
        number = ("batchsize1", "amp1", "speed1", "batchsize2", "amp2", "speed2")
        frame = read_csv(path, dict.fromkeys(text, pa.string()) | dict.fromkeys(number, pa.float64())).to_pandas()
        names = {k: _name(frame, k) for k in ("1", "2")}
        n = len(frame)
        return checked(
            "profiles",
            {
                "model": pd.concat([names["1"], names["2"]], ignore_index=True),
                "gpu": np.full(2 * n, GPU),
                "gpus": np.ones(2 * n),
                "setting": "with " + pd.concat([names["2"], names["1"]], ignore_index=True),
                "metric": np.full(2 * n, "relative speed"),
                "value": pd.concat([frame["speed1"], frame["speed2"]], ignore_index=True),
                "unit": np.full(2 * n, "1"),
            },
            str(path),
            np.tile(np.arange(2, n + 2), 2),
        )


@dataclass(frozen=True)
class ProfileLucidSingle(Source):
    """The 66 jobs alone: throughput, how busy the GPU and its memory were (shares of time, per cent in the file), and
    how much memory they took (MiB in the file). The publishers' class of each job (``label``) is left."""

    kind = "profiles"

    def read(self) -> Table:
        """Four rows per row of the file."""
        path = self.file("gpu_profiles/lucid_colocation/single_data.csv")
        number = ("batchsize", "amp", *METRICS)
        kinds = dict.fromkeys(("model", "dataset"), pa.string()) | dict.fromkeys(number, pa.float64())
        frame = read_csv(path, kinds).to_pandas()
        n = len(frame)
        return checked(
            "profiles",
            {
                "model": pd.concat([_name(frame, "")] * len(METRICS), ignore_index=True),
                "gpu": np.full(len(METRICS) * n, GPU),
                "gpus": np.ones(len(METRICS) * n),
                "setting": np.full(len(METRICS) * n, "alone"),
                "metric": np.repeat([metric for metric, _, _ in METRICS.values()], n),
                "value": np.concatenate([frame[name] * factor for name, (_, _, factor) in METRICS.items()]),
                "unit": np.repeat([unit for _, unit, _ in METRICS.values()], n),
            },
            str(path),
            np.tile(np.arange(2, n + 2), len(METRICS)),
        )


def _name(frame: pd.DataFrame, which: str) -> pd.Series[str]:
    """A job in words, of a pair the first (``1``) or second."""
    batch = written(frame[f"batchsize{which}"], ", batch {:g}")
    amp = frame[f"amp{which}"].map(lambda on: ", amp" if on else "")
    name: pd.Series[str] = frame[f"model{which}"] + " (" + frame[f"dataset{which}"] + batch + amp + ")"
    return name
