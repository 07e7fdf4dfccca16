"""The least makespan on GPUs of several types: Gavel's makespan policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hcsim import InputError, Plan
from hcsim.planning.fairness import max_min, shares_of
from hcsim.planning.lp import rows, shares_rows, solve
from hcsim.planning.rounds import Cluster, Floats, RoundBased


@dataclass(frozen=True)
class MinTotalDuration(RoundBased):
    """Shares by which all the work that is there could be done in a time D that is about as short as can be.

    It can be done if every job has a throughput of at least its iterations left / D. One programme gives the least D;
    taken is the D at which the authors' bisection ends, from 100 s to 1e6 s (or ten times that, and so on) down to a
    factor of ``within``, and any shares that keep it. Without a solution: isolated shares, and a row in the log.
    Source: Narayanan et al., Gavel, OSDI 2020, section 4.2. Knows throughputs and run times.
    """

    within: float = 1.05

    needs = frozenset({"runtime"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 < self.within <= 2:
            raise InputError(f"strategy.within is {self.within}, expected above 1, at most 2")

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        left = cluster.iterations_left
        rate = np.where(cluster.gpus > 0, cluster.throughput, 0.0)
        rate = rate / np.maximum(left, 1e-3 * left.max(initial=1.0))[:, None]
        scale = max(rate.max(initial=0.0), 1e-300)
        best = max_min(rate / scale, cluster)
        if not best.solved or best.value <= 0:
            return shares_of(best, cluster, plan), None
        able = rate.max(axis=1) > 0
        asked = np.where(able, 1.0 / (self._duration_s(1.0 / (best.value * scale)) * scale), 0.0)
        least = rows(rate / scale, 0, asked, np.full(len(asked), np.inf))
        constraints = shares_rows(cluster.gangs, cluster.gpus).and_(least)
        found = solve(np.zeros(rate.size), constraints, (rate > 0).astype(float).ravel())
        return shares_of(found if found.solved else best, cluster, plan), None

    def _duration_s(self, least_s: float) -> float:
        """The last time that can be kept of those that a bisection tries."""
        low, high = 100.0, 1e6
        while high < least_s:
            low, high = 10 * low, 10 * high
        found = high
        while self.within * low < high:
            middle = (low + high) / 2
            if middle >= least_s:
                found = high = middle
            else:
                low = middle
        return found
