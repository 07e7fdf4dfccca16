"""Every job has its part of each GPU type to itself: Gavel's isolated baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hcsim import Plan
from hcsim.planning.rounds import Cluster, Floats, RoundBased, isolated


@dataclass(frozen=True)
class Isolated(RoundBased):
    """Of m jobs each has the share of time on a pool that 1/m of its GPUs would give it, at most all of its time.

    Source: Narayanan et al., Gavel, OSDI 2020, section 4 (the share that finish-time fairness is measured by), rounds
    in section 5. Knows neither throughputs nor run times.
    """

    @property
    def shuffled(self) -> bool:
        return True

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        return isolated(cluster.gangs, cluster.gpus), None
