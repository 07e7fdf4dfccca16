"""Spread: each job where most is free, a gang over as many nodes as have room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hcsim import Allocation, Plan, View
from hcsim.planning.locality import over_nodes
from hcsim.planning.packing import Packing, left_shares
from hcsim.scores import Nodes, Scorer, Want


@dataclass(frozen=True)
class Spread(Packing, Scorer):
    """Place each waiting job, in arrival order, where most is free: GPUs, CPUs and RAM, as shares of the fleet's
    largest node; a share of a GPU on the GPU with the most left; a gang GPU by GPU, each on the node with the most free
    GPUs.

    The opposite of consolidation: load is even, but a gang that could have had fewer nodes runs slower (by
    ``perf.spread_factor``), and no node comes free whole. What no nodes that are on can hold is placed first fit.
    Source: worst fit, the default of Kubernetes (LeastAllocated); what spreading costs gangs: Jeon et al., ATC'19,
    section 3.2. Knows no run times.
    """

    dtype: ClassVar[type] = np.float64

    def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
        free: npt.NDArray[np.float64] = left_shares(nodes).sum(1)
        return np.round(free, 9)

    def gpu(self, nodes: Nodes, want: Want) -> int:
        return int(nodes.gpu_milli[0].argmax())

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        unfit: set[int] = set()
        for job in view.waiting:
            demand = view.job_class(job)
            if demand in unfit:
                continue
            where = self._where(view, plan, job)
            if where is None:
                unfit.add(demand)
            else:
                plan.place(job, where)
        return plan

    def _where(self, view: View, plan: Plan, job: int) -> Allocation | None:
        if view.gpus[job] > 1:
            return over_nodes(view, plan, job, fewest=False) or plan.first_fit(job)
        return plan.scored_fit(job, self)
