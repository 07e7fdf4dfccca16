"""Synergy: jobs that are hard to place first, each where the least GPUs, CPUs and RAM are left over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hcsim import Plan, View
from hcsim.planning.packing import Packing, asked_shares, left_shares
from hcsim.scores import Nodes, Scorer, Want


@dataclass(frozen=True)
class Synergy(Packing, Scorer):
    """Place waiting jobs by falling demand for GPUs, then for CPUs, each on the node with the least left over: the mean
    of GPUs, CPUs and RAM as shares of the fleet's largest node.

    So jobs with few CPUs per GPU go where jobs with many have left GPUs behind. Source: the packing of Mohan et al.,
    Synergy, OSDI'22, section 4 (Synergy-Tune), without its tuning: a job has the CPUs and RAM that it asks for, or
    waits. Knows no run times.
    """

    dtype: ClassVar[type] = np.float64

    def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
        left: npt.NDArray[np.float64] = left_shares(nodes).mean(1) - asked_shares(nodes, want).mean()
        return np.round(1.0 - left, 9)

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting_by(_Demand(view)), score=self):
            plan.place(job, plan.scored_fit(job, self))
        return plan


@dataclass(frozen=True)
class _Demand:
    """GPUs, then CPUs, falling; a value, so that every decision names the same order."""

    view: View

    def __call__(self, job: int) -> float:
        return -1e6 * self.view.gpus[job] * self.view.milli[job] - self.view.cpus[job]
