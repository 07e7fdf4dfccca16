"""First come, first served in rounds, each job on the GPU type on which it is fastest: Gavel's FIFO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hcsim import Plan
from hcsim.planning.rounds import Cluster, Floats, RoundBased


@dataclass(frozen=True)
class FifoPerf(RoundBased):
    """Jobs in order of arrival take the pool with their highest throughput among those with enough GPUs left, whole;
    the first that fits nowhere ends the list. Worked out anew at every reset.

    Source: Narayanan et al., Gavel, OSDI 2020, section 7.1 (heterogeneity-aware FIFO), rounds in section 5. Knows
    throughputs (``perf=``), no run times.
    """

    fills = False

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        left, out = cluster.gpus.copy(), np.zeros_like(cluster.throughput)
        for i, gang in enumerate(cluster.gangs):
            rate = np.where(left >= gang, cluster.throughput[i], -1.0)
            p = int(np.argmax(rate))
            if rate[p] < 0:
                break
            if rate[p] > 0:
                out[i, p] = 1.0
                left[p] -= gang
        return out, None
