"""What is wrong, and where in the log."""

from __future__ import annotations

from typing import Any, NoReturn

from hcsim.events import NAMES, Row


class Breach(Exception):
    """The first thing that must not be: a row, or a sum that does not add up.

    ``row`` is the number of the log's row (-1: none is to blame alone), ``time_s`` when, ``what`` is broken, ``value``
    what was found and ``limit`` what was allowed.
    """

    def __init__(self, what: str, value: Any, limit: Any, row: int, time_s: float, event: str) -> None:
        self.what, self.value, self.limit = what, value, limit
        self.row, self.time_s, self.event = row, time_s, event
        where = f"row {row} ({event}), " if row >= 0 else ""
        super().__init__(f"{where}t = {time_s:g} s: {what}: {_shown(value)}, expected {_shown(limit)}")


def _shown(value: Any) -> str:
    return f"{value:,.10g}" if isinstance(value, float) else str(value)


def described(row: Row) -> str:
    """A row in words."""
    _, kind, subject, node, value, detail = row
    rest = f", node {node}" if node >= 0 else ""
    numbers = f", value {value:g}" + (f", detail {detail:g}" if detail else "") if value or detail else ""
    return f"{NAMES.get(kind, kind)} {subject}{rest}{numbers}"


class Now:
    """Which row is being looked at, and when; shared by all that look."""

    def __init__(self) -> None:
        self.row = -1
        self.time_s = 0.0
        self.event: Row | None = None

    def fail(self, what: str, value: Any, limit: Any) -> NoReturn:
        """Raises:
        Breach: at the present row.
        """
        raise Breach(what, value, limit, self.row, self.time_s, described(self.event) if self.event else "")
