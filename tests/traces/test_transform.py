"""Changes to a trace keep what they should and do what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsim import InputError, Jobs
from hcsim.traces._transform import Assign, Load, Merge, Shift, Thin, Window, changed, steps
from hcsim.traces.twin import Twin


def some(n: int = 200, seed: int = 1) -> Jobs:
    return Twin(n=n, gpus=64).jobs(seed)


def load(jobs: Jobs, gpus: int) -> float:
    span_s = jobs.arrival_s[-1] - jobs.arrival_s[0]
    return float((jobs.duration_s * jobs.gpus).sum() / span_s / gpus)


@given(st.integers(1, 500), st.floats(0.05, 3.0))
def test_load_is_what_was_asked_for_and_nothing_else_moves(gpus: int, target: float) -> None:
    before = some()
    after = Load(gpus, target)(before, 0)
    assert load(after, gpus) == pytest.approx(target)
    assert np.array_equal(after.duration_s, before.duration_s) and np.array_equal(after.id, before.id)
    slack = (before.deadline_s - before.arrival_s, after.deadline_s - after.arrival_s)
    finite = np.isfinite(before.deadline_s)
    assert slack[0][finite] == pytest.approx(slack[1][finite]) and np.isinf(after.deadline_s[~finite]).all()
    assert (np.diff(after.arrival_s) >= 0).all()


def test_a_window_keeps_its_jobs_and_starts_at_zero() -> None:
    before = some()
    middle = float(before.arrival_s[100])
    after = Window(middle, middle + 3600.0)(before, 0)
    mine = (before.arrival_s >= middle) & (before.arrival_s < middle + 3600.0)
    assert np.array_equal(after.id, before.id[mine])
    assert after.arrival_s == pytest.approx(before.arrival_s[mine] - middle)
    with pytest.raises(InputError, match="no job of twin"):
        Window(1e12)(before, 0)


def test_thinning_is_nested_and_keyed_by_job() -> None:
    before = some(2000)
    kept = [set(Thin(keep)(before, 3).id.tolist()) for keep in (0.1, 0.5, 1.0)]
    assert kept[0] < kept[1] < kept[2] == set(before.id.tolist())
    assert len(kept[1]) == pytest.approx(1000, abs=100)  # 4.5 standard deviations
    assert Thin(0.5)(before, 4).id.tolist() != Thin(0.5)(before, 3).id.tolist()


def test_merging_keeps_every_job_of_both() -> None:
    first = some()
    after = Merge(Twin(n=50, gpus=8), prefix="b-")(first, 2)
    second = Twin(n=50, gpus=8).jobs(2)
    assert len(after) == len(first) + len(second) == len(set(after.id.tolist()))
    assert after.duration_s.sum() == pytest.approx(first.duration_s.sum() + second.duration_s.sum())
    assert set(after.tenants) == set(first.tenants) | {f"b-{name}" for name in second.tenants}
    bound = (after.residency >= 0).sum()
    assert bound == (first.residency >= 0).sum() + (second.residency >= 0).sum()
    with pytest.raises(InputError, match="expected a source of jobs"):
        Merge()(first, 0)


def test_merging_keeps_what_each_job_asks_for() -> None:
    first = Jobs.build(
        arrival_s=[0.0, 1.0],
        duration_s=[1.0, 1.0],
        gpu_type=[0, -1],
        gpu_types=("A100",),
        residency=[-1, 0],
        residencies=("us",),
    )

    class Other:
        def jobs(self, seed: int) -> Jobs:
            return Jobs.build(
                arrival_s=[0.5],
                duration_s=[2.0],
                gpu_type=[1],
                gpu_types=("A100", "H100"),
                residency=[0],
                residencies=("eu",),
            )

    after = Merge(Other())(first, 0)
    assert [after.gpu_types[k] if k >= 0 else "" for k in after.gpu_type] == ["A100", "H100", ""]
    assert [after.residencies[k] if k >= 0 else "" for k in after.residency] == ["", "eu", "us"]


def test_assigning_draws_by_share_and_leaves_the_rest() -> None:
    before = Twin(n=2000, gpus=64, attributes={}).jobs(1)
    after = Assign({"deadline_share": 1.0}, {"a": 3.0, "b": 1.0})(before, 1)
    assert np.isfinite(after.deadline_s).all() and (after.deadline_s > after.arrival_s + after.duration_s).all()
    assert (after.tenant == 0).mean() == pytest.approx(0.75, abs=0.05)
    assert np.array_equal(after.residency, before.residency)


def test_steps_compose_in_order() -> None:
    before = some()
    one = changed(before, steps([{"shift": {"by_s": 100.0}}, {"load": {"gpus": 10, "target": 0.5}}]), 0)
    two = Load(10, 0.5)(Shift(100.0)(before, 0), 0)
    assert np.array_equal(one.arrival_s, two.arrival_s)
    assert Twin(n=200, gpus=64, steps=({"shift": {"by_s": 5.0}},)).jobs(1).arrival_s == pytest.approx(
        before.arrival_s + 5
    )


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ([{"windo": {}}], "no step 'windo'; did you mean 'window'?"),
        ([{"thin": {"kep": 1}}], "trace.steps.thin: no parameter 'kep'; did you mean 'keep'?"),
        ([{"thin": {"keep": 0.5}, "load": {}}], "names 2 steps, expected one"),
    ],
)
def test_unknown_steps_are_named(given_: list[Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        steps(given_)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Thin(0.0), "keep is 0.0"),
        (Load(0, 0.5), "gpus is 0"),
        (Shift(-1e9), "moves job"),
        (Assign(tenants={"a": -1.0}), "expected weights >= 0"),
    ],
)
def test_impossible_steps_are_refused(step: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        step(some(), 0)
    assert said in str(error.value) and "\n" not in str(error.value)
