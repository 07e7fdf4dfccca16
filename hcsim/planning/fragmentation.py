"""How much of a fleet's free GPUs the jobs that are typical could not use: Weng et al., ATC'23, section 3."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hcsim.fleet import Fleet
from hcsim.scores import Floats, Ints
from hcsim.view import View


class Typical(NamedTuple):
    """A demand, and how many jobs ask for it: CPUs, GPUs (0: none), thousandths of each, the GPU types that it may have
    (joined by ``|``, empty: any)."""

    cpus: float
    gpus: int
    milli: int
    types: str
    weight: float


def demands_so_far(view: View, jobs: int) -> tuple[Typical, ...]:
    """What the first so many jobs have asked for."""
    asked = Counter(
        (view.cpus[job], view.gpus[job], view.milli[job] if view.gpus[job] else 0, view.gpu_types(job))
        for job in range(jobs)
    )
    return tuple(Typical(*demand, count) for demand, count in asked.items())


def popular(mix: Iterable[Typical], share: float) -> list[Typical]:
    """The commonest demands, as many as it takes to be ``share`` of all, counts scaled to a sum of 1.

    Of equally common ones those with more CPUs go first, then more milli-GPU, GPUs, and the later types.
    """
    ranked = sorted(mix, key=lambda each: (each.weight, each.cpus, each.milli, each.gpus, each.types), reverse=True)
    wanted = share * sum(each.weight for each in ranked)
    kept: list[Typical] = []
    have = 0.0
    for each in ranked:
        if have >= wanted:
            break
        kept.append(each)
        have += each.weight
    return [each._replace(weight=each.weight / have) for each in kept]


class Fragmentation:
    """Of nodes, the free milli-GPU that typical demands can use, in the mean over demands.

    A demand m uses nothing of a node that it could not run on: with too few CPUs left, another GPU type, too few free
    GPUs or too little left of every GPU; and nothing at all if it asks for no GPU. Else it uses all GPUs that have what
    it asks of one left. What is free and not used is fragmented: F_n(m). RAM plays no part.

    The sum over demands is taken once, by tables: what one GPU with l left is worth to shares, l × the weight of those
    that ask for at most l, and what f free GPUs are worth to whole ones, by GPU type and by how many CPUs are left.
    """

    def __init__(self, fleet: Fleet, typical: Iterable[Typical]) -> None:
        types = sorted({pool.gpu for pool in fleet.pools})
        self._type_of: Ints = np.array([types.index(pool.gpu) for pool in fleet.pools])
        with_gpu = [each for each in typical if each.gpus]
        self._steps: Floats = np.unique([round(each.cpus * 1000.0, 6) for each in with_gpu])
        self._levels = levels = len(self._steps) + 1
        self._counts = counts = max(pool.gpus_per_node for pool in fleet.pools) + 1
        shares, wholes = np.zeros((len(types), levels, 1001)), np.zeros((len(types), levels, counts))
        for each in with_gpu:
            level = int(np.searchsorted(self._steps, round(each.cpus * 1000.0, 6))) + 1
            for t, name in enumerate(types):
                if each.types and name not in each.types.split("|"):
                    continue
                if each.milli < 1000:
                    shares[t, level:, each.milli :] += each.weight
                else:
                    wholes[t, level:, each.gpus :] += each.weight
        self._shares: Floats = (shares * np.arange(1001)).ravel()
        self._wholes: Floats = (wholes * np.arange(counts) * 1000).ravel()

    def rows(self, pool: Ints, cpus_milli: Floats) -> Ints:
        """The rows of the tables for nodes of some pools with so many CPUs left."""
        level = self._steps.searchsorted(cpus_milli, side="right")
        rows: Ints = self._type_of[pool] * self._levels + level
        return rows

    def of_shares(self, rows: Ints, left: Ints) -> Floats:
        """What shares can use of GPUs with so much left; ``rows`` are broadcast against ``left``."""
        worth: Floats = self._shares.take(rows * 1001 + left)
        return worth

    def of_wholes(self, rows: Ints, free: Ints) -> Floats:
        """What demands for whole GPUs can use of so many free GPUs of a node."""
        worth: Floats = self._wholes.take(rows * self._counts + free)
        return worth

    def fragmented(self, pool: Ints, cpus_milli: Floats, left: Ints) -> Floats:
        """F_n in milli-GPU of nodes with ``left`` (nodes, GPUs) milli-GPU of each GPU, shape (nodes,)."""
        rows = self.rows(pool, cpus_milli)
        usable = self.of_shares(rows[:, None], left).sum(1) + self.of_wholes(rows, (left == 1000).sum(1))
        out: Floats = left.sum(1) - usable
        return out


def sigmoid_percent(gpus: npt.NDArray[np.float64]) -> Floats:
    """100 × sigmoid; noise of sums in floating point far below a millionth is rounded off, so that no change is 50."""
    out: Floats = 100.0 / (1.0 + np.exp(-np.round(gpus, 9)))
    return out
