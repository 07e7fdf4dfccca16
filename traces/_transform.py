"""Changes to a trace, one after the other, as ``trace.steps`` of a configuration::

    trace.steps=[{window:{start_s:0,end_s:864000}},{load:{target:0.9}},{thin:{keep:0.5}}]

Each is a function of the jobs and the seed; they stand in the run's configuration, so that a result can be traced back.
What is drawn is drawn by the job's id.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hcsim.crashes import Crashes, mean_s
from hcsim.crashes import checked as checked_crashes
from hcsim.model import JOB_COLUMNS, MOST_S, NAME_TABLES, InputError, Jobs, nearest
from hcsim.parts import checked, quoted
from hcsim.rng import stream, uniforms
from hcsim.traces._attributes import NOTHING_ADDED, Attributes, over
from hcsim.traces._checkpoints import RULES


class Step(Protocol):
    """One change."""

    def __call__(self, jobs: Jobs, seed: int) -> Jobs:
        """The jobs, changed."""
        ...


@dataclass(frozen=True)
class Window:
    """Jobs that arrive in [start_s, end_s); the first second of the window becomes 0."""

    start_s: float = 0.0
    end_s: float = inf

    def __call__(self, jobs: Jobs, seed: int) -> Jobs:
        if not 0 <= self.start_s < self.end_s:
            raise InputError(f"trace.steps.window: {self.start_s:g} to {self.end_s:g} s, expected 0 <= start_s < end_s")
        kept = jobs.take((jobs.arrival_s >= self.start_s) & (jobs.arrival_s < self.end_s))
        if not len(kept):
            raise InputError(
                f"trace.steps.window: no job of {jobs.source} arrives from {self.start_s:g} to {self.end_s:g} s"
            )
        return Shift(-self.start_s)(kept, seed)


@dataclass(frozen=True)
class Shift:
    """All submissions and deadlines ``by_s`` later."""

    by_s: float = 0.0

    def __call__(self, jobs: Jobs, seed: int) -> Jobs:
        if not abs(self.by_s) <= MOST_S:
            raise InputError(f"trace.steps.shift: by_s is {self.by_s:g}, expected a number up to {MOST_S:g}")
        arrival_s = jobs.arrival_s + self.by_s
        if len(arrival_s) and arrival_s[0] < 0:
            raise InputError(f"trace.steps.shift: by_s is {self.by_s:g}, which moves job {jobs.id[0]} before 0")
        return dataclasses.replace(jobs, arrival_s=arrival_s, deadline_s=jobs.deadline_s + self.by_s)


@dataclass(frozen=True)
class Load:
    """Submissions drawn together or apart so that sum(duration × GPUs) / (span × ``gpus``) is ``target``.

    The span is from the first submission to the last. Run times stay, and deadlines their distance from submission.

    Args:
        gpus: whose load; a configuration may leave it out, and means the GPUs of its fleet that are always there (owned
            and reserved), or all of a fleet that has none of these.
        target: the load, 1 when all of them would be busy all the time.
    """

    gpus: int = 0
    target: float = 0.85

    def __call__(self, jobs: Jobs, seed: int) -> Jobs:
        if self.gpus < 1 or not 0 < self.target < inf:
            raise InputError(f"trace.steps.load: gpus is {self.gpus} and target {self.target}, expected both > 0")
        span_s = float(jobs.arrival_s[-1] - jobs.arrival_s[0])
        work = float((jobs.duration_s * jobs.gpus * (jobs.gpu_milli / 1000.0)).sum())
        if not span_s or not work:
            raise InputError(f"trace.steps.load: {jobs.source} has no span or no work to set to a load")
        factor = work / (self.gpus * self.target) / span_s
        arrival_s = jobs.arrival_s[0] + (jobs.arrival_s - jobs.arrival_s[0]) * factor
        return dataclasses.replace(jobs, arrival_s=arrival_s, deadline_s=jobs.deadline_s - jobs.arrival_s + arrival_s)


@dataclass(frozen=True)
class Thin:
    """Each job stays with probability ``keep``, drawn by its id: the jobs kept at 0.1 are among those kept at 0.5."""

    keep: float = 1.0

    def __call__(self, jobs: Jobs, seed: int) -> Jobs:
        if not 0 < self.keep <= 1:
            raise InputError(f"trace.steps.thin: keep is {self.keep}, expected above 0 and at most 1")
        kept = jobs.take(uniforms(seed, stream("thin"), jobs.id) < self.keep)
        if not len(kept):
            raise InputError(f"trace.steps.thin: none of {len(jobs)} jobs of {jobs.source} stays at keep {self.keep:g}")
        return kept


@dataclass(frozen=True)
class Merge:
    """The jobs of another trace beside these. Its ids follow these; its tenants are told apart by ``prefix``.

    Args:
        trace: the name of a source that can be replayed (``hcsim traces list --kind jobs``), or a source.
        parameters: of a source given by its name, as ``trace.KEY`` of a run.
    """

    trace: Any = None
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    prefix: str = "other-"

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", str(self.prefix))  # a configuration takes 3 for a number

    def __call__(self, jobs: Jobs, seed: int) -> Jobs:
        if not hasattr(self.trace, "jobs"):
            raise InputError(
                f"trace.steps.merge: trace is {self.trace!r}, expected the name of a trace, or a source of jobs"
            )
        other = self.trace.jobs(seed)
        columns = {key: np.concatenate([getattr(jobs, key), getattr(other, key)]) for key in JOB_COLUMNS}
        columns["id"] = np.concatenate([jobs.id, other.id + int(jobs.id.max(initial=-1)) + 1])
        shared = int(jobs.dataset.max(initial=-1)) + 1  # datasets of one trace are none of the other's
        columns["dataset"] = np.concatenate([jobs.dataset, np.where(other.dataset < 0, -1, other.dataset + shared)])
        tables: dict[str, Any] = {}
        for key, table in NAME_TABLES.items():
            first, second = getattr(jobs, table), getattr(other, table)
            if key == "tenant":
                second = tuple(self.prefix + name for name in second)
            names = tuple(dict.fromkeys((*first, *second)))
            codes = np.array([names.index(name) for name in second] or [-1], np.int32)
            later = getattr(other, key)
            columns[key] = np.concatenate([getattr(jobs, key), np.where(later >= 0, codes[np.maximum(later, 0)], -1)])
            tables[table] = names
        left_out = "; ".join(filter(None, (jobs.left_out, other.left_out)))
        merged = Jobs.build(source=f"{jobs.source} and {other.source}", **columns, **tables)
        return dataclasses.replace(merged, left_out=left_out)


#: What :class:`Assign` draws -> the columns that come of it, and what they are of a job that it leaves out.
_DRAWN: dict[str, dict[str, float]] = {
    "residency_share": {"residency": -1},
    "dataset_share": {"dataset_site": -1, "dataset_bytes": 0.0, "dataset": -1},  # one of its own
    "deadline_share": {"deadline_s": inf},
    "estimate_factor": {"user_estimate_s": nan},
    "checkpoint_interval_s": {"checkpoint_interval_s": inf},
    "checkpoint_bytes": {"checkpoint_bytes": 0.0},
    "checkpoint_s": {"checkpoint_s": 0.0},
    "restart_s": {"restart_s": 0.0},
}


@dataclass(frozen=True)
class Assign:
    """Attributes drawn anew for all jobs, each by its id. What is not named stays as it is.

    Args:
        attributes: those of ``trace.attributes`` (see :class:`Attributes`); what is named is drawn: a residency with
            ``residency_share``, a dataset with ``dataset_share``, a deadline with ``deadline_share`` (0: no job has
            one), an estimate with ``estimate_factor``, and each of the checkpoints' figures. Datasets of jobs that are
            bound by a residency lie in ``residency_site``.
        models: name -> weight.
        tenants: name -> weight.
    """

    attributes: Attributes | Mapping[str, Any] = dataclasses.field(default_factory=dict)
    models: Mapping[str, float] = dataclasses.field(default_factory=dict)
    tenants: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __call__(self, jobs: Jobs, seed: int) -> Jobs:
        given = self.attributes
        if isinstance(given, Attributes):
            given = {key: value for key, value in vars(given).items() if value != getattr(NOTHING_ADDED, key)}
        for key in given:
            share = f"{key.partition('_')[0]}_share"
            if share in _DRAWN and share not in given:
                raise InputError(f"trace.steps.assign: {key} is given without {share}, expected both")
        bound = None if "residency_share" in given else jobs.residency >= 0
        try:
            attributes = over(NOTHING_ADDED, given)
            drawn = attributes.columns(seed, jobs.id, jobs.arrival_s, jobs.duration_s, jobs.gpus, bound)
        except InputError as error:
            raise InputError(str(error).replace("trace.attributes", "trace.steps.assign.attributes", 1)) from None
        changed: dict[str, Any] = {}
        for name in given:
            for key, none in _DRAWN.get(name, {}).items():
                changed[key] = np.asarray(drawn.get(key, np.full(len(jobs), none)), JOB_COLUMNS[key][0])
                if key in NAME_TABLES:
                    changed[NAME_TABLES[key]] = drawn.get(NAME_TABLES[key], ())
        for key, weights in (("model", self.models), ("tenant", self.tenants)):
            if weights:
                draw = uniforms(seed, stream(f"assign {key}"), jobs.id)
                changed |= {key: _drawn(f"{key}s", weights, draw), NAME_TABLES[key]: tuple(map(str, weights))}
        return dataclasses.replace(jobs, **changed)


def _drawn(key: str, weights: Mapping[str, float], draw: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Codes of names drawn by their weights."""
    weight = np.array(list(weights.values()), np.float64)
    if not (np.isfinite(weight) & (weight >= 0)).all() or not weight.sum() > 0:
        raise InputError(f"trace.steps.assign: {key} are {dict(weights)}, expected finite weights >= 0, not all 0")
    edges = np.cumsum(weight)[:-1] / weight.sum()
    return np.searchsorted(edges, draw, side="right").astype(np.int32)


@dataclass(frozen=True)
class Checkpoint:
    """How often jobs write checkpoints, in seconds of work: all alike, or each by its size and what writing one costs.

    A job on n nodes fails n times as often as one node (rate n/M), and for reasons of its own. The rules are those of
    :mod:`hcsim.traces._checkpoints`. Without this step every job keeps the interval that its trace or attributes give.

    Args:
        rule: ``fixed``, ``young``, ``daly`` or ``exact``.
        interval_s: of ``fixed``.
        write_s: for how long writing one stops a job (0: as long as its ``checkpoint_s``).
        mtbf_s: mean time between failures of a node; ``gpus_per_node`` says how many a job takes.
        job_mtbf_s: the same of a job for reasons of its own (inf: none), as the executor's: a number, or a table.
    """

    rule: str = "young"
    interval_s: float = 1800.0
    write_s: float = 0.0
    mtbf_s: float = inf
    gpus_per_node: int = 8
    job_mtbf_s: Crashes = inf

    def __post_init__(self) -> None:
        where = "trace.steps.checkpoint"
        if self.rule not in ("fixed", *RULES):
            raise InputError(f"{where}: no rule '{self.rule}'; {nearest(self.rule, ['fixed', *RULES])}")
        for name in ("interval_s", "mtbf_s", "gpus_per_node"):
            if not getattr(self, name) > 0:
                raise InputError(f"{where}: {name} is {getattr(self, name)}, expected > 0")
        if not 0 <= self.write_s < inf:
            raise InputError(f"{where}: write_s is {self.write_s}, expected a finite number >= 0")
        object.__setattr__(self, "job_mtbf_s", checked_crashes(self.job_mtbf_s, f"{where}.job_mtbf_s"))
        if self.rule != "fixed" and self.mtbf_s == inf == self.job_mtbf_s:
            raise InputError(
                f"{where}: rule {self.rule} without mtbf_s or job_mtbf_s, expected how often nodes or jobs fail"
            )

    def __call__(self, jobs: Jobs, seed: int) -> Jobs:
        write_s = np.full(len(jobs), self.write_s) if self.write_s else jobs.checkpoint_s
        interval_s = np.full(len(jobs), self.interval_s)
        if self.rule != "fixed":
            free = np.flatnonzero(write_s <= 0)
            if len(free):
                raise InputError(
                    f"trace.steps.checkpoint: job {jobs.id[free[0]]} writes a checkpoint in no time, at which rule"
                    f" {self.rule} has no interval; set write_s"
                )
            rate = -(-jobs.gpus // self.gpus_per_node) / self.mtbf_s
            crashes_s = mean_s(self.job_mtbf_s, jobs.gpus)
            rate = rate if crashes_s is None else rate + 1.0 / crashes_s
            interval_s = RULES[self.rule](write_s, 1.0 / rate)
        return dataclasses.replace(jobs, checkpoint_interval_s=interval_s, checkpoint_stall_s=write_s)


STEPS: dict[str, type[Any]] = {
    "window": Window,
    "shift": Shift,
    "load": Load,
    "thin": Thin,
    "merge": Merge,
    "assign": Assign,
    "checkpoint": Checkpoint,
}


def steps(given: Sequence[Any]) -> tuple[Step, ...]:
    """Steps from a configuration: each is a step already, or a mapping of one name to its parameters.

    Raises:
        InputError: an unknown step or parameter, a value of another type, or a merged trace that cannot be made.
    """
    made: list[Step] = []
    for each in given:
        if callable(each):
            made.append(each)
            continue
        if not isinstance(each, Mapping) or len(each) != 1:
            raise InputError(f"trace.steps: {quoted(each)}, expected one step each, as in {{thin: {{keep: 0.5}}}}")
        name, parameters = next(iter(each.items()))
        if name not in STEPS:
            raise InputError(f"trace.steps: no step '{name}'; {nearest(str(name), list(STEPS))}")
        parameters = {} if parameters is None else parameters
        if not isinstance(parameters, Mapping):
            raise InputError(
                f"trace.steps.{name} is {quoted(parameters)}, expected its parameters, as in {{key: value}}"
            )
        step = STEPS[name]
        checked({"_target_": f"{__name__}.{step.__name__}", **parameters}, f"trace.steps.{name}")
        if name == "merge" and isinstance(parameters.get("trace"), str):
            parameters = {**parameters, "trace": _source(parameters)}
        made.append(step(**parameters))
    return tuple(made)


def _source(merged: Mapping[str, Any]) -> Any:
    """The source of that name; its data folder is HCSIM_DATA if none is given."""
    from hcsim.traces._catalog import make

    given = {"data_dir": os.environ.get("HCSIM_DATA", ""), **merged.get("parameters", {})}
    source = make(merged["trace"], given, jobs=True)
    if not hasattr(source, "jobs"):
        raise InputError(f"trace.steps.merge: trace {merged['trace']} is of {source.kind}, expected one of jobs")
    return source


def changed(jobs: Jobs, through: Sequence[Any], seed: int) -> Jobs:
    """Jobs after all steps, in their order; what each makes is held against what all jobs must be.

    Raises:
        InputError: of a step, which it names.
    """
    for step in through:
        name = next((name for name, cls in STEPS.items() if type(step) is cls), type(step).__name__)
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused
            jobs = step(jobs, seed).checked(f"trace.steps.{name}")
    return jobs
