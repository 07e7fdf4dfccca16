"""Finish-time fairness on GPUs of several types: Gavel's form of Themis's aim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hcsim import Plan
from hcsim.planning.fairness import max_min, shares_of
from hcsim.planning.lp import Answer
from hcsim.planning.rounds import Cluster, Floats, RoundBased, isolated


@dataclass(frozen=True)
class FinishTimeFairness(RoundBased):
    """Shares that make the largest ρ of the jobs as small as possible: when a job would end by them, over when it would
    have ended had it always had its isolated share, both counted from its arrival.

    A ρ can be had if the throughputs that it asks for can; the least is found by bisection to ``tolerance``. With
    ``perf`` false every GPU type counts as fast as the job's fastest. Without a solution: isolated shares, and a row in
    the log. Source: Narayanan et al., Gavel, OSDI 2020, section 4.2; Mahajan et al., Themis, NSDI 2020. Knows
    throughputs and run times.
    """

    perf: bool = True
    tolerance: float = 0.001

    needs = frozenset({"runtime"})

    @property
    def shuffled(self) -> bool:
        return not self.perf

    def shares(self, cluster: Cluster, plan: Plan, kept: Any) -> tuple[Floats, Any]:
        rate = cluster.throughput
        if not self.perf:
            rate = (rate > 0) * rate.max(axis=1, keepdims=True)
        left, now = cluster.iterations_left, cluster.view.now
        alone = (rate * isolated(cluster.gangs, cluster.gpus)).sum(axis=1)
        past_s = np.zeros(len(left))  # how long what is done would have taken alone
        for i, job in enumerate(cluster.jobs):
            if kept and job in kept:
                before_s, before_left, before_alone = kept[job]
                past_s[i] = before_s + max(before_left - left[i], 0.0) / before_alone if before_alone > 0 else before_s
        memory = dict(zip(cluster.jobs, zip(past_s.tolist(), left.tolist(), alone.tolist(), strict=True), strict=True))
        age_s = now - np.array([cluster.view.arrival_s[job] for job in cluster.jobs])
        able = alone > 0  # the others have no GPUs at present, whatever they are given
        ideal_s = past_s + np.divide(left, alone, out=np.ones_like(left), where=able)
        age_s = np.where(able, age_s, 0.0)
        gain = np.where(cluster.gpus > 0, rate, 0.0)
        return shares_of(self._least(gain, left, age_s, ideal_s, cluster), cluster, plan), memory

    def _least(self, rate: Floats, left: Floats, age_s: Floats, ideal_s: Floats, cluster: Cluster) -> Answer:
        """The answer at the least ρ, by bisection between one that cannot be had and one that can."""
        low = float(np.max(age_s / np.maximum(ideal_s, 1e-9), initial=0.0))
        high, answer = 2.0 * low + 1.0, None
        while answer is None or high - low > self.tolerance * high:
            rho = high if answer is None else (low + high) / 2
            asked = left / np.maximum(rho * ideal_s - age_s, 1e-9)
            found = max_min(rate / np.maximum(asked, 1e-3 * asked.max(initial=1e-300))[:, None], cluster)
            if not found.solved:
                return found if answer is None else answer
            if found.value >= 1.0 or not found.x.any():
                answer, high = found, rho
            elif answer is None:
                low, high = high, 2.0 * high
            else:
                low = rho
        return answer
