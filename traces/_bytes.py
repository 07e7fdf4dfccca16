"""A file's bytes: plain, gzip, xz or zstd, by its first bytes; in pieces, and never more of them than make sense."""

from __future__ import annotations

import gzip
import io
import lzma
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from hcsim.model import InputError
from hcsim.traces._cache import PIECE_BYTES, Counted, noted
from hcsim.traces._defects import Defect, Defective, why

#: A row longer than this is not a row of any table that we know,
LONGEST_ROW_BYTES = 64 << 20
#: and a file that has no rows (JSON, an archive) is not larger when unpacked.
LARGEST_DOCUMENT_BYTES = 256 << 20
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)

_held: ContextVar[Mapping[Path, bytes]] = ContextVar("bytes in place of a file's")


@contextmanager
def holding(files: Mapping[Path, bytes]) -> Iterator[None]:
    """Inside, each path reads as its bytes: many sources can look at one file at the price of reading it once."""
    token = _held.set(files)
    try:
        yield
    finally:
        _held.reset(token)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file for reading, unpacked when its first bytes say gzip, xz or zstd, whatever its name.

    Raises:
        InputError: it cannot be read, or is cut short; also of what is read from it inside.
    """
    held = _held.get({})
    if path in held:
        yield io.BytesIO(held[path])
        return
    try:
        with noted(path) as file:
            first = file.peek(6)[:6]
            if first[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield Counted(unpacked)
            elif first == b"\xfd7zXZ\x00":
                with lzma.LZMAFile(file) as unpacked:
                    yield Counted(unpacked)
            elif first[:4] == b"\x28\xb5\x2f\xfd":
                import pyarrow as pa

                # not closed: it would close the file, which is not done with
                yield Counted(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"))
            else:
                yield Counted(file)
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read ({why(error)})") from None


def read_bytes(path: Path, rows: bool = False) -> bytes:
    """A file's bytes, unpacked.

    Args:
        rows: the file is a table of lines; else a document.

    Raises:
        InputError: it cannot be read, is empty or cut short, holds a row longer than :data:`LONGEST_ROW_BYTES`, or is a
            document larger than :data:`LARGEST_DOCUMENT_BYTES`.
    """
    pieces: list[bytes] = []
    with opened(path) as file:
        if rows:
            pieces.append(Lines(path, file).rest())
        else:
            while piece := file.read(LONGEST_ROW_BYTES // 4):
                pieces.append(piece)
                if sum(map(len, pieces)) > LARGEST_DOCUMENT_BYTES:
                    raise InputError(f"{path}: holds more than {LARGEST_DOCUMENT_BYTES >> 20} MiB, as no document does")
    raw = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if not raw[:256].strip() and not raw.strip():
        raise InputError(f"{path}: is empty")
    return raw


class Lines:
    """A file of lines on its way to a parser, looked at as it passes: how many lines there are (those that are empty at
    the end do not count), which is the last, and whether a byte is NUL.

    Args:
        begin: the byte with which every line must begin. Where one does not, the file ends for the parser, and ``odd``
            is set.

    Raises:
        Defective: when a line is longer than :data:`LONGEST_ROW_BYTES`; no more than that is read of it.
    """

    def __init__(self, path: Path, file: Any, begin: bytes = b"") -> None:
        self.odd, self._must = False, begin
        self.path, self.closed, self.nul, self.last = path, False, False, b""
        self._file, self._lock, self._kept = file, threading.Lock(), b""
        self._taken = self._ends = self._blank = 0  # first lines; line ends; those after the last other character
        self._since, self._last = 0, b""  # bytes since the last line end; the last byte
        self._any = self._begun = False  # any character that is no line end; any byte

    @property
    def lines(self) -> int:
        """How many lines have passed, without the empty ones at the end."""
        open_ = self._last not in (b"", b"\n", b"\r")
        return self._ends + open_ - max(0, self._blank - self._any)

    def first(self) -> bytes:
        """The first line without its end; it is taken out, and does not count."""
        while not (kept := _line_end(self._kept)) and len(self._kept) <= LONGEST_ROW_BYTES:
            if not self._fetch():
                break
        at, after = kept or (len(self._kept), len(self._kept))
        if at > LONGEST_ROW_BYTES:
            raise self._long(self._taken + 1)
        self._taken += 1
        line, self._kept = self._kept[:at], self._kept[after:]
        return line

    def ready(self) -> bool:
        """Whether there is anything to read still."""
        return bool(self._kept) or self._fetch()

    def rest(self) -> bytes:
        """All that is still to be read."""
        return b"".join(iter(lambda: self.read(LONGEST_ROW_BYTES // 4), b""))

    def _fetch(self) -> bool:
        """Have one more piece ready; a byte order mark is skipped."""
        piece = self._file.read(PIECE_BYTES)
        self._kept += piece if self._begun else piece.removeprefix(b"\xef\xbb\xbf")
        self._begun = True
        return bool(piece)

    def read(self, size: int) -> bytes:
        """The next bytes: at most ``size``, none at the end of the file or when this is closed."""
        with self._lock:  # a parser that gave up may still be reading ahead, in a thread of its own
            if self.closed:
                return b""
            kept, self._kept = self._kept[:size], self._kept[size:]
            piece: bytes = kept + self._file.read(size - len(kept)) if len(kept) < size else kept
            if self._must and self._oddly(piece):
                self.odd = self.closed = True
                return b""
            if piece:
                self._look(piece)
            return piece

    def close(self) -> None:
        """Nothing more is read."""
        with self._lock:
            self.closed = True

    def _oddly(self, piece: bytes) -> bool:
        """Whether a line in a piece begins with another byte than it must."""
        cells = np.frombuffer(self._last + piece, np.uint8)
        end = (cells == 10) | (cells == 13)
        begins = np.flatnonzero(~end[1:] & end[:-1]) + 1
        first = not self._last and len(cells) > 0 and not end[0] and cells[0] != self._must[0]
        return bool(first or (cells[begins] != self._must[0]).any())

    def _look(self, piece: bytes) -> None:
        ends = _count(piece, 10) - (self._last == b"\r" and piece[:1] == b"\n")
        at = piece.rfind(b"\n")
        if b"\r" in piece:
            ends += _count(piece, 13) - piece.count(b"\r\n")
            at = max(at, piece.rfind(b"\r"))
        text = piece.rstrip(b"\r\n")
        tail = len(piece) - len(text)
        if text:
            begin = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
            goes_on = begin == 0 and self._last not in (b"\n", b"\r")
            self.last = (self.last if goes_on else b"") + text[begin:]
        if tail == len(piece):
            self._blank += ends
        elif tail <= 1:
            self._blank = tail
        else:
            self._blank = len(piece[-tail:].replace(b"\r\n", b"\n"))
        self._ends += ends
        self._any = self._any or tail < len(piece)
        self._since = self._since + len(piece) if at < 0 else len(piece) - at - 1
        self._last = piece[-1:]
        self.nul = self.nul or b"\0" in piece
        if self._since > LONGEST_ROW_BYTES:
            raise self._long(self._taken + self._ends + 1)

    def _long(self, row: int) -> Defective:
        expected = "a row of a table"
        return Defective(self.path, [Defect(row, "the line", f"longer than {LONGEST_ROW_BYTES >> 20} MiB", expected)])

    # what pyarrow asks of a file
    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


def _line_end(data: bytes) -> tuple[int, int] | None:
    """Where the first line ends, and where the next begins."""
    ends = [at for at in (data.find(b"\n"), data.find(b"\r")) if at >= 0]
    if not ends:
        return None
    at = min(ends)
    if data[at : at + 1] == b"\r" and at + 1 == len(data):
        return None  # its \n may be still to come
    return at, at + 1 + (data[at : at + 2] == b"\r\n")


def _count(piece: bytes, byte: int, step: int = 1 << 18) -> int:
    """How often a byte is there; in steps that fit a core's cache."""
    cells = np.frombuffer(piece, np.uint8)
    return sum(int(np.count_nonzero(cells[i : i + step] == byte)) for i in range(0, len(cells), step))
