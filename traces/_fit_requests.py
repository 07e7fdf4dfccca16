"""Fit a generator to requests: a table of figures from which twins are drawn, and no row of the original.

What is fitted: requests by bins of time, and their mean lengths; the gaps between them in units of the bin's mean, with
the correlation of successive ones (their burstiness); prompt and output lengths, how alike successive prompts are, and
how outputs go with prompts; where the trace tells prefixes, how many requests go on from an earlier one, from which,
and how far. Not fitted: clients and models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hcsim.model import InputError
from hcsim.traces._quantiles import LEAST_ALIKE, Floats, correlation, normal_scores, quantiles
from hcsim.traces._twins import Prefixes, RequestFigures

if TYPE_CHECKING:
    import pandas as pd

    from hcsim.traces._table import Table

LEAST_ROWS = 100
#: Requests that a bin holds on average: enough for its rate to be one, few enough to follow the trace.
IN_BIN = 200
#: Times are rounded where more requests than this come at the very time of the one before.
ROUNDED = 0.5


def fit(table: Table) -> RequestFigures:
    """The figures of a table of requests.

    Raises:
        InputError: fewer than :data:`LEAST_ROWS` requests, or requests without times.
    """
    frame = table.frame
    n = len(frame)
    if n < LEAST_ROWS or frame["arrival_s"].isna().any() or not np.ptp(frame["arrival_s"].to_numpy()):
        raise InputError(f"{table.source}: {n} requests, expected at least {LEAST_ROWS} at times of their own")
    frame = frame.sort_values("arrival_s", kind="stable")
    when = frame["arrival_s"].to_numpy() - frame["arrival_s"].min()
    gaps = np.diff(when)
    tick_s = float(np.median(gaps[gaps > 0])) if (gaps == 0).mean() > ROUNDED else 0.0
    if tick_s:
        when = spread(when, tick_s)
    span_s = float(when[-1])
    bins = max(n // IN_BIN, 1)
    bin_s = span_s / bins
    which = np.minimum((when / bin_s).astype(int), bins - 1)
    by_bin = np.bincount(which, minlength=bins)
    gap = np.diff(when) * by_bin[which[1:]] / bin_s
    gap_score = normal_scores(gap)
    prompt, output = (normal_scores(frame[f"{name}_tokens"].to_numpy()) for name in ("prompt", "output"))
    few = (by_bin > 0) & (by_bin < LEAST_ALIKE)
    mean_of = {}
    for name in ("prompt", "output"):
        tokens = frame[f"{name}_tokens"].to_numpy()
        mean = np.where(few, tokens.mean(), np.bincount(which, tokens, bins) / np.maximum(by_bin, 1))
        mean_of[name] = tuple(np.round(mean, 1).tolist())
    return RequestFigures(
        bin_s=bin_s,
        by_bin=tuple(by_bin.tolist()),
        prompt_mean=mean_of["prompt"],
        output_mean=mean_of["output"],
        tick_s=tick_s,
        gap=quantiles(gap),
        gap_rho=correlation(gap_score[1:], gap_score[:-1]),
        prompt_tokens=quantiles(frame["prompt_tokens"].to_numpy()),
        output_tokens=quantiles(frame["output_tokens"].to_numpy()),
        prompt_rho=correlation(prompt[1:], prompt[:-1]),
        output_by_prompt=correlation(prompt, output),
        prefixes=_prefixes(frame) if "hash_ids" in frame else None,
    )


def spread(when_s: Floats, tick_s: float) -> Floats:
    """Times that were rounded down to a tick, evenly over it again."""
    first = np.searchsorted(when_s, when_s, side="left")
    last = np.searchsorted(when_s, when_s, side="right")
    out: Floats = when_s + tick_s * (np.arange(len(when_s)) - first) / (last - first)
    return out


def shared_blocks(prompts: list[list[int]]) -> tuple[list[int], list[int]]:
    """Of each prompt how many leading blocks earlier ones had, and how many requests ago the last of these came."""
    seen: dict[int, int] = {}
    common, ago = [], []
    for i, blocks in enumerate(prompts):
        k = 0
        while k < len(blocks) and blocks[k] in seen:
            k += 1
        common.append(k)
        ago.append(i - seen[blocks[k - 1]] if k else 0)
        seen |= dict.fromkeys(blocks, i)
    return common, ago


def _prefixes(frame: pd.DataFrame) -> Prefixes:
    prompts = [list(blocks) for blocks in frame["hash_ids"]]
    size = np.array([len(blocks) for blocks in prompts])
    common, ago = (np.array(each) for each in shared_blocks(prompts))
    everyone = int(np.quantile(common[1:], 0.01, method="lower"))
    goes_on = common > everyone
    if goes_on.sum() < LEAST_ROWS:
        goes_on = common >= everyone  # none to speak of: what they would be is of no weight then
    return Prefixes(
        block_tokens=int(2 ** np.ceil(np.log2((frame["prompt_tokens"].to_numpy() / size).max()))),
        everyone_blocks=everyone,
        go_on_share=round(float((common > everyone).mean()), 6),
        ago=quantiles(ago[goes_on]),
        common_share=quantiles(common[goes_on] / size[goes_on]),
    )
