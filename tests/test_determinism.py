"""The same log, byte for byte, and the same figures, digit for digit: over repeated runs, over processes, and on every
supported Python."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from functools import reduce
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from hcsim import Fleet, Jobs, Link, NodePool, Site
from hcsim.log import Log
from hcsim.metrics import gpu_seconds, summarize
from hcsim.strategies.easy_backfill import EasyBackfill
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategies.las import Las
from hcsim.strategies.random_fit import RandomFit
from hcsim.strategies.srtf import Srtf
from hcsim.strategy import Strategy
from hcsim.traces.twin import Twin
from tests.worlds import play

pytestmark = pytest.mark.determinism
GOLDEN = Path(__file__).parent / "golden"
STRATEGIES: dict[str, Strategy] = {
    "first_fit": FirstFit(),
    "easy_backfill": EasyBackfill(),
    "las": Las(),
    "srtf": Srtf(),
    "random_fit": RandomFit(),
}


def fleet() -> Fleet:
    """Owned nodes that fail and rented ones in two jurisdictions whose boot times vary."""
    rented = {"market": "on_demand", "boot_s": 180.0, "boot_cv": 0.4, "mtbf_s": 5e5}
    sites = (
        Site("onprem", (NodePool("own", "A100", 8, 6, 1.0, mtbf_s=2e5, repair_s=4000.0),), "us"),
        Site("cloud_us", (NodePool("us", "H100", 8, 3, 4.0, **rented),), "us"),  # type: ignore[arg-type]
        Site("cloud_eu", (NodePool("eu", "A100", 8, 3, 4.0, **rented),), "eu", quota_gpus=16),  # type: ignore[arg-type]
    )
    names = [s.name for s in sites]
    return Fleet(sites, tuple(Link(a, b, usd_per_gb=0.05) for a in names for b in names if a != b))


def run_of(name: str, seed: int = 7) -> tuple[Log, Jobs]:
    jobs = Twin(n=600, gpus=96, max_gang=16).jobs(seed)
    return play(STRATEGIES[name], fleet(), jobs, seed=seed), jobs


def run_hash(name: str) -> str:
    return run_of(name)[0].sha256


def figures(name: str) -> dict[str, Any]:
    """The summary of a run whose figures tell ways of adding floats apart, see the test."""
    log, jobs = run_of(name, FIGURES_SEED)
    found: dict[str, Any] = json.loads(json.dumps(summarize(log.array(), jobs, fleet())))
    return found


FIGURES_SEED = 31


@pytest.mark.parametrize("name", STRATEGIES)
def test_golden_hash(name: str) -> None:
    """The hashes were looked at when they were written: every run finishes its 600 jobs, with losses and preemptions.
    A change of behaviour changes them; write them anew (``python -m tests.test_determinism``) only when that change is
    meant."""
    assert run_hash(name) == json.loads((GOLDEN / "log_sha256.json").read_text())[name]


@pytest.mark.parametrize("name", STRATEGIES)
def test_golden_figures(name: str) -> None:
    assert figures(name) == json.loads((GOLDEN / "summary.json").read_text())[name]


def test_the_golden_figures_would_show_a_plain_sum() -> None:
    """``sum`` of floats is compensated from Python 3.12 on; one term after the other, it gives another last digit."""
    log, _ = run_of("srtf", FIGURES_SEED)
    use = gpu_seconds(log.array(), fleet())
    up = reduce(float.__add__, (use[key] for key in ("busy", "starting", "draining", "idle")))
    assert use["busy"] / up != figures("srtf")["gpu_utilization"] == pytest.approx(use["busy"] / up, rel=1e-12)


def test_repeated_and_parallel_runs_are_equal() -> None:
    here = [run_hash(name) for name in STRATEGIES]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        there = list(pool.map(run_hash, STRATEGIES))
    assert here == there == [run_hash(name) for name in STRATEGIES]


def test_another_seed_is_another_world() -> None:
    twin = Twin(n=100, gpus=96, max_gang=16)
    assert (
        play(FirstFit(), fleet(), twin.jobs(1), seed=1).sha256 != play(FirstFit(), fleet(), twin.jobs(2), seed=2).sha256
    )


if __name__ == "__main__":
    for file, of in (("log_sha256", run_hash), ("summary", figures)):
        (GOLDEN / f"{file}.json").write_text(json.dumps({name: of(name) for name in STRATEGIES}, indent=1) + "\n")
