"""Distributions as a few figures: quantiles with the mean between each two of them, and draws from these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.traces._twins import Quantiles

Floats = npt.NDArray[np.float64]

QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
#: Fewer values than this are not told apart: every figure is of so many of them.
LEAST_ALIKE = 5
#: How far normal scores are moved at most, and how often the interval is halved in which the right distance is.
FURTHEST, HALVINGS = 8.0, 40


def quantiles(values: npt.NDArray[Any]) -> Quantiles:
    """Quantiles, and the mean between each two of them. An edge is the mean of the :data:`LEAST_ALIKE` values above it,
    the last one of the greatest, so that none tells a single value."""
    x = np.sort(values.astype(np.float64))
    edges: list[int] = []
    for edge in np.round(np.array(QUANTILES[1:-1]) * len(x)).astype(int).tolist():
        if edge - (edges[-1] if edges else 0) >= LEAST_ALIKE and len(x) - edge >= LEAST_ALIKE:
            edges.append(edge)
    parts = np.split(x, edges)
    ends = [*(float(part[:LEAST_ALIKE].mean()) for part in parts), float(x[-LEAST_ALIKE:].mean())]
    return Quantiles(
        share=tuple(round(len(part) / len(x), 6) for part in parts),
        edge=tuple(float(f"{v:.4g}") for v in ends),
        mean=tuple(float(f"{part.mean():.5g}") for part in parts),
    )


def draw(figures: Quantiles, u: Floats) -> Floats:
    """Values whose quantiles are the edges, and whose mean between two edges is what it was; rising in ``u``.

    Between edges a and b they are a + (b - a) v^k for uniform v, whose mean is a + (b - a) / (k + 1).
    """
    share, edge, mean = (np.array(each) for each in (figures.share, figures.edge, figures.mean))
    ends = np.cumsum(share) / share.sum()
    i = np.minimum(np.searchsorted(ends, u, side="right"), len(share) - 1)
    low, high = edge[:-1], edge[1:]
    width = np.maximum(high - low, 1e-12)
    power = np.clip(width / np.maximum(mean - low, 1e-3 * width) - 1.0, 1e-3, 1e3)
    begin = np.r_[0.0, ends[:-1]]
    v = np.clip((u - begin[i]) / np.maximum(ends - begin, 1e-12)[i], 0.0, 1.0)
    out: Floats = low[i] + (high - low)[i] * v ** power[i]
    return out


def matched(value: Callable[[Floats], Floats], score: Floats, group: npt.NDArray[np.int64], total: Floats) -> Floats:
    """The normal scores, all of a group moved by one amount so that the sum of ``value(u)`` over it is its total.

    Args:
        value: of uniforms, shape (n,), what is to be summed; rising in each.
        total: per group; one that cannot be reached is come near to.
    """
    from scipy.special import ndtr

    low, high = np.full(len(total), -FURTHEST), np.full(len(total), FURTHEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        short = np.bincount(group, weights=value(ndtr(score + middle[group])), minlength=len(total)) < total
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    out: Floats = score + ((low + high) / 2.0)[group]
    return out


def normal_scores(values: npt.NDArray[Any], classes: npt.NDArray[np.int64] | None = None) -> Floats:
    """Normal scores of values among those of one class, of mean 0 and variance 1 in each (0 where all are equal)."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    classes = np.zeros(len(values), np.int64) if classes is None else classes
    out = np.empty(len(values))
    for c in np.unique(classes):
        mine = classes == c
        raw = ndtri((rankdata(values[mine]) - 0.5) / mine.sum())
        out[mine] = (raw - raw.mean()) / (raw.std() or 1.0)  # ties shrink them
    return out


def correlation(a: Floats, b: Floats, least: int = 30) -> float:
    """Pearson correlation, at least -0.99 and at most 0.99; 0 for fewer than ``least`` pairs or a constant."""
    if len(a) < least or not a.std() or not b.std():
        return 0.0
    return round(float(np.clip(np.corrcoef(a, b)[0, 1], -0.99, 0.99)), 4)


def choose(shares: Sequence[float], u: Floats) -> npt.NDArray[np.int64]:
    """Indices drawn with these shares."""
    edges = np.cumsum(np.array(shares))
    return np.minimum(np.searchsorted(edges / edges[-1], u, side="right"), len(shares) - 1)


def evenly(u: Floats) -> Floats:
    """Uniforms in the same order, an equal distance apart: what is chosen by them has its shares, up to rounding."""
    out = np.empty(len(u))
    out[np.argsort(u, kind="stable")] = (np.arange(len(u)) + 0.5) / max(len(u), 1)
    return out


def shares(codes: npt.NDArray[Any], count: int) -> tuple[float, ...]:
    """The share of each code from 0 to ``count`` - 1."""
    return tuple(round(float(s), 6) for s in np.bincount(codes, minlength=count) / max(len(codes), 1))


def autoregressive(noise: Floats, sigma: float, rho: float) -> Floats:
    """A stationary normal series from standard normal noise: this deviation and lag-one correlation."""
    from scipy.signal import lfilter

    if not rho or not len(noise):
        return sigma * noise
    series: Floats = lfilter([sqrt(1.0 - rho * rho)], [1.0, -rho], noise, zi=[rho * noise[0]])[0]
    return sigma * series
