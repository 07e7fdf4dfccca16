"""The log: append-only rows in typed columns, hashed as they are written, streamed to Parquet."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.events import NAMES, Row
from hcsim.model import InputError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: One event row as it is stored and hashed (33 bytes).
DTYPE = np.dtype(
    [("time_s", "<f8"), ("kind", "u1"), ("subject", "<i4"), ("node", "<i4"), ("value", "<f8"), ("detail", "<f8")]
)
_PACK = struct.Struct("<dBiidd").pack
CHUNK_ROWS = 1 << 12


class Log:
    """Event rows in the order in which they happened.

    ``rows`` is the open end: the control loop extends it with plain tuples and calls :meth:`flush` now and then. Whole
    chunks of CHUNK_ROWS are packed into :data:`DTYPE` arrays, fed to a running SHA-256 and, when ``path`` is given,
    appended to a Parquet file under a temporary name that :meth:`close` renames. The hash covers the event rows and
    nothing else, so it is the same wherever and however the log is kept.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.rows: list[Row] = []
        self._packed = bytearray()  # grows in place, so that the end of a long run does not hold its rows twice
        self._sha = hashlib.sha256()
        self._path = path
        self._writer: Any = None

    def __len__(self) -> int:
        return len(self._packed) // DTYPE.itemsize + len(self.rows)

    def flush(self, *, everything: bool = False) -> None:
        """Pack whole chunks of ``rows``; with ``everything`` the remainder as well."""
        rows = self.rows
        while len(rows) >= CHUNK_ROWS or (everything and rows):
            packed = b"".join([_PACK(*row) for row in rows[:CHUNK_ROWS]])  # the fastest way measured
            del rows[:CHUNK_ROWS]
            self._sha.update(packed)
            try:
                self._packed += packed
            except BufferError:  # an array that was handed out stays as it is
                self._packed = self._packed + packed
            if self._path is not None:
                self._write(np.frombuffer(packed, DTYPE))

    def close(self, meta: dict[str, Any] | None = None) -> None:
        """Pack what is left, finish the Parquet file and put it in its place.

        Args:
            meta: JSON-able facts stored in the file's schema metadata under ``hcsim``.
        """
        self.flush(everything=True)
        if self._path is not None:
            if self._writer is None:
                self._write(np.empty(0, DTYPE))
            self._writer.add_key_value_metadata({"hcsim": json.dumps(meta or {}), "sha256": self.sha256})
            self._writer.close()
            self._writer = None
            os.replace(self._partial, self._path)

    def write(self, path: Path, meta: dict[str, Any] | None = None) -> None:
        """Write a log that was kept in memory to a Parquet file."""
        copy = Log(path)
        rows = self.array()
        copy._sha.update(rows.tobytes())
        copy._write(rows)
        copy.close(meta)

    def discard(self) -> None:
        """Drop a half-written file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._partial.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """Hex digest over all rows. Packs what is open."""
        self.flush(everything=True)
        return self._sha.hexdigest()

    def array(self) -> npt.NDArray[Any]:
        """All rows as one structured array of :data:`DTYPE`; what is logged later is not in it."""
        self.flush(everything=True)
        return np.frombuffer(self._packed, DTYPE)

    def frame(self) -> pd.DataFrame:
        """All rows as a pandas frame, kinds by name."""
        import pandas as pd

        rows = self.array()
        frame = pd.DataFrame({name: rows[name] for name in rows.dtype.names or ()})
        frame["kind"] = frame["kind"].map(NAMES)
        return frame

    @property
    def _partial(self) -> Path:
        assert self._path is not None
        return self._path.with_name(self._path.name + ".partial")

    def _write(self, chunk: npt.NDArray[Any]) -> None:
        import pyarrow.parquet as pq

        table = _table(chunk)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._partial, table.schema, compression="zstd")
        self._writer.write_table(table)

    @staticmethod
    def read(path: str | Path) -> Log:
        """A log from its Parquet file.

        Raises:
            InputError: the file is missing, is not a log, or its rows do not have the hash it was closed with.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path}: not a readable log ({str(error).splitlines()[0]})") from None
        missing = [name for name in DTYPE.names or () if name not in table.column_names]
        if missing:
            raise InputError(f"{path}: not a log, column '{missing[0]}' is missing")
        chunk = np.empty(table.num_rows, DTYPE)
        for name in DTYPE.names or ():
            chunk[name] = table.column(name).to_numpy()
        log = Log()
        log._packed += chunk.tobytes()
        log._sha.update(log._packed)
        stored = (pq.read_schema(path).metadata or {}).get(b"sha256")
        stored = stored or (pq.ParquetFile(path).metadata.metadata or {}).get(b"sha256")
        if stored is not None and stored.decode() != log.sha256:
            raise InputError(f"{path}: rows hash to {log.sha256[:12]}, the file was closed with {stored.decode()[:12]}")
        return log


def _table(chunk: npt.NDArray[Any]) -> pa.Table:
    import pyarrow as pa

    return pa.table({name: np.ascontiguousarray(chunk[name]) for name in DTYPE.names or ()})
