"""What a person sees while something runs: on a terminal, after two seconds; nothing when piped."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

PATIENCE_S = 2.0


class Watching:
    """A status line for one run, as a context manager that gives a function to call with (simulated s, arrived)."""

    def __init__(self, name: str) -> None:
        self._name, self._started = name, time.monotonic()
        self._status: Status | None = None

    def __enter__(self) -> Any:
        from rich.console import Console

        self._console = Console(stderr=True)
        return self._told if self._console.is_terminal else None

    def _told(self, now_s: float, arrived: int) -> None:
        if time.monotonic() - self._started < PATIENCE_S:
            return
        text = f"{self._name}: day {now_s / 86400:.1f}, {arrived:,} jobs arrived"
        if self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        self._status.update(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()


class Sweeping:
    """A status line for a sweep: how many of its runs have finished, looked up once a second."""

    def __init__(self, folder: Path, total: int = 0) -> None:
        from rich.console import Console

        self._folder, self._of, self._end = folder, f" of {total}" if total else "", threading.Event()
        self._console = Console(stderr=True)
        self._thread = threading.Thread(target=self._show, daemon=True)
        if self._console.is_terminal:
            self._thread.start()

    def _show(self) -> None:
        if self._end.wait(PATIENCE_S):
            return
        with self._console.status("sweeping") as status:
            while not self._end.wait(1.0):
                done = sum(1 for _ in self._folder.rglob("summary.json"))
                status.update(f"{done}{self._of} runs finished in {self._folder}")

    def stop(self) -> None:
        """Take the line away."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()


class Busy:
    """A status line for something that may take long, as a context manager; calling it changes the text."""

    def __init__(self, text: str) -> None:
        from rich.console import Console

        console = Console(stderr=True)
        self._text = text
        self._status: Status | None = None
        self._lock, self._ended = threading.Lock(), False
        self._timer = threading.Timer(PATIENCE_S, self._show, [console])
        self._timer.daemon = True
        if console.is_terminal:
            self._timer.start()

    def _show(self, console: Console) -> None:
        with self._lock:
            if not self._ended:
                self._status = console.status(self._text)
                self._status.start()

    def __call__(self, text: str) -> None:
        with self._lock:
            self._text = text
            if self._status is not None:
                self._status.update(text)

    def __enter__(self) -> Busy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._status is not None:
                self._status.stop()


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
