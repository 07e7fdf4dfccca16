"""Weighted best fit: each job on the node that it leaves fullest, CPUs and GPUs weighed alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from hcsim.planning.packing import Packing, cpus_share, whole
from hcsim.scores import Nodes, Scorer, Want


@dataclass(frozen=True)
class WeightedBestFit(Packing, Scorer):
    """Place each waiting job, in arrival order, on the node with the least CPUs and GPUs left after it, each as a share
    of the fleet's largest node; of a node's GPUs, a share on the fullest.

    The score is 100 × (1 − (CPUs left + GPUs left) / 2), cut to a whole number. Source: the BestFit baseline of Weng et
    al., ATC'23, section 6 (weights of one half, as in Protean, OSDI'20). Knows no run times.
    """

    def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
        cpus = cpus_share(nodes, want.cpus_milli)
        gpus = (nodes.gpu_milli.sum(1) - want.gpu_milli) / nodes.most_gpu_milli
        return whole(100.0 * (1.0 - 0.5 * cpus - 0.5 * gpus))
