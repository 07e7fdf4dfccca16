"""Every defect of a source's files: rows that have one are left out, and the rest is read on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hcsim.model import InputError
from hcsim.traces._bytes import holding, opened, read_bytes
from hcsim.traces._catalog import HEAD_BYTES, is_lines
from hcsim.traces._files import MOST_DEFECTS, Defect, Defective
from hcsim.traces._table import Source, Table


@dataclass(frozen=True)
class Found:
    """What is wrong with a source.

    Args:
        table: what it gives; None if anything is wrong.
        defects: file and defect, in order, the first :data:`MOST_DEFECTS` of each step of reading.
        count: how many there are.
        unseen: what was not looked at because of them, in words.
    """

    table: Table | None
    defects: tuple[tuple[Path, Defect], ...] = ()
    count: int = 0
    unseen: str = ""


@dataclass(frozen=True)
class _Rest:
    """A file without some of its lines, and the number of each that is left."""

    data: bytes
    numbers: np.ndarray

    def without(self, rows: set[int]) -> _Rest:
        """The same without these lines, by their numbers in what is left."""
        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == 10)
        stays = np.ones(len(ends), bool)
        stays[[row - 1 for row in rows if row <= len(ends)]] = False
        begins = np.concatenate([[0], ends[:-1] + 1])
        cells = np.frombuffer(self.data, np.uint8)[np.repeat(stays, ends + 1 - begins)]
        return _Rest(cells.tobytes(), self.numbers[stays])


def validate(source: Source) -> Found:
    """Read a source, and where that finds defects, read it again without their rows until no more are found.

    Raises:
        InputError: it cannot be read at all.
    """
    found: list[tuple[Path, Defect]] = []
    count, rest = 0, dict[Path, _Rest]()
    while True:
        try:
            with holding({path: each.data for path, each in rest.items()}):
                table = source.read()
            return Found(None if found else table, _ordered(found), count, _seen(found))
        except Defective as error:
            file, defects = error.path, error.defects
            count += error.count
            numbers = rest[file].numbers if file in rest else None
            rows = {defect.row for defect in defects}
            known = [each if numbers is None else replace(each, row=int(numbers[each.row - 1])) for each in defects]
            found += [(file, each) for each in known]
            if error.count > len(defects):
                return Found(
                    None, _ordered(found), count, f"after {MOST_DEFECTS:,} of one sort the rest was not looked at"
                )
            if 0 in rows or source.running or not _is_table(file):
                return Found(None, _ordered(found), count, "what these leave unclear was not looked at")
            rest[file] = (rest[file] if file in rest else _whole(file)).without(rows)
        except InputError as error:
            if not found:
                raise
            left = sum(len(each.numbers) for each in rest.values())
            unseen = f"the rest was not looked at ({error})" if left > len(rest) else _seen(found)
            return Found(None, _ordered(found), count, unseen)


def _ordered(found: list[tuple[Path, Defect]]) -> tuple[tuple[Path, Defect], ...]:
    return tuple(sorted(found, key=lambda each: (str(each[0]), each[1].row)))


def _seen(found: list[tuple[Path, Defect]]) -> str:
    return "of a row with one defect, cells that are read later were not looked at" if found else ""


def _is_table(file: Path) -> bool:
    """Whether a file is one of lines that mean something each by itself."""
    if not file.is_file():
        return False
    with opened(file) as opened_:
        head = opened_.read(HEAD_BYTES)
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"[", b'"') or is_lines(head)


def _whole(file: Path) -> _Rest:
    data = read_bytes(file, rows=True).replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n") + b"\n"
    return _Rest(data, np.arange(1, data.count(b"\n") + 1))
