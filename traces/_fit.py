"""Fit a generator to jobs: a table of figures from which trustworthy twins are drawn, and no row of the original.

Jobs are fitted by class: one gang size (rare ones pooled, from the largest down), jobs that share a GPU by themselves.
Of each class: in periods of six hours or more, each with at least :data:`LEAST_ALIKE` of its jobs, how many jobs there
were in each band of run time, and what work they brought; how large its batches are (jobs of one class that one tenant
submits within :data:`BATCH_GAP_S` of each other) and whose; run times by band; shares of a GPU, CPUs and memory. Of all
jobs: the rhythm of the week, how submissions swing from hour to hour (lognormal, with the correlation of successive
hours), how alike run times are within a batch and how they go with its size. Not fitted: users within a tenant, and the
order in which the jobs of a class and period come.

Periods are what queues are made of: jobs drawn alike all over the trace bring the same work, but not in the same weeks,
and wait for a small part of the time (docs/measures.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.model import InputError, Jobs
from hcsim.traces._quantiles import LEAST_ALIKE, Floats, correlation, normal_scores, quantiles, shares
from hcsim.traces._twins import JobClass, JobFigures

HOUR_S, WEEK_H = 3600.0, 168
#: Periods are runs of this.
STEP_S = 6 * HOUR_S
BATCH_GAP_S = 60.0
#: Gang sizes with fewer jobs than this share a class, and bands of run time are pooled likewise.
LEAST_JOBS = 50
LEAST_ROWS = 100
#: Edges of the bands of run time: ten minutes, two hours, half a day, three days.
BANDS_S = (600.0, 7200.0, 43200.0, 259200.0)


def fit(jobs: Jobs) -> JobFigures:
    """The figures of a trace.

    Raises:
        InputError: fewer than :data:`LEAST_ROWS` jobs, or none of any length.
    """
    n = len(jobs)
    span_s = float(jobs.arrival_s[-1] - jobs.arrival_s[0]) if n else 0.0
    if n < LEAST_ROWS or not span_s:
        raise InputError(f"{jobs.source}: {n} jobs over {span_s:g} s, expected at least {LEAST_ROWS} over some time")
    when = jobs.arrival_s - jobs.arrival_s[0]
    classes = _classes(jobs)
    order = np.lexsort((when, classes, jobs.tenant))
    opens = np.r_[True, (np.diff(jobs.tenant[order]) != 0) | (np.diff(classes[order]) != 0)]
    opens |= np.r_[True, np.diff(when[order]) > BATCH_GAP_S]
    batch = np.empty(n, np.int64)
    batch[order] = np.cumsum(opens) - 1
    first = np.zeros(n, bool)
    first[order[opens]] = True
    size = np.bincount(batch)[batch]
    score = normal_scores(jobs.duration_s, classes)
    gap = np.diff(when[order])[~opens[1:]]
    work = jobs.gpus * (jobs.gpu_milli / 1000.0) * jobs.duration_s
    return JobFigures(
        jobs=n,
        span_s=span_s,
        end_s=float(np.ceil((when + jobs.duration_s).max() / HOUR_S) * HOUR_S),  # the last job's, to the hour
        **rhythm(when[first], span_s),
        batch_gap_s=quantiles(gap if len(gap) >= LEAST_ALIKE else np.zeros(1)),
        run_alike=max(correlation(score[order][1:][~opens[1:]], score[order][:-1][~opens[1:]]), 0.0),
        run_by_batch_size=correlation(score, normal_scores(size, classes)),
        tenants=len(jobs.tenants),
        classes=tuple(
            JobClass(
                **_sizes(jobs.gpus[classes == c]),
                **_periods(when[classes == c], jobs.duration_s[classes == c], work[classes == c], span_s),
                batch_sizes=quantiles(size[first & (classes == c)]),
                tenants=shares(jobs.tenant[first & (classes == c)], len(jobs.tenants)),
                **_demands(jobs, classes == c),
            )
            for c in np.unique(classes)
        ),
    )


def _classes(jobs: Jobs) -> npt.NDArray[np.int64]:
    """Of each job the gang size that names its class; 0 for jobs that share a GPU."""
    return _merged(np.where(jobs.gpu_milli < 1000, 0, jobs.gpus).astype(np.int64))


def _merged(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Values with too few jobs are pooled with the next smaller ones until they are enough, from the largest down; the
    smallest, if they are still too few, with the pool above. A value becomes the smallest of its pool."""
    sizes, counts = np.unique(values, return_counts=True)
    begins: list[int] = []
    have = 0
    for i in range(len(sizes) - 1, -1, -1):
        have += int(counts[i])
        if have >= LEAST_JOBS:
            begins, have = [i, *begins], 0
    begins = [0, *begins[1:]]
    return sizes[begins][np.searchsorted(begins, np.searchsorted(sizes, values), side="right") - 1]


def rhythm(when_s: Floats, span_s: float) -> dict[str, Any]:
    """Submissions by hour of the week, and the swing by hour that neither it nor a step's level explains."""
    hours = max(int(np.ceil(span_s / HOUR_S)), 1)
    count = np.bincount(np.minimum((when_s // HOUR_S).astype(int), hours - 1), minlength=hours).astype(np.float64)
    hour, mean = np.arange(hours), count.mean()
    # the product of day and hour: few traces are long enough for 168 means
    by_hour = np.array([count[hour % 24 == h].mean() if (hour % 24 == h).any() else mean for h in range(24)]) / mean
    by_day = np.array([count[hour // 24 % 7 == d].mean() if (hour // 24 % 7 == d).any() else mean for d in range(7)])
    week = np.maximum(np.outer(by_day, by_hour).ravel(), 1e-9)
    expected = week[hour % WEEK_H]
    step = (hour * HOUR_S // STEP_S).astype(int)
    level = np.bincount(step, weights=count) / np.bincount(step, weights=expected)
    sigma, rho = _swing(count, expected * level[step])
    return {"by_hour_of_week": np.round(week / week.mean(), 4).tolist(), "hour_sigma": sigma, "hour_rho": rho}


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
    return round(float(np.sqrt(sigma2)), 4), round(float(np.clip(rho, 0.0, 0.99)), 4)


def _periods(when_s: Floats, run_s: Floats, work_s: Floats, span_s: float) -> dict[str, Any]:
    """Periods, which are runs of steps with enough jobs (a short rest joins the last): their steps, jobs by band of run
    time and GPU-hours; and the run times of each band."""
    steps = int(span_s // STEP_S) + 1
    step = np.minimum((when_s // STEP_S).astype(int), steps - 1)
    count = np.bincount(step, minlength=steps)
    left = np.r_[np.cumsum(count[::-1])[::-1], 0]
    last: list[int] = []
    have = 0
    for i in range(steps):
        have += count[i]
        if have >= LEAST_ALIKE and left[i + 1] >= LEAST_ALIKE:
            last, have = [*last, i], 0
    last = [*last, steps - 1]
    period = np.searchsorted(last, step)
    band = _merged(np.digitize(run_s, BANDS_S))
    known, codes = np.unique(band, return_inverse=True)
    jobs = np.bincount(period * len(known) + codes, minlength=len(last) * len(known)).reshape(len(last), len(known))
    return {
        "period_steps": np.diff(np.r_[-1, last]).tolist(),
        "period_jobs": jobs.tolist(),
        "period_gpu_h": np.round(np.bincount(period, weights=work_s, minlength=len(last)) / HOUR_S, 2).tolist(),
        "run_s": [quantiles(run_s[band == b]) for b in known],
    }


def _sizes(gpus: npt.NDArray[Any]) -> dict[str, Any]:
    sizes, codes = np.unique(gpus, return_inverse=True)
    return {"gpus": sizes.tolist(), "gpus_share": shares(codes, len(sizes))}


def _demands(jobs: Jobs, mine: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Shares of a GPU, CPUs and memory as they are asked for together, the commonest first; none where none are."""
    asked = np.column_stack([jobs.gpu_milli[mine], jobs.cpus[mine], jobs.ram_bytes[mine]])
    if not (asked != (1000.0, 0.0, 0.0)).any():
        return {}
    each, count = np.unique(asked, axis=0, return_counts=True)
    order = np.argsort(-count, kind="stable")[:200]
    kept = order[count[order] >= LEAST_ALIKE] if (count >= LEAST_ALIKE).any() else order[:0]
    if not len(kept):  # all different: the middle of each stands for them
        return {"demands": [np.median(asked, axis=0).tolist()], "demand_share": [1.0]}
    return {"demands": each[kept].tolist(), "demand_share": [round(float(s), 6) for s in count[kept] / count.sum()]}
