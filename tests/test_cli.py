"""What a user's commands leave behind: run folders, sweeps that resume, replays, stories, lists."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsim import __version__
from hcsim.cli import COMMANDS, choices, folder_name
from hcsim.log import Log
from hcsim.traces import philly
from tests.shell import hcsim, heeds_interrupts, swf

SUMMARY = """
jobs_submitted jobs_finished jct_mean_s jct_p50_s jct_p99_s queue_delay_mean_s queue_delay_p99_s makespan_s
gpu_utilization gpu_seconds_used gpu_seconds_lost cost_usd cost_egress_usd cost_by_market_usd deadline_miss_rate
preemptions migrations refusals residency_violations fairness_ftf_p99 events decisions log_sha256 cpu_s decide_cpu_s
"""
PROCESS = [sys.executable, "-m", "hcsim.cli"]


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 200 jobs."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    said = hcsim("run", "strategy=srtf", "trace.n=200", "seed=3", f"hydra.run.dir={folder}")
    assert (said.status, said.err) == (0, "")
    assert "200 of 200 jobs" in said.out and str(folder) in said.out
    return folder


# -- one run -----------------------------------------------------------------------------------------------------------


def test_the_folder_of_a_run(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names == {"config.yaml", "summary.json", "jobs.parquet", "log.parquet", "timeline.parquet", "ledger.parquet"}
    summary = read(run)
    assert set(summary) >= set(SUMMARY.split())
    assert summary["seed"] == 3 and (summary["strategy"], summary["trace"], summary["fleet"]) == (
        "srtf",
        "twin",
        "hybrid",
    )
    assert summary["versions"]["hcsim"] == __version__ and set(summary["versions"]) >= {"python", "numpy", "simpy"}
    assert summary["knowledge"].startswith("noisy run times")
    jobs = pd.read_parquet(run / "jobs.parquet")
    assert len(jobs) == summary["jobs_submitted"] == 200
    assert jobs["jct_s"].mean() == pytest.approx(summary["jct_mean_s"])
    log = Log.read(run / "log.parquet")
    assert (log.sha256, len(log)) == (summary["log_sha256"], summary["events"])
    bill = pd.read_parquet(run / "ledger.parquet")
    assert bill["usd"].sum() == pytest.approx(summary["cost_usd"])
    config = (run / "config.yaml").read_text()
    assert "seed: 3" in config and "${" not in config and "hcsim.strategies.srtf.Srtf" in config


def test_the_same_run_again_is_not_made_again(run: Path) -> None:
    before = (run / "summary.json").stat().st_mtime_ns
    again = ("run", "strategy=srtf", "trace.n=200", "seed=3", f"hydra.run.dir={run}")
    assert "already done" in hcsim(*again).out
    assert (run / "summary.json").stat().st_mtime_ns == before


def test_another_configuration_in_the_same_folder_replaces_the_run(tmp_path: Path) -> None:
    for n in (20, 30):
        assert hcsim("run", f"trace.n={n}", f"hydra.run.dir={tmp_path}").status == 0
        assert read(tmp_path)["jobs_submitted"] == len(pd.read_parquet(tmp_path / "jobs.parquet")) == n


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_that_fails_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hcsim.strategies.fifo import Fifo

    to = f"hydra.run.dir={tmp_path}"
    assert hcsim("run", "strategy=fifo", "trace.n=20", to).status == 0
    before = contents(tmp_path)
    assert hcsim("run", "trace=swf", f"trace.path={tmp_path}/none", to).status == 2
    assert contents(tmp_path) == before
    for error, status in ((KeyboardInterrupt, 130), (KeyError, 2)):

        def broken(self: Fifo, view: Any, error: type[BaseException] = error) -> Any:
            raise error

        monkeypatch.setattr(Fifo, "decide", broken)
        assert hcsim("run", "strategy=fifo", "trace.n=30", to).status == status
        assert contents(tmp_path) == before
    monkeypatch.undo()
    assert "already done" in hcsim("run", "strategy=fifo", "trace.n=20", to).out


def test_a_finished_sweep_outlives_a_wrong_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its results stay, are not compared while the last attempt failed, and are good when the data are back."""
    log = tmp_path / "data" / philly.FILE
    log.parent.mkdir(parents=True)
    rows = b"timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-03 00:00:00,60,1,60,a\n"
    log.write_bytes(gzip.compress(rows))
    args = ("run", "-m", "trace=philly", "strategy=fifo,sjf", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    monkeypatch.setenv("HCSIM_DATA", str(tmp_path / "data"))
    assert hcsim(*args).status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "sweep").glob("*/*")}
    assert len(before) == 12
    monkeypatch.setenv("HCSIM_DATA", str(tmp_path / "nowhere"))
    said = hcsim(*args)
    assert said.status == 2 and said.err.count("nowhere") == 2
    assert {path: path.read_bytes() for path in before} == before
    said = hcsim("compare", tmp_path / "sweep")
    assert said.status == 2 and "2 left out" in said.err
    (tmp_path / "data").rename(tmp_path / "moved")
    monkeypatch.setenv("HCSIM_DATA", str(tmp_path / "moved"))
    said = hcsim(*args)
    assert said.status == 0 and said.out.count("already done") == 2  # the same data at another place
    assert {path: path.read_bytes() for path in before} == before and not list(tmp_path.rglob("error.txt"))


def test_a_cell_that_is_begun_anew_is_not_compared_until_it_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hcsim.strategies.fifo import Fifo

    (tmp_path / "conf" / "perf").mkdir(parents=True)
    perf = tmp_path / "conf" / "perf" / "mine.yaml"
    sweep = tmp_path / "sweep"
    args = ("run", "-m", f"--config-dir={tmp_path / 'conf'}", "perf=mine", "strategy=fifo", "seed=1,2", "trace.n=20")

    def interrupted(self: Fifo, view: Any) -> Any:
        raise KeyboardInterrupt

    perf.write_text("_target_: hcsim.perf.Perf\n")
    assert hcsim(*args, f"hydra.sweep.dir={sweep}").status == 0
    before = {path: path.read_bytes() for path in sweep.glob("*/*")}
    perf.write_text("_target_: hcsim.perf.Perf\nscaling: 0.5\n")
    with monkeypatch.context() as during:
        during.setattr(Fifo, "decide", interrupted)
        assert hcsim(*args, f"hydra.sweep.dir={sweep}").status == 130
    assert {path: path.read_bytes() for path in before} == before
    said = hcsim("compare", sweep)
    assert said.status == 0 and said.err.count("failed: begun anew and not finished") == 1
    assert hcsim(*args, f"hydra.sweep.dir={sweep}").status == 0
    assert not list(sweep.rglob("error.txt")) and all(path.read_bytes() != before[path] for path in before
                                                      if path.name in ("config.yaml", "summary.json"))  # fmt: skip


def test_a_run_that_reads_no_data_is_done_wherever_data_lie(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCSIM_DATA", "/elsewhere")
    assert "already done" in hcsim("run", "strategy=srtf", "trace.n=200", "seed=3", f"hydra.run.dir={run}").out


@pytest.mark.parametrize("at", [0, 3, 5])
def test_an_interrupt_while_a_run_takes_its_place_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Whichever file it comes at: all are of the new run then."""
    replace, seen = os.replace, []

    def interrupted(source: Any, target: Any) -> None:
        if Path(target).parent == tmp_path:
            seen.append(Path(target).name)
            if len(seen) == at + 1:
                signal.raise_signal(signal.SIGINT)
        replace(source, target)

    to = f"hydra.run.dir={tmp_path}"
    assert hcsim("run", "trace.n=20", to).status == 0
    monkeypatch.setattr(os, "replace", interrupted)
    assert hcsim("run", "trace.n=30", to).status == 130
    assert seen == ["config.yaml", "log.parquet", "jobs.parquet", "timeline.parquet", "ledger.parquet", "summary.json"]
    assert read(tmp_path)["jobs_submitted"] == len(pd.read_parquet(tmp_path / "jobs.parquet")) == 30
    assert Log.read(tmp_path / "log.parquet").sha256 == read(tmp_path)["log_sha256"]
    assert "already done" in hcsim("run", "trace.n=30", to).out


def test_replay_gives_the_same_log(run: Path, tmp_path: Path) -> None:
    said = hcsim("replay", run)
    assert said.status == 0 and read(run)["log_sha256"][:12] in said.out and f"{read(run)['events']:,} rows" in said.out
    for name in ("config.yaml", "log.parquet", "summary.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    config = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(config.replace("srtf.Srtf", "random_fit.RandomFit"))
    said = hcsim("replay", tmp_path)
    assert said.status == 2 and said.err.startswith("hcsim: error: replay: row ") and said.err.count("\n") == 1
    (tmp_path / "log.parquet").write_bytes(b"PAR1")
    assert "not a readable log" in hcsim("replay", tmp_path).err


def test_explain_tells_the_story_of_a_job(run: Path) -> None:
    jobs = pd.read_parquet(run / "jobs.parquet")
    said = hcsim("explain", run, 17)
    assert said.status == 0
    for words in ("job 17: ", "pool onprem-a100: ", "arrived", "placed on node", "started", "finished"):
        assert words in said.out
    assert f"{jobs.set_index('id').loc[17, 'finish_s']:.1f} s  finished" in said.out
    said = hcsim("explain", run, 200)
    assert (said.status, said.out) == (2, "") and "no job 200 in twin (seed 3), which has ids 0 to 199" in said.err


JOBS = swf(1, 0) + swf(2, 9) + swf(3, 20, procs=999)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two jobs from a file named relative to the folder, and a third that fits nowhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.swf").write_text(JOBS)
    said = hcsim("run", "trace=swf", "trace.path=jobs.swf", "strategy=fifo", "fleet=lab", "hydra.run.dir=run")
    assert said.status == 0
    return tmp_path


def test_a_run_is_read_again_from_any_folder(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    commands = (["replay", small / "run"], ["explain", small / "run", 1], ["audit", small / "run"],
                ["bill", "export", small / "run", "--out", small / "bill.csv"])  # fmt: skip
    for args in commands:
        assert (hcsim(*args).status, hcsim(*args).err) == (0, ""), args
    assert os.getcwd() == "/"
    small.joinpath("run").rename(small / "moved")
    assert hcsim("replay", small / "moved").status == 0


def test_what_has_changed_since_a_run_is_said(small: Path) -> None:
    run = small / "run"
    commands = (["replay", run], ["explain", run, 1], ["bill", "export", run, "--out", small / "bill.csv"])

    def refuse(said: str) -> None:
        for args in commands:
            got = hcsim(*args)
            assert (got.status, got.out) == (2, "") and got.err.count("\n") == 1, args
            assert got.err.startswith(f"hcsim: error: {run}: {said}"), got.err

    (small / "jobs.swf").write_text(JOBS.replace("2 9 ", "2 10 "))
    refuse("the jobs of jobs.swf: the trace has changed since the run")
    (small / "jobs.swf").write_text(JOBS)
    summary, config = (run / "summary.json").read_text(), (run / "config.yaml").read_text()
    (run / "summary.json").write_text(summary.replace(read(run)["log_sha256"], "0" * 64))
    refuse("the log: it or summary.json has changed since the run")
    (run / "summary.json").write_text(summary[:-9])
    refuse("no finished run, its summary.json cannot be read")
    (run / "summary.json").unlink()
    refuse("no finished run, its summary.json cannot be read")
    (run / "summary.json").write_text(summary)
    assert "  boot_s: " not in config and config.count("nodes: ") == 1
    (run / "config.yaml").write_text(re.sub("nodes: .*", "nodes: 3", config))
    refuse("fleet 'lab': a file that it is read from, or hcsim, has changed since the run")
    (run / "config.yaml").write_text(config)
    assert hcsim("replay", run).status == 0


def test_explain_says_why_a_job_was_left_out(small: Path) -> None:
    said = hcsim("explain", small / "run", 3)
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines() == [
        "job 3: 999 GPUs, tenant user7", "  pool lab-a100: barred by rule gang", "  left out of the run: fits no pool"
    ]  # fmt: skip
    assert "no job 4 in jobs.swf, which has ids 1 to 3" in hcsim("explain", small / "run", 4).err


def test_lists() -> None:
    said = hcsim("strategies", "list")
    assert [line.split()[0] for line in said.out.splitlines()] == choices()["strategy"]
    assert "[knows run times]" in next(line for line in said.out.splitlines() if line.startswith("srtf "))
    said = hcsim("strategies", "check", "fifo")
    assert (said.status, said.out) == (0, f"{'fifo':<22} ok\n1 of 1 strategies pass\n")
    assert {"philly", "swf", "twin"} <= {line.split()[0] for line in hcsim("traces", "list").out.splitlines()}
    said = hcsim("traces", "describe", "twin", "trace.n=50", "seed=9")
    assert "twin (seed 9)" in said.out and "rows                 50\n" in said.out


def test_help() -> None:
    for args in ([], ["--help"], ["help"]):
        said = hcsim(*args)
        assert said.status == 0 and all(f"  {name} " in said.out for name in COMMANDS)
    assert hcsim("--version").out == f"hcsim {__version__}\n"
    said = hcsim("run", "--help")
    assert (
        said.status == 0 and all(name in said.out for name in choices()["strategy"]) and "trace.path=FILE" in said.out
    )
    assert "usage: hcsim replay" in hcsim("replay", "--help").out


# -- sweeps ------------------------------------------------------------------------------------------------------------


def cells(folder: Path) -> dict[str, dict[str, Any]]:
    """The finished runs of a sweep by what was swept."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.rglob("summary.json"))}


def test_a_sweep_is_the_same_on_two_workers(tmp_path: Path) -> None:
    args = ("run", "-m", "strategy=las,cheapest_fit", "seed=1,2", "trace.n=200")
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"hydra.sweep.dir={tmp_path / 'two'}")
    process = subprocess.Popen([*PROCESS, *args, *parallel], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    one = hcsim(*args, f"hydra.sweep.dir={tmp_path / 'one'}")
    assert (one.status, one.err) == (0, "") and "4 finished runs" in one.out
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    first, second = cells(tmp_path / "one"), cells(tmp_path / "two")
    assert len(first) == 4 and first.keys() == second.keys()
    for name, summary in first.items():
        unequal = {key for key, value in summary.items() if second[name][key] != value}
        assert unequal <= {"cpu_s", "decide_cpu_s"}
    assert len({summary["log_sha256"] for summary in first.values()}) == 4


def test_a_cell_that_fails_leaves_the_others(tmp_path: Path) -> None:
    args = ("run", "-m", "strategy=sjf,fifo", "estimator=none", "seed=1,2", "trace.n=50", f"hydra.sweep.dir={tmp_path}")
    said = hcsim(*args)
    assert said.status == 2 and said.err.count("\n") == 2
    for line, seed in zip(said.err.splitlines(), (1, 2), strict=True):
        assert line.startswith(f"hcsim: error: {tmp_path}/") and f"seed={seed}" in line and "needs run times" in line
    assert sorted((s["strategy"], s["seed"]) for s in cells(tmp_path).values()) == [("fifo", 1), ("fifo", 2)]
    failed = [path for path in tmp_path.iterdir() if "sjf" in path.name]
    assert [[file.name for file in path.iterdir()] for path in failed] == [["error.txt"]] * 2
    said = hcsim(*args)
    assert said.status == 2 and said.out.count("already done") == 2
    said = hcsim("compare", tmp_path)
    assert said.status == 0 and said.err.count("left out") == 2 and "failed: strategy sjf needs run times" in said.err


def test_an_error_of_an_earlier_command_fails_no_later_one(tmp_path: Path) -> None:
    """A cell that failed under another name is not of this sweep, but one that fails again is."""
    args = ("run", "-m", "strategy=fifo,sjf", "trace.n=20", f"hydra.sweep.dir={tmp_path}")
    assert hcsim(*args, "estimator=none").status == 2
    said = hcsim(*args, "estimator=oracle")
    assert (said.status, said.err) == (0, "") and "3 finished runs" in said.out
    said = hcsim(*args, "estimator=none")
    assert said.status == 2 and said.err.count("needs run times") == said.err.count("\n") == 1


def test_a_cell_that_is_mended_is_made(tmp_path: Path) -> None:
    trace = tmp_path / "jobs.swf"
    args = ("run", "-m", "seed=1,2", "trace=swf", f"trace.path={trace}", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert hcsim(*args).status == 2
    trace.write_text("1 0 -1 60 4 -1 -1 4 100 -1 1 7 1 1 1 1 -1 -1\n")
    assert hcsim(*args).status == 0
    assert len(cells(tmp_path / "sweep")) == 2 and not list(tmp_path.rglob("error.txt"))


def test_finished_cells_whose_trace_is_damaged_later_are_not_passed_off_as_done(tmp_path: Path) -> None:
    """What was made of the trace as it was stays, and is good again when the trace is."""
    trace = tmp_path / "jobs.swf"
    trace.write_text(swf())
    args = ("run", "-m", "seed=1,2", "trace=swf", f"trace.path={trace}", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert hcsim(*args).status == 0
    trace.write_text(swf(run=-7))
    said = hcsim(*args)
    assert said.status == 2 and said.err.count(f"{trace}: row 1: run_s is -7") == 2
    assert "0 finished runs" in said.out and "already done" not in said.out
    said = hcsim("compare", tmp_path / "sweep")
    assert said.status == 2 and "2 left out, the first: " in said.err and "run_s is -7" in said.err
    trace.write_text(swf())
    assert hcsim(*args).out.count("already done") == 2
    assert hcsim("compare", tmp_path / "sweep").status == 0


def test_folders_of_a_sweep_stay_inside_it(tmp_path: Path) -> None:
    """Whatever the overrides hold, and however many they are: one folder per cell, found again."""
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / "data" / f"{name}.swf").write_text(swf(1, 0, 60) + swf(2, 9, 60))
    place = os.path.relpath(tmp_path / "data")
    paths = ",".join(f"{place}/../data/{name}.swf" for name in "ab")
    many = [f"trace.attributes.{key}=1" for key in ("checkpoint_s", "restart_s", "dataset_sigma", "checkpoint_bytes")]
    for swept in ([f"trace.path={paths}"], [f"trace.path={paths}", *many]):
        sweep = tmp_path / f"sweep{len(swept)}"
        args = ("run", "-m", "trace=swf", *swept, "seed=1,2", f"hydra.sweep.dir={sweep}")
        said = hcsim(*args)
        assert (said.status, said.err) == (0, "") and "4 finished runs" in said.out
        folders = [path.parent for path in sweep.rglob("summary.json")]
        assert len(folders) == 4 and {path.parent for path in folders} == {sweep}
        read = (".swf", "checkpoint_s=1", "trace.path=")  # of a long name the start stays
        assert all(any(word in path.name for word in read) for path in folders)
        assert hcsim(*args).out.count("already done") == 4
        assert hcsim("compare", sweep).status == 2  # two traces
    assert {path.name for path in tmp_path.iterdir()} == {"data", "sweep1", "sweep5"}


@given(st.lists(st.text(max_size=90), min_size=2, max_size=2, unique=True))
def test_names_of_folders(texts: list[str]) -> None:
    one, two = (folder_name(f"key={text}") for text in texts)
    assert one != two
    for name in (one, two):
        assert len(name.encode(errors="surrogatepass")) <= 140 and not set(name) & set("/\\\0\n")
    assert folder_name("++trace.n=3,+a=1,seed=2,b=c+d") == "trace.n=3,a=1,seed=2,b=c+d"


def test_a_sweep_of_a_choice_that_is_not_there_starts_nothing(tmp_path: Path) -> None:
    said = hcsim("run", "-m", "strategy=fifo,fifi", "trace.n=50", f"hydra.sweep.dir={tmp_path}")
    assert said.status == 2 and said.err == "hcsim: error: no strategy 'fifi'; did you mean 'fifo'?\n"
    assert not cells(tmp_path)


def waiting_for(what: Path, process: subprocess.Popen[str]) -> None:
    """Until a file or folder is there."""
    end = time.monotonic() + 60
    while not what.exists():
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < end, f"no {what}"
        time.sleep(0.02)


SLOW = """
import time
from dataclasses import dataclass
from pathlib import Path
from hcsim.strategies.fifo import Fifo

@dataclass(frozen=True)
class Slow(Fifo):
    def decide(self, view):
        if view.decision == 20:
            Path("begun").touch()
            while Path("wait").exists():
                time.sleep(0.01)
        return super().decide(view)
"""


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_an_interrupted_sweep_goes_on_where_it_stopped(
    tmp_path: Path, launcher: str, request: pytest.FixtureRequest
) -> None:
    """One cell is finished, one in the middle of its run; one has not begun, unless it has a worker of its own."""
    (tmp_path / "conf" / "strategy").mkdir(parents=True)
    (tmp_path / "conf" / "strategy" / "slow.yaml").write_text("_target_: slow.Slow\n")
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "wait").touch()
    args = [*PROCESS, "run", "-m", "--config-dir=conf", "strategy=fifo,slow,las", "trace.n=50", "hydra.sweep.dir=sweep"]
    args += [f"hydra/launcher={launcher}"] + ["hydra.launcher.n_jobs=2"] * (launcher == "joblib")

    def start() -> subprocess.Popen[str]:
        to = subprocess.PIPE
        begun = subprocess.Popen(
            args, cwd=tmp_path, stdout=to, stderr=to, text=True, start_new_session=True, preexec_fn=heeds_interrupts
        )
        request.addfinalizer(lambda: begun.poll() is None and os.killpg(begun.pid, signal.SIGKILL))
        return begun

    process = start()
    done, cut, later = (tmp_path / "sweep" / f"trace.n=50,strategy={name}" for name in ("fifo", "slow", "las"))
    waiting_for(done / "summary.json", process)
    waiting_for(tmp_path / "begun", process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers as well
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "hcsim: error: interrupted; finished runs stay, and the same command goes on where it stopped\n"
    assert not (cut / "summary.json").exists() and not list(cut.glob("*.partial"))
    if launcher == "basic":
        assert not list(cut.iterdir()) and not later.exists()
    stamps = {path: path.stat().st_mtime_ns for path in done.iterdir()}
    assert read(done)["jobs_finished"] == 50 and len(stamps) == 6

    (tmp_path / "wait").unlink()
    process = start()
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "sweep/trace.n=50,strategy=fifo: already done" in out
    assert {path: path.stat().st_mtime_ns for path in done.iterdir()} == stamps
    assert sorted(summary["strategy"] for summary in cells(tmp_path / "sweep").values()) == ["fifo", "las", "slow"]


def test_an_interrupt_of_one_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hcsim.strategies.fifo import Fifo

    def interrupted(self: Fifo, view: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Fifo, "decide", interrupted)
    said = hcsim("run", "strategy=fifo", "trace.n=50", f"hydra.run.dir={tmp_path / 'run'}")
    assert (said.status, said.out) == (130, "")
    assert said.err == "hcsim: error: interrupted; nothing of the run is kept\n"
    assert not (tmp_path / "run").exists()  # not even an empty folder
    monkeypatch.chdir(tmp_path)
    assert hcsim("run", "strategy=fifo", "trace.n=50").status == 130  # into a folder of its own
    assert not [path for path in (tmp_path / "runs").glob("*/*")]


def test_an_interrupted_sweep_names_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A default folder is another at the next start, so the same command alone would begin anew."""
    from hcsim.strategies.fifo import Fifo

    decide = Fifo.decide

    def interrupted(self: Fifo, view: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Fifo, "decide", interrupted)
    said = hcsim("run", "-m", "strategy=first_fit,fifo", "trace.n=50")
    assert said.status == 130
    found = re.fullmatch(
        r"hcsim: error: interrupted; finished runs stay, and the same command with (hydra.sweep.dir=\S+) goes on where"
        r" it stopped\n",
        said.err,
    )
    assert found is not None
    monkeypatch.setattr(Fifo, "decide", decide)
    said = hcsim("run", "-m", "strategy=first_fit,fifo", "trace.n=50", found.group(1))
    assert said.status == 0 and said.out.count("already done") == 1 and "2 finished runs" in said.out
