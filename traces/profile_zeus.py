"""Zeus (NSDI'23): time per epoch and power of training by batch size and power limit on four GPU types."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.traces._files import read_csv, stem
from hcsim.traces._table import Source, Table, checked


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
        setting = (
            frame["dataset"]
            + ", batch "
            + frame["batch_size"].map("{:g}".format)
            + ", "
            + frame["optimizer"]
            + frame["power_limit"].map(", limit {:g} W".format)
        )
        return checked(
            "profiles",
            {
                "model": pd.concat([frame["network"]] * 2, ignore_index=True),
                "gpu": np.full(2 * n, gpu.upper()),
                "gpus": np.ones(2 * n),
                "setting": pd.concat([setting] * 2, ignore_index=True),
                "metric": np.repeat(["time per epoch", "average power"], n),
                "value": pd.concat([frame["time_per_epoch"], frame["average_power"]], ignore_index=True),
                "unit": np.repeat(["s", "W"], n),
            },
            str(path),
            np.tile(np.arange(2, n + 2), 2),
        )
