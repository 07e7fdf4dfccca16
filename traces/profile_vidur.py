"""Vidur's measured times of LLM operators (MLSys'24): layers of seven models on A100, H100 and A40 by tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import header, read_csv
from hcsim.traces._table import Source, Table, checked, left_out


@dataclass(frozen=True)
class ProfileVidur(Source):
    """Mean times of the operators of one model on one GPU type. Times are milliseconds in the file; ``gpus`` is the
    degree of tensor parallelism. Its attention tables could not be had.

    Args:
        gpu: ``a100``, ``h100`` (the default) or ``a40``.
        model: as its folder is called, ``meta-llama/Llama-2-7b-hf`` by default. Of a file given by ``path`` the folders
            in which it lies say both (``compute/a40/internlm/internlm-20b/mlp.csv``).
    """

    kind = "profiles"

    gpu: str = ""
    model: str = ""

    def read(self) -> Table:
        """A row per operator and row of the file."""
        named = re.search(r"/compute/(\w+)/(\w.*)/[^/]+$", Path(self.path).absolute().as_posix())
        gpu = self.said("gpu", "h100", named and named[1])
        model = self.said("model", "meta-llama/Llama-2-7b-hf", named and named[2])
        path = self.file(f"gpu_profiles/vidur/compute/{gpu}/{model}/mlp.csv")
        means = [name for name in header(path) if name.startswith("time_stats.") and name.endswith(".mean")]
        fixed = ("num_tokens", "num_tensor_parallel_workers")
        frame = read_csv(path, dict.fromkeys((*fixed, *means), pa.float64()), nullable=means).to_pandas()
        parts = [
            pd.DataFrame(
                {
                    "gpus": frame["num_tensor_parallel_workers"],
                    "setting": frame["num_tokens"].map("{:g} tokens".format),
                    "metric": name.removeprefix("time_stats.").removesuffix(".mean"),
                    "value": frame[name] / 1e3,
                    "row": np.arange(2, len(frame) + 2),
                }
            )
            for name in means
        ]
        if not parts:
            raise InputError(f"{path}: row 1: no column of a mean time, expected time_stats.NAME.mean")
        every = pd.concat(parts, ignore_index=True)
        rows, keep = every["row"].to_numpy(), every["value"].notna().to_numpy()
        every = every[keep].reset_index(drop=True)
        return checked(
            "profiles",
            {
                "model": np.full(len(every), model),
                "gpu": np.full(len(every), gpu.upper()),
                "gpus": every["gpus"],
                "setting": every["setting"],
                "metric": every["metric"].astype("str"),
                "value": every["value"],
                "unit": np.full(len(every), "s"),
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "no time of that operator"),
        )
