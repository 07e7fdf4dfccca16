"""Tetris: of all waiting jobs and all nodes the pair that aligns best, short work first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hcsim import InputError, Plan, View
from hcsim.planning.packing import Packing, asked_shares, left_shares
from hcsim.scores import Nodes, Scorer, Want


@dataclass(frozen=True)
class Tetris(Packing, Scorer):
    """Place, again and again, the waiting job and the node with the largest alignment less remaining work.

    Alignment is the dot product of what the job asks for and what the node has free, GPUs, CPUs and RAM each as shares
    of the fleet's largest node. Remaining work is the estimated remaining run time × the sum of those shares; it is
    scaled so that in the mean over candidates it is ``shortness`` times the alignment (0: alignment alone). The
    candidates are, of each distinct demand, the job with the least remaining work. What then fits on no node that is on
    (gangs larger than a node, jobs for which one must be rented) is placed first fit, shortest first. Source: Grandl et
    al., Tetris, SIGCOMM'14, section 3 (m = 1 there), without its knob for fairness.
    """

    shortness: float = 1.0

    needs = frozenset({"runtime"})
    dtype: ClassVar[type] = np.float64

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.shortness >= 0:
            raise InputError(f"strategy.shortness is {self.shortness}, expected >= 0")

    def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
        alignment: npt.NDArray[np.float64] = left_shares(nodes) @ asked_shares(nodes, want)
        return alignment

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        queue = view.waiting_by(view.remaining_s)
        waiting = {c: queue.of_class(c) for c in queue.counts}
        heads = {c: next(jobs) for c, jobs in waiting.items()}
        while heads:
            aligned = {c: plan.best_score(job, self) for c, job in heads.items()}
            for c in [c for c, score in aligned.items() if score is None]:
                del heads[c]  # nothing comes free in this plan
            if heads:
                best = self._best(view, heads, np.array([aligned[c] for c in heads], np.float64))
                plan.place(heads[best], plan.scored_fit(heads[best], self))
                if (following := next(waiting[best], None)) is None:
                    del heads[best]
                else:
                    heads[best] = following
        for job in plan.placeable(queue):
            plan.place(job, plan.first_fit(job))
        return plan

    def _best(self, view: View, heads: dict[int, int], aligned: npt.NDArray[np.float64]) -> int:
        """The demand class whose candidate goes first; of equal ones the one that came first."""
        work = np.array([self._work(view, job) for job in heads.values()])
        mean = work.mean()
        value = aligned - (self.shortness * aligned.mean() / mean if mean else 0.0) * work
        return max(zip(value.tolist(), [-job for job in heads.values()], heads, strict=True))[2]

    def _work(self, view: View, job: int) -> float:
        """Remaining seconds times the shares of the largest node that the job asks for."""
        pools = view.pools
        gpus = view.gpus[job] * view.milli[job] / 1000.0 / max(p.gpus_per_node for p in pools)
        cpus = view.cpus[job] / (max(p.cpus_per_node for p in pools) or np.inf)
        ram = view.ram_bytes[job] / (max(p.ram_bytes_per_node for p in pools) or np.inf)
        return view.remaining_s(job) * float(gpus + cpus + ram)
