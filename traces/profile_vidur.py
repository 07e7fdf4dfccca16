"""Vidur's measured times (MLSys'24): layers of LLMs on A100, H100 and A40 by tokens, and collectives by bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import header, read_csv
from hcsim.traces._gpus import canonical
from hcsim.traces._table import Source, Table, checked, left_out, written

COLLECTIVES = ("all_reduce", "send_recv")


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
                    "setting": written(frame["num_tokens"], "{:g} tokens"),
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
                "gpu": np.full(len(every), canonical(gpu)),
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


@dataclass(frozen=True)
class ProfileVidurNetwork(Source):
    """Mean times of a collective among the GPUs of one or two nodes. Times are milliseconds in the file, ``size`` bytes
    (a tensor's, as Vidur's profiler passes it on); ``gpus`` is the number of workers, ``model`` is empty.

    The published files of send_recv on pairwise NVLink are the same for A100 and H100: which of them was measured is
    not known.

    Args:
        cluster: GPU and wiring: ``a100_dgx`` (the default), ``h100_dgx``, ``a100_pairwise_nvlink``,
            ``h100_pairwise_nvlink``, or ``a40_pairwise_nvlink`` (send_recv alone); of a file given by ``path`` its
            folder says it.
        collective: ``all_reduce`` (the default) or ``send_recv``; a file given by ``path`` says it.
    """

    kind = "profiles"

    cluster: str = ""
    collective: str = ""

    def read(self) -> Table:
        """A row per row of the file."""
        folder = Path(self.path).absolute().parent.name
        cluster = self.said("cluster", "a100_dgx", folder if re.fullmatch(r"[a-z]+\d+[a-z]*_\w+", folder) else None)
        head = header(self.file("")) if self.path else []
        there = next((name for name in COLLECTIVES if f"time_stats.{name}.mean" in head), None)
        collective = self.said("collective", "all_reduce", there, COLLECTIVES)
        path = self.file(f"gpu_profiles/vidur/network/{cluster}/{collective}.csv")
        mean = f"time_stats.{collective}.mean"
        number = ("num_workers", "size", "devices_per_node", mean)
        frame = read_csv(path, dict.fromkeys(number, pa.float64())).to_pandas()
        gpu, _, wiring = cluster.partition("_")
        setting = (
            written(frame["size"], "{:.0f} bytes, ")
            + written(frame["devices_per_node"], "{:g} a node, ")
            + (wiring.replace("_", " ") or "unknown wiring")
        )
        return checked(
            "profiles",
            {
                "model": np.full(len(frame), ""),
                "gpu": np.full(len(frame), canonical(gpu)),
                "gpus": frame["num_workers"],
                "setting": setting,
                "metric": np.full(len(frame), collective),
                "value": frame[mean] / 1e3,
                "unit": np.full(len(frame), "s"),
            },
            str(path),
        )
