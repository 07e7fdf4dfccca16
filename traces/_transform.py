"""Changes to a trace, one after the other, as ``trace.steps`` of a configuration::

    trace.steps=[{window:{start_s:0,end_s:864000}},{load:{gpus:440,target:0.9}},{thin:{keep:0.5}}]

Each is a function of the jobs and the seed; they stand in the run's configuration, so that a result can be traced back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

import numpy as np

from hcsim.model import JOB_COLUMNS, InputError, Jobs, nearest
from hcsim.rng import stream, uniforms
from hcsim.traces._attributes import Attributes
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
        arrival_s = jobs.arrival_s + self.by_s
        if len(arrival_s) and arrival_s[0] < 0:
            raise InputError(f"trace.steps.shift: by_s is {self.by_s:g}, which moves job {jobs.id[0]} before 0")
        return dataclasses.replace(jobs, arrival_s=arrival_s, deadline_s=jobs.deadline_s + self.by_s)


@dataclass(frozen=True)
class Load:
    """Submissions drawn together or apart so that sum(duration × GPUs) / (span × ``gpus``) is ``target``.

    The span is from the first submission to the last. Run times stay, and deadlines their distance from submission.
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
        return jobs.take(uniforms(seed, stream("thin"), jobs.id) < self.keep)


@dataclass(frozen=True)
class Merge:
    """The jobs of another trace beside these. Its ids follow these; its tenants are told apart by ``prefix``."""

    trace: Any = None
    prefix: str = "other-"

    def __call__(self, jobs: Jobs, seed: int) -> Jobs:
        if not hasattr(self.trace, "jobs"):
            raise InputError(f"trace.steps.merge: trace is {self.trace!r}, expected a source of jobs (_target_: ...)")
        other = self.trace.jobs(seed)
        columns = {key: np.concatenate([getattr(jobs, key), getattr(other, key)]) for key in JOB_COLUMNS}
        columns["id"] = np.concatenate([jobs.id, other.id + int(jobs.id.max(initial=-1)) + 1])
        tables: dict[str, Any] = {}
        for key, table in (("gpu_type", "gpu_types"), ("residency", "residencies"), ("dataset_site", "dataset_sites")):
            first, second = getattr(jobs, table), getattr(other, table)
            names = tuple(dict.fromkeys((*first, *second)))
            codes = np.array([names.index(name) for name in second] or [-1], np.int32)
            later = getattr(other, key)
            columns[key] = np.concatenate([getattr(jobs, key), np.where(later >= 0, codes[np.maximum(later, 0)], -1)])
            tables[table] = names
        columns["tenant"] = np.concatenate([jobs.tenant, other.tenant + len(jobs.tenants)])
        tenants = (*jobs.tenants, *(self.prefix + name for name in other.tenants))
        return Jobs.build(source=f"{jobs.source} and {other.source}", tenants=tenants, **columns, **tables)


@dataclass(frozen=True)
class Assign:
    """Residency, datasets, deadlines, estimates and checkpoints drawn anew (see ``Attributes``), and tenants if named.

    Args:
        attributes: what to draw; a share of 0 leaves that attribute as it is.
        tenants: name -> weight.
    """

    attributes: Attributes | Mapping[str, Any] = dataclasses.field(default_factory=Attributes)
    tenants: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __call__(self, jobs: Jobs, seed: int) -> Jobs:
        from hcsim.traces._attributes import NOTHING_ADDED, over

        drawn = over(NOTHING_ADDED, self.attributes).columns(seed, jobs.arrival_s, jobs.duration_s, jobs.gpus)
        changed: dict[str, Any] = {key: value for key, value in drawn.items() if isinstance(value, tuple)}
        for key, value in drawn.items():
            if key in JOB_COLUMNS:
                changed[key] = np.asarray(value, JOB_COLUMNS[key][0])
        if self.tenants:
            weights = np.array(list(self.tenants.values()), np.float64)
            if (weights < 0).any() or not weights.sum() > 0:
                raise InputError(
                    f"trace.steps.assign: tenants are {dict(self.tenants)}, expected weights >= 0, not all 0"
                )
            edges = np.cumsum(weights)[:-1] / weights.sum()
            draw = uniforms(seed, stream("assign tenant"), jobs.id)
            changed |= {"tenant": np.searchsorted(edges, draw, side="right").astype(np.int32)}
            changed |= {"tenants": tuple(self.tenants)}
        return dataclasses.replace(jobs, **changed)


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
        job_mtbf_s: the same of a job for reasons of its own (inf: none), as the executor's.
    """

    rule: str = "young"
    interval_s: float = 1800.0
    write_s: float = 0.0
    mtbf_s: float = inf
    gpus_per_node: int = 8
    job_mtbf_s: float = inf

    def __post_init__(self) -> None:
        where = "trace.steps.checkpoint"
        if self.rule not in ("fixed", *RULES):
            raise InputError(f"{where}: no rule '{self.rule}'; {nearest(self.rule, ['fixed', *RULES])}")
        for name in ("interval_s", "mtbf_s", "gpus_per_node", "job_mtbf_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{where}: {name} is {getattr(self, name)}, expected > 0")
        if not 0 <= self.write_s < inf:
            raise InputError(f"{where}: write_s is {self.write_s}, expected a finite number >= 0")
        if self.rule != "fixed" and min(self.mtbf_s, self.job_mtbf_s) == inf:
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
            rate = -(-jobs.gpus // self.gpus_per_node) / self.mtbf_s + 1.0 / self.job_mtbf_s
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


def steps(given: Sequence[Any]) -> tuple[Any, ...]:
    """Steps from a configuration: each is a step already, or a mapping of one name to its parameters.

    Raises:
        InputError: an unknown step or parameter.
    """
    made = []
    for each in given:
        if not isinstance(each, Mapping):
            made.append(each)
            continue
        if len(each) != 1:
            raise InputError(
                f"trace.steps: {dict(each)} names {len(each)} steps, expected one, as in {{thin: {{keep: 0.5}}}}"
            )
        name, parameters = next(iter(each.items()))
        if name not in STEPS:
            raise InputError(f"trace.steps: no step '{name}'; {nearest(str(name), list(STEPS))}")
        known = [field.name for field in dataclasses.fields(STEPS[name])]
        for key in parameters or {}:
            if key not in known:
                raise InputError(f"trace.steps.{name}: no parameter '{key}'; {nearest(str(key), known)}")
        made.append(STEPS[name](**(parameters or {})))
    return tuple(made)


def changed(jobs: Jobs, through: Sequence[Any], seed: int) -> Jobs:
    """Jobs after all steps, in their order."""
    for step in through:
        jobs = step(jobs, seed)
    return jobs
