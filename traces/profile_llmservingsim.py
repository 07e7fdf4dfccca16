"""LLMServingSim's measured operators (IISWC'24): layers and attention of three LLMs on H100, RTX PRO 6000, TPU v6e."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import read_bytes, read_csv, stem
from hcsim.traces._gpus import canonical
from hcsim.traces._table import Source, Table, checked, left_out, written

#: Columns with a time -> factor to seconds. Of the statistics of a time, the mean.
TIMES = {"latency(ns)": 1e-9, "mean_ns": 1e-9, "time_us": 1e-6}
#: Columns with the name of an operator; a file without one is of the operator that it is named after.
OPERATORS = ("layer_name", "layer")
#: What else was fixed, as the columns call it.
SETTINGS = (
    "input", "tokens", "sequences", "batch_size", "prefill_chunk_size", "prefill_chunk", "kv_cache", "kv_cache_size",
    "kv_prefill", "n_decode", "kv_decode", "is_prefill",
)  # fmt: skip
#: The folders in which a file lies: accelerator, the model's two names, perhaps its number format, parallelism.
PLACE = re.compile(r"/(?P<gpu>[^/]+)/(?P<model>[^/]+/[^/]+)/(?P<variant>([a-z]+\d+[^/]*/)?tp\d{1,4})$")


@dataclass(frozen=True)
class ProfileLlmservingsim(Source):
    """Mean times of the operators of one model on one accelerator, in the four shapes that its profilers write:
    ``layers.csv`` (ns), ``attention.csv`` of Vidur's profiler (``time_stats.*.mean``, ms), of the TPU's (ns) and, with
    ``dense.csv`` and ``per_sequence.csv``, of the newer one (µs). ``gpus`` is the degree of tensor parallelism.

    Prefill and decode of Vidur's shape are columns of which each row fills one.

    Args:
        gpu: ``H100`` (the default), ``RTXPRO6000`` or ``TPU-v6e-1``.
        model: as its folders are called, ``meta-llama/Llama-3.1-8B`` by default.
        variant: the folders below: ``tp1`` (the default), ``tp4``, ``bf16/tp2``.
        table_name: ``layers`` (the default), ``attention``, ``dense`` or ``per_sequence``. Of a file given by ``path``
            its name and the folders in which it lies say all four (``H100/meta-llama/Llama-3.1-8B/tp1/layers.csv``).
    """

    kind = "profiles"

    gpu: str = ""
    model: str = ""
    variant: str = ""
    table_name: str = ""

    def read(self) -> Table:
        """A row per operator and row of the file."""
        named = PLACE.search(Path(self.path).absolute().parent.as_posix())
        gpu = self.said("gpu", "H100", named and named["gpu"])
        model = self.said("model", "meta-llama/Llama-3.1-8B", named and named["model"])
        variant = self.said("variant", "tp1", named and named["variant"])
        table = self.said("table_name", "layers", stem(self.path))
        path = self.file(f"gpu_profiles/llmservingsim/{gpu}/{model}/{variant}/{table}.csv")
        raw = read_bytes(path)
        header = raw.split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip().split(",")
        means = {f"time_stats.{name}.mean": name for name in re.findall(r"time_stats\.(\w+)\.mean", ",".join(header))}
        factors = {name: TIMES[name] for name in header if name in TIMES} | dict.fromkeys(means, 1e-3)
        if not factors:
            raise InputError(f"{path}: row 1: no column of times, expected {', '.join(TIMES)} or time_stats.*.mean")
        operator = next((name for name in OPERATORS if name in header), "")
        fixed = [name for name in SETTINGS if name in header]
        if not fixed:
            raise InputError(f"{path}: row 1: no column of sizes, expected some of {', '.join(SETTINGS)}")
        parallel = [name for name in ("tp_size", "num_tensor_parallel_workers") if name in header]
        text = {name: pa.string() for name in (operator, "is_prefill") if name in header}
        kinds = dict.fromkeys([*fixed, *parallel, *factors], pa.float64()) | text
        frame = read_csv(path, kinds, nullable=tuple(means), raw=raw).to_pandas()
        setting = pd.Series("", index=frame.index, dtype="str")
        for name in fixed:
            setting = setting + f", {name} " + (frame[name] if name in text else written(frame[name], "{:g}"))
        degree = frame[parallel[0]] if parallel else np.full(len(frame), _degree(variant))
        parts = [
            pd.DataFrame(
                {
                    "gpus": degree,
                    "setting": setting.str.removeprefix(", "),
                    "metric": frame[operator] if operator else means.get(name, table),
                    "value": frame[name] * factor,
                    "row": np.arange(2, len(frame) + 2),
                }
            )
            for name, factor in factors.items()
        ]
        every = pd.concat(parts, ignore_index=True).dropna(subset="value").reset_index(drop=True)
        timed = frame[list(factors)].notna().any(axis=1).to_numpy()
        if not timed.any():
            raise InputError(f"{path}: no row has a time")
        return checked(
            "profiles",
            {
                "model": np.full(len(every), model),
                "gpu": np.full(len(every), canonical(gpu)),
                "gpus": every["gpus"],
                "setting": every["setting"] + (f", {variant}" if "/" in variant else ""),
                "metric": every["metric"].astype("str"),
                "value": every["value"],
                "unit": np.full(len(every), "s"),
            },
            str(path),
            every["row"].to_numpy(),
            left_out(timed, np.arange(2, len(frame) + 2), "no time"),
        )


def _degree(variant: str) -> float:
    """Tensor parallelism of a file that says it in its folder's name only."""
    found = re.search(r"tp(\d{1,4})$", variant)
    if not found:
        raise InputError(f"trace.variant is '{variant}', expected a name that ends in tp and a number")
    return float(found[1])
