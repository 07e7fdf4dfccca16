"""How often to write a checkpoint: the intervals of work that lose least to failures at random.

δ is the time that writing one takes, M the mean time between failures; all in seconds, arrays of any shape or numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def young_s(write_s: Floats, mtbf_s: Floats) -> Floats:
    """√(2δM) (Young, CACM 17(9), 1974)."""
    return np.sqrt(2.0 * np.asarray(write_s) * np.asarray(mtbf_s))


def daly_s(write_s: Floats, mtbf_s: Floats) -> Floats:
    """√(2δM)·[1 + √(δ/2M)/3 + (δ/2M)/9] − δ, and M where δ ≥ 2M (Daly, FGCS 22(3), 2006, equation 37)."""
    write_s, mtbf_s = np.asarray(write_s, np.float64), np.asarray(mtbf_s, np.float64)
    share = write_s / (2.0 * mtbf_s)
    longer = young_s(write_s, mtbf_s) * (1.0 + np.sqrt(share) / 3.0 + share / 9.0) - write_s
    out: Floats = np.where(share < 1.0, longer, mtbf_s)
    return out


def exact_s(write_s: Floats, mtbf_s: Floats) -> Floats:
    """M·(1 + W₀(−e^(−δ/M − 1))), W₀ the Lambert function: the root of e^((τ+δ)/M)·(τ/M − 1) + 1 = 0, at which the
    expected time is least (Daly 2006, section 3)."""
    from scipy.special import lambertw

    share = np.asarray(write_s, np.float64) / np.asarray(mtbf_s, np.float64)
    root: Floats = np.real(np.asarray(lambertw((-np.exp(-share - 1.0)).tolist())))
    out: Floats = mtbf_s * (1.0 + root)
    return out


RULES: dict[str, Callable[[Floats, Floats], Floats]] = {"young": young_s, "daly": daly_s, "exact": exact_s}
