"""What the benchmarks run: worlds of a given size, a whole run of hcsim, and the baselines that replay its schedule."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy

from hcsim import Budget, Fleet, Jobs, Link, NodePool, Outage, Perf, Quota, Reclaim, Series, Site, Tariff
from hcsim.control import run
from hcsim.events import Kind
from hcsim.ledger import Ledger, bill
from hcsim.log import Log
from hcsim.sim import Simulated
from hcsim.state import State
from hcsim.strategies.first_fit import FirstFit

FULL = os.environ.get("HCSIM_BENCH") == "full"
GPUS_PER_NODE = 8
USD_PER_GPU_H = 1.0
MEAN_S = 3600.0
#: Gang sizes in GPUs and their shares of the jobs; the largest takes two nodes.
GANGS = {1: 0.5, 2: 0.2, 4: 0.15, 8: 0.1, 16: 0.05}


@dataclass(frozen=True)
class Size:
    """How much is run."""

    jobs: int  # of the first case and of memory
    nodes: int
    scale_jobs: int
    many_nodes: int
    stream_jobs: int  # jobs that pass those that wait
    pending: int
    log_rows: int  # of a job log that is read
    rounds: int  # of which the fastest counts


SIZE = (
    Size(1_000_000, 1000, 1_000_000, 100_000, 200_000, 20_000, 2_000_000, 3)
    if FULL
    else Size(50_000, 1000, 50_000, 10_000, 20_000, 5000, 100_000, 3)
)


def fleet_of(nodes: int) -> Fleet:
    """One owned pool of nodes with 8 GPUs."""
    return Fleet((Site("home", (NodePool("own", "A100", GPUS_PER_NODE, nodes, USD_PER_GPU_H),)),))


def gangs(count: int, nodes: int, load: float, seed: int = 0, mix: dict[int, float] = GANGS) -> dict[str, Any]:
    """Columns of gang jobs with exponential run times, arriving uniformly at a load of the nodes' GPUs."""
    rng = np.random.default_rng(seed)
    gpus = rng.choice(list(mix), size=count, p=list(mix.values())).astype(np.int32)
    duration_s = rng.exponential(MEAN_S, count)
    span_s = float((gpus * duration_s).sum()) / (nodes * GPUS_PER_NODE * load)
    return {"arrival_s": np.sort(rng.uniform(0.0, span_s, count)), "duration_s": duration_s, "gpus": gpus}


def steady(count: int, nodes: int, load: float = 0.9) -> tuple[Fleet, Jobs]:
    """The first case: gang jobs at 90 % load."""
    return fleet_of(nodes), Jobs.build(**gangs(count, nodes, load))


def real(count: int, nodes: int) -> tuple[Fleet, Jobs]:
    """The first case's jobs and as many nodes, with everything that a hybrid fleet knows.

    Four fifths of the nodes are owned, a tenth each is on demand and spot in another jurisdiction; datasets live at a
    third site. Prices and carbon change by the hour, stock by the quarter of one; an owned node fails twice a year, a
    spot node is reclaimed once in 12 hours; jobs checkpoint, a tenth of them are elastic, a third read a dataset.
    """
    rng = np.random.default_rng(7)
    hours = np.arange(24 * 7) * 3600.0

    def hourly(low: float, high: float) -> Series:
        return Series(hours.tolist(), rng.uniform(low, high, len(hours)).tolist(), beyond="wrap")

    some = nodes // 10
    power = {"idle_w": 1200.0, "max_w": 6500.0}
    quarters = (np.arange(96) * 900.0).tolist()
    stock = Series(quarters, rng.integers(some // 2, some, 96).astype(float).tolist(), beyond="wrap")
    rented = {"boot_s": 120.0, "boot_cv": 0.3, "image_s": 60.0, "image_cv": 0.3, "stockout_share": 0.02} | power
    owned = NodePool("own", "A100", GPUS_PER_NODE, nodes - 2 * some, USD_PER_GPU_H, mtbf_s=1.6e7, **power)
    on_demand = NodePool("od", "A100", GPUS_PER_NODE, some, 3.0, "on_demand", discount_share=0.1, **rented)
    spot = NodePool(
        "spot", "A100", GPUS_PER_NODE, some, 0.0, "spot", price=hourly(0.8, 2.0), stock=stock,
        reclaim=Reclaim(12 * 3600.0, 1.95), **rented,
    )  # fmt: skip
    tariff = Tariff("out", ((10_240.0, 0.09), (51_200.0, 0.085), (inf, 0.07)), 100.0)
    sites = (
        Site("home", (owned,), "us", cache_bytes=5e12, usd_per_kwh=0.1, pue=1.3, carbon=hourly(200, 500)),
        Site("cloud", (on_demand, spot), "eu", "aws", "cloud", cache_bytes=2e12, storage_usd_per_gb_month=0.02,
             control_plane_usd_per_h=0.1, carbon=hourly(50, 300)),
        Site("store", (), "us", "gcp", egress_bytes_per_s=8e9),
    )  # fmt: skip
    links = [Link(a.name, b.name, 5e9, 0.02, tariff="out") for a in sites for b in sites if a is not b]
    outages = (
        Outage("site", "cloud", mtbf_s=60 * 86400.0, repair_s=1800.0),
        Outage("link", "store -> cloud", mtbf_s=86400.0, repair_s=600.0),
    )
    fleet = Fleet(sites, tuple(links), "real", (tariff,), (Quota(2 * some * GPUS_PER_NODE, provider="aws"),),
                  (Budget(1e6),), outages)  # fmt: skip
    columns = gangs(count, nodes, 0.9)
    gpus = columns["gpus"]
    dataset = np.where(rng.random(count) < 1 / 3, rng.integers(0, 200, count), -1)
    elastic = (rng.random(count) < 0.1) & (gpus > GPUS_PER_NODE)
    jobs = Jobs.build(
        **columns,
        min_gpus=np.where(elastic, GPUS_PER_NODE, gpus),
        max_gpus=gpus,
        dataset=dataset,
        dataset_bytes=np.where(dataset >= 0, 20e9 + dataset * 1e9, 0.0),
        dataset_site=np.where(dataset >= 0, 0, -1),
        dataset_sites=("store",),
        residency=np.where((dataset < 0) & (rng.random(count) < 0.1), 0, -1),
        residencies=("us",),
        checkpoint_bytes=gpus * 2e9,
        checkpoint_interval_s=np.full(count, 1800.0),
        checkpoint_stall_s=np.full(count, 5.0),
        checkpoint_s=np.full(count, 20.0),
        restart_s=np.full(count, 60.0),
    )
    return fleet, jobs


def blocked(count: int, pending: int, nodes: int = 1000) -> tuple[Fleet, Jobs, float]:
    """A stream of ``count`` small jobs that passes ``pending`` gangs for which there is never room. (.., .., until_s)

    A job of 5 GPUs holds part of every node for the whole run, so that gangs of 4, 8, 16 and 64 GPUs wait from 0 to
    the end. Jobs of 1 to 3 GPUs arrive at a load of 80 % of the 3 GPUs that are left on every node.
    """
    small = gangs(count, nodes, 0.8 * 3 / GPUS_PER_NODE, mix={1: 0.6, 2: 0.3, 3: 0.1})
    last_s = float((small["arrival_s"] + small["duration_s"]).max())
    first = nodes + pending
    columns = {
        "arrival_s": np.concatenate([np.zeros(first), 1.0 + small["arrival_s"]]),
        "duration_s": np.concatenate([np.full(first, 10.0 * last_s), small["duration_s"]]),
        "gpus": np.concatenate([np.full(nodes, 5), np.resize([4, 8, 16, 64], pending), small["gpus"]]),
    }
    return fleet_of(nodes), Jobs.build(**columns), 2.0 * last_s


def backlog(count: int, pending: int, load: float, nodes: int = 1000) -> tuple[Fleet, Jobs, float]:
    """A full fleet with ``pending`` gang jobs in front of it, and ``count`` more that arrive at a load.

    It is left at the last arrival. (.., .., until_s)
    """
    running = gangs(nodes * GPUS_PER_NODE // 3, nodes, 1.0, seed=1)
    ahead = gangs(pending, nodes, 1.0, seed=2)
    coming = gangs(count, nodes, load)
    for waiting in (running, ahead):
        waiting["arrival_s"] = np.zeros(len(waiting["gpus"]))
    columns = {key: np.concatenate([running[key], ahead[key], coming[key]]) for key in coming}
    return fleet_of(nodes), Jobs.build(**columns), float(coming["arrival_s"][-1])


@dataclass(frozen=True)
class Ran:
    """What a run left."""

    rows: npt.NDArray[Any]
    sha256: str
    bill: Ledger
    decisions: int

    def count(self, kind: Kind) -> int:
        """Rows of one kind."""
        return int((self.rows["kind"] == kind).sum())

    def check(self, jobs: Jobs) -> None:
        """Every job ran once: its rows are there, one of placement per node of its gang, and no others but WAKE."""
        for kind in (Kind.ARRIVED, Kind.STARTED, Kind.FINISHED):
            assert self.count(kind) == len(jobs)
        placements = int((-(-jobs.gpus // GPUS_PER_NODE)).sum())
        assert self.count(Kind.PLACED) == placements
        assert self.count(Kind.WAKE) == self.decisions >= len(jobs)
        assert len(self.rows) == 3 * len(jobs) + placements + self.decisions

    def times(self, kind: Kind, jobs: int) -> npt.NDArray[np.float64]:
        """Time of each job's row of one kind; infinite where it has none."""
        chosen = self.rows[self.rows["kind"] == kind]
        out = np.full(jobs, inf)
        out[chosen["subject"]] = chosen["time_s"]
        return out


def simulate(fleet: Fleet, jobs: Jobs, until_s: float = inf, world: Simulated | None = None) -> Ran:
    """All of it: the state is built, the run is played and logged, the log is hashed, the bill is made."""
    log = Log()
    started = (world or Simulated(until_s=until_s)).start(fleet, jobs, Perf(), 0)
    clock = run(started, FirstFit(), State(fleet, jobs), log)
    rows = log.array()
    return Ran(rows, log.sha256, bill(rows, fleet, jobs=jobs), clock.decisions)


@dataclass(frozen=True)
class Schedule:
    """A schedule as Python lists, so that no baseline pays for reading arrays."""

    arrival_s: list[float]
    start_s: list[float]
    duration_s: list[float]
    gpus: list[int]
    node: list[int]  # the first node of each gang
    nodes: int

    @staticmethod
    def of(ran: Ran, jobs: Jobs, nodes: int) -> Schedule:
        started = ran.rows[ran.rows["kind"] == Kind.STARTED]
        node = np.full(len(jobs), -1)
        node[started["subject"]] = started["node"]
        columns = (jobs.arrival_s, ran.times(Kind.STARTED, len(jobs)), jobs.duration_s, jobs.gpus, node)
        return Schedule(*(column.tolist() for column in columns), nodes)


Process = Generator[simpy.Event, Any, None]
Baseline = Callable[[Schedule], list[float]]


def event_heap(schedule: Schedule) -> list[float]:
    """The bare event heap: every arrival and every completion goes through one heap. Finish times."""
    arrival_s, start_s, duration_s = schedule.arrival_s, schedule.start_s, schedule.duration_s
    gpus, node = schedule.gpus, schedule.node
    used = [0] * schedule.nodes
    finish_s = [0.0] * len(arrival_s)
    heap = [(t, 1, job) for job, t in enumerate(arrival_s)]
    heapify(heap)
    while heap:
        t, arrives, job = heappop(heap)
        if arrives:
            used[node[job]] += gpus[job]
            heappush(heap, (start_s[job] + duration_s[job], 0, job))
        else:
            used[node[job]] -= gpus[job]
            finish_s[job] = t
    assert not any(used)
    return finish_s


def merged_heap(schedule: Schedule) -> list[float]:
    """The leanest replay: arrivals are a sorted column, only completions go through a heap. Finish times."""
    start_s, duration_s, gpus, node = schedule.start_s, schedule.duration_s, schedule.gpus, schedule.node
    used = [0] * schedule.nodes
    finish_s = [0.0] * len(start_s)
    heap: list[tuple[float, int]] = []
    for job, now in enumerate(schedule.arrival_s):
        while heap and heap[0][0] <= now:
            t, ended = heappop(heap)
            used[node[ended]] -= gpus[ended]
            finish_s[ended] = t
        used[node[job]] += gpus[job]
        heappush(heap, (start_s[job] + duration_s[job], job))
    while heap:
        t, ended = heappop(heap)
        used[node[ended]] -= gpus[ended]
        finish_s[ended] = t
    assert not any(used)
    return finish_s


def simpy_at_once(schedule: Schedule) -> list[float]:
    """One SimPy process per job, all started at 0, without placement: each waits for its arrival and its start, and
    runs. Finish times."""
    env = simpy.Environment()
    finish_s = [0.0] * len(schedule.arrival_s)

    def process(job: int, arrival_s: float, wait_s: float, duration_s: float) -> Process:
        yield env.timeout(arrival_s)
        if wait_s:
            yield env.timeout(wait_s)
        yield env.timeout(duration_s)
        finish_s[job] = env.now

    columns = zip(schedule.arrival_s, schedule.start_s, schedule.duration_s, strict=True)
    for job, (arrival_s, start_s, duration_s) in enumerate(columns):
        env.process(process(job, arrival_s, start_s - arrival_s, duration_s))
    env.run()
    return finish_s


def simpy_on_arrival(schedule: Schedule) -> list[float]:
    """One SimPy process per job, started by one source process when the job arrives, without placement.

    The queue of events stays as short as the jobs that are there are few. Finish times.
    """
    env = simpy.Environment()
    finish_s = [0.0] * len(schedule.arrival_s)

    def process(job: int, wait_s: float, duration_s: float) -> Process:
        if wait_s:
            yield env.timeout(wait_s)
        yield env.timeout(duration_s)
        finish_s[job] = env.now

    def source() -> Process:
        columns = zip(schedule.arrival_s, schedule.start_s, schedule.duration_s, strict=True)
        for job, (arrival_s, start_s, duration_s) in enumerate(columns):
            yield env.timeout(arrival_s - env.now)
            env.process(process(job, start_s - arrival_s, duration_s))

    env.process(source())
    env.run()
    return finish_s


def simpy_first_fit(schedule: Schedule) -> list[float]:
    """One SimPy process per job, started when it arrives, that places itself: first fit by a NumPy scan over the nodes.

    It makes the decisions of hcsim's first fit: whoever waits is tried in arrival order whenever GPUs come free, and
    a gang larger than a node takes nodes that are entirely free. Of the schedule it reads no start times. Finish times.
    """
    env = simpy.Environment()
    finish_s = [0.0] * len(schedule.arrival_s)
    free = np.full(schedule.nodes, GPUS_PER_NODE, np.int8)
    waiting: dict[int, simpy.Event] = {}

    def place(gpus: int) -> list[tuple[int, int]]:
        if gpus <= GPUS_PER_NODE:
            node = int((free >= gpus).argmax())
            parts = [(node, gpus)] if free[node] >= gpus else []
        else:
            wholes = -(-gpus // GPUS_PER_NODE)
            nodes = np.flatnonzero(free == GPUS_PER_NODE)[:wholes].tolist()
            sizes = [GPUS_PER_NODE] * (wholes - 1) + [gpus - GPUS_PER_NODE * (wholes - 1)]
            parts = list(zip(nodes, sizes, strict=True)) if len(nodes) == wholes else []
        for node, taken in parts:
            free[node] -= taken
        return parts

    def process(job: int, duration_s: float, gpus: int) -> Process:
        parts = place(gpus)
        if not parts:
            turn = waiting[job] = env.event()
            parts = yield turn
        yield env.timeout(duration_s)
        finish_s[job] = env.now
        for node, taken in parts:
            free[node] += taken
        for other in list(waiting):
            parts = place(schedule.gpus[other])
            if parts:
                waiting.pop(other).succeed(parts)

    def source() -> Process:
        columns = zip(schedule.arrival_s, schedule.duration_s, schedule.gpus, strict=True)
        for job, (arrival_s, duration_s, gpus) in enumerate(columns):
            yield env.timeout(arrival_s - env.now)
            env.process(process(job, duration_s, gpus))

    env.process(source())
    env.run()
    assert (free == GPUS_PER_NODE).all()
    return finish_s
