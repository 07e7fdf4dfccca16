"""Which runs can be compared, which of them make a pair, and their figures pair by pair."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hcsim.model import InputError
from hcsim.runs import Cut, figures_of
from hcsim.stats import Floats

if TYPE_CHECKING:
    import pandas as pd

    from hcsim.compare import Metric

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


def comparable(frame: pd.DataFrame) -> None:
    """Refuse runs that are not of one world."""
    for key, what in _WORLD.items():
        _same(frame, key, what)
    if frame["window"].any():
        _same(frame, "trace", "traces")
        _same(frame, "trace_source", "traces")
    for (seed, window), group in frame.groupby(["seed", "window"]):
        _same(group, "jobs_sha256", f"traces under seed {seed}" + f" in window {window}" * bool(window))
    for name, group in frame.groupby("strategy"):
        for key, what in _STRATEGY.items():
            _same(group, key, f"{what} of {name}")
    twice = frame.duplicated(["strategy", "seed", "window"], keep=False)
    if twice.any():
        _, group = next(iter(frame[twice].groupby(["strategy", "seed", "window"])))
        a, b = group["folder"].iloc[:2]
        raise InputError(f"{group['strategy'].iloc[0]} was run twice under one seed: {a} and {b}")


def pairs_of(frame: pd.DataFrame, strategies: Sequence[str]) -> tuple[list[tuple[int, str]], list[str]]:
    """The (seed, window) under which all strategies were run, and what to say of the others."""
    have: dict[str, set[tuple[int, str]]] = {name: set() for name in strategies}
    for name, seed, window in zip(frame["strategy"], frame["seed"], frame["window"], strict=True):
        have[name].add((int(seed), str(window)))
    every = set.union(*have.values())
    notes = []
    for name in strategies:
        for window in sorted({window for _, window in every - have[name]}):
            seeds = sorted(seed for seed, its in every - have[name] if its == window)
            where = f" in window {window}" if window else ""
            notes.append(f"{name} lacks seeds {seeds}{where}, which are left out of every pair")
    pairs = sorted(set.intersection(*have.values()))
    if not pairs:
        raise InputError("no seed under which all strategies were run")
    return pairs, notes


def _first_of_each(frame: pd.DataFrame, key: str) -> list[dict[Any, Any]]:
    return frame.drop_duplicates(key).to_dict("records")


def told(frame: pd.DataFrame) -> list[str]:
    """Notes on what the runs were made with, and on what strategies were told."""
    notes = []
    versions = frame["versions"].map(lambda each: each if isinstance(each, dict) else {})
    mixed = []
    for library in sorted({name for each in versions for name in each}):
        found = versions.map(lambda each, library=library: each.get(library))
        if found.nunique(dropna=False) > 1:
            by = [f"{value} in {frame['folder'][found == value].iloc[0]}" for value in found.dropna().unique()]
            mixed.append(f"{library} {', '.join(by)}")
    if frame["code_sha256"].nunique() > 1:
        by = [f"{each['code_sha256'][:8]} in {each['folder']}" for each in _first_of_each(frame, "code_sha256")]
        mixed.append(f"the engine's code {', '.join(by)}")
    if mixed:
        notes.append(f"the runs were made with different versions of hcsim or its libraries: {'; '.join(mixed)}")
    informed = (
        frame[frame["estimator"].map(lambda each: isinstance(each, dict))]
        .drop_duplicates("strategy")
        .sort_values("strategy")
    )
    if informed["estimator"].map(_text).nunique() > 1:
        known = ", ".join(f"{row['strategy']} {row['knowledge']}" for row in informed.to_dict("records"))
        notes.append(f"strategies were told different run times: {known}")
    return notes


class Figures:
    """The figures of all strategies and pairs, with the jobs of warm-up and cool-down left out where asked."""

    def __init__(
        self,
        frame: pd.DataFrame,
        strategies: Sequence[str],
        pairs: Sequence[tuple[int, str]],
        warm_up: Cut,
        cool_down: Cut,
    ) -> None:
        self.names, self._pairs = strategies, pairs
        self.factors = [np.unique([pair[i] for pair in pairs], return_inverse=True)[1] for i in (0, 1)]
        rows: list[dict[Any, Any]] = frame.to_dict("records")
        found = {(str(r["strategy"]), int(r["seed"]), str(r["window"])): r for r in rows}
        self._whole: dict[tuple[str, int, str], dict[Any, Any]] = {
            key: found[key] for name in strategies for pair in pairs for key in [(name, *pair)]
        }
        self._jobs = self._whole
        self.rule = "every job counts"
        if warm_up or cool_down:
            self._jobs = {key: figures_of(row["folder"], warm_up, cool_down) for key, row in self._whole.items()}
            mine = [(strategies[0], *pair) for pair in pairs]
            kept = sum(self._jobs[key]["jobs_counted"] for key in mine)
            cut = [f"{where} {cut}" for cut, where in ((warm_up, "first"), (cool_down, "last")) if cut]
            self.rule = (
                f"JCT and queue delay leave out the jobs that arrived in the {' and the '.join(cut)}, which leaves"
                f" {kept:,}; other figures are of the whole run"
            )

    def knowledge(self, name: str) -> str:
        """What a strategy was told of run times."""
        return str(self._whole[name, *self._pairs[0]]["knowledge"])

    def row(self, name: str, metric: Metric) -> Floats:
        """A figure of a strategy in all pairs, in the metric's unit."""
        source = self._jobs if metric.by_job else self._whole
        values = [source[name, *pair].get(metric.key) for pair in self._pairs]
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64) / metric.scale

    def same_jobs(self, name: str, metric: Metric) -> bool:
        """Whether a figure of a strategy is of the jobs that the baseline's is of."""
        return metric.of_all or self._alike(name, self._jobs if metric.by_job else self._whole)

    def _alike(self, name: str, source: dict[Any, Any]) -> bool:
        return all(
            source[name, *pair]["finished_sha256"] == source[self.names[0], *pair]["finished_sha256"]
            for pair in self._pairs
        )

    def notes(self) -> list[str]:
        """Who finished how many jobs, of strategies that did not finish the baseline's."""
        notes = []
        for name in self.names:
            jobs, whole = (self._alike(name, source) for source in (self._jobs, self._whole))
            what = ["JCT, queue delay"] * (not jobs) + ["cost and utilisation"] * (not whole)
            if what:
                said = [self._finished(who) for who in (name, self.names[0])]
                notes.append(
                    f"{name} cannot be compared with {self.names[0]} in {', '.join(what)}, having finished other jobs:"
                    f" {said[0]}, {said[1]}"
                )
        return notes

    def _finished(self, who: str) -> str:
        finished, submitted, rejected, unfinished = (
            sum(int(self._whole[who, *pair][f"jobs_{how}"]) for pair in self._pairs)
            for how in ("finished", "submitted", "rejected", "unfinished")
        )
        return f"{who} {finished:,} of {submitted:,} ({rejected:,} rejected, {unfinished:,} unfinished)"


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
