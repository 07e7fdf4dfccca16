"""``hcsim audit RUN``: verdicts, exit statuses, and what it says of folders that are no runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hcsim import Fleet, InputError, Jobs
from hcsim.audit import Audit, Breach
from hcsim.audit.figures import UNPROVED
from hcsim.audit.files import compare
from hcsim.audit.folder import audit_run, read_jobs
from hcsim.events import Kind
from hcsim.experiment import Experiment
from hcsim.kept import part_of
from hcsim.log import Log
from hcsim.metrics import Rows
from hcsim.perf import Perf
from hcsim.strategies.first_fit import FirstFit
from tests.audit.test_audit import fleet, work
from tests.shell import hcsim


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 300 jobs on the hybrid fleet, residency, data and egress and all; billed by the second."""
    folder = tmp_path_factory.mktemp("audit") / "run"
    said = hcsim(
        "run", "trace=twin", "trace.n=300", "strategy=cheapest_fit", "seed=2", "executor.without=[minimum]",
        f"hydra.run.dir={folder}",
    )  # fmt: skip
    assert said.status == 0, said.err
    return folder


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 400 jobs on the enterprise's fleet, with every category on its bill, energy and carbon."""
    folder = tmp_path_factory.mktemp("rich") / "run"
    args = ("experiment=enterprise", "trace.n=400", "strategy=cheapest_fit", "seed=3")
    keeps = "fleet.sites.0.storage_usd_per_gb_month=0.02"  # copies are made at home
    assert hcsim("run", *args, keeps, f"hydra.run.dir={folder}").status == 0
    return folder


@pytest.fixture
def run(kept: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoiled."""
    return Path(shutil.copytree(kept, tmp_path / "run"))


def rewrite(run: Path, change: Callable[[Rows], Rows]) -> Rows:
    """Change a run's log, with a hash of its own that is right."""
    rows = change(Log.read(run / "log.parquet").array())
    log = Log(run / "log.parquet")
    log.rows.extend(rows.tolist())
    log.close({})
    return rows


def breach(run: Path) -> str:
    """The verdict on a run in which something is wrong."""
    said = hcsim("audit", run)
    assert (said.status, said.err) == (1, ""), said
    last = said.out.splitlines()[-1]
    assert last.startswith("audit: BREACH at ")
    return last


def test_a_good_run_holds(kept: Path) -> None:
    said = hcsim("audit", kept)
    assert (said.status, said.err) == (0, "")
    table, last = said.out, said.out.splitlines()[-1]
    summary = json.loads((kept / "summary.json").read_text())
    assert last.startswith(f"audit: holds ({summary['events']:,} events of 300 jobs")
    assert last.endswith(f"{summary['cost_usd']:,.2f} USD)")
    for name in ("busy", "idle", "starting", "staging", "lost", "drained", "off", "us-a100", "100.0%", "residency: "):
        assert name in table


def test_what_jobs_asked_for_is_read_back(tmp_path: Path) -> None:
    """All columns of the jobs, whatever the codes of their names."""
    jobs = work(gpu_type=np.arange(18) % 3 - 1, gpu_types=("A100|H100", "A100"))
    Experiment(fleet(), jobs, FirstFit()).run(tmp_path / "run")
    found = read_jobs(tmp_path / "run" / "jobs.parquet")
    for key, column in jobs.named.items():
        assert np.array_equal(found.named[key], column, equal_nan=column.dtype.kind == "f"), key


def test_a_claim_outside_its_residency_is_named_with_row_time_value_and_limit(run: Path) -> None:
    bound = set(np.flatnonzero(pd.read_parquet(run / "jobs.parquet")["residency"] == "eu").tolist())
    assert bound
    at = -1

    def move(rows: Rows) -> Rows:
        nonlocal at
        at = next(i for i, row in enumerate(rows.tolist()) if row[1] == Kind.PLACED and row[2] in bound)
        rows = rows.copy()
        rows["node"][at] = 0
        return rows

    rows = rewrite(run, move)
    job, t = rows["subject"][at], rows["time_s"][at]
    said = breach(run)
    assert said.startswith(f"audit: BREACH at row {at} (PLACED {job}, node 0, ")
    assert said.endswith(f"t = {t:g} s: residency: job {job} is placed outside of it: site 'onprem' in us, expected eu")


def test_a_log_whose_rows_are_not_those_that_were_run(run: Path) -> None:
    """Rows that could be true have another hash than the run's."""

    def retell(rows: Rows) -> Rows:
        rows = rows.copy()
        assert (rows["kind"] == Kind.IDLE).any()
        rows["subject"][rows["kind"] == Kind.IDLE] = 0
        return rows

    rewrite(run, retell)
    assert "summary.json: log_sha256" in breach(run)


@pytest.mark.parametrize("cents", [2, -2])
def test_a_bill_that_is_not_the_sum_of_its_items(run: Path, cents: int) -> None:
    path = run / "summary.json"
    summary = json.loads(path.read_text())
    summary["cost_usd"] += cents / 100
    path.write_text(json.dumps(summary))
    assert "summary.json: cost_usd" in breach(run)


def spoil(run: Path, name: str, change: Callable[[pd.DataFrame], Any]) -> None:
    frame = pd.read_parquet(run / name)
    change(frame)
    frame.to_parquet(run / name, index=False)


def dearer(items: pd.DataFrame) -> None:
    """The dearest node-hours cost one part in a thousand more, the cheapest as much less."""
    mine = items.index[items["unit"] == "gpu_h"]
    items.loc[mine, ["quantity", "usd"]] *= 1.001


def test_items_that_are_not_what_the_log_says(run: Path) -> None:
    spoil(run, "ledger.parquet", dearer)
    path = run / "summary.json"
    summary = json.loads(path.read_text()) | {"cost_usd": float(pd.read_parquet(run / "ledger.parquet")["usd"].sum())}
    path.write_text(json.dumps(summary))
    assert "summary.json: cost_usd" in breach(run)


def test_an_item_that_is_not_quantity_times_price(run: Path) -> None:
    def swap(items: pd.DataFrame) -> None:
        items.loc[[0, 1], "usd"] += [1.0, -1.0]  # the sum stays

    spoil(run, "ledger.parquet", swap)
    assert "ledger.parquet: item 0" in breach(run)


@pytest.mark.parametrize(("column", "value"), [("finish_s", 1.0), ("status", "rejected")])
def test_a_job_table_that_is_not_what_the_log_says(run: Path, column: str, value: Any) -> None:
    def change(jobs: pd.DataFrame) -> None:
        jobs.loc[7, column] = value

    spoil(run, "jobs.parquet", change)
    assert f"jobs.parquet: {column} of job 7" in breach(run)


def test_figures_that_are_not_what_the_log_says(run: Path) -> None:
    path = run / "summary.json"
    summary = json.loads(path.read_text())
    summary["gpu_seconds_used"] += 10.0
    path.write_text(json.dumps(summary))
    assert "summary.json: gpu_seconds_used" in breach(run)


def test_a_run_that_was_stopped_adds_up(tmp_path: Path) -> None:
    """By its configuration, with jobs that still run and transfers under way."""
    folder = tmp_path / "run"
    args = ("trace.n=300", "strategy=cheapest_fit", "executor.until_s=40000", "executor.without=[minimum]")
    assert hcsim("run", *args, f"hydra.run.dir={folder}").status == 0
    assert json.loads((folder / "summary.json").read_text())["jobs_unfinished"] > 0
    said = hcsim("audit", folder)
    assert said.status == 0 and said.out.splitlines()[-1].startswith("audit: holds (")


def test_a_run_that_was_interrupted_is_audited_as_far_as_it_is_there(run: Path) -> None:
    (run / "summary.json").unlink()
    said = hcsim("audit", run)
    assert said.status == 0
    assert "interrupted: no summary.json" in said.out.splitlines()[-1]


# -- every figure and every column ---------------------------------------------------------------------------------


def other(value: Any) -> Any:
    """A value of the same kind that is another one: as near as is still wrong."""
    if isinstance(value, dict):
        key = max(value, key=lambda each: value[each] if isinstance(value[each], float) else 0.0, default="new")
        return value | {key: other(value.get(key))}
    if isinstance(value, list):
        return [*value, "new"]
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float) and np.isfinite(value):
        return value * 1.00001 + 0.00001
    return 1.0  # None, NaN, infinite


def spoiled(rich: Path, tmp_path: Path, name: str) -> Path:
    """The run with one file of its own; the others are the same."""
    run = tmp_path / "run"
    run.mkdir()
    for path in rich.iterdir():
        if path.is_file() and path.name != name:
            (run / path.name).symlink_to(path)
    return run


@cache
def made_of(run: Path) -> tuple[Fleet, Perf]:
    """The fleet and the speeds of a run, as its configuration has them."""
    fleet, perf, executor = (part_of(run, name) for name in ("fleet", "perf", "executor"))
    return executor.world(fleet, Jobs.build(arrival_s=[], duration_s=[]))[0], perf


def found(run: Path, of: Path) -> str:
    """What the audit of a run's folder, in this process, says is wrong with it; its fleet is that of another."""
    try:
        return str(audit_run(run, *made_of(of)).breach or "")
    except InputError as error:  # what no run can have written
        return str(error)


@pytest.fixture(scope="module")
def seen(rich: Path) -> Audit:
    """An audit that has seen all of the run's log."""
    audit = audit_run(rich, *made_of(rich)).audit
    assert audit.rows > 1000
    return audit


def different(run: Path, audit: Audit) -> str:
    """What a run's files say that its log, which has been audited, does not."""
    try:
        compare(audit, run, Log.read(run / "log.parquet"), json.loads((run / "summary.json").read_text()))
    except (Breach, InputError) as error:
        return str(error)
    return ""


def summary_of(rich: Path) -> dict[str, Any]:
    return dict(json.loads((rich / "summary.json").read_text()))


def test_every_key_of_a_summary_is_proved_or_said_why_not(rich: Path, seen: Audit, tmp_path: Path) -> None:
    """Each with another value, left out, or one too many; what cannot be proved is listed with its reason."""
    summary = summary_of(rich)
    run = spoiled(rich, tmp_path, "summary.json")
    path, unseen = run / "summary.json", set()

    def says(text: dict[str, Any]) -> str:
        path.write_text(json.dumps(text))
        return different(run, seen)

    assert says(summary) == ""
    for key, value in summary.items():
        if not says(summary | {key: other(value)}):
            unseen.add(key)
        elif key not in UNPROVED:  # whatever stands there instead
            assert all(says(summary | {key: odd}) for odd in (None, "x", [], {}, True, -1) if odd != value), key
    assert unseen == set(UNPROVED)
    assert summary["carbon_kg"] is not None and summary["energy_kwh"] > 0
    for key in summary:
        assert key in says({name: value for name, value in summary.items() if name != key})
    assert "summary.json: key 'joy'" in says(summary | {"joy": 1})
    for market in summary["cost_by_market_usd"]:  # also those in which nothing was bought
        changed = summary["cost_by_market_usd"] | {market: summary["cost_by_market_usd"][market] + 0.01}
        assert "cost_by_market_usd" in says(summary | {"cost_by_market_usd": changed})


@pytest.mark.parametrize("name", ["jobs", "ledger", "timeline"])
def test_every_column_of_every_table_is_proved(rich: Path, tmp_path: Path, name: str) -> None:
    """Each with another value in one row; a row less; a row twice."""
    run = spoiled(rich, tmp_path, f"{name}.parquet")
    path, frame = run / f"{name}.parquet", pd.read_parquet(rich / f"{name}.parquet")
    frame.to_parquet(path, index=False)
    assert found(run, rich) == ""
    query = {
        "jobs": "status == 'finished' and residency != ''",
        "ledger": "unit == 'gpu_h' and job >= 0",
        "timeline": "gpus_up > 0",
    }
    row = int(frame.query(query[name]).index[-1])
    for column in frame:
        changed = frame.copy()
        value = changed[column].iloc[row]
        changed[column] = changed[column].astype(object)
        numeric = pd.api.types.is_numeric_dtype(frame[column])
        value = "" if pd.isna(value) and not numeric else value.item() if hasattr(value, "item") else value
        changed.loc[row, column] = other(value)
        changed.infer_objects().to_parquet(path, index=False)
        assert found(run, rich), f"{column}: {value} changed and nobody saw"
    for column in frame:  # text or nothing where something else was, or no such column
        for changed in (frame.assign(**{column: "x"}), frame.assign(**{column: None}), frame.drop(columns=column)):
            changed.to_parquet(path, index=False)
            assert found(run, rich), column
    for changed in (frame.drop(index=row), pd.concat([frame, frame.iloc[[row]]])):
        changed.to_parquet(path, index=False)
        assert found(run, rich)


@pytest.mark.parametrize("column", ["site", "job", "tenant", "pool", "node", "tier", "tariff", "start_s", "end_s"])
def test_what_an_item_is_for_is_proved_of_every_category(rich: Path, seen: Audit, tmp_path: Path, column: str) -> None:
    """The bill stays the same to a cent, but somebody or something else is charged."""
    run = spoiled(rich, tmp_path, "ledger.parquet")
    frame = pd.read_parquet(rich / "ledger.parquet")
    assert {"compute", "egress", "storage", "control_plane", "energy"} <= set(frame["category"])
    for category, items in frame.groupby("category", observed=True):
        row = items.index[len(items) // 2]
        changed = frame.copy()
        changed[column] = changed[column].astype(object)
        value = changed.loc[row, column]
        others = [each for each in frame[column].dropna().unique().tolist() if each != value and str(each)]
        changed.loc[row, column] = others[0]
        changed.infer_objects().to_parquet(run / "ledger.parquet", index=False)
        assert different(run, seen), f"{column} of {category}"


#: What of a row another history could have had as well: of the last one of each kind, in this run.
COULD_BE = {(Kind.IDLE, "subject"), (Kind.TIMER, "subject"), (Kind.PLACED, "value")}  # other GPUs were free


def test_every_column_of_every_kind_of_row_is_proved(rich: Path, tmp_path: Path) -> None:
    """The last row of each kind with another number, under a hash made anew: the log by itself shows it."""
    run = spoiled(rich, tmp_path, "log.parquet")
    (run / "summary.json").unlink()
    summary, base = summary_of(rich), Log.read(rich / "log.parquet").array()
    kinds, unseen = [Kind(kind) for kind in np.unique(base["kind"]).tolist()], set()
    assert len(kinds) >= 12
    for kind in kinds:
        i = int(np.flatnonzero(base["kind"] == kind)[-1])
        for column in ("time_s", "subject", "node", "value", "detail"):
            log = Log(run / "log.parquet")
            log.rows.extend(changed_row(base, i, column).tolist())
            log.close({})
            (run / "summary.json").write_text(json.dumps(summary | {"log_sha256": log.sha256}))
            if not found(run, rich):
                unseen.add((kind, column))
    assert unseen <= COULD_BE


def changed_row(rows: Rows, i: int, column: str) -> Rows:
    rows = rows.copy()
    rows[column][i] += 1
    return rows


def test_a_trace_that_was_changed_with_its_hash_is_found_by_the_log(rich: Path, tmp_path: Path) -> None:
    """Jobs of another arrival, with a hash that fits them: then the log is not theirs."""
    run = spoiled(rich, tmp_path, "jobs.parquet")
    frame = pd.read_parquet(rich / "jobs.parquet")
    frame.loc[5, "arrival_s"] += 0.001
    frame.to_parquet(run / "jobs.parquet", index=False)
    (run / "summary.json").unlink()
    summary = summary_of(rich) | {"jobs_sha256": read_jobs(run / "jobs.parquet").sha256}
    (run / "summary.json").write_text(json.dumps(summary))
    assert "job 5 arrives" in found(run, rich)


def test_a_run_of_a_fleet_without_links_or_prices_holds(tmp_path: Path) -> None:
    """Columns of its ledger have no name in any row."""
    folder = tmp_path / "run"
    assert hcsim("run", "experiment=lab", "trace.n=50", "strategy=fifo", f"hydra.run.dir={folder}").status == 0
    assert pd.read_parquet(folder / "ledger.parquet")["tariff"].isna().all()
    said = hcsim("audit", folder)
    assert said.status == 0, said.out


def no(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def old(run: Path) -> None:
    """As an hcsim wrote it that did not keep what jobs asked for."""
    frame = pd.read_parquet(run / "jobs.parquet")
    frame.drop(columns="residency").to_parquet(run / "jobs.parquet", index=False)


def garbled(run: Path) -> None:
    (run / "log.parquet").write_bytes(b"PAR1 or not")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no("config.yaml"), "not a run folder, it has no config.yaml"),
        (no("log.parquet"), "log.parquet: not a readable log"),
        (no("jobs.parquet"), "jobs.parquet: cannot be read"),
        (no("ledger.parquet"), "ledger.parquet: cannot be read"),
        (garbled, "log.parquet: not a readable log"),
        (old, "jobs.parquet: column 'residency' is missing; run it again with this hcsim to audit it"),
        (lambda run: (run / "summary.json").write_text("{}"), "summary.json: no key 'carbon_kg'"),
        (lambda run: (run / "config.yaml").write_text("fleet: {}"), "fleet"),
        (lambda run: shutil.rmtree(run), "not a run folder"),
    ],
)
def test_bad_folders_are_one_line(run: Path, spoil: Callable[[Path], Any], says: str) -> None:
    spoil(run)
    said = hcsim("audit", run)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("hcsim: error: ") and said.err.count("\n") == 1
    assert says in said.err


@pytest.mark.live
def test_a_live_run_holds(tmp_path: Path) -> None:
    """Work on a wall clock: what it takes is what it takes, and all else is proved as in simulation."""
    folder = tmp_path / "run"
    assert hcsim("run", "experiment=local", "strategy=las", f"hydra.run.dir={folder}").status == 0
    said = hcsim("audit", folder)
    assert said.status == 0, said.out
    assert said.out.splitlines()[-1].startswith("audit: holds (")
    rows = Log.read(folder / "log.parquet").array()
    i = int(np.flatnonzero(rows["kind"] == Kind.FINISHED)[0])
    rewrite(folder, lambda rows: np.insert(rows, i, rows[i]))
    assert f"row {i + 1} (FINISHED" in breach(folder)
