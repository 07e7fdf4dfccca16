"""Twins of any trace of jobs, drawn from a table of figures that `hcsim traces twin` has fitted to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.model import InputError, Jobs, nearest
from hcsim.rng import stream, uniform, uniforms
from hcsim.traces._attributes import NOTHING_ADDED, Attributes, over
from hcsim.traces._fit import HOUR_S, STEP_S, WEEK_H
from hcsim.traces._quantiles import Floats, autoregressive, choose, draw, evenly, matched, normal_scores
from hcsim.traces._transform import Load, changed, steps
from hcsim.traces._twins import JobClass, JobFigures, table

STARTS = ("first", "drawn")


@dataclass(frozen=True)
class Fitted:
    """A draw from a fitted table: the same seed gives the same jobs, bit for bit.

    Its periods follow the original's: each has as many jobs of each class, and as much work, as the original's had.
    With ``start=drawn`` a seed begins in a week of its own and goes on from the last day to the first, so that a short
    twin is another part of the trace for each seed.

    Args:
        of: a table that ships with the project (``traces/twins``), by the name of its trace.
        path: a table of your own, instead.
        n: how many jobs (0: as many as the original; more: the days are gone through again).
        start: ``first`` or ``drawn``.
        gpus, load: if both are given, submissions are drawn together or apart to this offered load.
        max_duration_s: longer run times are cut.
        attributes: what the trace does not say.
        steps: changes to the jobs, see :mod:`hcsim.traces._transform`.
    """

    of: str = "philly"
    path: str = ""
    n: int = 0
    start: str = "first"
    gpus: int = 0
    load: float = 0.0
    max_duration_s: float = float("inf")
    attributes: Attributes = NOTHING_ADDED
    steps: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", over(NOTHING_ADDED, self.attributes))
        object.__setattr__(self, "steps", steps(self.steps))
        for name in ("n", "gpus", "load"):
            if getattr(self, name) < 0:
                raise InputError(f"trace.{name} is {getattr(self, name)}, expected >= 0")
        if self.start not in STARTS:
            raise InputError(f"trace.start: no start '{self.start}'; {nearest(self.start, STARTS)}")
        if not self.max_duration_s > 0:
            raise InputError(f"trace.max_duration_s is {self.max_duration_s}, expected > 0")

    def jobs(self, seed: int) -> Jobs:
        """The jobs of one seed.

        Raises:
            InputError: there is no such table, or it is not one of jobs.
        """
        figures = table("jobs", self.of, self.path)
        assert isinstance(figures, JobFigures)
        n, span_s = self.n or figures.jobs, figures.span_s
        begin_s = 0.0
        if self.start == "drawn":
            week_s = WEEK_H * HOUR_S
            begin_s = week_s * int(uniform(seed, stream("fitted start")) * max(int(span_s // week_s), 1))
        rounds = []
        for k in range(-(-n // figures.jobs)):
            drawn = _round(figures, seed, k)
            drawn["arrival_s"] = (drawn["arrival_s"] - begin_s) % span_s + k * span_s
            rounds.append(drawn)
        columns = {key: np.concatenate([each[key] for each in rounds]) for key in rounds[0]}
        order = np.argsort(columns["arrival_s"], kind="stable")[:n]
        columns = {key: column[order] for key, column in columns.items()}
        arrival_s = np.round(columns["arrival_s"] - columns["arrival_s"][0], 3)
        duration_s = np.minimum(np.round(columns["duration_s"], 3), self.max_duration_s)
        columns |= {"arrival_s": arrival_s, "duration_s": duration_s}
        jobs = Jobs.build(
            source=f"twin of {self.path or self.of} (seed {seed})",
            tenants=tuple(f"tenant{t + 1:02d}" for t in range(figures.tenants)),
            **columns,
            **self.attributes.columns(seed, np.arange(n), arrival_s, duration_s, columns["gpus"].astype(np.int32)),
        )
        if self.load and self.gpus:
            jobs = Load(self.gpus, self.load)(jobs, seed)
        return changed(jobs, self.steps, seed)


def _round(figures: JobFigures, seed: int, k: int) -> dict[str, npt.NDArray[Any]]:
    """All jobs of the original's span once, in no order: draws are keyed by (seed, class and round, job)."""
    from scipy.special import ndtri

    hours = np.arange(int(np.ceil(figures.span_s / HOUR_S)) + 1)
    noise = ndtri(uniforms(seed, stream("fitted hour"), k, hours))
    swing = autoregressive(noise, figures.hour_sigma, figures.hour_rho)
    rate = np.array(figures.by_hour_of_week)[hours % WEEK_H] * np.exp(swing)
    mass = np.r_[0.0, np.cumsum(rate)]
    edges = np.r_[hours, hours[-1] + 1] * HOUR_S
    parts = []
    for i, c in enumerate(figures.classes):

        def u(name: str, number: npt.NDArray[np.int64], key: int = i + k * len(figures.classes)) -> Floats:
            return uniforms(seed, stream(f"fitted {name}"), key, number)

        parts.append(_of_class(figures, c, mass, edges, u))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _of_class(
    figures: JobFigures, c: JobClass, mass: Floats, edges: Floats, u: Callable[..., Floats]
) -> dict[str, npt.NDArray[Any]]:
    """The jobs of one class."""
    from scipy.special import ndtri

    by_band = np.array(c.period_jobs)
    in_period = by_band.sum(axis=1)
    n = int(in_period.sum())
    number = np.arange(n)
    period = np.repeat(np.arange(len(in_period)), in_period)
    sizes = np.maximum(np.floor(draw(c.batch_sizes, u("size", number)) + u("rounding", number)), 1.0)
    batch = np.searchsorted(np.cumsum(sizes), number, side="right")  # batch 0 has the first size, and so on ...
    opens = np.r_[True, (np.diff(batch) > 0) | (np.diff(period) > 0)]  # ... but none goes over into the next period
    batch = np.cumsum(opens) - 1
    size = np.bincount(batch)[batch]
    bound_s = np.minimum(np.r_[0, np.cumsum(c.period_steps)] * STEP_S, figures.span_s)
    at = np.interp(bound_s, edges, mass)
    own = period[opens]
    start = np.interp(at[own] + u("arrival", np.arange(len(own))) * (at[own + 1] - at[own]), mass, edges)
    gap = draw(figures.batch_gap_s, u("gap", number))
    gap[opens] = 0.0
    within = np.cumsum(gap)
    arrival = np.minimum(start[batch] + within - within[opens][batch], figures.span_s)
    gpus = np.array(c.gpus)[choose(c.gpus_share, evenly(u("gpus", number)))]  # as many of each as the original has
    demand = np.array(c.demands or [(1000.0, 0.0, 0.0)])
    asked = demand[choose(c.demand_share or (1.0,), u("demand", batch))]
    shared = max(figures.run_alike - figures.run_by_batch_size**2, 0.0)

    def alike(name: str) -> Floats:
        own_share = sqrt(max(1.0 - figures.run_by_batch_size**2 - shared, 0.0))
        out: Floats = sqrt(shared) * ndtri(u(f"{name} of batch", batch)) + own_share * ndtri(u(name, number))
        return out + figures.run_by_batch_size * normal_scores(size)

    order = np.lexsort((alike("band"), period))  # in each period the shortest bands go to the lowest scores
    band = np.empty(n, np.int64)
    band[order] = np.repeat(np.tile(np.arange(by_band.shape[1]), len(by_band)), by_band.ravel())
    weight = gpus * asked[:, 0] / 1000.0
    return {
        "arrival_s": arrival,
        "duration_s": _run_times(c, band, alike("run"), figures.end_s - arrival, weight, period),
        "gpus": gpus,
        "gpu_milli": np.where(gpus == 1, asked[:, 0], 1000).astype(np.int32),
        "cpus": asked[:, 1],
        "ram_bytes": asked[:, 2],
        "tenant": choose(c.tenants, u("tenant", np.arange(batch[-1] + 1)))[batch] if n else number,
    }


def _run_times(
    c: JobClass,
    band: npt.NDArray[np.int64],
    score: Floats,
    most_s: Floats,
    weight: Floats,
    period: npt.NDArray[np.int64],
) -> Floats:
    """Run times from the bands' quantiles, those of a period such that they bring its work, as far as the bands and the
    end of the log allow it."""
    from scipy.special import ndtr

    of_band = [(band == b, run) for b, run in enumerate(c.run_s)]

    def run_s(u: Floats) -> Floats:
        out = np.empty(len(u))
        for mine, figures in of_band:
            out[mine] = draw(figures, u[mine])
        return np.minimum(out, most_s)

    work_s = np.array(c.period_gpu_h) * HOUR_S
    return run_s(ndtr(matched(lambda u: weight * run_s(u), score, period, work_s)))
