"""Changes of a series."""

from __future__ import annotations

from itertools import islice

from hcsim.series import Series


def test_a_series_that_never_changes_has_no_changes_also_when_it_wraps() -> None:
    """It used to be looked through for ever."""
    assert list(Series([0.0, 10.0], [5.0, 5.0], beyond="wrap").changes(0.0)) == []
    assert list(Series([0.0, 10.0], [5.0, 5.0], beyond="wrap").changes()) == [(0.0, 5.0)]
    wrapped = Series([0.0, 10.0], [5.0, 6.0], beyond="wrap").changes(0.0)
    assert list(islice(wrapped, 3)) == [(10.0, 6.0), (20.0, 5.0), (30.0, 6.0)]
