"""Files as they are published, to columns; every defect named by file, row and column."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from hcsim.model import InputError, nearest
from hcsim.traces._bytes import LONGEST_ROW_BYTES, Lines, opened, read_bytes
from hcsim.traces._cache import PIECE_BYTES, note_folder
from hcsim.traces._defects import MOST_DEFECTS, Defect, Defective, defects, left_open, refuse, shown, why

__all__ = (
    "MOST_DEFECTS", "Defect", "Defective", "IsFolder", "Lacking", "header", "listed", "locate", "read_bytes",
    "read_csv", "read_json", "read_json_lines", "read_parquet", "refuse", "seconds", "stem", "why",
)  # fmt: skip


class IsFolder(InputError):
    """A source that reads one file was given a folder."""


class Lacking(InputError):
    """A table whose header lacks ``missing``, of the columns ``wanted``; ``header`` is what it has."""

    def __init__(self, path: Path, missing: Sequence[str], wanted: Sequence[str], header: Sequence[str]) -> None:
        self.missing, self.wanted, self.header = missing, wanted, header
        said = f"column '{missing[0]}' is missing; {nearest(missing[0], list(header))}"
        super().__init__(f"{path}: row 1: {said}")


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
    if found.is_dir():
        raise IsFolder(f"{found}: cannot be read (is a folder)")
    if not found.is_file():
        raise InputError(f"{found}: cannot be read (No such file or directory)")
    return found


def stem(path: Path | str) -> str:
    """A file's name without its folder and all that follows the first dot."""
    return Path(path).name.partition(".")[0]


def listed(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder whose names match, sorted; that there are no others becomes part of what was read."""
    note_folder(folder)
    return sorted(folder.glob(pattern))


def read_csv(
    path: Path,
    columns: Mapping[str, pa.DataType | None],
    *,
    delimiter: str = ",",
    names: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    nullable: Sequence[str] = (),
    raw: bytes | None = None,
    through: Callable[[Any], Squeezed] | None = None,
) -> pa.Table:
    """Columns of a delimited table, typed. Row k of the result is line k + 2 of the file (k + 1 without a header).

    A row is a line: an empty line is a defect (but at the end of the file), and so is a quote that is not closed on
    its line, so that none goes missing.

    Args:
        columns: what to read and as what (floats, integers, strings, times), None for what must be there but is not
            read; other columns are left.
        names: the columns' names where the file has no header.
        optional: columns that may be missing; they are then missing from the result.
        nullable: columns whose cells may be empty (null).
        raw: the bytes, when they have been read already.
        through: what the file passes through first; it then numbers the rows.

    Raises:
        Defective: rows of another width, cells that are not what they should be, empty cells, lines that are no text;
            all are listed.
        InputError: the file cannot be read, or lacks a column.
    """
    block = PIECE_BYTES
    while True:
        with _source(path, raw) as file, closing(Lines(path, through(file) if through else file)) as lines:
            cells = list(names) if names else _header(path, lines.first(), delimiter)
            wanted = _wanted(path, columns, cells, optional)
            if not lines.ready():
                raise InputError(f"{path}: no rows{'' if names else ' below the header'}")
            read = pacsv.ReadOptions(column_names=cells, block_size=block)
            convert = pacsv.ConvertOptions(
                column_types=wanted, include_columns=list(wanted), strings_can_be_null=True, null_values=[""]
            )
            try:
                table, error = pacsv.read_csv(lines, read, pacsv.ParseOptions(delimiter=delimiter), convert), None
            except pa.ArrowInvalid as problem:
                table, error = None, problem
        if block > PIECE_BYTES or "straddl" not in str(error):
            break
        block = 2 * LONGEST_ROW_BYTES
    if not lines.lines and not lines.nul:
        raise InputError(f"{path}: no rows{'' if names else ' below the header'}")
    empty = [] if table is None else [name for name in wanted if name not in nullable and table[name].null_count]
    odd = lines.nul or (b'"' in lines.last and left_open(lines.last, delimiter))  # the end of the file closes a quote
    if table is None or empty or odd or table.num_rows != lines.lines:
        with _source(path, raw) as file:
            squeezed = through(file) if through else None
            lines = Lines(path, squeezed or file)
            if not names:
                lines.first()
            below = lines.rest()
            numbers = squeezed.numbers() if squeezed else 1 if names else 2
        found, count = defects(below, cells, wanted, delimiter, nullable, numbers)
        if found:
            raise Defective(path, found, count)
        raise InputError(f"{path}: not a table of {len(cells)} columns ({why(error) if error else 'rows are lost'})")
    return table


def header(path: Path, delimiter: str = ",") -> list[str]:
    """The names in a table's first line.

    Raises:
        InputError: the file cannot be read, or its first line is no text.
    """
    with opened(path) as file:
        return _header(path, Lines(path, file).first(), delimiter)


class Squeezed:
    """A file of columns between any number of blanks on its way to a parser: one blank stays, lines that are empty or
    begin with ``comment`` go."""

    def __init__(self, file: Any, comment: str = ";") -> None:
        self._file, self._comment = file, ord(comment)
        self._kept, self._ready = b"", b""  # part of a line; what is still to be given
        self._seen, self._numbers = 0, [np.zeros(0, np.int64)]

    def numbers(self) -> npt.NDArray[np.int64]:
        """The number in the file of each line that stayed."""
        return np.concatenate(self._numbers)

    def read(self, size: int) -> bytes:
        """At most so many of the next bytes; none at the end."""
        while not self._ready:
            piece = self._file.read(size)
            text = self._kept + piece
            end = (text.rfind(b"\n") + 1 or text.rfind(b"\r", 0, -1) + 1) if piece else len(text)
            self._kept = text[end:]
            if len(self._kept) > LONGEST_ROW_BYTES:
                self._ready, self._kept = self._kept, b""  # whoever reads it says so
            elif end:
                self._ready = self._squeezed(text[:end])
            elif not piece:
                return b""
        given, self._ready = self._ready[:size], self._ready[size:]
        return given

    def _squeezed(self, text: bytes) -> bytes:
        """Whole lines, squeezed."""
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        text = text.replace(b"\t", b" ") if b"\t" in text else text
        text = text if text.endswith(b"\n") else text.rstrip(b" ") + b"\n"
        text = text if self._seen else text.removeprefix(b"\xef\xbb\xbf")
        cells = np.frombuffer(text, np.uint8)
        blank, end = cells == 32, cells == 10
        again = blank.copy()
        again[1:] &= blank[:-1] | end[:-1]
        if again.any():
            text = cells[~again].tobytes()
        if b" \n" in text:
            text = text.replace(b" \n", b"\n")
        cells = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(cells == 10)
        begins = np.concatenate([[0], ends[:-1] + 1])
        stays = (cells[begins] != 10) & (cells[begins] != self._comment)
        self._numbers.append(self._seen + 1 + np.flatnonzero(stays))
        self._seen += len(ends)
        return text if stays.all() else cells[np.repeat(stays, ends + 1 - begins)].tobytes()


def _source(path: Path, raw: bytes | None) -> AbstractContextManager[Any]:
    return opened(path) if raw is None else nullcontext(io.BytesIO(raw))


def _header(path: Path, line: bytes, delimiter: str) -> list[str]:
    """The names in a header line."""
    if not line.strip():
        raise InputError(f"{path}: row 1 is empty, expected a header")
    try:
        names = next(csv.reader([line.decode()], delimiter=delimiter), [])
    except UnicodeDecodeError:
        raise InputError(f"{path}: row 1 is not UTF-8 text, expected a header") from None
    except csv.Error as error:
        raise InputError(f"{path}: row 1 is no header ({why(error)})") from None
    return names


def _wanted(
    path: Path, columns: Mapping[str, pa.DataType | None], known: list[str], optional: Sequence[str]
) -> dict[str, pa.DataType]:
    missing = [name for name in columns if name not in known and name not in optional]
    if missing:
        raise Lacking(path, missing, [name for name in columns if name not in optional], known)
    twice = [name for name in columns if known.count(name) > 1]
    if twice:
        raise InputError(f"{path}: row 1: column '{twice[0]}' is there twice")
    return {name: kind for name, kind in columns.items() if name in known and kind is not None}


def read_parquet(path: Path, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Columns of a Parquet file, as these types.

    Raises:
        InputError: it is no Parquet file, lacks a column, or holds another type that does not convert.
    """
    import pyarrow.parquet as pq

    data = read_bytes(path)
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            known = nearest(missing[0], file.schema_arrow.names)
            raise InputError(f"{path}: column '{missing[0]}' is missing; {known}")
        table = file.read(list(columns))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a Parquet table ({why(error)})") from None
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
    refuse(path, (when.isna().to_numpy(), rows, str(column.name), column.astype(str).to_numpy(), "a time"))
    return when.dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64) / 1e3


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        InputError: it cannot be read, or is not JSON; the message names the line.
    """
    data = read_bytes(path)
    try:
        known = json.loads(data, parse_int=_integer)
        if b"\\u" in data:
            json.dumps(known, ensure_ascii=False).encode()  # half of a character is no text
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({why(error)})") from None
    return known


def _integer(text: str) -> int:
    """A whole number of JSON; ValueError for one that no column holds."""
    if len(text) > 20 or not -(2**63) <= (value := int(text)) < 2**63:
        raise ValueError(f"a whole number of {len(text)} digits")
    return value


def read_json_lines(path: Path, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Columns of a file with one JSON object a line. Row k of the result is line k + 1.

    Raises:
        Defective, InputError: a line that is no object, a key that is missing somewhere, a value of another type.
    """
    import pyarrow.json as pajson

    schema = pa.schema(list(columns.items()))
    options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    for block in (PIECE_BYTES, 2 * LONGEST_ROW_BYTES):
        # pyarrow 26 crashes where a block of lines begins with a null (apache/arrow#47409): none may begin so
        with opened(path) as file, closing(Lines(path, file, begin=b"{")) as lines:
            if not lines.ready():
                raise InputError(f"{path}: is empty")
            try:
                table, error = pajson.read_json(lines, pajson.ReadOptions(block_size=block), options), None
            except pa.ArrowInvalid as problem:
                table, error = None, problem
        if "straddl" not in str(error):
            break
    if not lines.lines and not lines.odd:
        raise InputError(f"{path}: is empty")
    if lines.odd or table is None or table.num_rows != lines.lines or any(_nulls(table[name]) for name in columns):
        raise _bad_lines(path, schema) or InputError(
            f"{path}: not JSON lines ({why(error) if error else 'rows are lost'})"
        )
    return table


def _nulls(column: pa.ChunkedArray) -> int:
    """How many cells, or entries of cells that are lists, are null."""
    inside = pc.list_flatten(column).null_count if pa.types.is_list(column.type) else 0
    return int(column.null_count + inside)


def _bad_lines(path: Path, schema: pa.Schema) -> InputError | None:
    """The lines that are not objects with these keys."""
    bad: list[Defect] = []
    for number, line in enumerate(read_bytes(path, rows=True).rstrip(b"\r\n").splitlines(), 1):
        if number == 1 and not line.lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
            return InputError(f"{path}: row 1 is {shown(line)}, expected a JSON object on each line")
        keys: list[str] = []

        def known(pairs: list[tuple[str, Any]], keys: list[str] = keys) -> dict[str, Any]:
            keys[:] = [key for key, _ in pairs]  # those of the outermost object come last
            return dict(pairs)

        try:
            record = json.loads(line, object_pairs_hook=known)
            if not line.removeprefix(b"\xef\xbb\xbf").startswith(b"{"):
                raise ValueError("it does not begin with one")
        except (ValueError, RecursionError) as error:
            bad.append(Defect(number, "the line", shown(line), f"a JSON object ({why(error)})"))
            continue
        if number == 1 and not set(record) & set(schema.names):
            missing = f"key '{schema.names[0]}' is missing; {nearest(schema.names[0], list(record))}"
            return InputError(f"{path}: row 1: {missing}")
        for name, kind in zip(schema.names, schema.types, strict=True):
            if keys.count(name) > 1:
                bad.append(Defect(number, name, f"there {keys.count(name)} times", "each key once"))
            elif record.get(name) is None or (isinstance(record[name], list) and None in record[name]):
                bad.append(Defect(number, name, "empty", "a value"))
            elif not _is(record[name], kind):
                given = shown(json.dumps(record[name]).encode())
                bad.append(Defect(number, name, given if isinstance(record[name], str) else given[1:-1], _said(kind)))
    return Defective(path, bad) if bad else None


def _is(value: Any, kind: pa.DataType) -> bool:
    """Whether a JSON value is one of this type."""
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(_is(each, kind.value_type) for each in value)
    if pa.types.is_integer(kind):
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    if pa.types.is_floating(kind):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, str) if pa.types.is_string(kind) else True


def _said(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"a list, each {_said(kind.value_type)}"
    return "a whole number" if pa.types.is_integer(kind) else "a number" if pa.types.is_floating(kind) else "text"
