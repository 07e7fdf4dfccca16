"""What a source gives: columns of its kind's schema, checked; what was left out is counted, never silent."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from hcsim.model import JOB_COLUMNS, NAME_TABLES, InputError, Jobs, nearest
from hcsim.traces._attributes import NOTHING_ADDED, Attributes, over
from hcsim.traces._cache import cached
from hcsim.traces._files import MOST_DEFECTS, Defect, Defective, locate
from hcsim.traces._schemas import schema
from hcsim.traces._transform import changed, steps

if TYPE_CHECKING:
    import pandas as pd


#: How the note begins that says the clock time at which times are 0.
STARTS = "times count from "
MOST_DATE_S = 1e11  # the year 5138


def starts(first_s: float) -> tuple[str, ...]:
    """The note of a table whose times count from this one, in seconds since 1970; wall clock where the log says no
    zone. None of a time that is no date."""
    return (f"{STARTS}{np.datetime64(int(first_s), 's')}",) if abs(first_s) < MOST_DATE_S else ()


#: So many of the rows that are left out are listed.
MOST_ROWS = 20


@dataclass(frozen=True)
class Dropped:
    """Rows of a source that its table does not hold, and why. ``row`` is the first of them in the file, ``rows`` the
    first :data:`MOST_ROWS` where they are known."""

    reason: str
    count: int
    row: int
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Table:
    """Columns of one kind (see :mod:`hcsim.traces._schemas`).

    Args:
        frame: conforms to the schema of ``kind``.
        source: the file or files, for messages.
        rows: line of each row in its file, for messages.
        dropped: what was left out.
        notes: what else a reader should know, such as values that were converted; a sentence each.
    """

    kind: str
    frame: pd.DataFrame
    source: str
    rows: npt.NDArray[np.int64]
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def told(self) -> str:
        """What was left out and the notes, in words; empty when there is nothing to say."""
        left = [f"{each.count:,} rows left out: {each.reason} (first: row {each.row})" for each in self.dropped]
        return "; ".join([*left, *(note for note in self.notes if not note.startswith(STARTS))])

    @property
    def start_s(self) -> float | None:
        """The clock time, as seconds since 1970, at which this table's times are 0; None where it is not known."""
        found = next((note.removeprefix(STARTS) for note in self.notes if note.startswith(STARTS)), None)
        return None if found is None else float(np.datetime64(found, "s").astype(np.int64))


def checked(
    kind: str,
    columns: dict[str, Any],
    source: str,
    rows: npt.NDArray[np.int64] | None = None,
    dropped: tuple[Dropped, ...] = (),
    notes: tuple[str, ...] = (),
) -> Table:
    """A table of columns that conform to the schema of its kind.

    Args:
        columns: arrays of equal length; those whose value is None are left out.
        rows: line of each row in its file (default: from 2, below a header).

    Raises:
        Defective: cells that break the schema; all are listed with their rows.
    """
    import pandas as pd
    from pandera.errors import SchemaErrors

    frame = pd.DataFrame({name: column for name, column in columns.items() if column is not None}, copy=False)
    line = np.arange(2, len(frame) + 2) if rows is None else rows
    for name, column in schema(kind).columns.items():
        if name in frame and str(column.dtype) in ("float64", "int64") and str(frame[name].dtype) != str(column.dtype):
            if str(column.dtype) == "int64":
                _whole(frame, name, source, line)
            frame[name] = frame[name].astype(str(column.dtype))
    try:
        schema(kind).validate(frame, lazy=True, inplace=True)  # nothing is coerced, so nothing is copied
    except SchemaErrors as error:
        raise _defective(error.failure_cases, frame, source, line) from None
    return Table(kind, frame, source, line, dropped, notes)


def _whole(frame: pd.DataFrame, name: str, source: str, line: npt.NDArray[np.int64]) -> None:
    """Refuse what an integer does not hold."""
    given = frame[name].to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~(np.abs(given) < 2**53) | (given != np.floor(given)))
    if len(bad):
        found = [Defect(int(line[i]), name, f"{given[i]:g}", "a whole number") for i in bad[:MOST_DEFECTS]]
        raise Defective(source, found, len(bad))


def _defective(cases: pd.DataFrame, frame: pd.DataFrame, source: str, line: npt.NDArray[np.int64]) -> Defective:
    bad = []
    said = cases[["schema_context", "column", "check", "failure_case", "index"]]
    for context, column, check, cell, index in said.itertuples(index=False):
        row, given = 0, cell
        if context == "DataFrameSchema" and ": " in str(check):  # of several columns: said once, of the first
            mine, _, check = check.partition(": ")
            if mine != column:
                continue
        if (
            index is not None and index == index
        ):  # the cases hold all columns' cells as one type: look up the cell itself
            row, given = int(line[int(index)]), frame[column].iloc[int(index)]
        expected = {"not_nullable": "a value"}.get(str(check), str(check))
        bad.append(Defect(row, str(column or cell), str(given), expected))
    bad.sort(key=lambda defect: defect.row)
    return Defective(source, bad[:MOST_DEFECTS], len(bad))


def by_value(column: Any, name: Callable[[Any], Any], kind: Any = None) -> Any:
    """A column of pyarrow, each distinct value replaced by what ``name`` makes of it; a pandas series.

    Args:
        kind: pyarrow's type of the result (default: text).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = pc.dictionary_encode(column, null_encoding="encode")
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    values = pa.array([name(value) for value in encoded.dictionary.to_pylist()], kind or pa.string())
    return values.take(encoded.indices).to_pandas()


def written(column: pd.Series, form: str) -> pd.Series:
    """Numbers in words, text even where there are none."""
    words: pd.Series = column.map(form.format).astype("str")
    return words


def kept(table: Any, keep: npt.NDArray[np.bool_]) -> Any:
    """The rows of a table of pyarrow that a mask keeps."""
    import pyarrow as pa

    return table if keep.all() else table.filter(pa.array(keep))


def left_out(keep: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64], reason: str) -> tuple[Dropped, ...]:
    """What a mask leaves out, as an entry for ``Table.dropped`` (none when it keeps all)."""
    gone = np.flatnonzero(~keep)
    first = tuple(map(int, rows[gone[:MOST_ROWS]]))
    return (Dropped(reason, len(gone), first[0], first),) if len(gone) else ()


class Unsaid(InputError):
    """A parameter that neither the caller nor a file given by ``path`` says; ``example`` is a value it may have."""

    def __init__(self, path: str, name: str, example: Any, hint: str) -> None:
        self.name, self.example = name, example
        expected = f"expected {name}={hint or f'..., as {name}={example}'}"
        super().__init__(f"{path}: trace.{name} is not given, and the file does not say it; {expected}")


@dataclass(frozen=True)
class Source:
    """A trace as it is published. Subclasses are frozen dataclasses and define :meth:`read`.

    Args:
        data_dir: the folder of data, which holds the source's file at its usual place.
        path: the file itself, instead.
    """

    kind: ClassVar[str]
    #: Whether a row says what changed since an earlier one: without that, it says something else.
    running: ClassVar[bool] = False

    data_dir: str = ""
    path: str = ""

    def __init_subclass__(cls) -> None:
        if "read" in vars(cls):  # what comes of infinities and overflows is not finite, and the schema says so
            cls.read = np.errstate(over="ignore", invalid="ignore")(cls.read)  # type: ignore[method-assign]

    def read(self) -> Table:
        """The source's rows as columns of its kind.

        Raises:
            Defective, InputError: the file is missing or not what it should be; named by file, row and column.
        """
        raise NotImplementedError

    def table(self) -> Table:
        """What :meth:`read` gives, kept as Parquet for the next time (see :mod:`hcsim.traces._cache`)."""
        return cached(self)

    def said(self, name: str, default: Any, found: Any = None, among: Collection[Any] = (), hint: str = "") -> Any:
        """What a parameter is that the rows themselves do not tell, so that no file is taken for another.

        It is as given; of the file in the data folder, ``default``; of a file given by ``path``, what its name or
        content says.

        Args:
            found: what the file says (None or empty: nothing).
            among: what it may be of files in the data folder; of one's own files it may be anything.
            hint: what it may be, and why that matters, for the error.

        Raises:
            Unsaid: nothing says it.
            InputError: it is not among those in the data folder.
        """
        given = getattr(self, name)
        if not given and self.path and not found:
            raise Unsaid(self.path, name, default, hint)
        value = given or (found if self.path else default)
        if not self.path and among and value not in among:
            known = nearest(value, list(among)) if isinstance(value, str) else f"known: {', '.join(map(str, among))}"
            raise InputError(f"trace.{name}: no {name} '{value}'; {known}")
        self.answers.setdefault(name, {})[value] = None
        return value

    @property
    def answers(self) -> dict[str, dict[Any, None]]:
        """What :meth:`said` has answered so far: parameter -> its values, each once."""
        answers: dict[str, dict[Any, None]] = self.__dict__.setdefault("_answers", {})
        return answers

    def file(self, default: str) -> Path:
        """``path``, or ``default`` below the data folder; InputError when neither is there."""
        return locate(type(self).__module__.rpartition(".")[2], self.data_dir, self.path, default)


@dataclass(frozen=True)
class JobSource(Source):
    """A source of jobs, as ``trace=`` of an experiment.

    Args:
        limit: only the first so many jobs by submission (0: all).
        attributes: what the log does not say; checkpoints every 30 minutes by default.
        steps: changes to the jobs, see :mod:`hcsim.traces._transform`.
    """

    kind = "jobs"

    limit: int = 0
    attributes: Attributes = NOTHING_ADDED
    steps: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", over(NOTHING_ADDED, self.attributes))
        object.__setattr__(self, "steps", steps(self.steps))
        if self.limit < 0:
            raise InputError(f"trace.limit is {self.limit}, expected 0 (all) or more")

    @property
    def device(self) -> str:
        """What a job's gang counts: GPUs, or what a log without them has."""
        return "GPU"

    def jobs(self, seed: int) -> Jobs:
        """The jobs. ``seed`` draws the attributes; the log's own columns do not depend on it.

        Raises:
            Defective, InputError: as :meth:`read`.
        """
        return changed(to_jobs(self.table(), self.attributes, seed), self.steps, seed)

    def table(self) -> Table:
        """What :meth:`read` gives of the first ``limit`` jobs."""
        table = super().table()
        if self.limit and table.kind != self.kind:
            raise InputError(f"trace.limit is of jobs, and {table.source} holds {table.kind}")
        if not 0 < self.limit < len(table):
            return table
        first = np.sort(_submitted(table)[: self.limit])
        return replace(table, frame=table.frame.iloc[first].reset_index(drop=True), rows=table.rows[first])


def _submitted(table: Table) -> npt.NDArray[np.int64]:
    """The rows in the order of their submission."""
    return np.lexsort((table.frame["id"].to_numpy(), table.frame["arrival_s"].to_numpy()))


def to_jobs(table: Table, attributes: Attributes, seed: int) -> Jobs:
    """Jobs of a table, sorted by submission; what the table does not say is drawn. Text becomes codes."""
    frame = table.frame
    order = _submitted(table)

    def column(name: str) -> npt.NDArray[Any]:
        return frame[name].to_numpy()[order]

    arrival_s, duration_s, gpus = column("arrival_s"), column("duration_s"), column("gpus")
    given = attributes.columns(seed, np.arange(len(gpus)), arrival_s, duration_s, gpus)
    for name in ("gpu_milli", "cpus", "ram_bytes", "gpu_memory_bytes"):
        if name in frame:
            given[name] = column(name)
    if "deadline_s" in frame:
        given["deadline_s"] = np.where(np.isnan(column("deadline_s")), np.inf, column("deadline_s"))
    if "user_estimate_s" in frame:
        given["user_estimate_s"] = column("user_estimate_s")
    for name, key in (("tenant", "tenants"), ("gpu_type", "gpu_types"), ("model", "models")):
        if name in frame:
            names, codes = np.unique(column(name).astype(str), return_inverse=True)
            if name != "tenant" and len(names) and names[0] == "":
                names, codes = names[1:], codes - 1  # no type asked for: any; no model known
            given |= {name: codes.astype(np.int32), key: tuple(names.tolist())}
    jobs = Jobs.build(
        source=table.source,
        rows=table.rows[order],
        id=column("id"),
        arrival_s=arrival_s,
        duration_s=duration_s,
        gpus=gpus,
        **given,
    )
    return replace(jobs, left_out=f"{table.source}: {table.told}" if table.told else "")


def of_jobs(jobs: Jobs) -> Table:
    """Jobs as a table of their kind, codes as text; the inverse of :func:`to_jobs`. Columns that say nothing of any job
    are left out, and so is what is of no log: residency, datasets, checkpoints, priorities, least and most GPUs."""
    columns: dict[str, Any] = {name: getattr(jobs, name) for name in ("id", "arrival_s", "duration_s", "gpus")}
    for name in ("gpu_milli", "cpus", "ram_bytes", "gpu_memory_bytes", "user_estimate_s"):
        values, default = getattr(jobs, name), JOB_COLUMNS[name][1]
        if not np.array_equal(values, np.full(len(jobs), default), equal_nan=True):
            columns[name] = values
    for name in ("tenant", "gpu_type", "model"):
        names, codes = np.array([*getattr(jobs, NAME_TABLES[name]), ""]), getattr(jobs, name)
        if (codes >= 0).any() and set(names[:-1]) != {"default"}:
            columns[name] = names[codes]  # -1 is the last
    if np.isfinite(jobs.deadline_s).any():
        columns["deadline_s"] = np.where(np.isfinite(jobs.deadline_s), jobs.deadline_s, np.nan)
    return checked("jobs", columns, jobs.source, np.arange(1, len(jobs) + 1))
