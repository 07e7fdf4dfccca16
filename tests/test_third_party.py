"""What somebody has who installed hcsim and wrote a strategy beside it: each command in a process of its own, so that
nothing that one has loaded helps the next."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.shell import Said, swf

#: As the installed script is started: without the current folder.
SCRIPT = "import sys; sys.path.remove(''); from hcsim.cli import main; main()"
STRATEGY = """
from dataclasses import dataclass
from hcsim import Strategy, while_waiting
from order import ordered

@dataclass(frozen=True)
class Mine(Strategy):
    wake = while_waiting

    def decide(self, view):
        plan = view.plan()
        for job in ordered(view.waiting):
            where = plan.first_fit(job)
            if where is not None:
                plan.place(job, where)
        return plan

@dataclass(frozen=True)
class Unfinished(Mine):
    def decide(self, view):
        return view.plan()
"""
ORDER = "def ordered(jobs):\n    return sorted(jobs)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A strategy, a module that it uses, a configuration folder and a trace."""
    (tmp_path / "conf" / "strategy").mkdir(parents=True)
    (tmp_path / "mine.py").write_text(STRATEGY)
    (tmp_path / "order.py").write_text(ORDER)
    for name in ("Mine", "Unfinished"):
        (tmp_path / "conf" / "strategy" / f"{name.lower()}.yaml").write_text(f"_target_: mine.{name}\n")
    (tmp_path / "jobs.swf").write_text("".join(swf(i, 10 * i, 60 + i, 4 * (1 + i % 3)) for i in range(60)))
    return tmp_path


def hcsim(folder: Path, *args: str) -> Said:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *args], cwd=folder, capture_output=True, text=True)
    return Said(done.returncode, done.stdout, done.stderr)


RUN = (
    "run",
    "--config-dir=conf",
    "strategy=mine",
    "fleet=lab",
    "trace=swf",
    "trace.path=jobs.swf",
    "hydra.run.dir=out",
)


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "summary.json").read_text())
    return found


@pytest.mark.slow
def test_every_command_finds_the_strategy(folder: Path) -> None:
    said = hcsim(folder, *RUN)
    assert (said.status, said.err) == (0, "")
    said = hcsim(folder, "replay", "out")
    assert (said.status, said.err) == (0, "") and summary(folder)["log_sha256"][:12] in said.out
    said = hcsim(folder, "explain", "out", "17")
    assert (said.status, said.err) == (0, "") and "finished" in said.out
    said = hcsim(folder, "strategies", "list", "--config-dir", "conf")
    assert (said.status, said.err) == (0, "")
    assert {"mine", "unfinished", "fifo"} <= {line.split()[0] for line in said.out.splitlines()}
    for args in (("--config-dir", "conf", "mine", "fifo"), ("mine", "fifo", "--config-dir=conf")):
        said = hcsim(folder, "strategies", "check", *args)
        assert (said.status, said.err) == (0, "")
        assert said.out == f"{'mine':<22} ok\n{'fifo':<22} ok\n2 of 2 strategies pass\n"
    said = hcsim(folder, "strategies", "check", "--config-dir", "conf", "unfinished")
    assert said.status == 1 and said.err == ""
    assert said.out.startswith(f"{'unfinished':<22} FAILED: unfinished: ") and "jobs never finish" in said.out
    said = hcsim(folder, "strategies", "check", "mine")
    assert said.status == 2 and said.err.startswith("hcsim: error: no strategy 'mine'; ")
    said = hcsim(folder, "strategies", "check", "--config-dir", "nowhere")
    assert said.status == 2 and said.err == "hcsim: error: Additional config directory 'nowhere' not found\n"


@pytest.mark.slow
def test_a_finished_run_is_made_again_when_what_it_came_from_has_changed(folder: Path) -> None:
    """The same command in the same folder: the strategy's helper, and then the trace, are other than they were."""
    jobs = (folder / "jobs.swf").read_text()
    assert hcsim(folder, *RUN).status == 0
    first = summary(folder)
    assert hcsim(folder, *RUN).out == f"{folder}/out: already done\n"

    (folder / "order.py").write_text(ORDER.replace("sorted(jobs)", "sorted(jobs, reverse=True)"))
    assert "already done" not in hcsim(folder, *RUN).out
    second = summary(folder)
    assert second["log_sha256"] != first["log_sha256"] and second["strategy_sha256"] != first["strategy_sha256"]
    assert second["jobs_sha256"] == first["jobs_sha256"]

    (folder / "jobs.swf").write_text(jobs.replace(" 64 ", " 65 "))  # of the same length and name
    assert "already done" not in hcsim(folder, *RUN).out
    third = summary(folder)
    assert third["jobs_sha256"] != second["jobs_sha256"] and third["strategy_sha256"] == second["strategy_sha256"]

    stamps = {path: path.stat().st_mtime_ns for path in (folder / "out").iterdir()}
    (folder / "jobs.swf").write_text(jobs.replace(" 64 ", " -6 "))
    said = hcsim(folder, *RUN)
    assert (said.status, said.out) == (2, "") and said.err.startswith("hcsim: error: jobs.swf: row 5: run_s is -6")
    assert {path: path.stat().st_mtime_ns for path in (folder / "out").iterdir()} == stamps  # what was good stays

    (folder / "jobs.swf").write_text(jobs.replace(" 64 ", " 65 "))
    assert hcsim(folder, *RUN).out == f"{folder}/out: already done\n"
    (folder / "out" / "summary.json").write_text("{half")
    assert "60 of 60 jobs" in hcsim(folder, *RUN).out
