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
from hcsim.audit.figures import NAMED, UNPROVED, costs, figures, outcomes
from hcsim.kept import config_of, config_sha256
from hcsim.ledger import bill
from hcsim.log import Log
from hcsim.metrics import timeline
from hcsim.model import JOB_COLUMNS, NAME_TABLES, Fleet, InputError, Jobs
from hcsim.perf import Perf

if TYPE_CHECKING:
    from rich.table import Table

CENT = 0.01
TINY = 1e-6  # of USD, seconds, kWh: sums of floats
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
    frame = _frame(path)
    columns: dict[str, Any] = {}
    for key in ("id", *JOB_COLUMNS):
        if key not in frame:
            raise InputError(f"{path}: column '{key}' is missing; run it again with this hcsim to audit it")
        columns[key] = frame[key].to_numpy()
    columns["gpus"] = np.ceil(columns["gpus"] - 1e-9)  # a share of a GPU is a gang of one
    for key, names in NAME_TABLES.items():
        values = np.asarray(columns[key], object).astype(str)
        some = values != "" if key != "tenant" else np.ones(len(values), bool)
        table, codes = np.unique(values[some], return_inverse=True)
        code = np.full(len(values), -1)
        code[some] = codes
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
        table = _outcomes(audit, _frame(folder / "jobs.parquet"))
        if summary is not None:
            _figures(audit, folder, log, table, summary)
            bill_usd = _money(audit, folder, rows, fleet, jobs, summary)
            _occupancy(audit, folder, rows)
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


def _differ(what: str, value: Any, limit: Any, audit: Audit) -> None:
    raise Breach(what, value, limit, -1, audit.now, "")


def _same(told: Any, mine: Any) -> bool:
    """Equal, numbers to nine digits; None, and NaN, only to itself."""
    if isinstance(mine, dict):
        given = isinstance(told, dict) and told.keys() >= {key for key, value in mine.items() if value}
        return given and all(_same(value, mine.get(key, 0.0)) for key, value in told.items())
    if isinstance(mine, float) and isinstance(told, (int, float)) and not isinstance(told, bool):
        return abs(told - mine) <= TINY + 1e-9 * abs(mine)
    return type(told) is type(mine) and bool(told == mine)


def _outcomes(audit: Audit, frame: Any) -> dict[str, npt.NDArray[Any]]:
    """``jobs.parquet`` says of each job what the log does."""
    table = outcomes(audit)
    for name, mine in table.items():
        if name not in frame:
            raise InputError(f"jobs.parquet: column '{name}' is missing; run it again with this hcsim to audit it")
        _column("jobs.parquet", name, frame[name].to_numpy(), mine, audit, "job")
    return table


def _column(file: str, name: str, told: Any, mine: Any, audit: Audit, row: str) -> None:
    """A column of a file says what the auditor makes of the log."""
    if mine.dtype.kind == "f":
        told = np.asarray(told, float)
        near = np.abs(told - mine) <= TINY + 1e-9 * np.abs(mine)
        same = near | (np.isnan(told) & np.isnan(mine))
    else:
        same = np.asarray(told) == mine
    other = np.flatnonzero(~np.asarray(same, bool))
    if len(other):
        i = int(other[0])
        told_, mine_ = (np.asarray(each)[i : i + 1].tolist()[0] for each in (told, mine))
        expected = f"{mine_:,.10g}" if isinstance(mine_, float) else str(mine_)
        _differ(f"{file}: {name} of {row} {i}", told_, f"{expected} by the log", audit)


def _money(
    audit: Audit, folder: Path, rows: npt.NDArray[Any], fleet: Fleet, jobs: Jobs, summary: dict[str, Any]
) -> float:
    """The items add up to the bill; what each job, site and pool is charged of each category is what the auditor makes
    of the log; and they are, item by item, those that the ledger makes of it."""
    path = folder / "ledger.parquet"
    items = _frame(path)
    made = bill(rows, fleet, jobs=jobs)
    expected = made.frame(fleet, jobs)
    for column in expected:
        if column not in items:
            raise InputError(f"{path}: column '{column}' is missing; run it again with this hcsim to audit it")
    usd = items["usd"].to_numpy(np.float64)
    product = items["quantity"].to_numpy(np.float64) * items["unit_usd"].to_numpy(np.float64)
    other = np.flatnonzero(~(np.abs(usd - product) <= 1e-9 * np.abs(product) + 1e-9))
    if len(other):
        i = int(other[0])
        _differ(f"ledger.parquet: item {i} costs (USD)", float(usd[i]), f"quantity × price = {product[i]:.10g}", audit)
    total = float(usd.sum())
    if not abs(total - summary["cost_usd"]) < CENT:
        _differ("summary.json: cost_usd", summary["cost_usd"], f"{total:,.2f}, the sum of the ledger", audit)
    _charges(audit, items, fleet, jobs)
    if len(items) != len(expected):
        _differ("ledger.parquet: items", len(items), f"{len(expected)} by the log", audit)
    for column in expected.columns.astype(str):
        told, mine = (frame[column].to_numpy() for frame in (items, expected))
        mine = mine if mine.dtype.kind in "fi" else mine.astype(str)
        told = told.astype(str) if mine.dtype.kind == "U" else told
        _column("ledger.parquet", column, told, mine, audit, "item")
    return total


def _occupancy(audit: Audit, folder: Path, rows: npt.NDArray[Any]) -> None:
    """``timeline.parquet`` is drawn from the log."""
    path = folder / "timeline.parquet"
    told, mine = _frame(path), timeline(rows, audit.jobs, audit.fleet)
    for name in mine:
        if name not in told:
            raise InputError(f"{path}: column '{name}' is missing; run it again with this hcsim to audit it")
    if len(told) != len(mine):
        _differ("timeline.parquet: points", len(told), f"{len(mine)} by the log", audit)
    for name in mine.columns.astype(str):
        _column("timeline.parquet", name, told[name].to_numpy(), mine[name].to_numpy(), audit, "point")


def _charges(audit: Audit, items: Any, fleet: Fleet, jobs: Jobs) -> None:
    """What is charged, by category, job, site and pool."""
    row = {int(name): job for job, name in enumerate(jobs.id.tolist())} | {-1: -1}
    site = {name: s for s, name in enumerate(fleet.site_names)}
    pool = {pool.name: p for p, pool in enumerate(fleet.pools)}
    sums = items.assign(pool=items["pool"].astype(object).fillna("").astype(str))
    sums = sums.groupby(["category", "job", "site", "pool"], observed=True, dropna=False)["usd"].sum()
    told: dict[tuple[str, int, int, int], float] = {}
    for (category, job, where, of), usd in sums.items():
        key = (str(category), row.get(int(job), -2), site.get(str(where), -2), pool.get(str(of), -1 if not of else -2))
        told[key] = told.get(key, 0.0) + float(usd)
    mine = costs(audit)
    for key in sorted(told.keys() | mine.keys()):
        given, expected = told.get(key, 0.0), mine.get(key, 0.0)
        if not abs(given - expected) <= TINY + 1e-9 * abs(expected):
            category, job, s, p = key
            what = f"{category} of {f'job {job}' if job >= 0 else 'nobody'}"
            where = fleet.pools[p].name if p >= 0 else fleet.site_names[s] if s >= 0 else "an unknown place"
            _differ(f"ledger.parquet: {what} in {where} (USD)", given, f"{expected:,.10g} by the log", audit)


def _figures(audit: Audit, folder: Path, log: Log, table: dict[str, npt.NDArray[Any]], summary: dict[str, Any]) -> None:
    """``summary.json`` says what the log, the jobs, the fleet and the configuration do."""
    expected = figures(audit, table) | {"log_sha256": log.sha256, "jobs_sha256": audit.jobs.sha256}
    known = {*expected, *NAMED, *UNPROVED, "config_sha256", "jobs_submitted", "jobs_infeasible"}
    for key in sorted(known - summary.keys()):
        raise InputError(f"{folder / 'summary.json'}: no key '{key}'; run it again with this hcsim to audit it")
    for key in sorted(summary.keys() - known):
        _differ(f"summary.json: key '{key}'", summary[key], "no such key", audit)
    for key, mine in (("jobs_submitted", len(audit.jobs)), ("jobs_infeasible", 0)):
        told = summary[key]
        if type(told) is not int or told < mine:
            _differ(f"summary.json: {key}", told, f"a whole number of at least {mine}", audit)
    expected["jobs_submitted"] = len(audit.jobs) + summary["jobs_infeasible"]
    for key, mine in expected.items():
        if not _same(summary[key], mine):
            _differ(f"summary.json: {key}", summary[key], f"{mine} by the log", audit)
    sealed = config_sha256(config_of(folder), {key: summary[key] for key in NAMED})
    if sealed != summary["config_sha256"]:
        what = "summary.json: config_sha256, which seals config.yaml and the names and hashes of what was run"
        _differ(what, summary["config_sha256"][:12], sealed[:12], audit)


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
