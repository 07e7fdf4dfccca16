"""How often jobs fail for reasons of their own: one mean time for all, or one by gang size."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.errors import InputError

#: Seconds between failures of a running job; or gang size (GPUs) -> seconds.
Crashes = float | Mapping[int, float]


def checked(model: Crashes, key: str) -> Crashes:
    """The model, its table with integers as keys.

    Raises:
        InputError: times that are not above 0, a size below 1, a table without a row.
    """
    if not isinstance(model, Mapping):
        if isinstance(model, bool) or not isinstance(model, (int, float)) or not model > 0:
            raise InputError(f"{key} is {model!r}, expected seconds > 0 (inf: never), or a table gang size: seconds")
        return model
    if not model:
        raise InputError(f"{key} is an empty table, expected gang size: seconds")
    found = {}
    for gpus, mtbf_s in model.items():
        size = int(gpus) if str(gpus).isdecimal() else 0
        if size < 1:
            raise InputError(f"{key}: gang size '{gpus}', expected an integer >= 1")
        if isinstance(mtbf_s, bool) or not isinstance(mtbf_s, (int, float)) or not (isfinite(mtbf_s) and mtbf_s > 0):
            raise InputError(f"{key}.{gpus} is {mtbf_s!r}, expected seconds, finite, > 0")
        found[size] = float(mtbf_s)
    return found


def mean_s(model: Crashes, gpus: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    """Mean seconds of running between failures of each job, shape of ``gpus``; None where none ever fails.

    A table is interpolated linearly between the logarithms of sizes and times; beyond its ends it is as at them.
    """
    if isinstance(model, Mapping):
        size = np.array(sorted(model), np.float64)
        known = np.log([model[int(each)] for each in size])
        out: npt.NDArray[np.float64] = np.exp(np.interp(np.log(np.maximum(gpus, 1)), np.log(size), known))
        return out
    return None if model == inf else np.full(len(gpus), float(model))
