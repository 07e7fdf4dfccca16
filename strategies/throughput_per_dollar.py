"""The most iterations per dollar on GPUs of several types: Gavel's cost policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hcsim import Plan
from hcsim.planning.fairness import largest_sum, shares_of
from hcsim.planning.rounds import Cluster, Floats, RoundBased


@dataclass(frozen=True)
class ThroughputPerDollar(RoundBased):
    """Shares that make the sum of the jobs' throughputs, each over the price of a GPU-hour where it is had, as large as
    possible.

    Prices are those of now; pools without one count as the cheapest that has one. Without a solution: isolated shares,
    and a row in the log. Source: Narayanan et al., Gavel, OSDI 2020, section 4.2 (the objective as in the authors'
    simulator: a sum of ratios). Knows throughputs and prices, no run times.
    """

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        usd = cluster.prices_usd
        least = usd[usd > 0].min(initial=np.inf)
        usd = np.where(usd > 0, usd, least if least < np.inf else 1.0)
        return shares_of(largest_sum(cluster.throughput / usd, cluster), cluster, plan), None
