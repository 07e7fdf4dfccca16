"""Which strategy is better, and whether that can be said: paired differences over seeds with 95 % intervals.

Under one seed every strategy faces the same jobs, failures and delays, so the difference of two strategies is taken
seed by seed (and window by window, where runs differ in the window of their trace); runs of different worlds are
refused. The interval is Student's t over the pairs; from 20 of them on a BCa bootstrap interval stands beside it. A
difference is claimed where Student's test finds it after Holm's correction over the strategies that are compared with
the baseline, for each figure by itself. None is claimed about completion times, cost or utilisation where two
strategies did not finish the same jobs: who rejects or starves a job need not pay or wait for it, and under a heavy
tail one job can make the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hcsim import stats, tables
from hcsim.model import InputError, nearest
from hcsim.pairs import Figures, comparable, pairs_of, told
from hcsim.runs import Cut, Runs
from hcsim.stats import Floats
from hcsim.tables import between, number

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


@dataclass(frozen=True)
class Metric:
    """A figure of ``summary.json`` as it is shown: divided by ``scale``, in ``unit``; less is better unless said.

    ``counts`` jobs: shown as a total over pairs. ``of_all`` jobs: can be compared whoever finished which. ``by_job``: a
    statistic of jobs, which leaves those of the warm-up and cool-down out.
    """

    key: str
    title: str
    unit: str
    scale: float = 1.0
    more_is_better: bool = False
    counts: bool = False
    of_all: bool = False
    by_job: bool = False


METRICS: tuple[Metric, ...] = (
    Metric("jobs_finished", "finished", "jobs", more_is_better=True, counts=True, of_all=True),
    Metric("jobs_rejected", "rejected", "jobs", counts=True, of_all=True),
    Metric("jobs_unfinished", "unfinished", "jobs", counts=True, of_all=True),
    Metric("jct_mean_s", "mean JCT", "h", 3600.0, by_job=True),
    Metric("jct_p99_s", "P99 JCT", "h", 3600.0, by_job=True),
    Metric("queue_delay_mean_s", "mean queue delay", "h", 3600.0, by_job=True),
    Metric("cost_usd", "cost", "kUSD", 1000.0),
    Metric("deadline_miss_rate", "deadlines missed", "%", 0.01, of_all=True),  # one that never ends is missed
    Metric("gpu_utilization", "utilisation", "%", 0.01, more_is_better=True),
)
#: Figures of a summary that can be asked for beside those.
OTHERS: tuple[Metric, ...] = (
    Metric("jct_p50_s", "median JCT", "h", 3600.0, by_job=True),
    Metric("queue_delay_p99_s", "P99 queue delay", "h", 3600.0, by_job=True),
)
#: Figures that only worlds with power and carbon have.
POWER = (
    Metric("energy_kwh", "energy", "MWh", 1000.0),
    Metric("carbon_kg", "carbon", "t CO2e", 1000.0),
)
BETTER, WORSE, SAME, SINGLE = "better", "worse", "not distinguishable", "one seed: no interval"
OTHER_JOBS = "not comparable: finished sets differ"
MISSING = "no figure in every pair"
ON_FRONT = "on the front"


@dataclass(frozen=True)
class Cell:
    """A strategy's figure: mean and half-width of its interval over pairs, and its paired difference from the baseline.

    ``low`` and ``high`` bound the mean difference, ``bca_low`` and ``bca_high`` by the bootstrap (from 20 pairs on);
    all in the metric's unit. ``p`` is Holm-corrected, ``d`` the paired effect size (d_z), ``relative`` the difference
    as a share of the baseline's mean. ``more`` is how many more pairs would make the difference distinguishable.
    ``place`` among the strategies that can be compared, 1 the best, cannot be told from those from ``place_low`` to
    ``place_high``; ``first`` is how often a bootstrap of the pairs has it first. NaN where they do not exist.
    """

    mean: float
    half: float
    difference: float
    low: float
    high: float
    verdict: str
    p: float = float("nan")
    bca_low: float = float("nan")
    bca_high: float = float("nan")
    d: float = float("nan")
    relative: float = float("nan")
    more: int | None = None
    place: float = float("nan")
    place_low: float = float("nan")
    place_high: float = float("nan")
    first: float = float("nan")


def paired(ours: Floats, base: Floats, more_is_better: bool, *factors: Any) -> Cell:
    """Compare two columns of one figure, row by row the same pair; ``p`` is of this comparison alone.

    Args:
        factors: the seed and the window of each pair, where both may vary (:func:`hcsim.stats.independent`).
    """
    mean, half = stats.t_interval(stats.independent(ours, *factors))
    apart = stats.independent(stats.differences(ours, base), *factors)
    delta, width = stats.t_interval(apart)
    bca_low, bca_high = stats.bca_interval(apart)
    base_mean = float(base.mean()) if len(base) else float("nan")
    cell = Cell(
        *(mean, half, delta, delta - width, delta + width, SAME),
        p=stats.t_test(apart),
        bca_low=bca_low,
        bca_high=bca_high,
        d=stats.cohen_d(apart),
        relative=delta / abs(base_mean) if base_mean else float("nan"),
    )
    return judged(cell, cell.p, more_is_better)


def judged(cell: Cell, p: float, more_is_better: bool) -> Cell:
    """A cell with the verdict that a corrected p allows."""
    if np.isnan(cell.difference):
        verdict = MISSING
    elif np.isnan(p):
        verdict = SINGLE
    elif p < 1 - stats.LEVEL:
        verdict = BETTER if (cell.difference > 0) == more_is_better else WORSE
    else:
        verdict = SAME
    return replace(cell, p=p, verdict=verdict)


@dataclass(frozen=True)
class Comparison:
    """What a comparison came to. ``cells[strategy][metric key]``; ``notes`` are things that a reader must know.

    ``pairs`` are the (seed, window) under which all strategies were run, ``metrics`` what tables show, ``rule`` says
    which jobs count, and ``front`` of each strategy where it is beside the Pareto front of the metrics ``front_of``.
    """

    strategies: tuple[str, ...]
    baseline: str
    seeds: tuple[int, ...]
    knowledge: dict[str, str]
    cells: dict[str, dict[str, Cell]]
    notes: tuple[str, ...]
    trace: str
    fleet: str
    pairs: tuple[tuple[int, str], ...] = ()
    metrics: tuple[Metric, ...] = METRICS
    rule: str = ""
    front: dict[str, str] = field(default_factory=dict)
    front_of: tuple[Metric, ...] = ()

    @property
    def other_jobs(self) -> tuple[str, ...]:
        """The strategies that did not finish the same jobs as the baseline."""
        return tuple(n for n in self.strategies if self.cells[n]["jct_mean_s"].verdict == OTHER_JOBS)

    def metric(self, key: str) -> Metric:
        """A metric of the comparison by its key.

        Raises:
            InputError: it is none.
        """
        known = {metric.key: metric for metric in (*METRICS, *self.metrics, *self.front_of)}
        if key not in known:
            raise InputError(f"the comparison has no metric '{key}'; {nearest(key, sorted(known))}")
        return known[key]

    @property
    def varies(self) -> str:
        """What differs between pairs: seeds, windows, or both (pairs)."""
        windows = {window for _, window in self.pairs}
        return "seed" if len(windows) < 2 else "window" if len(self.seeds) < 2 else "pair"

    def of_pairs(self, frame: pd.DataFrame, first: bool = False) -> pd.DataFrame:
        """The rows of a frame of runs that are of the pairs compared, or of the first of them."""
        pairs = self.pairs[:1] if first else self.pairs
        at = [pair in pairs for pair in zip(frame["seed"].tolist(), frame["window"].tolist(), strict=True)]
        return frame[np.array(at, bool)]

    @property
    def frame(self) -> pd.DataFrame:
        """One row per strategy and metric."""
        import pandas as pd

        rows = []
        for name in self.strategies:
            for metric in self.metrics:
                of = {"strategy": name, "knowledge": self.knowledge[name], "metric": metric.title, "unit": metric.unit}
                of |= vars(self.cells[name][metric.key])
                rows.append(of | {"pairs": len(self.pairs), "front": self.front.get(name, ""), "rule": self.rule})
        names = {"p": "p_holm", "d": "cohen_d", "more": "more_pairs", "first": "first_share"}
        return pd.DataFrame(rows).rename(columns=names)

    def shown(self, name: str, metric: Metric) -> tuple[str, str]:
        """A cell as two texts: the mean with its interval, and the difference with its verdict."""
        cell = self.cells[name][metric.key]
        if np.isnan(cell.mean):
            return "-", ""
        if metric.counts:
            return f"{round(cell.mean * (len(self.pairs) or len(self.seeds))):,}", ""
        mean = number(cell.mean) if np.isnan(cell.half) else between(cell.mean, cell.half)
        if name == self.baseline:
            return mean, "baseline"
        if cell.verdict == SAME and cell.more:
            return mean, f"{SAME} (+{cell.more} {self.varies}{'s' * (cell.more > 1)})"
        if cell.verdict not in (BETTER, WORSE):
            return mean, cell.verdict
        return mean, f"{cell.verdict} by {between(abs(cell.difference), (cell.high - cell.low) / 2)}"

    def table(self) -> Table:
        """For a terminal."""
        return tables.terminal(self)

    def markdown(self) -> str:
        """The table in Markdown."""
        return tables.markdown(self)

    def latex(self) -> str:
        """The table in LaTeX (booktabs)."""
        return tables.latex(self)


def chosen(names: Sequence[str], runs: Runs, option: str) -> tuple[Metric, ...]:
    """Metrics by their keys in ``summary.json``; ``KEY:max`` says that more is better, ``KEY:min`` that less is.

    Raises:
        InputError: no run has such a figure.
    """
    known = {metric.key: metric for metric in (*METRICS, *OTHERS)}
    numeric = [
        str(key)
        for key, column in runs.runs.items()
        if key not in ("seed", "window") and column.map(lambda v: isinstance(v, (int, float, type(None)))).all()
    ]
    out = []
    for name in names:
        key, _, way = name.partition(":")
        if key not in known and key not in numeric:
            raise InputError(f"{option}: no figure '{key}'; {nearest(key, sorted({*known, *numeric}))}")
        if way not in ("", "min", "max"):
            raise InputError(f"{option}: '{name}', expected {key}:min or {key}:max")
        metric = known.get(key, Metric(key, key, "", of_all=key.startswith("jobs_")))
        out.append(replace(metric, more_is_better=way == "max") if way else metric)
    return tuple(out)


def compare(
    runs: Runs,
    baseline: str | None = None,
    *,
    warm_up: Cut | None = None,
    cool_down: Cut | None = None,
    metrics: Sequence[str] = (),
    pareto: Sequence[str] = (),
) -> Comparison:
    """Compare all strategies of some runs with one of them.

    Args:
        baseline: the strategy to compare with (default: the first by name).
        warm_up, cool_down: jobs that JCT and queue delay leave out, by arrival; all other figures are of the whole run.
        metrics: keys of the figures to show (default: METRICS).
        pareto: keys of the figures of a Pareto front.

    Raises:
        InputError: the runs are not of one fleet, executor and perf, or under one seed not of the same jobs, or those
            of one strategy not of the same code, parameters and estimator (the difference is named); a strategy was run
            twice under one seed; no such baseline or figure.
    """
    frame = runs.runs
    comparable(frame)
    shown = chosen(metrics, runs, "--metrics") or METRICS
    front_of = chosen(pareto, runs, "--pareto")
    if len(front_of) == 1:
        raise InputError(f"--pareto: '{pareto[0]}' is one figure, expected two or more")
    names = tuple(sorted(frame["strategy"].unique()))
    baseline = baseline or names[0]
    if baseline not in names:
        raise InputError(f"no strategy '{baseline}' among the runs; {nearest(baseline, names)}")
    strategies = (baseline, *(s for s in names if s != baseline))
    pairs, notes = pairs_of(frame, strategies)
    notes = [*(f"left out: {line}" for line in runs.left_out), *notes, *told(frame)]
    table = Figures(frame, strategies, pairs, warm_up or Cut(), cool_down or Cut())
    notes += table.notes()
    power = [metric for metric in POWER if metric.key in frame and frame[metric.key].notna().all()]
    everything = {metric.key: metric for metric in (*METRICS, *power, *shown, *front_of)}
    cells: dict[str, dict[str, Cell]] = {name: {} for name in strategies}
    better: dict[str, Any] = {}
    for metric in everything.values():
        better[metric.key] = _fill(table, cells, metric)
    notes += _doubtful(cells, shown)
    first = frame.iloc[0]
    comparison = Comparison(
        strategies,
        baseline,
        seeds=tuple(sorted({seed for seed, _ in pairs})),
        knowledge={name: table.knowledge(name) for name in strategies},
        cells=cells,
        notes=tuple(notes),
        trace=str(first["trace"]),
        fleet=str(first["fleet"]),
        pairs=tuple(pairs),
        metrics=shown,
        rule=table.rule,
    )
    if not front_of:
        return comparison
    return replace(comparison, front=_front(cells, strategies, front_of, better), front_of=front_of)


def _fill(table: Figures, cells: dict[str, dict[str, Cell]], metric: Metric) -> dict[str, set[str]]:
    """Fill in the cells of a metric; who is distinguishably better than whom."""
    names, factors = table.names, table.factors
    rows = {name: table.row(name, metric) for name in names}
    made = {name: paired(row, rows[names[0]], metric.more_is_better, *factors) for name, row in rows.items()}
    alike = [name for name in names if table.same_jobs(name, metric) and not np.isnan(rows[name]).any()]
    rivals = [name for name in alike if name != names[0] and not np.isnan(made[name].p)]
    corrected = dict(zip(rivals, stats.holm(np.array([made[name].p for name in rivals])), strict=True))
    level = (1 - stats.LEVEL) / max(len(rivals), 1)  # the least that Holm's method may ask for
    for name, cell in made.items():
        if not table.same_jobs(name, metric):
            cell = Cell(cell.mean, cell.half, np.nan, np.nan, np.nan, OTHER_JOBS)
        elif name in corrected:
            cell = judged(cell, float(corrected[name]), metric.more_is_better)
            if cell.verdict == SAME and sum(len(np.unique(each)) > 1 for each in factors) < 2:
                more = stats.more_pairs(stats.differences(rows[name], rows[names[0]]), level)
                cell = replace(cell, more=more)
        cells[name][metric.key] = cell
    if len(alike) < 2 or len(rows[names[0]]) < 2:
        return {}
    ranks = stats.ranks(np.stack([rows[name] for name in alike]), metric.more_is_better, *factors)
    columns = (ranks.place, ranks.low, ranks.high, ranks.first)
    for name, *four in zip(alike, *(column.tolist() for column in columns), strict=True):
        place, low, high, first = four
        cells[name][metric.key] = replace(
            cells[name][metric.key], place=place, place_low=low, place_high=high, first=first
        )
    return {name: {alike[j] for j in np.flatnonzero(ranks.better[:, i])} for i, name in enumerate(alike)}


def _doubtful(cells: dict[str, dict[str, Cell]], shown: Sequence[Metric]) -> list[str]:
    """Where Student's interval and the bootstrap's do not agree whether there is a difference."""
    found = [
        f"{name} in {metric.title}"
        for name, mine in cells.items()
        for metric in shown
        for cell in [mine[metric.key]]
        if not np.isnan(cell.bca_low) and (cell.low <= 0 <= cell.high) != (cell.bca_low <= 0 <= cell.bca_high)
    ]
    return [f"t and bootstrap intervals disagree about zero (skewed differences?): {', '.join(found)}"] * bool(found)


def _front(
    cells: dict[str, dict[str, Cell]], strategies: Sequence[str], metrics: Sequence[Metric], better: dict[str, Any]
) -> dict[str, str]:
    """Where each strategy is: on the front by its means, or dominated by whom, and whether that can be told."""
    alike = [
        name
        for name in strategies
        if not any(cells[name][m.key].verdict == OTHER_JOBS or np.isnan(cells[name][m.key].mean) for m in metrics)
    ]
    sign = np.array([-1.0 if metric.more_is_better else 1.0 for metric in metrics])
    points = np.array([[cells[name][metric.key].mean for metric in metrics] for name in alike]) * sign
    out = dict.fromkeys(strategies, OTHER_JOBS)
    for i, above in enumerate(stats.dominators(points.reshape(len(alike), len(metrics)))):
        by = [alike[j] for j in np.flatnonzero(above)]
        name = alike[i]
        sure = [
            each
            for each in by
            if all(
                each in better[m.key].get(name, ()) or cells[each][m.key].mean == cells[name][m.key].mean
                for m in metrics
            )
        ]
        out[name] = f"dominated by {', '.join(sure)}" if sure else f"behind {', '.join(by)}, {SAME}" if by else ON_FRONT
    return out
