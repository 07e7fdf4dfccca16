"""Fragmentation gradient descent: each job where it leaves the most free GPUs useful for jobs that are typical."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim import InputError, View
from hcsim.planning.fragmentation import Fragmentation, Typical, demands_so_far, popular, sigmoid_percent
from hcsim.planning.packing import Packing, whole
from hcsim.scores import Nodes, Scorer, Want


@dataclass(frozen=True)
class Fgd(Packing):
    """Place each waiting job, in arrival order, on the node, and a share on the GPU, where it makes fragmentation grow
    least (or fall most).

    A free GPU is fragmented for a typical demand as far as that demand cannot use it; see
    :class:`hcsim.planning.fragmentation.Fragmentation`. Typical are the commonest demands of ``mix``, so many that they
    are ``popular_share`` of all; without ``mix``, of the jobs that have arrived, looked at anew whenever their number
    has doubled. The score is 100 × sigmoid(fall in fragmented GPUs), cut to a whole number: that coarseness, with one
    order of ties, is part of the rule (without it the authors' own cluster packs 3 points less). Source: Weng et al.,
    Beware of Fragmentation, ATC'23, section 4. Knows no run times, and of the future what ``mix`` says.

    Args:
        mix: (CPUs, GPUs, milli-GPU of each, GPU types joined by ``|`` or empty, how many) of each demand known to come.
    """

    mix: tuple[Typical, ...] = ()
    popular_share: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "mix", tuple(_demand(i, each) for i, each in enumerate(self.mix)))
        if not 0 < self.popular_share <= 1:
            raise InputError(f"strategy.popular_share is {self.popular_share}, expected above 0, at most 1")

    def epoch(self, arrived: int) -> int:
        return 0 if self.mix else arrived.bit_length()

    def scorer(self, view: View) -> Scorer:
        mix = self.mix or demands_so_far(view, 1 << len(view.gpus).bit_length() - 1)
        return _Gradient(Fragmentation(view.fleet, popular(mix, self.popular_share)))


def _demand(number: int, given: Sequence[Any]) -> Typical:
    """One of ``mix``, which configuration files give as lists."""
    try:
        each = Typical(*given)
        ok = each.cpus >= 0 and each.gpus >= 0 and each.weight > 0 and isinstance(each.types, str)
        ok = ok and (not each.gpus or each.milli == 1000 or (each.gpus == 1 and 0 < each.milli < 1000))
    except TypeError:
        ok = False
    if not ok:
        what = "[CPUs >= 0, GPUs, milli-GPU of each (1000 unless GPUs is 1), GPU types as text, how many > 0]"
        raise InputError(f"strategy.mix[{number}] is {given}, expected {what}")
    return each


class _Gradient(Scorer):
    """Scores by what typical demands can use of a node before and after."""

    def __init__(self, usable: Fragmentation) -> None:
        self._usable = usable

    def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
        best: npt.NDArray[np.int16] = self._by_gpu(nodes, want).max(1)
        return best

    def gpu(self, nodes: Nodes, want: Want) -> int:
        return int(self._by_gpu(nodes, want)[0].argmax())

    def _by_gpu(self, nodes: Nodes, want: Want) -> npt.NDArray[np.int16]:
        """Scores: of a share by GPU, below 0 where it does not fit, shape (nodes, GPUs); else (nodes, 1)."""
        usable, left, pool, cpus_milli = self._usable, nodes.gpu_milli, nodes.pool, nodes.cpus_milli
        free = (left == 1000).sum(1)
        rows = usable.rows(pool, cpus_milli)
        before = usable.of_shares(rows[:, None], left).sum(1) + usable.of_wholes(rows, free)
        rows = usable.rows(pool, cpus_milli - want.cpus_milli)
        shares = usable.of_shares(rows[:, None], left)
        kept = shares.sum(1)
        if want.milli == 1000:
            kept -= want.gpus * usable.of_shares(rows, np.full(len(rows), 1000))
            after = (kept + usable.of_wholes(rows, free - want.gpus))[:, None]
        else:
            rows = rows[:, None]
            left_after = np.maximum(left - want.milli, 0)
            after = kept[:, None] - shares + usable.of_shares(rows, left_after)
            after += usable.of_wholes(rows, free[:, None] - (left == 1000))
        score = whole(sigmoid_percent((want.gpu_milli + after - before[:, None]) / 1000.0))
        if want.milli != 1000:
            score[left < want.milli] = -1
        return score
