"""Max-min fairness over jobs on GPUs of several types: Gavel's fairness policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hcsim import Plan
from hcsim.planning.fairness import even, levels, max_min, shares_of
from hcsim.planning.rounds import Cluster, Floats, RoundBased


@dataclass(frozen=True)
class MaxMinFairness(RoundBased):
    """Shares that make the least of the jobs' normalised throughputs as large as possible.

    A job's throughput is taken times its GPUs, over its weight and over what its fair share of every pool would give
    it. With ``water_filling`` what the worst-off leave is shared fairly as well, level by level. With ``perf`` false
    all GPU types count alike, and everyone has the same GPU-time. Without a solution: isolated shares, and a row in the
    log. Source: Narayanan et al., Gavel, OSDI 2020, sections 4.1 and 4.3. Knows throughputs, no run times.
    """

    perf: bool = True
    water_filling: bool = False

    @property
    def shuffled(self) -> bool:
        return not self.perf

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        rate = cluster.throughput
        if not self.perf:
            return even((rate > 0).astype(float), cluster), None
        proportional = rate @ cluster.gpus / max(cluster.gpus.sum(), 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = rate * (cluster.gangs / (cluster.weights * proportional))[:, None]
        gain = np.where(cluster.gpus > 0, np.nan_to_num(gain, posinf=0.0), 0.0)
        return shares_of((levels if self.water_filling else max_min)(gain, cluster), cluster, plan), None
