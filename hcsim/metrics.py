"""What a run came to: pure functions of its log, its jobs and its fleet."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.events import Kind
from hcsim.ledger import HOUR_S, Ledger, bill
from hcsim.model import Fleet, Jobs

if TYPE_CHECKING:
    import pandas as pd

Rows = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
_POPCOUNT = np.array([mask.bit_count() for mask in range(1 << 16)], np.int64)


def _of(rows: Rows, *kinds: Kind) -> Rows:
    return rows[np.isin(rows["kind"], [int(kind) for kind in kinds])]


@dataclass(frozen=True)
class Spells:
    """Each time that a job held GPUs, one row per spell, in log order.

    ``placed_s``, ``started_s`` (NaN: it never started), ``stopped_s`` (when it was told to stop, or ended),
    ``released_s`` (when it let go of its GPUs: after its drain), ``lost_s`` seconds of run to be done again, ``gpus``
    (shares count as fractions), ``pool``, and ``how`` it ended (an event kind; 0: still going at the end of the log).
    """

    job: npt.NDArray[np.int64]
    pool: npt.NDArray[np.int64]
    gpus: Floats
    placed_s: Floats
    started_s: Floats
    stopped_s: Floats
    released_s: Floats
    lost_s: Floats
    how: npt.NDArray[np.int64]


def spells(rows: Rows, fleet: Fleet) -> Spells:
    """The spells of a log. Shape of each column: (number of times a job was given GPUs,)."""
    end_s = float(rows["time_s"][-1]) if len(rows) else 0.0
    kinds = [Kind.PLACED, Kind.STARTED, Kind.DRAINING, Kind.PREEMPTED, Kind.LOST, Kind.FINISHED]
    mine, opens = _by_job(_of(rows, *kinds))
    kind, job, time = mine["kind"].astype(np.int64), mine["subject"].astype(np.int64), mine["time_s"]
    is_part = kind == Kind.PLACED
    number = np.cumsum(opens) - 1
    count = int(opens.sum())
    first = np.flatnonzero(opens)
    part_gpus = _POPCOUNT[np.where(is_part, mine["value"], 0).astype(np.int64)] * mine["detail"] / 1000.0
    gpus = np.bincount(number[is_part], part_gpus[is_part], minlength=count).astype(np.float64)
    nan = np.full(count, np.nan)
    out = Spells(
        job[first],
        np.array(fleet.node_pool, np.int64)[mine["node"][first]],
        gpus,
        time[first].copy(),
        nan.copy(),
        nan.copy(),
        nan.copy(),
        np.zeros(count),
        np.zeros(count, np.int64),
    )
    started = kind == Kind.STARTED
    out.started_s[number[started]] = time[started]
    # a job that moves drains while its next claim stands already: that PREEMPTED closes the spell before
    spell_of = number - _moves(kind, mine["detail"], job)
    drains = kind == Kind.DRAINING
    out.stopped_s[spell_of[drains]] = time[drains]
    for ends in (Kind.PREEMPTED, Kind.LOST, Kind.FINISHED):
        at = kind == ends
        where = spell_of[at]
        out.released_s[where] = time[at]
        out.stopped_s[where] = np.where(np.isnan(out.stopped_s[where]), time[at], out.stopped_s[where])
        out.how[where] = int(ends)
        if ends != Kind.FINISHED:
            out.lost_s[where] = mine["value"][at]
        if ends == Kind.LOST:  # one lost while it drains to move lets go of where it was as well
            old = where - 1
            open_ = (old >= 0) & (out.job[old] == out.job[where]) & np.isnan(out.released_s[old])
            out.released_s[old[open_]] = time[at][open_]
            out.how[old[open_]] = int(ends)
    for column in (out.stopped_s, out.released_s):
        column[np.isnan(column)] = end_s
    return out


def _by_job(mine: Rows) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Rows of jobs, job by job, and which of them open a spell: the first of the PLACED rows that stand together."""
    mine = mine[np.argsort(mine["subject"], kind="stable")]
    is_part = mine["kind"] == Kind.PLACED
    job, time = mine["subject"], mine["time_s"]
    return mine, is_part & ~np.r_[False, is_part[:-1] & (job[1:] == job[:-1]) & (time[1:] == time[:-1])]


def _moves(kind: npt.NDArray[np.int64], detail: Floats, job: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """1 for rows that close the spell before the one they stand in: the end of the drain of a job that moves."""
    earlier = np.zeros(len(kind), np.int64)
    for i in np.flatnonzero((kind == Kind.DRAINING) & (detail > 0)).tolist():
        j = i + 1
        while j < len(kind) and job[j] == job[i] and kind[j] == Kind.PLACED:
            j += 1
        if j < len(kind) and job[j] == job[i] and kind[j] == Kind.PREEMPTED:
            earlier[j] = 1
    return earlier


def job_table(rows: Rows, jobs: Jobs, fleet: Fleet) -> dict[str, npt.NDArray[Any]]:
    """One row per job, as columns of shape (jobs,).

    ``jct_s`` is arrival to finish, ``queue_delay_s`` arrival to first start; ``run_s`` seconds started over all spells,
    ``gpu_s`` GPU-seconds held, ``lost_gpu_s`` GPU-seconds of run done again; ``cost_usd`` its GPU-seconds held at the
    list price of their pools, plus its egress (rented nodes' idle time and unused owned nodes belong to no job).
    """
    n = len(jobs)
    held = spells(rows, fleet)
    end = _of(rows, Kind.FINISHED)
    finish = np.full(n, np.nan)
    finish[end["subject"]] = end["time_s"]
    first_start = np.full(n, np.inf)
    started = ~np.isnan(held.started_s)
    np.minimum.at(first_start, held.job[started], held.started_s[started])
    first_start[np.isinf(first_start)] = np.nan
    ran = np.where(started, held.stopped_s - held.started_s, 0.0)
    held_s = held.released_s - held.placed_s
    price = np.array([pool.usd_per_gpu_h for pool in fleet.pools])
    cost = np.bincount(held.job, held.gpus * held_s / HOUR_S * price[held.pool], minlength=n)
    moved = _of(rows, Kind.TRANSFERRING)
    for row in moved:
        link = fleet.link(int(row["node"]), int(row["detail"]))
        cost[row["subject"]] += 0.0 if link is None else float(row["value"]) / 1e9 * link.usd_per_gb
    drains = _of(rows, Kind.DRAINING)
    rejected = np.zeros(n, bool)
    rejected[_of(rows, Kind.REJECTED)["subject"]] = True
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
        "losses": np.bincount(_of(rows, Kind.LOST)["subject"], minlength=n),
        "last_pool": np.array([*(p.name for p in fleet.pools), ""])[last_pool],
        "last_site": np.array([*(fleet.sites[s].name for s in fleet.pool_site), ""])[last_pool],
        "deadline_missed": np.isfinite(jobs.deadline_s) & ~(finish <= jobs.deadline_s),
        "cost_usd": cost,
        "status": np.where(rejected, "rejected", np.where(np.isnan(finish), "unfinished", "finished")),
    }


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
    arrive = _of(rows, Kind.ARRIVED)
    gpus = jobs.gpus * jobs.gpu_milli / 1000.0
    # a job waits from its arrival or requeue until it is placed (a spell that was not the move of a running job)
    requeue = (held.how == Kind.PREEMPTED) | (held.how == Kind.LOST)
    moved = np.zeros(len(held.job), bool)
    moved[1:] = (held.job[1:] == held.job[:-1]) & (held.placed_s[1:] < held.released_s[:-1])
    requeue[:-1] &= ~moved[1:]
    leave = _of(rows, Kind.REJECTED)
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
    changes = _of(rows, Kind.NODE_UP, Kind.NODE_OFF, Kind.NODE_DOWN)
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
    starting = _starting(rows, fleet, held)
    total = fleet.gpus * end_s
    return {
        "busy": busy,
        "starting": starting,
        "draining": draining,
        "idle": up - busy - starting - draining,
        "off": total - up,
    }


def _starting(rows: Rows, fleet: Fleet, held: Spells) -> float:
    """GPU-seconds claimed on up nodes before the start, less what others still drained there.

    A claim becomes effective when all that it waits for is there; until then its GPUs are counted where they are. So
    of each GPU the seconds count from the claim, or the NODE_UP that it waits for, to the start, drains left out.
    """
    until_s = np.where(np.isnan(held.started_s), held.stopped_s, held.started_s)
    waits = held.placed_s < until_s
    if not waits.any():
        return 0.0
    mine, opens = _by_job(_of(rows, Kind.PLACED, Kind.STARTED, Kind.DRAINING, Kind.LOST))
    is_part = mine["kind"] == Kind.PLACED
    parts: list[list[tuple[int, int, float]]] = [[] for _ in range(len(held.job))]
    for i, row in zip((np.cumsum(opens) - 1)[is_part].tolist(), mine[is_part].tolist(), strict=True):
        parts[i].append((row[3], int(row[4]), row[5]))
    times: dict[int, list[float]] = {}  # rented node -> when it came up, went off or went down ...
    ups: dict[int, list[bool]] = {}  # ... and whether it was up from then
    for row in _of(rows, Kind.NODE_UP, Kind.NODE_OFF, Kind.NODE_DOWN).tolist():
        if fleet.pools[fleet.node_pool[row[2]]].elastic:
            times.setdefault(row[2], []).append(row[0])
            ups.setdefault(row[2], []).append(row[1] == Kind.NODE_UP)
    drains: dict[int, list[tuple[float, float, int]]] = {}  # node -> (to, from, mask), in order of their end
    draining = ~np.isnan(held.started_s) & (held.released_s > held.stopped_s)
    for i in np.flatnonzero(draining).tolist():
        for node, mask, _ in parts[i]:
            drains.setdefault(node, []).append((float(held.released_s[i]), float(held.stopped_s[i]), mask))
    for each in drains.values():
        each.sort()
    longest = float((held.released_s - held.stopped_s).max())
    total = 0.0
    for i in np.flatnonzero(waits).tolist():
        begin, until = float(held.placed_s[i]), float(until_s[i])
        for node, mask, milli in parts[i]:
            since = begin
            if fleet.pools[fleet.node_pool[node]].elastic:
                at = times.get(node, [])
                k = bisect_right(at, begin)
                if not k or not ups[node][k - 1]:  # it boots: the next that happens to it is that it comes up
                    since = min(at[k], until) if k < len(at) else until
            share = milli / 1000.0
            total += mask.bit_count() * share * (until - since)
            ends, over = drains.get(node, []), []
            for to, start, other in ends[bisect_left(ends, (since, 0.0, 0)) :]:
                if to - longest >= until:
                    break  # from here on all begin later
                if start < until and mask & other:
                    over.append((start, to, mask & other))
            left: dict[int, float] = {}  # GPU -> until when it has been left out
            for start, to, both in sorted(over):
                for gpu in (g for g in range(16) if both >> g & 1):
                    a, b = max(start, since, left.get(gpu, since)), min(to, until)
                    total -= share * max(b - a, 0.0)
                    left[gpu] = max(b, a)
    return total


def residency_violations(rows: Rows, jobs: Jobs, fleet: Fleet) -> int:
    """Placements of a job outside its jurisdictions, counted from the log and the job's own column."""
    placed = _of(rows, Kind.PLACED)
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
    again; ``deadline_miss_rate`` is over jobs with a deadline.
    """
    table = job_table(rows, jobs, fleet)
    ledger = ledger or bill(rows, fleet)
    use = gpu_seconds(rows, fleet)
    done = ~np.isnan(table["finish_s"])
    jct, delay = table["jct_s"][done], table["queue_delay_s"][~np.isnan(table["queue_delay_s"])]
    rho = finish_time_fairness(table, jobs, fleet)
    due = np.isfinite(jobs.deadline_s)
    up = math.fsum(use[k] for k in ("busy", "starting", "draining", "idle"))  # sum() is another from Python 3.12 on
    count = np.bincount(rows["kind"], minlength=64)

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
        "cost_egress_usd": float(ledger.usd[ledger.kind == "egress"].sum()),
        "cost_by_market_usd": ledger.by_market_usd(),
        "deadline_miss_rate": mean(table["deadline_missed"][due].astype(float)),
        "preemptions": int(table["preemptions"].sum()),
        "migrations": int(table["migrations"].sum()),
        "refusals": int(count[Kind.REFUSED]),
        "residency_violations": residency_violations(rows, jobs, fleet),
        "fairness_ftf_p99": quantile(rho, 0.99),
        "events": len(rows),
        "decisions": int(count[Kind.WAKE]),
    }
