"""Experiments without the command line: what they refuse, what they keep, and that they can be made again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from hcsim import Experiment, InputError, Jobs, Plan, Strategy, View
from hcsim.control import StrategyError
from hcsim.estimators import Nothing, Oracle
from hcsim.experiment import Result, versions, write_atomically
from hcsim.log import Log
from hcsim.replay import replay
from hcsim.runs import load
from hcsim.sim import Simulated
from hcsim.state import State
from hcsim.strategies.fifo import Fifo
from hcsim.strategies.las import Las
from hcsim.strategies.sjf import Sjf
from hcsim.traces.twin import Twin
from tests.worlds import hybrid, jobs, owned

WORK = jobs((0.0, 100.0, 8), (10.0, 50.0, 4), (20.0, 30.0, 4))


@dataclass(frozen=True)
class Breaks(Strategy):
    """Works until a decision, then does what a strategy must not do."""

    at: int = 2
    error: type[BaseException] = ValueError

    def decide(self, view: View) -> Plan:
        if view.decision == self.at:
            raise self.error("no")
        return Fifo().decide(view)


class Bare(Strategy):
    def decide(self, view: View) -> Plan:
        return view.plan()


@dataclass
class Thawed(Bare):
    pass


class Undecorated(Fifo):
    pass


@dataclass(frozen=True)
class WakesOnWords(Bare):
    wake: ClassVar[Any] = "always"


@dataclass(frozen=True)
class NeedsAWord(Bare):
    needs: ClassVar[Any] = "runtime"


@dataclass(frozen=True)
class NeedsTheUnknown(Bare):
    needs = frozenset({"runtmes"})


MALFORMED: list[tuple[Any, str]] = [
    (Bare(), r"is not decorated with @dataclass\(frozen=True\)"),
    (Thawed(), r"is not decorated with @dataclass\(frozen=True\)"),
    (Undecorated(), r"is not decorated with @dataclass\(frozen=True\)"),
    (WakesOnWords(), "has wake = 'always', expected one of hcsim's wakes"),
    (NeedsAWord(), "has needs = 'runtime', expected a subset of"),
    (NeedsTheUnknown(), r"has needs = frozenset\(\{'runtmes'\}\), expected a subset of"),
    (Fifo, "is no hcsim.Strategy"),
]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [-1, 1.0, "1", None, True])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(InputError, match=r"seed is .*, expected an integer >= 0"):
        Experiment(owned(), WORK, Fifo(), seed=seed)


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="on_infeasible is 'drop', expected 'reject' or 'error'"):
        Experiment(owned(), WORK, Fifo(), on_infeasible="drop")

    for strategy, said in MALFORMED:
        with pytest.raises(InputError, match=f"strategy {type(strategy).__name__} {said}"):
            Experiment(owned(), WORK, strategy)
    with pytest.raises(InputError, match="strategy sjf needs run times, and estimator=none gives none"):
        Experiment(owned(), WORK, Sjf(), Nothing()).run()
    Experiment(owned(), WORK, Fifo(), Nothing()).run()  # does not ask for them


def test_jobs_that_fit_nowhere_are_left_out_and_named() -> None:
    work = jobs((0.0, 10.0, 99), (0.0, 20.0, 8), (5.0, 10.0, 9), id=[70, 71, 72], source="given")
    experiment = Experiment(owned(), work, Fifo())
    result = experiment.run()
    assert result.jobs.id.tolist() == [71]
    said = "given: job 70 (99 GPUs) fits no pool (own: gang); 2 such jobs"
    assert result.summary["left_out"] == f"{said} are left out"
    assert (result.summary["jobs_submitted"], result.summary["jobs_infeasible"]) == (3, 2)
    for change, words in (
        ({"on_infeasible": "error"}, "leaves them out"),
        ({"trace": work.take(work.gpus > 8)}, "no other"),
    ):
        with pytest.raises(InputError) as error:
            dataclasses.replace(experiment, **change).prepare()  # type: ignore[arg-type]
        assert str(error.value).startswith(said) and words in str(error.value)
    assert Experiment(owned(), WORK, Fifo()).run().summary["left_out"] == ""


def test_rules_are_named_pool_by_pool() -> None:
    work = jobs((0.0, 10.0, 2), residency=[0], residencies=("eu",), gpu_memory_bytes=[100e9])
    with pytest.raises(InputError, match=r"own: residency, rent: gpu_memory"):
        Experiment(hybrid(), work, Fifo(), on_infeasible="error").prepare()


@pytest.mark.parametrize(("homes", "shared"), [("home", -1), ("cloud|home", 7)])
def test_a_home_outside_its_residency_is_refused_by_name(homes: str, shared: int) -> None:
    """Home is in the US and the job bound to the EU: also where another replica is in the EU."""
    work = jobs(
        (0.0, 10.0, 2), (1.0, 10.0, 2), id=[30, 31], residency=[0, 0], residencies=("eu",), dataset=[shared] * 2,
        dataset_site=[0, 0], dataset_bytes=[1.0, 1.0], dataset_sites=(homes,),
    )  # fmt: skip
    said = f"job 30: its dataset{' 7' * (shared > 0)} lies at site 'home' in us, expected a home in eu, which binds it"
    for start in (lambda: Experiment(hybrid(), work, Fifo()).prepare(), lambda: State(hybrid(), work)):
        with pytest.raises(InputError, match=said):
            start()
    Experiment(hybrid(), work, Fifo(), executor=Simulated(without=["residency"])).prepare()


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_a_run_in_a_folder(tmp_path: Path) -> None:
    result = Experiment(hybrid(), WORK, Fifo(), seed=5, names={"strategy": "mine"}).run(tmp_path / "new" / "run")
    folder = tmp_path / "new" / "run"
    assert json.loads((folder / "summary.json").read_text()) == result.summary
    assert result.summary["strategy"] == "mine" and result.summary["seed"] == 5
    kept = pd.read_parquet(folder / "jobs.parquet")
    pd.testing.assert_frame_equal(kept[list(result.table)], result.table)
    assert set(kept) - set(result.table) == set(result.jobs.named) - set(result.table)  # what jobs asked for
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "timeline.parquet"), result.timeline)
    log = Log.read(folder / "log.parquet")
    assert log.sha256 == result.log.sha256 == result.summary["log_sha256"]
    ready = Experiment(hybrid(), WORK, Fifo(), seed=5).prepare()
    assert replay(log, ready.fleet, ready.jobs, Fifo(), seed=5).sha256 == log.sha256
    assert len(list(folder.iterdir())) == 5


def test_a_run_that_breaks_off_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Experiment(owned(), WORK, Fifo()).run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StrategyError):
        Experiment(owned(), WORK, Breaks(1, ValueError)).run(tmp_path)

    def full(self: Result, folder: Path) -> None:
        (folder / "jobs.parquet").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Result, "save", full)
    with pytest.raises(OSError, match="No space left"):
        Experiment(owned(), WORK, Las()).run(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_a_run_that_breaks_off_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    expected = StrategyError if issubclass(error, Exception) else error
    work = Twin(n=3000, gpus=8, max_gang=8).jobs(0)  # so many that part of the log is on disk by then
    with pytest.raises(expected):
        Experiment(owned(), dataclasses.replace(work, **NOWHERE), Breaks(4000, error)).run(tmp_path)
    assert not list(tmp_path.iterdir())


#: Columns of the twin that bind a job to no site.
NOWHERE: dict[str, Any] = {
    "residency": np.full(3000, -1, np.int32),
    "dataset_site": np.full(3000, -1, np.int32),
    "dataset_sites": (),
}


def test_a_table_that_cannot_be_written_leaves_no_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = Experiment(owned(), WORK, Fifo()).run()

    def full(path: Path, **options: Any) -> None:
        Path(path).write_text("half")
        raise OSError(28, "No space left on device", str(path))

    ledger = result.ledger.frame(result.fleet)
    monkeypatch.setattr(ledger, "to_parquet", full)
    monkeypatch.setattr(type(result.ledger), "frame", lambda self, fleet, jobs: ledger)
    with pytest.raises(OSError, match="No space left"):
        result.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jobs.parquet", "timeline.parquet"]


def test_write_atomically(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, lambda to: to.write_text("old"))

    def breaks(to: Path) -> None:
        to.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, breaks)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_figures_that_do_not_exist_are_null(tmp_path: Path) -> None:
    """A strategy that starts nothing: the summary is JSON all the same."""

    @dataclass(frozen=True)
    class Idle(Strategy):
        patience_s: float = float("inf")
        shares: tuple[float, ...] = (0.5, float("nan"))

        def decide(self, view: View) -> Plan:
            return view.plan()

    Experiment(owned(), WORK, Idle()).run(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["jobs_finished"] == 0
    assert summary["jct_mean_s"] is summary["makespan_s"] is summary["fairness_ftf_p99"] is None
    assert summary["strategy_params"] == {"patience_s": "inf", "shares": [0.5, "nan"]}


def test_load_reads_what_runs_kept(tmp_path: Path) -> None:
    for strategy in (Fifo(), Las()):
        for seed in (1, 2):
            Experiment(hybrid(), WORK, strategy, seed=seed).run(tmp_path / strategy.name / str(seed))
    (tmp_path / "unfinished").mkdir()
    runs = load(tmp_path)
    assert runs.folders == tuple(tmp_path / name / seed for name in ("fifo", "las") for seed in "12")
    assert runs.runs[["strategy", "seed"]].to_numpy().tolist() == [["fifo", 1], ["fifo", 2], ["las", 1], ["las", 2]]
    assert len(runs.jobs) == 4 * len(WORK) and set(runs.jobs["strategy"]) == {"fifo", "las"}
    assert runs.ledger.groupby("folder")["usd"].sum().tolist() == pytest.approx(runs.runs["cost_usd"].tolist())
    assert set(runs.timeline["folder"]) == {str(folder) for folder in runs.folders}
    assert load(tmp_path / "fifo", tmp_path).folders == runs.folders
    with pytest.raises(InputError, match="no finished run"):
        load(tmp_path / "unfinished")


# -- that it can be made again -----------------------------------------------------------------------------------------


def test_the_same_experiment_has_the_same_outcome() -> None:
    experiment = Experiment(hybrid(2, 4), Twin(n=200, gpus=24, max_gang=4, **OWN), Sjf(), seed=4)
    first, again = experiment.run().summary, experiment.run().summary
    assert {key for key in first if first[key] != again[key]} <= {"cpu_s", "decide_cpu_s"}
    other = dataclasses.replace(experiment, seed=5).run().summary
    assert other["log_sha256"] != first["log_sha256"] and other["jobs_sha256"] != first["jobs_sha256"]
    assert other["fleet_sha256"] == first["fleet_sha256"]


OWN: dict[str, Any] = {"attributes": {"residency_share": 0, "dataset_share": 0}}


def test_hashes_say_what_differs() -> None:
    base = Experiment(owned(), WORK, Las())
    summary = base.run().summary
    later = Jobs.build(arrival_s=WORK.arrival_s + 1, duration_s=WORK.duration_s, gpus=WORK.gpus)
    for change, key in (
        ({"trace": later}, "jobs_sha256"),
        ({"fleet": owned(2)}, "fleet_sha256"),
        ({"strategy": Las(threshold_gpu_s=1.0)}, "strategy_sha256"),
    ):
        other = dataclasses.replace(base, **change).run().summary  # type: ignore[arg-type]
        keys = ("jobs_sha256", "fleet_sha256", "strategy_sha256")
        assert [name for name in keys if other[name] != summary[name]] == [key]


def test_knowledge_is_told() -> None:
    assert Experiment(owned(), WORK, Fifo()).run().summary["knowledge"] == "none"
    assert Experiment(owned(), WORK, Sjf(), Oracle()).run().summary["knowledge"] == "oracle run times"
    assert "σ = 0.5" in Experiment(owned(), WORK, Sjf()).run().summary["knowledge"]


def test_watching_changes_nothing() -> None:
    experiment = Experiment(owned(), WORK, Fifo())
    seen: list[tuple[float, int]] = []
    result = experiment.run(watch=lambda now, arrived: seen.append((now, arrived)))
    assert isinstance(result, Result) and seen[0][0] == 0.0
    assert result.summary["log_sha256"] == experiment.run().summary["log_sha256"]


def test_versions_name_what_figures_depend_on() -> None:
    found = versions(("simpy",))
    assert found["numpy"] == np.__version__ and set(found) >= {"python", "hcsim", "simpy", "pandas", "scipy", "pyarrow"}
    assert Experiment(owned(), WORK, Fifo()).run().summary["versions"] == found
    assert "unknown" not in found.values()
