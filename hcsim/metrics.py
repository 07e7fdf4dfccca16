"""What a run came to: pure functions of its log, its jobs and its fleet."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.events import KINDS, Kind
from hcsim.ledger import Ledger, bill
from hcsim.model import Fleet, Jobs
from hcsim.power import Energy, energy
from hcsim.spells import Floats, Rows, Spells, claims, of_kinds, spells

if TYPE_CHECKING:
    import pandas as pd


def job_table(
    rows: Rows, jobs: Jobs, fleet: Fleet, ledger: Ledger | None = None, use: Energy | None = None
) -> dict[str, npt.NDArray[Any]]:
    """One row per job, as columns of shape (jobs,).

    ``jct_s`` is arrival to finish, ``queue_delay_s`` arrival to first start; ``run_s`` seconds started over all spells,
    ``gpu_s`` GPU-seconds held, ``lost_gpu_s`` GPU-seconds of run done again; ``cost_usd`` its items in the ledger,
    ``energy_kwh`` what its GPUs took at the meter and ``carbon_kg`` the CO2e of that (NaN: not known). Idle nodes and
    unused commitments belong to no job.
    """
    n = len(jobs)
    ledger = ledger or bill(rows, fleet, jobs=jobs)
    kwh, carbon_kg = np.full(n, np.nan), np.full(n, np.nan)
    if _powered(fleet):
        kwh, carbon_kg = (use or energy(rows, fleet)).of_jobs(n)
    held = spells(rows, fleet)
    end = of_kinds(rows, Kind.FINISHED)
    finish = np.full(n, np.nan)
    finish[end["subject"]] = end["time_s"]
    first_start = np.full(n, np.inf)
    started = ~np.isnan(held.started_s)
    np.minimum.at(first_start, held.job[started], held.started_s[started])
    first_start[np.isinf(first_start)] = np.nan
    ran = np.where(started, held.stopped_s - held.started_s, 0.0)
    held_s = held.released_s - held.placed_s
    drains = of_kinds(rows, Kind.DRAINING)
    rejected = np.zeros(n, bool)
    rejected[of_kinds(rows, Kind.REJECTED)["subject"]] = True
    last_pool = np.full(n, -1, np.int64)
    last_pool[held.job] = held.pool  # in log order per job: the last one stays
    moves = drains["detail"] > 0
    return {
        "id": jobs.id,
        "tenant": np.array(jobs.tenants)[jobs.tenant],
        "gpus": jobs.gpus * jobs.gpu_milli / 1000.0,
        "arrival_s": jobs.arrival_s,
        "duration_s": jobs.duration_s,
        "first_start_s": first_start,
        "finish_s": finish,
        "jct_s": finish - jobs.arrival_s,
        "queue_delay_s": first_start - jobs.arrival_s,
        "run_s": np.bincount(held.job, ran, minlength=n),
        "gpu_s": np.bincount(held.job, held.gpus * held_s, minlength=n),
        "lost_gpu_s": np.bincount(held.job, held.gpus * held.lost_s, minlength=n),
        "preemptions": np.bincount(drains["subject"][~moves], minlength=n),
        "migrations": np.bincount(drains["subject"][moves], minlength=n),
        "losses": np.bincount(of_kinds(rows, Kind.LOST, Kind.SHRUNK)["subject"], minlength=n),
        "last_pool": np.array([*(p.name for p in fleet.pools), ""])[last_pool],
        "last_site": np.array([*(fleet.sites[s].name for s in fleet.pool_site), ""])[last_pool],
        "deadline_missed": np.isfinite(jobs.deadline_s) & ~(finish <= jobs.deadline_s),
        "cost_usd": ledger.by_job_usd(n),
        "energy_kwh": kwh,
        "carbon_kg": carbon_kg,
        "status": np.where(rejected, "rejected", np.where(np.isnan(finish), "unfinished", "finished")),
    }


def _powered(fleet: Fleet) -> bool:
    """Whether the power of any pool is modelled."""
    return any(pool.max_w for pool in fleet.pools)


def _steps(times: Floats, change: Floats, grid: Floats) -> Floats:
    """The value of a step function at each time of ``grid`` (changes at that time included)."""
    order = np.argsort(times, kind="stable")
    level = np.r_[0.0, np.cumsum(change[order])]
    out: Floats = level[np.searchsorted(times[order], grid, side="right")]
    return out


def timeline(rows: Rows, jobs: Jobs, fleet: Fleet, points: int = 400) -> pd.DataFrame:
    """Occupancy over time: at each of ``points`` times and for each site ``gpus_held`` and ``gpus_up``; for the whole
    fleet ``waiting_jobs`` and ``waiting_gpus``."""
    import pandas as pd

    end_s = float(rows["time_s"][-1]) if len(rows) else 0.0
    grid = np.linspace(0.0, end_s, points)
    held = spells(rows, fleet)
    site_of = np.array(fleet.pool_site)
    arrive = of_kinds(rows, Kind.ARRIVED)
    gpus = jobs.gpus * jobs.gpu_milli / 1000.0
    # a job waits from its arrival or requeue until it is placed (a spell that was not the move of a running job)
    requeue = (held.how == Kind.PREEMPTED) | (held.how == Kind.LOST)
    moved = np.zeros(len(held.job), bool)
    goes_on = (held.placed_s[1:] < held.released_s[:-1]) | (held.how[:-1] == Kind.SHRUNK)
    moved[1:] = (held.job[1:] == held.job[:-1]) & goes_on
    requeue[:-1] &= ~moved[1:]
    leave = of_kinds(rows, Kind.REJECTED)
    times = np.r_[arrive["time_s"], held.released_s[requeue], held.placed_s[~moved], leave["time_s"]]
    who = np.r_[arrive["subject"], held.job[requeue], held.job[~moved], leave["subject"]]
    sign = np.r_[np.ones(len(arrive) + int(requeue.sum())), -np.ones(int((~moved).sum()) + len(leave))]
    waiting_jobs, waiting_gpus = _steps(times, sign, grid), _steps(times, sign * gpus[who], grid)
    frames = []
    for s, site in enumerate(fleet.sites):
        here = site_of[held.pool] == s
        busy = _steps(np.r_[held.placed_s[here], held.released_s[here]], np.r_[held.gpus[here], -held.gpus[here]], grid)
        frames.append(
            pd.DataFrame(
                {
                    "time_s": grid,
                    "site": site.name,
                    "gpus_held": busy,
                    "gpus_up": _gpus_up(rows, fleet, s, grid),
                    "waiting_jobs": waiting_jobs,
                    "waiting_gpus": waiting_gpus,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _gpus_up(rows: Rows, fleet: Fleet, site: int, grid: Floats) -> Floats:
    """GPUs on nodes of a site that are up, at each time of ``grid``."""
    size = np.array([fleet.pools[p].gpus_per_node if fleet.pool_site[p] == site else 0 for p in fleet.node_pool])
    standing = sum(
        p.nodes * p.gpus_per_node
        for p, s in zip(fleet.pools, fleet.pool_site, strict=True)
        if s == site and not p.elastic
    )
    times, change = _ups(rows, fleet)
    return standing + _steps(times, change[0] * size[change[1].astype(np.int64)], grid)


def _ups(rows: Rows, fleet: Fleet) -> tuple[Floats, tuple[Floats, Floats]]:
    """Times at which nodes come up (+1) or stop being up (-1), with the node."""
    changes = of_kinds(rows, Kind.NODE_UP, Kind.NODE_OFF, Kind.NODE_DOWN)
    up = [not fleet.pools[p].elastic for p in fleet.node_pool]
    times, sign, nodes = [], [], []
    for t, kind, node in zip(
        changes["time_s"].tolist(), changes["kind"].tolist(), changes["subject"].tolist(), strict=True
    ):
        if up[node] != (kind == Kind.NODE_UP):
            up[node] = not up[node]
            times.append(t)
            sign.append(1.0 if up[node] else -1.0)
            nodes.append(node)
    return np.array(times), (np.array(sign), np.array(nodes, float))


def gpu_seconds(rows: Rows, fleet: Fleet) -> dict[str, float]:
    """Where the GPU-seconds of the fleet went, in states that add up to GPUs × span.

    ``busy`` started, ``starting`` claimed on nodes that are up but not started, ``draining`` told to stop but not yet
    released, ``idle`` up and unclaimed, ``off`` everything else (off, booting or down). A claim on GPUs that still
    drain counts once, as draining.
    """
    end_s = float(rows["time_s"][-1]) if len(rows) else 0.0
    held = spells(rows, fleet)
    started = ~np.isnan(held.started_s)
    busy = float((held.gpus * np.where(started, held.stopped_s - held.started_s, 0.0)).sum())
    draining = float((held.gpus * (held.released_s - held.stopped_s)).sum())
    up = sum(p.nodes * p.gpus_per_node for p in fleet.pools if not p.elastic) * end_s
    times, (sign, nodes) = _ups(rows, fleet)
    size = np.array([fleet.pools[p].gpus_per_node for p in fleet.node_pool])
    if len(times):
        up += float((sign * size[nodes.astype(np.int64)] * (end_s - times)).sum())
    starting = _starting_gpu_s(rows, fleet, held)
    total = fleet.gpus * end_s
    return {
        "busy": busy,
        "starting": starting,
        "draining": draining,
        "idle": up - busy - starting - draining,
        "off": total - up,
    }


def _starting_gpu_s(rows: Rows, fleet: Fleet, held: Spells) -> float:
    """GPU-seconds that were claimed on nodes that were up, before the job started.

    Of each GPU the seconds from the claim, or from the NODE_UP that it waits for, to the start; but not those in which
    another job still drained on it, which count as draining.
    """
    until_s = np.where(np.isnan(held.started_s), held.stopped_s, held.started_s)
    waits = held.placed_s < until_s
    if not waits.any():
        return 0.0
    parts = _parts(rows, len(held.job))
    ups = _ups_of_rented(rows, fleet)
    drains = _drains(held, parts)
    longest_s = float((held.released_s - held.stopped_s).max())
    total = 0.0
    for spell in np.flatnonzero(waits).tolist():
        until = float(until_s[spell])
        for node, mask, milli in parts[spell]:
            since = float(held.placed_s[spell])
            if fleet.pools[fleet.node_pool[node]].elastic:
                since = _up_since(*ups.get(node, ([], [])), since, until)
            share = milli / 1000.0
            total += mask.bit_count() * share * (until - since)
            for seconds in _drained_s(drains.get(node, []), longest_s, mask, since, until):
                total -= share * seconds
    return total


#: Of a claim on a node: the node, which of its GPUs (a bit mask), and how many thousandths of each.
_Part = tuple[int, int, float]
#: Of a drain on a node: when it ended, when it began, and which GPUs it held.
_Drain = tuple[float, float, int]


def _parts(rows: Rows, spells_: int) -> list[list[_Part]]:
    """What each spell holds, node by node."""
    parts: list[list[_Part]] = [[] for _ in range(spells_)]
    for spell, *part in zip(*(column.tolist() for column in claims(rows)), strict=True):
        parts[spell].append(tuple(part))
    return parts


def _ups_of_rented(rows: Rows, fleet: Fleet) -> dict[int, tuple[list[float], list[bool]]]:
    """Rented node -> the times at which it came up, went off or went down, and whether it was up from then on."""
    ups: dict[int, tuple[list[float], list[bool]]] = {}
    for time_s, kind, node, *_ in of_kinds(rows, Kind.NODE_UP, Kind.NODE_OFF, Kind.NODE_DOWN).tolist():
        if fleet.pools[fleet.node_pool[node]].elastic:
            times, up = ups.setdefault(node, ([], []))
            times.append(time_s)
            up.append(kind == Kind.NODE_UP)
    return ups


def _up_since(times: list[float], up: list[bool], claimed_s: float, until_s: float) -> float:
    """From when a node that was claimed at a time was up: then, or when it had booted; at most ``until_s``."""
    later = bisect_right(times, claimed_s)
    if later and up[later - 1]:
        return claimed_s
    return min(times[later], until_s) if later < len(times) else until_s  # it boots: what comes next is that it is up


def _drains(held: Spells, parts: list[list[_Part]]) -> dict[int, list[_Drain]]:
    """Node -> the drains on it, in order of their ends."""
    drains: dict[int, list[_Drain]] = {}
    for spell in np.flatnonzero(~np.isnan(held.started_s) & (held.released_s > held.stopped_s)).tolist():
        for node, mask, _ in parts[spell]:
            drains.setdefault(node, []).append((float(held.released_s[spell]), float(held.stopped_s[spell]), mask))
    for each in drains.values():
        each.sort()
    return drains


def _drained_s(drains: list[_Drain], longest_s: float, mask: int, since: float, until: float) -> Iterator[float]:
    """Seconds from ``since`` to ``until`` in which GPUs of ``mask`` drained, GPU by GPU and drain by drain, none twice.

    ``drains`` are in order of their ends and none is longer than ``longest_s``.
    """
    over = []
    for end, begin, other in drains[bisect_left(drains, (since, 0.0, 0)) :]:
        if end - longest_s >= until:
            break  # this one, and all that end later, begin after ``until``
        if begin < until and mask & other:
            over.append((begin, end, mask & other))
    counted: dict[int, float] = {}  # GPU -> up to when its drains have been counted
    for begin, end, both in sorted(over):
        for gpu in (g for g in range(16) if both >> g & 1):
            start, stop = max(begin, since, counted.get(gpu, since)), min(end, until)
            yield max(stop - start, 0.0)
            counted[gpu] = max(stop, start)


def residency_violations(rows: Rows, jobs: Jobs, fleet: Fleet) -> int:
    """Placements of a job outside its jurisdictions, counted from the log and the job's own column."""
    placed = of_kinds(rows, Kind.PLACED)
    if not jobs.residencies or not len(placed):
        return 0
    place = np.array([fleet.sites[s].jurisdiction for s in fleet.pool_site])
    jurisdiction = place[np.array(fleet.node_pool)[placed["node"]]]
    code = jobs.residency[placed["subject"]]
    outside = np.zeros(len(placed), bool)
    for c, names in enumerate(jobs.residencies):
        outside |= (code == c) & ~np.isin(jurisdiction, names.split("|"))
    return int(outside.sum())


def finish_time_fairness(table: dict[str, npt.NDArray[Any]], jobs: Jobs, fleet: Fleet) -> Floats:
    """ρ of each finished job: its JCT over its finish time alone on a 1/n share (Themis, NSDI'20, section 3).

    n is the mean number of jobs in the system during the job's life, G the fleet's GPUs; alone on G/n GPUs a job of g
    GPUs takes duration × max(1, g·n/G). ρ above 1 means sharing made it slower than its fair share would have been.
    """
    done = ~np.isnan(table["finish_s"])
    arrive, finish = jobs.arrival_s[done], table["finish_s"][done]
    times = np.r_[arrive, finish]
    order = np.argsort(times, kind="stable")
    times = times[order]
    level = np.cumsum(np.r_[np.ones(len(arrive)), -np.ones(len(finish))][order])
    area = np.r_[0.0, np.cumsum(level[:-1] * np.diff(times))]

    def integral(t: Floats) -> Floats:
        i = np.clip(np.searchsorted(times, t, side="right") - 1, 0, None)
        out: Floats = area[i] + level[i] * (t - times[i])
        return out

    life = finish - arrive
    mean = np.where(life > 0, (integral(finish) - integral(arrive)) / np.where(life > 0, life, 1.0), 1.0)
    gpus = table["gpus"][done]
    alone = jobs.duration_s[done] * np.maximum(1.0, gpus * mean / fleet.gpus)
    rho: Floats = life[alone > 0] / alone[alone > 0]
    return rho


def summarize(rows: Rows, jobs: Jobs, fleet: Fleet, ledger: Ledger | None = None) -> dict[str, Any]:
    """The figures of a run. Where nothing finished, what cannot be computed is None, never NaN.

    JCT is over finished jobs and queue delay over started ones, so both say little of a run that left some unfinished;
    ``finished_sha256`` tells whether two runs finished the same jobs.
    ``gpu_utilization`` is busy GPU-seconds over GPU-seconds that were up; ``gpu_seconds_lost`` counts run time done
    again; ``deadline_miss_rate`` is over jobs with a deadline. ``commitment_unused_share`` is of the GPU-hours of
    reserved pools; ``energy_kwh`` is at the meter (None: no pool's power is modelled), and ``carbon_kg`` is None where
    an intensity is not known.
    """
    ledger = ledger or bill(rows, fleet, jobs=jobs)
    power = energy(rows, fleet) if _powered(fleet) else None
    table = job_table(rows, jobs, fleet, ledger, power)
    use = gpu_seconds(rows, fleet)
    done = ~np.isnan(table["finish_s"])
    jct, delay = table["jct_s"][done], table["queue_delay_s"][~np.isnan(table["queue_delay_s"])]
    rho = finish_time_fairness(table, jobs, fleet)
    due = np.isfinite(jobs.deadline_s)
    up = math.fsum(use[k] for k in ("busy", "starting", "draining", "idle"))  # sum() is another from Python 3.12 on
    count = np.bincount(rows["kind"], minlength=KINDS)

    def mean(x: Floats) -> float | None:
        return float(x.mean()) if len(x) else None

    def quantile(x: Floats, q: float) -> float | None:
        return float(np.quantile(x, q)) if len(x) else None

    return {
        "jobs_submitted": len(jobs),
        "jobs_finished": int(done.sum()),
        "jobs_rejected": int((table["status"] == "rejected").sum()),
        "jobs_unfinished": int((table["status"] == "unfinished").sum()),
        "finished_sha256": hashlib.sha256(jobs.id[done].tobytes()).hexdigest(),
        "jct_mean_s": mean(jct),
        "jct_p50_s": quantile(jct, 0.5),
        "jct_p99_s": quantile(jct, 0.99),
        "queue_delay_mean_s": mean(delay),
        "queue_delay_p99_s": quantile(delay, 0.99),
        "makespan_s": float(np.nanmax(table["finish_s"]) - jobs.arrival_s.min()) if done.any() else None,
        "gpu_utilization": use["busy"] / up if up else None,
        "gpu_seconds_used": use["busy"],
        "gpu_seconds_lost": float(table["lost_gpu_s"].sum()),
        "cost_usd": ledger.total_usd,
        "cost_egress_usd": float(ledger.usd[ledger.of("egress")].sum()),
        "cost_by_market_usd": ledger.by_market_usd(fleet),
        "cost_by_category_usd": ledger.by_category_usd(),
        "commitment_unused_share": ledger.unused_share(fleet),
        "energy_kwh": power.kwh if power else None,
        "carbon_kg": power.carbon_kg() if power else None,
        "deadline_miss_rate": mean(table["deadline_missed"][due].astype(float)),
        "preemptions": int(table["preemptions"].sum()),
        "migrations": int(table["migrations"].sum()),
        "refusals": int(count[Kind.REFUSED]),
        "residency_violations": residency_violations(rows, jobs, fleet),
        "fairness_ftf_p99": quantile(rho, 0.99),
        "events": len(rows),
        "decisions": int(count[Kind.WAKE]),
        "fallbacks": int(count[Kind.FELL_BACK]),
    }
