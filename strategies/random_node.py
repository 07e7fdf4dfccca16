"""Random node: each job on any node with room, the floor of packing studies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim import Allocation, Plan, View
from hcsim.planning.packing import Packing
from hcsim.scores import Nodes, Scorer, Want


@dataclass(frozen=True)
class RandomNode(Packing, Scorer):
    """Place each waiting job, in arrival order, on a node drawn at random among all that have room, a share on a GPU
    drawn at random among those of the node that have.

    Gangs larger than a node, and jobs for which a pool must rent, take what first fit finds. Source: the Random
    baseline of Weng et al., ATC'23, section 6. Knows no run times.
    """

    def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
        return np.zeros(len(nodes.pool), np.int16)

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for i, job in enumerate(plan.placeable(view.waiting, score=self)):
            nodes = plan.nodes_with_room(job, self)
            if not len(nodes):
                plan.place(job, plan.scored_fit(job, self))
                continue
            node = int(nodes[int(view.uniform(2 * i) * len(nodes))])
            plan.place(job, self._on(view, node, job, view.uniform(2 * i + 1)))
        return plan

    def _on(self, view: View, node: int, job: int, draw: float) -> int | Allocation:
        if view.milli[job] == 1000:
            return node
        gpus = [gpu for gpu, left in enumerate(view.gpu_milli(node)) if left >= view.milli[job]]
        return ((node, 1 << gpus[int(draw * len(gpus))], view.milli[job]),)
