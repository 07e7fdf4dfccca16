"""Tables of throughputs, and Gavel's simulator written down once more, from its description alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from hcsim import Fleet, Jobs, Kind, NodePool, Site
from hcsim.control import run
from hcsim.log import Log
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategy import AnyStrategy
from hcsim.testing import violation
from hcsim.throughput import Throughputs


@dataclass(frozen=True)
class Measured:
    """A profile from (model, GPU type, gang, setting, iterations per second)."""

    rows: tuple[tuple[str, str, int, str, float], ...]

    def table(self) -> Any:
        frame = pd.DataFrame(self.rows, columns=["model", "gpu", "gpus", "setting", "value"])
        return SimpleNamespace(frame=frame.assign(metric="throughput"), source="measured")


@dataclass(frozen=True)
class Trace:
    """Jobs by (arrival, model, gang, iterations), on pools of one-GPU nodes."""

    rates: dict[tuple[str, int], dict[str, float]]
    pools: dict[str, int]
    jobs: list[tuple[float, str, int, int]] = field(default_factory=list)
    prices: tuple[float, ...] = (0.0, 0.0, 0.0)
    tenants: tuple[int, ...] = ()

    @property
    def perf(self) -> Throughputs:
        rows = [(model, gpu, n, "alone", rate) for (model, n), each in self.rates.items() for gpu, rate in each.items()]
        return Throughputs(profile=Measured(tuple(rows)))

    def play(self, strategy: AnyStrategy) -> tuple[Jobs, np.ndarray[Any, Any]]:
        """The jobs and the log of a run."""
        models = sorted({model for _, model, _, _ in self.jobs})
        arrival_s, names, gpus, steps = zip(*self.jobs, strict=True)
        seconds = [n / self.rates[m, g]["V100"] for m, g, n in zip(names, gpus, steps, strict=True)]
        jobs = Jobs.build(
            arrival_s=arrival_s,
            duration_s=seconds,
            gpus=gpus,
            model=[models.index(m) for m in names],
            models=models,
            tenant=self.tenants or np.zeros(len(gpus)),
            tenants=("one", "two"),
        )
        sizes = zip(self.pools.items(), self.prices, strict=False)
        pools = tuple(NodePool(gpu.lower(), gpu, 1, n, usd) for (gpu, n), usd in sizes)
        fleet, log = Fleet((Site("here", pools),)), Log()
        jobs = self.perf.runnable(fleet, jobs)
        state = State(fleet, jobs, self.perf, jobs.duration_s.data, 0)
        run(Simulation(fleet, jobs, self.perf), strategy, state, log)
        assert not violation(log, fleet, jobs)
        return jobs, log.array()

    def ends(self, strategy: AnyStrategy) -> np.ndarray[Any, Any]:
        """When each job ended."""
        jobs, rows = self.play(strategy)
        rows = rows[rows["kind"] == Kind.FINISHED]
        out = np.full(len(jobs), np.nan)
        out[rows["subject"]] = rows["time_s"]
        return out


def naive(trace: Trace, policy: str, round_s: float = 360.0, reset_s: float = 1920.0) -> list[float]:
    """When each job ends in Gavel's simulator, for ``isolated`` and ``fifo_perf``: lists and loops, no events."""
    types, size = list(trace.pools), trace.pools
    arrival, gangs = [job[0] for job in trace.jobs], [job[2] for job in trace.jobs]
    rate = [[trace.rates[model, gang][gpu] for gpu in types] for _, model, gang, _ in trace.jobs]
    left = [job[3] for job in trace.jobs]
    dice, todo, active, running = random.Random(5), list(range(len(left))), [], []
    had: dict[int, list[float]] = {}
    owed: dict[int, list[float]] = {}
    given, shares, done = [0.0] * len(types), {}, {}
    last, changed, end = 0.0, False, 0.0
    while len(done) < len(left):
        if running:
            start, end = end, max(stop for *_, stop in running)
            now = end
        else:
            now = arrival[todo[0]]
        for job, k, steps, stop in running:
            left[job] -= steps
            had[job][k] += stop - start
            given[k] += stop - start
            if not left[job]:
                done[job] = stop
                active.remove(job)
                changed = True
        while todo and arrival[todo[0]] <= now:
            job = todo.pop(0)
            active.append(job)
            had[job], owed[job], changed = [round_s / 2] * len(types), [0.0] * len(types), True
        if changed and (now - last >= reset_s or last == 0):
            for job in active:
                for k in range(len(types)):
                    x = shares[job][k] if job in shares else 0.0
                    owed[job][k] += x * (now - last) - (had[job][k] - round_s / 2)
                    had[job][k] = round_s / 2
            given, last, changed = [round_s / 2 * len(active)] * len(types), now, False
            shares = _fifo(active, gangs, rate, types, size) if policy == "fifo_perf" else {}
            for job in active if policy == "isolated" else ():
                row = [size[gpu] / (len(active) * gangs[job]) for gpu in types]
                shares[job] = [x / max(1.0, sum(row)) for x in row]
        order = types[:]
        if policy == "isolated":
            dice.shuffle(order)
        running, taken = [], set()
        for gpu in order:
            k, free = types.index(gpu), size[gpu]

            rank = {}
            for job in active:
                x = shares[job][k] if job in shares and rate[job][k] else 0.0
                rank[job] = -(x / (had[job][k] / given[k])) if x else 0.0, -owed[job][k], -x, job
            for job in sorted(active, key=rank.__getitem__):
                idle = policy == "fifo_perf" and not rank[job][0]
                if job in taken or not rate[job][k] or gangs[job] > free or idle:
                    continue
                free -= gangs[job]
                taken.add(job)
                if job in shares:
                    steps = min(int(rate[job][k] * round_s), left[job])
                    running.append((job, k, steps, now + steps / rate[job][k]))
    return [done[job] for job in range(len(left))]


def _fifo(
    active: list[int], gangs: list[int], rate: list[list[float]], types: list[str], size: dict[str, int]
) -> dict[int, list[float]]:
    shares, free = {job: [0.0] * len(types) for job in active}, [size[gpu] for gpu in types]
    for job in active:
        able = [k for k in range(len(types)) if free[k] >= gangs[job]]
        if not able:
            break
        best = max(able, key=lambda k: (rate[job][k], -k))
        if rate[job][best]:
            shares[job][best] = 1.0
            free[best] -= gangs[job]
    return shares
