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
from hcsim.log import Log
from hcsim.model import JOB_COLUMNS, Fleet, InputError, Jobs
from hcsim.perf import Perf

if TYPE_CHECKING:
    from rich.table import Table

CENT = 0.01
HOUR_S = 3600.0
#: Told how many rows have been seen, now and then.
Watch = Callable[[int, int], None]
_NAMED = {
    "tenant": "tenants", "gpu_type": "gpu_types", "residency": "residencies", "dataset_site": "dataset_sites",
    "model": "models",
}  # fmt: skip


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
    frame = _frame(path)
    columns: dict[str, Any] = {}
    for key in ("id", *JOB_COLUMNS):
        if key not in frame:
            raise InputError(f"{path}: column '{key}' is missing; run it again with this hcsim to audit it")
        columns[key] = frame[key].to_numpy()
    columns["gpus"] = np.ceil(columns["gpus"] - 1e-9)  # a share of a GPU is a gang of one
    for key, names in _NAMED.items():
        values = np.asarray(columns[key], object).astype(str)
        table, codes = np.unique(values[values != ""], return_inverse=True)
        code = np.full(len(values), -1)
        code[values != ""] = codes
        columns[key], columns[names] = code, tuple(table.tolist())
    return Jobs.build(str(path), **columns)


def _frame(path: Path) -> Any:
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None


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
        audit.close()
        _outcomes(audit, _frame(folder / "jobs.parquet"))
        if summary is not None:
            bill_usd = _money(audit, folder, rows, fleet, jobs, summary)
            _figures(audit, log, summary)
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
    for key in ("cost_usd", "events", "log_sha256", "gpu_seconds_used", "gpu_seconds_lost", "jobs_finished"):
        if not isinstance(found, dict) or key not in found:
            raise InputError(f"{path}: no key '{key}'")
    return dict(found)


def _differ(what: str, value: Any, limit: Any, audit: Audit) -> None:
    raise Breach(what, value, limit, -1, audit.now, "")


def _outcomes(audit: Audit, frame: Any) -> None:
    """``jobs.parquet`` says of each job what the log does."""
    lives = audit.lives.lives
    finish = np.array([life.finish_s for life in lives])
    told = frame["finish_s"].to_numpy(np.float64)
    other = np.flatnonzero(~((finish == told) | (np.isnan(finish) & np.isnan(told))))
    if len(other):
        job = int(other[0])
        _differ(f"jobs.parquet: job {job} finishes at", float(told[job]), f"{finish[job]:g} s by the log", audit)
    status = np.array([life.status if life.status in ("finished", "rejected") else "unfinished" for life in lives])
    other = np.flatnonzero(status != frame["status"].to_numpy().astype(str))
    if len(other):
        job = int(other[0])
        _differ(f"jobs.parquet: job {job} is", frame["status"].iloc[job], f"{status[job]} by the log", audit)


def _money(
    audit: Audit, folder: Path, rows: npt.NDArray[Any], fleet: Fleet, jobs: Jobs, summary: dict[str, Any]
) -> float:
    """The items that are kept add up to the bill, and what nodes and transfers cost is what the auditor makes of it."""
    path = folder / "ledger.parquet"
    items = _frame(path)
    for column in ("usd", "quantity", "unit_usd", "unit"):
        if column not in items:
            raise InputError(f"{path}: column '{column}' is missing")
    usd = items["usd"].to_numpy(np.float64)
    product = items["quantity"].to_numpy(np.float64) * items["unit_usd"].to_numpy(np.float64)
    other = np.flatnonzero(np.abs(usd - product) > 1e-9 * np.abs(product) + 1e-9)
    if len(other):
        i = int(other[0])
        _differ(f"ledger.parquet: item {i} costs (USD)", float(usd[i]), f"quantity × price = {product[i]:.10g}", audit)
    total = float(usd.sum())
    if not abs(total - summary["cost_usd"]) < CENT:
        _differ("summary.json: cost_usd", summary["cost_usd"], f"{total:,.2f}, the sum of the ledger", audit)
    unit = items["unit"].to_numpy().astype(str)
    for what, mine, units in (
        ("nodes", audit.nodes.usd(), ("gpu_h",)), ("transfers", audit.data.egress_usd, ("gb",))
    ):  # fmt: skip
        booked = float(usd[np.isin(unit, units)].sum())
        if not abs(booked - mine) < CENT + 1e-9 * mine:
            _differ(f"ledger.parquet: {what} cost (USD)", booked, f"{mine:,.2f} by the log and the fleet", audit)
    return total


def _figures(audit: Audit, log: Log, summary: dict[str, Any]) -> None:
    """``summary.json`` says what the log does."""
    total = audit.seconds
    figures = {
        "log_sha256": log.sha256,
        "events": audit.rows,
        "jobs_finished": sum(life.status == "finished" for life in audit.lives.lives),
        "gpu_seconds_used": total["busy"],
        "gpu_seconds_lost": audit.lost_gpu_s,
    }
    for key, mine in figures.items():
        told = summary[key]
        near = isinstance(mine, float) and isinstance(told, (int, float)) and abs(told - mine) <= 1e-3 + 1e-9 * mine
        if told != mine and not near:
            _differ(f"summary.json: {key}", told, f"{mine} by the log", audit)


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
