"""Jobs and fleets: what a column can hold, and what is refused by name instead of being changed on the way in."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsim import InputError, Jobs, Link
from hcsim.model import JOB_COLUMNS, MOST_S, nearest


def build(**columns: Any) -> Jobs:
    """Two jobs, the second of which has the values that are given."""
    filled = {key: [JOB_COLUMNS[key][1] if key in JOB_COLUMNS else 7, value] for key, value in columns.items()}
    if "residencies" in columns:
        filled["residencies"] = columns["residencies"]
    return Jobs.build(source="here", **({"arrival_s": [0.0, 1.0], "duration_s": [5.0, 5.0]} | filled))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("gpus", 1.5, "1.5, expected a whole number up to 2147483647"),
        ("gpus", nan, "nan, expected a whole number"),
        ("gpus", inf, "inf, expected a whole number"),
        ("gpus", 2**32 + 2, "4294967298, expected a whole number up to 2147483647"),
        ("gpus", 2**31, "2147483648, expected a whole number"),
        ("gpus", 0, "0, expected at least 1"),
        ("priority", -(2**31) - 1, "-2147483649, expected a whole number"),
        ("min_gpus", -1, "-1, expected at least 0"),
        ("max_gpus", 1e300, "1e+300, expected a whole number"),
        ("id", 1.5, "1.5, expected a whole number"),
        ("id", 2.0**63, f"{2.0**63}, expected a whole number up to {2**63 - 1}"),
        ("gpu_memory_bytes", nan, "nan, expected a finite number >= 0"),
        ("gpu_memory_bytes", -5.0, "-5.0, expected a finite number >= 0"),
        ("dataset_bytes", inf, "inf, expected a finite number >= 0"),
        ("user_estimate_s", -5.0, "-5.0, expected a number from 0 to 1e+12 (NaN: none)"),
        ("user_estimate_s", inf, "inf, expected a number from 0 to 1e+12"),
        ("restart_s", 2e12, "2000000000000.0, expected a number from 0 to 1e+12"),
        ("checkpoint_interval_s", 0.0, "0.0, expected > 0"),
        ("deadline_s", -inf, "-inf, expected a number (inf: none)"),
        ("residency", -2, "-2, expected a code into residencies (), or -1"),
        ("gpu_type", 0, "0, expected a code into gpu_types (), or -1"),
        ("tenant", -1, "-1, expected a code into tenants ('default',)"),
    ],
)
def test_what_a_column_cannot_hold_is_named(key: str, value: float, expected: str) -> None:
    with pytest.raises(InputError) as error:
        build(**{key: value})
    assert str(error.value).startswith(f"here: row 2: {key} is {expected}")


@pytest.mark.parametrize("key", ["arrival_s", "duration_s"])
@pytest.mark.parametrize("value", [-1.0, nan, inf, 1.1 * MOST_S, 1e300])
def test_times_end_where_milliseconds_do(key: str, value: float) -> None:
    with pytest.raises(InputError, match=f"here: row 1: {key} is .*, expected a number from 0 to 1e\\+12"):
        Jobs.build(source="here", **({"arrival_s": [1.0], "duration_s": [1.0]} | {key: [value]}))
    Jobs.build(**({"arrival_s": [1.0], "duration_s": [1.0]} | {key: [MOST_S]}))
    assert np.spacing(MOST_S) < 1e-3  # the reason for the bound


def test_columns_that_are_no_numbers() -> None:
    for value, said in (
        ([1, "two"], "column 'gpus' holds something else than numbers"),
        ([[1], [1, 2]], "column 'gpus' holds something else than numbers"),
        ([1], r"column 'gpus' has \(1,\) rows, expected \(2,\)"),
        ([[1, 1]], r"column 'gpus' has \(1, 2\) rows"),
        (pd.array([1, None], dtype="Int64"), "column 'gpus' holds something else|gpus is nan"),
    ):
        with pytest.raises(InputError, match=said):
            Jobs.build(arrival_s=[0.0, 1.0], duration_s=[1.0, 1.0], gpus=value)
    with pytest.raises(InputError, match="column 'arrival_s' has"):
        Jobs.build(arrival_s=3.0, duration_s=[1.0])


@given(st.lists(st.integers(1, 2**31 - 1) | st.integers(1, 1000).map(float), min_size=1, max_size=5))
def test_whole_numbers_come_through_unchanged(gpus: list[float]) -> None:
    n = len(gpus)
    given_ = np.array(gpus)
    jobs = Jobs.build(arrival_s=np.arange(n), duration_s=np.ones(n), gpus=given_)
    assert jobs.gpus.tolist() == given_.tolist() and jobs.gpus.dtype == np.int32
    assert given_.flags.writeable  # a copy was taken: the caller's stays his
    large = Jobs.build(arrival_s=[0.0], duration_s=[1.0], id=[2**63 - 1])
    assert large.id.tolist() == [2**63 - 1]


@pytest.mark.parametrize(
    "change", [{"latency_s": inf}, {"usd_per_gb": nan}, {"usd_per_gb": -1.0}, {"bytes_per_s": nan}]
)
def test_links(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"link a -> b: {next(iter(change))} is "):
        Link("a", "b", **change)


def test_names_that_look_like_numbers_have_a_nearest_too() -> None:
    assert nearest(3, ["30", "x"]) == "did you mean '30'?"  # type: ignore[arg-type]
    assert nearest(3, [1, 2]) == "known: 1, 2"  # type: ignore[arg-type, list-item]
