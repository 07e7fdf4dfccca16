"""What a run came to, as the auditor has it: every figure of ``summary.json`` and every outcome of ``jobs.parquet``."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from math import fsum, isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.audit.shares import J_PER_KWH, NOBODY

if TYPE_CHECKING:
    from hcsim.audit import Audit

HOUR_S = 3600.0
#: Keys of ``summary.json`` that name what was run; ``config_sha256`` is made of them and of ``config.yaml``.
NAMED = (
    "strategy", "strategy_params", "strategy_sha256", "knowledge", "trace", "fleet", "executor", "executor_params",
    "perf", "estimator", "forecast_error", "seed", "jobs_sha256", "fleet_sha256", "code_sha256",
)  # fmt: skip
#: Keys that no file of the run's folder can prove, and why.
UNPROVED = {
    "versions": "of the libraries that were there",
    "cpu_s": "measured by a clock",
    "decide_cpu_s": "measured by a clock",
    "left_out": "what was said of jobs that fit nowhere",
    "no_route": "what was said of data without a route",
    "trace_left_out": "what the trace holds beside the jobs",
}


def outcomes(audit: Audit) -> dict[str, npt.NDArray[Any]]:
    """The columns of ``jobs.parquet`` that the log decides, shape (jobs,) each."""
    lives, fleet, jobs = audit.lives.lives, audit.fleet, audit.jobs
    out: dict[str, npt.NDArray[Any]] = {}
    for name in ("first_start_s", "finish_s", "run_s", "lost_gpu_s"):
        out[name] = np.array([getattr(life, name) for life in lives], float)
    out["gpu_s"] = np.array([life.held_gpu_s for life in lives], float)
    out["jct_s"] = out["finish_s"] - jobs.arrival_s
    out["queue_delay_s"] = out["first_start_s"] - jobs.arrival_s
    for name in ("preemptions", "migrations", "losses"):
        out[name] = np.array([getattr(life, name) for life in lives], np.int64)
    last = [life.last_pool for life in lives]
    out["last_pool"] = np.array([fleet.pools[p].name if p >= 0 else "" for p in last], object)
    out["last_site"] = np.array([fleet.sites[fleet.pool_site[p]].name if p >= 0 else "" for p in last], object)
    over = [life.status if life.status in ("finished", "rejected") else "unfinished" for life in lives]
    out["status"] = np.array(over, object)
    in_time = out["finish_s"] <= jobs.deadline_s
    out["deadline_missed"] = np.isfinite(jobs.deadline_s) & ~in_time
    out["cost_usd"] = np.zeros(len(lives))
    for (_, job, *_), usd in costs(audit).items():
        if job >= 0:
            out["cost_usd"][job] += usd
    for name in ("energy_kwh", "carbon_kg"):
        out[name] = np.full(len(lives), 0.0 if _powered(audit) else nan)
    for (job, _), mine in audit.nodes.shares.accounts.items():
        if job >= 0:
            out["energy_kwh"][job] += mine.joules / J_PER_KWH
            out["carbon_kg"][job] += mine.grams / 1000.0
    return out


def costs(audit: Audit) -> dict[tuple[str, int, int, int], float]:
    """USD by (category, job, site, pool), numbers of the fleet, -1 where there is none; the whole bill."""
    fleet, accounts, end_s = audit.fleet, audit.nodes.shares.accounts, audit.now
    out: defaultdict[tuple[str, int, int, int], float] = defaultdict(float)
    of_jobs = [0.0] * len(fleet.pools)
    for (job, p), mine in accounts.items():
        site = fleet.sites[fleet.pool_site[p]]
        if job != NOBODY:
            out["compute", job, fleet.pool_site[p], p] += mine.usd
            of_jobs[p] += mine.usd
        if site.kind != "cloud":
            out["energy", job, fleet.pool_site[p], p] += mine.joules / J_PER_KWH * site.usd_per_kwh
    for p, (usd, _) in enumerate(audit.nodes.paid()):
        nobodys = "commitment" if fleet.pools[p].market == "reserved" else "compute"
        out[nobodys, NOBODY, fleet.pool_site[p], p] += usd - of_jobs[p]
    for (job, s), usd in audit.data.egress_of.items():
        out["egress", job, s, -1] += usd
    for (job, s), usd in audit.data.stored.usd.items():
        out["storage", job, s, -1] += usd
    for s, site in enumerate(fleet.sites):
        out["control_plane", NOBODY, s, -1] += end_s / HOUR_S * site.control_plane_usd_per_h
    return dict(out)


def _powered(audit: Audit) -> bool:
    return any(pool.max_w for pool in audit.fleet.pools)


def figures(audit: Audit, table: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """The keys of ``summary.json`` that follow from the log, the jobs and the fleet; ``table`` is :func:`outcomes`."""
    jobs, use, usd = audit.jobs, audit.seconds, costs(audit)
    done, finish = table["status"] == "finished", table["finish_s"]
    jct, delay = table["jct_s"][done], table["queue_delay_s"][~np.isnan(table["queue_delay_s"])]
    due = np.isfinite(jobs.deadline_s)
    up = fsum(use[name] for name in ("busy", "starting", "draining", "idle"))
    rho = fairness(audit, finish)
    return {
        "jobs_finished": int(done.sum()),
        "jobs_rejected": int((table["status"] == "rejected").sum()),
        "jobs_unfinished": int((table["status"] == "unfinished").sum()),
        "finished_sha256": hashlib.sha256(jobs.id[done].tobytes()).hexdigest(),
        "jct_mean_s": _mean(jct),
        "jct_p50_s": _quantile(jct, 0.5),
        "jct_p99_s": _quantile(jct, 0.99),
        "queue_delay_mean_s": _mean(delay),
        "queue_delay_p99_s": _quantile(delay, 0.99),
        "makespan_s": float(finish[done].max() - jobs.arrival_s.min()) if done.any() else None,
        "gpu_utilization": use["busy"] / up if up else None,
        "gpu_seconds_used": use["busy"],
        "gpu_seconds_lost": audit.lost_gpu_s,
        "cost_usd": fsum(usd.values()),
        "cost_egress_usd": fsum(each for (category, *_), each in usd.items() if category == "egress"),
        "cost_by_market_usd": _by(usd, lambda category, p: _market(audit, category, p)),
        "cost_by_category_usd": _by(usd, lambda category, p: category),
        "commitment_unused_share": _unused_share(audit),
        **_energy(audit),
        "deadline_miss_rate": _mean(table["deadline_missed"][due].astype(float)),
        "preemptions": int(table["preemptions"].sum()),
        "migrations": int(table["migrations"].sum()),
        "refusals": audit.refusals,
        "fallbacks": audit.fallbacks,
        "residency_violations": 0,  # one is a breach
        "fairness_ftf_p99": _quantile(rho, 0.99),
        "events": audit.rows,
        "decisions": audit.decisions,
    }


def _by(usd: dict[tuple[str, int, int, int], float], name: Any) -> dict[str, float]:
    out: defaultdict[str, float] = defaultdict(float)
    for (category, _, _, p), each in usd.items():
        out[name(category, p)] += each
    return dict(out)


def _market(audit: Audit, category: str, p: int) -> str:
    return audit.fleet.pools[p].market if category in ("compute", "commitment") else category


def _unused_share(audit: Audit) -> float | None:
    """Of the GPU-seconds that were reserved those that no job had."""
    reserved = [p for p, pool in enumerate(audit.fleet.pools) if pool.market == "reserved"]
    paid = audit.nodes.paid()
    total = sum(paid[p][1] for p in reserved)
    had = sum(mine.gpu_s for (job, p), mine in audit.nodes.shares.accounts.items() if job != NOBODY and p in reserved)
    return (total - had) / total if total else None


def _energy(audit: Audit) -> dict[str, float | None]:
    if not _powered(audit):
        return {"energy_kwh": None, "carbon_kg": None}
    taken = [mine for mine in audit.nodes.shares.accounts.values() if mine.joules > 0]
    grams = fsum(mine.grams for mine in taken)
    return {
        "energy_kwh": fsum(mine.joules for mine in taken) / J_PER_KWH,
        "carbon_kg": grams / 1000.0 if isfinite(grams) else None,
    }


def fairness(audit: Audit, finish: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """ρ of each finished job (Themis, NSDI'20, section 3): its JCT over its time alone on a share of 1/n of the GPUs,
    n being the mean number of finished jobs in the system while it was there."""
    jobs = audit.jobs
    done = np.flatnonzero(~np.isnan(finish))
    lives = [(float(jobs.arrival_s[j]), float(finish[j])) for j in done]
    edges = sorted([(begin, 1) for begin, _ in lives] + [(end, -1) for _, end in lives])
    times, level, area = [], [], []
    n, total, before = 0, 0.0, 0.0
    for t, change in edges:
        total += n * (t - before)
        n, before = n + change, t
        times.append(t)
        level.append(n)
        area.append(total)

    def until(t: float) -> float:
        i = bisect_right(times, t) - 1
        return area[i] + level[i] * (t - times[i])

    out = []
    for j, (begin, end) in zip(done.tolist(), lives, strict=True):
        mean = (until(end) - until(begin)) / (end - begin) if end > begin else 1.0
        gpus = float(jobs.gpus[j]) * float(jobs.gpu_milli[j]) / 1000.0
        alone = float(jobs.duration_s[j]) * max(1.0, gpus * mean / audit.fleet.gpus)
        if alone > 0:
            out.append((end - begin) / alone)
    return np.array(out)


def _mean(x: npt.NDArray[np.float64]) -> float | None:
    return fsum(x.tolist()) / len(x) if len(x) else None


def _quantile(x: npt.NDArray[np.float64], q: float) -> float | None:
    return float(np.quantile(x, q)) if len(x) else None
