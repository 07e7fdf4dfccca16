"""Logs in the Standard Workload Format of the Parallel Workloads Archive (Chapin et al., 1999)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hcsim.model import InputError
from hcsim.traces._files import Defect, Defective, read_bytes
from hcsim.traces._table import JobSource, Table, checked, left_out

FIELDS = (
    "job", "submit_s", "wait_s", "run_s", "processors", "cpu_s", "memory", "requested_processors", "requested_s",
    "requested_memory", "status", "user", "group", "application", "queue", "partition", "preceding_job", "think_s",
)  # fmt: skip


@dataclass(frozen=True)
class Swf(JobSource):
    """A log in SWF: 18 numbers a line, ``;`` starts a comment, -1 means unknown. There is no default file.

    A job's gang is its allocated processors, else the requested ones; ``processors_per_gpu`` processors count as one
    device (rounded up). The requested time is the user's estimate. Jobs whose run time or processors are unknown (-1),
    or that used none (0), cannot be replayed: they are left out and counted, or refused with ``on_unknown="error"``.
    Tenants are users.
    """

    processors_per_gpu: int = 1
    on_unknown: str = "drop"

    @property
    def device(self) -> str:
        """Processors, unless several of them count as a GPU."""
        return "processor" if self.processors_per_gpu == 1 else "GPU"

    def read(self) -> Table:
        """The jobs in the file's order."""
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
                found = [
                    Defect(int(lines[i]), name, f"{column[name][i]:g}", "0 or more (-1: unknown)") for i in bad[:1000]
                ]
                raise Defective(path, found, len(bad))
        for name in ("job", "user", "processors", "requested_processors"):
            bad = np.flatnonzero(~(np.abs(column[name]) < 2**53) | (column[name] != np.floor(column[name])))
            if len(bad):
                found = [Defect(int(lines[i]), name, f"{column[name][i]:g}", "a whole number") for i in bad[:1000]]
                raise Defective(path, found, len(bad))
        processors = np.where(column["processors"] > 0, column["processors"], column["requested_processors"])
        usable = (processors > 0) & (column["run_s"] >= 0) & (column["submit_s"] >= 0)
        if not usable.all() and self.on_unknown == "error":
            raise InputError(f"{path}: row {lines[np.argmin(usable)]}: run time or processors unknown")
        if not usable.any():
            raise InputError(f"{path}: no job with a known run time and processors")
        asked = column["requested_s"][usable]
        submitted = column["submit_s"][usable]
        return checked(
            "jobs",
            {
                "id": column["job"][usable].astype(np.int64),
                "arrival_s": submitted - submitted.min(),
                "duration_s": column["run_s"][usable],
                "gpus": np.ceil(processors[usable] / self.processors_per_gpu).astype(np.int64),
                "tenant": pd.Series(column["user"][usable].astype(np.int64)).map("user{}".format).astype("str"),
                "user_estimate_s": np.where(asked > 0, asked, np.nan),
            },
            str(path),
            lines[usable],
            left_out(usable, lines, "run time or processors unknown"),
        )


def _read(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The numbers of the file, shape (jobs, 18), and their line numbers."""
    if not path.is_file():
        raise InputError(f"{path}: cannot be read ({'is a folder' if path.is_dir() else 'No such file or directory'})")
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read ({error.reason})") from None
    numbered = enumerate((line.strip() for line in text.split("\n")), 1)
    rows = [(number, line.split()) for number, line in numbered if line and not line.startswith(";")]
    if not rows:
        raise InputError(f"{path}: no jobs")
    bad = [
        Defect(number, "the row", f"{len(cells)} fields", "the 18 of SWF") for number, cells in rows if len(cells) != 18
    ]
    if bad:
        raise Defective(path, bad)
    try:
        values = np.array([cells for _, cells in rows], dtype=np.float64)
    except ValueError:
        raise Defective(path, [bad for number, cells in rows for bad in _wrong(number, cells)]) from None
    return values, np.array([number for number, _ in rows])


def _wrong(number: int, cells: list[str]) -> list[Defect]:
    """The cells of a line that are not numbers."""
    out = []
    for name, cell in zip(FIELDS, cells, strict=True):
        try:
            float(cell)
        except ValueError:
            out.append(Defect(number, name, f"'{cell}'", "a number"))
    return out
