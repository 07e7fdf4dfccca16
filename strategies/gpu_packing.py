"""GPU packing: shared GPUs before free ones, started nodes before empty ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.planning.packing import Packing
from hcsim.scores import Nodes, Scorer, Want


@dataclass(frozen=True)
class GpuPacking(Packing, Scorer):
    """Place each waiting job, in arrival order, on the fullest shared GPU that has room, else on free GPUs of a node in
    use, fewest first, else on an empty node, small ones first.

    Scores: on a shared GPU 100 less a tenth of what is left of it in per cent (at least 50); on n free GPUs of a node
    in use 50 − n (at least 33); on an empty node of n GPUs 33 − n (at least n); 0 for a job without GPUs. Source: the
    GpuPacking baseline of Weng et al., ATC'23, section 6 (after Weng et al., MLaaS in the Wild, NSDI'22). Knows no run
    times.
    """

    def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
        left, gpus = nodes.gpu_milli, nodes.gpus
        if not want.gpus:
            return np.zeros(len(left), np.int16)
        on_free = np.full(len(left), max(50 - want.gpus, 33))
        if want.milli != 1000:
            open_left = np.where((left >= want.milli) & (left < 1000), left, 1000).min(1)
            on_shared = np.maximum(100 - open_left * 100 // 1000 // 10, 50)
            on_free = np.where(open_left < 1000, on_shared, on_free)
        empty = (left == 1000).sum(1) == gpus
        return np.where(empty, np.maximum(33 - gpus, gpus), on_free)
