"""One run: a fleet, a trace, a strategy, an executor and a seed; what it came to, and where it is kept."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hcsim.constraints import Rule, demands, no_route
from hcsim.control import run
from hcsim.estimators import Estimator, Noisy
from hcsim.events import Row
from hcsim.executor import Executor
from hcsim.files import replacing
from hcsim.ledger import Ledger, bill
from hcsim.log import Log
from hcsim.metrics import job_table, summarize, timeline
from hcsim.model import Fleet, InputError, Jobs
from hcsim.perf import Perf
from hcsim.sim import Simulated
from hcsim.sources import modules_in, plain, source_sha256
from hcsim.state import State
from hcsim.strategy import AnyStrategy, shape_fault, strategy_sha256

if TYPE_CHECKING:
    import pandas as pd

#: What a run's folder holds; ``summary.json`` is written last.
FILES = ("config.yaml", "log.parquet", "jobs.parquet", "timeline.parquet", "ledger.parquet", "summary.json")
REPORT_S = 0.25
#: Called every REPORT_S of wall clock during a run, or at the next instant, with (its seconds, jobs arrived).
Watch = Callable[[float, int], None]


class Trace(Protocol):
    """Where jobs come from."""

    def jobs(self, seed: int) -> Jobs:
        """The jobs of one seed."""
        ...


class World(Protocol):
    """What makes things happen: ``hcsim.sim.Simulated`` or ``hcsim.live.Local``."""

    @property
    def name(self) -> str: ...

    @property
    def libraries(self) -> tuple[str, ...]:
        """What its figures depend on, beside what every run does."""
        ...

    def world(self, fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
        """Fleet and jobs as they will be played."""
        ...

    def start(self, fleet: Fleet, jobs: Jobs, perf: Perf, seed: int) -> Executor:
        """A fresh executor."""
        ...


@dataclass(frozen=True)
class Experiment:
    """A run, ready to be made as often as one likes with the same outcome.

    Args:
        trace: a source of jobs, or jobs.
        estimator: what strategies with ``needs = {"runtime"}`` are told of run times.
        on_infeasible: what to do with jobs that no pool could ever hold: ``reject`` leaves them out and counts them,
            ``error`` refuses the run.
        forecast_error: of what strategies with ``needs = {"carbon"}`` or ``{"price"}`` are told of them: the standard
            deviation of its logarithm at 24 hours (:func:`hcsim.forecasts.forecast`); 0: they know the future.
        names: what to call the parts in tables, e.g. ``{"strategy": "fifo-2", "fleet": "lab"}``.
    """

    fleet: Fleet
    trace: Trace | Jobs
    strategy: AnyStrategy
    estimator: Estimator = field(default_factory=Noisy)
    executor: World = field(default_factory=Simulated)
    perf: Perf = field(default_factory=Perf)
    seed: int = 0
    on_infeasible: str = "reject"
    forecast_error: float = 0.1
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise InputError(f"seed is {self.seed!r}, expected an integer >= 0")
        if fault := shape_fault(self.strategy):
            raise InputError(f"strategy {type(self.strategy).__name__} {fault}")
        if self.on_infeasible not in ("reject", "error"):
            raise InputError(f"on_infeasible is '{self.on_infeasible}', expected 'reject' or 'error'")
        if not 0 <= self.forecast_error <= 10:
            raise InputError(f"forecast_error is {self.forecast_error}, expected 0 to 10")

    def prepare(self) -> Prepared:
        """Jobs drawn, checked against the fleet, and estimated.

        Raises:
            InputError: bad input; a strategy that needs run times under an estimator that gives none.
        """
        started = time.process_time()
        jobs = self.trace if isinstance(self.trace, Jobs) else self.trace.jobs(self.seed)
        fleet, jobs = self.executor.world(self.fleet, jobs)
        jobs = self.perf.runnable(fleet, jobs)
        submitted = len(jobs)
        jobs, barred, left_out, unreached = self._feasible(fleet, jobs)
        knows = "runtime" in self.strategy.needs
        estimate = self.estimator.estimate_s(jobs, self.seed) if knows else None
        if knows and estimate is None:
            raise InputError(f"strategy {self.strategy.name} needs run times, and estimator=none gives none")
        told = None if estimate is None else np.ascontiguousarray(estimate).data
        return Prepared(fleet, jobs, submitted, told, barred, left_out, unreached, time.process_time() - started)

    def _feasible(self, fleet: Fleet, jobs: Jobs) -> tuple[Jobs, Jobs | None, str, str]:
        """The jobs that some pool could hold, those that none could, what to say of these, and of data without a route.

        Raises:
            InputError: a residency that no site of the fleet satisfies.
        """
        for code in np.unique(jobs.residency[jobs.residency >= 0]).tolist():
            _some_site(jobs, fleet, code)
        wanted = demands(jobs, fleet)
        hopeless = [c for c, pools in enumerate(wanted.pools) if not pools]
        unreached = no_route(jobs, fleet, wanted)
        if not hopeless:
            return jobs, None, "", unreached
        bad = np.isin(wanted.job_class, hopeless)
        job = int(np.argmax(bad))
        rules = wanted.rules[wanted.job_class[job]]
        why = ", ".join(f"{p.name}: {Rule(r).name.lower()}" for p, r in zip(fleet.pools, rules, strict=True))
        text = f"{jobs.source}: job {jobs.id[job]} ({jobs.gpus[job]} GPUs) fits no pool ({why}); {bad.sum()} such jobs"
        if self.on_infeasible == "error":
            raise InputError(f"{text}; on_infeasible=reject leaves them out")
        if bad.all():
            raise InputError(f"{text}, and no other is left to run")
        return jobs.take(~bad), jobs.take(bad), f"{text} are left out", unreached

    def run(
        self, folder: str | Path | None = None, watch: Watch | None = None, ready: Prepared | None = None
    ) -> Result:
        """Make the run; with ``folder``, keep it there, in place of what is there once it has finished.

        Args:
            ready: what :meth:`prepare` gave, if it has been called.

        Raises:
            InputError: bad input, or a strategy at fault; nothing that looks like a finished run is left behind.
        """
        started = time.process_time() - (ready.cpu_s if ready else 0.0)
        ready = ready or self.prepare()
        if folder is not None:
            with replacing(Path(folder), FILES) as path:
                return self._play(ready, started, watch, path)
        return self._play(ready, started, watch, None)

    def _play(self, ready: Prepared, started: float, watch: Watch | None, path: Path | None) -> Result:
        log = Log(None if path is None else path / "log.parquet")
        executor = self.executor.start(ready.fleet, ready.jobs, self.perf, self.seed)
        watched = executor if watch is None else _Watched(executor, watch)
        state = State(ready.fleet, ready.jobs, self.perf, ready.estimate_s, self.seed, self.forecast_error)
        try:
            clock = run(watched, self.strategy, state, log)
            log.close({"strategy": self.strategy.name, "seed": self.seed})
        except BaseException:
            log.discard()
            raise
        finally:
            executor.close()
        ledger = bill(log.array(), ready.fleet, jobs=ready.jobs)
        summary = self.identity(ready) | summarize(log.array(), ready.jobs, ready.fleet, ledger)
        summary["jobs_submitted"] = ready.submitted
        summary["jobs_infeasible"] = ready.submitted - len(ready.jobs)
        summary["left_out"] = ready.left_out
        summary["no_route"] = ready.no_route
        summary["trace_left_out"] = ready.jobs.left_out
        summary["log_sha256"] = log.sha256
        summary["cpu_s"] = time.process_time() - started
        summary["decide_cpu_s"] = clock.decide_s
        result = Result(log, ready.jobs, ready.fleet, ledger, summary)
        if path is not None:
            result.save(path)
        return result

    def identity(self, ready: Prepared) -> dict[str, Any]:
        """What is run, in names, parameters and hashes: runs that agree in all of these come out the same.

        ``jobs_sha256`` covers all columns as they are played, ``fleet_sha256`` the fleet; ``code_sha256`` is of the
        engine, the executor and whatever processes of the user's own run in it.
        """
        knows = "runtime" in self.strategy.needs
        ahead = sorted(self.strategy.needs & {"carbon", "price"})
        known = [self.estimator.knowledge] if knows else []
        known += [f"{each} forecasts (error {self.forecast_error:.0%} a day ahead)" for each in ahead]
        engine = modules_in(self.executor) | modules_in(self.estimator) | modules_in(self.perf)
        return {
            "strategy": self.names.get("strategy", self.strategy.name),
            "strategy_params": _params(self.strategy),
            "strategy_sha256": strategy_sha256(self.strategy),
            "knowledge": ", ".join(known) or "none",
            "trace": self.names.get("trace", ready.jobs.source),
            "fleet": self.names.get("fleet", ready.fleet.name),
            "executor": self.executor.name,
            "executor_params": _params(self.executor),
            "perf": _params(self.perf) | self.perf.content(),
            "estimator": plain(self.estimator) if knows else None,
            "forecast_error": self.forecast_error if ahead else None,
            "seed": self.seed,
            "jobs_sha256": ready.jobs.sha256,
            "fleet_sha256": fleet_sha256(ready.fleet),
            "code_sha256": source_sha256("hcsim.experiment", *sorted(engine)),
            "versions": versions(self.executor.libraries),
        }


def fleet_sha256(fleet: Fleet) -> str:
    """A hash of a fleet as it is played, the series included that drive it."""
    return hashlib.sha256(json.dumps(plain(fleet)).encode()).hexdigest()


def _some_site(jobs: Jobs, fleet: Fleet, code: int) -> None:
    """A residency that jobs have is that of some site with nodes."""
    names, known = jobs.residencies[code].split("|"), sorted({s.jurisdiction for s in fleet.sites if s.pools})
    if not set(names) & set(known):
        row = int(np.argmax(jobs.residency == code))
        raise InputError(
            f"{jobs.source}: job {jobs.id[row]} may run under {' or '.join(names)} alone, and no site of fleet"
            f" '{fleet.name}' with nodes does ({', '.join(known)}); without=[residency] lets it run anywhere"
        )


@dataclass(frozen=True)
class Prepared:
    """What a run starts from. ``barred``: the jobs that no pool could ever hold, which are not among ``jobs``."""

    fleet: Fleet
    jobs: Jobs
    submitted: int
    estimate_s: memoryview | None
    barred: Jobs | None = None
    left_out: str = ""
    no_route: str = ""
    cpu_s: float = 0.0


class _Watched:
    """An executor that reports how far it is, at most once in REPORT_S."""

    def __init__(self, executor: Executor, watch: Watch) -> None:
        self._executor, self._watch = executor, watch
        self.submit, self.wake_at, self.close = executor.submit, executor.wake_at, executor.close
        self.last = executor.last

    @property
    def end_s(self) -> float:
        return self._executor.end_s

    def instants(self) -> Iterator[tuple[float, Sequence[Row]]]:
        due_s, clock = 0.0, time.monotonic
        for now, rows in self._executor.instants():
            if clock() >= due_s:
                self._watch(now, getattr(self._executor, "arrived", 0))
                due_s = clock() + REPORT_S
            yield now, rows


@dataclass(frozen=True)
class Result:
    """A finished run."""

    log: Log
    jobs: Jobs
    fleet: Fleet
    ledger: Ledger
    summary: dict[str, Any]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per job, see :func:`hcsim.metrics.job_table`."""
        import pandas as pd

        return pd.DataFrame(job_table(self.log.array(), self.jobs, self.fleet, self.ledger))

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """Occupancy over time, see :func:`hcsim.metrics.timeline`."""
        return timeline(self.log.array(), self.jobs, self.fleet)

    def save(self, folder: Path) -> None:
        """Write the run's tables and summary, each under a temporary name first.

        ``jobs.parquet`` holds what jobs asked for as well, so that an audit needs no trace.
        """
        asked = {key: column for key, column in self.jobs.named.items() if key not in self.table}
        for name, frame in (
            ("jobs", self.table.assign(**asked)),
            ("timeline", self.timeline),
            ("ledger", self.ledger.frame(self.fleet, self.jobs)),
        ):
            write_atomically(folder / f"{name}.parquet", partial(frame.to_parquet, index=False))
        text = json.dumps(self.summary, indent=1, allow_nan=False, default=str) + "\n"
        write_atomically(folder / "summary.json", lambda path: path.write_text(text))


def _params(part: Any) -> dict[str, Any]:
    """A part's parameters; none of one that is no dataclass."""
    found = plain(part)
    return {key: value for key, value in found.items() if key != "type"} if isinstance(found, dict) else {}


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under a temporary name and rename it."""
    partial = path.with_name(path.name + ".partial")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def versions(libraries: Sequence[str] = ()) -> dict[str, str]:
    """Versions of what a run's figures depend on."""
    names = ("hcsim", "numpy", "pandas", "pyarrow", "scipy", *libraries)
    out = {"python": platform.python_version()}
    for name in names:
        try:
            out[name] = version(name)
        except Exception:
            out[name] = getattr(sys.modules.get(name), "__version__", "unknown")
    return out
