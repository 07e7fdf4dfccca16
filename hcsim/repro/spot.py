"""One deadline job on spot and on-demand capacity: Wu et al., Can't Be Late, NSDI 2024.

48 hours of work, R hours to the deadline, d hours for each launch, on the availability of one spot node as SkyPilot's
authors probed it in 15 zones of AWS. 40 starts per trace run side by side as 40 jobs on as many nodes, which do not
meet. Time is in ticks as in the authors' simulator: nodes are billed in whole ticks (``billing_s``), also while a job
restarts; every launch, the first one too, takes d (``cold_starts``); strategies decide at ticks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.control import run
from hcsim.events import Kind
from hcsim.fleet import Fleet, NodePool, Reclaim, Site
from hcsim.ledger import bill
from hcsim.log import Log
from hcsim.model import Jobs
from hcsim.perf import Perf
from hcsim.repro.table import Row, Said, data_dir, fetched, reference
from hcsim.series import Series
from hcsim.sim import Simulated
from hcsim.spells import spells
from hcsim.state import State
from hcsim.strategies.greedy_spot import GreedySpot
from hcsim.strategies.on_demand_only import OnDemandOnly
from hcsim.strategies.uniform_progress import UniformProgress
from hcsim.strategy import AnyStrategy
from hcsim.traces.spot_skypilot import SpotSkypilot

if TYPE_CHECKING:
    import pandas as pd

about = "greedy, time-sliced and uniform-progress strategies on spot availability (Can't Be Late, NSDI 2024)"
takes = "a minute and a half of computing, on all cores"
ON_DEMAND_USD, SPOT_USD, HOUR_S = 3.06, 0.9731, 3600.0
WORK_H, STARTS = 48.0, 40
#: Difference of a mean cost in USD within which the rows agree: they are given to four digits.
TOLERANCE_USD = 0.001
FETCH = "spot/skypilot_spot_traces/availability/1-node"

POLICIES: dict[str, Callable[[float], AnyStrategy]] = {
    "on_demand": lambda tick_s: OnDemandOnly(),
    "greedy": lambda tick_s: GreedySpot(tick_s),
    "time_sliced_4h": lambda tick_s: GreedySpot(tick_s, slice_s=4 * HOUR_S),
    "uniform_progress": lambda tick_s: UniformProgress(tick_s),
    "up_no_hysteresis": lambda tick_s: UniformProgress(tick_s, hysteresis=False),
}


@dataclass(frozen=True)
class Outcome:
    """What became of each start: cost in USD, hours paid on spot and on demand, whether it missed its deadline."""

    usd: npt.NDArray[np.float64]
    spot_h: npt.NDArray[np.float64]
    on_demand_h: npt.NDArray[np.float64]
    missed: npt.NDArray[np.bool_]


def starts(ticks: int, gap_s: float, deadline_h: float) -> npt.NDArray[np.int64]:
    """The ticks at which the 40 starts of a trace lie."""
    window = ceil(HOUR_S * deadline_h / gap_s) + 2
    return np.arange(STARTS) * ((ticks - window) // STARTS)


def play(
    strategy: AnyStrategy,
    available: npt.NDArray[np.int64],
    gap_s: float,
    first: npt.NDArray[np.int64],
    deadline_h: float,
    launch_h: float,
) -> Outcome:
    """One job per start in the simulator.

    Args:
        available: whether spot can be had in each tick, 1 or 0.
        first: the tick that each job arrives at.

    Raises:
        RuntimeError: the bill is not the sum of what the jobs cost.
    """
    n = len(first)
    changes = np.flatnonzero(np.r_[True, np.diff(available) != 0])
    stock = Series((changes * gap_s).tolist(), (available[changes] * float(n)).tolist(), len(available) * gap_s)
    common = {"gpu": "A100", "gpus_per_node": 1, "nodes": n, "billing_s": gap_s, "min_billing_s": 0.0,
              "idle_release_s": 0.0}  # fmt: skip
    on_demand = NodePool("on-demand", usd_per_gpu_h=ON_DEMAND_USD, market="on_demand", **common)  # type: ignore[arg-type]
    reclaim = Reclaim(notice_s=0.0)
    spot = NodePool("spot", usd_per_gpu_h=SPOT_USD, market="spot", stock=stock, reclaim=reclaim, **common)  # type: ignore[arg-type]
    fleet = Fleet((Site("zone", (on_demand, spot), kind="cloud", provider="aws"),), name="zone")
    arrival_s, work_s = first * gap_s, np.full(n, WORK_H * HOUR_S)
    jobs = Jobs.build(
        arrival_s=arrival_s,
        duration_s=work_s - 1e-6,  # work that is done just when spot goes is done, and losses come before completions
        deadline_s=arrival_s + deadline_h * HOUR_S,
        restart_s=np.full(n, round(launch_h * HOUR_S, 6)),
        checkpoint_interval_s=np.full(n, 1.0),  # progress survives a preemption
    )
    log = Log()
    executor = Simulated(cold_starts=True).start(fleet, jobs, Perf(), 0)
    run(executor, strategy, State(fleet, jobs, estimate_s=work_s.data), log)
    return _outcome(log.array(), fleet, jobs, gap_s)


def _outcome(rows: npt.NDArray[Any], fleet: Fleet, jobs: Jobs, gap_s: float) -> Outcome:
    """Hours and dollars of each job: each of its spells in whole ticks. Their sum is the ledger's."""
    held = spells(rows, fleet)
    hours = np.ceil((held.released_s - held.placed_s) / gap_s - 1e-9) * gap_s / HOUR_S
    n = len(jobs)
    on_demand_h, spot_h = (
        np.bincount(held.job, np.where(held.pool == p, hours, 0.0), minlength=n).astype(np.float64) for p in (0, 1)
    )
    usd = on_demand_h * ON_DEMAND_USD + spot_h * SPOT_USD
    finish = np.full(n, np.inf)
    ended = rows[rows["kind"] == Kind.FINISHED]
    finish[ended["subject"]] = np.ceil(ended["time_s"] / gap_s - 1e-9) * gap_s
    paid = bill(rows, fleet).total_usd
    if abs(paid - usd.sum()) > 1e-6:
        raise RuntimeError(f"the ledger says {paid:.6f} USD, the jobs' spells {usd.sum():.6f}")
    return Outcome(usd, spot_h, on_demand_h, finish > jobs.deadline_s)


def least_usd(
    available: npt.NDArray[np.int64], gap_s: float, deadline_h: float, launch_h: float, work_h: float = WORK_H
) -> float:
    """What somebody who knows the availability would pay: the exact minimum over all plans of ticks.

    A dynamic programme over (type of the last tick, launches, ticks run): as many ticks run as hold the work and all
    launches; spot only where it can be had; a tick without ends a spot run.

    Args:
        available: of each tick from the start.
    """
    ticks = int(HOUR_S * deadline_h / gap_s + 1e-9)
    work_s, launch_s = work_h * HOUR_S, launch_h * HOUR_S
    most = int((ticks * gap_s - work_s) / launch_s + 1e-9)  # launches that leave time for the work
    launches = np.arange(most + 1)
    enough = np.ceil((work_s + launches * launch_s) / gap_s - 1e-9).astype(int)  # ticks to run, by launches
    price = {"spot": SPOT_USD * gap_s / HOUR_S, "on_demand": ON_DEMAND_USD * gap_s / HOUR_S}
    shape = (most + 2, ticks + 2)
    none, spot, on_demand = (np.full(shape, np.inf) for _ in range(3))
    none[0, 0] = 0.0
    best = np.inf
    for i in range(ticks):
        here = bool(available[i])
        ended = none if here else np.minimum(none, spot)  # a spot run ends where there is none
        idle = np.minimum(np.minimum(none, spot), on_demand)
        next_spot = np.full(shape, np.inf)
        if here:
            anew = np.minimum(none, on_demand)
            next_spot[1:, 1:] = anew[:-1, :-1]
            next_spot[:, 1:] = np.minimum(next_spot[:, 1:], spot[:, :-1])
            next_spot += price["spot"]
        next_demand = np.full(shape, np.inf)
        anew = np.minimum(ended, spot) if here else ended
        next_demand[1:, 1:] = anew[:-1, :-1]
        next_demand[:, 1:] = np.minimum(next_demand[:, 1:], on_demand[:, :-1])
        next_demand += price["on_demand"]
        none, spot, on_demand = idle, next_spot, next_demand
        done = np.minimum(spot, on_demand)[launches, enough]
        best = min(best, float(done.min()))
    return best


def availability(data_dir: str, trace: str) -> tuple[npt.NDArray[np.int64], float]:
    """Whether spot can be had in each tick of a trace, and the seconds of a tick."""
    frame = fetched("spot", SpotSkypilot(data_dir=data_dir, trace=f"availability/1-node/{trace}"), FETCH).frame
    return frame["nodes"].to_numpy(np.int64), float(frame["time_s"].iloc[1])


def rows(say: Said) -> list[Row]:
    """Every row of the reference tables, and what follows from the rules whatever the trace.

    Raises:
        InputError: the traces are not there.
    """
    results, bounds, savings = (reference(f"spot/{name}.csv") for name in ("results", "lower_bound", "mean_saving"))
    traces = list(dict.fromkeys(results["trace"]))
    for trace in traces:
        availability(data_dir(), trace)  # what is missing is said before the long part
    made: list[Row] = []
    gains: dict[tuple[float, float, str], list[float]] = {}
    misses, hours_off, beaten = 0, 0.0, 0
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(traces))) as workers:
        parts = workers.map(_of_trace, [(data_dir(), trace, results, bounds) for trace in traces])
        for number, part in enumerate(parts):
            say(f"spot: {number + 1} of {len(traces)} traces")
            made += part.rows
            misses, beaten, hours_off = misses + part.misses, beaten + part.beaten, max(hours_off, part.hours_off)
            for key, gain in part.gains.items():
                gains.setdefault(key, []).append(gain)
    for _, each in savings.iterrows():
        for policy in POLICIES:
            if policy in each:
                ours = float(np.mean(gains[each["R_h"], each["d_h"], policy]))
                name = f"mean saving, R {each['R_h']:g} d {each['d_h']:g}: {policy}"
                made.append(Row(name, float(each[policy]), ours, 1e-4))
    runs = f"{len(results) * STARTS:,} runs"
    made.append(Row(f"deadlines missed in {runs}", 0.0, misses, 0.0))
    made.append(Row("hours on spot or on demand, largest difference", 0.0, hours_off, 0.001))
    made.append(Row("runs cheaper than the omniscient bound", 0.0, beaten, 0.0))
    largest = max(gain for each in gains.values() for gain in each)
    made.append(
        Row("largest saving, at most 1 - spot / on-demand", 1 - SPOT_USD / ON_DEMAND_USD, largest, 0.0, most=True)
    )
    return [*made, *closed_forms()]


def closed_forms() -> list[Row]:
    """What follows from the rules alone: the cost where spot is always there, and no miss where a tick can be lost."""
    always = play(GreedySpot(600.0), np.ones(400, np.int64), 600.0, np.zeros(1, np.int64), 60.0, 0.2)
    made = [Row("spot always available, greedy, USD", 47.0332, float(always.usd[0]), 5e-5)]
    rng = np.random.default_rng(0)
    for launch_h in (0.1, 0.2, 0.5):
        misses = 0
        for ticks in (1, 2, 3):
            slack_h = launch_h + ticks * 600.0 / HOUR_S
            for policy in ("greedy", "uniform_progress", "up_no_hysteresis", "time_sliced_4h"):
                coin = (rng.random(600) < 0.5).astype(np.int64)
                strategy = POLICIES[policy](600.0)
                misses += int(play(strategy, coin, 600.0, np.arange(20), WORK_H + slack_h, launch_h).missed.sum())
        made.append(
            Row(f"deadlines missed at R - C = d + 1, 2, 3 ticks, d {launch_h} h, random spot", 0.0, misses, 0.0)
        )
    return made


@dataclass(frozen=True)
class _Part:
    """What comes of one trace. ``gains``: (R, d, policy) -> mean saving against on-demand."""

    rows: list[Row]
    gains: dict[tuple[float, float, str], float]
    misses: int
    hours_off: float
    beaten: int


def _of_trace(given: tuple[str, str, pd.DataFrame, pd.DataFrame]) -> _Part:
    """The rows of one trace."""
    folder, trace, results, bounds = given
    available, gap_s = availability(folder, trace)
    made, gains, misses, hours_off, beaten = [], {}, 0, 0.0, 0
    usd: dict[tuple[float, float, str], npt.NDArray[np.float64]] = {}
    for _, row in results[results["trace"] == trace].iterrows():
        deadline_h, launch_h, policy = float(row["R_h"]), float(row["d_h"]), str(row["policy"])
        first = starts(len(available), gap_s, deadline_h)
        out = play(POLICIES[policy](gap_s), available, gap_s, first, deadline_h, launch_h)
        usd[deadline_h, launch_h, policy] = out.usd
        misses += int(out.missed.sum())
        hours = (out.spot_h.mean() - row["mean_spot_h"], out.on_demand_h.mean() - row["mean_od_h"])
        hours_off = max(hours_off, *(abs(float(each)) for each in hours))
        base = usd[deadline_h, launch_h, "on_demand"].mean()
        gains[deadline_h, launch_h, policy] = float(1 - out.usd.mean() / base)
        name = f"{trace}, R {deadline_h:g} d {launch_h:g}: {policy}, USD"
        made.append(Row(name, float(row["mean_cost"]), float(out.usd.mean()), TOLERANCE_USD))
    for _, row in bounds[bounds["trace"] == trace].iterrows():
        deadline_h, launch_h = float(row["R_h"]), float(row["d_h"])
        first = starts(len(available), gap_s, deadline_h)[::4]
        least = np.array([least_usd(available[k:], gap_s, deadline_h, launch_h) for k in first.tolist()])
        name = f"{trace}, R {deadline_h:g} d {launch_h:g}: omniscient bound, USD"
        made.append(Row(name, float(row["oracle_cost"]), float(least.mean()), TOLERANCE_USD))
        for policy in POLICIES:
            beaten += int((usd[deadline_h, launch_h, policy][::4] < least - 1e-9).sum())
    return _Part(made, gains, misses, hours_off, beaten)
