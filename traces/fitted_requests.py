"""Twins of any trace of requests, drawn from a table of figures that `hcsim traces twin` has fitted to it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hcsim.model import InputError
from hcsim.rng import stream, uniforms
from hcsim.traces._quantiles import Floats, autoregressive, draw, matched
from hcsim.traces._table import Source, Table, checked
from hcsim.traces._twins import Prefixes, Quantiles, RequestFigures, table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FittedRequests(Source):
    """A draw from a fitted table: the same seed gives the same requests, bit for bit.

    Args:
        path: a table of your own, instead of ``of``.
        of: a table that ships with the project (``traces/twins``), by the name of its trace.
        n: how many requests (0: as many as the original; more: its bins are gone through again).
        seed: whose draws.
    """

    kind = "requests"

    of: str = "azure_llm"
    n: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n < 0:
            raise InputError(f"trace.n is {self.n}, expected >= 0")

    def table(self) -> Table:
        """Drawn anew: that is faster than a cache."""
        return self.read()

    def read(self) -> Table:
        """The requests in order of arrival.

        Raises:
            InputError: there is no such table, or it is not one of requests.
        """
        from scipy.special import ndtr, ndtri

        figures = table("requests", self.of, self.path)
        assert isinstance(figures, RequestFigures)
        n = self.n or sum(figures.by_bin)
        number = np.arange(n)

        def normal(name: str) -> Floats:
            out: Floats = ndtri(uniforms(self.seed, stream(f"fitted requests {name}"), number))
            return out

        prompt = autoregressive(normal("prompt"), 1.0, figures.prompt_rho)
        r = figures.output_by_prompt
        output = r * prompt + sqrt(1.0 - r * r) * normal("output")
        when = _arrivals(figures, n, ndtr(autoregressive(normal("gap"), 1.0, figures.gap_rho)))
        which = np.minimum(
            (when / figures.bin_s).astype(np.int64), -(-n // sum(figures.by_bin)) * len(figures.by_bin) - 1
        )

        def lengths(of: Quantiles, score: Floats, mean: tuple[float, ...]) -> npt.NDArray[np.int64]:
            count = np.bincount(which)
            total = np.resize(np.array(mean), len(count)) * count.astype(np.float64)
            score = matched(lambda u: draw(of, u), score, which, total)
            return np.round(draw(of, ndtr(score))).astype(np.int64)

        if figures.tick_s:
            when = np.floor(when / figures.tick_s) * figures.tick_s
        tokens = lengths(figures.prompt_tokens, prompt, figures.prompt_mean)
        columns: dict[str, npt.NDArray[np.float64] | npt.NDArray[np.int64] | pd.Series] = {
            "arrival_s": np.round(when, 6),
            "prompt_tokens": tokens,
            "output_tokens": lengths(figures.output_tokens, output, figures.output_mean),
        }
        if figures.prefixes is not None:
            u = uniforms(self.seed, stream("fitted requests prefix"), number, np.arange(3)[:, None])
            columns["hash_ids"] = _prompts(figures.prefixes, tokens, u)
        source = f"twin of {self.path or self.of} (seed {self.seed})"
        return checked("requests", columns, source, np.arange(1, n + 1))


def _arrivals(figures: RequestFigures, n: int, u: Floats) -> Floats:
    """Times from 0, sorted: gaps in units of the mean, laid along the bins."""
    bins = np.array(figures.by_bin)
    rounds = -(-n // int(bins.sum()))
    served = np.r_[0.0, np.cumsum(np.tile(bins, rounds) + 1e-9)]  # rising also over empty bins
    at = np.cumsum(draw(figures.gap, u))
    at = (at - at[0]) * n / max(float(at[-1] - at[0]), 1e-12)
    when: Floats = np.interp(at, served, np.arange(len(served)) * figures.bin_s)
    return when


def _prompts(figures: Prefixes, tokens: npt.NDArray[np.int64], u: npt.NDArray[np.float64]) -> pd.Series:
    """Blocks of each prompt: those that all share, those of the request it goes on from, and new ones."""
    import pandas as pd
    import pyarrow as pa

    size = -(-tokens // figures.block_tokens)
    ago = np.maximum(np.round(draw(figures.ago, u[1])), 1.0).astype(np.int64)
    share = draw(figures.common_share, u[2])
    everyone = list(range(figures.everyone_blocks))
    fresh = len(everyone)
    prompts: list[list[int]] = []
    for i, (blocks, goes_on) in enumerate(zip(size.tolist(), (u[0] < figures.go_on_share).tolist(), strict=True)):
        begin = everyone
        if goes_on and i:
            common, j = max(round(float(share[i]) * blocks), len(everyone)), max(i - int(ago[i]), 0)
            # a prompt that is long enough, the nearest before that time, else after it
            found = next((k for k in (*range(j, -1, -1), *range(j + 1, i)) if len(prompts[k]) >= common), j)
            begin = prompts[found][:common]
        begin = begin[:blocks]
        prompts.append([*begin, *range(fresh, fresh + blocks - len(begin))])
        fresh += blocks - len(begin)
    return pd.Series(prompts, dtype=pd.ArrowDtype(pa.list_(pa.int64())))
