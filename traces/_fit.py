"""Fit a generator to jobs: a small table of figures from which trustworthy twins are drawn, and no row of the original.

What is fitted: submissions by hour of the week; how they swing from day to day and hour to hour (lognormal, with the
correlation of successive days and hours); batches (jobs of one gang size that one tenant submits within
:data:`BATCH_GAP_S` of each other): how large they are, whose, and of which gang size; run times by gang size (quantiles
and the mean between each two), how alike they are within a batch, and how they go with its size. Not fitted: users
within a tenant, and any trend over the trace other than by chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.model import InputError, Jobs

Floats = npt.NDArray[np.float64]

HOUR_S, DAY_S, WEEK_H = 3600.0, 86400.0, 168
BATCH_GAP_S = 60.0
QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
#: A gang size with fewer jobs than this shares the quantiles of the next smaller size.
LEAST_JOBS = 50
LEAST_ROWS = 100


def fit(jobs: Jobs) -> dict[str, Any]:
    """The figures of a trace, as JSON can hold them.

    Raises:
        InputError: fewer than :data:`LEAST_ROWS` jobs, or none of any length.
    """
    n = len(jobs)
    span_s = float(jobs.arrival_s[-1] - jobs.arrival_s[0]) if n else 0.0
    if n < LEAST_ROWS or not span_s:
        raise InputError(f"{jobs.source}: {n} jobs over {span_s:g} s, expected at least {LEAST_ROWS} over some time")
    batch = batches(jobs)
    first = np.r_[True, np.diff(batch) > 0]
    sizes = np.bincount(batch)
    within = np.diff(jobs.arrival_s)[~first[1:]]
    classes = _classes(jobs.gpus)
    score = normal_scores(jobs.duration_s, classes)
    gangs = np.unique(jobs.gpus)
    lead = _classes(jobs.gpus[first])
    return {
        "kind": "jobs",
        "jobs": n,
        "span_s": span_s,
        **arrivals(jobs.arrival_s[first], span_s),
        "batch_sizes": {str(c): quantiles(sizes[lead == c].astype(np.float64)) for c in np.unique(lead).tolist()},
        "batch_gap_s": quantiles(within if len(within) else np.zeros(1)),
        "tenants": _shares(jobs.tenant[first], len(jobs.tenants)),
        "gangs": gangs.tolist(),
        "gang_of_batch": [
            _shares(np.searchsorted(gangs, jobs.gpus[first & (jobs.tenant == t)]), len(gangs))
            for t in range(len(jobs.tenants))
        ],
        "run_s": {str(c): quantiles(jobs.duration_s[classes == c]) for c in np.unique(classes).tolist()},
        "run_alike": _correlation(score, first),
        "run_by_batch_size": _by_size(score, sizes[batch], classes),
        "gpu_milli": _shares_of(jobs.gpu_milli),
    }


def batches(jobs: Jobs) -> npt.NDArray[np.int64]:
    """The batch of each job: one tenant's submissions of one gang size that follow each other at once."""
    opens = (np.diff(jobs.arrival_s) > BATCH_GAP_S) | (np.diff(jobs.tenant) != 0) | (np.diff(jobs.gpus) != 0)
    return np.cumsum(np.r_[True, opens]) - 1


def arrivals(when_s: Floats, span_s: float) -> dict[str, Any]:
    """Intensity by hour of the week and its swing by day and hour; overdispersion is what Poisson does not explain."""
    hours = max(int(np.ceil(span_s / HOUR_S)), 1)
    count = np.bincount(np.minimum(((when_s - when_s[0]) // HOUR_S).astype(int), hours - 1), minlength=hours).astype(
        float
    )
    week = _weekly(count)
    expected = week[np.arange(hours) % WEEK_H]
    days = -(-hours // 24)
    by_day = _sums(count, days)
    day_expected = _sums(expected, days)
    day_sigma, day_rho = _swing(by_day, day_expected)
    day_level = by_day / np.maximum(day_expected, 1e-12)
    hour_expected = expected * day_level[np.arange(hours) // 24]
    hour_sigma, hour_rho = _swing(count, hour_expected)
    return {
        "by_hour_of_week": np.round(week / week.mean(), 4).tolist(),
        "day_sigma": day_sigma,
        "day_rho": day_rho,
        "hour_sigma": hour_sigma,
        "hour_rho": hour_rho,
    }


def _sums(by_hour: Floats, days: int) -> Floats:
    return np.bincount(np.arange(len(by_hour)) // 24, weights=by_hour, minlength=days).astype(np.float64)


def _weekly(count: Floats) -> Floats:
    """Mean count by hour of the week, shrunk to the product of day and hour where few weeks are there."""
    hour = np.arange(len(count))
    mean = count.mean()
    by_hour = np.array([count[hour % 24 == h].mean() if (hour % 24 == h).any() else mean for h in range(24)]) / mean
    day = hour // 24 % 7
    by_day = np.array([count[day == d].mean() if (day == d).any() else mean for d in range(7)]) / mean
    week: Floats = np.maximum(mean * np.outer(by_day, by_hour).ravel(), 1e-9)
    return week


def _swing(count: Floats, expected: Floats) -> tuple[float, float]:
    """Sigma and lag-one correlation of a lognormal factor on a Poisson intensity, by moments."""
    good = expected > 1e-6
    ratio, weight = count[good] / expected[good], expected[good]
    if len(ratio) < 3:
        return 0.0, 0.0
    mean = float(np.average(ratio, weights=weight))
    noise = float(np.average(1.0 / weight, weights=weight)) * mean
    variance = float(np.average((ratio - mean) ** 2, weights=weight)) - noise
    if variance <= 0:
        return 0.0, 0.0
    centred = (ratio - mean) * np.sqrt(weight)
    lagged = float((centred[1:] * centred[:-1]).sum() / np.sqrt(weight[1:] * weight[:-1]).sum())
    sigma2 = np.log1p(variance / mean**2)
    rho = np.log1p(max(lagged, 0.0) / mean**2) / sigma2
    return float(np.sqrt(sigma2)), float(np.clip(rho, 0.0, 0.99))


def _classes(gpus: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The gang size whose run times a job's are drawn from: its own, or a smaller one that has jobs enough."""
    sizes, counts = np.unique(gpus, return_counts=True)
    mine, last = {}, int(sizes[0])
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        last = size if count >= LEAST_JOBS else last
        mine[size] = last
    return np.array([mine[size] for size in sizes.tolist()])[np.searchsorted(sizes, gpus)]


def run_class(gangs: npt.NDArray[Any], known: list[int]) -> npt.NDArray[np.int64]:
    """For each gang size the largest class that is not larger, else the smallest."""
    classes = np.array(sorted(known))
    return classes[np.maximum(np.searchsorted(classes, gangs, side="right") - 1, 0)]


def quantiles(values: Floats) -> dict[str, list[float]]:
    """Quantiles, and the mean between each two of them."""
    x = np.sort(values)
    edges = np.unique(np.round(np.array(QUANTILES) * len(x)).astype(int))
    edges = edges[(edges > 0) & (edges < len(x))]
    parts = np.split(x, edges)
    ends = [*(float(part[0]) for part in parts), float(x[-1])]
    return {
        "share": [len(part) / len(x) for part in parts],
        "edge": [round(v, 3) for v in ends],
        "mean": [round(float(part.mean()), 3) for part in parts],
    }


def _shares(codes: npt.NDArray[Any], count: int) -> list[float]:
    if not len(codes):
        return [1.0 / count] * count
    shares = np.bincount(codes, minlength=count) / len(codes)
    return [round(float(s), 6) for s in shares]


def _shares_of(values: npt.NDArray[Any]) -> dict[str, float]:
    found, counts = np.unique(values, return_counts=True)
    return {str(v): round(c / len(values), 6) for v, c in zip(found.tolist(), counts.tolist(), strict=True)}


def normal_scores(values: npt.NDArray[Any], classes: npt.NDArray[np.int64]) -> Floats:
    """Normal scores of values among those of one class, of mean 0 and variance 1 in each (0 where all are equal)."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    out = np.empty(len(values))
    for c in np.unique(classes):
        mine = classes == c
        raw = ndtri((rankdata(values[mine]) - 0.5) / mine.sum())
        out[mine] = (raw - raw.mean()) / (raw.std() or 1.0)  # ties shrink them
    return out


def _by_size(score: Floats, size: npt.NDArray[Any], classes: npt.NDArray[np.int64]) -> float:
    """Correlation of a job's run time with how many jobs its batch has, both as scores among jobs of its class."""
    size_score = normal_scores(size, classes)
    return float(np.corrcoef(score, size_score)[0, 1]) if size_score.any() else 0.0


def _correlation(score: Floats, first: npt.NDArray[np.bool_]) -> float:
    """Correlation of the scores of jobs that follow each other in a batch."""
    inside = ~first[1:]
    if inside.sum() < 30:
        return 0.0
    return float(np.clip(np.corrcoef(score[1:][inside], score[:-1][inside])[0, 1], 0.0, 0.99))
