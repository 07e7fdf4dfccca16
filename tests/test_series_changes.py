"""What holds of a series when, and its changes."""

from __future__ import annotations

from itertools import islice, takewhile
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import InputError
from hcsim.series import Series


def test_a_series_that_never_changes_has_no_changes_also_when_it_wraps() -> None:
    """It used to be looked through for ever."""
    assert list(Series([0.0, 10.0], [5.0, 5.0], beyond="wrap").changes(0.0)) == []
    assert list(Series([0.0, 10.0], [5.0, 5.0], beyond="wrap").changes()) == [(0.0, 5.0)]
    wrapped = Series([0.0, 10.0], [5.0, 6.0], beyond="wrap").changes(0.0)
    assert list(islice(wrapped, 3)) == [(10.0, 6.0), (20.0, 5.0), (30.0, 6.0)]


def test_before_its_first_time_a_series_holds_by_its_own_rule() -> None:
    """A price known from 50 s on says nothing of the 50 s before, unless it is said what does."""
    with pytest.raises(InputError, match=r"series: begins at 50 s and the run at 0; let the run begin there \(begin_s"):
        Series([50.0, 100.0], [7.0, 2.0], beyond="stop")
    assert Series([50.0, 100.0], [7.0, 2.0], beyond="hold").at(0.0) == 7.0
    wrap = Series([50.0, 100.0, 110.0], [7.0, 2.0, 5.0], 120.0, beyond="wrap")  # rounds of 70 s
    assert [wrap.at(t) for t in (0.0, 29.0, 30.0, 39.0, 40.0, 49.0, 50.0)] == [7.0, 7.0, 2.0, 2.0, 5.0, 5.0, 7.0]
    assert list(islice(wrap.changes(0.0), 4)) == [(30.0, 2.0), (40.0, 5.0), (50.0, 7.0), (100.0, 2.0)]


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
    st.lists(st.sampled_from([1.0, 2.0, 4.0]), min_size=6, max_size=6),
    st.integers(-150, 150),
    st.sampled_from(["hold", "wrap"]),
    st.integers(0, 200),
)
def test_changes_areas_and_stretches_agree_with_what_holds_at_each_second(
    steps: list[int], values: list[float], start: int, beyond: Literal["hold", "wrap"], since: int
) -> None:
    """Times are whole seconds, so the value at each second says everything; the rule is written again here."""
    ends = np.cumsum([start, *steps])
    series = Series(ends[:-1].astype(float), values[: len(steps)], float(ends[-1]) or 1.0, beyond)
    length = series.end_s - start
    at = lambda t: start + (t - start) % length if beyond == "wrap" else t  # noqa: E731
    known = [values[max(int(np.searchsorted(ends[:-1], at(t), side="right")) - 1, 0)] for t in range(400)]
    assert [series.at(t) for t in range(400)] == known
    assert series.integral(np.arange(400.0)) == pytest.approx(np.r_[0.0, np.cumsum(known)[:-1]])
    changes = [(t, known[t]) for t in range(since + 1, 400) if known[t] != known[t - 1]]
    assert list(takewhile(lambda change: change[0] < 400, series.changes(float(since)))) == changes
    times, held = series.between(float(since), 399.0)
    assert held[np.searchsorted(times, np.arange(since, 400.0), side="right") - 1].tolist() == known[since:]
