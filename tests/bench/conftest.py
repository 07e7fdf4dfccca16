"""The clock of the benchmarks and the table that they print."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any, TypeVar

import pytest

from tests.bench.worlds import FULL, SIZE

T = TypeVar("T")
Line = tuple[str, str, str]
LINES: pytest.StashKey[list[Line]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LINES] = []


@dataclass
class Measure:
    """Runs a function under pytest-benchmark and keeps the CPU time of its fastest round."""

    benchmark: Any
    lines: list[Line]
    seconds: dict[str, float] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)

    def time(self, name: str, function: Callable[[], T], rounds: int = SIZE.rounds) -> T:
        """What ``function`` returns; its fastest round goes into ``seconds[name]``, in CPU time of this process,
        and into ``wall_s[name]``."""
        rounds = 1 if self.benchmark.disabled else rounds
        best = wall = float("inf")
        result = None

        def timed() -> None:
            nonlocal best, wall, result
            result = None  # what the last round left is not in memory during this one
            gc.collect()
            started, at = process_time(), perf_counter()
            result = function()
            best, wall = min(best, process_time() - started), min(wall, perf_counter() - at)

        if self.seconds:  # pytest-benchmark times one function per test: the first
            for _ in range(rounds):
                timed()
        else:
            self.benchmark.pedantic(timed, rounds=rounds, iterations=1)
        self.seconds[name], self.wall_s[name] = best, wall
        assert result is not None
        return result

    def report(self, what: str, value: float, unit: str = "", target: str = "") -> None:
        """A line of the table, and an entry of ``extra_info``."""
        self.benchmark.extra_info[what] = round(value, 4)
        self.lines.append((what, f"{value:,.2f}{unit}", target))


@pytest.fixture
def measure(benchmark: Any, request: pytest.FixtureRequest) -> Measure:
    """Times functions and reports figures."""
    return Measure(benchmark, request.config.stash[LINES])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = config.stash[LINES]
    if not lines or config.getoption("benchmark_disable", False):
        return
    size = "full measure" if FULL else "default size (HCSIM_BENCH=full for the full measure)"
    terminalreporter.section(f"hcsim, {size}, CPU time where no clock is named")
    width = max(len(what) for what, _, _ in lines)
    for what, value, target in lines:
        terminalreporter.write_line(f"{what:<{width}}  {value:>14}  {target}")
