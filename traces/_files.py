"""Files as they are published, to columns: plain, gzip, xz or zstd; every defect named by file, row and column."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from hcsim.model import InputError, nearest
from hcsim.traces._cache import note

#: A row longer than this is not a row of any table that we know.
LONGEST_ROW_BYTES = 64 << 20
#: Defects that an exception keeps; all are counted.
MOST_DEFECTS = 1000


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong with a file. ``row`` counts lines from 1, the header included; 0: the file as a whole."""

    row: int
    column: str
    given: str
    expected: str

    def __str__(self) -> str:
        if not self.row:
            return f"{self.column} is {self.given}, expected {self.expected}"
        return f"row {self.row}: {self.column} is {self.given}, expected {self.expected}"


class Defective(InputError):
    """A file with defects: the message shows the first, ``defects`` holds up to :data:`MOST_DEFECTS` of ``count``."""

    def __init__(self, path: Path | str, defects: Sequence[Defect], count: int | None = None) -> None:
        self.defects = tuple(defects[:MOST_DEFECTS])
        self.count = len(defects) if count is None else count
        more = f" ({self.count - 1:,} more defects)" if self.count > 1 else ""
        super().__init__(f"{path}: {defects[0]}{more}")


def locate(name: str, data_dir: str, path: str, default: str) -> Path:
    """The file to read: ``path``, or ``default`` below the data folder, there perhaps compressed.

    Raises:
        InputError: neither is given, or there is no such file.
    """
    if not path and not data_dir:
        raise InputError(f"trace {name}: no data folder, set data_dir= or HCSIM_DATA, or trace.path=")
    found = Path(path) if path else Path(data_dir) / default
    if not path and not found.exists():
        packed = (found.with_name(found.name + suffix) for suffix in (".gz", ".xz"))
        found = next((each for each in packed if each.is_file()), found)
    if not found.is_file():
        raise InputError(
            f"{found}: cannot be read ({'is a folder' if found.is_dir() else 'No such file or directory'})"
        )
    return found


def stem(path: Path | str) -> str:
    """A file's name without its folder and all that follows the first dot."""
    return Path(path).name.partition(".")[0]


def read_bytes(path: Path) -> bytes:
    """A file's bytes, decompressed when its first bytes say gzip, xz or zstd, whatever its name.

    Raises:
        InputError: it cannot be read, is empty, or is cut short.
    """
    note(path)
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        elif raw[:6] == b"\xfd7zXZ\x00":
            raw = lzma.decompress(raw)
        elif raw[:4] == b"\x28\xb5\x2f\xfd":
            raw = pa.CompressedInputStream(pa.BufferReader(raw), "zstd").read()
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read ({why(error)})") from None
    if not raw[:256].strip() and not raw.strip():
        raise InputError(f"{path}: is empty")
    return raw


def why(error: Exception) -> str:
    """The reason of an error in a few words."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).strip().splitlines()[0][:160]


def read_csv(
    path: Path,
    columns: Mapping[str, pa.DataType],
    *,
    delimiter: str = ",",
    names: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    nullable: Sequence[str] = (),
    raw: bytes | None = None,
) -> pa.Table:
    """Columns of a delimited table, typed. Row k of the result is line k + 2 of the file (k + 1 without a header).

    Args:
        columns: what to read and as what (floats, integers, strings, timestamps); others are left.
        names: the columns' names where the file has no header.
        optional: columns that may be missing; they are then missing from the result.
        nullable: columns whose cells may be empty (null).
        raw: the bytes, when they have been read already.

    Raises:
        Defective: rows of another width, cells that are not what they should be, empty cells; all are listed.
        InputError: the file cannot be read, or lacks a column.
    """
    data = read_bytes(path) if raw is None else raw
    data = data[3:] if data[:3] == b"\xef\xbb\xbf" else data
    first = 1 if names else 2
    parse = pacsv.ParseOptions(delimiter=delimiter)
    read = pacsv.ReadOptions(column_names=names, block_size=_block(path, data))
    try:
        header = _header(path, data, delimiter) if names is None else list(names)
        wanted = _wanted(path, columns, header, optional)
        convert = pacsv.ConvertOptions(
            column_types=dict(wanted), include_columns=list(wanted), strings_can_be_null=True, null_values=[""]
        )
        table = pacsv.read_csv(io.BytesIO(data), read, parse, convert)
    except pa.ArrowInvalid as error:
        raise _found(path, data, wanted, delimiter, names, first, nullable, error) from None
    empty = [name for name in wanted if name not in nullable and table.column(name).null_count]
    if empty:
        raise _empty(path, table, empty, first)
    if not table.num_rows:
        raise InputError(f"{path}: no rows below the header")
    return table


def read_parquet(path: Path, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Columns of a Parquet file, as these types.

    Raises:
        InputError: it is no Parquet file, lacks a column, or holds another type that does not convert.
    """
    import pyarrow.parquet as pq

    note(path)
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a Parquet table ({why(error)})") from None
    for name in columns:
        if name not in table.column_names:
            raise InputError(f"{path}: column '{name}' is missing; {nearest(name, table.column_names)}")
    try:
        return table.select(list(columns)).cast(pa.schema(list(columns.items())), safe=False)
    except pa.ArrowException as error:
        raise InputError(f"{path}: holds other types of columns ({why(error)})") from None


def seconds(path: Path, column: Any, rows: Any) -> Any:
    """Times written as ISO 8601 as seconds since 1970, shape (rows,); without a zone they are taken as UTC.

    Args:
        column: a pandas series of text.
        rows: the line of each.

    Raises:
        Defective: a cell is no time.
    """
    import pandas as pd

    when = pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce")
    bad = np.flatnonzero(when.isna().to_numpy())
    if len(bad):
        shown = [
            Defect(int(rows[i]), str(column.name), _shown(str(column.iloc[i]).encode()), "a time")
            for i in bad[:MOST_DEFECTS]
        ]
        raise Defective(path, shown, len(bad))
    return when.dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64) / 1e3


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        InputError: it cannot be read, or is not JSON; the message names the line.
    """
    data = read_bytes(path)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({why(error)})") from None


def read_json_lines(path: Path, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Columns of a file with one JSON object a line. Row k of the result is line k + 1.

    Raises:
        Defective, InputError: a line that is no object, a key that is missing somewhere, a value of another type.
    """
    import pyarrow.json as pajson

    data = read_bytes(path)
    schema = pa.schema(list(columns.items()))
    try:
        options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        table = pajson.read_json(io.BytesIO(data), pajson.ReadOptions(block_size=_block(path, data)), options)
    except pa.ArrowInvalid as error:
        if not data.lstrip().startswith(b"{"):
            raise InputError(f"{path}: row 1 is not a JSON object, expected one on each line") from None
        raise _bad_line(path, data, columns) or InputError(f"{path}: not JSON lines ({why(error)})") from None
    empty = [name for name in columns if table.column(name).null_count]
    if empty:
        raise _empty(path, table, empty, 1)
    return table


def _bad_line(path: Path, data: bytes, columns: Mapping[str, pa.DataType]) -> Defective | None:
    """The lines that are not objects with these keys."""
    bad = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            record = json.loads(line)
            pa.Table.from_pylist([record], schema=pa.schema(list(columns.items())))
        except (ValueError, RecursionError, TypeError, AttributeError, pa.ArrowException) as error:
            bad.append(Defect(number, "the line", _shown(line), f"a JSON object ({why(error)})"))
    return Defective(path, bad) if bad else None


def _block(path: Path, data: bytes) -> int:
    """A block size that holds any row that may be one."""
    longest = data.find(b"\n")
    if len(data) > LONGEST_ROW_BYTES and (longest < 0 or longest > LONGEST_ROW_BYTES):
        raise Defective(path, [Defect(1, "the line", f"longer than {LONGEST_ROW_BYTES >> 20} MiB", "a row of a table")])
    return max(1 << 20, min(longest + 1, LONGEST_ROW_BYTES) * 2)


def _header(path: Path, data: bytes, delimiter: str) -> list[str]:
    begin = (
        len(data) - len(data[:4096].lstrip(b"\r\n") + data[4096:]) if data[:1] in b"\r\n" else 0
    )  # blank lines first
    ends = [end for end in (data.find(b"\n", begin), data.find(b"\r", begin)) if end >= 0]
    line = data[begin : min(ends, default=len(data))]
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: row 1 is not UTF-8 text, expected a header") from None
    import csv

    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error as error:
        raise InputError(f"{path}: row 1 is no header ({why(error)})") from None


def _wanted(
    path: Path, columns: Mapping[str, pa.DataType], header: list[str], optional: Sequence[str]
) -> dict[str, pa.DataType]:
    missing = [name for name in columns if name not in header and name not in optional]
    if missing:
        raise InputError(f"{path}: row 1: column '{missing[0]}' is missing; {nearest(missing[0], header)}")
    twice = [name for name in columns if header.count(name) > 1]
    if twice:
        raise InputError(f"{path}: row 1: column '{twice[0]}' is there twice")
    return {name: kind for name, kind in columns.items() if name in header}


def _found(
    path: Path,
    data: bytes,
    wanted: Mapping[str, pa.DataType],
    delimiter: str,
    names: Sequence[str] | None,
    first: int,
    nullable: Sequence[str],
    error: Exception,
) -> InputError:
    """All that is wrong with a table that could not be read as it should: it is read again as text, and looked at."""
    bad: list[Defect] = []

    def crooked(row: pacsv.InvalidRow) -> str:
        number = row.number if row.number is not None else 0
        given = f"{row.actual_columns} cells"
        bad.append(Defect(number, "the row", given, f"{row.expected_columns} cells"))
        return "skip"

    try:
        table = pacsv.read_csv(
            io.BytesIO(data),
            # as Latin-1, in which every byte is a character: what is no UTF-8 is looked for below
            pacsv.ReadOptions(column_names=names, block_size=_block(path, data), use_threads=False, encoding="latin1"),
            pacsv.ParseOptions(delimiter=delimiter, invalid_row_handler=crooked),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()), include_columns=list(wanted), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as again:
        return InputError(f"{path}: not a table of {len(wanted)} columns ({why(again)})")
    if bad:  # rows that follow a skipped one would be misnumbered: these first
        return Defective(path, bad)
    for name, kind in wanted.items():
        bad += _unreadable(table.column(name), name, kind, first, name in nullable)
    bad.sort(key=lambda defect: defect.row)
    return Defective(path, bad) if bad else InputError(f"{path}: {why(error)}")


def _unreadable(column: pa.ChunkedArray, name: str, kind: pa.DataType, first: int, nullable: bool) -> list[Defect]:
    cells = column.combine_chunks()
    expected = _EXPECTED.get(kind.id, str(kind)) if not pa.types.is_timestamp(kind) else "a time, YYYY-MM-DD HH:MM:SS"
    out = []
    for i in _suspects(cells, kind):
        cell = cells[i].as_py().encode("latin1")
        if cell == b"" and nullable:
            continue
        try:
            text = cell.decode()
            if pa.types.is_string(kind) or pa.types.is_large_string(kind):
                continue
            pc.cast(pa.array([text]), kind)
        except (UnicodeDecodeError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
            out.append(Defect(first + i, name, _shown(cell), expected))
    return out


def _suspects(cells: Any, kind: pa.DataType) -> list[int]:
    """Rows of the distinct cells that do not convert, found without a Python object per row."""
    encoded = pc.dictionary_encode(cells)
    wrong = []
    for k, cell in enumerate(encoded.dictionary.to_pylist()):
        try:
            text = cell.encode("latin1").decode()
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                pc.cast(pa.array([text]), kind)
        except (UnicodeDecodeError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
            wrong.append(k)
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    rows: list[int] = np.flatnonzero(np.isin(codes, wrong)).tolist()
    return rows


_EXPECTED = {
    pa.float64().id: "a number",
    pa.int64().id: "a whole number",
    pa.int32().id: "a whole number",
    pa.string().id: "UTF-8 text",
}


def _shown(cell: bytes) -> str:
    text = cell.decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return f"'{text if len(text) <= 40 else text[:37] + '...'}'"


def _empty(path: Path, table: pa.Table, names: Sequence[str], first: int) -> Defective:
    bad, count = [], 0
    for name in names:
        rows = np.flatnonzero(table.column(name).is_null().to_numpy(zero_copy_only=False))
        count += len(rows)
        bad += [Defect(first + int(i), name, "empty", "a value") for i in rows[:MOST_DEFECTS]]
    return Defective(path, sorted(bad, key=lambda defect: defect.row), count)
