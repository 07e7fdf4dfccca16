"""Max-min fairness over jobs on GPUs of several types: Gavel's fairness policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hcsim import Plan
from hcsim.planning.fairness import max_min, normalised, shares_of
from hcsim.planning.rounds import Cluster, Floats, RoundBased


@dataclass(frozen=True)
class MaxMinFairnessPerf(RoundBased):
    """Shares that make the least of the jobs' normalised throughputs as large as possible.

    A job's throughput is taken times its GPUs, over its weight and over what its fair share of every pool would give
    it. Without a solution: isolated shares, and a row in the log. Source: Narayanan et al., Gavel, OSDI 2020,
    section 4.1. Knows throughputs, no run times.
    """

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        return shares_of(max_min(normalised(cluster), cluster), cluster, plan), None
