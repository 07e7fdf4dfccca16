"""Twins of any trace: jobs drawn from a small table of figures that `hcsim traces twin` has fitted to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.model import InputError, Jobs, nearest
from hcsim.rng import stream, uniforms
from hcsim.traces._attributes import NOTHING_ADDED, Attributes, over
from hcsim.traces._fit import HOUR_S, WEEK_H, Floats, normal_scores, run_class
from hcsim.traces._transform import Load, changed, steps

FOLDER = Path(__file__).parent / "twins"


@dataclass(frozen=True)
class Fitted:
    """A draw from a fitted table: the same seed gives the same jobs, bit for bit.

    Args:
        of: a table that ships with the project (``traces/twins``), by the name of its trace.
        path: a table of your own, instead.
        n: how many jobs (0: as many as the original).
        gpus, load: if both are given, submissions are drawn together or apart to this offered load.
        max_duration_s: longer run times are cut.
        attributes: what the trace does not say.
        steps: changes to the jobs, see :mod:`hcsim.traces._transform`.
    """

    of: str = "philly"
    path: str = ""
    n: int = 0
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
        if not self.max_duration_s > 0:
            raise InputError(f"trace.max_duration_s is {self.max_duration_s}, expected > 0")

    def table(self) -> dict[str, Any]:
        """The figures.

        Raises:
            InputError: there is no such table, or it is not one.
        """
        if self.path:
            return _read(Path(self.path))
        known = sorted(path.stem for path in FOLDER.glob("*.json"))
        if self.of not in known:
            raise InputError(f"trace.of: no twin of '{self.of}'; {nearest(self.of, known)}")
        return _read(FOLDER / f"{self.of}.json")

    def jobs(self, seed: int) -> Jobs:
        """The jobs of one seed."""
        table = self.table()
        n = self.n or int(table["jobs"])
        number = np.arange(n)

        def draw(name: str, over_: npt.NDArray[np.int64] = number) -> Floats:
            return uniforms(seed, stream(f"fitted {name}"), over_)

        gangs = np.array(table["gangs"], np.int64)
        of_batch = _choice(table["tenants"], draw("tenant"))  # n batches are more than enough
        leader = gangs[_choice_by(table["gang_of_batch"], of_batch, draw("gang of batch"))]
        sizes = {int(c): values for c, values in table["batch_sizes"].items()}
        lead = run_class(leader, list(sizes))
        size = np.empty(n, np.int64)
        u, rounding = draw("size"), draw("size rounded")
        for c, values in sizes.items():
            size[lead == c] = np.maximum(np.floor(_piecewise(values, u[lead == c]) + rounding[lead == c]), 1.0)
        batch = np.searchsorted(np.cumsum(size), number, side="right")  # batch 0 has the first size, and so on
        opens = np.r_[True, np.diff(batch) > 0]
        tenant = of_batch[batch]
        gpus = leader[batch]
        duration = self._run_times(table, gpus, draw("run"), draw("run of batch")[batch], size[batch])
        arrival = _arrivals(table, seed, batch, opens, n)
        milli = np.array([int(v) for v in table["gpu_milli"]], np.int64)
        share = milli[_choice(list(table["gpu_milli"].values()), draw("milli"))]
        drawn = Jobs.build(
            source=f"twin of {self.path or self.of} (seed {seed})",
            arrival_s=arrival,
            duration_s=duration,
            gpus=gpus,
            gpu_milli=np.where(gpus == 1, share, 1000),
            tenant=tenant,
            tenants=tuple(f"tenant{t + 1:02d}" for t in range(len(table["tenants"]))),
            **self.attributes.columns(seed, arrival, duration, gpus.astype(np.int32)),
        )
        if self.load and self.gpus:
            drawn = Load(self.gpus, self.load)(drawn, seed)
        return changed(drawn, self.steps, seed)

    def _run_times(
        self,
        table: dict[str, Any],
        gpus: npt.NDArray[np.int64],
        u: Floats,
        of_batch: Floats,
        size: npt.NDArray[np.int64],
    ) -> Floats:
        """Run times by gang size, as alike within a batch, and as related to the batch's size, as fitted."""
        from scipy.special import ndtr, ndtri

        alike, by_size = float(table["run_alike"]), float(table["run_by_batch_size"])
        shared = max(alike - by_size**2, 0.0)
        classes = run_class(gpus, [int(c) for c in table["run_s"]])
        score = by_size * normal_scores(size, classes) + sqrt(shared) * ndtri(of_batch)
        u = ndtr(score + sqrt(max(1.0 - by_size**2 - shared, 0.0)) * ndtri(u))
        out = np.empty(len(gpus))
        for c, figures in table["run_s"].items():
            mine = classes == int(c)
            out[mine] = _piecewise(figures, u[mine])
        return np.minimum(np.round(out, 3), self.max_duration_s)


@lru_cache(maxsize=8)
def _read(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: not a fitted table ({error})") from None
    needed = ("jobs", "span_s", "by_hour_of_week", "batch_sizes", "tenants", "gangs", "run_s", "gpu_milli", "run_alike")
    missing = [key for key in needed if not isinstance(table, dict) or key not in table]
    if missing:
        raise InputError(f"{path}: not a fitted table of jobs, '{missing[0]}' is missing")
    return dict(table)


def _choice(shares: list[float], u: Floats) -> npt.NDArray[np.int64]:
    edges = np.cumsum(shares)
    return np.minimum(np.searchsorted(edges / edges[-1], u, side="right"), len(shares) - 1)


def _choice_by(rows: list[list[float]], of: npt.NDArray[np.int64], u: Floats) -> npt.NDArray[np.int64]:
    """A draw from the row of shares that each entry is of."""
    edges = np.cumsum(np.array(rows), axis=1)
    edges /= edges[:, -1:]
    picked: npt.NDArray[np.int64] = (u[:, None] > edges[of, :-1]).sum(axis=1)
    return picked


def _piecewise(figures: dict[str, list[float]], u: Floats) -> Floats:
    """Values whose quantiles are the edges, and whose mean between two edges is what it was.

    Between edges a and b they are a + (b - a) v^k for uniform v, whose mean is a + (b - a) / (k + 1).
    """
    share, edge, mean = (np.array(figures[key]) for key in ("share", "edge", "mean"))
    ends = np.cumsum(share) / share.sum()
    i = np.minimum(np.searchsorted(ends, u, side="right"), len(share) - 1)
    low, high = edge[:-1], edge[1:]
    width = np.maximum(high - low, 1e-12)
    power = np.clip(width / np.maximum(mean - low, 1e-3 * width) - 1.0, 1e-3, 1e3)
    begin = np.r_[0.0, ends[:-1]]
    v = np.clip((u - begin[i]) / np.maximum(ends - begin, 1e-12)[i], 0.0, 1.0)
    out: Floats = low[i] + (high - low)[i] * v ** power[i]
    return out


def _arrivals(
    table: dict[str, Any], seed: int, batch: npt.NDArray[np.int64], opens: npt.NDArray[np.bool_], n: int
) -> Floats:
    """Submission times from 0, sorted: batches by the intensity, the jobs of one in its wake."""
    span_s = float(table["span_s"]) * n / int(table["jobs"])
    hours = np.arange(int(np.ceil(span_s / HOUR_S)) + 1)
    week = np.array(table["by_hour_of_week"])
    days = hours // 24
    swing = _autoregressive(seed, "day", int(days[-1]) + 1, table["day_sigma"], table["day_rho"])[days]
    swing = swing + _autoregressive(seed, "hour", len(hours), table["hour_sigma"], table["hour_rho"])
    rate = week[hours % WEEK_H] * np.exp(swing)
    edges = np.minimum(np.r_[hours, hours[-1] + 1] * HOUR_S, span_s)
    mass = np.r_[0.0, np.cumsum(rate * np.diff(edges))]
    u = np.sort(uniforms(seed, stream("fitted arrival"), np.arange(int(batch[-1]) + 1)))
    start = np.interp(u * mass[-1], mass, edges)
    gap = _piecewise(table["batch_gap_s"], uniforms(seed, stream("fitted gap"), np.arange(n)))
    gap[opens] = 0.0
    within = np.cumsum(gap)
    arrival: Floats = start[batch] + within - within[np.flatnonzero(opens)][batch]
    arrival = np.sort(arrival)
    out: Floats = np.round(arrival - arrival[0], 3)
    return out


def _autoregressive(seed: int, name: str, count: int, sigma: float, rho: float) -> Floats:
    """A stationary normal series with this deviation and lag-one correlation, less half its variance."""
    from scipy.signal import lfilter
    from scipy.special import ndtri

    noise = ndtri(uniforms(seed, stream(f"fitted {name}"), np.arange(count)))
    series = lfilter([sqrt(1.0 - rho * rho)], [1.0, -rho], noise, zi=[rho * noise[0]])[0] if rho else noise
    out: Floats = sigma * np.asarray(series) - sigma * sigma / 2.0
    return out
