"""What is wrong with a table of lines: every defect by row and column, once it could not be read as it should."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from hcsim.model import InputError

#: Defects that an exception keeps; all are counted.
MOST_DEFECTS = 1000
#: Ranges of cells that are tried before the rest is judged more coarsely.
MOST_CASTS = 20_000
Lines = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


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
        self.path = Path(path)
        self.defects = tuple(defects[:MOST_DEFECTS])
        self.count = len(defects) if count is None else count
        more = f" ({self.count - 1:,} more defects)" if self.count > 1 else ""
        super().__init__(f"{path}: {defects[0]}{more}")


def refuse(path: Path | str, *found: tuple[Mask, Lines, str, Any, str]) -> None:
    """Raise what is wrong with the cells of some columns, if anything is.

    Args:
        found: which rows are bad, the line of each row, the column, its cells, and what was expected.

    Raises:
        Defective: all bad cells, in the order of their lines.
    """
    bad: list[Defect] = []
    for mask, lines, column, cells, expected in found:
        for i in np.flatnonzero(mask)[:MOST_DEFECTS]:
            cell = cells[i]
            given = shown(cell.encode("utf-8", "replace")) if isinstance(cell, str) else f"{cell:g}"
            bad.append(Defect(int(lines[i]), column, given, expected))
    if bad:
        bad.sort(key=lambda defect: defect.row)
        raise Defective(path, bad, sum(int(mask.sum()) for mask, *_ in found))


def why(error: Exception) -> str:
    """The reason of an error in a few words."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).strip().splitlines()[0][:160]


def shown(cell: bytes) -> str:
    """A cell as an error shows it: printable, quoted, and not long."""
    text = cell[:200].decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return f"'{text if len(text) <= 40 else text[:37] + '...'}'"


def defects(
    data: bytes,
    header: Sequence[str],
    wanted: Mapping[str, pa.DataType],
    delimiter: str,
    nullable: Sequence[str],
    numbers: Lines | int,
) -> tuple[list[Defect], int]:
    """The defects of a table's lines, in order (up to :data:`MOST_DEFECTS`), and how many there are.

    Args:
        data: the lines below the header.
        numbers: the number in the file of each line, or of the first.
    """
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n") + b"\n"
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10)
    begins = np.concatenate([[0], ends[:-1] + 1])
    if isinstance(numbers, int):
        numbers = np.arange(numbers, numbers + len(ends))
    expected = f"{len(header)} cells"
    quoted = _lines_with(data, 34, ends)
    wrong = (
        (ends == begins, "the row", "empty", expected),
        (_lines_with(data, 0, ends), "the line", "not all text: it holds a NUL byte", "text"),
        (_open(data, begins, ends, delimiter, quoted), "a quoted cell", "still open at the end of the line", "a quote"),
    )
    bad = np.zeros(len(ends), bool)
    out = []
    for mask, name, given, right in wrong:
        out += [Defect(int(numbers[i]), name, given, right) for i in np.flatnonzero(mask)[:MOST_DEFECTS]]
        bad |= mask
    width = _widths(data, begins, ends, delimiter, quoted & ~bad)
    crooked = np.flatnonzero((width != len(header)) & ~bad)
    out += [Defect(int(numbers[i]), "the row", f"{width[i]} cells", expected) for i in crooked[:MOST_DEFECTS]]
    bad[crooked] = True
    if bad.any():
        data = np.frombuffer(data, np.uint8)[np.repeat(~bad, ends + 1 - begins)].tobytes()
    cells, more = _cells(data, header, wanted, delimiter, nullable, numbers[~bad])
    out = sorted([*out, *cells], key=lambda defect: defect.row)
    return out[:MOST_DEFECTS], int(bad.sum()) + more


def _lines_with(data: bytes, byte: int, ends: Lines) -> Mask:
    mask = np.zeros(len(ends), bool)
    if bytes([byte]) in data:
        mask[np.searchsorted(ends, np.flatnonzero(np.frombuffer(data, np.uint8) == byte))] = True
    return mask


def _open(data: bytes, begins: Lines, ends: Lines, delimiter: str, quoted: Mask) -> Mask:
    """The lines at whose end a quoted cell is still open: a cell is quoted that begins with a quote, and in it two
    quotes stand for one."""
    mask = quoted.copy()
    for i in np.flatnonzero(quoted):
        mask[i] = left_open(data, delimiter, int(begins[i]), int(ends[i]))
    return mask


def left_open(line: bytes, delimiter: str, begin: int = 0, end: int = sys.maxsize) -> bool:
    """Whether a line ends within a quoted cell."""
    return _closed(delimiter).fullmatch(line, begin, end) is None


@cache
def _closed(delimiter: str) -> re.Pattern[bytes]:
    d = re.escape(delimiter.encode())
    cell = rb'(?:"(?:[^"]++|"")*+"[^%b]*+|[^"%b][^%b]*+|)' % (d, d, d)
    return re.compile(rb"%b(?:%b%b)*+" % (cell, d, cell))


def _widths(data: bytes, begins: Lines, ends: Lines, delimiter: str, quoted: Mask) -> Lines:
    """How many cells each line has; delimiters in quotes do not count."""
    marks = np.flatnonzero(np.frombuffer(data, np.uint8) == ord(delimiter))
    width = np.searchsorted(marks, ends) - np.searchsorted(marks, begins) + 1
    d = re.escape(delimiter.encode())
    cell = re.compile(rb'(?:^|(?<=%b))"(?:[^"]++|"")*+"' % d)
    for i in np.flatnonzero(quoted):
        width[i] = cell.sub(b"", data[begins[i] : ends[i]]).count(delimiter.encode()) + 1
    return width


def _cells(
    data: bytes,
    header: Sequence[str],
    wanted: Mapping[str, pa.DataType],
    delimiter: str,
    nullable: Sequence[str],
    numbers: Lines,
) -> tuple[list[Defect], int]:
    """Cells that are not what they should be, of lines that are all as wide as the header, and how many there are."""
    if not data:
        return [], 0
    longest = int(np.diff(np.flatnonzero(np.frombuffer(b"\n" + data, np.uint8) == 10)).max())
    read = pacsv.ReadOptions(column_names=header, block_size=max(1 << 20, longest * 2))
    # as bytes: what is no UTF-8 is looked for below
    convert = pacsv.ConvertOptions(column_types=dict.fromkeys(wanted, pa.binary()), include_columns=list(wanted))
    try:
        table = pacsv.read_csv(io.BytesIO(data), read, pacsv.ParseOptions(delimiter=delimiter), convert)
    except pa.ArrowInvalid:  # then it is said in pyarrow's words
        return [], 0
    out, count = [], 0
    for name, kind in wanted.items():
        cells = table.column(name).combine_chunks()
        rows = _unreadable(cells, kind, name in nullable)
        count += len(rows)
        for i in rows[:MOST_DEFECTS]:
            cell = cells[i].as_py()
            given, expected = (shown(cell), _expected(kind)) if cell else ("empty", "a value")
            out.append(Defect(int(numbers[i]), name, given, expected))
    return out, count


def _unreadable(cells: Any, kind: pa.DataType, nullable: bool) -> list[int]:
    """Rows of the cells that do not convert, found without a Python object per row: a range of distinct cells that
    does not convert is halved. What is left after :data:`MOST_CASTS` is held against Python's own idea of the kind."""
    if _converts(cells, kind, nullable):
        return []
    encoded = pc.dictionary_encode(cells)
    known = encoded.dictionary
    wrong: list[int] = []
    ranges, casts = [(0, len(known))], 0
    while ranges:
        begin, end = ranges.pop()
        casts += 1
        if casts > MOST_CASTS:
            left = known[begin:end].to_pylist()
            wrong += [i for i, cell in enumerate(left, begin) if not _parses(cell, kind, nullable)]
        elif begin == end or _converts(known[begin:end], kind, nullable):
            continue
        elif end - begin == 1:
            wrong.append(begin)
        else:
            middle = (begin + end) // 2
            ranges += [(middle, end), (begin, middle)]  # the earlier half is next
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    mask = np.zeros(len(known), bool)
    mask[wrong] = True
    rows: list[int] = np.flatnonzero(mask[codes]).tolist()
    return rows


def _parses(cell: bytes, kind: pa.DataType, nullable: bool) -> bool:
    try:
        text = cell.decode().strip(" \t")
        if not text:
            return nullable
        if pa.types.is_floating(kind):
            float(text)
        elif pa.types.is_integer(kind):
            return -(2**63) <= int(text) < 2**63
        elif not pa.types.is_string(kind):
            datetime.fromisoformat(cell.decode())
    except ValueError:
        return False
    return True


def _converts(cells: Any, kind: pa.DataType, nullable: bool) -> bool:
    try:
        text = pc.cast(cells, pa.string())
        empty = pc.equal(text, "")
        if pc.any(empty).as_py():
            if not nullable:
                return False
            text = pc.filter(text, pc.invert(empty))
        if not pa.types.is_string(kind):  # blanks around numbers are no defect, around times they are
            pc.cast(text if pa.types.is_temporal(kind) else pc.utf8_trim(text, " \t"), kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _expected(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "a time, YYYY-MM-DD HH:MM:SS"
    if pa.types.is_date(kind):
        return "a day, YYYY-MM-DD"
    if pa.types.is_floating(kind):
        return "a number"
    return "a whole number" if pa.types.is_integer(kind) else "UTF-8 text"
