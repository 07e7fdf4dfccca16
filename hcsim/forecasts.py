"""What strategies are told of what is to come of a price or of carbon intensity: the truth with errors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hcsim.rng import stream, uniforms
from hcsim.series import Series

Floats = npt.NDArray[np.float64]
DAY_S = 86400.0


def forecast(
    series: Series, now_s: float, until_s: float, error: float = 0.0, seed: int = 0, key: str = ""
) -> tuple[Floats, Floats]:
    """Times from ``now_s`` on, and what is expected to hold from each until the next one, up to ``until_s``.

    Each true value is multiplied by exp(error·√(h/24 h)·z): h is how far ahead it lies, and z is standard normal, drawn
    by (seed, key, time of the value). So the error grows with the horizon as that of a random walk does, a forecast is
    the better the later it is made, the present is known, and two strategies are told the same. With ``error`` 0 it is
    the truth.

    Args:
        error: standard deviation of the logarithm at 24 hours.
        key: tells series apart.

    Returns:
        Both of shape (n,), n at least 1; they end where a series that stops does.
    """
    at_s, value = series.between(now_s, until_s)
    if error > 0.0 and len(at_s) > 1:
        from scipy.special import ndtri

        z = ndtri(uniforms(seed, stream(f"forecast {key}"), 0, np.round(at_s).astype(np.int64)))
        value = value * np.exp(error * np.sqrt((at_s - now_s) / DAY_S) * z)
    return at_s, value
