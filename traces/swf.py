"""Logs in the Standard Workload Format of the Parallel Workloads Archive (Chapin et al., 1999)."""

from __future__ import annotations

import gzip
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hcsim.model import InputError, Jobs
from hcsim.traces._attributes import NOTHING_ADDED, Attributes, over

FIELDS = (
    "job", "submit_s", "wait_s", "run_s", "processors", "cpu_s", "memory", "requested_processors", "requested_s",
    "requested_memory", "status", "user", "group", "application", "queue", "partition", "preceding_job", "think_s",
)  # fmt: skip
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Swf:
    """A log in SWF: 18 numbers a line, ``;`` starts a comment, -1 means unknown.

    A job's gang is its allocated processors, else the requested ones; ``processors_per_gpu`` processors count as one
    device (rounded up). The requested time is the user's estimate. Jobs whose run time or processors are unknown (-1),
    or that used none (0), cannot be replayed: they are dropped and counted in the log's ``dropped`` message, or refused
    with ``on_unknown="error"``. Tenants are users.

    Args:
        path: the file, plain or gzip.
        limit: only the first so many usable jobs (0: all).
    """

    path: str = ""
    data_dir: str = ""
    processors_per_gpu: int = 1
    limit: int = 0
    on_unknown: str = "drop"
    attributes: Attributes = NOTHING_ADDED

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", over(NOTHING_ADDED, self.attributes))

    def jobs(self, seed: int) -> Jobs:
        """The jobs; ``seed`` draws the attributes that the log does not hold.

        Raises:
            InputError: file missing, a line that is not 18 numbers, or a negative time other than -1; named by line.
        """
        if not self.path:
            raise InputError("trace swf: no file, set trace.path=FILE.swf")
        if self.on_unknown not in ("drop", "error"):
            raise InputError(f"trace.on_unknown is '{self.on_unknown}', expected 'drop' or 'error'")
        path = Path(self.path)
        values, lines = _read(path)
        column = {name: values[:, i] for i, name in enumerate(FIELDS)}
        for name in ("submit_s", "run_s", "requested_s"):
            bad = np.flatnonzero((column[name] < 0) & (column[name] != -1) | ~np.isfinite(column[name]))
            if len(bad):
                given = column[name][bad[0]]
                raise InputError(f"{path}: line {lines[bad[0]]}: {name} is {given:g}, expected >= 0 (-1: unknown)")
        processors = np.where(column["processors"] > 0, column["processors"], column["requested_processors"])
        usable = (processors > 0) & (column["run_s"] >= 0) & (column["submit_s"] >= 0)
        if not usable.all():
            if self.on_unknown == "error":
                raise InputError(f"{path}: line {lines[np.argmin(usable)]}: run time or processors unknown")
            log.info("%s: dropped %d of %d jobs, run time or processors unknown", path, (~usable).sum(), len(usable))
        rows = np.flatnonzero(usable)
        rows = rows[np.argsort(column["submit_s"][rows], kind="stable")][: self.limit or None]
        if not len(rows):
            raise InputError(f"{path}: no job with a known run time and processors")
        arrival = column["submit_s"][rows] - column["submit_s"][rows[0]]
        duration = column["run_s"][rows]
        gpus = np.ceil(processors[rows] / self.processors_per_gpu).astype(np.int32)
        users, tenant = np.unique(column["user"][rows].astype(np.int64), return_inverse=True)
        columns = self.attributes.columns(seed, arrival, duration, gpus)
        asked = column["requested_s"][rows]
        columns["user_estimate_s"] = np.where(asked > 0, asked, np.nan)
        return Jobs.build(
            source=str(path),
            rows=np.array(lines)[rows],
            id=column["job"][rows].astype(np.int64),
            arrival_s=arrival,
            duration_s=duration,
            gpus=gpus,
            tenant=tenant,
            tenants=tuple(f"user{u}" for u in users.tolist()),
            **columns,
        )


def _read(path: Path) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], list[int]]:
    """The numbers of the file, shape (jobs, 18), and their line numbers."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8", errors="strict")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{path}: cannot be read ({why})") from None
    rows, lines = [], []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith(";"):
            continue
        cells = line.split()
        if len(cells) != len(FIELDS):
            raise InputError(f"{path}: line {number}: {len(cells)} fields, expected the 18 of SWF")
        rows.append(cells)
        lines.append(number)
    if not rows:
        raise InputError(f"{path}: no jobs")
    try:
        return np.array(rows, dtype=np.float64), lines
    except ValueError:
        for cells, number in zip(rows, lines, strict=True):
            for name, cell in zip(FIELDS, cells, strict=True):
                try:
                    float(cell)
                except ValueError:
                    raise InputError(f"{path}: line {number}: {name} is '{cell}', expected a number") from None
        raise
