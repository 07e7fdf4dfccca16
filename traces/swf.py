"""Logs in the Standard Workload Format of the Parallel Workloads Archive (Chapin et al., 1999)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._bytes import opened
from hcsim.traces._files import Squeezed, read_csv, refuse
from hcsim.traces._table import Dropped, JobSource, Table, by_value, checked, kept, left_out, starts

FIELDS = (
    "job", "submit_s", "wait_s", "run_s", "processors", "cpu_s", "memory", "requested_processors", "requested_s",
    "requested_memory", "status", "user", "group", "application", "queue", "partition", "preceding_job", "think_s",
)  # fmt: skip
#: Field 11, as the format's definition has it. The last three are of lines that hold a part of a job: before it was
#: swapped out, and the last one.
STATUS = {
    -1: "unknown", 0: "failed", 1: "completed", 5: "cancelled",
    2: "to be continued", 3: "part completed", 4: "part failed",
}  # fmt: skip
PARTS = (2, 3, 4)
#: So much of a log is looked at for when it begins.
HEAD_BYTES = 1 << 14


@dataclass(frozen=True)
class Swf(JobSource):
    """A log in SWF: 18 numbers a line, ``;`` starts a comment, -1 means unknown.

    A job's gang is its allocated processors, else the requested ones; ``processors_per_gpu`` processors count as one
    device (rounded up). The requested time is the user's estimate. Jobs whose run time, submission or processors are
    unknown (-1), or that used none (0), cannot be replayed: they are left out and counted, or refused with
    ``on_unknown="error"``. So are lines of parts of jobs (status 2 to 4): the format's definition gives each such job
    a line of its own and says to use only that one in studies of a workload. Failed and cancelled jobs stay, with
    their status. Tenants are users. Memory, CPU time, groups and what follows them are not read.

    Args:
        log: which file below ``dl_jobs/swf``, without its ending: ``NASA-iPSC-1993-3.1-cln`` or
            ``LLNL-Atlas-2006-2.1-cln``.
        processors_per_gpu: how many processors count as a device.
        on_unknown: ``drop`` or ``error``.
    """

    log: str = "NASA-iPSC-1993-3.1-cln"
    processors_per_gpu: int = 1
    on_unknown: str = "drop"

    @property
    def device(self) -> str:
        """Processors, unless several of them count as a GPU."""
        return "processor" if self.processors_per_gpu == 1 else "GPU"

    def read(self) -> Table:
        """The jobs in the file's order."""
        if self.on_unknown not in ("drop", "error"):
            raise InputError(f"trace.on_unknown is '{self.on_unknown}', expected 'drop' or 'error'")
        if self.processors_per_gpu < 1:
            raise InputError(f"trace.processors_per_gpu is {self.processors_per_gpu}, expected at least 1")
        path = self.file(f"dl_jobs/swf/{self.log}.swf")
        passed: list[Squeezed] = []

        def through(file: object) -> Squeezed:
            passed.append(Squeezed(file))
            return passed[-1]

        times, whole = ("submit_s", "run_s", "requested_s"), ("job", "processors", "requested_processors", "status")
        kinds = dict.fromkeys(times, pa.float64()) | dict.fromkeys((*whole, "user"), pa.int64())
        table = read_csv(path, kinds, delimiter=" ", names=FIELDS, through=through)
        lines = passed[-1].numbers()
        column = {name: table[name].to_numpy() for name in (*times, *whole)}
        refuse(
            path,
            *(
                (
                    (column[name] < 0) & (column[name] != -1) | ~np.isfinite(column[name]),
                    lines, name, column[name], "0 or more (-1: unknown)",
                )
                for name in times
            ),
        )  # fmt: skip
        processors = np.where(column["processors"] > 0, column["processors"], column["requested_processors"])
        keep, dropped = np.ones(len(lines), bool), tuple[Dropped, ...]()
        for lacks, reason in (
            ((column["status"] >= PARTS[0]) & (column["status"] <= PARTS[-1]), "a part of a job that was swapped out"),
            (column["run_s"] < 0, "its run time is unknown"),
            (column["submit_s"] < 0, "its submission is unknown"),
            (processors <= 0, "its processors are unknown or none"),
        ):
            here = left_out(~(lacks & keep), lines, reason)
            if here and self.on_unknown == "error":
                raise InputError(f"{path}: row {here[0].row}: {reason}, and so of {here[0].count:,} rows")
            keep, dropped = keep & ~lacks, dropped + here
        if not keep.any():
            raise InputError(f"{path}: no job with a known run time, submission and processors")
        start_s = _start_s(path)
        asked, submitted = column["requested_s"][keep], column["submit_s"][keep]
        words = kept(table.select(["user", "status"]), keep)
        return checked(
            "jobs",
            {
                "id": column["job"][keep],
                "arrival_s": submitted - submitted.min(),
                "duration_s": column["run_s"][keep],
                "gpus": -(-processors[keep] // self.processors_per_gpu),
                "tenant": by_value(words["user"], "user{}".format),
                "user_estimate_s": np.where(asked > 0, asked, np.nan),
                "status": by_value(words["status"], lambda code: STATUS.get(code, f"code {code}")),
            },
            str(path),
            lines[keep],
            dropped,
            () if start_s is None else starts(start_s + submitted.min()),
        )


def _start_s(path: Path) -> float | None:
    """The wall clock at which the log's times are 0, in seconds since 1970, as its head says; None if it does not."""
    with opened(path) as file:
        head = file.read(HEAD_BYTES).decode("latin-1")
    said = re.search(r"^; *StartTime: *\w{3} (\w{3}) +(\d+) (\d+:\d+:\d+) \w+ (\d{4})\s*$", head, re.M)
    try:
        when = datetime.strptime(" ".join(said.groups()), "%b %d %H:%M:%S %Y") if said else None
    except ValueError:  # no such day
        return None
    return when.replace(tzinfo=UTC).timestamp() if when else None
