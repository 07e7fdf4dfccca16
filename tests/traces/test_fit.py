"""Fitted twins: deterministic, close to what they are fitted to, and without a row of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hcsim import InputError, Jobs
from hcsim.model import JOB_COLUMNS
from hcsim.traces._fit import fit, normal_scores, quantiles
from hcsim.traces._quality import agreement, distances, outcomes
from hcsim.traces.fitted import FOLDER, Fitted, _piecewise
from hcsim.traces.itp import Itp
from hcsim.traces.twin import Twin


def written(jobs: Jobs, folder: Path) -> Path:
    path = folder / "twin.json"
    path.write_text(json.dumps(fit(jobs)))
    return path


def test_same_seed_same_jobs_other_seed_others() -> None:
    a, b, c = (Fitted(n=2000).jobs(seed) for seed in (1, 1, 2))
    for key in JOB_COLUMNS:
        assert np.array_equal(getattr(a, key), getattr(b, key)), key
    assert not np.array_equal(a.duration_s, c.duration_s)


def test_a_poisson_trace_comes_back_as_one(tmp_path: Path) -> None:
    """What is known exactly: exponential gaps and run times, two gang sizes, nothing alike."""
    rng = np.random.default_rng(5)
    n = 20_000
    original = Jobs.build(
        arrival_s=np.cumsum(rng.exponential(600.0, n)),
        duration_s=rng.exponential(1000.0, n),
        gpus=rng.choice([1, 8], n, p=[0.8, 0.2]),
    )
    table = fit(original)
    assert table["day_sigma"] < 0.1 and table["hour_sigma"] < 0.2
    assert abs(table["run_alike"]) < 0.1 and abs(table["run_by_batch_size"]) < 0.1
    twin = Fitted(path=str(written(original, tmp_path))).jobs(1)
    assert (twin.gpus == 8).mean() == pytest.approx(0.2, abs=0.02)
    assert twin.duration_s.mean() == pytest.approx(1000.0, rel=0.03)
    assert twin.arrival_s[-1] == pytest.approx(original.arrival_s[-1], rel=0.01)
    found = distances(original, twin)
    assert max(found["KS run time"], found["KS gang size"]) < 0.02
    assert found["KS gap"] < 0.07  # chance neighbours within a minute are taken for a batch


def test_a_twin_of_a_bursty_trace_is_close(tmp_path: Path) -> None:
    original = Twin(n=20_000, gpus=440, attributes={}).jobs(2)
    path = written(original, tmp_path)
    assert path.stat().st_size < 20_000
    each = [distances(original, Fitted(path=str(path)).jobs(seed)) for seed in range(5)]
    for key, most in (("KS run time", 0.05), ("KS gap", 0.1), ("KS gang size", 0.03)):
        assert np.mean([d[key] for d in each]) < most, key
    assert np.mean([d["load ratio"] for d in each]) == pytest.approx(1.0, abs=0.1)


def test_quantiles_keep_the_mean_between_edges() -> None:
    rng = np.random.default_rng(0)
    x = rng.lognormal(6.0, 2.0, 5000)
    drawn = _piecewise(quantiles(x), (np.arange(200_000) + 0.5) / 200_000)
    assert drawn.mean() == pytest.approx(x.mean(), rel=0.01)
    assert drawn.min() >= x.min() - 1e-3 and drawn.max() <= x.max() + 1e-3
    assert np.quantile(drawn, 0.9) == pytest.approx(np.quantile(x, 0.9), rel=0.05)
    assert _piecewise(quantiles(np.full(500, 7.0)), np.linspace(0.01, 0.99, 50)) == pytest.approx(7.0)


def test_normal_scores_are_standard_within_each_class() -> None:
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 3, 3000)
    scores = normal_scores(np.floor(rng.exponential(3.0, 3000) * (classes + 1)), classes)
    for c in range(3):
        assert scores[classes == c].mean() == pytest.approx(0.0, abs=1e-9)
        assert scores[classes == c].std() == pytest.approx(1.0)


def test_load_and_length_can_be_set() -> None:
    jobs = Fitted(n=3000, gpus=64, load=0.7).jobs(1)
    assert len(jobs) == 3000
    span_s = jobs.arrival_s[-1] - jobs.arrival_s[0]
    assert (jobs.duration_s * jobs.gpus).sum() / span_s / 64 == pytest.approx(0.7)
    assert Fitted(n=500, max_duration_s=100.0).jobs(1).duration_s.max() <= 100.0


def test_what_ships_is_small_and_draws() -> None:
    names = sorted(path.stem for path in FOLDER.glob("*.json"))
    assert {"philly", "itp"} <= set(names)
    for name in names:
        assert (FOLDER / f"{name}.json").stat().st_size < 40_000
        assert len(Fitted(of=name, n=300).jobs(3)) == 300


def test_strategies_rank_a_twin_like_its_original(shared_traces: Path, tmp_path: Path) -> None:
    original = Itp(str(shared_traces), cluster="10").jobs(0)
    twins = [Fitted(path=str(written(original, tmp_path))).jobs(seed) for seed in (1, 2)]
    found = outcomes(original, twins)
    assert [row.strategy for row in found] == ["fifo", "first_fit", "sjf", "las", "easy_backfill"]
    assert all(np.isfinite([row.jct_difference, row.utilization_difference]).all() for row in found)
    assert -1.0 <= agreement(found) <= 1.0


def test_bad_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no twin of 'phily'; did you mean 'philly'"):
        Fitted(of="phily").jobs(0)
    for text, said in (("{", "not a fitted table"), ("{}", "'jobs' is missing"), ("[1]", "'jobs' is missing")):
        path = tmp_path / f"{len(text)}{said[:3].strip()}.json"
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            Fitted(path=str(path)).jobs(0)
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        Fitted(path=str(tmp_path / "none.json")).jobs(0)
    with pytest.raises(InputError, match="5 jobs over"):
        fit(Twin(n=5).jobs(0))
