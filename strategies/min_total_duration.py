"""The least makespan on GPUs of several types: Gavel's makespan policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hcsim import Plan
from hcsim.planning.fairness import max_min, shares_of
from hcsim.planning.rounds import Cluster, Floats, RoundBased


@dataclass(frozen=True)
class MinTotalDuration(RoundBased):
    """Shares that make the time as short as possible in which all the work that is there could be done.

    That time is D if every job has a throughput of at least its iterations left / D, so one programme that makes the
    least of throughput / iterations left as large as possible gives it (the authors search for D by bisection).
    Without a solution: isolated shares, and a row in the log. Source: Narayanan et al., Gavel, OSDI 2020, section 4.2.
    Knows throughputs and run times.
    """

    needs = frozenset({"runtime"})

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        left = cluster.iterations_left
        gain = cluster.throughput / np.maximum(left, 1e-3 * left.max(initial=1.0))[:, None]
        gain = np.where(cluster.gpus > 0, gain, 0.0)
        return shares_of(max_min(gain / max(gain.max(initial=0.0), 1e-300), cluster), cluster, plan), None
