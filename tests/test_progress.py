"""What a person at a terminal sees while something runs, and what is left of it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.shell import heeds_interrupts

#: The command line with the time before a line is shown cut down.
HASTY = "import hcsim.progress as p; p.PATIENCE_S = 0.1; from hcsim.cli import main; main()"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
SLOW = """
import time
from dataclasses import dataclass
from pathlib import Path
from hcsim.strategies.fifo import Fifo

@dataclass(frozen=True)
class Slow(Fifo):
    for_s: float = 0.4

    def decide(self, view):
        Path("begun").touch()
        time.sleep(self.for_s)
        return super().decide(view)
"""


class Terminal:
    """A command on a terminal; ``piped`` sends its standard output elsewhere."""

    def __init__(self, folder: Path, *args: str, piped: bool = False) -> None:
        (folder / "slow.py").write_text(SLOW)
        (folder / "conf" / "strategy").mkdir(parents=True)
        (folder / "conf" / "strategy" / "slow.yaml").write_text("_target_: slow.Slow\n")
        self._ours, theirs = pty.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", HASTY, *args],
            cwd=folder,
            stdout=subprocess.PIPE if piped else theirs,
            stderr=theirs,
            text=True,
            start_new_session=True,
            preexec_fn=heeds_interrupts,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "200"},
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 4096)
            except OSError:  # how Linux says that nobody writes any more
                piece = b""
            if not piece:
                return
            self.shown += piece.decode(errors="replace")

    def end(self) -> tuple[int, str]:
        """Wait for it: its exit status, and what it wrote to a pipe."""
        out, _ = self.process.communicate(timeout=90)
        self._reader.join(timeout=10)
        os.close(self._ours)
        return self.process.returncode, out or ""


def test_a_run_of_few_instants_says_how_far_it_is(tmp_path: Path) -> None:
    """As a live run, whose instants are seconds apart."""
    terminal = Terminal(tmp_path, "run", "--config-dir=conf", "strategy=slow", "trace.n=6", "hydra.run.dir=run")
    assert terminal.end() == (0, "")
    counts = {int(found) for found in re.findall(r"slow: day \S+, (\d) jobs arrived", terminal.shown)}
    assert len(counts) >= 4, terminal.shown
    assert terminal.shown.count(HIDE) == terminal.shown.count(SHOW) > 0


def test_an_interrupted_sweep_gives_the_cursor_back(tmp_path: Path) -> None:
    terminal = Terminal(
        tmp_path, "run", "-m", "--config-dir=conf", "strategy=slow", "strategy.for_s=0.4", "seed=1,2", "trace.n=500"
    )
    while "runs finished in" not in terminal.shown:
        assert terminal.process.poll() is None, terminal.shown
        threading.Event().wait(0.05)
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.end()[0] == 130
    assert "interrupted; finished runs stay" in terminal.shown
    assert terminal.shown.count(HIDE) == terminal.shown.count(SHOW) > 0
    assert terminal.shown.rindex(SHOW) > terminal.shown.rindex(HIDE)


def test_checks_show_progress_and_write_to_the_pipe(tmp_path: Path) -> None:
    """What is written while a line stands on the terminal goes to where it was sent."""
    terminal = Terminal(tmp_path, "strategies", "check", "fifo", "first_fit", "sjf", piped=True)
    status, out = terminal.end()
    assert (status, out.splitlines()[-1]) == (0, "3 of 3 strategies pass")
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["fifo", "first_fit", "sjf"]
    assert "strategies check: fifo" in terminal.shown and "3 of 3" not in terminal.shown
    assert terminal.shown.count(HIDE) == terminal.shown.count(SHOW) > 0
