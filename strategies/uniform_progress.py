"""Uniform progress: spot while it can be had, on-demand whenever the work is behind a straight line to the deadline."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim.planning.deadline import Case, Market, SpotOrOnDemand


@dataclass(frozen=True)
class UniformProgress(SpotOrOnDemand):
    """Keep done work at or above elapsed time × work / time to the deadline, on spot while there is some.

    Behind the line a job runs on demand where spot cannot be had; ahead of it, it waits. With ``hysteresis`` it leaves
    on-demand for spot only when two launches ahead of the line. Source: Uniform Progress, Wu et al., Can't Be Late,
    NSDI 2024, section 4.3; the rule as in its simulator (``rc_cr_threshold``).
    """

    hysteresis: bool = True

    def ask(self, case: Case) -> Market:
        asked: Market = "spot" if case.available else "none"
        if case.done_s * case.span_s < case.elapsed_s * case.work_s:
            asked = "spot" if case.available else "on_demand"
        if self.hysteresis and case.on == "on_demand":
            ahead = (case.elapsed_s + 2 * case.launch_s) * case.work_s < case.done_s * case.span_s
            if not case.available or not ahead:
                asked = "on_demand"
        if case.on != "spot" and case.late(2):
            asked = "on_demand"
        return case.safe(asked)
