"""The twin: what it promises of itself, and how close it is to the log that it is fitted to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import InputError
from hcsim.model import JOB_COLUMNS
from hcsim.traces._summary import describe
from hcsim.traces.philly import Philly
from hcsim.traces.twin import Twin


def test_same_seed_same_jobs_other_seed_others() -> None:
    a, b, c = Twin(n=500).jobs(1), Twin(n=500).jobs(1), Twin(n=500).jobs(2)
    for key in JOB_COLUMNS:
        assert np.array_equal(getattr(a, key), getattr(b, key)), key
    assert not np.array_equal(a.duration_s, c.duration_s)


@settings(max_examples=25)
@given(st.integers(1, 2000), st.integers(1, 4000), st.floats(0.05, 3.0), st.integers(0, 50))
def test_load_is_exact(n: int, gpus: int, load: float, seed: int) -> None:
    twin = Twin(n=n, gpus=gpus, load=load)
    jobs = twin.jobs(seed)
    span_s = (jobs.duration_s * jobs.gpus).sum() / (gpus * load)
    assert len(jobs) == n
    assert jobs.arrival_s.min() == 0.0 and jobs.arrival_s.max() <= span_s * (1 + 1e-9) + 1e-3
    assert jobs.gpus.max() <= twin.max_gang and jobs.duration_s.max() <= twin.max_duration_s


def test_an_attribute_moves_nothing_else() -> None:
    twin = Twin(n=2000)
    more = dataclasses.replace(twin, attributes=dataclasses.replace(twin.attributes, residency_share=0.5))
    a, b = twin.jobs(3), more.jobs(3)
    for key in ("arrival_s", "duration_s", "gpus", "tenant", "deadline_s", "user_estimate_s", "dataset_bytes"):
        assert np.array_equal(getattr(a, key), getattr(b, key)), key
    assert set(np.flatnonzero(a.residency >= 0)) <= set(np.flatnonzero(b.residency >= 0))
    assert 0.08 < (a.residency >= 0).mean() < 0.12


def test_bound_jobs_keep_their_data_at_home() -> None:
    jobs = Twin(n=3000).jobs(0)
    bound = (jobs.residency >= 0) & (jobs.dataset_site >= 0)
    assert bound.sum() > 30
    assert {jobs.dataset_sites[i] for i in jobs.dataset_site[bound]} == {"cloud_eu"}


def test_bad_parameters_are_named() -> None:
    with pytest.raises(InputError, match=r"trace\.load is 0"):
        Twin(load=0)
    with pytest.raises(InputError, match=r"residency_share is 2"):
        Twin(attributes=dataclasses.replace(Twin().attributes, residency_share=2))


@pytest.mark.shared
def test_the_twin_looks_like_the_log(shared_traces: Path) -> None:
    """Bands: gang shares within 0.5 points, quantiles of run time within 15 % (P99 40 %), median by gang within 30 %,
    burstiness within a factor of two. The twin here is unclipped and as long as the log."""
    log = Philly(str(shared_traces)).jobs(0)
    twin = Twin(n=len(log), load=374.2 / 440, max_gang=128, max_duration_s=5e6).jobs(1)
    for size in (1, 2, 4, 8):
        share = (log.gpus == size).mean()
        assert (twin.gpus == size).mean() == pytest.approx(share, abs=0.005)
        median = np.median(log.duration_s[log.gpus == size])
        assert np.median(twin.duration_s[twin.gpus == size]) == pytest.approx(median, rel=0.3)
    for q, band in ((25, 0.15), (50, 0.15), (75, 0.15), (90, 0.15), (99, 0.4)):
        assert np.percentile(twin.duration_s, q) == pytest.approx(np.percentile(log.duration_s, q), rel=band)
    work = [(jobs.duration_s * jobs.gpus).sum() for jobs in (log, twin)]
    assert work[1] == pytest.approx(work[0], rel=0.15)
    burst = [describe(jobs)["index_of_dispersion"] for jobs in (log, twin)]
    assert 0.5 < burst[1] / burst[0] < 2.0
    hours = [np.bincount((jobs.arrival_s // 3600 % 24).astype(int), minlength=24) / len(jobs) for jobs in (log, twin)]
    assert hours[1].max() > 1.3 / 24  # there is a daily cycle
