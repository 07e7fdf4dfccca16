"""Finished runs on disk: found, checked, and read as tidy frames when asked for."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.model import InputError, nearest
from hcsim.variants import named_variants

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TABLES = ("jobs", "timeline", "ledger")
#: What tells the runs of a frame apart.
KEYS = ("strategy", "seed", "window", "folder")
#: What a summary must have to be one, each of them with a number or nothing.
FIGURES = (
    *("jobs_submitted", "jobs_finished", "jobs_rejected", "jobs_unfinished", "jct_mean_s", "jct_p99_s"),
    *("queue_delay_mean_s", "cost_usd", "deadline_miss_rate", "gpu_utilization"),
)
IDENTITY = (
    *("seed", "strategy", "knowledge", "trace", "fleet", "executor", "executor_params", "perf", "fleet_sha256"),
    *("strategy_params", "estimator", "forecast_error", "strategy_sha256", "jobs_sha256", "finished_sha256"),
    *("code_sha256", "versions"),
)


@dataclass(frozen=True)
class Runs:
    """Finished runs on disk as tidy frames, read when asked for.

    Every frame has the columns ``strategy``, ``seed``, ``window`` (of the trace, empty for all of it) and ``folder``.
    ``left_out`` says which runs could not be read, and why.
    """

    folders: tuple[Path, ...]
    left_out: tuple[str, ...] = ()

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run: its summary, strategies named as by :func:`hcsim.variants.named_variants`."""
        import pandas as pd

        rows = []
        for folder in self.folders:
            window, source = _window(folder)
            summary = json.loads((folder / "summary.json").read_text())
            rows.append({"folder": str(folder), "window": window, "trace_source": source} | summary)
        frame = pd.DataFrame(rows)
        return frame.assign(strategy=named_variants(frame))

    def read(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """``jobs``, ``timeline`` or ``ledger`` of all runs, or some of its columns.

        Raises:
            InputError: there is no such table or column.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if name not in TABLES:
            raise InputError(f"runs have no table '{name}'; {nearest(name, TABLES)}")
        known = pq.read_schema(self.folders[0] / f"{name}.parquet").names
        for column in columns or ():
            if column not in known:
                raise InputError(f"{name} has no column '{column}'; {nearest(column, known)}")
        parts = []
        for row in self.runs[list(KEYS)].to_dict("records"):
            part = pq.read_table(Path(row["folder"]) / f"{name}.parquet", columns=columns and list(columns))
            part = part.replace_schema_metadata(None)
            for key in KEYS:
                part = part.append_column(key, pa.array([row[key]] * len(part)))
            parts.append(part)
        frame: pd.DataFrame = pa.concat_tables(parts, promote_options="permissive").to_pandas()
        return frame

    @cached_property
    def jobs(self) -> pd.DataFrame:
        """One row per (run, job)."""
        return self.read("jobs")

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """Occupancy over time of every run."""
        return self.read("timeline")

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """Line items of every run."""
        return self.read("ledger")

    def sql(self, query: str) -> pd.DataFrame:
        """The answer of DuckDB to a query over the tables ``runs``, ``jobs``, ``timeline`` and ``ledger``.

        The last three are read from Parquet as the query needs them, so that they may be larger than memory.

        Raises:
            InputError: DuckDB is not installed, or does not understand the query.
        """
        try:
            import duckdb
        except ImportError:
            raise InputError("sql needs DuckDB: pip install 'hcsim[notebooks]'") from None
        flat = self.runs.map(lambda each: json.dumps(each) if isinstance(each, (dict, list)) else each)
        with duckdb.connect() as db:
            db.register("runs", flat)
            for name in TABLES:
                files = ", ".join(_quoted(_literal(folder / f"{name}.parquet")) for folder in self.folders)
                keys = ", ".join(f"r.{key}" for key in KEYS)
                db.execute(
                    f"create view {name} as select {keys}, t.* exclude (filename) from read_parquet([{files}],"
                    " filename = true, union_by_name = true, hive_partitioning = false) t"
                    f" join runs r on t.filename = r.folder || '/{name}.parquet'"
                )
            try:
                frame: pd.DataFrame = db.sql(query).df()
            except duckdb.Error as error:
                raise InputError(f"sql: {str(error).splitlines()[0]}") from None
        return frame


def _literal(path: Path) -> str:
    """A path as a pattern that matches it alone: folders of sweeps hold brackets."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def load(*folders: str | Path) -> Runs:
    """The finished runs below some folders (those with a ``summary.json``), in order of their paths.

    Warns of each that cannot be read; it is left out.

    Raises:
        InputError: there is none.
    """
    runs = read_runs(folders)
    for line in runs.left_out:
        warnings.warn(f"left out: {line}", stacklevel=2)
    return runs


def read_runs(folders: Sequence[str | Path]) -> Runs:
    """Finished runs below some folders; what was left out and why is in ``left_out``.

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
    return Runs(tuple(dict.fromkeys(good)), tuple(dict.fromkeys(left_out)))


def _readable(path: Path) -> None:
    """Raise ValueError or OSError for what is not a run's summary beside its tables, each read to its end."""
    import pyarrow.parquet as pq

    summary = json.loads(path.read_text())
    if not isinstance(summary, dict):
        raise ValueError(f"a {type(summary).__name__}, expected a run's summary")
    for key in (*FIGURES, *IDENTITY):
        if key not in summary:
            raise ValueError(f"no key '{key}'")
    for key in FIGURES:
        value = summary[key]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"{key} is {value!r}, expected a number")
    tables: dict[str, pa.Table] = {}
    for name in TABLES:
        table = path.with_name(f"{name}.parquet")
        try:
            tables[name] = pq.read_table(table)
        except (OSError, ValueError) as error:
            why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            raise ValueError(f"{table.name} {why}") from None
    _agrees(summary, tables["jobs"])


def _agrees(summary: dict[str, Any], jobs: pa.Table) -> None:
    """Raise ValueError where a summary is not of these jobs: Parquet has no checksum that would tell of changed bytes.

    Args:
        jobs: the run's ``jobs.parquet``.
    """
    for column in ("id", "status", "arrival_s", "jct_s", "queue_delay_s"):
        if column not in jobs.column_names:
            raise ValueError(f"jobs.parquet has no column '{column}'")
    done = jobs.column("status").to_numpy() == "finished"
    mean = float(jobs.column("jct_s").to_numpy()[done].mean()) if done.any() else None
    for key, found in (("jobs_finished", int(done.sum())), ("jct_mean_s", mean)):
        said = summary[key]
        same = said == found if None in (said, found) else math.isclose(said, found or 0.0, rel_tol=1e-9)
        if not same:
            raise ValueError(f"jobs.parquet is of another run or damaged: {key} is {found}, summary.json has {said}")


def _window(folder: Path) -> tuple[str, dict[str, Any]]:
    """The window of the trace that a run played, and the trace without it; both empty where it played all of it."""
    try:
        text = (folder / "config.yaml").read_text()
    except OSError:
        return "", {}
    if "window" not in text:
        return "", {}
    import yaml

    try:
        trace: dict[str, Any] = yaml.safe_load(text)["trace"]
        steps = trace.get("steps") or []
        windows = [step["window"] or {} for step in steps if "window" in step]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        return "", {}
    if not windows:
        return "", {}
    source = trace | {"steps": [step if "window" not in step else "window" for step in steps]}
    ends = [f"{float(w.get('start_s', 0)):g} to {float(w.get('end_s', math.inf)):g} s" for w in windows]
    return ", ".join(ends), source


@dataclass(frozen=True)
class Cut:
    """How much of a run's beginning (warm-up) or end (cool-down) does not count: a share of its jobs, or seconds."""

    share: float = 0.0
    seconds: float = 0.0

    @staticmethod
    def parse(text: str, name: str) -> Cut:
        """``10%`` of the jobs by arrival, or those that arrive within ``3600``, ``3600s``, ``1h`` or ``2d``.

        Raises:
            InputError: it is neither; the message names the option.
        """
        found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(%|s|h|d|)", text.strip())
        if not found:
            raise InputError(f"{name} is '{text}', expected a share of the jobs (10%) or a time (3600s, 1h, 2d)")
        value, unit = float(found.group(1)), found.group(2)
        if unit == "%":
            return Cut(share=value / 100.0)
        return Cut(seconds=value * {"": 1.0, "s": 1.0, "h": 3600.0, "d": 86400.0}[unit])

    def __str__(self) -> str:
        return f"{100 * self.share:g} %" if self.share else f"{self.seconds:g} s"

    def __bool__(self) -> bool:
        return bool(self.share or self.seconds)


def counted(arrival_s: npt.NDArray[np.float64], warm_up: Cut, cool_down: Cut) -> tuple[Any, Any]:
    """Which jobs are before the cool-down, and which of them count, shape (jobs,) each.

    A share is of the jobs in order of arrival, rounded down; seconds are after the first arrival or before the last.
    """
    n = len(arrival_s)
    place = np.empty(n, np.int64)
    place[np.argsort(arrival_s, kind="stable")] = np.arange(n)
    begin, end = (arrival_s.min(), arrival_s.max()) if n else (0.0, 0.0)
    warm = place >= math.floor(warm_up.share * n + 1e-9)
    warm &= arrival_s >= begin + warm_up.seconds
    early = place < n - math.floor(cool_down.share * n + 1e-9)
    early &= arrival_s <= end - cool_down.seconds
    return early, warm & early


def figures_of(folder: str | Path, warm_up: Cut, cool_down: Cut) -> dict[str, Any]:
    """JCT and queue delay of a run over the jobs that count, as :func:`hcsim.metrics.summarize` has them of all.

    ``jobs_counted`` is how many count. ``finished_sha256`` is equal where two runs finished the same of the jobs that
    arrived before the cool-down, those of the warm-up included, and rejected the same of all: who turns a job away, or
    starves one to the end, serves the others faster, whichever of them are counted.

    Raises:
        InputError: no job is left.
    """
    import hashlib

    import pyarrow.parquet as pq

    table = pq.read_table(
        Path(folder) / "jobs.parquet", columns=["id", "arrival_s", "status", "jct_s", "queue_delay_s"]
    )
    ids, arrival_s, status, jct_s, delay_s = (table.column(i).to_numpy() for i in range(5))
    early, mine = counted(arrival_s, warm_up, cool_down)
    if not mine.any():
        raise InputError(f"{folder}: of {len(ids):,} jobs none is left after the warm-up and before the cool-down")
    done = status == "finished"
    jct, delay = jct_s[mine & done], delay_s[mine & ~np.isnan(delay_s)]
    sets = [np.sort(ids[early & done]), np.sort(ids[status == "rejected"])]
    return {
        "jobs_counted": int(mine.sum()),
        "finished_sha256": hashlib.sha256(b"|".join(each.tobytes() for each in sets)).hexdigest(),
        "jct_mean_s": float(jct.mean()) if len(jct) else None,
        "jct_p50_s": float(np.quantile(jct, 0.5)) if len(jct) else None,
        "jct_p99_s": float(np.quantile(jct, 0.99)) if len(jct) else None,
        "queue_delay_mean_s": float(delay.mean()) if len(delay) else None,
        "queue_delay_p99_s": float(np.quantile(delay, 0.99)) if len(delay) else None,
    }
