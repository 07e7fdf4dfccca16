"""The live executor: the same loop, the same strategy, real PyTorch work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hcsim import Experiment, Fleet, InputError, Jobs, Link, NodePool, Plan, Site, Strategy, View, every, on_change
from hcsim.actions import Do
from hcsim.control import run
from hcsim.events import Kind
from hcsim.live import Local, LocalExecutor
from hcsim.live.executor import LiveError
from hcsim.log import Log
from hcsim.perf import Perf
from hcsim.replay import replay
from hcsim.sim import Simulated
from hcsim.state import State
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategies.las import Las
from hcsim.strategy import strategy_sha256
from hcsim.testing import violation
from tests.shell import heeds_interrupts

pytestmark = [pytest.mark.live, pytest.mark.slow]

SCALE = 100.0  # trace seconds per second
SHORT = Local(steps_per_s=100.0, time_scale=SCALE)


def one_device() -> Fleet:
    """One core group."""
    return Fleet((Site("here", (NodePool("own", "cpu", 1, 1, 0.02),)),), name="one device")


def machine(devices: int = 2) -> Fleet:
    """Owned core groups, and a rented one that takes 100 s to boot."""
    return Fleet(
        (
            Site("here", (NodePool("own", "cpu", devices, 1, 0.02),), "eu"),
            Site("cloud", (NodePool("rent", "cpu", 1, 1, 0.05, "on_demand", boot_s=100.0),), "us", "a", "cloud"),
        ),
        (Link("here", "cloud"), Link("cloud", "here", usd_per_gb=0.09)),
        name="machine",
    )


def ten_jobs() -> Jobs:
    """A long job first; nine short ones come while it runs."""
    return Jobs.build(
        arrival_s=[0.0] + [150.0 + 40.0 * i for i in range(9)],
        duration_s=[3000.0] + [60.0 + 20.0 * i for i in range(9)],
        gpus=[2, 1, 1, 2, 1, 1, 1, 2, 1, 1],
        checkpoint_interval_s=[200.0] * 10,
        source="ten jobs",
    )


def uninterrupted(seed: int, job: int, steps: int) -> str:
    """The weights after that many steps in one go, on one thread."""
    from hcsim.live.work import Training, use_threads

    use_threads(1)
    work = Training(seed, job)
    for _ in range(steps):
        work.step()
    return work.weights_sha256()


def kept(fleet: Fleet, work: Jobs, strategy: Strategy, executor: LocalExecutor) -> Log:
    """A run of a given executor."""
    log = Log()
    try:
        run(executor, strategy, State(fleet, work, Perf(), work.duration_s.data, 0), log)
    finally:
        executor.close()
    return log


def rows_of(log: Log, kind: Kind) -> list[int]:
    rows = log.array()
    return [int(s) for s in rows["subject"][rows["kind"] == kind]]


def test_ten_jobs_under_the_same_strategy_in_both_worlds() -> None:
    """One of them is preempted and resumed, as simulation foretells; the live log replays exactly."""
    experiment = Experiment(machine(), ten_jobs(), Las(threshold_gpu_s=150.0), executor=SHORT)
    live, simulated = experiment.run(), replace(experiment, executor=Simulated()).run()
    for result in (live, simulated):
        assert result.summary["jobs_finished"] == 10
        assert 0 in rows_of(result.log, Kind.PREEMPTED)
        assert rows_of(result.log, Kind.STARTED).count(0) >= 2
        assert violation(result.log, result.fleet, result.jobs) == ""
    assert live.summary["executor"] == "local" and "torch" in live.summary["versions"]
    assert live.summary["strategy_sha256"] == simulated.summary["strategy_sha256"]
    assert live.summary["strategy_sha256"] == strategy_sha256(experiment.strategy)
    assert live.summary["jobs_sha256"] == simulated.summary["jobs_sha256"]
    assert replay(live.log, live.fleet, live.jobs, experiment.strategy).sha256 == live.log.sha256


@dataclass(frozen=True)
class StopOnce(Strategy):
    """First fit; stops job 0 when it has run for 150 s and job 1 still waits, with a checkpoint or without."""

    checkpoint: bool = True
    wake = on_change | every(25.0)

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        if 0 in view.running() and view.attained_gpu_s(0) > 150.0 and 1 in view.waiting:
            plan.preempt(0, checkpoint=self.checkpoint)
        for job in plan.placeable(view.waiting):
            plan.place(job, plan.first_fit(job))
        return plan


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_stopped_job_ends_with_the_weights_of_one_left_alone(checkpoint: bool) -> None:
    fleet = one_device()
    work = Jobs.build(arrival_s=[0.0, 1.0], duration_s=[1200.0, 50.0], checkpoint_interval_s=[100.0] * 2)
    executor = SHORT.start(fleet, work, Perf(), 5)
    log = kept(fleet, work, StopOnce(checkpoint), executor)
    preempted = log.array()[log.array()["kind"] == Kind.PREEMPTED]
    assert preempted["subject"].tolist() == [0]
    assert (preempted["value"][0] > 0) == (not checkpoint)  # what was lost is in the log
    assert preempted["value"][0] < 150  # one checkpoint at least had been written
    report = executor.reports[0]
    assert report.steps == executor.steps[0] == 1200
    assert report.weights_sha256 == uninterrupted(5, 0, 1200)


class Murdered(LocalExecutor):
    """Kills the first worker of job 0 after a while, as an out-of-memory killer would."""

    after_s = 4.0
    times = 1

    def _launch(self, job: int, allocation: object) -> None:
        super()._launch(job, allocation)  # type: ignore[arg-type]
        if job == 0 and self.times:
            self.times -= 1
            threading.Timer(self.after_s, self._workers[job].process.kill).start()


def test_a_dead_worker_is_a_loss_and_the_job_runs_again() -> None:
    fleet = one_device()
    work = Jobs.build(arrival_s=[0.0], duration_s=[800.0], checkpoint_interval_s=[100.0])
    executor = Murdered(fleet, work, 0, 100.0, SCALE, 30.0, 3)
    log = kept(fleet, work, FirstFit(), executor)
    assert rows_of(log, Kind.LOST) == [0]
    assert rows_of(log, Kind.FINISHED) == [0]
    assert executor.reports[0].weights_sha256 == uninterrupted(0, 0, 800)
    assert replay(log, fleet, work, FirstFit()).sha256 == log.sha256


def test_a_job_whose_workers_keep_dying_ends_the_run() -> None:
    fleet = one_device()
    work = Jobs.build(arrival_s=[0.0], duration_s=[1e5])
    executor = Murdered(fleet, work, 0, 100.0, SCALE, 30.0, 1)
    executor.after_s, executor.times = 0.2, 9
    with pytest.raises(LiveError, match="job 0: its worker died 2 times, last with status -9"):
        kept(fleet, work, FirstFit(), executor)


def test_work_that_raises_ends_the_run_with_its_message() -> None:
    fleet = one_device()
    work = Jobs.build(arrival_s=[0.0], duration_s=[100.0])
    executor = SHORT.start(fleet, work, Perf(), 0)
    Path(executor._folder.name, "0.pt").write_text("not a checkpoint")
    with pytest.raises(LiveError, match="job 0 failed: "):
        kept(fleet, work, FirstFit(), executor)


def children(pid: int) -> list[int]:
    out = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                out.append(int(entry.name))
    return out


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_run(tmp_path: Path, how: signal.Signals) -> None:
    command = [
        sys.executable,
        "-m",
        "hcsim.cli",
        "run",
        "experiment=local",
        "strategy=first_fit",
        "executor.time_scale=20",
    ]
    parent = subprocess.Popen(
        [*command, f"hydra.run.dir={tmp_path / 'run'}"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=heeds_interrupts,
    )
    deadline = time.monotonic() + 60
    while not (workers := children(parent.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3.0)  # into the training
    workers = children(parent.pid)
    assert workers
    os.kill(parent.pid, how)
    _, error = parent.communicate(timeout=30)
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in workers if alive(pid)]
    assert not (tmp_path / "run" / "summary.json").exists()
    if how == signal.SIGINT:
        assert parent.returncode == 130
        assert error.count("\n") == 1 and "interrupted" in error


def test_the_command_of_the_readme(tmp_path: Path) -> None:
    """Ten jobs, of which the long one is preempted and resumed, live; the log replays, and the figures say so."""
    command = [sys.executable, "-m", "hcsim.cli"]
    run = [*command, "run", "experiment=local", "strategy=las", f"hydra.run.dir={tmp_path / 'run'}"]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["executor"] == "local" and summary["jobs_finished"] == 10 and summary["preemptions"] >= 1
    log = Log.read(tmp_path / "run" / "log.parquet")
    assert 0 in rows_of(log, Kind.PREEMPTED) and rows_of(log, Kind.STARTED).count(0) >= 2
    said = subprocess.run([*command, "replay", tmp_path / "run"], check=True, capture_output=True, text=True)
    assert summary["log_sha256"][:12] in said.stdout


def test_what_it_cannot_do_is_said_at_once() -> None:
    a100 = Fleet((Site("home", (NodePool("own", "A100", 8, 1),)),))
    with pytest.raises(InputError, match="pool 'own' has A100 devices"):
        SHORT.world(a100, ten_jobs())
    failing = Fleet((Site("home", (NodePool("own", "cpu", 2, 1, mtbf_s=100.0),)),))
    with pytest.raises(InputError, match="mtbf_s=100"):
        SHORT.world(failing, ten_jobs())
    wide = Jobs.build(arrival_s=[0.0], duration_s=[1.0], gpus=[3], source="wide")
    with pytest.raises(InputError, match="wide: job 0 asks for gpus, more than the 2 devices"):
        SHORT.world(machine(), wide)
    shared = Jobs.build(arrival_s=[0.0], duration_s=[1.0], gpu_milli=[500], source="shared")
    with pytest.raises(InputError, match="shared: job 0 asks for gpu_milli"):
        SHORT.world(machine(), shared)
    with pytest.raises(InputError, match=r"executor\.time_scale is 0"):
        Local(time_scale=0)


def test_a_budget_stops_a_node_that_is_up_and_calls_off_one_that_boots() -> None:
    """The orders that a budget gives, one by one; nothing runs on the nodes."""
    pool = NodePool("rent", "cpu", 1, 2, 1.0, "on_demand")
    work = Jobs.build(arrival_s=[0.0], duration_s=[1.0], gpus=[1])
    executor = LocalExecutor(Fleet((Site("here", (pool,)),)), work, 0, 1.0, 1.0, 5.0, 3)
    try:
        executor.submit((Do.BOOT, 0, (), 0.0))
        executor._now = 1.0
        assert [row[1] for row in executor._happened()] == [Kind.NODE_UP]
        executor.submit((Do.BOOT, 1, (), 0.0))
        assert executor.submit((Do.STOP, 1, (), 0.0)) == ((1.0, Kind.NODE_OFF, 1, -1, 1.0, 0.0),)
        stopped = executor.submit((Do.STOP, 0, (), 0.0))
        assert [(row[1], row[2], row[4]) for row in stopped] == [(Kind.NODE_DOWN, 0, 2.0), (Kind.NODE_OFF, 0, 0.0)]
        executor.submit((Do.BUDGET, 0, (), 3.0))
        executor._now = 3.0
        assert [row[1] for row in executor._happened()] == [Kind.BUDGET]  # and not the boot that was called off
    finally:
        executor.close()
