"""Statistics against SciPy's, closed forms, published tables and 20,000 comparisons whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from hcsim import stats
from hcsim.compare import BETTER, SAME, WORSE, paired

TRIALS = 20_000


def drawn(seed: int, shape: tuple[int, ...]) -> stats.Floats:
    return np.random.default_rng(seed).standard_normal(shape)


# -- one comparison ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30))
def test_the_t_test_is_scipys(values: list[float]) -> None:
    x = np.array(values)
    if np.ptp(x) > 1e-6 * (1 + abs(x).max()):  # SciPy warns of what rounding would decide
        assert stats.t_test(x) == pytest.approx(scipy_stats.ttest_1samp(x, 0).pvalue, rel=1e-9, abs=1e-300)


def test_the_t_test_of_what_does_not_vary() -> None:
    assert stats.t_test(np.zeros(5)) == 1.0 and stats.t_test(np.full(5, 3.0)) == 0.0
    assert np.isnan(stats.t_test(np.array([1.0]))) and np.isnan(stats.t_test(np.array([1.0, np.nan])))


def test_rounding_is_no_difference() -> None:
    """Two ways to add up one bill differ by an ulp in each seed, and always to one side."""
    base = np.array([1e6 / 3, 2e6 / 3, 5e6 / 3])
    assert paired(np.nextafter(base, np.inf), base, more_is_better=False).verdict == SAME
    assert paired(base - np.array([1.0, 1.1, 0.9]) * 1e-3, base, more_is_better=False).verdict == BETTER


def test_holm_is_the_example_of_its_tables() -> None:
    """Four p values worked by hand: 0.005×4, 0.01×3, 0.03×2, 0.04×1, never falling."""
    assert stats.holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    got = stats.holm(np.array([0.6, np.nan, 0.5]))
    assert got[[0, 2]] == pytest.approx([1.0, 1.0]) and np.isnan(got[1])
    assert len(stats.holm(np.zeros(0))) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferronis(values: list[float]) -> None:
    p = np.array(values)
    got = stats.holm(p)
    assert (got >= p).all() and (got <= np.minimum(p * len(p), 1.0) + 1e-12).all()
    rejected = np.zeros(len(p), bool)  # the step-down procedure as it is told: stop at the first that is too large
    for step, i in enumerate(np.argsort(p, kind="stable")):
        if p[i] * (len(p) - step) > 0.05:
            break
        rejected[i] = True
    assert ((got <= 0.05) == rejected).all()


def test_the_bootstrap_is_left_to_twenty_pairs() -> None:
    assert np.isnan(stats.bca_interval(drawn(0, (19,)))).all()
    low, high = stats.bca_interval(drawn(0, (40,)))
    mean, half = stats.t_interval(drawn(0, (40,)))
    assert low == pytest.approx(mean - half, abs=0.15 * half) and high == pytest.approx(mean + half, abs=0.15 * half)
    assert stats.bca_interval(drawn(0, (40,))) == (low, high)  # drawn the same each time
    assert stats.bca_interval(np.full(25, 2.0)) == (2.0, 2.0)
    low, high = stats.bca_interval(np.exp(drawn(1, (40,))))
    mean = np.exp(drawn(1, (40,))).mean()
    assert high - mean > 1.2 * (mean - low)  # it follows the skew, which t cannot


def test_effect_size() -> None:
    assert stats.cohen_d(np.array([1.0, 2.0, 3.0])) == pytest.approx(2.0)
    assert np.isnan(stats.cohen_d(np.full(4, 2.0))) and np.isnan(stats.cohen_d(np.array([1.0])))
    cell = paired(np.array([9.0, 17.0, 32.0]), np.array([10.0, 20.0, 30.0]), more_is_better=False)
    assert cell.relative == pytest.approx(-2 / 3 / 20)


# -- power -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_pairs_needed_are_the_published_ones(d: float, pairs: int) -> None:
    """Two-sided at 5 % with power 80 %: 199, 34 and 15 pairs (G*Power 3.1, paired t test, d_z 0.2, 0.5, 0.8)."""
    few = np.array([d - 1, d, d + 1])  # mean d, standard deviation 1
    assert stats.cohen_d(few) == pytest.approx(d)
    assert stats.more_pairs(few) == pairs - 3


def test_the_power_is_that_of_the_test() -> None:
    """Simulated: 4,000 samples of 12 pairs with an effect of 0.9."""
    seen = np.mean([stats.t_test(x) < 0.05 for x in drawn(3, (4000, 12)) + 0.9])
    assert seen == pytest.approx(stats.power(0.9, np.array([12]), 0.05)[0], abs=0.02)


def test_power_grows_with_pairs() -> None:
    """Also where a tail is too small for a float."""
    n = np.arange(2, stats.MOST_PAIRS + 1)
    for d in (0.01, 0.1, 0.72, 1.0, 5.0):
        got = stats.power(d, n, 0.05)
        assert np.isfinite(got).all() and (np.diff(got) >= -1e-9).all() and got[0] > 0.05 * 0.99 and got[-1] <= 1 + 1e-9


def test_no_advice_without_anything_to_go_by() -> None:
    assert stats.more_pairs(np.array([3.0])) is None
    assert stats.more_pairs(np.array([1.0, -1.0])) is None
    assert stats.more_pairs(np.array([1.0, -1.0, 0.001])) is None  # more than a thousand


# -- several factors ---------------------------------------------------------------------------------------------------


def test_pairs_that_share_a_window_are_not_taken_for_independent() -> None:
    """Three windows of ten seeds each, and the window alone makes the difference: three values and not thirty."""
    window, seed = np.repeat([0, 1, 2], 10), np.tile(np.arange(10), 3)
    values = np.array([-1.0, 0.5, 2.0])[window] + 0.01 * drawn(5, (30,))
    got = stats.independent(values, seed, window)
    assert got == pytest.approx([values[window == w].mean() for w in range(3)])
    assert stats.t_test(values) < 0.05 < stats.t_test(got)
    assert (stats.independent(values[:10], seed[:10], window[:10]) == values[:10]).all()


@pytest.mark.parametrize(("of_seed", "of_window", "of_pair"), [(0, 1, 1), (1, 0, 1), (1, 1, 0.2), (0, 0, 1)])
def test_intervals_over_seeds_and_windows_cover(of_seed: float, of_window: float, of_pair: float) -> None:
    """Ten seeds × three windows with effects of either: at least 94 % hold the truth, where pairs taken for independent
    hold it in about half."""
    rng, seed, window = np.random.default_rng(13), np.repeat(np.arange(10), 3), np.tile(np.arange(3), 10)
    held = naive = 0
    for _ in range(1500):
        effects = of_seed * rng.standard_normal(10)[seed] + of_window * rng.standard_normal(3)[window]
        values = effects + of_pair * rng.standard_normal(30)
        mean, half = stats.t_interval(stats.independent(values, seed, window))
        held += abs(mean) <= half
        mean, half = stats.t_interval(values)
        naive += abs(mean) <= half
    assert held >= 0.94 * 1500
    assert naive < 0.88 * 1500 or not (of_seed or of_window)


# -- ranks and fronts --------------------------------------------------------------------------------------------------


def test_ranks_and_what_cannot_be_told_apart() -> None:
    base = 10 * drawn(6, (8,))
    figures = np.stack([base + 5 + 0.1 * drawn(7, (8,)), base + 0.1 * drawn(8, (8,)), base + 0.1 * drawn(9, (8,))])
    got = stats.ranks(figures, False)
    assert got.place[0] == 3 and got.low.tolist() == [3, 1, 1] and got.high.tolist() == [3, 2, 2]
    assert np.isnan(got.first).all()  # eight pairs
    more = stats.ranks(figures, True)
    assert more.place[0] == 1 and more.low.tolist() == [1, 2, 2] and more.high.tolist() == [1, 3, 3]
    assert (got.better == more.better.T).all()


def test_how_often_one_is_first() -> None:
    base = drawn(10, (30,))
    got = stats.ranks(np.stack([base, base, base + 1 + 0.1 * drawn(11, (30,))]), False)
    assert got.first.tolist() == [0.5, 0.5, 0.0] and got.place.tolist() == [1, 1, 3]


def test_ranges_of_ranks_hold_together() -> None:
    """Four strategies, two of them alike: all four true places lie in their ranges in at least 95 % of 1,000 sweeps."""
    rng = np.random.default_rng(12)
    held = 0
    for _ in range(1000):
        got = stats.ranks(rng.standard_normal((4, 6)) + np.array([[0.0], [1.0], [1.0], [2.5]]), False)
        held += bool(((got.low <= [1, 3, 3, 4]) & (got.high >= [1, 2, 2, 4])).all())
    assert held >= 940


def test_who_dominates_whom() -> None:
    points = np.array([[1.0, 5.0], [2.0, 2.0], [3.0, 3.0], [2.0, 2.0], [4.0, 1.0]])
    got = stats.dominators(points)
    assert [np.flatnonzero(row).tolist() for row in got] == [[], [], [1, 3], [], []]


# -- 20,000 comparisons ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [3, 5, 10, 20])
def test_intervals_cover_a_known_difference(pairs: int) -> None:
    """Of 20,000 comparisons whose true difference is 0.7 the 95 % interval holds it in 94.4 to 95.6 %.

    The seeds' own spread is ten times that of the difference and cancels.
    """
    seeds, noise = 10 * drawn(20 + pairs, (TRIALS, pairs)), drawn(40 + pairs, (2, TRIALS, pairs))
    held = 0
    for base, a, b in zip(seeds, *noise, strict=True):
        delta, half = stats.t_interval(stats.differences(base + 0.7 + a, base + b))
        held += delta - half <= 0.7 <= delta + half
    assert 0.944 <= held / TRIALS <= 0.956


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [3, 5, 10])
def test_few_claims_are_false(pairs: int) -> None:
    """20,000 sweeps of five strategies that are all alike: in at most 5 % is any called better or worse.

    Without a correction it would be one sweep in eight; with one false ``better`` is claimed in at most 5 %, of course.
    """
    figures = drawn(60 + pairs, (TRIALS, 5, pairs))
    raw = any_claimed = better = 0
    for each in figures:
        p = np.array([stats.t_test(stats.differences(row, each[0])) for row in each[1:]])
        claimed = stats.holm(p) < 0.05
        raw += (p < 0.05).any()
        any_claimed += claimed.any()
        better += (claimed & (each[1:].mean(axis=1) < each[0].mean())).any()
    assert better <= any_claimed <= 0.05 * TRIALS
    assert raw > 0.1 * TRIALS  # the correction is needed


def test_verdicts_go_to_the_side_of_the_truth() -> None:
    """With a clear difference nothing is ever called the wrong way round."""
    base = drawn(80, (500, 6))
    for ours, theirs in zip(base - 3 + 0.5 * drawn(81, (500, 6)), base, strict=True):
        assert paired(ours, theirs, more_is_better=False).verdict in (BETTER, SAME)
        assert paired(ours, theirs, more_is_better=True).verdict in (WORSE, SAME)
