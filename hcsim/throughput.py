"""Speeds from measured tables: iterations per second by model, GPU type, gang size and placement."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hcsim.actions import Allocation
from hcsim.model import Fleet, InputError, Jobs, nearest
from hcsim.perf import Perf, Speeds

if TYPE_CHECKING:
    import pandas as pd

#: (model, GPU type, gang size, whether it is spread over more nodes than it needs) -> iterations per second.
Table = dict[tuple[str, str, int, bool], float]
MISSING = ("error", "speed")


class Profile(Protocol):
    """A source of ``profiles``, such as ``hcsim.traces.profile_gavel.ProfileGavel``."""

    def table(self) -> Any:
        """Its ``frame`` has columns model, gpu, gpus, setting, metric and value."""
        ...


@dataclass(frozen=True)
class Throughputs(Perf):
    """A job runs as fast as its model was measured to, with its gang on that GPU type.

    Run times of jobs refer to the type ``reference``: on type g a job does throughput(g) / throughput(reference)
    reference seconds of work per second. A throughput of zero means that it does not run there (Gavel's tables say so
    of models that do not fit), and bars it from that type. A gang on more nodes than it needs takes the row that was
    measured so, where there is one, else ``spread_factor``; another size of an elastic job likewise, else ``scaling``.

    Args:
        profile: where the table comes from; its rows of metric ``throughput`` of a model alone on its GPUs count.
        reference: the GPU type on which the jobs' run times hold.
        missing: what a pair of model and GPU type that the table lacks comes to: ``error``, or ``speed``, which takes
            the relative speeds of the GPU types (``RELATIVE_SPEED`` and ``speed``).
    """

    profile: Profile | None = None
    reference: str = "V100"
    missing: str = "error"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.profile is None:
            raise InputError("perf.profile is not given, expected a source of throughputs, such as ProfileGavel")
        if self.missing not in MISSING:
            raise InputError(f"perf.missing is '{self.missing}'; {nearest(self.missing, list(MISSING))}")

    @cached_property
    def rates(self) -> Table:
        """The table, read once.

        Raises:
            InputError: it has no throughputs, or one that is no finite number >= 0.
        """
        assert self.profile is not None
        source = self.profile.table()
        frame: pd.DataFrame = source.frame
        rows = frame[(frame["metric"] == "throughput") & frame["setting"].isin(["alone", "spread, alone"])]
        if not len(rows):
            raise InputError(f"perf.profile: {source.source} has no throughputs of models alone on their GPUs")
        bad = ~(np.isfinite(rows["value"]) & (rows["value"] >= 0))
        if bad.any():
            row = rows[bad].iloc[0]
            raise InputError(
                f"{source.source}: the throughput of '{row['model']}' on {row['gpu']} is {row['value']}, expected >= 0"
            )
        spread = rows["setting"] == "spread, alone"
        keys = zip(rows["model"], rows["gpu"], rows["gpus"].astype(int), spread, strict=True)
        return dict(zip(keys, rows["value"].astype(float), strict=True))

    def speeds(self, fleet: Fleet, jobs: Jobs) -> TableSpeeds:
        """How fast these jobs run on this fleet.

        Raises:
            InputError: a model and gang without a throughput on the reference or, unless ``missing`` says what to take
                instead, on a GPU type of the fleet; or a GPU type without a relative speed.
        """
        return TableSpeeds(self, fleet, jobs)

    def content(self) -> dict[str, str]:
        """A hash of the table, in place of where it lies."""
        return {"profile": hashlib.sha256(repr(sorted(self.rates.items())).encode()).hexdigest()}

    def runnable(self, fleet: Fleet, jobs: Jobs) -> Jobs:
        """The jobs, each with the GPU types on which its throughput is not zero. Raises like :meth:`speeds`."""
        speeds = self.speeds(fleet, jobs)
        runs = np.array(speeds.iterations).reshape(-1, len(fleet.pools)) > 0
        if runs.all():
            return jobs
        types = list(dict.fromkeys(pool.gpu for pool in fleet.pools))
        where = [[pool.gpu for pool in fleet.pools].index(name) for name in types]
        names: dict[str, int] = {name: i for i, name in enumerate(jobs.gpu_types)}
        pairs, inverse = np.unique(np.stack([speeds.kind, jobs.gpu_type]), axis=1, return_inverse=True)
        codes = []
        for kind, asked in pairs.T.tolist():
            able = [name for name, p in zip(types, where, strict=True) if runs[kind, p]]
            wanted = jobs.gpu_types[asked].split("|") if asked >= 0 else types
            left = [name for name in able if name in wanted]
            if left == (types if asked < 0 else wanted):
                codes.append(asked)
            else:  # where none is left: the reference, on which it does run
                codes.append(names.setdefault("|".join(left) or self.reference, len(names)))
        column = np.array(codes, np.int32)[inverse.reshape(-1)]
        return replace(jobs, gpu_type=column, gpu_types=tuple(names)).checked("perf")


class TableSpeeds(Speeds):
    """Speeds by (model, gang size), the *kind* of a job.

    Attributes:
        kind: number of each job's kind, shape (jobs,).
        iterations: per kind its iterations per second on each pool, consolidated; 0: it does not run there.
    """

    alike = False

    def __init__(self, perf: Throughputs, fleet: Fleet, jobs: Jobs) -> None:
        super().__init__(perf, fleet, jobs)
        self._table = perf.rates
        self._types = [pool.gpu for pool in fleet.pools]
        kinds, self.kind = _kinds(jobs)
        self._kind_of = self.kind.data
        self._names = [(jobs.models[model] if model >= 0 else "", gpus) for model, gpus in kinds]
        self.iterations: list[list[float]] = []
        self._relative: list[list[float]] = []
        self._reference: list[float] = []
        for model, gpus in self._names:
            if not gpus:  # without GPUs it is in no table: CPUs are taken to be alike
                for column in (self.iterations, self._relative):
                    column.append([1.0] * len(self._types))
                self._reference.append(1.0)
                continue
            base = self._table.get((model, perf.reference, gpus, False), 0.0)
            if base <= 0 and (perf.missing == "error" or (model, perf.reference, gpus, False) in self._table):
                raise InputError(self._lacks(model, gpus, perf.reference, "and the jobs' run times refer to it"))
            found = []
            for gpu in self._types:
                rate = self._table.get((model, gpu, gpus, False))
                if rate is None and perf.missing == "error":
                    raise InputError(self._lacks(model, gpus, gpu, "perf.missing=speed takes relative speeds"))
                relative = perf.of_type(gpu) / perf.of_type(perf.reference)
                found.append((base or 1.0) * relative if rate is None else rate)
            self.iterations.append(found)
            self._reference.append(base or 1.0)
            self._relative.append([rate / (base or 1.0) for rate in found])

    def _lacks(self, model: str, gpus: int, gpu: str, hint: str) -> str:
        if not model:
            return f"perf: a job of {gpus} GPUs names no model, and throughputs are by model; {hint}"
        models = sorted({each for each, _, _, _ in self._table})
        if model not in models:
            return f"perf: no throughput of model '{model}'; {nearest(model, models)}; {hint}"
        return f"perf: no throughput of model '{model}' with {gpus} GPUs on {gpu}; {hint}"

    def rate(self, job: int, allocation: Allocation) -> float:
        """Reference seconds of work that a job does per second there."""
        p = self._pool_of[allocation[0][0]]
        kind = self._kind_of[job]
        held = gpus = self._gpus[job]
        if len(allocation) == 1:
            held = allocation[0][1].bit_count()
            spread = False
        else:
            held = sum(mask.bit_count() for _, mask, _ in allocation)
            spread = len(allocation) > -(-held // self._size[p])
        rate = self._relative[kind][p]
        if held == gpus and not spread:
            return rate
        model, gpu, base = self._names[kind][0], self._types[p], self._reference[kind]
        measured = self._table.get((model, gpu, held, spread))
        if measured is not None and measured > 0 and isfinite(measured):
            return measured / base
        if held != gpus:
            alone = self._table.get((model, gpu, held, False))
            rate = alone / base if alone else rate * (held / gpus) ** self._perf.scaling
        return rate * self._perf.spread_factor if spread else rate

    def relative(self, job: int, pool: int) -> float:
        """Reference seconds of work per second of a job's gang on a pool, on as few nodes as can be."""
        return self._relative[self._kind_of[job]][pool]

    def throughput(self, job: int, pool: int) -> float:
        """Iterations per second of a job's gang on a pool, on as few nodes as can be."""
        return self.iterations[self._kind_of[job]][pool]


def _kinds(jobs: Jobs) -> tuple[list[tuple[int, int]], np.ndarray[Any, np.dtype[np.int64]]]:
    """The distinct (model, gang size) of jobs, and which of them each job is."""
    pairs, inverse = np.unique(np.stack([jobs.model, jobs.gpus]), axis=1, return_inverse=True)
    return [(int(model), int(gpus)) for model, gpus in pairs.T], np.ascontiguousarray(inverse.reshape(-1), np.int64)
