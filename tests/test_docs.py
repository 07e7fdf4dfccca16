"""The code on the pages runs, and does what the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcsim import Fleet, Jobs, Link, NodePool, Site
from hcsim.control import run
from hcsim.events import Kind
from hcsim.log import Log
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.first_fit import FirstFit
from tests.shell import hcsim

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(page: Path) -> str:
    return "\n\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE))


def world() -> tuple[Fleet, Jobs]:
    fleet = Fleet(
        (
            Site("home", (NodePool("own", "A100", 8, 4, 1.0),)),
            Site("cloud", (NodePool("rent", "A100", 8, 4, 4.0, "on_demand", boot_s=60.0),), kind="cloud"),
        ),
        (Link("home", "cloud"), Link("cloud", "home")),
    )
    n = 200
    return fleet, Jobs.build(
        arrival_s=np.arange(n) * 60.0,
        duration_s=np.full(n, 5000.0),
        gpus=np.where(np.arange(n) % 4 == 0, 4, 1),
        checkpoint_interval_s=np.full(n, 600.0),
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path) -> None:
    run_page(page)


def run_page(page: Path) -> dict[str, Any]:
    """Names that a page's blocks define, run one after the other."""
    names: dict[str, Any] = {"__name__": __name__}  # dataclasses look their module up
    exec(compile(blocks(page), str(page), "exec"), names)
    return names


def concepts() -> dict[str, Any]:
    return run_page(ROOT / "docs" / "concepts.md")


def test_the_patient_strategy_waits_its_patience_and_no_longer() -> None:
    fleet, jobs = world()
    log = Log()
    patience_s = 1800.0
    run(Simulation(fleet, jobs), concepts()["Patient"](patience_s), State(fleet, jobs), log)
    rows = log.array()
    placed = rows[rows["kind"] == Kind.PLACED]
    rented = placed[placed["node"] >= 4]
    waited = rented["time_s"] - jobs.arrival_s[rented["subject"]]
    assert len(rented) > 0
    assert waited.min() == pytest.approx(patience_s)  # 32 owned GPUs are full, so the first to spill has just run out
    assert (rows["kind"] == Kind.FINISHED).sum() == len(jobs)


def test_a_users_process_runs_beside_the_engine() -> None:
    fleet, jobs = world()
    log = Log()
    sim = Simulation(fleet, jobs, processes=[concepts()["brown_out"]])
    run(sim, FirstFit(), State(fleet, jobs), log)
    rows = log.array()
    downs = rows[rows["kind"] == Kind.NODE_DOWN]
    assert downs["time_s"].tolist() == [7200.0] * 4
    assert downs["subject"].tolist() == [0, 1, 2, 3]
    assert (rows["kind"] == Kind.LOST).sum() > 0
    assert rows[rows["kind"] == Kind.PRICE_CHANGED]["value"].tolist() == [8.0, 4.0]
    owned = rows[(rows["kind"] == Kind.PLACED) & (rows["node"] < 4)]
    assert not ((owned["time_s"] >= 7200.0) & (owned["time_s"] < 10800.0)).any()
    assert (rows["kind"] == Kind.FINISHED).sum() == len(jobs)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_the_pages_exist(page: Path) -> None:
    from hcsim.cli import COMMANDS

    named = re.findall(r"(?:^ {4}|`)hcsim ([a-z]+)", page.read_text(), flags=re.MULTILINE)
    assert set(named) <= set(COMMANDS)


def test_the_pages_name_every_command() -> None:
    from hcsim.cli import COMMANDS

    text = "\n".join(page.read_text() for page in PAGES)
    assert [name for name in COMMANDS if not re.search(f"(hcsim|make) {name}", text)] == []


def test_a_users_process_is_named_in_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's process in a module, and its executor as a file."""
    page = (ROOT / "docs" / "concepts.md").read_text()
    code = next(
        each for each in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if "brown" in each
    )
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "conf" / "executor").mkdir(parents=True)
    executor = next(re.finditer(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)).group(1)
    (tmp_path / "conf" / "executor" / "brown.yaml").write_text(executor)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    said = hcsim("run", "--config-dir=conf", "executor=brown", "trace.n=50", "hydra.run.dir=run")
    assert (said.status, said.err) == (0, "")
    rows = Log.read(tmp_path / "run" / "log.parquet").array()
    downs = rows[(rows["kind"] == Kind.NODE_DOWN) & (rows["time_s"] == 7200.0)]
    assert downs["subject"].tolist() == [0, 1, 2, 3]
    assert (rows["kind"] == Kind.PRICE_CHANGED).sum() >= 2
    monkeypatch.chdir("/")
    assert hcsim("replay", tmp_path / "run").status == 0
    monkeypatch.delitem(sys.modules, "mine")
