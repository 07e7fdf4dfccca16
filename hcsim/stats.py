"""What a comparison computes: intervals, tests, corrections, effect sizes, power, ranks and fronts, on plain arrays.

``differences`` are paired: one value per seed (or whatever is independent), one strategy's figure less another's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LEVEL = 0.95  # of every interval; a claim is made at 1 - LEVEL
POWER = 0.8
BOOTSTRAP_FROM = 20  # pairs; below it a bootstrap interval covers too little (a percentile one 84 % at five)
MOST_PAIRS = 1000  # beyond it "more seeds" is no advice
_ROUNDING = 1e-12


def differences(ours: Floats, base: Floats) -> Floats:
    """``ours`` less ``base``, with 0 for what is no more than rounding of the figures."""
    delta = ours - base
    return np.where(np.abs(delta) <= _ROUNDING * np.maximum(np.abs(ours), np.abs(base)), 0.0, delta)


def t_interval(values: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Mean and half-width of Student's t interval; the half-width is NaN for fewer than two values."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return (float(values.mean()) if n else float("nan")), float("nan")
    return float(values.mean()), float(stdtrit(n - 1, 0.5 + level / 2) * values.std(ddof=1) / np.sqrt(n))


def t_test(values: Floats) -> float:
    """Two-sided p of Student's t test that the mean is 0; NaN for fewer than two values, 1 where all are 0."""
    from scipy.special import stdtr

    n = len(values)
    if n < 2 or np.isnan(values).any():
        return float("nan")
    mean, error = abs(values.mean()), values.std(ddof=1) / np.sqrt(n)
    if error == 0.0:
        return 0.0 if mean else 1.0
    return float(2 * stdtr(n - 1, -mean / error))


def holm(p: Floats) -> Floats:
    """p values of a family, corrected by Holm's step-down method (Scand. J. Statist. 6, 1979); NaN are no members.

    Whoever claims those at most α makes a false claim in at most α of all families, however they depend on each other.
    """
    out = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: int((~np.isnan(p)).sum())]
    steps = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return out


def bca_interval(values: Floats, level: float = LEVEL, draws: int = 4999) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of the mean (Efron, JASA 82, 1987), drawn the same each time.

    NaN for fewer than BOOTSTRAP_FROM values.
    """
    from scipy.stats import bootstrap

    if len(values) < BOOTSTRAP_FROM or np.isnan(values).any():
        return float("nan"), float("nan")
    if np.ptp(values) == 0.0:
        return float(values[0]), float(values[0])
    found: Any = bootstrap(
        (values,), np.mean, n_resamples=draws, confidence_level=level, method="BCa", rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def cohen_d(values: Floats) -> float:
    """Paired effect size: mean difference in standard deviations of the differences (Cohen's d_z); NaN without any."""
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return float(values.mean() / spread) if spread else float("nan")


def power(d: float, n: npt.NDArray[np.int64], alpha: float) -> Floats:
    """Chance that a two-sided paired t test at ``alpha`` over each of ``n`` pairs sees an effect of ``d`` (d_z)."""
    from scipy.special import stdtrit
    from scipy.stats import nct

    bound, shift = stdtrit(n - 1, 1 - alpha / 2), abs(d) * np.sqrt(n)
    wrong_side = np.nan_to_num(nct.cdf(-bound, n - 1, shift))  # NaN where it is too small for a float
    return np.asarray(nct.sf(bound, n - 1, shift) + wrong_side, np.float64)


def more_pairs(values: Floats, alpha: float = 1 - LEVEL) -> int | None:
    """How many more pairs would show the mean at ``alpha`` with a chance of POWER, if the truth is as observed.

    None where there is nothing to go by (fewer than two pairs, no spread, no difference) or it takes over MOST_PAIRS.
    An estimate from few pairs is itself uncertain: it is advice for the next sweep, not a result.
    """
    d = cohen_d(values)
    if np.isnan(d) or d == 0.0:
        return None
    low, high = len(values), MOST_PAIRS  # power grows with n: bisect
    if power(d, np.array([high]), alpha)[0] < POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(d, np.array([middle]), alpha)[0] >= POWER else (middle, high)
    return high - len(values)


def independent(values: Floats, *factors: npt.NDArray[Any]) -> Floats:
    """Of paired values the ones to take as independent, where pairs share a factor (a seed, a window of the trace).

    Where one factor alone varies these are the pairs. Where several do, pairs with the same level of one may resemble
    each other, so that of the pairs and the means per level of each factor those are taken whose t interval is widest:
    a claim must hold under each.
    """
    varying = [factor for factor in factors if len(np.unique(factor)) > 1]
    if len(varying) < 2 or np.isnan(values).any():
        return values
    choices = [values]
    for factor in varying:
        _, level = np.unique(factor, return_inverse=True)
        choices.append(np.bincount(level, values) / np.bincount(level))
    return max(choices, key=lambda each: t_interval(each)[1])


@dataclass(frozen=True)
class Ranks:
    """Place of each strategy by its mean, 1 the best, shape (strategies,) each.

    ``low`` to ``high`` are the places that cannot be excluded; ``first`` is the share of bootstrap samples of the pairs
    in which it is first (NaN for fewer than BOOTSTRAP_FROM pairs, and where pairs are not independent).
    ``better``, shape (strategies, strategies), is [i, j] where i is distinguishably better than j.
    """

    place: Floats
    low: Floats
    high: Floats
    first: Floats
    better: npt.NDArray[np.bool_]


def ranks(figures: Floats, more_is_better: bool, *factors: npt.NDArray[Any], draws: int = 2000) -> Ranks:
    """Rank strategies by a figure of shape (strategies, pairs).

    ``low`` is 1 and the number of strategies that are distinguishably better, ``high`` those that are not
    distinguishably worse: all pairs of strategies are tested, with Holm's correction, so that all of the ranges hold
    together with a chance of LEVEL (Mogstad, Romano, Shaikh and Wilhelm, Rev. Econ. Stud. 91, 2024).
    """
    signed = -figures if more_is_better else figures
    k, n = signed.shape
    mean = signed.mean(axis=1)
    a, b = np.triu_indices(k, 1)
    apart = [independent(differences(signed[i], signed[j]), *factors) for i, j in zip(a, b, strict=True)]
    claimed = holm(np.array([t_test(each) for each in apart])) < 1 - LEVEL
    less = np.array([each.mean() < 0 for each in apart], bool)
    better = np.zeros((k, k), bool)
    better[a, b], better[b, a] = claimed & less, claimed & ~less
    first = np.full(k, np.nan)
    if n >= BOOTSTRAP_FROM and sum(len(np.unique(factor)) > 1 for factor in factors) < 2:
        drawn = np.random.default_rng(0).integers(0, n, (draws, n))
        means = np.stack([signed[i][drawn].mean(axis=1) for i in range(k)])
        best = means <= means.min(axis=0)
        first = (best / best.sum(axis=0)).mean(axis=1)  # those that tie share
    place = (mean[None, :] < mean[:, None]).sum(axis=1) + 1.0
    return Ranks(place, 1.0 + better.sum(axis=0), k - better.sum(axis=1).astype(np.float64), first, better)


def dominators(points: Floats) -> npt.NDArray[np.bool_]:
    """Who dominates whom: [i, j] where point j is at least as good as i in every column and better in one.

    ``points`` has shape (strategies, figures) and less is better; whoever is dominated by none is on the Pareto front.
    """
    worse = points[None, :, :] > points[:, None, :]
    less = points[None, :, :] < points[:, None, :]
    return np.asarray(less.any(axis=2) & ~worse.any(axis=2), np.bool_)
