"""A SimPy environment with two fast lanes beside its event queue.

Jobs do not become SimPy processes: arrivals are a sorted column and completions a heap, and
:meth:`LaneEnvironment.instants` takes whichever of the lanes and the event queue comes first. Users' own processes (an
outage, a price change, an autoscaler) run beside the lanes on the same clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from math import inf

import simpy

from hcsim.events import Kind, Row

_ARRIVED = int(Kind.ARRIVED)


class LaneEnvironment(simpy.Environment):
    """SimPy's environment plus an arrival lane and a lane of due times.

    ``due`` is a heap of (time_s, job); ``on_due(t, job)`` says what happened then, None for an entry that no longer
    holds. ``rows`` collects the events of the current instant; processes add to it.
    """

    def __init__(self, arrival_s: memoryview, until_s: float = inf) -> None:
        super().__init__(0.0)
        self.arrival_s = arrival_s
        self.until_s = until_s
        self.end_s = inf  # until_s once the run was cut there
        self.arrived = 0  # jobs that have arrived
        self.due: list[tuple[float, int]] = []
        self.ready: list[int] = []  # jobs that are due in this instant
        self.rows: list[Row] = []

    def at(self, time_s: float, happen: Callable[[], None]) -> None:
        """Call ``happen`` at exactly ``time_s``, or now if that has passed (a SimPy timeout of ``time_s - now`` may
        miss it by a rounding error)."""
        event = simpy.Event(self)
        event._ok, event._value = True, None
        event.callbacks.append(lambda _: happen())
        heappush(self._queue, (max(time_s, self._now), simpy.events.NORMAL, next(self._eid), event))

    def instants(self) -> Iterator[tuple[float, list[Row]]]:
        """Each next instant of the lanes and the event queue, with the rows that it produced in their order.

        SimPy's events of an instant are processed first, then due times, then arrivals. A generator, so that what the
        lanes need stays in local variables: this loop runs twice per job.
        """
        queue, due, arrival_s, until_s = self._queue, self.due, self.arrival_s, self.until_s
        on_due, simpy_step = self.on_due, super().step
        count = len(arrival_s)
        coming = arrival_s[0] if count else inf
        while True:
            t = due[0][0] if due else inf
            if coming < t:
                t = coming
            queued = bool(queue) and queue[0][0] <= t
            if queued:
                if t == inf and self.idle(queue[0][0]):
                    return
                t = queue[0][0]
            if t == inf:
                return
            if t > until_s:
                self.end_s = self._now = until_s
                return
            if coming <= t and not queued and (not due or due[0][0] > t):  # the commonest instant, made short
                self._now = t
                i = self.arrived
                self.arrived = later = i + 1
                coming = arrival_s[later] if later < count else inf
                if coming > t:
                    self.rows = rows = [(t, _ARRIVED, i, -1, 0.0, 0.0)]
                    yield t, rows
                    continue
                self.arrived, coming = i, t
            rows = self.rows = []
            ready: list[int] = []
            self.ready = ready  # taken first: what falls due by being processed belongs to the next instant
            while due and due[0][0] <= t:
                job = heappop(due)[1]
                if not ready or ready[-1] != job:  # one that was stopped and set going again may stand there twice
                    ready.append(job)
            if queued:
                while queue and queue[0][0] <= t:
                    simpy_step()
            self._now = t
            for job in ready:
                on_due(t, job)
            while coming <= t:
                i = self.arrived
                rows.append((t, _ARRIVED, i, -1, 0.0, 0.0))
                self.arrived = i = i + 1
                coming = arrival_s[i] if i < count else inf
            if len(rows) > 1:
                rows.sort(key=_order)
            if rows:
                yield t, rows

    def idle(self, t: float) -> bool:
        """Nothing is due and nobody will arrive; whether to end here rather than go on to SimPy's event at ``t``."""
        return False

    def on_due(self, t: float, job: int) -> None:
        """A due time has come. Overridden by the executor."""


def _order(row: Row) -> int:
    return row[1]
