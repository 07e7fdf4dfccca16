"""A run's folder before the auditor: what it holds must be what its own log says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.audit import CLASSES, Audit, Breach
from hcsim.audit.files import compare, frame_of, numbers
from hcsim.log import Log
from hcsim.model import JOB_COLUMNS, NAME_TABLES, Fleet, InputError, Jobs
from hcsim.perf import Perf

if TYPE_CHECKING:
    from rich.table import Table

HOUR_S = 3600.0
#: Told how many rows have been seen, now and then.
Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """What an audit came to. ``breach`` is what is wrong, None when all holds."""

    audit: Audit
    bill_usd: float
    breach: Breach | None
    notes: tuple[str, ...] = ()
    proved: dict[str, str] = field(default_factory=dict)  # what -> over how much

    def table(self) -> Table:
        """Every second of every GPU: GPU-hours by pool and class, each with its share of the pool's."""
        from rich.table import Table

        fleet, end_s = self.audit.fleet, self.audit.now
        table = Table(
            title=f"every second of {fleet.gpus:,} GPUs for {end_s / HOUR_S:,.2f} h, in GPU-hours",
            title_justify="left",
        )
        for name in ("site", "pool", "market"):
            table.add_column(name)
        for name in ("GPUs", *CLASSES, "sum"):
            table.add_column(name, justify="right")
        whole = dict.fromkeys(CLASSES, 0.0)
        for p, (pool, use) in enumerate(zip(fleet.pools, self.audit.nodes.gpu_seconds(), strict=True)):
            for name in CLASSES:
                whole[name] += use[name]
            gpus = pool.nodes * pool.gpus_per_node
            site = fleet.sites[fleet.pool_site[p]].name
            table.add_row(site, pool.name, pool.market, f"{gpus:,}", *_shares(use, gpus * end_s))
        table.add_section()
        table.add_row("all", "", "", f"{fleet.gpus:,}", *_shares(whole, fleet.gpus * end_s))
        return table

    @property
    def verdict(self) -> str:
        """The last line."""
        if self.breach is not None:
            return f"audit: BREACH at {self.breach}"
        audit = self.audit
        gpu_h = audit.fleet.gpus * audit.now / HOUR_S
        told = f"{audit.rows:,} events of {len(audit.jobs):,} jobs, {gpu_h:,.0f} GPU-h"
        paid = "" if self.bill_usd != self.bill_usd else f", {self.bill_usd:,.2f} USD"
        return f"audit: holds ({told}{paid})" + "".join(f"; {note}" for note in self.notes)


def _shares(use: dict[str, float], total: float) -> list[str]:
    cells = []
    for gpu_s in (*use.values(), sum(use.values())):
        share = f"\n[dim]{gpu_s / total:.1%}[/dim]" if total else ""
        cells.append(f"{gpu_s / HOUR_S:,.1f}{share}")
    return cells


def read_jobs(path: Path) -> Jobs:
    """The jobs of a run's ``jobs.parquet``.

    Raises:
        InputError: it is missing, or lacks a column: a run of an older hcsim does.
    """
    frame = frame_of(path)
    columns: dict[str, Any] = {}
    for key in ("id", *JOB_COLUMNS):
        if key not in frame:
            raise InputError(f"{path}: column '{key}' is missing; run it again with this hcsim to audit it")
        columns[key] = frame[key].to_numpy()
    columns["gpus"] = np.ceil(numbers(columns["gpus"], str(path), "gpus") - 1e-9)  # a share of a GPU is a gang of one
    for key, names in NAME_TABLES.items():
        values = np.asarray(columns[key], object).astype(str)
        some = values != "" if key != "tenant" else np.ones(len(values), bool)
        table, codes = np.unique(values[some], return_inverse=True)
        code = np.full(len(values), -1)
        code[some] = codes
        columns[key], columns[names] = code, tuple(table.tolist())
    return Jobs.build(str(path), **columns)


def audit_run(
    folder: Path,
    fleet: Fleet,
    perf: Perf,
    live: bool = False,
    shared_links: bool = True,
    scheduled: bool = True,
    watch: Watch | None = None,
) -> Report:
    """Audit a run from its folder: ``log.parquet`` and ``jobs.parquet`` against the fleet, then the other files.

    A run that was interrupted has no ``summary.json``: its log is audited as far as it goes, and that is noted.

    Args:
        fleet, perf, live, shared_links, scheduled: as for :class:`hcsim.audit.Audit`.
        watch: called now and then.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    jobs = read_jobs(folder / "jobs.parquet")
    log = Log.read(folder / "log.parquet")
    summary = _summary(folder / "summary.json")
    rows = log.array()
    audit = Audit(fleet, jobs, perf, live, shared_links, scheduled)
    notes = () if summary else ("interrupted: no summary.json, so the bill and the figures are not compared",)
    bill_usd = nan
    try:
        at = 0
        for chunk in np.array_split(rows, max(len(rows) // 50_000, 1)):
            for row in chunk.tolist():
                audit.see(row)
            at += len(chunk)
            if watch is not None:
                watch(at, len(rows))
        audit.close(whole=bool(summary))
        bill_usd = compare(audit, folder, log, summary)
    except Breach as breach:
        return Report(audit, bill_usd, breach, notes)
    return Report(audit, bill_usd, None, notes, _proved(audit, rows))


def _summary(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: no summary, expected its keys")
    return found


def _proved(audit: Audit, rows: npt.NDArray[Any]) -> dict[str, str]:
    """What was looked at, and how often."""
    from hcsim.events import Kind

    count = np.bincount(rows["kind"], minlength=128)
    fleet, over = audit.fleet, [t for t in audit.data.transfers if t.carried_bytes >= 0]
    return {
        "residency": f"{audit.data.placements:,} placements of jobs, datasets and checkpoints",
        "capacity": f"{count[Kind.PLACED]:,} claims, {count[Kind.STARTED]:,} starts: no GPU, CPU or memory twice",
        "quotas, stock, budgets": f"{count[Kind.PROVISIONING]:,} requests for nodes, {len(fleet.limits)} quotas,"
        f" {len(fleet.budgets)} budgets",
        "links": f"{len(over):,} transfers of {sum(t.carried_bytes for t in over) / 1e12:,.2f} TB",
        "work": "as long as it took on a wall clock"
        if audit.lives.live
        else f"{sum(life.starts for life in audit.lives.lives):,} runs add up to the work of each finished job",
    }
