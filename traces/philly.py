"""Microsoft's Philly log, as cleaned by the authors of Pollux (OSDI'21): 82,247 jobs, 2017-09-04 to 2017-12-22."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.model import InputError, Jobs, nearest
from hcsim.traces._attributes import NOTHING_ADDED, Attributes, over

FILE = "dl_jobs/philly_pollux/philly.csv.gz"
COLUMNS = ("timestamp", "duration", "num_gpus", "gpu_time", "cluster")


@dataclass(frozen=True)
class Philly:
    """The Philly log.

    The file is not sorted by time and holds 65 exact duplicates, which are kept (two submissions may well be equal);
    ids are row numbers from 0 in the file's own order. Times are local wall clock, counted here from the first
    submission. Tenants are the 15 virtual clusters. The log has no status, user or GPU type.

    Args:
        data_dir: folder that holds ``dl_jobs/philly_pollux/philly.csv.gz``.
        path: the file itself, instead (plain or gzip).
        limit: only the first so many jobs by submission (0: all).
        attributes: what the log does not say; checkpoints every 30 minutes by default.
    """

    data_dir: str = ""
    path: str = ""
    limit: int = 0
    attributes: Attributes = NOTHING_ADDED

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", over(NOTHING_ADDED, self.attributes))

    def jobs(self, seed: int) -> Jobs:
        """The jobs. ``seed`` draws the attributes; the log's own columns do not depend on it.

        Raises:
            InputError: file missing or unreadable, a column missing, or a bad value, named by file, line and column.
        """
        path = self._file()
        table = read_csv(path, COLUMNS[:3] + COLUMNS[4:])
        when = _times(path, table["timestamp"])
        duration = numbers(path, table["duration"], "duration")
        gpus = numbers(path, table["num_gpus"], "num_gpus")
        tenants, tenant = np.unique(table["cluster"].to_numpy(dtype=str), return_inverse=True)
        ids = np.arange(len(when))
        order = np.lexsort((ids, when))[: self.limit or None]
        arrival, duration, gang = when[order] - when[order[0]], duration[order], gpus[order].astype(np.int32)
        good = np.nan_to_num(np.maximum(duration, 0.0))
        return Jobs.build(
            source=str(path),
            rows=order + 2,
            id=ids[order],
            arrival_s=arrival,
            duration_s=duration,
            gpus=gang,
            tenant=tenant[order],
            tenants=tuple(tenants.tolist()),
            **self.attributes.columns(seed, arrival, good, gang),
        )

    def _file(self) -> Path:
        if self.path:
            return Path(self.path)
        if not self.data_dir:
            raise InputError("trace philly: no data folder, set data_dir= or HCSIM_DATA, or trace.path=")
        return Path(self.data_dir) / FILE


def read_csv(path: Path, columns: tuple[str, ...]) -> Any:
    """A CSV file (plain or gzip) as a frame of strings.

    Raises:
        InputError: the file is missing, unreadable or empty, or lacks a column.
    """
    import pandas as pd

    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
        text = raw.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({_why(error)})") from None
    import io

    try:
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise InputError(f"{path}: not a CSV table ({_why(error)})") from None
    for column in columns:
        if column not in frame.columns:
            raise InputError(f"{path}: line 1: column '{column}' is missing; {nearest(column, list(frame.columns))}")
    if not len(frame):
        raise InputError(f"{path}: no rows below the header")
    return frame


def _why(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).strip().splitlines()[0][:120]


def numbers(path: Path, column: Any, name: str) -> npt.NDArray[np.float64]:
    """A column of strings as float64.

    Raises:
        InputError: a cell is not a number; NaN and signs are judged by Jobs.build.
    """
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    cells = column.str.strip().str.lower().to_numpy(dtype=object)
    bad = np.flatnonzero(np.isnan(values) & (cells != "nan") & (cells != ""))
    if len(bad):
        raise InputError(f"{path}: row {bad[0] + 2}: {name} is '{column.iloc[bad[0]]}', expected a number")
    if name == "num_gpus" and len(values):
        whole = np.flatnonzero(~(values == np.floor(values)))
        if len(whole):
            raise InputError(
                f"{path}: row {whole[0] + 2}: {name} is '{column.iloc[whole[0]]}', expected a whole number"
            )
    out: npt.NDArray[np.float64] = values
    return out


def _times(path: Path, column: Any) -> npt.NDArray[np.float64]:
    """Timestamps as seconds; raises InputError for one that is not a timestamp."""
    import pandas as pd

    when = pd.to_datetime(column, format="%Y-%m-%d %H:%M:%S", errors="coerce")
    bad = np.flatnonzero(when.isna().to_numpy())
    if len(bad):
        given = column.iloc[bad[0]]
        raise InputError(f"{path}: row {bad[0] + 2}: timestamp is '{given}', expected YYYY-MM-DD HH:MM:SS")
    seconds: npt.NDArray[np.float64] = (when - when.min()).dt.total_seconds().to_numpy(dtype=np.float64)
    return seconds
