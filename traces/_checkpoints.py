"""How often to write a checkpoint: the intervals of work that lose least to failures at random."""

from __future__ import annotations

from math import exp, inf, sqrt

from hcsim.model import InputError, nearest

RULES = ("fixed", "young", "daly", "exact")


def young_s(write_s: float, mtbf_s: float) -> float:
    """√(2δM) (Young, CACM 17(9), 1974, eq. 1)."""
    return sqrt(2.0 * write_s * mtbf_s)


def daly_s(write_s: float, mtbf_s: float) -> float:
    """√(2δM)·[1 + √(δ/2M)/3 + (δ/2M)/9] − δ, and M where δ ≥ 2M (Daly, FGCS 22(3), 2006, eq. 37)."""
    if write_s >= 2.0 * mtbf_s:
        return mtbf_s
    share = write_s / (2.0 * mtbf_s)
    return young_s(write_s, mtbf_s) * (1.0 + sqrt(share) / 3.0 + share / 9.0) - write_s


def exact_s(write_s: float, mtbf_s: float) -> float:
    """The root of e^((τ+δ)/M)·(τ/M − 1) + 1 = 0, which minimises the expected time under exponential failures."""
    from scipy.optimize import brentq

    if write_s == 0.0:
        return 0.0
    share = write_s / mtbf_s
    # divided by e^(τ+δ), so that nothing overflows: the root lies between 0 and M
    root: float = brentq(lambda x: x - 1.0 + exp(-x - share), 0.0, 1.0, xtol=1e-15, rtol=1e-14)
    return root * mtbf_s


def interval_s(rule: str, write_s: float, mtbf_s: float) -> float:
    """Seconds of work between checkpoints by a rule; never without failures, always without a cost to write.

    Raises:
        InputError: an unknown rule.
    """
    if rule not in RULES[1:]:
        raise InputError(f"trace.steps.checkpoint: no rule '{rule}'; {nearest(rule, RULES)}")
    if mtbf_s == inf:
        return inf
    return {"young": young_s, "daly": daly_s, "exact": exact_s}[rule](write_s, mtbf_s)
