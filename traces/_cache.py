"""Tables that have been read are kept as Parquet, keyed by the content of their files and the code that read them.

The folder is ``HCSIM_CACHE``, else the user's cache folder; ``HCSIM_CACHE=off`` turns it off. A file that has neither
another size nor another time of change than when its content was hashed is taken to be the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hcsim.traces._table import Source, Table

#: Sources smaller than this are read at once: a lookup would cost as much.
LEAST_BYTES = 1 << 20
_NOT_IN_KEY = ("data_dir", "path", "limit", "attributes", "steps")
_seen: ContextVar[list[Path] | None] = ContextVar("files read", default=None)


def note(path: Path) -> None:
    """A file is being read: what is made of it depends on its content."""
    seen = _seen.get()
    if seen is not None:
        seen.append(path)


@contextmanager
def _noting() -> Iterator[list[Path]]:
    files: list[Path] = []
    token = _seen.set(files)
    try:
        yield files
    finally:
        _seen.reset(token)


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
        with _noting() as files:
            table = source.read()
        if sum(path.stat().st_size for path in files) >= LEAST_BYTES:
            _keep(entry, files, table)
    return table


def _key(source: Source) -> str:
    """What was asked for and the code that answers; the files' content is in the entry."""
    given = {f.name: getattr(source, f.name) for f in dataclasses.fields(source) if f.name not in _NOT_IN_KEY}
    where = (
        str(Path(source.data_dir).resolve()) if source.data_dir else "",
        source.path and str(Path(source.path).resolve()),
    )
    module = type(source).__module__
    text = f"{module}.{type(source).__qualname__} {sorted(given.items())} {where} {_code(module)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def _code(module: str) -> str:
    """A hash of the loader's module and of what all loaders share."""
    digest = hashlib.sha256()
    own = sys.modules[module].__file__
    for path in (*([Path(own)] if own else []), *sorted(Path(__file__).parent.glob("_*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _kept(entry: Path) -> Table | None:
    from hcsim.traces._table import Dropped, Table

    try:
        known = json.loads(entry.read_text())
        if not all(_same(each) for each in known["files"]):
            return None
        import pandas as pd
        import pyarrow.parquet as pq

        data = pq.read_table(entry.with_suffix(".parquet"), memory_map=True)
        frame = data.to_pandas()
        rows = np.arange(2, len(frame) + 2) if "row in file" not in frame else frame.pop("row in file").to_numpy()
        assert isinstance(frame, pd.DataFrame)
        dropped = tuple(Dropped(**each) for each in known["dropped"])
        return Table(known["kind"], frame, known["source"], rows, dropped, tuple(known["notes"]))
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not whole: it is read again
        return None


def _same(known: dict[str, Any]) -> bool:
    path = Path(known["path"])
    stat = path.stat()
    if (stat.st_size, stat.st_mtime_ns) == (known["size"], known["mtime_ns"]):
        return True
    return bool(stat.st_size == known["size"] and _sha256(path) == known["sha256"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(entry: Path, files: list[Path], table: Table) -> None:
    """Write the table and then its entry, each under a temporary name first. A folder that cannot be written is no
    reason to stop."""
    known = [
        {"path": str(path.resolve()), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": _sha256(path)}
        for path in dict.fromkeys(files)
        for stat in [path.stat()]
    ]
    frame = table.frame
    if not np.array_equal(table.rows, np.arange(2, len(frame) + 2)):
        frame = frame.assign(**{"row in file": table.rows})
    text = {
        "files": known,
        "kind": table.kind,
        "source": table.source,
        "dropped": [dataclasses.asdict(each) for each in table.dropped],
        "notes": table.notes,
    }
    partial = entry.with_name(f"{entry.stem}.{os.getpid()}.partial")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(partial, index=False, compression=None)
        os.replace(partial, entry.with_suffix(".parquet"))
        partial.write_text(json.dumps(text))
        os.replace(partial, entry)
    except OSError:
        partial.unlink(missing_ok=True)
