"""Zeus (NSDI'23): time per epoch and power of training by batch size and power limit on four GPU types."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.traces._files import read_csv, stem
from hcsim.traces._gpus import canonical
from hcsim.traces._table import Source, Table, checked, left_out, written


@dataclass(frozen=True)
class ProfileZeus(Source):
    """One GPU each.

    Args:
        gpu: ``v100`` (the default), ``a40``, ``rtx6000`` or ``p100``; of a file given by ``path`` its name says it
            (``summary_power_a40.csv``).
    """

    kind = "profiles"

    gpu: str = ""

    def read(self) -> Table:
        """Two rows per row of the file: time and power."""
        named = re.fullmatch(r"summary_power_(\w+)", stem(self.path))
        gpu = self.said("gpu", "v100", named and named[1])
        path = self.file(f"gpu_profiles/zeus/summary_power_{gpu}.csv")
        number = ("batch_size", "power_limit", "time_per_epoch", "average_power")
        text = ("dataset", "network", "optimizer")
        frame = read_csv(path, dict.fromkeys(text, pa.string()) | dict.fromkeys(number, pa.float64())).to_pandas()
        n = len(frame)
        setting = _run(frame) + written(frame["power_limit"], ", limit {:g} W")
        return checked(
            "profiles",
            {
                "model": pd.concat([frame["network"]] * 2, ignore_index=True),
                "gpu": np.full(2 * n, canonical(gpu)),
                "gpus": np.ones(2 * n),
                "setting": pd.concat([setting] * 2, ignore_index=True),
                "metric": np.repeat(["time per epoch", "average power"], n),
                "value": pd.concat([frame["time_per_epoch"], frame["average_power"]], ignore_index=True),
                "unit": np.repeat(["s", "W"], n),
            },
            str(path),
            np.tile(np.arange(2, n + 2), 2),
        )


@dataclass(frozen=True)
class ProfileZeusTrain(Source):
    """Epochs until a target of accuracy (or word error) is met, by batch size, optimiser, learning rate and run. They
    do not depend on the GPU type, so none is given. Runs that never met a target are left out and counted."""

    kind = "profiles"

    def read(self) -> Table:
        """A row per run and target."""
        path = self.file("gpu_profiles/zeus/summary_train.csv")
        text = ("dataset", "network", "optimizer", "learning_rate")
        number = ("batch_size", "run", "target_metric", "target_epoch")
        kinds = dict.fromkeys(text, pa.string()) | dict.fromkeys(number, pa.float64())
        frame = read_csv(path, kinds, nullable=("target_epoch",)).to_pandas()
        rows = np.arange(2, len(frame) + 2)
        met = frame["target_epoch"].notna().to_numpy()
        frame = frame[met].reset_index(drop=True)
        setting = (
            _run(frame)
            + ", learning rate "
            + frame["learning_rate"]
            + written(frame["run"], ", run {:g}")
            + written(frame["target_metric"], ", to {:g}")
        )
        return checked(
            "profiles",
            {
                "model": frame["network"],
                "gpu": np.full(len(frame), ""),
                "gpus": np.ones(len(frame)),
                "setting": setting.astype("str"),
                "metric": np.full(len(frame), "epochs to target"),
                "value": frame["target_epoch"],
                "unit": np.full(len(frame), "epochs"),
            },
            str(path),
            rows[met],
            left_out(met, rows, "the run never met that target"),
        )


def _run(frame: pd.DataFrame) -> pd.Series:
    """Dataset, batch size and optimiser in words."""
    run: pd.Series = frame["dataset"] + ", batch " + written(frame["batch_size"], "{:g}") + ", " + frame["optimizer"]
    return run
