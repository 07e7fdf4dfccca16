"""The files of a run's folder beside its log: each must say what the auditor makes of the log."""

from __future__ import annotations

from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.audit import Audit, Breach
from hcsim.audit.figures import NAMED, UNPROVED, costs, figures, outcomes
from hcsim.kept import config_of, config_sha256
from hcsim.ledger import bill
from hcsim.log import Log
from hcsim.metrics import timeline
from hcsim.model import Fleet, InputError, Jobs

CENT = 0.01
TINY = 1e-6  # of USD, seconds, kWh: sums of floats


def frame_of(path: Path) -> Any:
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None


def numbers(column: Any, file: str, name: str) -> npt.NDArray[np.float64]:
    """A column as numbers.

    Raises:
        InputError: it holds something else.
    """
    try:
        return np.asarray(column, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{file}: column '{name}' holds something else than numbers") from None


def compare(audit: Audit, folder: Path, log: Log, summary: dict[str, Any] | None) -> float:
    """Hold a run's files against an audit that has seen all of its log; without a summary ``jobs.parquet`` alone.

    Returns:
        The bill in USD, NaN where there is none.

    Raises:
        Breach: one says something else.
        InputError: one is missing or lacks something that it needs.
    """
    table = _outcomes(audit, folder / "jobs.parquet")
    if summary is None:
        return nan
    _figures(audit, folder, log, table, summary)
    usd = _money(audit, folder, log.array(), audit.fleet, audit.jobs, summary)
    _occupancy(audit, folder, log.array())
    return usd


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


def _outcomes(audit: Audit, path: Path) -> dict[str, npt.NDArray[Any]]:
    """``jobs.parquet`` says of each job what the log does."""
    table, frame = outcomes(audit), frame_of(path)
    for name, mine in table.items():
        if name not in frame:
            raise InputError(f"{path}: column '{name}' is missing; run it again with this hcsim to audit it")
        _column("jobs.parquet", name, frame[name].to_numpy(), mine, audit, "job")
    return table


def _column(file: str, name: str, told: Any, mine: Any, audit: Audit, row: str) -> None:
    """A column of a file says what the auditor makes of the log."""
    if mine.dtype.kind == "f":
        told = numbers(told, file, name)
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
    items = frame_of(path)
    made = bill(rows, fleet, jobs=jobs)
    expected = made.frame(fleet, jobs)
    for column in expected:
        if column not in items:
            raise InputError(f"{path}: column '{column}' is missing; run it again with this hcsim to audit it")
    usd, quantity, price, job = (
        numbers(items[name], str(path), name) for name in ("usd", "quantity", "unit_usd", "job")
    )
    product, items = quantity * price, items.assign(usd=usd, job=np.where(np.isfinite(job), job, -3.0))
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
        told, mine = (frame[column] for frame in (items, expected))
        if mine.dtype.kind not in "fi":  # names, none where an item has none
            told, mine = (each.astype(object).where(each.notna(), "").astype(str) for each in (told, mine))
        told, mine = told.to_numpy(), mine.to_numpy()
        _column("ledger.parquet", column, told, mine, audit, "item")
    return total


def _occupancy(audit: Audit, folder: Path, rows: npt.NDArray[Any]) -> None:
    """``timeline.parquet`` is drawn from the log."""
    path = folder / "timeline.parquet"
    told, mine = frame_of(path), timeline(rows, audit.jobs, audit.fleet)
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
        _differ(what, str(summary["config_sha256"])[:12], sealed[:12], audit)
