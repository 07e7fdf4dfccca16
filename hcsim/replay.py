"""A log fed back in: the executor's rows are taken from it, all else is done again and must come out equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.actions import Do, Order
from hcsim.control import run
from hcsim.events import EXECUTOR_KINDS, NAMES, Kind, Row
from hcsim.log import Log
from hcsim.model import Fleet, InputError, Jobs
from hcsim.perf import Perf
from hcsim.state import State
from hcsim.strategy import AnyStrategy

#: For orders that may be answered at once: the kinds of the answer.
_ANSWERS: dict[int, frozenset[int]] = {
    Do.START: frozenset({Kind.TRANSFERRING, Kind.TRANSFERRED, Kind.STAGED, Kind.EVICTED, Kind.STARTED}),
    Do.DRAIN: frozenset({Kind.TRANSFERRED, Kind.EVICTED, Kind.PREEMPTED}),
    Do.KILL: frozenset({Kind.TRANSFERRED, Kind.EVICTED, Kind.LOST}),
    Do.BOOT: frozenset({Kind.NODE_UP, Kind.NOTICE, Kind.NODE_OFF}),
    Do.HALT: frozenset({Kind.NODE_OFF}),
    Do.STOP: frozenset(
        {Kind.NODE_DOWN, Kind.LOST, Kind.SHRUNK, Kind.TRANSFERRED, Kind.STAGED, Kind.EVICTED, Kind.NODE_OFF}
    ),
    Do.STAGE: frozenset({Kind.TRANSFERRING, Kind.TRANSFERRED, Kind.STAGED, Kind.EVICTED}),
}


class Replay:
    """An executor that repeats a log. ``log`` is the new log, whose length tells how far the repetition has come."""

    def __init__(self, record: npt.NDArray[Any], log: Log) -> None:
        self._rows: list[Row] = record.tolist()
        self._log = log
        cut = bool(self._rows) and self._rows[-1][1] == Kind.ENDED
        self.end_s = self._rows[-1][0] if cut else inf
        self._end = len(self._rows) - cut  # where the rows begin that are told when the instants are over
        while self._end and self._rows[self._end - 1][1] == Kind.METERED:
            self._end -= 1

    def instants(self) -> Iterator[tuple[float, Sequence[Row]]]:
        """Recorded batches: the executor's rows up to the next that are of another time or not the executor's."""
        rows = self._rows
        while (at := len(self._log)) < self._end:
            end = at
            while end < self._end and rows[end][1] in EXECUTOR_KINDS and rows[end][0] == rows[at][0]:
                end += 1
            if end == at:
                raise InputError(f"replay: row {at} of the log is {_render(rows[at])}, which did not come again")
            yield rows[at][0], rows[at:end]

    def submit(self, order: Order) -> Sequence[Row]:
        """The recorded answer to an order: the rows about its subject that stand here, if they are an answer to it."""
        do, subject, _, _ = order
        kinds = _ANSWERS.get(do)
        if kinds is None:
            return ()
        rows = self._rows
        start = end = len(self._log)
        now = rows[start - 1][0]
        while (
            end < len(rows)
            and rows[end][0] == now
            and rows[end][1] in kinds
            and (
                rows[end][2] == subject or rows[end][1] == Kind.EVICTED or do == Do.STOP  # of whoever is concerned
            )
        ):
            end += 1
            if do == Do.STOP and rows[end - 1][1:3] == (Kind.NODE_OFF, subject):
                break
        return rows[start:end]

    def wake_at(self, time_s: float) -> None:
        """Timers are in the record."""

    def last(self) -> Sequence[Row]:
        """The rows about transfers that end the record."""
        return [row for row in self._rows[self._end :] if row[1] != Kind.ENDED]

    def close(self) -> None:
        """Nothing to stop."""


def replay(
    record: Log,
    fleet: Fleet,
    jobs: Jobs,
    strategy: AnyStrategy,
    perf: Perf | None = None,
    estimate_s: memoryview | None = None,
    seed: int = 0,
    forecast_error: float = 0.0,
) -> Log:
    """Run a recorded log through the control loop again.

    Raises:
        InputError: the strategy decided otherwise than recorded; the message shows the first row that differs.
    """
    log = Log()
    fault: Exception | None = None
    try:
        run(Replay(record.array(), log), strategy, State(fleet, jobs, perf, estimate_s, seed, forecast_error), log)
    except Exception as error:  # after another decision, what the record says next may be impossible
        if str(error).startswith("replay: "):
            raise
        fault = error
    difference = first_difference(record, log)
    if difference:
        raise InputError(f"replay: {difference}") from fault
    if fault is not None:
        raise fault
    return log


def first_difference(record: Log, log: Log) -> str:
    """Where two logs part, in words; empty when they are equal."""
    a, b = record.array(), log.array()
    n = min(len(a), len(b))
    differs = np.flatnonzero(a[:n] != b[:n])
    if len(differs):
        i = int(differs[0])
        return f"row {i} was {_render(a[i].tolist())}, is {_render(b[i].tolist())}"
    if len(a) != len(b):
        return f"the record has {len(a)} rows, the repetition {len(b)}"
    return ""


def _render(row: Any) -> str:
    time_s, kind, subject, node, value, detail = row
    return f"{NAMES[kind]}(subject={subject}, node={node}, value={value:g}, detail={detail:g}) at {time_s:g} s"
