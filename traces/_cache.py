"""Tables that have been read are kept as Parquet, keyed by the content of their files and the code that read them.

The folder is ``HCSIM_CACHE``, else the user's cache folder; ``HCSIM_CACHE=off`` turns it off. For each source as asked
for (class, parameters, paths, code) an entry in JSON says which files were read and which folders listed, with the
SHA-256 of their content; the table's file is named by all of that. A table stands for its source only while every one
of these files and folders hashes to the same, and entry and table have the checksums with which they were written.

Hashing 90 MB takes longer than reading the kept table, so a file is not hashed again while nothing the system says of
it has changed: device, inode, size, time of change of the content (``mtime``) and of the inode (``ctime``). Programs
can set back the former, not the latter, which every write moves. What was last changed less than two seconds before it
was read is hashed all the same: a write in the same tick of the clock would show no other time. Where ``ctime`` means
something else (Windows) files are always hashed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hcsim

if TYPE_CHECKING:
    import pandas as pd

    from hcsim.traces._table import Source, Table

#: Sources of which fewer bytes were read, unpacked, are read each time: a lookup would cost as much.
LEAST_BYTES = 1 << 18
#: So many bytes of a file are read at a time.
PIECE_BYTES = 1 << 20
#: A file changed less than this before it was read may change again unseen.
SETTLED_NS = 2_000_000_000
_NOT_IN_KEY = ("data_dir", "path", "limit", "attributes", "steps")


@dataclasses.dataclass
class Seen:
    """What a source has looked at: path -> SHA-256 of the content, and the state in which a file was found."""

    files: dict[str, tuple[str, list[int]]] = dataclasses.field(default_factory=dict)
    folders: dict[str, str] = dataclasses.field(default_factory=dict)
    unpacked_bytes: int = 0


_seen: ContextVar[Seen | None] = ContextVar("what was read", default=None)


class _Hashing(io.RawIOBase):
    """A file whose content is hashed as it is read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.state = _state(self._file.fileno())
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        size = self._file.readinto(buffer)
        if size:
            self.digest.update(memoryview(buffer)[:size])
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def noted(path: Path) -> Iterator[Any]:
    """A file opened for reading; what is made of it depends on its whole content."""
    seen = _seen.get()
    if seen is None:
        with io.BufferedReader(path.open("rb", buffering=0), PIECE_BYTES) as plain:
            yield plain
        return
    raw = _Hashing(path)
    with io.BufferedReader(raw, PIECE_BYTES) as reader:
        yield reader
        while reader.read(PIECE_BYTES):
            pass
        name, found = str(path.absolute()), (raw.digest.hexdigest(), raw.state)
        if seen.files.setdefault(name, found)[0] != found[0]:
            seen.files[name] = ("changed while it was read", raw.state)


class Counted:
    """A file, unpacked, of which it is noted how many bytes are read (by whatever thread)."""

    def __init__(self, file: Any) -> None:
        self._file, self._seen = file, _seen.get()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        piece: bytes = self._file.read(size)
        if self._seen is not None:
            self._seen.unpacked_bytes += len(piece)
        return piece


def note_folder(folder: Path) -> None:
    """A folder is listed: what is made of it depends on which files are there."""
    seen = _seen.get()
    if seen is not None:
        seen.folders[str(folder.absolute())] = _listing(folder)


def folder() -> Path | None:
    """Where tables are kept; None when they are not."""
    given = os.environ.get("HCSIM_CACHE", "")
    if given.lower() == "off":
        return None
    if given:
        return Path(given)
    import pooch

    return Path(pooch.os_cache("hcsim"))


def cached(source: Source) -> Table:
    """``source.read()``, or what it gave before for files of the same content."""
    where = folder()
    if where is None:
        return source.read()
    entry = where / f"{_key(source)}.json"
    table = _kept(entry)
    if table is None:
        seen = Seen()
        token = _seen.set(seen)
        try:
            table = source.read()
        finally:
            _seen.reset(token)
        if seen.unpacked_bytes >= LEAST_BYTES:
            _keep(entry, seen, _asked(source), table)
    return table


def _key(source: Source) -> str:
    """What was asked for, where, and the code that answers."""
    where = [str(Path(each).absolute()) if each else "" for each in (source.data_dir, source.path)]
    return _hash(f"{_asked(source)} {where}")


def _asked(source: Source) -> str:
    given = {f.name: getattr(source, f.name) for f in dataclasses.fields(source) if f.name not in _NOT_IN_KEY}
    cls = type(source)
    return f"{cls.__module__}.{cls.__qualname__} {sorted(given.items())} {_code()}"


@cache
def _code() -> str:
    """A hash of all code that a table may depend on, and the versions of the libraries that parse."""
    import pandas as pd
    import pyarrow as pa

    digest = hashlib.sha256(f"{np.__version__} {pd.__version__} {pa.__version__}".encode())
    here, package = Path(__file__).resolve().parent, Path(hcsim.__file__).resolve().parent
    for path in (*sorted(here.glob("*.py")), *sorted(package.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _listing(folder: Path) -> str:
    return _hash("\n".join(sorted(os.listdir(folder))))


def _state(file: int | str) -> list[int]:
    """What the system says of a file, and when it was asked."""
    stat = os.stat(file)
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, time.time_ns()]


def _unchanged(before: list[int], now: list[int]) -> bool:
    """Whether a file in the state ``now`` has the content that it had in the state ``before``, for certain."""
    settled = before[-1] - max(before[3:5]) >= SETTLED_NS
    return os.name == "posix" and settled and before[:-1] == now[:-1]


def _kept(entry: Path) -> Table | None:
    """The table of an entry, when all that it was read from is as it was."""
    from hcsim.traces._table import Dropped, Table

    try:
        known = json.loads(entry.read_text())
        if known.pop("crc32") != _checksum(known):
            return None
        again = False
        if any(_listing(Path(each)) != listing for each, listing in known["folders"].items()):
            return None
        for path, each in known["files"].items():
            state = _state(path)
            if not _unchanged(each[1], state):
                with open(path, "rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != each[0]:
                        return None
                each[1], again = state, True
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq

        raw = pa.memory_map(str(entry.with_name(known["table"]))).read_buffer()
        if zlib.crc32(raw) != known["table_crc32"]:
            return None
        # text as codes first: copied cell by cell, reading a log took an eighth longer
        schema = pq.read_schema(pa.BufferReader(raw))
        text = [field.name for field in schema if pa.types.is_large_string(field.type)]
        data = pq.read_table(pa.BufferReader(raw), read_dictionary=text)
        for name in text:
            place = data.schema.get_field_index(name)
            data = data.set_column(place, name, data[name].cast(pa.large_string()))
        if again:
            _write(entry, known)
        lists = {kind: pd.ArrowDtype(kind) for kind in data.schema.types if pa.types.is_list(kind)}
        frame = data.to_pandas(split_blocks=True, ignore_metadata=True, types_mapper=lists.get)
        for place, name, first in known["counted"]:
            frame.insert(place, name, np.arange(first, first + len(frame)))
        rows = frame.pop("row in file").to_numpy()
        dropped = tuple(Dropped(**each | {"rows": tuple(each["rows"])}) for each in known["dropped"])
        return Table(known["kind"], frame, known["source"], rows, dropped, tuple(known["notes"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or not whole: it is read again
        return None


def _keep(entry: Path, seen: Seen, asked: str, table: Table) -> None:
    """Write the table and then its entry, and remove the table that the entry named before. A folder that cannot be
    written is no reason to stop."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = table.frame.assign(**{"row in file": table.rows})
    counted = [(place, name, int(frame[name].iloc[0])) for place, name in enumerate(frame) if _counts(frame[name])]
    frame = frame.drop(columns=[name for _, name, _ in counted])  # such as ids: a third of a job log's table
    content = [sha for sha, _ in seen.files.values()] + list(seen.folders.values())
    known: dict[str, Any] = {
        "files": seen.files,
        "folders": seen.folders,
        "table": f"{_hash(f'{asked} {content}')}.parquet",
        "kind": table.kind,
        "source": table.source,
        "dropped": [dataclasses.asdict(each) for each in table.dropped],
        "notes": table.notes,
        "counted": counted,
    }
    partial = entry.with_name(f"{entry.stem}.{os.getpid()}.partial")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        data = pa.Table.from_pandas(frame, preserve_index=False)
        few = [field.name for field in data.schema if not pa.types.is_floating(field.type)]  # values: text, gangs
        pq.write_table(data, partial, compression="none", use_dictionary=few, write_statistics=False)
        known["table_crc32"] = zlib.crc32(partial.read_bytes())
        os.replace(partial, entry.with_name(known["table"]))
        before = _named(entry)
        _write(entry, known)
        if before and before != known["table"]:
            entry.with_name(before).unlink(missing_ok=True)
    except (OSError, pa.ArrowException):
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _counts(column: pd.Series) -> bool:
    """Whether a column of integers goes up by one from row to row."""
    values = column.to_numpy()
    return values.dtype == np.int64 and len(values) > 0 and bool((np.diff(values) == 1).all())


def _checksum(known: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(known, sort_keys=True).encode())


def _named(entry: Path) -> str:
    """The table that an entry names; empty where there is no entry, or none that can be read."""
    try:
        return str(json.loads(entry.read_text())["table"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _write(entry: Path, known: dict[str, Any]) -> None:
    partial = entry.with_name(f"{entry.stem}.{os.getpid()}.partial")
    partial.write_text(json.dumps(known | {"crc32": _checksum(known)}))
    os.replace(partial, entry)
