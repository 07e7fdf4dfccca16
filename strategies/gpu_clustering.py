"""GPU clustering: jobs of one size together, so that nodes come free for others whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.planning.packing import Packing, whole
from hcsim.scores import Nodes, Scorer, Want


@dataclass(frozen=True)
class GpuClustering(Packing, Scorer):
    """Place each waiting job, in arrival order, on a node that holds jobs of its own size: only those first, then those
    among others, then an empty node, then a node of others; of equal ones the fullest.

    Sizes are the number of GPUs, all shares of one GPU being one size. Scores are 75, 50, 25 and 0, and up to 25 more
    for GPUs in use, of the fleet's largest node; 0 for a job without GPUs. Source: the GpuClustering baseline of Weng
    et al., ATC'23, section 6 (after Gandiva, OSDI'18). Knows no run times.
    """

    def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
        held = nodes.held
        if not want.gpus:
            return np.zeros(len(held), np.int16)
        sizes = np.count_nonzero(held, 1)
        mine = held[:, want.kind] > 0
        base = np.where(mine, np.where(sizes == 1, 75, 50), np.where(sizes == 0, 25, 0))
        used = nodes.most_gpu_milli - nodes.gpu_milli.sum(1)
        return whole(base + np.floor(25.0 * used / nodes.most_gpu_milli))
