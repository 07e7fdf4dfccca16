"""Comparisons: paired intervals against SciPy's, what is not called a difference, what cannot be compared."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hcsim import Experiment, InputError, Perf, Plan, Strategy, View, while_waiting
from hcsim.compare import BETTER, METRICS, MISSING, ON_FRONT, OTHER_JOBS, SAME, SINGLE, WORSE, compare, paired
from hcsim.estimators import Noisy, Oracle
from hcsim.runs import Runs, load, read_runs
from hcsim.sim import Simulated
from hcsim.stats import t_interval
from hcsim.strategies.easy_backfill import EasyBackfill
from hcsim.strategies.fifo import Fifo
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategies.sjf import Sjf
from hcsim.traces.twin import Twin
from hcsim.variants import named_variants
from tests.shell import hcsim
from tests.worlds import jobs, owned

KEYS = {metric.key: metric for metric in METRICS}


def runs(figures: dict[str, dict[str, list[float | None]]], **columns: Any) -> Runs:
    """Runs made of figures alone: {strategy: {metric: [a value per seed]}}; metrics not given are 1."""
    rows = []
    for strategy, given_ in figures.items():
        for i in range(len(next(iter(given_.values())))):
            row: dict[str, Any] = {key: 1.0 for key in KEYS} | {key: values[i] for key, values in given_.items()}
            row |= {"strategy": strategy, "seed": i, "knowledge": "none", "trace": "t", "fleet": "f"}
            row |= {"jobs_sha256": f"jobs{i}", "fleet_sha256": "fleet", "versions": {"hcsim": "1"}, "code_sha256": "c"}
            row |= {"executor": "sim", "executor_params": {"until_s": "inf"}, "perf": {"scaling": 0.9}}
            row |= {"strategy_params": {}, "strategy_sha256": strategy, "estimator": None, "forecast_error": None}
            row |= {"jobs_submitted": 1, "finished_sha256": f"jobs{i}", "window": "", "trace_source": {}}
            rows.append(row | {"folder": f"{strategy}/{i}"} | columns)
    made = Runs(())
    made.__dict__["runs"] = pd.DataFrame(rows)  # a cached property: what would be read from the folders
    return made


# -- intervals ---------------------------------------------------------------------------------------------------------

columns = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.floats(-1e3, 1e3), min_size=n, max_size=n) for _ in range(2)])
)


@given(columns)
def test_the_paired_interval_is_scipys(pair: tuple[list[float], list[float]]) -> None:
    ours, base = (np.array(values) for values in pair)
    cell = paired(ours, base, more_is_better=False)
    delta = ours - base
    scale = stats.sem(delta)
    assert cell.mean == pytest.approx(ours.mean())
    assert cell.difference == pytest.approx(delta.mean(), abs=1e-9)
    if scale > 1e-6 * (1 + abs(delta).max()):  # SciPy warns of what rounding would decide
        low, high = stats.t.interval(0.95, len(delta) - 1, loc=delta.mean(), scale=scale)
        assert (cell.low, cell.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
        if abs(low) > 1e-6 and abs(high) > 1e-6:
            p = stats.ttest_rel(ours, base).pvalue
            assert (cell.verdict == SAME) == (low <= 0 <= high) == bool(p >= 0.05)


def test_the_half_width_of_a_mean() -> None:
    values = np.array([3.0, 5.0, 4.0, 8.0])
    low, high = stats.t.interval(0.9, 3, loc=values.mean(), scale=stats.sem(values))
    mean, half = t_interval(values, 0.9)
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert t_interval(np.array([3.0]))[0] == 3.0 and np.isnan(t_interval(np.array([3.0]))[1])
    assert np.isnan(t_interval(np.zeros(0))).all()


def test_verdicts() -> None:
    base = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    noise = np.array([0.1, -0.1, 0.0, 0.1, -0.1])
    assert paired(base - 2 + noise, base, more_is_better=False).verdict == BETTER
    assert paired(base - 2 + noise, base, more_is_better=True).verdict == WORSE
    assert paired(base + 2 + noise, base, more_is_better=False).verdict == WORSE
    assert paired(base + 2 + noise, base, more_is_better=True).verdict == BETTER
    assert paired(base + 20 * noise + 0.1, base, more_is_better=False).verdict == SAME
    assert paired(base, base, more_is_better=False).verdict == SAME
    assert paired(base[:1], base[:1] + 9, more_is_better=False).verdict == SINGLE


def test_an_interval_that_just_holds_zero() -> None:
    """Differences 1 ± s over three seeds: no claim at the width where the bound is zero, one just below it."""
    shape = np.array([-1.0, 0.0, 1.0])
    critical = np.sqrt(3) / stats.t.ppf(0.975, 2)
    for factor, verdict in ((1.0001, SAME), (0.9999, WORSE)):
        cell = paired(1.0 + shape * critical * factor, np.zeros(3), more_is_better=False)
        assert cell.verdict == verdict and (cell.low <= 0) == (verdict == SAME)


def test_pairing_tells_apart_what_means_do_not() -> None:
    """Seeds differ by far more than strategies; the unpaired intervals overlap, and the difference is still found."""
    base = [100.0, 200.0, 400.0, 800.0, 1600.0]
    figures = {"a": {"jct_mean_s": base}, "b": {"jct_mean_s": [x - 5 - 0.01 * i for i, x in enumerate(base)]}}
    comparison = compare(runs(figures))  # type: ignore[arg-type]
    a, b = (comparison.cells[name]["jct_mean_s"] for name in "ab")
    assert abs(a.mean - b.mean) < min(a.half, b.half) and b.verdict == BETTER
    assert comparison.shown("a", KEYS["jct_mean_s"])[1] == "baseline"
    assert comparison.shown("b", KEYS["jct_mean_s"])[1].startswith("better by ")


# -- comparisons -------------------------------------------------------------------------------------------------------


def test_the_table_holds_the_same_as_the_frame() -> None:
    figures: dict[str, dict[str, list[float | None]]] = {
        "first": {"jct_mean_s": [3600.0, 7200.0, 5400.0], "cost_usd": [1000.0, 1100.0, 900.0]},
        "other": {"jct_mean_s": [7200.0, 10900.0, 9000.0], "cost_usd": [1000.0, 1050.0, 990.0]},
    }
    comparison = compare(runs(figures))
    frame = comparison.frame.set_index(["strategy", "metric"])
    row = frame.loc[("other", "mean JCT")]
    assert row["unit"] == "h" and row["difference"] == pytest.approx((1 + 3700 / 3600 + 1) / 3)
    assert row["verdict"] == WORSE and frame.loc[("other", "cost"), "verdict"] == SAME
    text = comparison.markdown()
    assert text.count("\n|") == 3 and "baseline" in text and "worse by" in text and SAME in text
    assert comparison.seeds == (0, 1, 2) and comparison.notes == ()


def test_a_baseline_can_be_chosen() -> None:
    made = runs({name: {"cost_usd": [1.0, 2.0]} for name in ("a", "b", "c")})
    assert compare(made).strategies == ("a", "b", "c")
    assert compare(made, "c").strategies == ("c", "a", "b")
    with pytest.raises(InputError, match="no strategy 'bb' among the runs; did you mean 'b'"):
        compare(made, "bb")


def test_seeds_that_one_lacks_are_left_out_and_said() -> None:
    comparison = compare(runs({"a": {"cost_usd": [1.0, 2.0, 90.0]}, "b": {"cost_usd": [1.5, 2.5]}}))
    assert comparison.seeds == (0, 1) and comparison.notes == ("b lacks seeds [2], which are left out of every pair",)
    assert comparison.cells["a"]["cost_usd"].mean == pytest.approx(1.5 / 1000)


def test_variants_of_one_strategy_are_told_apart() -> None:
    frame = runs({"a": {"cost_usd": [1.0, 2.0]}}).runs
    frame = pd.concat([frame.assign(strategy_params=[{"patience_s": p, "depth": 4}] * 2) for p in (60, 600)])
    frame = pd.concat([frame, runs({"b": {"cost_usd": [3.0, 4.0]}}).runs], ignore_index=True)
    want = ["a (patience_s=60)"] * 2 + ["a (patience_s=600)"] * 2 + ["b"] * 2
    assert named_variants(frame).tolist() == want
    made = Runs(())
    named = frame.assign(strategy=want, strategy_sha256=want)  # the hash is of the parameters as well
    made.__dict__["runs"] = named
    assert compare(made).strategies == ("a (patience_s=60)", "a (patience_s=600)", "b")
    told = [{"type": "oracle"}, {"type": "oracle"}, {"type": "noisy"}, {"type": "noisy"}, None, None]
    frame = frame.assign(
        strategy_params=[{}] * 6, estimator=told, knowledge=["exact"] * 2 + ["rough"] * 2 + ["none"] * 2
    )
    assert named_variants(frame).tolist() == ["a (exact)"] * 2 + ["a (rough)"] * 2 + ["b"] * 2
    apart = frame.assign(strategy_params=[{"x": i} for i in range(6)], seed=range(6))
    assert named_variants(apart).tolist() == frame["strategy"].tolist()  # no pair to compare: a mistake to be told


def test_a_figure_that_no_run_has() -> None:
    comparison = compare(runs({"a": {"deadline_miss_rate": [None, None]}, "b": {"deadline_miss_rate": [None, None]}}))
    assert comparison.shown("b", KEYS["deadline_miss_rate"]) == ("-", "")
    comparison = compare(runs({"a": {"jct_mean_s": [3600.0, None]}, "b": {"jct_mean_s": [3600.0, 9999.0]}}))
    assert comparison.cells["b"]["jct_mean_s"].verdict not in (BETTER, WORSE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda f: f.assign(fleet_sha256=f["strategy"]),
            "different fleets cannot be compared: a/0 has f (a), b/0 has f",
        ),
        (lambda f: f.assign(jobs_sha256=f["folder"]), "different traces under seed 0 cannot be compared: a/0 has t"),
        (
            lambda f: f.assign(executor=["sim", "sim", "local", "local"]),
            "different executors cannot be compared: a/0 has sim, b/0 has local",
        ),
        (
            lambda f: f.assign(executor_params=[{"until_s": t, "without": []} for t in ("inf", "inf", 9.0, 9.0)]),
            "different executors cannot be compared: a/0 has until_s=inf, b/0 has until_s=9.0",
        ),
        (
            lambda f: f.assign(perf=[{"speed": {}, "scaling": s} for s in (1.0, 0.5, 1.0, 1.0)]),
            "different perf cannot be compared: a/0 has scaling=1.0, a/1 has scaling=0.5",
        ),
        (
            lambda f: f.assign(strategy_params=[{"margin_s": i} for i in (1, 2, 3, 3)]),
            "different parameters of a cannot be compared: a/0 has margin_s=1, a/1 has margin_s=2",
        ),
        (
            lambda f: f.assign(strategy_sha256=["1", "1", "2", "3"]),
            "different code of b cannot be compared: b/0 has b (2), b/1 has b (3)",
        ),
        (
            lambda f: f.assign(estimator=[None, None, {"sigma": 0.5}, {"sigma": 0.1}]),
            "different estimators of b cannot be compared: b/0 has sigma=0.5, b/1 has sigma=0.1",
        ),
        (
            lambda f: f.assign(forecast_error=[None, None, 0.1, 0.2]),
            "different forecast errors of b cannot be compared: b/0 has 0.1, b/1 has 0.2",
        ),
        (lambda f: f.assign(strategy="a", strategy_sha256="a"), "a was run twice under one seed: a/0 and b/0"),
        (lambda f: f.assign(seed=range(4)), "no seed under which all strategies were run"),
    ],
)
def test_what_cannot_be_compared(change: Callable[[pd.DataFrame], pd.DataFrame], said: str) -> None:
    made = runs({"a": {"cost_usd": [1.0, 2.0]}, "b": {"cost_usd": [1.0, 2.0]}})
    made.__dict__["runs"] = change(made.runs)
    with pytest.raises(InputError) as error:
        compare(made)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        ("versions", [{"hcsim": "1"}, {"hcsim": "2"}], "different versions of hcsim"),
        ("code_sha256", ["1", "2"], "different versions of hcsim"),
        ("estimator", [{"type": "Oracle"}, {"type": "Noisy"}], "told different run times: a none, b none"),
    ],
)
def test_what_is_a_note(key: str, values: list[Any], said: str) -> None:
    made = runs({"a": {"cost_usd": [1.0]}, "b": {"cost_usd": [1.0]}})
    made.runs[key] = values
    assert len(compare(made).notes) == 1 and said in compare(made).notes[0]


def test_no_verdict_between_runs_that_finished_other_jobs() -> None:
    """A strategy that rejects jobs is not called better for it; what counts all jobs is still compared."""
    figures: dict[str, dict[str, list[float | None]]] = {
        "all": {"jct_mean_s": [9e3, 9e3 + 1, 9e3], "jobs_finished": [100.0] * 3, "deadline_miss_rate": [0.1, 0.1, 0.1]},
        "few": {
            "jct_mean_s": [1e3, 1e3, 1e3 + 1],
            "jobs_finished": [60.0, 60.0, 61.0],
            "jobs_rejected": [40.0, 40.0, 39.0],
            "deadline_miss_rate": [0.5, 0.5, 0.51],
        },
        "slow": {"jct_mean_s": [9.5e3, 9.5e3, 9.5e3], "jobs_finished": [100.0] * 3, "jobs_rejected": [0.0] * 3},
    }
    made = runs(figures, jobs_submitted=100)
    made.runs.loc[made.runs["folder"] == "few/2", "finished_sha256"] = "others"  # in one seed of three
    comparison = compare(made, "all")
    assert comparison.other_jobs == ("few",)
    verdicts = {m.key: comparison.cells["few"][m.key].verdict for m in METRICS}
    assert {key for key, verdict in verdicts.items() if verdict == OTHER_JOBS} == {
        *("jct_mean_s", "jct_p99_s", "queue_delay_mean_s", "cost_usd", "gpu_utilization")
    }
    assert OTHER_JOBS == "not comparable: finished sets differ"
    assert (verdicts["jobs_finished"], verdicts["deadline_miss_rate"]) == (WORSE, WORSE)
    assert comparison.cells["slow"]["jct_mean_s"].verdict == WORSE
    row = comparison.frame.set_index(["strategy", "metric"]).loc[("few", "mean JCT")]
    assert row["verdict"] == OTHER_JOBS and np.isnan(row["difference"]) and row["mean"] == pytest.approx(1 / 3.6, 1e-3)
    assert comparison.shown("few", KEYS["jobs_finished"]) == ("181", "")  # in all seeds
    line = next(line for line in comparison.markdown().splitlines() if line.startswith("| few "))
    assert "| 181 | 119 | 3 |" in line and "better" not in line and line.count(OTHER_JOBS) == 5
    assert "few cannot be compared with all" in comparison.notes[0]
    assert "few 181 of 300 (119 rejected, 3 unfinished), all 300 of 300" in comparison.notes[0]


def test_a_figure_and_its_half_width() -> None:
    figures: dict[str, dict[str, list[float | None]]] = {
        "a": {"jct_mean_s": [3600 * 2.2, 3600 * 2.4], "cost_usd": [1e6, 3e6], "gpu_utilization": [0.5, 0.5]}
    }
    comparison = compare(runs(figures))
    # t(1) = 12.706: half-widths 1.2706 h, 12,706 kUSD and 0
    assert comparison.shown("a", KEYS["jct_mean_s"])[0] == "2.3 ± 1.3"
    assert comparison.shown("a", KEYS["cost_usd"])[0] == "2,000 ± 12,706"
    assert comparison.shown("a", KEYS["gpu_utilization"])[0] == "50.0 ± 0"


# -- several strategies ------------------------------------------------------------------------------------------------


def of(key: str, figures: dict[str, Any]) -> Runs:
    """Runs that differ in one figure."""
    return runs({name: {key: list(map(float, values))} for name, values in figures.items()})


def test_an_a_a_comparison_finds_nothing(tmp_path: Path) -> None:
    """The same strategy under five names: the runs are alike to the bit, and every verdict says so."""
    twin = Twin(n=100, gpus=16, max_gang=8, attributes={"residency_share": 0, "dataset_share": 0})
    for seed in (1, 2, 3):
        for name in "abcde":
            Experiment(owned(2), twin, Fifo(), seed=seed, names={"strategy": name}).run(tmp_path / f"{name}{seed}")
    said = hcsim("compare", tmp_path)
    assert said.status == 0 and "better by" not in said.out and "worse by" not in said.out and "+" not in said.out
    frame = pd.read_csv(tmp_path / "comparison.csv")
    assert set(frame["verdict"]) == {SAME}
    assert (frame["difference"].dropna() == 0).all() and set(frame["place_high"].dropna()) == {5.0}


def test_seeds_that_are_all_alike_are_an_a_a_comparison() -> None:
    """Eight strategies that differ by noise alone: with p < 0.05 for one of them, and no claim."""
    noise = np.random.default_rng(14).standard_normal((8, 5))
    found = compare(of("jct_mean_s", {f"s{i}": 36000 + 360 * row for i, row in enumerate(noise)}))
    p = [stats.ttest_rel(row, noise[0]).pvalue for row in noise[1:]]
    cells = [found.cells[f"s{i}"]["jct_mean_s"] for i in range(1, 8)]
    assert min(p) < 0.05 and {cell.verdict for cell in cells} == {SAME}
    assert min(cell.p for cell in cells) == pytest.approx(min(1.0, 7 * min(p)))


def test_a_family_is_the_strategies_that_can_be_compared() -> None:
    """A rival without the figure, or with other jobs, costs the others nothing."""
    base = np.array([10.0, 12.0, 9.0, 11.0, 10.0])
    close = base - np.array([1.0, 0.2, 0.9, 0.1, 0.6])
    alone = compare(of("jct_mean_s", {"a": base, "b": close})).cells["b"]["jct_mean_s"]
    assert 0.02 < alone.p < 0.05 and alone.verdict == BETTER
    made = of("jct_mean_s", {"a": base, "b": close, "c": base + 9, "d": base * np.nan, "e": base})
    made.runs.loc[made.runs["strategy"] == "c", "finished_sha256"] = "others"
    made.runs.loc[made.runs["strategy"] == "e", "finished_sha256"] = "others"
    cells = compare(made).cells
    assert cells["b"]["jct_mean_s"].p == alone.p and cells["d"]["jct_mean_s"].verdict == MISSING
    third = compare(of("jct_mean_s", {"a": base, "b": close, "c": base + close - base[::-1]})).cells["b"]["jct_mean_s"]
    assert third.p == pytest.approx(2 * alone.p) and third.verdict == SAME


def test_how_many_more_seeds() -> None:
    base = np.array([10.0, 20.0, 30.0, 40.0])
    found = compare(of("cost_usd", {"a": base, "b": base + np.array([0.5, -0.5, 2.0, 1.0])}))
    cell = found.cells["b"]["cost_usd"]
    assert cell.verdict == SAME and cell.d == pytest.approx(0.7206, abs=1e-4)
    assert cell.more == 14  # 18 pairs in all: (1.96 + 0.84)² / 0.7206² = 15.1, and the t test's 2 to 3 more
    assert found.shown("b", KEYS["cost_usd"])[1] == "not distinguishable (+14 seeds)"
    assert "n more seeds would separate it from a with a chance of 80 %" in found.markdown()
    two = compare(of("cost_usd", {"a": base, "b": base + np.array([0.5, -0.5, 2.0, 1.0]), "c": base[::-1]}))
    assert (two.cells["b"]["cost_usd"].more or 0) > 14  # at the level that Holm's method may ask for


def test_from_twenty_seeds_on_the_bootstrap_stands_beside() -> None:
    base = np.linspace(1000, 3000, 20)
    skewed = base + np.r_[np.full(19, 10.0), -180.0] + np.linspace(0, 1, 20)
    found = compare(of("cost_usd", {"a": base, "b": skewed}))
    cell = found.cells["b"]["cost_usd"]
    want = stats.bootstrap((1e-3 * (skewed - base),), np.mean, method="BCa", rng=np.random.default_rng(7))
    assert (cell.bca_low, cell.bca_high) == pytest.approx(tuple(want.confidence_interval), abs=1.5e-3)
    assert np.isnan(compare(of("cost_usd", {"a": base[:19], "b": skewed[:19]})).cells["b"]["cost_usd"].bca_low)
    lopsided = base + np.exp(1.3 * np.random.default_rng(4).standard_normal(20)) - 1.2
    found = compare(of("cost_usd", {"a": base, "b": lopsided}))
    cell = found.cells["b"]["cost_usd"]
    assert cell.low < 0 < cell.bca_low and cell.verdict == SAME  # the verdict is Student's, and the reader is told
    assert found.notes == ("t and bootstrap intervals disagree about zero (skewed differences?): b in cost",)


def test_a_pareto_front_says_what_can_be_told() -> None:
    base = np.array([10.0, 20.0, 30.0, 40.0])
    noise = np.array([0.01, -0.01, 0.02, -0.02])
    made = runs(
        {
            name: {"cost_usd": (base + cost).tolist(), "jct_mean_s": (base + jct).tolist()}
            for name, cost, jct in (
                ("cheap", noise, 5 + noise),
                ("quick", 5 + noise, 2 * noise),
                ("poor", 6 + 2 * noise, 6 - noise),
                ("maybe", noise + np.array([3, -2.9, 3, -2.9]), 5 + 3 * noise + 0.001),
            )
        }
    )
    found = compare(made, "cheap", pareto=["cost_usd", "jct_mean_s"])
    assert found.front["cheap"] == found.front["quick"] == ON_FRONT
    assert found.front["poor"].startswith("dominated by cheap, quick")
    assert found.front["maybe"] == "behind cheap, not distinguishable"
    assert "Pareto front of cost and mean JCT: cheap is on the front; " in found.markdown()
    made.runs.loc[made.runs["strategy"] == "quick", "finished_sha256"] = "others"
    assert compare(made, "cheap", pareto=["cost_usd", "jct_mean_s"]).front["quick"] == OTHER_JOBS
    # of two figures of which more is better, all else equal
    turned = compare(made, "cheap", pareto=["cost_usd:max", "jct_mean_s:max"])
    assert turned.front["poor"] == ON_FRONT and turned.front["cheap"].startswith("dominated by poor")


def test_metrics_can_be_chosen() -> None:
    made = runs({"a": {"preemptions": [1.0, 2.0]}, "b": {"preemptions": [5.0, 6.5]}})
    found = compare(made, metrics=["cost_usd", "preemptions"])
    assert [m.key for m in found.metrics] == ["cost_usd", "preemptions"]
    assert found.cells["b"]["preemptions"].mean == 5.75 and "| preemptions |" in found.markdown()
    assert set(found.frame["metric"]) == {"cost", "preemptions"}
    for metrics, pareto, said in (
        (["cost_us"], [], "--metrics: no figure 'cost_us'; did you mean 'cost_usd'"),
        ([], ["cost_usd", "jct"], "--pareto: no figure 'jct'"),
        ([], ["cost_usd:least", "jct_mean_s"], "--pareto: 'cost_usd:least', expected cost_usd:min or cost_usd:max"),
        ([], ["cost_usd"], "--pareto: 'cost_usd' is one figure, expected two or more"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            compare(made, metrics=metrics, pareto=pareto)


def test_mixed_versions_are_named() -> None:
    made = runs({"a": {"cost_usd": [1.0, 2.0]}, "b": {"cost_usd": [1.0, 2.0]}})
    made.runs["versions"] = [{"hcsim": "1", "numpy": v} for v in ("2.0", "2.0", "2.1", "2.1")]
    made.runs["code_sha256"] = ["0123456789", "0123456789", "0123456789", "9876543210"]
    (note,) = compare(made).notes
    assert "numpy 2.0 in a/0, 2.1 in b/0; the engine's code 01234567 in a/0, 98765432 in b/1" in note


def test_the_latex_table_is_whole() -> None:
    """Every row has as many cells as columns, braces balance, and what LaTeX would read as its own is escaped."""
    figures = {"own_first": {"gpu_utilization": [0.5, 0.6, 0.7]}, "50%_&_#": {"gpu_utilization": [0.51, 0.62, 0.73]}}
    made = runs(figures)  # type: ignore[arg-type]
    made.runs["trace"], made.runs["fleet"] = "a~b^c", "{x}\\y$"
    made.runs.loc[0, "versions"] = "other"
    text = compare(made).latex()
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == 2 + 2 * 2 and {len(re.findall(r"(?<!\\)&", line)) for line in body} == {len(METRICS)}
    plain = re.sub(r"\\[{}\\]", "", re.sub(r"(?m)^%.*$", "", text))
    assert plain.count("{") == plain.count("}")
    assert not re.search(r"(?<!\\)[%#_]", re.sub(r"(?m)^%.*$", "", text))
    assert r"50\%\_\&\_\#" in text and r"a\textasciitilde{}b\textasciicircum{}c" in text
    assert r"\{x\}\textbackslash{}y\$" in text and r"$\pm$" in text and r"\toprule" in text


# -- hcsim compare -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two strategies, two seeds."""
    folder = tmp_path_factory.mktemp("compare") / "sweep"
    said = hcsim("run", "-m", "strategy=fifo,owned_first", "seed=1,2", "trace.n=100", f"hydra.sweep.dir={folder}")
    assert (said.status, said.err) == (0, "")
    return folder


@dataclass(frozen=True)
class RejectBusy(Strategy):
    """First fit, and what does not fit at once is turned away."""

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting):
            plan.place(job, plan.first_fit(job))
        for job in set(view.waiting) - set(plan.placed()):
            plan.reject(job)
        return plan


def test_a_strategy_that_rejects_is_not_better_for_it(tmp_path: Path) -> None:
    """The same jobs under a strategy that serves all and one that serves whom it likes: counts, and no verdict."""
    twin = Twin(n=300, gpus=16, load=1.5, max_gang=8, attributes={"residency_share": 0, "dataset_share": 0})
    for seed in (1, 2, 3):
        for strategy in (FirstFit(), RejectBusy()):
            Experiment(owned(2), twin, strategy, seed=seed).run(tmp_path / strategy.name / str(seed))
    assert (tmp_path / "reject_busy" / "1" / "jobs.parquet").is_file()
    statuses = load(tmp_path).jobs.groupby(["strategy", "status"]).size()
    assert statuses["first_fit"].to_dict() == {"finished": 900} and statuses["reject_busy", "rejected"] > 100
    said = hcsim("compare", tmp_path)
    assert said.status == 0 and "reject_busy cannot be compared with first_fit" in said.err
    finished, rejected = (f"{statuses['reject_busy', how]:,}" for how in ("finished", "rejected"))
    assert f"reject_busy {finished} of 900 ({rejected} rejected, 0 unfinished), first_fit 900 of 900" in said.err
    frame = pd.read_csv(tmp_path / "comparison.csv").set_index(["strategy", "metric"])
    mine = frame.loc["reject_busy"]
    assert mine.loc["mean JCT", "mean"] < frame.loc[("first_fit", "mean JCT"), "mean"] / 2  # the lure
    assert mine.loc["mean JCT", "verdict"] == mine.loc["cost", "verdict"] == OTHER_JOBS
    assert mine.loc["rejected", "mean"] * 3 == pytest.approx(statuses["reject_busy", "rejected"])
    for text in (said.out, (tmp_path / "comparison.md").read_text(), (tmp_path / "report.html").read_text()):
        assert "finished" in text and "rejected" in text and "unfinished" in text
        assert finished in text and rejected in text and "not comparable" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"executor": Simulated(until_s=3000.0)}, "different executors cannot be compared: .* until_s=inf, .*=3000.0"),
        (
            {"executor": Simulated(without=("overheads",))},
            "different executors .* without=\\[\\], .*=\\['overheads'\\]",
        ),
        ({"perf": Perf(spread_factor=0.5)}, "different perf .* spread_factor=0.8, .* spread_factor=0.5"),
        ({"perf": Perf({"A100": 1.5})}, "different perf .* speed={}, .* speed={'A100': 1.5}"),
        ({"fleet": owned(2, repair_s=9.0)}, "different fleets .* owned .* owned "),
        ({"trace": jobs((0, 500, 1), (9, 500, 8), restart_s=[9.0, 9.0])}, "different traces under seed 0 "),
        ({"trace": jobs((0, 500, 1), (9, 500, 8), checkpoint_s=[0.0, 1.0])}, "different traces under seed 0 "),
        ({"trace": jobs((0, 500, 1), (9, 500, 8), tenants=("other",))}, "different traces under seed 0 "),
    ],
)
def test_runs_of_other_worlds_are_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """In each of them a verdict would be of the world and not of the strategy."""
    base = Experiment(owned(2), jobs((0, 500, 1), (9, 500, 8)), FirstFit())
    base.run(tmp_path / "a")
    replace(base, strategy=Fifo(), **change).run(tmp_path / "b")
    got = hcsim("compare", tmp_path)
    assert got.status == 2 and got.err.count("\n") == 1
    assert re.match(f"hcsim: error: {said}", got.err), got.err
    assert not (tmp_path / "report.html").exists()


def test_what_strategies_were_told_is_no_other_world(tmp_path: Path) -> None:
    base = Experiment(owned(2), jobs((0, 500, 1), (9, 500, 8)), Sjf(), Noisy(0.3))
    base.run(tmp_path / "a")
    replace(base, strategy=EasyBackfill(), estimator=Oracle()).run(tmp_path / "b")
    replace(base, strategy=Fifo(), estimator=Oracle()).run(tmp_path / "c")  # is told nothing
    got = hcsim("compare", tmp_path)
    known = "easy_backfill oracle run times, sjf noisy run times (σ = 0.3)"
    assert got.status == 0 and known in " ".join(got.err.split()) and "fifo" not in got.err


class Loads(HTMLParser):
    """What a page would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"src", "href", "xlink:href", "srcset", "data", "poster"}
        self.found += [v for k, v in attrs if k in names and v and not v.startswith("#")]
        self.found += [tag] * (tag in ("script", "iframe", "object", "embed", "link"))


def test_compare_writes_a_table_and_a_page(sweep: Path, tmp_path: Path) -> None:
    said = hcsim("compare", sweep, "--baseline", "owned_first", "--out", tmp_path / "new")
    assert (said.status, said.err) == (0, "")
    assert "twin on hybrid, 2 seeds" in said.out and "baseline" in said.out
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"comparison.csv", "comparison.md", "report.html"}
    frame = pd.read_csv(tmp_path / "new" / "comparison.csv")
    assert list(frame["strategy"].unique()) == ["owned_first", "fifo"] and len(frame) == 2 * len(METRICS)
    summaries = [json.loads(path.read_text()) for path in sweep.rglob("summary.json")]
    mine = [s["cost_usd"] for s in summaries if s["strategy"] == "fifo"]
    shown = frame[(frame["strategy"] == "fifo") & (frame["metric"] == "cost")]["mean"].iloc[0]
    assert shown == pytest.approx(np.mean(mine) / 1000)
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert Loads(page).found == [] and not re.search(r"@import|url\(\s*['\"]?https?:", page)
    ids = re.findall(r' id="([^"]+)"', page)
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page))
    assert len(ids) == len(set(ids)) > 100 and {a or b for a, b in used} <= set(ids)
    assert page.count("<svg") >= 5 and "owned_first" in page and "twin on hybrid" in page
    again = hcsim("compare", sweep, "--baseline", "owned_first", "--out", tmp_path / "again")
    assert again.status == 0 and (tmp_path / "again" / "report.html").read_text(encoding="utf-8") == page


@pytest.mark.parametrize("name", ["table.tex", "table.md", "table.csv", "table.html"])
def test_out_may_be_one_file(sweep: Path, tmp_path: Path, name: str) -> None:
    said = hcsim("compare", sweep, "--out", tmp_path / "paper" / name, "--pareto", "cost_usd,jct_mean_s")
    assert said.status == 0 and [path.name for path in (tmp_path / "paper").iterdir()] == [name]
    text = (tmp_path / "paper" / name).read_text()
    assert ("owned_first" if name != "table.tex" else r"owned\_first") in text
    assert not list(sweep.glob("comparison.*")) and "Pareto front of cost and mean JCT" in said.out


def test_one_run_can_be_shown(sweep: Path, tmp_path: Path) -> None:
    said = hcsim("compare", next(iter(sorted(sweep.glob("*/")))), "--out", tmp_path)
    assert said.status == 0 and "1 seed:" in said.out and (tmp_path / "report.html").is_file()


def spoil(folder: Path, how: str) -> None:
    """Make one of a sweep's runs unreadable."""
    run = sorted(path.parent for path in folder.rglob("summary.json"))[0]
    summary = json.loads((run / "summary.json").read_text())
    if how == "text":
        (run / "summary.json").write_text("half {")
    elif how == "list":
        (run / "summary.json").write_text("[1]")
    elif how in summary:
        (run / "summary.json").write_text(json.dumps({k: v for k, v in summary.items() if k != how}))
    elif how == "type":
        (run / "summary.json").write_text(json.dumps(summary | {"cost_usd": "dear"}))
    elif how == "jobs":
        (run / "jobs.parquet").unlink()
    else:
        (run / "timeline.parquet").write_bytes(b"PAR1")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("text", "Expecting value"),
        ("list", "a list, expected a run's summary"),
        ("cost_usd", "no key 'cost_usd'"),
        ("versions", "no key 'versions'"),
        ("type", "cost_usd is 'dear', expected a number"),
        ("jobs", "jobs.parquet is missing"),
        ("table", "timeline.parquet cannot be read"),
    ],
)
def test_a_run_that_cannot_be_read_is_left_out_and_named(sweep: Path, tmp_path: Path, how: str, said: str) -> None:
    shutil.copytree(sweep, tmp_path / "sweep")
    spoil(tmp_path / "sweep", how)
    left_out = read_runs([tmp_path / "sweep"]).left_out
    assert len(left_out) == 1 and said in left_out[0] and left_out[0].startswith(f"{tmp_path}/sweep/")


def test_what_was_left_out_is_said(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep, tmp_path / "sweep")
    spoil(tmp_path / "sweep", "text")
    shown = hcsim("compare", tmp_path / "sweep")
    assert shown.status == 0
    assert [line.split(": ")[1] for line in shown.err.splitlines()] == ["left out", "note"]
    assert "lacks seeds [1]" in shown.err and "1 seed:" in shown.out


def test_folders_that_hold_no_run(sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for args, said in (
        ([tmp_path / "none"], f"{tmp_path}/none: no such folder"),
        ([tmp_path / "file"], f"{tmp_path}/file: no such folder"),
        ([tmp_path / "empty"], f"no finished run (summary.json) below {tmp_path}/empty"),
        ([sweep, tmp_path / "none"], f"{tmp_path}/none: no such folder"),
        ([sweep, "--baseline", "fifi"], "no strategy 'fifi' among the runs; did you mean 'fifo'?"),
        ([sweep, "--out", tmp_path / "file" / "x"], f"{tmp_path}/file/x: cannot be used (Not a directory)"),
        ([sweep, "--basline", "fifo"], "unrecognized arguments: --basline"),
    ):
        got = hcsim("compare", *args)
        assert got.status == 2 and got.err.count("\n") == 1, args
        assert got.err.startswith(f"hcsim: error: {said}"), got.err
    assert not list((tmp_path / "empty").iterdir())
