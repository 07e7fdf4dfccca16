"""The contract of a strategy: a frozen dataclass whose ``decide`` turns a view into a plan."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from hcsim.events import Kind, Row
from hcsim.plan import Plan
from hcsim.sources import modules_in, plain, source_sha256
from hcsim.view import View

Memory = TypeVar("Memory")
_TIMER = int(Kind.TIMER)
_NEWS = frozenset(map(int, (Kind.PREEMPTED, Kind.LOST, Kind.STAGED, Kind.NODE_UP, Kind.NODE_OFF)))


@dataclass(frozen=True)
class Wake:
    """When a strategy is asked to decide: at instants with events of some kinds, at fixed intervals, or both.

    ``kinds`` None means any event, the empty set none; ``period_s`` 0 means no fixed interval; with ``waiting_only``
    instants at which no job waits are passed over. Join two with ``|``.
    """

    kinds: frozenset[int] | None = frozenset()
    period_s: float = 0.0
    waiting_only: bool = False

    def __or__(self, other: Wake) -> Wake:
        if self.period_s and other.period_s and self.period_s != other.period_s:
            raise ValueError(f"two periods, {self.period_s} s and {other.period_s} s: a strategy has one")
        kinds = None if self.kinds is None or other.kinds is None else self.kinds | other.kinds
        waiting_only = self.waiting_only and other.waiting_only
        return Wake(kinds, self.period_s or other.period_s, waiting_only)

    @property
    def news(self) -> frozenset[int]:
        """Kinds for which to decide once more at an instant when the decision has brought one about at once: those that
        were named; with any kind, a job that waits again or a node that came or went."""
        return _NEWS if self.kinds is None else self.kinds

    def selects(self, events: Sequence[Row]) -> bool:
        """Whether these events are of a kind to decide at; a TIMER that was asked for always is."""
        kinds = self.kinds
        return kinds is None or any(row[1] in kinds or row[1] == _TIMER for row in events)


#: At every instant at which anything happened.
on_change = Wake(kinds=None)
#: At every instant at which anything happened and a job waits: for strategies that only place waiting jobs.
while_waiting = Wake(kinds=None, waiting_only=True)


def every(period_s: float) -> Wake:
    """At multiples of ``period_s``."""
    if not period_s > 0:
        raise ValueError(f"period_s is {period_s}, expected > 0")
    return Wake(period_s=period_s)


def on(*kinds: Kind) -> Wake:
    """At instants with an event of one of these kinds, and again at the instant of a decision whose own plan has led to
    one: ``on(Kind.REFUSED)`` decides anew after a refusal.

    Raises:
        ValueError: something else than a kind of event, or one that tells of the decision itself.
    """
    for kind in kinds:
        if not isinstance(kind, Kind) or kind in (Kind.WAKE, Kind.REMEMBERED, Kind.ENDED):
            raise ValueError(f"on({kind!r}): expected kinds of events, such as Kind.ARRIVED")
    return Wake(kinds=frozenset(int(kind) for kind in kinds))


class _Contract(ABC):  # noqa: B024 (what it has in common is data; decide differs in its signature)
    #: When to decide.
    wake: ClassVar[Wake] = on_change
    #: Knowledge beyond the view's columns: "runtime" for run-time estimates, "carbon" and "price" for forecasts.
    needs: ClassVar[frozenset[str]] = frozenset()

    @property
    def name(self) -> str:
        """The name in tables: the class's, in lower case with underscores."""
        name = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


class Strategy(_Contract):
    """A policy without memory: subclass as a frozen dataclass of parameters.

    ``decide`` is called by the control loop, once per instant that ``wake`` selects, with all events of the instant
    applied. It must depend on the view and its parameters alone (no clock, no global state, no other source of
    randomness than ``view.uniform``), and must not keep the view or the plan.
    """

    @abstractmethod
    def decide(self, view: View) -> Plan:
        """What to do now."""


class RememberingStrategy(_Contract, Generic[Memory]):
    """A policy that carries a memory of frozen scalars, strings, tuples and arrays from one decision to the next."""

    @abstractmethod
    def initial(self, view: View) -> Memory:
        """The memory before the first decision."""

    @abstractmethod
    def decide(self, view: View, memory: Memory) -> tuple[Plan, Memory]:
        """What to do now, and what to remember."""


AnyStrategy = Strategy | RememberingStrategy[Any]

#: What a strategy may declare in ``needs``.
KNOWLEDGE = frozenset({"runtime", "carbon", "price"})


def shape_fault(strategy: object) -> str:
    """What is wrong with the form of a strategy, in words that follow its name; empty when nothing is."""
    if not isinstance(strategy, (Strategy, RememberingStrategy)):
        return "is no hcsim.Strategy or hcsim.RememberingStrategy"
    params = vars(type(strategy)).get("__dataclass_params__")  # its own: a subclass is decorated anew
    if params is None or not params.frozen:
        return "is not decorated with @dataclass(frozen=True)"
    if not isinstance(strategy.wake, Wake):
        return f"has wake = {strategy.wake!r}, expected one of hcsim's wakes, such as while_waiting"
    if not isinstance(strategy.needs, frozenset) or not strategy.needs <= KNOWLEDGE:
        return f"has needs = {strategy.needs!r}, expected a subset of frozenset({sorted(KNOWLEDGE)})"
    return ""


def strategy_sha256(strategy: AnyStrategy) -> str:
    """A hash of a strategy's code and parameters: the same object has the same hash in simulation and live.

    The code is the file of its module and of all that it imports, see :func:`hcsim.sources.source_sha256`; of a class
    that was typed into a notebook it is the class alone.
    """
    cls = type(strategy)
    typed = ""
    if getattr(sys.modules.get(cls.__module__), "__file__", None) is None:
        with suppress(OSError, TypeError):
            typed = inspect.getsource(cls)
    code = source_sha256(cls.__module__, *sorted(modules_in(strategy)))
    text = "\n".join((cls.__qualname__, typed, code, json.dumps(plain(strategy), sort_keys=True)))
    return hashlib.sha256(text.encode()).hexdigest()
