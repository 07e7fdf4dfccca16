"""Max-min fairness in rounds, all GPU types alike: Gavel's LAS without throughputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hcsim import Plan
from hcsim.planning.fairness import even
from hcsim.planning.rounds import Cluster, Floats, RoundBased


@dataclass(frozen=True)
class MaxMinFairness(RoundBased):
    """Everyone has the same GPU-time by weight, at most all of its time, on all pools in proportion to their GPUs.

    It is the baseline that max_min_fairness_perf is measured by: what is fair in hours is not in work done. Source:
    Narayanan et al., Gavel, OSDI 2020, section 4.1 (heterogeneity-agnostic LAS). Knows neither throughputs nor run
    times.
    """

    @property
    def shuffled(self) -> bool:
        return True

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        return even((cluster.throughput > 0).astype(float), cluster), None
