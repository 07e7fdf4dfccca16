"""Runs on disk: what is read, what is left out and said, windows of a trace, and the jobs that count."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hcsim as package
from hcsim import Experiment, InputError
from hcsim.compare import OTHER_JOBS, compare
from hcsim.runs import KEYS, Cut, counted, figures_of, read_runs
from hcsim.strategies.fifo import Fifo
from hcsim.strategies.first_fit import FirstFit
from hcsim.traces.twin import Twin
from tests.shell import hcsim
from tests.worlds import owned


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two strategies under three seeds, in folders named as a sweep over steps names them."""
    root = tmp_path_factory.mktemp("runs")
    twin = Twin(n=200, gpus=16, load=1.2, max_gang=8, attributes={"residency_share": 0, "dataset_share": 0})
    for seed in (1, 2, 3):
        for strategy in (FirstFit(), Fifo()):
            name = f"seed={seed},trace.steps=[{{thin:{{keep:1}}}}]'s,strategy={strategy.name}*"
            Experiment(owned(2), twin, strategy, seed=seed).run(root / name)
    return root


# -- frames ------------------------------------------------------------------------------------------------------------


def test_frames_are_tidy_and_hold_what_the_runs_do(folder: Path) -> None:
    runs = package.load(folder)
    assert len(runs.runs) == 6 and runs.left_out == ()
    assert "jobs" not in vars(runs)  # not read until it is asked for
    assert len(runs.jobs) == 6 * 200 and set(KEYS) <= set(runs.jobs)
    for name, frame in (("jobs", runs.jobs), ("timeline", runs.timeline), ("ledger", runs.ledger)):
        for run, mine in frame.groupby("folder"):
            whole = pd.read_parquet(Path(str(run)) / f"{name}.parquet")
            pd.testing.assert_frame_equal(mine[whole.columns].reset_index(drop=True), whole, check_dtype=False)
    mean = runs.jobs.groupby("folder")["jct_s"].mean()
    assert mean.to_dict() == pytest.approx(runs.runs.set_index("folder")["jct_mean_s"].to_dict())
    assert list(runs.read("jobs", ["id", "jct_s"])) == ["id", "jct_s", *KEYS]
    with pytest.raises(InputError, match="runs have no table 'job'; did you mean 'jobs'"):
        runs.read("job")
    with pytest.raises(InputError, match="jobs has no column 'jct'; did you mean 'jct_s'"):
        runs.read("jobs", ["id", "jct"])


def test_duckdb_answers_as_pandas_does(folder: Path) -> None:
    pytest.importorskip("duckdb")
    runs = package.load(folder)
    got = runs.sql("select strategy, seed, avg(jct_s) m, count(*) n from jobs group by all order by all")
    want = runs.jobs.groupby(["strategy", "seed"])["jct_s"].agg(["mean", "size"]).reset_index()
    assert got["n"].tolist() == want["size"].tolist() == [200] * 6
    assert got["m"].tolist() == pytest.approx(want["mean"].tolist())
    bill = runs.sql(
        "select r.folder, sum(usd) s, any_value(cost_usd) c from ledger l join runs r using (folder) group by all"
    )
    assert len(bill) == 6 and bill["s"].tolist() == pytest.approx(bill["c"].tolist())
    assert runs.sql("select count(*) n from timeline")["n"].iloc[0] == len(runs.timeline)
    with pytest.raises(InputError, match=r"sql: .*jbos"):
        runs.sql("select * from jbos")


# -- what cannot be read -----------------------------------------------------------------------------------------------


def spoiled(folder: Path, tmp_path: Path) -> Path:
    """A copy of the runs, and of them the one that a test spoils."""
    shutil.copytree(folder, tmp_path / "runs")
    return sorted((tmp_path / "runs").iterdir())[0]


def test_a_table_whose_data_is_damaged_is_left_out_loudly(folder: Path, tmp_path: Path) -> None:
    """The footer is whole, so that the schema can be read; a page in the middle is not."""
    run = spoiled(folder, tmp_path)
    path = run / "timeline.parquet"
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    assert pq.read_schema(path).names
    with pytest.warns(UserWarning, match=r"left out: .*timeline\.parquet cannot be read") as warned:
        runs = package.load(tmp_path / "runs")
    assert len(warned) == 1 and len(runs.runs) == 5 and str(run) not in set(runs.runs["folder"])
    said = hcsim("compare", tmp_path / "runs", "--out", tmp_path / "out")
    assert said.status == 0 and re.search(r"^hcsim: left out: .*timeline\.parquet cannot be read", said.err, re.M)
    assert "lacks seeds [1]" in said.err and "2 seeds" in said.out
    for name in ("comparison.md", "report.html"):
        assert "left out: " in (tmp_path / "out" / name).read_text()


@pytest.mark.parametrize("how", ["swapped", "changed"])
def test_jobs_that_are_not_of_the_summary_are_left_out(folder: Path, tmp_path: Path, how: str) -> None:
    run = spoiled(folder, tmp_path)
    if how == "swapped":
        shutil.copy(sorted((tmp_path / "runs").iterdir())[-1] / "jobs.parquet", run / "jobs.parquet")
    else:
        frame = pd.read_parquet(run / "jobs.parquet")
        frame.loc[17, "jct_s"] += 60.0
        frame.to_parquet(run / "jobs.parquet", index=False)
    left_out = read_runs([tmp_path / "runs"]).left_out
    assert len(left_out) == 1 and "jobs.parquet is of another run or damaged: jct_mean_s is " in left_out[0]


# -- windows -----------------------------------------------------------------------------------------------------------


def test_pairs_over_windows_of_a_trace(tmp_path: Path) -> None:
    """Two windows under two seeds make four pairs; one that a strategy lacks is named and left out of all."""
    windows = [f"[{{window:{{start_s:{a},end_s:{b}}}}}]" for a, b in ((0, 4000), (4000, 8000))]
    made = ("trace=twin", "trace.n=200", "seed=1,2", f"hydra.sweep.dir={tmp_path}")
    assert hcsim("run", "-m", "strategy=fifo,sjf", f"trace.steps={','.join(windows)}", *made).status == 0
    runs = read_runs([tmp_path])
    assert set(runs.runs["window"]) == {"0 to 4000 s", "4000 to 8000 s"}
    got = compare(runs)
    assert got.pairs == tuple((seed, window) for seed in (1, 2) for window in ("0 to 4000 s", "4000 to 8000 s"))
    assert got.varies == "pair" and got.seeds == (1, 2) and got.notes == ()
    cost = runs.runs[runs.runs["strategy"] == "fifo"].groupby("window")["cost_usd"].mean()
    assert got.cells["fifo"]["cost_usd"].mean == pytest.approx(cost.mean() / 1000)
    for path in tmp_path.glob("*window*4000,end_s:8000*seed=2*strategy=sjf*"):
        shutil.rmtree(path)
    said = hcsim("compare", tmp_path, "--out", tmp_path / "out")
    assert said.status == 0 and "sjf lacks seeds [2] in window 4000 to 8000 s" in said.err
    assert "2 seeds and 2 windows, 3 pairs" in said.out
    other = ("trace.n=250", *made[:1], *made[2:])
    assert hcsim("run", "-m", "strategy=sjf", f"trace.steps={windows[1]}", *other).status == 0
    said = hcsim("compare", tmp_path)
    assert said.status == 2 and "different traces cannot be compared" in said.err and "n=250" in said.err


# -- the jobs that count -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("0", Cut()),
        ("10%", Cut(share=0.1)),
        ("2.5 %", Cut(share=0.025)),
        ("3600", Cut(seconds=3600.0)),
        ("90s", Cut(seconds=90.0)),
        ("1.5h", Cut(seconds=5400.0)),
        ("2d", Cut(seconds=172800.0)),
    ],
)
def test_a_cut_as_it_is_written(text: str, cut: Cut) -> None:
    assert Cut.parse(text, "--warm-up") == cut and bool(cut) == (text != "0")


@pytest.mark.parametrize("text", ["", "ten", "-5%", "1w", "5%%", "nan", "inf"])
def test_what_is_no_cut(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"--warm-up is '{text}', expected a share of the jobs (10%)")):
        Cut.parse(text, "--warm-up")


def test_which_jobs_count() -> None:
    arrival_s = np.array([100.0, 0.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0])
    early, mine = counted(arrival_s, Cut(share=0.25), Cut(share=0.1))  # two of ten, and one
    assert np.flatnonzero(~mine).tolist() == [0, 1, 9] and np.flatnonzero(~early).tolist() == [9]
    _, mine = counted(arrival_s, Cut(seconds=100.0), Cut(seconds=150.0))
    assert np.flatnonzero(~mine).tolist() == [1, 8, 9]
    assert counted(arrival_s, Cut(), Cut())[1].all()


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_a_share_leaves_out_so_many(arrivals: list[float], warm: float, cool: float) -> None:
    n = len(arrivals)
    early, mine = counted(np.array(arrivals), Cut(share=warm), Cut(share=cool))
    assert n - early.sum() == int(cool * n + 1e-9)
    assert mine.sum() == max(0, n - int(warm * n + 1e-9) - int(cool * n + 1e-9))
    left = np.array(arrivals)[mine]
    if len(left) and (~early).any():
        assert left.max() <= np.array(arrivals)[~early].min()


def test_without_a_cut_the_figures_are_the_summarys(folder: Path) -> None:
    for row in read_runs([folder]).runs.to_dict("records"):
        got = figures_of(row["folder"], Cut(), Cut())
        assert got["jobs_counted"] == 200
        for key in ("jct_mean_s", "jct_p50_s", "jct_p99_s", "queue_delay_mean_s", "queue_delay_p99_s"):
            assert got[key] == pytest.approx(row[key]), key


def test_warm_up_and_cool_down_change_jct_and_say_so(folder: Path, tmp_path: Path) -> None:
    said = hcsim("compare", folder, "--warm-up", "10%", "--cool-down", "20%", "--out", tmp_path)
    assert said.status == 0
    assert "JCT and queue delay leave out the jobs that arrived in the first 10 % and the last 20 %" in said.out
    assert "which leaves 420" in " ".join(said.out.split())  # 140 of 200 under each of three seeds
    runs = read_runs([folder])
    jobs = runs.jobs[runs.jobs["strategy"] == "fifo"].sort_values(["seed", "arrival_s"])
    want = np.mean([mine["jct_s"].iloc[20:160].mean() for _, mine in jobs.groupby("seed")]) / 3600
    frame = pd.read_csv(tmp_path / "comparison.csv").set_index(["strategy", "metric"])
    assert frame.loc[("fifo", "mean JCT"), "mean"] == pytest.approx(want)
    assert frame.loc[("fifo", "cost"), "mean"] == pytest.approx(
        runs.runs.query("strategy == 'fifo'")["cost_usd"].mean() / 1000
    )
    assert frame["rule"].nunique() == 1 and "first 10 %" in frame["rule"].iloc[0]
    said = hcsim("compare", folder, "--warm-up", "60%", "--cool-down", "60%", "--out", tmp_path)
    assert said.status == 2 and "of 200 jobs none is left after the warm-up" in said.err
    assert "every job counts" in hcsim("compare", folder, "--out", tmp_path).out


def test_a_cut_forgives_the_end_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    """A job unfinished in the cool-down is forgiven; one rejected there, or unfinished in the warm-up, is not."""

    def verdicts(place: int, status: str) -> tuple[str, str]:
        copy = tmp_path / f"{place}{status}"
        shutil.copytree(folder, copy)
        run = next(path for path in copy.iterdir() if path.name.startswith("seed=1") and "first_fit" in path.name)
        frame = pd.read_parquet(run / "jobs.parquet")
        row = frame.index[np.argsort(frame["arrival_s"].to_numpy(), kind="stable")[place]]
        frame.loc[row, "status"] = status
        frame.loc[row, ["finish_s", "jct_s"]] = np.nan
        frame.to_parquet(run / "jobs.parquet", index=False)
        summary = json.loads((run / "summary.json").read_text())
        summary |= {"jobs_finished": 199, f"jobs_{status}": 1, "jct_mean_s": float(frame["jct_s"].mean())}
        summary["finished_sha256"] = "others"
        (run / "summary.json").write_text(json.dumps(summary))
        got = compare(read_runs([copy]), warm_up=Cut(share=0.1), cool_down=Cut(share=0.1))
        cells = got.cells["first_fit"]
        return cells["jct_mean_s"].verdict, cells["cost_usd"].verdict

    jct, cost = verdicts(-1, "unfinished")
    assert jct != OTHER_JOBS and cost == OTHER_JOBS
    assert verdicts(-1, "rejected") == verdicts(0, "unfinished") == verdicts(100, "unfinished") == (OTHER_JOBS,) * 2
