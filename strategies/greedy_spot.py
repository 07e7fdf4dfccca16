"""Greedy spot: spot while it can be had, nothing while it cannot, on-demand when time runs out."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf

from hcsim import InputError
from hcsim.planning.deadline import Case, Market, SpotOrOnDemand


@dataclass(frozen=True)
class GreedySpot(SpotOrOnDemand):
    """Run on spot whenever there is some, wait otherwise, and finish on demand from the last tick that allows it.

    With ``slice_s`` the time to the deadline is cut into equal slices of about that length, each with its share of the
    work, and every slice is treated so by itself. Source: the greedy policy and the time-sliced one of Wu et al., Can't
    Be Late, NSDI 2024, section 4; the latter is our reading of the paper, which does not spell out its code.

    Args:
        slice_s: length of a slice (0: the whole time is one).
    """

    slice_s: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.slice_s < inf:
            raise InputError(f"strategy.slice_s is {self.slice_s}, expected a finite number >= 0 (0: no slices)")

    def ask(self, case: Case) -> Market:
        asked: Market = "spot" if case.available else "none"
        if self.slice_s:
            n = max(round(case.span_s / self.slice_s), 1)
            share = (min(floor(case.elapsed_s / case.span_s * n + 1e-9), n - 1) + 1) / n
            asked = case.safe(asked, case.work_s * share, case.span_s * share)
        return case.safe(asked)
