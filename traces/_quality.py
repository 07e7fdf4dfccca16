"""How good a twin is: marginal distances, autocorrelation, and the distance that counts, what strategies make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]

STRATEGIES: tuple[AnyStrategy, ...] = (Fifo(), FirstFit(), Sjf(), Las(), EasyBackfill())


@dataclass(frozen=True)
class Outcome:
    """What a strategy made of a trace and of its twins: means, each twin's, and the difference of the means."""

    strategy: str
    jct_mean_s: float
    twin_jct_mean_s: float
    twin_jct_s: tuple[float, ...]
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
    out = {
        "KS run time": _ks(original.duration_s, twin.duration_s),
        "KS gap": _ks(np.diff(original.arrival_s), np.diff(twin.arrival_s)),
        "KS gang size": _ks(original.gpus, twin.gpus),
        "load ratio": _work(twin) / _work(original),
    }
    for lag in (1, 24):
        out[f"autocorrelation {lag} h"] = _autocorrelation(original.arrival_s, lag, 3600.0)
        out[f"autocorrelation {lag} h, twin"] = _autocorrelation(twin.arrival_s, lag, 3600.0)
    return out


#: What an output token costs a server, in prompt tokens: decoding is bound by memory, prefill by arithmetic.
OUTPUT_COST = 10.0


def request_distances(original: pd.DataFrame, twin: pd.DataFrame) -> dict[str, float]:
    """Distances of lengths and gaps, autocorrelations, and the distance that counts: how long requests wait for one
    server that takes them in order, at three loads (a prompt token costs it 1, an output token :data:`OUTPUT_COST`)."""
    from hcsim.traces._fit_requests import shared_blocks

    original = original.sort_values("arrival_s", kind="stable")
    when, other = (frame["arrival_s"].to_numpy() - frame["arrival_s"].min() for frame in (original, twin))
    out = {
        f"KS {name} tokens": _ks(original[f"{name}_tokens"], twin[f"{name}_tokens"]) for name in ("prompt", "output")
    }
    out |= {"KS gap": _ks(np.diff(when), np.diff(other))}
    for lag in (1, 10):
        out[f"autocorrelation {lag} min"] = _autocorrelation(when, lag, 60.0)
        out[f"autocorrelation {lag} min, twin"] = _autocorrelation(other, lag, 60.0)
    for load in (0.5, 0.7, 0.9):
        out[f"mean wait at {load:.0%} (s)"] = queue_delay_mean_s(original, load)
        out[f"mean wait at {load:.0%} (s), twin"] = queue_delay_mean_s(twin, load)
    if "hash_ids" in original:
        for name, frame in (("", original), (", twin", twin)):
            prompts = [list(blocks) for blocks in frame["hash_ids"]]
            out[f"blocks seen before{name}"] = sum(shared_blocks(prompts)[0]) / sum(len(each) for each in prompts)
    return out


def queue_delay_mean_s(requests: pd.DataFrame, load: float) -> float:
    """Mean wait for one server that takes requests in order and is busy ``load`` of the time (Lindley's recursion)."""
    cost = (requests["prompt_tokens"] + OUTPUT_COST * requests["output_tokens"]).to_numpy(np.float64)
    gaps = np.diff(requests["arrival_s"].to_numpy())
    service_s = cost / cost.mean() * gaps.mean() * load
    walk = np.r_[0.0, np.cumsum(service_s[:-1] - gaps)]
    return float((walk - np.minimum.accumulate(walk)).mean())


def outcomes(original: Jobs, twins: Iterable[Jobs], told: Callable[[str], Any] = lambda text: None) -> list[Outcome]:
    """Five strategies with perfect estimates on a fleet that the original loads to 85 %, on it and on its twins."""
    fleet, drawn = fleet_for(original), list(twins)
    out = []
    for strategy in STRATEGIES:
        told(strategy.name)
        runs = [Experiment(fleet, jobs, strategy, Oracle()).run().summary for jobs in (original, *drawn)]
        jct = [float(run["jct_mean_s"]) for run in runs]
        used = [float(run["gpu_utilization"]) for run in runs]
        means = (jct[0], float(np.mean(jct[1:])), tuple(jct[1:]), used[0], float(np.mean(used[1:])))
        out.append(Outcome(strategy.name, *means))
    return out


def agreement(found: list[Outcome]) -> float:
    """Kendall's tau of the strategies' order by mean JCT: 1 when the twins rank them as the original does, NaN when
    nothing waits in the original, so that it does not tell them apart."""
    from scipy.stats import kendalltau

    return float(kendalltau([each.jct_mean_s for each in found], [each.twin_jct_mean_s for each in found]).statistic)


def fleet_for(jobs: Jobs, load: float = 0.85) -> Fleet:
    """Owned nodes of eight GPUs that the jobs load to ``load``, and enough of them for the largest gang."""
    span_s = float(jobs.arrival_s[-1] - jobs.arrival_s[0])
    gpus = max(_work(jobs) / span_s / load, float(jobs.gpus.max()))
    pool = NodePool("own", "A100", gpus_per_node=8, nodes=int(np.ceil(gpus / 8)), usd_per_gpu_h=1.0)
    return Fleet((Site("home", (pool,)),), name=f"{pool.nodes * 8} GPUs")


def _ks(a: Any, b: Any) -> float:
    """The largest distance between two distribution functions."""
    a, b = np.sort(np.asarray(a)), np.sort(np.asarray(b))
    at = np.concatenate([a, b])
    return float(np.abs(np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)).max())


def _work(jobs: Jobs) -> float:
    return float((jobs.duration_s * jobs.gpus * (jobs.gpu_milli / 1000.0)).sum())


def _autocorrelation(arrival_s: Floats, lag: int, bin_s: float) -> float:
    count = np.bincount((arrival_s // bin_s).astype(int)).astype(np.float64)
    count -= count.mean()
    total = float((count * count).sum())
    return float((count[lag:] * count[:-lag]).sum()) / total if total and len(count) > lag else 0.0
