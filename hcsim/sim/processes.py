"""Users' own processes, whose faults are said in one line."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import simpy

from hcsim.model import InputError

if TYPE_CHECKING:
    from hcsim.sim.world import Process, Simulation


class Guarded(Generator[simpy.Event, Any, Any]):
    """A process as SimPy drives it: a generator.

    Raises:
        InputError: the process gives no generator, fails, or yields something else than an event.
    """

    def __init__(self, process: Process, world: Simulation) -> None:
        self.__name__ = str(getattr(process, "__qualname__", type(process).__qualname__))
        self._world = world
        self._generator = self._told(process, world)
        if not hasattr(self._generator, "throw"):
            raise InputError(f"process {self.__name__} gives {self._generator!r}, expected a generator of events")

    def send(self, value: Any) -> simpy.Event:
        """Go on after an event with its value."""
        return self._next(self._generator.send, value)

    def throw(self, error: Any, value: Any = None, trace: Any = None) -> simpy.Event:
        """Go on after an event that failed, or an interruption."""
        return self._next(self._generator.throw, error)

    def _next(self, step: Callable[[Any], Any], value: Any) -> simpy.Event:
        event = self._told(step, value)
        if not isinstance(event, simpy.Event):
            raise InputError(f"process {self.__name__} yields {event!r}, expected an event{self._when}")
        return event

    def _told(self, call: Callable[[Any], Any], value: Any) -> Any:
        try:
            return call(value)
        except (StopIteration, InputError):
            raise
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {error} at {Path(last.filename).name}:{last.lineno}"
            raise InputError(f"process {self.__name__} raised {what}{self._when}") from error

    @property
    def _when(self) -> str:
        return f" (t = {self._world.now:g} s)"
