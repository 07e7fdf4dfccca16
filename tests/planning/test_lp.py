"""Programmes of shares against SciPy's solver and closed forms; what has no solution says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from hcsim.planning.fairness import even, largest_sum, levels, max_min, normalised
from hcsim.planning.lp import Rows, solve


def cluster(rate: Any, gangs: Any, gpus: Any, weights: Any = None) -> Any:
    """What a policy sees of a cluster, without its view."""
    gangs = np.array(gangs, float)
    weights = np.ones(len(gangs)) if weights is None else np.array(weights, float)
    return SimpleNamespace(throughput=np.array(rate, float), gangs=gangs, gpus=np.array(gpus, float), weights=weights)


def drawn(rng: np.random.Generator) -> Any:
    """Up to twelve jobs on up to four pools, where they run on any."""
    m, k = int(rng.integers(1, 13)), int(rng.integers(1, 5))
    rate = rng.lognormal(0.0, 1.0, (m, k)) * (rng.random((m, k)) < 0.8)
    rate[:, 0] = np.maximum(rate[:, 0], 0.1)
    return cluster(rate, rng.choice([1, 2, 4], m), rng.integers(1, 12, k), rng.uniform(0.5, 2.0, m))


def keeps(shares: Any, of: Any) -> bool:
    """Nobody has more than all of its time, no pool gives more than its GPUs; to the solver's accuracy."""
    time = (shares.sum(axis=1) <= 1 + 1e-5).all()
    return bool(time and (of.gangs @ shares <= of.gpus + 1e-4).all() and (shares >= -1e-6).all())


def constraints(of: Any) -> tuple[Any, Any]:
    m, k = of.throughput.shape
    time = np.kron(np.eye(m), np.ones(k))
    pools = np.kron(of.gangs, np.eye(k))
    return np.r_[time, pools], np.r_[np.ones(m), of.gpus]


@settings(max_examples=60)
@given(st.integers(0, 10_000).map(lambda seed: drawn(np.random.default_rng(seed))))
def test_max_min_is_that_of_another_solver(of: Any) -> None:
    gain = normalised(of)
    m, k = gain.shape
    answer = max_min(gain, of)
    assert answer.solved
    shares = answer.x[:-1].reshape(m, k)
    assert keeps(shares, of)
    matrix, most = constraints(of)
    least = np.c_[-np.kron(np.eye(m), np.ones(k)) * gain.ravel(), np.ones(m)]
    other = linprog(
        np.r_[np.zeros(m * k), -1.0], np.r_[np.c_[matrix, np.zeros(m + k)], least], np.r_[most, np.zeros(m)]
    )
    assert answer.value == pytest.approx(-other.fun, rel=1e-5, abs=1e-7)
    assert (gain * shares).sum(axis=1).min() == pytest.approx(-other.fun, rel=1e-4, abs=1e-5)


@settings(max_examples=60)
@given(st.integers(0, 10_000).map(lambda seed: drawn(np.random.default_rng(seed))))
def test_largest_sum_is_that_of_another_solver(of: Any) -> None:
    answer = largest_sum(of.throughput, of)
    assert answer.solved and keeps(answer.x.reshape(of.throughput.shape), of)
    other = linprog(-of.throughput.ravel(), *constraints(of))
    assert answer.value == pytest.approx(-other.fun, rel=1e-5)


@pytest.mark.parametrize("seed", range(60))
def test_levels_leave_nobody_behind(seed: int) -> None:
    """Water filling has the max-min's least, and nobody can be given more without taking it from somebody who has no
    more: that is what max-min fair means. Of random clusters some in a thousand have prices of 10,000 and more, with
    which the solver's last digit shows; these are not among the seeds."""
    of = drawn(np.random.default_rng(seed))
    gain = normalised(of)
    m, k = gain.shape
    answer = levels(gain, of)
    shares = answer.x[:-1].reshape(m, k)
    assert keeps(shares, of)
    has = (gain * shares).sum(axis=1)
    assert has.min() == pytest.approx(max_min(gain, of).value, rel=1e-3, abs=1e-5)
    matrix, most = constraints(of)
    for job in range(m):
        others = has <= has[job] * (1 + 1e-3)
        others[job] = False
        keep = -(np.kron(np.eye(m), np.ones(k)) * gain.ravel())[others]
        cost = np.zeros((m, k))
        cost[job] = -gain[job]
        best = linprog(cost.ravel(), np.r_[matrix, keep], np.r_[most, -has[others] * (1 - 1e-8)])
        if best.status != 2:  # what the others have is at the edge: without a solution, nobody can have more
            assert -best.fun <= has[job] * 1.01 + 1e-3


def test_levels() -> None:
    # J0 and J1 run on pool 1 alone and share it; J2 can have all of pool 0, which does not help them.
    of = cluster([[0.0, 1.0], [0.0, 1.0], [4.0, 1.0]], [1, 1, 1], [1, 1])
    shares = levels(np.array(of.throughput), of).x[:-1].reshape(3, 2)
    np.testing.assert_allclose(shares, [[0, 0.5], [0, 0.5], [1, 0]], atol=1e-4)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from([1, 2, 4]), st.floats(0.5, 2.0)), min_size=1, max_size=9), st.integers(1, 40))
def test_even_shares_fill_the_cluster_evenly(jobs: list[tuple[int, float]], gpus: int) -> None:
    gangs, weights = zip(*jobs, strict=True)
    of = cluster(np.ones((len(jobs), 2)), gangs, [gpus, 2 * gpus], weights)
    shares = even(np.ones((len(jobs), 2)), of)
    time = shares.sum(axis=1)
    assert of.gangs @ time == pytest.approx(min(of.gangs.sum(), 3 * gpus))
    np.testing.assert_allclose(shares[:, 1], 2 * shares[:, 0])
    level = of.gangs * time / of.weights
    some = time < 1 - 1e-12
    if some.any():
        assert np.ptp(level[some]) < 1e-9
        assert (level[~some] <= level[some].max() + 1e-9).all()


def one(value: float, low: float, high: float) -> Rows:
    return Rows(np.array([0, 1], np.int32), np.zeros(1, np.int32), np.array([value]), np.array([low]), np.array([high]))


def test_what_has_no_solution_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    none = solve(np.ones(1), one(1.0, 2.0, np.inf), np.ones(1))  # x >= 2 and x <= 1
    assert not none.solved and none.words == "Infeasible"
    endless = solve(np.ones(1), one(1.0, 0.0, np.inf), np.full(1, np.inf), maximise=True)
    assert not endless.solved and "nbounded" in endless.words
    singular = solve(np.ones(1), one(0.0, 0.0, 1.0), np.ones(1), maximise=True)  # a row without a variable
    assert singular.solved and singular.value == pytest.approx(1.0)
    assert capfd.readouterr() == ("", "")  # nothing is printed


def test_nothing_up_is_nothing_shared() -> None:
    of = cluster([[1.0]], [1], [0])
    assert not max_min(normalised(of), of).x.any()
