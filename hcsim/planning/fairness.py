"""Shares of time by linear programmes: max-min over jobs, once or level by level."""

from __future__ import annotations

import numpy as np

from hcsim.plan import Plan
from hcsim.planning.lp import Answer, Floats, rows, shares_rows, solve
from hcsim.planning.rounds import Cluster, isolated

#: A job whose constraint costs more than this part of the objective's scale can be given no more.
_TIGHT = 1e-4


def normalised(cluster: Cluster) -> Floats:
    """What a job has of all of its time on a pool: its throughput there times its GPUs, over its weight and over its
    throughput when it has its fair part of every pool; shape (m, k). 0 where it runs on none that is up."""
    rate = np.where(cluster.gpus > 0, cluster.throughput, 0.0)
    fair = rate @ cluster.gpus / max(cluster.gpus.sum(), 1.0)
    factor = np.divide(cluster.gangs, cluster.weights * fair, out=np.zeros_like(fair), where=fair > 0)
    out: Floats = rate * factor[:, None]
    return out


def largest_sum(gain: Floats, cluster: Cluster) -> Answer:
    """The programme whose X makes Σ_jk gain_jk X_jk as large as it can be."""
    high = ((gain > 0) & (cluster.gpus > 0)).astype(float).ravel()
    return solve(gain.ravel(), shares_rows(cluster.gangs, cluster.gpus), high, maximise=True)


def max_min(gain: Floats, cluster: Cluster, level: Floats | None = None) -> Answer:
    """The programme whose X makes the least of Σ_k gain_jk X_jk as large as it can be.

    Args:
        gain: what a job has of all of its time on a pool, shape (m, k).
        level: jobs that are not looked at but keep at least so much (NaN: looked at), shape (m,).

    Returns the answer with x = (X row by row, the least gain).
    """
    m, k = gain.shape
    fixed = np.zeros(m) if level is None else np.where(np.isnan(level), 0.0, level)
    free = np.ones(m) if level is None else np.isnan(level).astype(float)
    free[gain.max(axis=1, initial=0.0) <= 0] = 0.0  # it can have nothing at present
    if not free.any():
        return Answer(np.zeros(m * k + 1), np.zeros(m + k + m), 0.0, 0)
    least = rows(gain, 0, fixed, np.full(m, np.inf), -free, m * k)
    constraints = shares_rows(cluster.gangs, cluster.gpus).and_(least)
    cost = np.zeros(m * k + 1)
    cost[-1] = 1.0
    high = np.r_[(gain > 0).astype(float).ravel(), np.inf]  # no time where it has nothing of it
    return solve(cost, constraints, high, maximise=True)


def levels(gain: Floats, cluster: Cluster) -> Answer:
    """X that is max-min fair at every level: when the least gain can rise no more, it stays with those whom it binds,
    and the least of the others is raised (water filling).

    Source: Narayanan et al., Gavel, OSDI 2020, section 4.3. Whom it binds is read from the prices of the constraints,
    which an interior solution has positive for just those.
    """
    m = len(gain)
    level = np.full(m, np.nan)
    level[gain.max(axis=1, initial=0.0) <= 0] = 0.0
    answer = max_min(gain, cluster, level)
    while answer.solved and np.isnan(level).any():
        price = np.abs(answer.price[-m:])
        has = (gain * answer.x[:-1].reshape(gain.shape)).sum(axis=1)
        tight = (price > _TIGHT * price.max(initial=0.0)) & (has <= answer.value * (1 + 1e-4))
        bound = np.isnan(level) & tight
        if not bound.any():  # then whoever has least: one of those who are bound does
            bound[np.argmin(np.where(np.isnan(level), has, np.inf))] = True
        level[bound] = answer.value
        if not np.isnan(level).any():
            break
        for off in (1e-7, 1e-6, 1e-5, 1e-4):  # a solver needs some room, as little as will do
            following = max_min(gain, cluster, level * (1 - off))
            if following.solved:
                break
        else:
            break
        answer = following
    return answer


def shares_of(answer: Answer, cluster: Cluster, plan: Plan) -> Floats:
    """X of an answer; where there is none, that of isolated shares, and a row in the log that says so."""
    m, k = cluster.throughput.shape
    if answer.solved:
        return answer.x[: m * k].reshape(m, k)
    plan.fall_back(answer.status)
    return isolated(cluster.gangs, cluster.gpus)


def even(may: Floats, cluster: Cluster) -> Floats:
    """X of a policy that knows no throughputs: everyone has the same GPU-time by weight, at most all of its time, and
    has it on all pools in proportion to their GPUs.

    Args:
        may: 1 where a job may run, else 0, shape (m, k).
    """
    full = cluster.gangs / cluster.weights  # GPU-time by weight at which a job has all of its time
    order = np.argsort(full, kind="stable")
    used = np.r_[0.0, np.cumsum(cluster.gangs[order])[:-1]]
    weights = np.cumsum(cluster.weights[order][::-1])[::-1]
    level = ((cluster.gpus.sum() - used) / weights)[np.argmax(used + full[order] * weights >= cluster.gpus.sum())]
    if (cluster.gangs.sum()) <= cluster.gpus.sum():
        level = np.inf
    room = may * cluster.gpus
    part = room / np.maximum(room.sum(axis=1, keepdims=True), 1e-300)
    out: Floats = np.minimum(1.0, level / full)[:, None] * part
    return out
