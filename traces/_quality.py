"""How good a twin is: marginal distances, autocorrelation, and the distance that counts, what strategies make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.estimators import Oracle
from hcsim.experiment import Experiment
from hcsim.model import Fleet, Jobs, NodePool, Site
from hcsim.strategies.easy_backfill import EasyBackfill
from hcsim.strategies.fifo import Fifo
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategies.las import Las
from hcsim.strategies.sjf import Sjf
from hcsim.strategy import AnyStrategy

Floats = npt.NDArray[np.float64]

STRATEGIES: tuple[AnyStrategy, ...] = (Fifo(), FirstFit(), Sjf(), Las(), EasyBackfill())


@dataclass(frozen=True)
class Outcome:
    """What a strategy made of a trace and of its twins: means, and the twins' relative difference."""

    strategy: str
    jct_mean_s: float
    twin_jct_mean_s: float
    utilization: float
    twin_utilization: float

    @property
    def jct_difference(self) -> float:
        """(twin - original) / original."""
        return self.twin_jct_mean_s / self.jct_mean_s - 1.0

    @property
    def utilization_difference(self) -> float:
        """(twin - original) / original."""
        return self.twin_utilization / self.utilization - 1.0


def distances(original: Jobs, twin: Jobs) -> dict[str, float]:
    """Kolmogorov-Smirnov distances of run times, gaps and gang sizes, and autocorrelations of hourly submissions."""
    from scipy.stats import ks_2samp

    out = {
        "KS run time": ks_2samp(original.duration_s, twin.duration_s).statistic,
        "KS gap": ks_2samp(np.diff(original.arrival_s), np.diff(twin.arrival_s)).statistic,
        "KS gang size": ks_2samp(original.gpus, twin.gpus).statistic,
        "load ratio": _work(twin) / _work(original),
    }
    for lag in (1, 24):
        out[f"autocorrelation {lag} h"] = _autocorrelation(original.arrival_s, lag)
        out[f"autocorrelation {lag} h, twin"] = _autocorrelation(twin.arrival_s, lag)
    return {key: float(value) for key, value in out.items()}


def outcomes(original: Jobs, twins: Iterable[Jobs], told: Callable[[str], Any] = lambda text: None) -> list[Outcome]:
    """Five strategies with perfect estimates on a fleet that the original loads to 85 %, on it and on its twins."""
    fleet, drawn = fleet_for(original), list(twins)
    out = []
    for strategy in STRATEGIES:
        told(strategy.name)
        runs = [Experiment(fleet, jobs, strategy, Oracle()).run().summary for jobs in (original, *drawn)]
        jct = [float(run["jct_mean_s"]) for run in runs]
        used = [float(run["gpu_utilization"]) for run in runs]
        means = (jct[0], float(np.mean(jct[1:])), used[0], float(np.mean(used[1:])))
        out.append(Outcome(strategy.name, *means))
    return out


def agreement(found: list[Outcome]) -> float:
    """Kendall's tau of the strategies' order by mean JCT: 1 when the twins rank them as the original does."""
    from scipy.stats import kendalltau

    return float(kendalltau([each.jct_mean_s for each in found], [each.twin_jct_mean_s for each in found]).statistic)


def fleet_for(jobs: Jobs, load: float = 0.85) -> Fleet:
    """Owned nodes of eight GPUs that the jobs load to ``load``, and enough of them for the largest gang."""
    span_s = float(jobs.arrival_s[-1] - jobs.arrival_s[0])
    gpus = max(_work(jobs) / span_s / load, float(jobs.gpus.max()))
    pool = NodePool("own", "A100", gpus_per_node=8, nodes=int(np.ceil(gpus / 8)), usd_per_gpu_h=1.0)
    return Fleet((Site("home", (pool,)),), name=f"{pool.nodes * 8} GPUs")


def _work(jobs: Jobs) -> float:
    return float((jobs.duration_s * jobs.gpus * (jobs.gpu_milli / 1000.0)).sum())


def _autocorrelation(arrival_s: Floats, lag: int) -> float:
    count = np.bincount((arrival_s // 3600.0).astype(int)).astype(np.float64)
    count -= count.mean()
    total = float((count * count).sum())
    return float((count[lag:] * count[:-lag]).sum()) / total if total and len(count) > lag else 0.0
