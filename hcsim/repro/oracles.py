"""Closed forms of queueing, losses and checkpoints against the simulator, inside 99 % intervals of replications.

Of each row the mean of independent replications is compared; its tolerance is half the 99 % interval of that mean
(Student's t). What has no chance in it (schedules, formulas) must agree to the digits given. Sources of the formulas:
Kleinrock, Queueing Systems (1975, 1976), for queues; Garnett, Mandelbaum, Reiman (2002) for patience; Daly (2006) for
checkpoints.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from math import inf, nan
from typing import Any

import numpy as np

from hcsim.events import Kind
from hcsim.fleet import Fleet, Link, NodePool, Reclaim, Site
from hcsim.metrics import job_table
from hcsim.model import Jobs
from hcsim.repro._queues import (
    HOUR_S,
    WARM,
    Floats,
    Impatient,
    N,
    Priorities,
    arrivals,
    cloud_beside,
    draws,
    exponentials,
    half_width,
    overlap,
    owned,
    play,
    service,
)
from hcsim.repro.table import Row, Said, reference
from hcsim.strategies.conservative_backfill import ConservativeBackfill
from hcsim.strategies.easy_backfill import EasyBackfill
from hcsim.strategies.fifo import Fifo
from hcsim.strategy import AnyStrategy
from hcsim.traces import _checkpoints

about = "closed forms: queues, bursting, patience, spot kills with checkpoints, failures, backfilling"
takes = "three minutes of computing, on all cores"
#: (case, parameters, metric) of the reference -> replications, or one exact figure.
Found = dict[tuple[str, str, str], "Floats | float"]


# -- families of cases: each gives the replications of some rows -------------------------------------------------------


def m_m_c(lam: float, c: int) -> Found:
    """Waiting in a pool of c one-GPU nodes; with many of them more jobs, so that as much time goes by."""
    out: dict[str, list[float]] = {"Wq": [], "P(wait)": [], "P(Wq>1)": [], "Lq": []}
    n = N * max(c // 6, 1)
    for seed in range(16):
        jobs = Jobs.build(arrival_s=arrivals(seed, lam, n), duration_s=exponentials(seed, n=n))
        fleet = owned(c)
        table = job_table(play(Fifo(), fleet, jobs), jobs, fleet)
        wait = table["queue_delay_s"][WARM:]
        window = (float(jobs.arrival_s[WARM]), float(jobs.arrival_s[-1]))
        out["Wq"].append(float(wait.mean()))
        out["P(wait)"].append(float((wait > 1e-9).mean()))
        out["P(Wq>1)"].append(float((wait > 1).mean()))
        out["Lq"].append(overlap(jobs.arrival_s, table["first_start_s"], window))
    return {("M/M/c", f"lam={lam:g} mu=1 c={c}", metric): np.array(each) for metric, each in out.items()}


def m_g_1(case: str, lam: float, scv: float) -> Found:
    """Waiting at one node under a law of service."""
    waits = []
    for seed in range(32):
        jobs = Jobs.build(arrival_s=arrivals(seed, lam), duration_s=service(seed, scv))
        fleet = owned(1)
        waits.append(float(job_table(play(Fifo(), fleet, jobs), jobs, fleet)["queue_delay_s"][WARM:].mean()))
    return {(case, f"lam={lam:g} E[S]=1 scv={scv:g}", "Wq"): np.array(waits)}


def processor_sharing(rho: float) -> Found:
    """Datasets of many sizes, one in ten of size 3, over one link that all transfers share evenly."""
    everyone, tagged = [], []
    for seed in range(12):
        tag = draws(seed, "tag") < 0.1
        size = np.where(tag, 3.0, exponentials(seed, 0.7 / 0.9))
        jobs = Jobs.build(
            arrival_s=arrivals(seed, rho),
            duration_s=np.full(N, 1e-6),
            dataset_site=np.zeros(N, int),
            dataset_bytes=size * 1e9,
            dataset_sites=("home",),
        )
        pool = NodePool("far", "A100", 8, 60, 1.0)
        fleet = Fleet(
            (Site("home", ()), Site("far", (pool,))), (Link("home", "far", 1e9, 0.0), Link("far", "home", 1e9, 0.0))
        )
        stay = job_table(play(Fifo(), fleet, jobs), jobs, fleet)["queue_delay_s"]
        everyone.append(float(stay[WARM:].mean()))
        tagged.append(float(stay[WARM:][tag[WARM:]].mean()))
    return {
        ("M/G/1-PS insensitivity", f"rho={rho:g} E[S]=1 any law", "E[T]"): np.array(everyone),
        ("M/G/1-PS", f"rho={rho:g} job size x=3", "E[T|x]"): np.array(tagged),
    }


def burst(a: float, c: int) -> Found:
    """Own nodes, else the cloud: half of the replications with exponential, half with constant service."""
    out: dict[str, list[float]] = {"share": [], "cloud": [], "own": []}
    for seed in range(16):
        jobs = Jobs.build(arrival_s=arrivals(seed, a), duration_s=service(seed, float(seed % 2)))
        fleet = cloud_beside(c)
        rows = play(Fifo(), fleet, jobs)
        placed = rows[rows["kind"] == Kind.PLACED]
        away = np.zeros(N, bool)
        away[placed["subject"]] = placed["node"] >= c
        begin, end = jobs.arrival_s, jobs.arrival_s + jobs.duration_s
        window = (float(begin[WARM]), float(begin[-1]))
        out["share"].append(float(away[WARM:].mean()))
        out["cloud"].append(overlap(begin[away], end[away], window))
        out["own"].append(overlap(begin[~away], end[~away], window))
    parameters, case = f"a={a:g} c={c}", "M/G/c/c burst"
    return {
        (f"{case} (Erlang B, insensitive)", parameters, "P(burst to cloud)"): np.array(out["share"]),
        (case, parameters, "E[cloud busy servers], infinite cloud"): np.array(out["cloud"]),
        (case, parameters, "E[on-prem busy]"): np.array(out["own"]),
    }


def cloud_only() -> Found:
    """Only rented nodes: the number that are up. Its mean and its variance are the same figure."""
    means, variances = [], []
    for seed in range(16):
        jobs = Jobs.build(arrival_s=arrivals(seed, 5.0), duration_s=service(seed, 4.0) * 2.0)
        rows = play(Fifo(), cloud_beside(0), jobs)
        change = np.where(rows["kind"] == Kind.NODE_UP, 1, np.where(rows["kind"] == Kind.NODE_OFF, -1, 0))
        level, at = np.cumsum(change), np.asarray(rows["time_s"])
        inside = (at >= jobs.arrival_s[WARM]) & (at <= jobs.arrival_s[-1])
        level, span = level[inside][:-1], np.diff(at[inside])
        mean = float((level * span).sum() / span.sum())
        means.append(mean)
        variances.append(float(((level - 10.0) ** 2 * span).sum() / span.sum()))  # about the mean that is claimed
    key = ("M/G/inf cloud only", "lam=5 E[S]=2")
    return {(*key, "E[N]=Var[N]"): np.array(means), (*key, "Var[N]"): np.array(variances)}


def patience() -> Found:
    """Eight own nodes; a job whose exponential patience ends while it waits rents."""
    shares, queues = [], []
    for seed in range(16):
        arrival_s = arrivals(seed, 9.0)
        jobs = Jobs.build(
            arrival_s=arrival_s,
            duration_s=exponentials(seed),
            deadline_s=arrival_s + exponentials(seed, 2.0, "patience"),
        )
        fleet = cloud_beside(8)
        rows = play(Impatient(), fleet, jobs)
        placed = rows[rows["kind"] == Kind.PLACED]
        away = np.zeros(N, bool)
        away[placed["subject"]] = placed["node"] >= 8
        start_s = np.zeros(N)
        start_s[placed["subject"]] = placed["time_s"]
        shares.append(float(away[WARM:].mean()))
        queues.append(overlap(arrival_s, start_s, (float(arrival_s[WARM]), float(arrival_s[-1]))))
    parameters = "lam=9 mu=1 c=8 theta=0.5"
    return {
        ("M/M/c+M (Erlang A: patience-then-burst)", parameters, "P(burst)"): np.array(shares),
        ("M/M/c+M", parameters, "Lq"): np.array(queues),
    }


def two_classes(preempts: bool) -> Found:
    """Two classes at one node: how long the first and the second wait, or stay where the second makes way."""
    out: tuple[list[float], list[float]] = ([], [])
    for seed in range(24):
        first = draws(seed, "class") < 0.3 / 0.7
        jobs = Jobs.build(arrival_s=arrivals(seed, 0.7), duration_s=exponentials(seed), priority=np.where(first, 1, 0))
        fleet = owned(1)
        table = job_table(play(Priorities(preempts), fleet, jobs), jobs, fleet)
        figure = table["jct_s" if preempts else "queue_delay_s"][WARM:]
        for each, mine in zip(out, (first[WARM:], ~first[WARM:]), strict=True):
            each.append(float(figure[mine].mean()))
    case, metric = ("M/M/1 preempt-resume", "T") if preempts else ("M/M/1 non-preemptive", "Wq")
    cases = (case, case) if preempts else (f"{case} 2 classes", case)
    return {(cases[k], "l1=.3 l2=.4 mu=1", f"{metric}{k + 1}"): np.array(out[k]) for k in (0, 1)}


def kills(work_h: float, mtbf_h: float, tau_h: float, write_h: float, restart_h: float, killable: bool) -> Found:
    """Jobs on spot nodes that are reclaimed at random, or that crash while they run (a restart then cannot be killed).

    The formula takes W/τ as real. Here whole intervals are run, as many as come nearest, and the time is scaled.
    """
    n, tau_s = 250, np.round(tau_h * HOUR_S * 8) / 8  # eighths of a second, so that sums of intervals are exact
    intervals = round(work_h * HOUR_S / tau_s)
    jobs = Jobs.build(
        arrival_s=np.zeros(n),
        duration_s=np.full(n, intervals * tau_s),
        checkpoint_interval_s=np.full(n, tau_s),
        checkpoint_stall_s=np.full(n, write_h * HOUR_S),
        restart_s=np.full(n, restart_h * HOUR_S),
    )
    scale = work_h * HOUR_S / (intervals * tau_s)
    samples = []
    for seed in range(24):
        if killable:
            reclaim = Reclaim(mtbf_s=mtbf_h * HOUR_S, notice_s=0.0)
            pool = NodePool("spot", "A100", 1, n, 1.0, "spot", reclaim=reclaim)
            fleet = Fleet((Site("cloud", (pool,), kind="cloud"),))
            rows = play(Fifo(), fleet, jobs, seed)
        else:
            fleet = owned(n)
            rows = play(Fifo(), fleet, jobs, seed, job_mtbf_s=mtbf_h * HOUR_S)
        samples.append(float(job_table(rows, jobs, fleet)["jct_s"].mean() / HOUR_S * scale))
    how = "R killable" if killable else "R not killable"
    parameters = f"W={work_h:g}h MTBF={mtbf_h:g}h tau={tau_h:.6f} ckpt={write_h:g} R={restart_h:g} ({how})"
    return {("Spot Poisson kills, checkpointed", parameters, "E[T]"): np.array(samples)}


def no_checkpoint() -> Found:
    """Four hours without a checkpoint: how long it takes, and how often it is killed."""
    n, times, counts = 400, [], []
    jobs = Jobs.build(arrival_s=np.zeros(n), duration_s=np.full(n, 4 * HOUR_S), restart_s=np.full(n, 0.2 * HOUR_S))
    fleet = owned(n)
    for seed in range(24):
        rows = play(Fifo(), fleet, jobs, seed, job_mtbf_s=6 * HOUR_S)
        table = job_table(rows, jobs, fleet)
        times.append(float(table["jct_s"].mean() / HOUR_S))
        counts.append(float(table["losses"].mean()))
    return {
        ("No checkpoint, restart from zero", "W=4h MTBF=6h R=0.2", "E[T]"): np.array(times),
        ("Expected kills", "W=4h no ckpt MTBF=6h", "E[#kills]"): np.array(counts),
    }


def failing_nodes() -> Found:
    """The share of time that nodes are up; and the time between failures of a gang on a thousand nodes."""
    up_share, gaps_h = [], []
    horizon_s = 200 * 86400.0
    fleet = owned(20, mtbf_s=6 * HOUR_S, repair_s=0.2 * HOUR_S)
    endless = Jobs.build(arrival_s=[0.0], duration_s=[1e12])
    for seed in range(12):
        rows = play(Fifo(), fleet, endless, seed, until_s=horizon_s)
        sign = np.where(rows["kind"] == Kind.NODE_DOWN, -1.0, np.where(rows["kind"] == Kind.NODE_UP, 1.0, 0.0))
        down_s = -(sign * (horizon_s - rows["time_s"])).sum()
        up_share.append(float(1 - down_s / (20 * horizon_s)))
    many, failures = owned(1000, mtbf_s=50_000 * HOUR_S, repair_s=1e-6), 40
    gang = Jobs.build(arrival_s=[0.0], duration_s=[1e12], gpus=[1000])
    for seed in range(12):
        rows = play(Fifo(), many, gang, seed, until_s=2 * failures * 50 * HOUR_S)
        lost = np.sort(rows["time_s"][rows["kind"] == Kind.LOST])
        gaps_h.append(float(lost[failures - 1] / failures / HOUR_S))
    return {
        ("Alternating renewal availability", "up=6h exp, down=0.2h", "fraction"): np.array(up_share),
        ("Min of n: MTBF of n-node job", "node MTBF=50000h n=1000", "h"): np.array(gaps_h),
    }


def exact_figures() -> Found:
    """Intervals between checkpoints, and a node that has to boot."""
    given = (np.array(0.05 * HOUR_S), np.array(6 * HOUR_S))
    out: Found = {
        (name, "d=0.05h M=6h", "tau*"): float(rule(*given)) / HOUR_S
        for name, rule in (
            ("Young", _checkpoints.young_s),
            ("Daly higher-order", _checkpoints.daly_s),
            ("Exact optimal interval", _checkpoints.exact_s),
        )
    }
    fleet = Fleet((Site("cloud", (NodePool("rent", "A100", 8, 1, 4.0, "on_demand", boot_s=300.0),)),))
    rows = play(Fifo(), fleet, Jobs.build(arrival_s=[0.0], duration_s=[3600.0], gpus=[8]))
    makespan = float(rows["time_s"][rows["kind"] == Kind.FINISHED][0])
    return out | {("Provision delay, 1 job", "deterministic D=300s run=3600s", "makespan"): makespan}


#: A function of cases, and its arguments.
Family = tuple[Callable[..., Found], tuple[Any, ...]]
FAMILIES: tuple[Family, ...] = (
    *((m_m_c, each) for each in ((0.8, 1), (7.0, 8), (45.0, 50), (1.6, 2))),
    (m_g_1, ("PK M/D/1", 0.8, 0.0)),
    (m_g_1, ("PK M/M/1", 0.8, 1.0)),
    (m_g_1, ("PK M/G/1 hyperexp scv=4", 0.8, 4.0)),
    (m_g_1, ("PK M/G/1 scv=10", 0.5, 10.0)),
    (processor_sharing, (0.5,)),
    (processor_sharing, (0.8,)),
    *((burst, each) for each in ((40.0, 50), (8.0, 8), (90.0, 100))),
    (cloud_only, ()),
    (patience, ()),
    (two_classes, (False,)),
    (two_classes, (True,)),
    *(
        (kills, (*each, killable))
        for each in (
            (48.0, 6.0, 1.0, 0.05, 0.2),
            (48.0, 24.0, 1.0, 0.05, 0.2),
            (48.0, 6.0, 0.774597, 0.05, 0.2),
            (10.0, 5.0, 10.0, 0.0, 0.1),
        )
        for killable in (True, False)
    ),
    (no_checkpoint, ()),
    (failing_nodes, ()),
    (exact_figures, ()),
)


def made(family: Family) -> Found:
    """What a family comes to."""
    function, arguments = family
    return function(*arguments)


def row(key: tuple[str, str, str], exact: float, found: Floats | float | None) -> Row:
    """A row of the reference beside what was found, if anything was."""
    name = f"{key[0]}, {key[1]}: {key[2]}"
    if found is None:
        return Row(name, exact, nan, inf, "not produced here")
    if isinstance(found, float):
        return Row(name, exact, found, abs(exact) * 1e-9)
    return Row(name, exact, float(found.mean()), half_width(found), f"99 % of {len(found)} replications")


def rows(say: Said) -> list[Row]:
    """Every row of the reference; those of schedules job by job."""
    table = reference("oracles/analytic_oracles.csv")
    found: Found = {}
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(FAMILIES))) as workers:
        for number, each in enumerate(workers.map(made, FAMILIES)):
            say(f"oracles: {number + 1} of {len(FAMILIES)} groups of cases")
            found |= each
    out: list[Row] = []
    for case, parameters, metric, _, value in table.itertuples(index=False):
        key = (case, parameters, metric)
        if case.startswith("EASY"):
            out += schedules(case, parameters, value)
            continue
        out.append(row(key, float(value), found.pop(key, None)))
        if metric == "E[N]=Var[N]":
            out.append(row((*key[:2], "Var[N]"), float(value), found.pop((*key[:2], "Var[N]"))))
    return out


_TOYS: dict[str, tuple[int, tuple[tuple[int, float], ...]]] = {
    "EASY toy 1": (8, ((4, 10), (8, 5), (4, 10), (4, 11))),
    "EASY toy 2 (extra nodes rule)": (10, ((6, 10), (8, 5), (2, 100), (2, 9))),
    "EASY vs conservative": (10, ((6, 10), (8, 5), (2, 100), (2, 9), (2, 100))),
}


def schedules(case: str, parameters: str, value: str) -> Iterable[Row]:
    """Starts and makespans that a text such as ``J1=0 J2=10; makespan 26; FCFS-only: J1=0,J2=10`` states."""
    nodes, work = _TOYS[case]
    plain, _, fcfs = value.partition("FCFS-only:")
    wanted: list[tuple[AnyStrategy, str]] = [(EasyBackfill(), plain)]
    if fcfs:
        wanted.append((Fifo(), fcfs))
    if case == "EASY vs conservative":
        wanted.append((ConservativeBackfill(), plain))
    gpus, seconds = zip(*work, strict=True)
    jobs = Jobs.build(arrival_s=[0.0] * len(work), duration_s=seconds, gpus=gpus)
    for strategy, text in wanted:
        log = play(strategy, owned(nodes), jobs)
        started = log[log["kind"] == Kind.STARTED]
        begun = dict(zip(started["subject"].tolist(), started["time_s"].tolist(), strict=True))
        for job, start in re.findall(r"J(\d+)(?: start)?=(\d+)", text):
            yield Row(f"{case}, {strategy.name}: start of J{job}", float(start), begun[int(job) - 1], 0.0)
        for end in re.findall(r"makespan (\d+)", text):
            last = float(log["time_s"][log["kind"] == Kind.FINISHED].max())
            yield Row(f"{case}, {strategy.name}: makespan", float(end), last, 0.0)
