"""A table in hcsim's own columns, Parquet or CSV, as `hcsim traces convert` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hcsim.model import InputError, Jobs, nearest
from hcsim.traces._bytes import opened, read_bytes
from hcsim.traces._files import MOST_DEFECTS, Defect, Defective, header, read_csv, read_parquet, why
from hcsim.traces._schemas import KINDS, schema
from hcsim.traces._table import JobSource, Table, checked

LISTS = pa.list_(pa.int64())
#: Of the schemas' columns; text by any name of it.
_TYPES = {"float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_(), "None": LISTS}


@dataclass(frozen=True)
class TableFile(JobSource):
    """The columns of one kind of :mod:`hcsim.traces._schemas`, by their names and in their units; jobs can be replayed.

    In CSV an empty cell is a missing number or an empty text, and a list is JSON (``"[1, 2]"``). What a table of jobs
    does not say is drawn, as of any log. The file is given by ``path``.

    Args:
        holds: the kind of the table; its columns tell it if it is not given.
    """

    holds: str = ""

    def jobs(self, seed: int) -> Jobs:
        """The jobs.

        Raises:
            Defective, InputError: as :meth:`read`; a table of another kind.
        """
        kind = self.table().kind
        if kind != "jobs":
            raise InputError(f"{self.path}: a table of {kind}, expected one of jobs")
        return super().jobs(seed)

    def read(self) -> Table:
        """The rows in the file's order."""
        if not self.path:
            raise InputError("trace table: no file, set trace.path= to one in Parquet or CSV")
        path = self.file("")
        with opened(path) as file:
            parquet = file.read(4) == b"PAR1"
        types = _parquet_types(path) if parquet else dict.fromkeys(header(path))
        kind = self.holds or _kind(path, list(types))
        if kind not in KINDS:
            raise InputError(f"trace.holds: no kind '{kind}'; {nearest(kind, KINDS)}")
        known = schema(kind).columns
        if strange := [name for name in types if name not in known]:
            raise InputError(
                f"{path}: row 1: column '{strange[0]}' is none of {kind}; {nearest(strange[0], list(known))}"
            )
        names = [*types, *(name for name, column in known.items() if column.required and name not in types)]
        wanted = {name: _TYPES.get(str(known[name].dtype), pa.string()) for name in names}
        if parquet:  # numbers stay as they are until it is seen that they are what they should be
            numbers = [name for name in types if _number(wanted[name]) and _number(types[name])]
            given = read_parquet(path, wanted | {name: types[name] for name in numbers})
        else:
            empty = [name for name, each in wanted.items() if each == pa.string() or known[name].nullable]
            given = read_csv(
                path, {name: pa.string() if each == LISTS else each for name, each in wanted.items()}, nullable=empty
            )
        rows = np.arange(1, given.num_rows + 1) if parquet else np.arange(2, given.num_rows + 2)
        columns = {name: _column(path, name, given[name], each, rows) for name, each in wanted.items()}
        return checked(kind, columns, str(path), rows)


def _kind(path: Path, names: Sequence[str]) -> str:
    """The kind that has these columns: all that it needs, and no other."""
    needs = {kind: {name for name, column in schema(kind).columns.items() if column.required} for kind in KINDS}
    for kind in KINDS:
        if needs[kind] <= set(names) <= set(schema(kind).columns):
            return kind
    near = max(KINDS, key=lambda kind: len(needs[kind] & set(names)) / len(needs[kind]))
    lacks = sorted(needs[near] - set(names))
    strange = [name for name in names if name not in schema(near).columns]
    problem = f"lacks column '{lacks[0]}'" if lacks else f"has column '{strange[0]}'"
    raise InputError(f"{path}: row 1: not the columns of any kind; as a table of {near} it {problem}")


def _parquet_types(path: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    try:
        found = pq.read_schema(pa.BufferReader(read_bytes(path)))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a Parquet table ({why(error)})") from None
    return {field.name: field.type for field in found}


def _number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _column(path: Path, name: str, column: Any, kind: pa.DataType, rows: Any) -> Any:
    """A column as pandas has it: empty texts for missing ones, lists of whole numbers."""
    if kind == LISTS:
        if column.type != LISTS:
            column = _lists(path, name, column, rows)
        if column.null_count or pc.list_flatten(column).null_count:
            raise InputError(f"{path}: {name} has missing values, expected a list in each row and numbers in it")
        return pd.Series(column, dtype=pd.ArrowDtype(LISTS))
    if kind == pa.string():
        return pc.fill_null(column, "").to_pandas()
    return column.to_pandas()


def _lists(path: Path, name: str, column: Any, rows: Any) -> Any:
    """Lists written as JSON."""
    import pyarrow.json as pajson

    bad = np.flatnonzero(~pc.match_substring_regex(column, r"^\[\s*(\d+(\s*,\s*\d+)*)?\s*\]$").to_numpy(False))
    if len(bad):
        found = [Defect(int(rows[i]), name, f"'{column[int(i)]}'", "a list as [1, 2]") for i in bad[:MOST_DEFECTS]]
        raise Defective(path, found, len(bad))
    lines = pc.binary_join_element_wise('{"x":', column, "}", "").to_pylist()
    options = pajson.ParseOptions(explicit_schema=pa.schema([("x", LISTS)]))
    raw = "\n".join(lines).encode()
    try:
        return pajson.read_json(pa.BufferReader(raw), pajson.ReadOptions(block_size=len(raw) + 1), options)["x"]
    except pa.ArrowException as error:
        raise InputError(f"{path}: {name} holds other than lists of whole numbers ({why(error)})") from None
