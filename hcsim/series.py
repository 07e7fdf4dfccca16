"""A quantity over time: a price, how many nodes can be had, grams of CO2 per kWh."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
import numpy.typing as npt

from hcsim.errors import InputError, nearest, require

Floats = npt.NDArray[np.float64]
BEYOND = ("stop", "hold", "wrap")


@dataclass(frozen=True, eq=False)
class Series:
    """Values that each hold from their time until the next one's.

    Args:
        time_s: seconds since the start of the run, ascending, shape (n,).
        value: shape (n,), finite.
        end_s: until when the last value is known (default: as long as the step before it).
        beyond: what holds after ``end_s``. ``stop``: nothing, a run that goes on so long ends with an error; ``hold``:
            the last value; ``wrap``: all of it again. What holds before the first time likewise: ``stop``: nothing, so
            that it may not lie after 0; ``hold``: the first value; ``wrap``: the end of the round before.
        source: where it comes from, for messages.
    """

    time_s: Sequence[float]
    value: Sequence[float]
    end_s: float = 0.0
    beyond: Literal["stop", "hold", "wrap"] = "stop"
    source: str = "series"
    _of = ""  # no field: what it is of is in no hash of it

    def __post_init__(self) -> None:
        time_s, value = np.array(self.time_s, np.float64), np.array(self.value, np.float64)
        where = self._named
        require(len(time_s) > 0 and time_s.shape == value.shape and time_s.ndim == 1,
                f"{where}: {time_s.shape} times and {value.shape} values, expected as many, at least one")  # fmt: skip
        for name, column in (("time_s", time_s), ("value", value)):
            bad = np.flatnonzero(~np.isfinite(column))
            require(not len(bad), f"{where}: {name} {bad[:1]} is {column[bad[:1]]}, expected finite numbers")
        falls = np.flatnonzero(np.diff(time_s) <= 0)
        require(not len(falls), f"{where}: time_s does not rise at {falls[:1] + 1}")
        require(self.beyond in BEYOND, f"{where}: beyond is '{self.beyond}'; {nearest(self.beyond, BEYOND)}")
        end_s = self.end_s or float(time_s[-1] + (time_s[-1] - time_s[-2] if len(time_s) > 1 else 0.0))
        require(end_s >= time_s[-1], f"{where}: end_s is {end_s:g}, expected at least its last time {time_s[-1]:g}")
        require(self.beyond != "wrap" or end_s > time_s[0], f"{where}: of no length, which cannot wrap")
        require(self.beyond != "stop" or time_s[0] <= 0,
                f"{where}: begins at {time_s[0]:,.0f} s and the run at 0; let the run begin there (begin_s of a trace"
                " or file), or set beyond: hold (its first value before) or wrap")  # fmt: skip
        for column in (time_s, value):
            column.setflags(write=False)
        for name, given in (("time_s", time_s), ("value", value), ("end_s", end_s)):
            object.__setattr__(self, name, given)

    @property
    def _named(self) -> str:
        return self._of + (self.source if self.source == "series" else f"series {self.source}")

    def named(self, of: str) -> Series:
        """The same, whose errors say first what it is of, such as ``pool 'p': price``."""
        found = copy.copy(self)
        object.__setattr__(found, "_of", f"{of}: ")
        return found

    @property
    def over(self) -> str:
        """What is wrong when one that stops has ended."""
        return f"{self._named} ends at {self.end_s:,.0f} s and the run goes on; set beyond: hold or wrap"

    @property
    def times(self) -> Floats:
        """``time_s`` as an array."""
        return self.time_s  # type: ignore[return-value]

    @property
    def values(self) -> Floats:
        """``value`` as an array."""
        return self.value  # type: ignore[return-value]

    def at(self, t: float) -> float:
        """The value at a time.

        Raises:
            InputError: the series is over, and ``beyond`` is ``stop``.
        """
        return float(self.values[max(int(np.searchsorted(self.times, self._inside(t), side="right")) - 1, 0)])

    def _inside(self, t: float) -> float:
        start = float(self.times[0])
        if self.beyond == "hold" or (t < self.end_s and (t >= start or self.beyond == "stop")):
            return t
        if self.beyond == "stop":
            raise InputError(self.over)
        return start + (t - start) % (self.end_s - start)

    def changes(self, after_s: float = -inf) -> Iterator[tuple[float, float]]:
        """(time, value) of each change of the value after a time, without end for ``wrap``.

        With ``stop`` the last is (``end_s``, NaN): what is known is over.
        """
        now = self.at(after_s) if after_s > -inf else float("nan")
        start = float(self.times[0])
        offset_s, length_s = 0.0, self.end_s - start
        if self.beyond == "wrap" and after_s > -inf and not start <= after_s <= self.end_s:
            offset_s = (after_s - start) // length_s * length_s
        while True:
            for t, value in zip((self.times + offset_s).tolist(), self.values.tolist(), strict=True):
                if t > after_s and value != now:
                    now = value
                    yield t, value
            if self.beyond != "wrap" or bool((self.values == self.values[0]).all()):
                break  # what never changes would be looked through for ever
            offset_s += length_s
        if self.beyond == "stop" and self.end_s > after_s:
            yield self.end_s, float("nan")

    def between(self, begin_s: float, end_s: float) -> tuple[Floats, Floats]:
        """Times and values from a time on to another one: ``begin_s`` with the value there, then each later step.

        Beyond the end as :meth:`at`, but one that stops just ends. Both of shape (n,), n at least 1.
        """
        times, values, start = self.times, self.values, float(self.times[0])
        inside = min(begin_s, np.nextafter(self.end_s, -inf)) if self.beyond == "stop" else begin_s
        first = self.at(inside)
        if self.beyond == "wrap" and (end_s > self.end_s or begin_s < start):
            length_s = self.end_s - start
            rounds = np.arange((begin_s - start) // length_s, (end_s - start) // length_s + 1)
            times = (times + rounds[:, None] * length_s).ravel()
            values = np.tile(values, len(rounds))
        i, j = np.searchsorted(times, (begin_s, end_s), side="right")
        return np.r_[begin_s, times[i:j]], np.r_[first, values[i:j]]

    def integral(self, t: Floats) -> Floats:
        """The integral from 0 to each time, shape of ``t`` (times at least 0). Beyond the end as :meth:`at`."""
        edges = np.unique(np.r_[0.0, self.times, max(self.end_s, 0.0)])
        held = np.array([self.values[max(int(np.searchsorted(self.times, e, side="right")) - 1, 0)] for e in edges])
        area = np.r_[0.0, np.cumsum(held[:-1] * np.diff(edges))]
        zero = float(np.interp(0.0, edges, area))

        def within(x: Floats) -> Floats:
            i = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 1)
            out: Floats = area[i] + held[i] * (x - edges[i]) - zero
            return out

        t = np.asarray(t, np.float64)
        start = float(self.times[0])
        if self.beyond == "hold" or not ((t > self.end_s).any() or (self.beyond == "wrap" and start > 0)):
            return within(t)
        if self.beyond == "stop":
            self._inside(float(t.max()))
        length_s = self.end_s - start
        whole = within(np.array([self.end_s]))[0] - within(np.array([start]))[0]

        def wrapped(x: Floats) -> Floats:
            rounds = (x - start) // length_s
            out: Floats = within(x - rounds * length_s) + rounds * whole
            return out

        return wrapped(t) - wrapped(np.zeros(1))

    def __repr__(self) -> str:
        """Short, and different for other values: it goes into the hash of a fleet."""
        crc = zlib.crc32(self.times.tobytes() + self.values.tobytes())
        return f"Series({self.source}, {len(self.times)} values, crc {crc:08x}, to {self.end_s:g} s, {self.beyond})"


def name_series(where: str, owner: object, *keys: str) -> None:
    """Let the errors of a frozen part's series name the part and the key."""
    for key in keys:
        series = getattr(owner, key)
        if series is not None:
            object.__setattr__(owner, key, series.named(f"{where}: {key}"))
