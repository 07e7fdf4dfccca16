"""Twins of spot capacity and of prices, drawn from a table of figures that `hcsim traces twin` has fitted to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hcsim.model import InputError
from hcsim.rng import stream, uniform, uniforms
from hcsim.traces._quantiles import autoregressive, choose, draw
from hcsim.traces._table import Source, Table, checked
from hcsim.traces._twins import AvailabilityFigures, PriceFigures, table


@dataclass(frozen=True)
class _Fitted(Source):
    """A market drawn from a fitted table. Times count from 0.

    Args:
        path: a table of your own, instead of ``of``.
        of: a table that ships with the project (``traces/twins``).
        place: what to call the zone; each has draws of its own.
        span_s: how long (0: as the original).
        seed: whose draws.
    """

    of: str = ""
    place: str = "zone"
    span_s: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.span_s < float("inf"):
            raise InputError(f"span_s is {self.span_s}, expected a finite number >= 0 (0: as the original)")

    def table(self) -> Table:
        """Drawn anew: that is faster than a cache."""
        return self.read()

    @property
    def _named(self) -> str:
        return f"twin of {self.path or self.of} at {self.place} (seed {self.seed})"


@dataclass(frozen=True)
class FittedAvailability(_Fitted):
    """Nodes that can be had, at each tick; see :class:`_Fitted` for the arguments."""

    kind = "availability"

    of: str = "spot_aws_v100"

    def read(self) -> Table:
        """A row per tick.

        Raises:
            InputError: there is no such table, or it is not one of availability.
        """
        figures = table(self.kind, self.of, self.path)
        assert isinstance(figures, AvailabilityFigures)
        ticks = max(round((self.span_s or figures.span_s) / figures.tick_s), 1)
        nodes = np.empty(ticks, np.int64)
        key = stream(f"fitted availability {self.place}")

        def u(step: int, what: int) -> float:
            return uniform(self.seed, key, step, what)

        # it begins in a state with the share of time that is spent there, in the midst of its stay
        states = [i for i, each in enumerate(figures.states) if each.hold_s is not None]
        state = states[int(choose(_shares(figures, states), np.array([u(0, 0)]))[0])]
        at, step = 0, 0
        while at < ticks:
            mine = figures.states[state]
            assert mine.hold_s is not None
            hold_s = float(draw(mine.hold_s, np.array([u(step, 1)]))[0]) * (u(step, 4) if step == 0 else 1.0)
            count = max(round(hold_s / figures.tick_s), 1)
            level = (0, 0, figures.nodes)[state]
            if state == 1 and figures.some is not None:
                some = float(draw(figures.some, np.array([u(step, 2)]))[0])
                level = int(np.clip(round(some), 1, figures.nodes - 1))
            nodes[at : at + count] = level
            at, step = at + count, step + 1
            state = int(choose(mine.next_share, np.array([u(step, 3)]))[0])
        return checked(
            self.kind,
            {
                "time_s": np.arange(ticks) * figures.tick_s,
                "place": np.full(ticks, self.place),
                "gpu": np.full(ticks, figures.gpu),
                "nodes": nodes,
                "gpus": np.full(ticks, figures.gpus),
            },
            self._named,
            np.arange(1, ticks + 1),
        )


def _shares(figures: AvailabilityFigures, states: list[int]) -> list[float]:
    """Shares of time of the states of a semi-Markov chain: stationary shares of its jumps times mean stays."""
    jump = np.array([[figures.states[i].next_share[j] for j in states] for i in states])
    visits = np.full(len(states), 1.0 / len(states))
    for _ in range(200):  # damped, for a chain of two states goes to and fro
        visits = 0.5 * visits + 0.5 * visits @ jump
    held = [figures.states[i].hold_s for i in states]
    stay = [sum(s * m for s, m in zip(each.share, each.mean, strict=True)) for each in held if each is not None]
    time = visits * np.array(stay)
    return [float(each) for each in time / time.sum()]


@dataclass(frozen=True)
class FittedPrices(_Fitted):
    """A price as it changes; see :class:`_Fitted` for the arguments."""

    kind = "prices"

    of: str = "price_aws_v100"

    def read(self) -> Table:
        """A row per change, the first at 0.

        Raises:
            InputError: there is no such table, or it is not one of prices.
        """
        from scipy.special import ndtr, ndtri

        figures = table(self.kind, self.of, self.path)
        assert isinstance(figures, PriceFigures)
        span_s = self.span_s or figures.span_s
        key, time_s = stream(f"fitted prices {self.place}"), np.zeros(1)
        number, n = np.zeros(0, np.int64), 64
        while time_s[-1] < span_s:
            n *= 2
            number = np.arange(n)
            time_s = np.r_[0.0, np.cumsum(np.maximum(draw(figures.gap_s, uniforms(self.seed, key, 0, number)), 1.0))]
        time_s = time_s[time_s < span_s]
        n = len(time_s)
        score = autoregressive(ndtri(uniforms(self.seed, key, 1, np.arange(n))), 1.0, figures.rho)
        usd = np.round(figures.usd_per_h * draw(figures.share, ndtr(score)), 4)
        return checked(
            self.kind,
            {
                "time_s": time_s,
                "provider": np.full(n, "twin"),
                "place": np.full(n, self.place),
                "instance": np.full(n, f"{figures.gpu}x{figures.gpus:g}"),
                "gpu": np.full(n, figures.gpu),
                "gpus": np.full(n, figures.gpus),
                "market": np.full(n, figures.market),
                "usd_per_h": usd,
            },
            self._named,
            np.arange(1, n + 1),
        )
