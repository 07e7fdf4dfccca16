"""Dot product: each job on the node whose free CPUs and GPUs align least with what it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from hcsim.planning.packing import Packing, cpus_share, whole
from hcsim.scores import Nodes, Scorer, Want


@dataclass(frozen=True)
class DotProduct(Packing, Scorer):
    """Place each waiting job, in arrival order, on the node with the least dot product of what is free and what it asks
    for, CPUs and GPUs each as shares of the fleet's largest node; of a node's GPUs, a share on the fullest.

    The score is 100 × (1 − (CPUs free × CPUs asked + GPUs free × GPUs asked) / 2), cut to a whole number. Source: the
    DotProd baseline of Weng et al., ATC'23, section 6; Tetris (SIGCOMM'14), from which it stems, takes the largest.
    Knows no run times.
    """

    def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
        cpus = cpus_share(nodes) * (want.cpus_milli / nodes.most_cpus_milli)
        gpus = nodes.gpu_milli.sum(1) / nodes.most_gpu_milli * (want.gpu_milli / nodes.most_gpu_milli)
        return whole(100.0 * (1.0 - 0.5 * (cpus + gpus)))
