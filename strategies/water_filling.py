"""Max-min fairness level by level on GPUs of several types: Gavel's water filling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hcsim import Plan
from hcsim.planning.fairness import levels, normalised, shares_of
from hcsim.planning.rounds import Cluster, Floats, RoundBased


@dataclass(frozen=True)
class WaterFilling(RoundBased):
    """Shares as of max_min_fairness_perf; what the worst-off leave is then shared fairly among the others, and so on.

    It solves a programme per level, so for a thousand jobs of different kinds it takes half a minute per computation.
    Without a solution: isolated shares, and a row in the log. Source: Narayanan et al., Gavel, OSDI 2020, section 4.3.
    Knows throughputs, no run times.
    """

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        return shares_of(levels(normalised(cluster), cluster), cluster, plan), None
