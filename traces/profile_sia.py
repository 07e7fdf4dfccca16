"""Seven models as Sia (SOSP'23) measured them: step times on five kinds of nodes, gradients by batch size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import read_csv, refuse, stem
from hcsim.traces._table import Source, Table, checked, written

MODELS = ("bert", "cifar10", "deepspeech2", "gpt_pmp", "imagenet", "ncf", "yolov3")


@dataclass(frozen=True)
class ProfileSia(Source):
    """Seconds per step and per synchronisation, at a local batch size and a placement.

    A placement is GPUs per node, a digit a node (``44`` is two nodes of four); the scalability files give nodes and
    replicas instead. ``gpu`` is the cluster's name in the file's.

    Args:
        model: bert, cifar10, deepspeech2, gpt_pmp, imagenet (the default), ncf, yolov3; of a file given by ``path`` its
            folder says it (``bert/placements-aws.csv``).
        table_name: the file: ``placements-`` or ``scalability-`` and the cluster.
    """

    kind = "profiles"

    model: str = ""
    table_name: str = "placements-aws"

    def read(self) -> Table:
        """Two rows per row of the file: step and synchronisation."""
        folder = Path(self.path).absolute().parent.name
        model = self.said("model", "imagenet", folder if folder in MODELS else None)
        path = self.file(f"gpu_profiles/sia/{model}/{self.table_name}.csv")
        number = ("local_bsz", "step_time", "sync_time", "num_nodes", "num_replicas")
        kinds = dict.fromkeys(number, pa.float64()) | {"placement": pa.string()}
        optional = ("placement", "num_nodes", "num_replicas")
        frame = read_csv(path, kinds, optional=optional).to_pandas()
        if "placement" in frame:
            gpus = frame["placement"].map(_gpus)
            given = frame["placement"].to_numpy()
            refuse(path, (gpus.isna().to_numpy(), np.arange(2, len(frame) + 2), "placement", given, "digits"))
            where = "placement " + frame["placement"]
        elif "num_replicas" in frame and "num_nodes" in frame:
            gpus, where = frame["num_replicas"], written(frame["num_nodes"], "{:g} nodes")
        else:
            raise InputError(f"{path}: row 1: neither placement nor num_nodes and num_replicas")
        setting = where + ", local batch " + written(frame["local_bsz"], "{:g}")
        both = [frame["step_time"], frame["sync_time"]]
        n = len(frame)
        return checked(
            "profiles",
            {
                "model": np.full(2 * n, model),
                "gpu": np.full(2 * n, stem(path).partition("-")[2] or "unknown"),
                "gpus": np.tile(gpus.to_numpy(dtype=np.float64), 2),
                "setting": pd.concat([setting, setting], ignore_index=True),
                "metric": np.repeat(["step time", "synchronisation time"], n),
                "value": pd.concat(both, ignore_index=True),
                "unit": np.full(2 * n, "s"),
            },
            str(path),
            np.tile(np.arange(2, n + 2), 2),
        )


@dataclass(frozen=True)
class ProfileSiaValidation(Source):
    """A training run at one batch size: the validation metric (accuracy, loss or error, as the model has it) and the
    squared norm and the variance of the gradient after each part of it, from which Pollux's statistical efficiency is
    made. What it ran on is not said: ``gpu`` is unknown, ``gpus`` 0.

    Args:
        model: bert, cifar10, deepspeech2, gpt_pmp, imagenet (the default), ncf, yolov3; of a file given by ``path``
            its folder says it.
        batch: the batch size, 200 by default; of a file given by ``path`` its name says it (``validation-200.csv``).
    """

    kind = "profiles"

    model: str = ""
    batch: int = 0

    def read(self) -> Table:
        """Three rows per row of the file; ``setting`` gives the batch, the progress and the iteration."""
        folder, named = Path(self.path).absolute().parent.name, re.fullmatch(r"validation-(\d+)", stem(self.path))
        model = self.said("model", "imagenet", folder if folder in MODELS else None)
        batch = self.said("batch", 200, named and int(named[1]))
        path = self.file(f"gpu_profiles/sia/{model}/validation-{batch}.csv")
        values = {"metric": "validation metric", "grad_sqr": "squared gradient", "grad_var": "gradient variance"}
        frame = read_csv(path, dict.fromkeys(("progress", "iteration", *values), pa.float64())).to_pandas()
        n = len(frame)
        setting = (
            f"batch {batch}"
            + written(frame["progress"], ", progress {:.12g}")
            + written(frame["iteration"], ", iteration {:.0f}")
        )
        return checked(
            "profiles",
            {
                "model": np.full(3 * n, model),
                "gpu": np.full(3 * n, "unknown"),
                "gpus": np.zeros(3 * n),
                "setting": pd.concat([setting] * 3, ignore_index=True),
                "metric": np.repeat(list(values.values()), n),
                "value": pd.concat([frame[name] for name in values], ignore_index=True),
                "unit": np.full(3 * n, "1"),
            },
            str(path),
            np.tile(np.arange(2, n + 2), 3),
        )


def _gpus(placement: str) -> float:
    """GPUs of a placement; NaN for what is none."""
    return float(sum(int(digit) for digit in placement)) if placement.isdigit() else float("nan")
