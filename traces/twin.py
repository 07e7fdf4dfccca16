"""A seeded twin of the Philly log that ships with the project: it holds figures fitted to the log, and no row of it.

Fitted to the 82,247 jobs of the log as cleaned by the authors of Pollux: the shares of gang sizes; quantiles of the run
time by gang size; submissions by hour of day and day of week; tenants' shares; how bursty submissions are (index of
dispersion of hourly counts, about 160). Not fitted: the correlation of a tenant's successive jobs, and the trend over
the months of the log. ``tests/traces/test_twin.py`` compares the twin with the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.model import InputError, Jobs
from hcsim.rng import stream, uniforms
from hcsim.traces._attributes import Attributes, over
from hcsim.traces._transform import changed, steps

Floats = npt.NDArray[np.float64]

GANGS = (1, 2, 4, 8, 16, 32, 64, 128)
GANG_SHARES = (0.93168, 0.0221, 0.02274, 0.01998, 0.00251, 0.00087, 0.00008, 0.00004)
QUANTILES = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
#: Run time in seconds at QUANTILES, by gang size (16 stands for all larger).
RUN_S = {
    1: (10, 52, 62, 122, 1117, 2716, 8512, 19137, 135399, 865709, 4e6),
    2: (3, 9, 11, 16, 21, 76, 72740, 197062, 523316, 1474215, 4e6),
    4: (10, 75, 138, 773, 17410, 89394, 184350, 273980, 907360, 2446301, 4e6),
    8: (10, 125, 216, 1876, 23683, 173248, 351982, 525618, 1060498, 2656479, 4e6),
    16: (3, 35, 72, 566, 21137, 104218, 247968, 443240, 922630, 1612502, 4e6),
}
HOURS = (1.27, 0.98, 1.12, 1.1, 0.7, 1.15, 1.67, 2.09, 1.11, 1.01, 1.02, 0.87,
         0.75, 0.7, 0.64, 0.65, 0.88, 0.67, 0.8, 0.73, 1.02, 0.92, 1.13, 1.01)  # fmt: skip
WEEKDAYS = (0.86, 1.07, 1.14, 1.29, 1.44, 0.61, 0.59)
TENANT_SHARES = (0.501, 0.196, 0.121, 0.09, 0.024, 0.018, 0.017, 0.014, 0.009, 0.005, 0.005)
BATCH_MEAN = 8.0  # jobs submitted together
BATCH_GAP_S = 8.0  # seconds between jobs of one batch
MOST_SPAN_S = 1e10  # 300 years; the intensity of every hour is drawn
HOUR_SIGMA = 1.25  # lognormal swing of an hour's intensity


DEFAULT = Attributes(residency_share=0.1, dataset_share=0.3, deadline_share=0.5)


@dataclass(frozen=True)
class Twin:
    """A trace of any length for a fleet of any size.

    Run times are drawn from the fitted quantiles (log-linear in between) and clipped at ``max_duration_s``, gangs at
    ``max_gang``: in the log 1.7 % of the jobs run for over two days and use 70 % of the GPU time, so that a few
    thousand jobs unclipped would be a comparison of a dozen of them. The span of submissions is such that
    sum(duration × gpus) / (span × ``gpus``) is exactly ``load``.

    Args:
        n: how many jobs.
        gpus: GPUs of the fleet to load.
        load: work offered per unit of capacity.
        attributes: shares of jobs with residency, datasets, deadlines; see :class:`Attributes`.
        steps: changes to the jobs, see :mod:`hcsim.traces._transform`.
    """

    n: int = 5000
    gpus: int = 440
    load: float = 0.9
    max_gang: int = 64
    max_duration_s: float = 86400.0
    attributes: Attributes = DEFAULT
    steps: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", steps(self.steps))
        object.__setattr__(self, "attributes", over(DEFAULT, self.attributes))
        for name in ("n", "gpus", "load", "max_gang", "max_duration_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"trace.{name} is {getattr(self, name)}, expected > 0")

    def jobs(self, seed: int) -> Jobs:
        """A draw of the twin: the same seed gives the same jobs, bit for bit."""
        jobs = np.arange(self.n)
        gang = np.searchsorted(np.cumsum(GANG_SHARES)[:-1], uniforms(seed, stream("gang"), jobs), side="right")
        gpus = np.minimum(np.array(GANGS, np.int32)[gang], self.max_gang).astype(np.int32)
        duration = np.minimum(
            _run_times(np.array(GANGS)[gang], uniforms(seed, stream("run"), jobs)), self.max_duration_s
        )
        span_s = float((duration * gpus).sum()) / (self.gpus * self.load)
        if span_s > MOST_SPAN_S:
            raise InputError(
                f"trace.load is {self.load:g}, at which submissions would span {span_s / 3.15e7:.0g} years"
            )
        batch = _batches(seed, self.n)
        arrival = _arrivals(seed, batch, span_s)
        tenant = np.searchsorted(
            np.cumsum(TENANT_SHARES)[:-1] / sum(TENANT_SHARES), uniforms(seed, stream("tenant"), batch), side="right"
        )
        drawn = Jobs.build(
            source=f"twin (seed {seed})",
            arrival_s=arrival,
            duration_s=duration,
            gpus=gpus,
            tenant=tenant,
            tenants=tuple(f"team{i + 1:02d}" for i in range(len(TENANT_SHARES))),
            **self.attributes.columns(seed, np.arange(len(arrival)), arrival, duration, gpus),
        )
        return changed(drawn, self.steps, seed)


def _run_times(gang: npt.NDArray[np.int64], u: Floats) -> Floats:
    out = np.empty(len(u))
    for size, seconds in RUN_S.items():
        mine = gang == size if size < 16 else gang >= size
        out[mine] = np.exp(np.interp(u[mine], QUANTILES, np.log(seconds)))
    return np.round(out)


def _batches(seed: int, n: int) -> npt.NDArray[np.int64]:
    """The batch of each job: sizes are geometric with mean BATCH_MEAN."""
    opens = uniforms(seed, stream("batch"), np.arange(n)) < 1.0 / BATCH_MEAN
    opens[0] = True
    return np.cumsum(opens) - 1


def _arrivals(seed: int, batch: npt.NDArray[np.int64], span_s: float) -> Floats:
    """Submission times in [0, span_s], sorted: batches by an intensity with daily and weekly cycle and lognormal
    hours, the jobs of a batch a few seconds apart."""
    from scipy.special import ndtri

    hours = np.arange(int(np.ceil(span_s / 3600.0)) + 1)
    swing = np.exp(HOUR_SIGMA * ndtri(uniforms(seed, stream("hour"), hours)))
    rate = np.array(HOURS)[hours % 24] * np.array(WEEKDAYS)[hours // 24 % 7] * swing
    edges = np.minimum(np.r_[hours, hours[-1] + 1] * 3600.0, span_s)
    mass = np.r_[0.0, np.cumsum(rate * np.diff(edges))]
    count = int(batch[-1]) + 1
    u = np.sort(uniforms(seed, stream("arrival"), np.arange(count)))
    start = np.interp(u * mass[-1], mass, edges)
    first = np.r_[0, np.flatnonzero(np.diff(batch)) + 1]
    gap = -BATCH_GAP_S * np.log(uniforms(seed, stream("gap"), np.arange(len(batch))))
    gap[first] = 0.0
    within = np.cumsum(gap)
    arrival: Floats = np.sort(np.minimum(start[batch] + within - within[first][batch], span_s))
    from_first: Floats = np.round(arrival - arrival[0], 3)
    return from_first
