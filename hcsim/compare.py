"""Which strategy is better, and whether that can be said: paired differences over seeds with 95 % intervals.

Under one seed every strategy faces the same jobs, failures and delays, so the difference of two strategies is taken
seed by seed; runs of different worlds are refused. The interval is Student's t over seeds (a percentile bootstrap
covers too little at five seeds). No claim is made where the interval contains zero, and none about completion times,
cost or utilisation where two strategies did not finish the same jobs: who rejects or starves a job need not pay or wait
for it, and under a heavy tail one job can make the difference.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.experiment import Runs
from hcsim.model import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


@dataclass(frozen=True)
class Metric:
    """A figure of ``summary.json`` as it is shown: divided by ``scale``, in ``unit``; less is better unless said.

    ``counts`` jobs: shown as a total over seeds. ``of_all`` jobs: can be compared whoever finished which.
    """

    key: str
    title: str
    unit: str
    scale: float = 1.0
    more_is_better: bool = False
    counts: bool = False
    of_all: bool = False


METRICS: tuple[Metric, ...] = (
    Metric("jobs_finished", "finished", "jobs", more_is_better=True, counts=True, of_all=True),
    Metric("jobs_rejected", "rejected", "jobs", counts=True, of_all=True),
    Metric("jobs_unfinished", "unfinished", "jobs", counts=True, of_all=True),
    Metric("jct_mean_s", "mean JCT", "h", 3600.0),
    Metric("jct_p99_s", "P99 JCT", "h", 3600.0),
    Metric("queue_delay_mean_s", "mean queue delay", "h", 3600.0),
    Metric("cost_usd", "cost", "kUSD", 1000.0),
    Metric("deadline_miss_rate", "deadlines missed", "%", 0.01, of_all=True),  # one that never ends is missed
    Metric("gpu_utilization", "utilisation", "%", 0.01, more_is_better=True),
)
BETTER, WORSE, SAME, SINGLE = "better", "worse", "not distinguishable", "one seed: no interval"
OTHER_JOBS = "not comparable: finished sets differ"


@dataclass(frozen=True)
class Cell:
    """A strategy's figure: mean and half-width of its interval over seeds, and its paired difference from the baseline.

    ``low`` and ``high`` bound the mean difference; all in the metric's unit, NaN where they do not exist.
    """

    mean: float
    half: float
    difference: float
    low: float
    high: float
    verdict: str


def t_interval(values: npt.NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Mean and half-width of Student's t interval; the half-width is NaN for fewer than two values."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return (float(values.mean()) if n else float("nan")), float("nan")
    return float(values.mean()), float(t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))


def paired(ours: npt.NDArray[np.float64], base: npt.NDArray[np.float64], more_is_better: bool) -> Cell:
    """Compare two columns of one figure, row by row the same seed."""
    mean, half = t_interval(ours)
    delta, width = t_interval(ours - base)
    if np.isnan(width):
        verdict = SINGLE
    elif delta - width <= 0.0 <= delta + width:
        verdict = SAME
    else:
        verdict = BETTER if (delta > 0) == more_is_better else WORSE
    return Cell(mean, half, delta, delta - width, delta + width, verdict)


@dataclass(frozen=True)
class Comparison:
    """What a comparison came to. ``cells[strategy][metric key]``; ``notes`` are things that a reader must know."""

    strategies: tuple[str, ...]
    baseline: str
    seeds: tuple[int, ...]
    knowledge: dict[str, str]
    cells: dict[str, dict[str, Cell]]
    notes: tuple[str, ...]
    trace: str
    fleet: str

    @property
    def other_jobs(self) -> tuple[str, ...]:
        """The strategies that did not finish the same jobs as the baseline."""
        return tuple(n for n in self.strategies if self.cells[n]["jct_mean_s"].verdict == OTHER_JOBS)

    @property
    def frame(self) -> pd.DataFrame:
        """One row per strategy and metric."""
        import pandas as pd

        rows = []
        for name in self.strategies:
            for metric in METRICS:
                cell = self.cells[name][metric.key]
                rows.append(
                    {"strategy": name, "knowledge": self.knowledge[name], "metric": metric.title, "unit": metric.unit}
                    | {k: getattr(cell, k) for k in ("mean", "half", "difference", "low", "high", "verdict")}
                )
        return pd.DataFrame(rows)

    def shown(self, name: str, metric: Metric) -> tuple[str, str]:
        """A cell as two texts: the mean with its interval, and the difference with its verdict."""
        cell = self.cells[name][metric.key]
        if np.isnan(cell.mean):
            return "-", ""
        if metric.counts:
            return f"{round(cell.mean * len(self.seeds)):,}", ""
        mean = _number(cell.mean) if np.isnan(cell.half) else _between(cell.mean, cell.half)
        if name == self.baseline:
            return mean, "baseline"
        if cell.verdict in (SAME, SINGLE, OTHER_JOBS):
            return mean, cell.verdict
        return mean, f"{cell.verdict} by {_between(abs(cell.difference), (cell.high - cell.low) / 2)}"

    def table(self) -> Table:
        """For a terminal."""
        from rich.table import Table

        seeds = f"{len(self.seeds)} seed" + ("s" if len(self.seeds) > 1 else "")
        table = Table(
            title=f"{self.trace} on {self.fleet}, {seeds}: jobs in all; mean ± 95 % interval, below it the paired"
            f" difference from {self.baseline}",
            title_justify="left",
        )
        table.add_column("strategy", no_wrap=True)
        for metric in METRICS:
            unit = f"\n({metric.unit})" if metric.counts else f" ({metric.unit})"  # counts are narrow
            table.add_column(metric.title + unit, justify="right")
        colour = {BETTER: "green", WORSE: "red"}
        for name in self.strategies:
            row = [f"{name}\n[dim]knows: {self.knowledge[name]}[/dim]"]
            for metric in METRICS:
                mean, verdict = self.shown(name, metric)
                style = colour.get(verdict.split(" ")[0], "dim")
                row.append(f"{mean}\n[{style}]{verdict}[/{style}]" if verdict else mean)
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """The table in Markdown."""
        head = ["strategy", "knows", *(f"{m.title} ({m.unit})" for m in METRICS)]
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for name in self.strategies:
            cells = []
            for metric in METRICS:
                mean, verdict = self.shown(name, metric)
                cells.append(f"{mean}<br>{verdict}" if verdict else mean)
            lines.append("| " + " | ".join([name, self.knowledge[name], *cells]) + " |")
        return "\n".join(lines) + "\n"


def _between(x: float, half: float) -> str:
    """A figure and its half-width, this to two significant digits and both to the same place."""
    if half == 0:
        return f"{_number(x)} ± 0"
    digits = min(max(0, 1 - int(np.floor(np.log10(half)))), 6)
    return f"{x:,.{digits}f} ± {half:,.{digits}f}"


def _number(x: float) -> str:
    """Three significant digits, without an exponent for what tables hold."""
    if x == 0:
        return "0"
    digits = max(0, 2 - int(np.floor(np.log10(abs(x)))))
    return f"{x:,.{min(digits, 4)}f}"


def load_runs(folders: Sequence[str | Path]) -> tuple[Runs, list[str]]:
    """Finished runs below some folders, and what was left out and why.

    Raises:
        InputError: there is no finished run, or a folder does not exist.
    """
    good, left_out = [], []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        for path in sorted(folder.rglob("summary.json")):
            if path.with_name("error.txt").exists():
                continue  # kept from a command before the one that failed
            try:
                _readable(path)
                good.append(path.parent)
            except (ValueError, OSError) as error:
                left_out.append(f"{path}: {str(error).splitlines()[0]}")
        left_out.extend(f"{p.parent}: failed: {p.read_text().strip()}" for p in sorted(folder.rglob("error.txt")))
    if not good:
        why = f"; {len(left_out)} left out, the first: {left_out[0]}" if left_out else ""
        raise InputError(f"no finished run (summary.json) below {', '.join(map(str, folders))}{why}")
    return Runs(tuple(dict.fromkeys(good))), left_out


#: Key of a summary -> what runs that differ in it have, which can then not be compared.
_WORLD = {"executor": "executors", "executor_params": "executors", "perf": "perf", "fleet_sha256": "fleets"}
_STRATEGY = {
    "strategy_params": "parameters",
    "estimator": "estimators",
    "forecast_error": "forecast errors",
    "strategy_sha256": "code",
}
#: Hash -> the key of the name of what it is of.
_NAMES = {"fleet_sha256": "fleet", "jobs_sha256": "trace", "strategy_sha256": "strategy"}
_IDENTITY = (
    *("seed", "strategy", "knowledge", "trace", "fleet", *_WORLD, *_STRATEGY),
    *("jobs_submitted", "jobs_sha256", "finished_sha256", "code_sha256", "versions"),
)


def _readable(path: Path) -> None:
    """Raise ValueError or OSError for what is not a run's summary beside its tables."""
    import pyarrow.parquet as pq

    summary = json.loads(path.read_text())
    if not isinstance(summary, dict):
        raise ValueError(f"a {type(summary).__name__}, expected a run's summary")
    for key in (*(m.key for m in METRICS), *_IDENTITY):
        if key not in summary:
            raise ValueError(f"no key '{key}'")
    for metric in METRICS:
        value = summary[metric.key]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"{metric.key} is {value!r}, expected a number")
    for name in ("jobs", "timeline", "ledger"):
        table = path.with_name(f"{name}.parquet")
        try:
            pq.read_schema(table)
        except (OSError, ValueError) as error:
            why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            raise ValueError(f"{table.name} {why}") from None


def compare(runs: Runs, baseline: str | None = None) -> Comparison:
    """Compare all strategies of some runs with one of them.

    Raises:
        InputError: the runs are not of one fleet, executor and perf, or under one seed not of the same jobs, or those
            of one strategy not of the same code, parameters and estimator (the difference is named); a strategy was run
            twice under one seed; no such baseline.
    """
    frame = runs.runs
    for key, what in _WORLD.items():
        _same(frame, key, what)
    for seed, group in frame.groupby("seed"):
        _same(group, "jobs_sha256", f"traces under seed {seed}")
    for name, group in frame.groupby("strategy"):
        for key, what in _STRATEGY.items():
            _same(group, key, f"{what} of {name}")
    twice = frame.duplicated(["strategy", "seed"], keep=False)
    if twice.any():
        _, group = next(iter(frame[twice].groupby(["strategy", "seed"])))
        a, b = group["folder"].iloc[:2]
        raise InputError(f"{group['strategy'].iloc[0]} was run twice under one seed: {a} and {b}")
    strategies = tuple(sorted(frame["strategy"].unique()))
    baseline = baseline or strategies[0]
    if baseline not in strategies:
        raise InputError(f"no strategy '{baseline}' among the runs; {nearest(baseline, strategies)}")
    strategies = (baseline, *(s for s in strategies if s != baseline))
    have = {name: set(frame[frame["strategy"] == name]["seed"]) for name in strategies}
    seeds = sorted(set.intersection(*have.values()))
    every = set.union(*have.values())
    notes = [
        f"{name} lacks seeds {sorted(every - have[name])}, which are left out of every pair"
        for name in strategies
        if every - have[name]
    ]
    if not seeds:
        raise InputError("no seed under which all strategies were run")
    if max(frame[key].map(_text).nunique() for key in ("versions", "code_sha256")) > 1:
        notes.append("the runs were made with different versions of hcsim or its libraries")
    told = (
        frame[frame["estimator"].map(lambda each: isinstance(each, dict))]
        .drop_duplicates("strategy")
        .sort_values("strategy")
    )
    if told["estimator"].map(_text).nunique() > 1:
        known = ", ".join(f"{row['strategy']} {row['knowledge']}" for row in told.to_dict("records"))
        notes.append(f"strategies were told different run times: {known}")
    table = {(r["strategy"], r["seed"]): r for r in frame.to_dict("records")}
    cells: dict[str, dict[str, Cell]] = {}
    for name in strategies:
        cells[name] = {}
        same_jobs = all(
            table[name, seed]["finished_sha256"] == table[baseline, seed]["finished_sha256"] for seed in seeds
        )
        for metric in METRICS:
            ours, base = (_column(table, who, seeds, metric) for who in (name, baseline))
            cell = paired(ours, base, metric.more_is_better)
            if not (same_jobs or metric.of_all):
                cell = Cell(cell.mean, cell.half, np.nan, np.nan, np.nan, OTHER_JOBS)
            cells[name][metric.key] = cell
        if not same_jobs:
            notes.append(_other_jobs(table, name, baseline, seeds))
    knowledge = {name: str(table[name, seeds[0]]["knowledge"]) for name in strategies}
    first = table[baseline, seeds[0]]
    seeds_ = tuple(int(seed) for seed in seeds)
    return Comparison(
        strategies, baseline, seeds_, knowledge, cells, tuple(notes), str(first["trace"]), str(first["fleet"])
    )


def _column(
    table: dict[tuple[Any, Any], dict[Any, Any]], name: str, seeds: Sequence[int], metric: Metric
) -> npt.NDArray[np.float64]:
    values = [table[name, seed][metric.key] for seed in seeds]
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64) / metric.scale


def _other_jobs(table: dict[tuple[Any, Any], dict[Any, Any]], name: str, baseline: str, seeds: Sequence[int]) -> str:
    """Who finished how many jobs, of a strategy that did not finish the baseline's."""

    def total(who: str, key: str) -> int:
        return sum(int(table[who, seed][key]) for seed in seeds)

    said = [
        f"{who} {total(who, 'jobs_finished'):,} of {total(who, 'jobs_submitted'):,}"
        f" ({total(who, 'jobs_rejected'):,} rejected, {total(who, 'jobs_unfinished'):,} unfinished)"
        for who in (name, baseline)
    ]
    what = "JCT, queue delay, cost and utilisation"
    return f"{name} cannot be compared with {baseline} in {what}, having finished other jobs: {said[0]}, {said[1]}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _same(frame: pd.DataFrame, key: str, what: str) -> None:
    """Refuse runs that differ in a part of their identity, naming two that do and the difference."""
    values = frame[key].map(_text)
    if values.nunique() > 1:
        first, other = (frame[values == value].iloc[0] for value in values.unique()[:2])
        shown = [
            f"{run['folder']} has {_shown(run[key], than[key], run[_NAMES.get(key, key)])}"
            for run, than in ((first, other), (other, first))
        ]
        raise InputError(f"different {what} cannot be compared: {shown[0]}, {shown[1]}")


def _shown(value: Any, than: Any, name: Any) -> str:
    """A value as it is shown beside another: of parameters those that differ, of a hash its name and beginning."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items() if (than or {}).get(key) != each) or "none"
    return str(name) if name == value else f"{name} ({str(value)[:8]})"
