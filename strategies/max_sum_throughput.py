"""The largest total throughput on GPUs of several types: Gavel's throughput policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hcsim import Plan
from hcsim.planning.fairness import largest_sum, shares_of
from hcsim.planning.rounds import Cluster, Floats, RoundBased


@dataclass(frozen=True)
class MaxSumThroughput(RoundBased):
    """Shares that make the sum of the jobs' throughputs, in iterations, as large as possible.

    It starves jobs whose iterations are slow. Without a solution: isolated shares, and a row in the log. Source:
    Narayanan et al., Gavel, OSDI 2020, section 4.2. Knows throughputs, no run times.
    """

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        return shares_of(largest_sum(cluster.throughput, cluster), cluster, plan), None
