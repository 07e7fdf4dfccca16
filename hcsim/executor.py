"""The contract of an executor: the one who makes things happen and says what did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from hcsim.actions import Order
from hcsim.events import Row


class Executor(Protocol):
    """Simulated or live; the control loop cannot tell which."""

    @property
    def end_s(self) -> float:
        """When it stopped before everything had ended (inf: it did not)."""
        ...

    def instants(self) -> Iterator[tuple[float, Sequence[Row]]]:
        """Each instant at which something happens, with its events in the order of one instant, until nothing more can.

        Read by the control loop only; between two instants it submits orders.
        """
        ...

    def submit(self, order: Order) -> Sequence[Row]:
        """Carry out an order; the events that it caused at once. What takes time is reported by a later instant."""
        ...

    def wake_at(self, time_s: float) -> None:
        """Report a TIMER event at that time."""
        ...

    def last(self) -> Sequence[Row]:
        """What is still to be told when the instants are over, which nobody answers to."""
        ...

    def close(self) -> None:
        """Stop everything that runs. Called once, also after an error."""
        ...
