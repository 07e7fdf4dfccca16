"""What exists before anything happens: the fleet (:mod:`hcsim.fleet`) and the work, as frozen data.

Units are suffixes: ``_s`` seconds, ``_usd`` US dollars, ``_bytes`` bytes. Every column of :class:`Jobs` has one row per
job; row ``j`` is job ``j`` everywhere in hcsim (``Jobs.id`` keeps the trace's own name for it).
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.errors import InputError, nearest, require
from hcsim.fleet import MARKETS, Fleet, Link, MarketKind, NodePool, Site

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Columns = dict[str, npt.NDArray[Any]]

#: Column name -> (dtype, value where a trace does not say).
JOB_COLUMNS: dict[str, tuple[type, float]] = {
    "arrival_s": (np.float64, math.nan),
    "duration_s": (np.float64, math.nan),
    "gpus": (np.int32, 1),
    "gpu_milli": (np.int32, 1000),
    "gpu_memory_bytes": (np.float64, 0.0),
    "cpus": (np.float64, 0.0),
    "ram_bytes": (np.float64, 0.0),
    "tenant": (np.int32, 0),
    "gpu_type": (np.int32, -1),
    "residency": (np.int32, -1),
    "dataset_site": (np.int32, -1),
    "dataset_bytes": (np.float64, 0.0),
    "dataset": (np.int32, -1),
    "checkpoint_bytes": (np.float64, 0.0),
    "checkpoint_interval_s": (np.float64, math.inf),
    "checkpoint_s": (np.float64, 0.0),
    "checkpoint_stall_s": (np.float64, 0.0),
    "restart_s": (np.float64, 0.0),
    "deadline_s": (np.float64, math.inf),
    "priority": (np.int32, 0),
    "user_estimate_s": (np.float64, math.nan),
    "min_gpus": (np.int32, 0),
    "max_gpus": (np.int32, 0),
    "model": (np.int32, -1),
}

#: Columns that hold codes -> the table of names that they are codes into.
NAME_TABLES = {
    "tenant": "tenants",
    "gpu_type": "gpu_types",
    "residency": "residencies",
    "dataset_site": "dataset_sites",
    "model": "models",
}


#: The largest time, 30,000 years: beyond it seconds as float64 are no longer exact to a millisecond.
MOST_S = 1e12

_BYTES = (0.0, sys.float_info.max)
#: Column -> the least and the largest number that it may hold, here and in the schema of traces.
JOB_LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("arrival_s", "duration_s", "checkpoint_s", "checkpoint_stall_s", "restart_s"), (0.0, MOST_S)),
    **dict.fromkeys(("gpu_memory_bytes", "dataset_bytes", "checkpoint_bytes", "cpus", "ram_bytes"), _BYTES),
    "user_estimate_s": (0.0, MOST_S),
    "gpus": (1, np.iinfo(np.int32).max),
    "gpu_milli": (1, 1000),
}


def _numbers(source: str, key: str, column: Any) -> npt.NDArray[Any]:
    """A column as an array of its own."""
    try:
        values = np.array(column)
        return values if values.dtype.kind in "biuf" else values.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{source}: column '{key}' holds something else than numbers") from None


def _wraps(values: npt.NDArray[Any], dtype: type) -> npt.NDArray[np.bool_]:
    """Which values a cast to that type of integer would change: fractions, NaN, and those beyond its range."""
    if np.can_cast(values.dtype, dtype):
        return np.zeros(len(values), bool)
    most = float(np.iinfo(dtype).max) + 1.0
    kept: npt.NDArray[np.bool_] = (np.floor(values) == values) & (values >= -most) & (values < most)
    return ~kept


def _check(full: Columns, names: dict[str, tuple[str, ...]], refuse: Callable[[Mask, str, str], None]) -> None:
    """Hold all columns of jobs against what they must be.

    Args:
        refuse: called with the rows that are not, their column and what was expected; raises if there are any.
    """
    n = len(full["id"])
    for key, (least, most) in JOB_LIMITS.items():
        said = f"a number from {least:g} to {most:g}" if most <= MOST_S else f"a finite number >= {least:g}"
        bad = ~((full[key] >= least) & (full[key] <= most))
        if key == "user_estimate_s":
            bad, said = bad & ~np.isnan(full[key]), f"{said} (NaN: none)"
        refuse(bad, key, f"at least {least}" if key == "gpus" else said)
    refuse(~(full["checkpoint_interval_s"] > 0), "checkpoint_interval_s", "> 0 (inf: never)")
    refuse(~(full["deadline_s"] > -math.inf), "deadline_s", "a number (inf: none)")
    refuse((full["gpu_milli"] < 1000) & (full["gpus"] > 1), "gpu_milli", "1000 for a gang of several GPUs")
    for key, table in NAME_TABLES.items():
        least = 0 if key == "tenant" else -1
        bad = (full[key] < least) | (full[key] >= len(names[table]))
        refuse(bad, key, f"a code into {table} {names[table]}" + (", or -1" if least else ""))
    elastic = full["max_gpus"] > full["min_gpus"]
    refuse((full["gpu_milli"] < 1000) & elastic, "gpu_milli", "1000 for an elastic job")
    refuse((full["min_gpus"] > full["gpus"]) | (full["max_gpus"] < full["gpus"]), "min_gpus", "min <= gpus <= max")
    unique, first = np.unique(full["id"], return_index=True)
    if len(unique) != n:
        again = np.ones(n, bool)
        again[first] = False
        refuse(again, "id", "an id that no other job has")
    shared = np.flatnonzero(full["dataset"] >= 0)
    _, first, same = np.unique(full["dataset"][shared], return_index=True, return_inverse=True)
    for key in ("dataset_site", "dataset_bytes", "residency") if len(shared) else ():
        differs = np.zeros(n, bool)
        differs[shared] = full[key][shared] != full[key][shared][first][same]
        refuse(differs, key, f"the {key} of the other jobs with that dataset")


def _sorted(full: Columns) -> Columns:
    """The columns by (arrival, id), not to be written to."""
    order = np.lexsort((full["id"], full["arrival_s"]))
    if not np.array_equal(order, np.arange(len(order))):
        full = {key: column[order] for key, column in full.items()}
    for column in full.values():
        column.setflags(write=False)
    return full


@dataclass(frozen=True)
class Jobs:
    """Training jobs as columns, sorted by arrival. Build with :meth:`build`, which fills defaults and validates.

    ``duration_s`` is the run time on the trace's own GPUs (speed 1.0 in :mod:`hcsim.perf`) with its requested gang of
    ``gpus``; it is the world's secret, and no strategy sees it. A gang of ``gpus`` devices starts at once or not at
    all; ``gpu_milli`` below 1000 asks for a share of one GPU. ``tenant``, ``gpu_type``, ``residency``,
    ``dataset_site`` and ``model`` (what is trained, such as ``resnet50``) are codes into the name tables below; -1
    means no restriction, no dataset, not known. A ``gpu_type``
    entry may name several types joined by ``|``, a ``residency`` entry several jurisdictions, a ``dataset_site`` entry
    the homes of its replicas. ``dataset`` numbers datasets that jobs have in common (-1: one of its own): they
    agree in its homes, its size and their residency, which binds it. Work is checkpointed every
    ``checkpoint_interval_s`` of work (inf: never), each time stopping for ``checkpoint_stall_s``;
    writing one takes ``checkpoint_s`` when a preemption asks for it, and resuming costs ``restart_s``. ``deadline_s``
    is absolute. ``user_estimate_s`` is what the user declared (NaN: nothing). ``min_gpus``/``max_gpus`` bound an
    elastic job (0: rigid, equal to ``gpus``). ``left_out`` says in words what the source holds and these columns do
    not.
    """

    id: npt.NDArray[np.int64]
    arrival_s: Floats
    duration_s: Floats
    gpus: npt.NDArray[np.int32]
    gpu_milli: npt.NDArray[np.int32]
    gpu_memory_bytes: Floats
    cpus: Floats
    ram_bytes: Floats
    tenant: npt.NDArray[np.int32]
    gpu_type: npt.NDArray[np.int32]
    residency: npt.NDArray[np.int32]
    dataset_site: npt.NDArray[np.int32]
    dataset_bytes: Floats
    dataset: npt.NDArray[np.int32]
    checkpoint_bytes: Floats
    checkpoint_interval_s: Floats
    checkpoint_s: Floats
    checkpoint_stall_s: Floats
    restart_s: Floats
    deadline_s: Floats
    priority: npt.NDArray[np.int32]
    user_estimate_s: Floats
    min_gpus: npt.NDArray[np.int32]
    max_gpus: npt.NDArray[np.int32]
    model: npt.NDArray[np.int32]
    tenants: tuple[str, ...] = ("default",)
    gpu_types: tuple[str, ...] = ()
    residencies: tuple[str, ...] = ()
    dataset_sites: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    source: str = field(default="jobs", compare=False)
    left_out: str = field(default="", compare=False)

    def __len__(self) -> int:
        return len(self.arrival_s)

    @staticmethod
    def build(source: str = "jobs", rows: Ints | None = None, **columns: Any) -> Jobs:
        """Jobs from columns of equal length; missing columns take the defaults of :data:`JOB_COLUMNS`.

        Args:
            source: what to call the data in errors, usually a file's path.
            rows: line number of each row in ``source``, for errors (default: row number from 1).
            columns: ``arrival_s`` and ``duration_s`` at least; ``id`` defaults to 0, 1, 2, ...; the tables
                of :data:`NAME_TABLES` are tuples of names.

        Rows are sorted by (arrival, id) when they are not already.

        Raises:
            InputError: a column is unknown, or a row holds NaN, a negative time or one above :data:`MOST_S`, a
                duplicate id, a gang size below one, or a number that its column cannot hold; the message names source,
                row and column.
        """
        names: dict[str, tuple[str, ...]] = {key: tuple(columns.pop(key, ())) for key in NAME_TABLES.values()}
        names["tenants"] = names["tenants"] or ("default",)
        for key in columns:
            if key != "id" and key not in JOB_COLUMNS:
                raise InputError(f"{source}: column '{key}' unknown; {nearest(key, list(JOB_COLUMNS))}")
        for key in ("arrival_s", "duration_s"):
            require(columns.get(key) is not None, f"{source}: column '{key}' is missing")
        given = {key: _numbers(source, key, column) for key, column in columns.items() if column is not None}
        n = given["arrival_s"].size
        for key, column in given.items():
            require(column.shape == (n,), f"{source}: column '{key}' has {column.shape} rows, expected ({n},)")
        line = np.arange(1, n + 1) if rows is None else rows
        full: dict[str, npt.NDArray[Any]] = {"id": np.arange(n)}

        def refuse(bad: npt.NDArray[np.bool_], key: str, expected: str) -> None:
            if bad.any():
                i = int(np.argmax(bad))
                value = given[key][i] if key in given else full[key][i]
                raise InputError(f"{source}: row {line[i]}: {key} is {value}, expected {expected}")

        for key, (dtype, default) in (("id", (np.int64, 0)), *JOB_COLUMNS.items()):
            if key in given:
                if dtype is not np.float64:
                    refuse(_wraps(given[key], dtype), key, f"a whole number up to {np.iinfo(dtype).max}")
                full[key] = given[key].astype(dtype)
            elif key != "id":
                full[key] = np.full(n, default, dtype)
        for key in ("min_gpus", "max_gpus"):
            refuse(full[key] < 0, key, "at least 0 (0: as gpus)")
            full[key] = np.where(full[key] > 0, full[key], full["gpus"]).astype(np.int32)
        _check(full, names, refuse)
        return Jobs(**_sorted(full), **names, source=source)  # type: ignore[arg-type]

    def checked(self, by: str) -> Jobs:
        """These jobs, sorted, once all that :meth:`build` holds its rows against holds of them too.

        Args:
            by: what made them, for errors, which name the job by its id.

        Raises:
            InputError: as :meth:`build`.
        """
        full = {key: np.asarray(getattr(self, key)) for key in ("id", *JOB_COLUMNS)}

        def refuse(bad: npt.NDArray[np.bool_], key: str, expected: str) -> None:
            if bad.any():
                i = int(np.argmax(bad))
                raise InputError(f"{by}: job {full['id'][i]}: {key} is {full[key][i]}, expected {expected}")

        for key, column in full.items():
            require(column.shape == self.id.shape, f"{by}: column '{key}' has {column.shape} rows, not {self.id.shape}")
        _check(full, {table: getattr(self, table) for table in NAME_TABLES.values()}, refuse)
        changed: dict[str, Any] = {**_sorted(full)}
        return dataclasses.replace(self, **changed)

    @cached_property
    def sha256(self) -> str:
        """A hash of all columns and name tables."""
        digest = hashlib.sha256()
        for key in ("id", *JOB_COLUMNS):
            digest.update(np.ascontiguousarray(getattr(self, key)).tobytes())
        digest.update(repr([getattr(self, table) for table in NAME_TABLES.values()]).encode())
        return digest.hexdigest()

    @property
    def named(self) -> dict[str, npt.NDArray[Any]]:
        """What the jobs ask for as columns, codes by their names (empty: none); GPUs as a gang of whole ones."""
        out: dict[str, npt.NDArray[Any]] = {key: getattr(self, key) for key in ("id", *JOB_COLUMNS)}
        for key, names in (
            ("tenant", self.tenants), ("gpu_type", self.gpu_types), ("residency", self.residencies),
            ("dataset_site", self.dataset_sites), ("model", self.models),
        ):  # fmt: skip
            out[key] = np.array([*names, ""], object)[out[key]]
        return out

    def take(self, rows: npt.NDArray[Any]) -> Jobs:
        """The jobs at ``rows`` (a mask or ascending row numbers), with their ids."""
        columns = {key: getattr(self, key)[rows] for key in ("id", *JOB_COLUMNS)}
        for column in columns.values():
            column.setflags(write=False)
        return dataclasses.replace(self, **columns)


__all__ = ["JOB_COLUMNS", "MARKETS", "Fleet", "InputError", "Jobs", "Link", "MarketKind", "NodePool", "Site", "nearest"]
