"""Changes to a trace keep what they should and do what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsim import InputError, Jobs
from hcsim.cli import compose, part
from hcsim.model import JOB_COLUMNS
from hcsim.traces._checkpoints import daly_s, exact_s, young_s
from hcsim.traces._transform import Assign, Checkpoint, Load, Merge, Shift, Thin, Window, changed, steps
from hcsim.traces.listed import Listed
from hcsim.traces.twin import Twin
from tests.shell import hcsim, refused


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
    with pytest.raises(InputError, match="or a source of jobs"):
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
    before = Twin(n=2000, gpus=64).jobs(1)
    after = Assign({"deadline_share": 1.0}, models={"bert": 1, "vgg": 1}, tenants={"a": 3.0, "b": 1.0})(before, 1)
    assert np.isfinite(after.deadline_s).all() and (after.deadline_s > after.arrival_s + after.duration_s).all()
    assert (after.tenant == 0).mean() == pytest.approx(0.75, abs=0.05) and after.tenants == ("a", "b")
    assert (after.model == 0).mean() == pytest.approx(0.5, abs=0.05) and after.models == ("bert", "vgg")
    for key in JOB_COLUMNS:
        if key not in ("deadline_s", "tenant", "model"):
            assert np.array_equal(getattr(after, key), getattr(before, key), equal_nan=True), key
    assert (after.residencies, after.dataset_sites) == (before.residencies, before.dataset_sites)


def test_assigning_is_by_id_and_needs_the_share_of_what_it_names() -> None:
    before = Twin(n=500, gpus=64).jobs(1)
    step = Assign({"deadline_share": 0.5, "dataset_share": 0.5}, tenants={"a": 1, "b": 1})
    whole, half = step(before, 1), step(before.take(np.arange(0, 500, 2)), 1)
    for key in ("deadline_s", "dataset_site", "dataset_bytes", "tenant"):
        assert np.array_equal(getattr(half, key), getattr(whole, key)[::2]), key
    with pytest.raises(InputError, match="deadline_slack is given without deadline_share"):
        Assign({"deadline_slack": (1.0, 2.0)})(before, 1)
    none = Assign({"deadline_share": 0.0, "residency_share": 0.0, "dataset_share": 0.0})(before, 1)
    assert np.isinf(none.deadline_s).all() and (none.residency == -1).all() and not none.dataset_bytes.any()


def test_data_assigned_to_bound_jobs_lies_where_they_may_run() -> None:
    before = Twin(n=500, gpus=64).jobs(1)
    bound = before.residency >= 0
    after = Assign({"dataset_share": 1.0, "dataset_sites": ("onprem", "cloud_eu")})(before, 1)
    assert bound.any() and {after.dataset_sites[k] for k in after.dataset_site[bound]} == {"cloud_eu"}
    assert {after.dataset_sites[k] for k in after.dataset_site[~bound]} == {"onprem", "cloud_eu"}
    with pytest.raises(InputError, match="residency_site is 'cloud_eu', expected one of dataset_sites"):
        Assign({"dataset_share": 1.0, "dataset_sites": ("onprem",)})(before, 1)


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
        ([{"thin": {"keep": 0.5}, "load": {}}], "expected one step each, as in {thin: {keep: 0.5}}"),
        (["thin"], "trace.steps: 'thin', expected one step each"),
        ([{"thin": 0.5}], "trace.steps.thin is 0.5, expected its parameters"),
        ([{"thin": {"keep": "x"}}], "trace.steps.thin.keep is 'x', expected a number"),
        ([{"load": {"gpus": "abc"}}], "trace.steps.load.gpus is 'abc', expected an integer"),
        ([{"assign": {"tenants": ["a"]}}], "trace.steps.assign.tenants is ['a'], expected a mapping"),
        ([{"assign": {"attributes": {"deadline_slack": 3}}}], "attributes.deadline_slack is 3, expected a list"),
        ([{"assign": {"attributes": {"deadlin_share": 1}}}], "no parameter 'deadlin_share'; did you mean 'deadline_s"),
        ([{"merge": {"trace": "gai"}}], "no trace 'gai'; did you mean 'gaia'?"),
        ([{"merge": {"trace": "azure_llm"}}], "trace azure_llm is of requests, expected one of jobs"),
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
        (Shift(float("nan")), "by_s is nan"),
        (Window(5.0, 5.0), "5 to 5 s, expected 0 <= start_s < end_s"),
        (Thin(1e-9), "none of 200 jobs"),
        (Assign(tenants={"a": float("inf")}), "expected finite weights >= 0"),
        (Assign(tenants={"a": -1.0}), "expected finite weights >= 0"),
    ],
)
def test_impossible_steps_are_refused(step: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        step(some(), 0)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("through", "said"),
    [
        ([{"shift": {"by_s": 1e12}}] * 3, "trace.steps.shift: job 1: arrival_s is "),
        ([{"load": {"gpus": 8, "target": 1e-300}}], "trace.steps.load: job "),
        ([Assign({"checkpoint_bytes": 1e308})], "trace.steps.assign: job "),
        ([lambda jobs, seed: replace(jobs, duration_s=-jobs.duration_s)], "trace.steps.function: job {first}: dur"),
        ([lambda jobs, seed: replace(jobs, id=jobs.id * 0)], "expected an id that no other job has"),
        ([lambda jobs, seed: replace(jobs, tenants=())], "tenant is "),
        ([lambda jobs, seed: replace(jobs, gpus=jobs.gpus[1:])], "trace.steps.function: column 'gpus' has (199,) rows"),
    ],
)
def test_what_a_step_makes_is_held_against_what_all_jobs_must_be(through: list[Any], said: str) -> None:
    before = replace(some(), gpus=np.maximum(some().gpus, 8), max_gpus=np.maximum(some().gpus, 8))
    with pytest.raises(InputError) as error:
        changed(before, steps(through), 0)
    assert said.format(first=before.id[0]) in str(error.value) and "\n" not in str(error.value)


def test_what_a_step_makes_is_sorted() -> None:
    before = some()
    after = changed(before, [lambda jobs, seed: replace(jobs, arrival_s=jobs.arrival_s[::-1].copy())], 0)
    assert (np.diff(after.arrival_s) >= 0).all()
    assert sorted(zip(after.id, after.duration_s, strict=True)) == sorted(
        zip(before.id, before.duration_s, strict=True)
    )


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"restart_s": -5}, "restart_s is -5, expected a number from 0 to 1e+12"),
        ({"checkpoint_s": 2e12}, "checkpoint_s is 2"),
        ({"checkpoint_interval_s": -5}, "checkpoint_interval_s is -5, expected > 0 (inf: never)"),
        ({"checkpoint_interval_s": 0}, "checkpoint_interval_s is 0, expected > 0"),
        ({"checkpoint_interval_s": float("nan")}, "checkpoint_interval_s is nan, expected > 0"),
        ({"dataset_share": 1.0, "dataset_sigma": 1000}, "dataset_sigma is 1000 with dataset_median_bytes 2e+10, expec"),
        ({"dataset_share": 1.0, "dataset_median_bytes": 1e308}, "with dataset_median_bytes 1e+308, expected sizes"),
        ({"deadline_share": 1.0, "deadline_slack": (1.0, 1e308)}, "expected deadlines that are finite"),
    ],
)
def test_impossible_attributes_are_refused(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        Assign(attributes)(some(), 0)
    assert said in str(error.value) and str(error.value).startswith("trace.steps.assign.attributes.")
    with pytest.raises(InputError) as error:
        Twin(n=200, attributes=attributes).jobs(1)
    assert said in str(error.value) and str(error.value).startswith("trace.attributes.")


def test_names_that_look_like_numbers_are_names(tmp_path: Path) -> None:
    log = tmp_path / "more.csv"
    log.write_text("timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-09 07:01:55,66.0,1,66.0,vc1\n")
    merge = f"trace.steps=[{{merge:{{trace:philly,parameters:{{path:'{log}'}},prefix:3}}}}]"
    given_ = ("trace=twin", "trace.n=20", "trace.gpus=8", "strategy=fifo")
    said = hcsim("run", *given_, merge, f"hydra.run.dir={tmp_path / 'merged'}")
    assert said.status == 0, said.err
    assert "3vc1" in set(pd.read_parquet(tmp_path / "merged" / "jobs.parquet")["tenant"])
    bound = {"residency": 5, "residency_share": 1.0, "dataset_share": 1.0, "dataset_sites": [1, 2], "residency_site": 2}
    for jobs in (Twin(n=9, attributes=bound).jobs(1), Assign(bound)(Twin(n=9).jobs(1), 1)):
        assert jobs.residencies == ("5",) and jobs.dataset_sites == ("1", "2") and len(jobs.sha256) == 64
        assert {jobs.dataset_sites[code] for code in jobs.dataset_site[jobs.residency >= 0]} == {"2"}


def test_a_number_too_large_leaves_nothing_behind(tmp_path: Path) -> None:
    said = refused(tmp_path / "run", "trace=twin", "trace.attributes.dataset_sigma=1000")
    assert said.startswith("trace.attributes.dataset_sigma is 1000") and not (tmp_path / "run").exists()
    said = refused(tmp_path / "run", "trace=twin", "trace.attributes.residency=5")
    assert "may run under 5 alone" in said


def test_datasets_of_two_traces_are_not_one() -> None:
    shares = {"dataset": [0, 0], "dataset_site": [0, 0], "dataset_sites": ("a",)}

    class Other:
        def jobs(self, seed: int) -> Jobs:
            return Jobs.build(arrival_s=[0.0, 1.0], duration_s=[1.0, 1.0], dataset_bytes=[7.0, 7.0], **shares)

    before = Jobs.build(arrival_s=[0.0, 1.0], duration_s=[1.0, 1.0], dataset_bytes=[5.0, 5.0], **shares)
    after = changed(before, [Merge(Other())], 0)
    assert {(d, size) for d, size in zip(after.dataset, after.dataset_bytes, strict=True)} == {(0, 5.0), (1, 7.0)}
    drawn = changed(before, [Assign({"dataset_share": 1.0})], 0)  # each a dataset of its own
    assert drawn.dataset.tolist() == [-1, -1] and len(set(drawn.dataset_bytes.tolist())) == 2


def test_a_trace_is_merged_by_its_name(tmp_path: Path) -> None:
    log = tmp_path / "more.csv"
    log.write_text("timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-09 07:01:55,66.0,1,66.0,vc1\n")
    (step,) = steps([{"merge": {"trace": "philly", "parameters": {"path": str(log)}, "prefix": "p-"}}])
    after = step(some(), 0)
    assert len(after) == 201 and "p-vc1" in after.tenants


def test_what_is_drawn_or_listed_is_merged_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCSIM_DATA", "/nowhere")  # which they have no use for
    columns = {"arrival_s": [1.0], "duration_s": [5.0]}
    given = ({"fitted": {"of": "itp", "n": 50}}, {"twin": {"n": 30}}, {"listed": {"columns": columns}})
    made = steps([{"merge": {"trace": name, "parameters": each}} for x in given for name, each in x.items()])
    assert len(changed(some(), made, 0)) == 200 + 50 + 30 + 1
    with pytest.raises(InputError, match="no parameter 'off'; did you mean 'of'"):
        steps([{"merge": {"trace": "fitted", "parameters": {"off": "itp"}}}])


def test_listed_jobs_go_through_steps() -> None:
    columns = {"arrival_s": [1.0, 3.0], "duration_s": [5.0, 5.0]}
    assert Listed(columns, steps=({"shift": {"by_s": 2.0}},)).jobs(0).arrival_s.tolist() == [3.0, 5.0]


def test_a_load_in_a_merged_trace_is_of_the_fleet_of_the_run() -> None:
    inner = "{trace:twin,parameters:{n:500,attributes:{},steps:[{load:{target:0.7}}]}}"
    config, _ = compose(["fleet=lab", "trace=twin", f"trace.steps=[{{merge:{inner}}}]"])
    (step,) = part(config, "trace").steps
    assert load(step.trace.jobs(0), 64) == pytest.approx(0.7)


def test_a_load_is_of_the_fleet_of_the_run(tmp_path: Path) -> None:
    for fleet, gpus in (("lab", 64), ("hybrid", 288)):
        folder = tmp_path / fleet
        overrides = [f"fleet={fleet}", "strategy=fifo", "trace=twin", "trace.steps=[{load:{target:0.7}}]"]
        overrides += ["trace.attributes.dataset_share=0", "trace.attributes.residency_share=0"]
        said = hcsim("run", *overrides, f"hydra.run.dir={folder}")
        assert said.status == 0, said.err
        jobs = pd.read_parquet(folder / "jobs.parquet")
        work = (jobs["duration_s"] * jobs["gpus"]).sum()
        span_s = jobs["arrival_s"].max() - jobs["arrival_s"].min()
        assert work / span_s / gpus == pytest.approx(0.7, rel=1e-6)


# -- checkpoints ----------------------------------------------------------------------


@given(st.floats(0.1, 3600.0), st.floats(600.0, 1e7))
def test_intervals_minimise_the_expected_time(write_s: float, mtbf_s: float) -> None:
    """The exact rule is where Daly's expected time per second of work is least; Daly's is near it, Young's farther."""
    rate = 1.0 / mtbf_s

    def expected(interval_s: float) -> float:
        return float(np.expm1(rate * (interval_s + write_s)) / interval_s)

    exact = float(exact_s(np.array(write_s), np.array(mtbf_s)))
    assert np.exp(rate * (exact + write_s)) * (rate * exact - 1.0) + 1.0 == pytest.approx(0.0, abs=1e-6)
    least = expected(exact)
    assert all(least <= expected(exact * factor) * (1 + 1e-12) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0))
    if write_s < mtbf_s / 10:
        daly, young = (float(rule(np.array(write_s), np.array(mtbf_s))) for rule in (daly_s, young_s))
        assert daly == pytest.approx(exact, rel=1e-3)
        assert abs(daly - exact) <= abs(young - exact)
    assert float(daly_s(np.array(2.5 * mtbf_s), np.array(mtbf_s))) == mtbf_s


def test_the_figures_of_the_reference() -> None:
    """0.05 h to write, 6 h between failures (``reference/oracles``)."""
    given = (np.array(0.05), np.array(6.0))
    assert [float(rule(*given)) for rule in (young_s, daly_s, exact_s)] == pytest.approx(
        [0.7745966692, 0.7416219455, 0.7416281664], abs=1e-10
    )


def test_each_job_gets_its_own_interval() -> None:
    jobs = Jobs.build(
        arrival_s=[0.0] * 4, duration_s=[1e5] * 4, gpus=[1, 8, 9, 64], checkpoint_s=[10.0, 10.0, 10.0, 40.0]
    )
    day_s = 86400.0
    after = Checkpoint("young", mtbf_s=100 * day_s)(jobs, 0)
    nodes = np.array([1, 1, 2, 8])
    assert after.checkpoint_interval_s == pytest.approx(np.sqrt(2 * jobs.checkpoint_s * 100 * day_s / nodes))
    assert after.checkpoint_stall_s.tolist() == jobs.checkpoint_s.tolist()  # what is weighed is also charged
    with_crashes = Checkpoint("exact", write_s=20.0, mtbf_s=100 * day_s, job_mtbf_s=2 * day_s)(jobs, 0)
    rate = nodes / (100 * day_s) + 1 / (2 * day_s)
    assert with_crashes.checkpoint_interval_s == pytest.approx(exact_s(np.full(4, 20.0), 1 / rate))
    assert with_crashes.checkpoint_stall_s.tolist() == [20.0] * 4
    assert Checkpoint("fixed", 600.0)(jobs, 0).checkpoint_interval_s.tolist() == [600.0] * 4
    through = Twin(n=5, steps=({"checkpoint": {"rule": "daly", "mtbf_s": 1e6}},)).jobs(0)
    assert (through.checkpoint_interval_s != 1800.0).all()  # from a configuration


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"rule": "yong"}, "no rule 'yong'; did you mean 'young'"),
        ({"rule": "daly"}, "rule daly without mtbf_s or job_mtbf_s, expected how often nodes or jobs fail"),
        ({"mtbf_s": -1.0}, "mtbf_s is -1.0, expected > 0"),
        ({"mtbf_s": 1e6, "write_s": float("nan")}, "write_s is nan, expected a finite number >= 0"),
    ],
)
def test_checkpoint_steps_are_checked(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"trace.steps.checkpoint: {said}"):
        steps([{"checkpoint": parameters}])


def test_a_job_that_writes_in_no_time_has_no_interval() -> None:
    jobs = Jobs.build(arrival_s=[0.0], duration_s=[1e5], id=[7])
    with pytest.raises(InputError, match="job 7 writes a checkpoint in no time, at which rule young has no interval"):
        Checkpoint("young", mtbf_s=1e6)(jobs, 0)
