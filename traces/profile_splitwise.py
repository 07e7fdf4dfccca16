"""Splitwise's performance model (ISCA'24): prompt and token times and power of two LLMs on A100 and H100."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._gpus import named
from hcsim.traces._table import Source, Table, checked, written

#: Column -> (metric, unit, factor to the unit).
METRICS = {
    "prompt_time": ("prompt time", "s", 1e-3),
    "token_time": ("time per token", "s", 1e-3),
    "e2e_time": ("end to end", "s", 1e-3),
    "peak_power": ("peak power", "share of the cap", 1.0),
    "average_power": ("average power", "share of the cap", 1.0),
}


@dataclass(frozen=True)
class ProfileSplitwise(Source):
    """Times are milliseconds in the file. ``gpus`` is the degree of tensor parallelism. H100 with a cap on its power
    (``h100-80gb-pcap``) is told apart by the setting."""

    kind = "profiles"

    def read(self) -> Table:
        """Five rows per row of the file."""
        path = self.file("gpu_profiles/splitwise_sim/perf_model.csv")
        sizes = ("prompt_size", "batch_size", "token_size", "tensor_parallel")
        kinds = dict.fromkeys(("model", "hardware"), pa.string()) | dict.fromkeys((*sizes, *METRICS), pa.float64())
        frame = read_csv(path, kinds).to_pandas()
        shown = [name + " " + written(frame[name], "{:g}") for name in ("prompt_size", "batch_size", "token_size")]
        capped = frame["hardware"].str.endswith("-pcap").map({True: ", power capped", False: ""})
        frame["setting"] = shown[0] + ", " + shown[1] + ", " + shown[2] + capped
        parts = [
            frame.assign(metric=metric, unit=unit, value=frame[column] * factor)
            for column, (metric, unit, factor) in METRICS.items()
        ]
        every = pd.concat(parts, ignore_index=True)
        return checked(
            "profiles",
            {
                "model": every["model"],
                "gpu": named(every["hardware"]),
                "gpus": every["tensor_parallel"],
                "setting": every["setting"],
                "metric": every["metric"].astype("str"),
                "value": every["value"],
                "unit": every["unit"].astype("str"),
            },
            str(path),
            np.tile(np.arange(2, len(frame) + 2), len(METRICS)),
        )
