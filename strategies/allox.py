"""The least mean completion time by matching jobs to places in machines' queues: AlloX."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from hcsim import InputError, Plan, Strategy, View, while_waiting


@dataclass(frozen=True)
class Allox(Strategy):
    """Match waiting jobs to machines and to places in their queues, counted from the last; start who comes first on a
    machine that is free.

    The q-th from last on a machine delays itself and the q - 1 behind it, so it costs q times its run time there, and
    all on a machine that is in use wait for it: the matching of least cost has the least mean completion time when
    nobody else comes. A machine is a GPU of a pool, or as many as its job asks for: a gang is matched as one, starts
    when its pool has the GPUs, and keeps jobs that came later from its pool until then. The oldest ``depth`` waiting
    jobs are matched. Nobody is preempted; the fairness filter of the paper is left out. Source: Le et al., AlloX,
    EuroSys 2020, section 4 (for unrelated machines: Bruno, Coffman, Sethi, CACM 1974).
    """

    depth: int = 32

    wake = while_waiting
    needs = frozenset({"runtime"})

    def __post_init__(self) -> None:
        if not self.depth > 0:
            raise InputError(f"strategy.depth is {self.depth}, expected > 0")

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        jobs = [job for job, _ in zip(view.waiting, range(self.depth), strict=False)]
        pools, busy_s = _machines(view, len(jobs))
        m, n = len(jobs), len(pools)
        run_s = np.full((m, n), np.inf)
        for i, job in enumerate(jobs):
            left_s = view.remaining_s(job)
            on = {p: left_s / view.speed(p, job) for p in view.allowed_pools(job)}
            run_s[i] = [on.get(p, np.inf) for p in pools]
        most = 1e6 * (1.0 + np.where(np.isfinite(run_s), run_s, 0.0).max(initial=0.0) + max(busy_s, default=0.0))
        costs = np.where(np.isfinite(run_s), run_s, most)
        cost = np.concatenate([place * costs + np.array(busy_s) for place in range(1, m + 1)], axis=1)
        rows, columns = linear_sum_assignment(cost)
        first: dict[int, tuple[int, int]] = {}  # machine -> (place from last, job) of who goes first on it
        for i, column in zip(rows.tolist(), columns.tolist(), strict=True):
            place, machine = divmod(column, n)
            if np.isfinite(run_s[i, machine]):
                first[machine] = max(first.get(machine, (-1, -1)), (place, jobs[i]))
        shut: dict[int, int] = {}  # pool -> the oldest gang that waits for it
        for job, machine in sorted((job, machine) for machine, (_, job) in first.items() if not busy_s[machine]):
            p = pools[machine]
            where = plan.first_fit(job, (p,)) if p not in shut else None
            if where is None:
                shut.setdefault(p, job)
            else:
                plan.place(job, where)
        return plan


def _machines(view: View, most: int) -> tuple[list[int], list[float]]:
    """The pool of each machine, and how long it is still in use; at most so many of each pool, the freest first."""
    ends: dict[int, list[float]] = {p: [] for p in range(len(view.pools))}
    for end_s, job in view.ends():
        ends[view.pool_of(view.claims[job][0][0])].append(max(end_s - view.now, 1e-3))
    pools, busy_s = [], []
    for p, used in ends.items():
        free = min(view.pool_claimable_gpus(p), most)
        each = [0.0] * free + used[: most - free]
        pools += [p] * len(each)
        busy_s += each
    return pools, busy_s
