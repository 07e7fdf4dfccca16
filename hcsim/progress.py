"""What a person sees while something runs: on a terminal, after two seconds; nothing when piped."""

from __future__ import annotations

import sys
import threading
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PATIENCE_S = 2.0


@cache
def _console() -> Console:
    """The terminal, one for all lines: a line that begins while another stands is shown below it."""
    from rich.console import Console

    return Console(stderr=True)


class Busy:
    """A status line for something that may take long, as a context manager; calling it changes the text.

    ``shown``: whether there is a terminal to show it on. What is printed meanwhile goes above the line, or to where it
    was sent if that is not the terminal.
    """

    def __init__(self, text: str) -> None:
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        console = _console()
        self.shown = console.is_terminal
        self._plain, self._spinner = Text, Spinner("dots", Text(text))  # as Text, for a name may have brackets
        self._live = Live(self._spinner, console=console, transient=True, redirect_stdout=sys.stdout.isatty())
        self._lock, self._ended = threading.Lock(), False
        self._timer = threading.Timer(PATIENCE_S, self._show)
        self._timer.daemon = True
        if self.shown:
            self._timer.start()

    def _show(self) -> None:
        with self._lock:
            if not self._ended:
                self._live.start()

    def __call__(self, text: str) -> None:
        self._spinner.update(text=self._plain(text))

    def __enter__(self) -> Busy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._ended = True
            self._live.stop()


class Sweeping:
    """A status line for a sweep: how many of its runs have finished, looked up once a second."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._end, self._busy = folder, threading.Event(), Busy("sweeping")
        self._thread = threading.Thread(target=self._look, daemon=True)
        if self._busy.shown:
            self._thread.start()

    def _look(self) -> None:
        while not self._end.wait(1.0):
            done = sum(1 for _ in self._folder.rglob("summary.json"))
            self._busy(f"{done} runs finished in {self._folder}")

    def stop(self) -> None:
        """Take the line away."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        self._busy.__exit__(None, None, None)


def fell_back(summary: dict[str, Any]) -> str:
    """What to say of solvers that gave no answer; empty when all did."""
    times = summary.get("fallbacks", 0)
    return f"{times:,} times a solver gave no answer and a simpler rule decided (FELL_BACK in the log)" if times else ""


def lost(summary: dict[str, Any]) -> str:
    """What to say of jobs that did not finish; empty when all did."""
    counts = " and ".join(_left(summary))
    return counts and f"{counts} of {summary['jobs_submitted']:,} jobs: JCT and queue delay are of the others"


def _left(summary: dict[str, Any]) -> list[str]:
    counts = {how: summary[f"jobs_{how}"] for how in ("rejected", "unfinished")}
    return [f"{count:,} {how}" for how, count in counts.items() if count]


def told(summary: dict[str, Any], folder: Path) -> str:
    """A run in a few lines."""

    def hours(key: str) -> str:
        value = summary[key]
        return "-" if value is None else f"{value / 3600.0:,.2f} h"

    use = summary["gpu_utilization"]
    jobs = ", ".join([f"{summary['jobs_finished']:,} of {summary['jobs_submitted']:,} jobs", *_left(summary)])
    return (
        f"{summary['strategy']} on {summary['fleet']}, {summary['trace']}, seed {summary['seed']}"
        f" (knows: {summary['knowledge']})\n"
        f"  {jobs}, mean JCT {hours('jct_mean_s')}, mean queue delay {hours('queue_delay_mean_s')}\n"
        f"  {summary['cost_usd']:,.0f} USD, utilisation {'-' if use is None else f'{use:.1%}'},"
        f" {summary['cpu_s']:.1f} CPU s\n"
        f"  in {folder}"
    )
