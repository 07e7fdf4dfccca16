"""The largest total throughput, or the largest per dollar: Gavel's throughput and cost policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hcsim import Plan
from hcsim.planning.fairness import shares_of
from hcsim.planning.lp import shares_rows, solve
from hcsim.planning.rounds import Cluster, Floats, RoundBased


@dataclass(frozen=True)
class MaxSumThroughput(RoundBased):
    """Shares that make the sum of the jobs' throughputs, in iterations, as large as possible; with ``per_dollar`` each
    divided by the current price of a GPU-hour where it is had.

    It starves jobs of slow iterations. Pools without a price count as the cheapest that has one. Without a solution:
    isolated shares, and a row in the log. Source: Narayanan et al., Gavel, OSDI 2020, section 4.2. Knows throughputs
    and prices, no run times.
    """

    per_dollar: bool = False

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        gain = cluster.throughput
        if self.per_dollar:
            usd = cluster.prices_usd
            usd = np.where(usd > 0, usd, usd[usd > 0].min(initial=np.inf))
            gain = gain / usd if np.isfinite(usd).all() else gain
        high = ((gain > 0) & (cluster.gpus > 0)).astype(float).ravel()
        answer = solve(gain.ravel(), shares_rows(cluster.gangs, cluster.gpus), high, maximise=True)
        return shares_of(answer, cluster, plan), None
