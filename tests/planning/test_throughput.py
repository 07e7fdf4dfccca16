"""Speeds from tables: what is measured, what is not, and what does not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcsim import Experiment, Fleet, InputError, Jobs, Kind, NodePool, Site
from hcsim.strategies.first_fit import FirstFit
from hcsim.throughput import Throughputs
from hcsim.traces.profile_gavel import ProfileGavel
from tests.planning.worlds import Measured

ROWS = (
    ("a", "V100", 1, "alone", 4.0),
    ("a", "V100", 2, "alone", 6.0),
    ("a", "V100", 2, "spread, alone", 3.0),
    ("a", "K80", 1, "alone", 1.0),
    ("a", "K80", 2, "alone", 0.0),
    ("b", "V100", 1, "alone", 10.0),
)
PERF = Throughputs(profile=Measured(ROWS))


def fleet(*pools: tuple[str, int, int]) -> Fleet:
    """Pools by (GPU type, GPUs per node, nodes)."""
    return Fleet((Site("here", tuple(NodePool(gpu.lower(), gpu, per, n) for gpu, per, n in pools)),))


def jobs(*named: tuple[str, int], **more: Any) -> Jobs:
    """Jobs of 600 s on V100 by (model, gang)."""
    models = sorted({model for model, _ in named if model})
    return Jobs.build(
        arrival_s=np.zeros(len(named)),
        duration_s=np.full(len(named), 600.0),
        gpus=[gpus for _, gpus in named],
        model=[models.index(model) if model else -1 for model, _ in named],
        models=models,
        **more,
    )


def ends(of: Jobs, on: Fleet, perf: Throughputs = PERF) -> list[float]:
    rows = Experiment(on, of, FirstFit(), perf=perf).run().log.array()
    rows = rows[rows["kind"] == Kind.FINISHED]
    return np.array(rows["time_s"])[np.argsort(rows["subject"])].tolist()


def test_a_job_runs_as_fast_as_its_model_was_measured() -> None:
    assert ends(jobs(("a", 1)), fleet(("V100", 1, 1))) == [600.0]
    assert ends(jobs(("a", 1)), fleet(("K80", 1, 1))) == [2400.0]  # 2,400 iterations, one a second


def test_a_job_without_gpus_is_in_no_table() -> None:
    assert ends(jobs(("a", 0), ("a", 1), cpus=[1.0, 1.0]), fleet(("K80", 1, 1))) == [600.0, 2400.0]


def test_a_spread_gang_takes_its_own_row() -> None:
    assert ends(jobs(("a", 2)), fleet(("V100", 2, 1))) == [600.0]
    speeds = PERF.speeds(fleet(("V100", 2, 2)), jobs(("a", 2)))
    assert speeds.rate(0, ((0, 1, 1000), (1, 1, 1000))) == 0.5


def test_an_elastic_gang_takes_the_row_of_its_size() -> None:
    speeds = PERF.speeds(fleet(("V100", 4, 1)), jobs(("a", 1), min_gpus=[1], max_gpus=[4]))
    assert speeds.rate(0, ((0, 0b11, 1000),)) == 1.5
    assert speeds.rate(0, ((0, 0b1111, 1000),)) == pytest.approx(4**0.9)  # not measured: scaling


def test_zero_bars_a_gpu_type() -> None:
    on = fleet(("K80", 2, 1), ("V100", 2, 1))
    assert PERF.runnable(on, jobs(("a", 1), ("a", 2))).gpu_types == ("V100",)
    rows = Experiment(on, jobs(("a", 2)), FirstFit(), perf=PERF).run().log.array()
    assert rows["node"][rows["kind"] == Kind.STARTED].tolist() == [1]


def test_zero_bars_beside_what_a_job_asks_for() -> None:
    on = fleet(("K80", 2, 1), ("V100", 2, 1))
    asked = PERF.runnable(on, jobs(("a", 2), ("a", 1), gpu_type=[0, 1], gpu_types=("K80|V100", "K80")))
    assert [asked.gpu_types[code] for code in asked.gpu_type] == ["V100", "K80"]


@pytest.mark.parametrize(
    ("named", "on", "said"),
    [
        (("a", 1), ("P100", 1, 1), r"perf: no throughput of model 'a' with 1 GPUs on P100; perf.missing=speed"),
        (("b", 2), ("V100", 2, 1), r"perf: no throughput of model 'b' with 2 GPUs on V100; and the jobs' run"),
        (("aa", 1), ("V100", 1, 1), r"perf: no throughput of model 'aa'; did you mean 'a'"),
        (("", 1), ("V100", 1, 1), r"perf: a job of 1 GPUs names no model"),
    ],
)
def test_what_is_missing_is_named(named: tuple[str, int], on: tuple[str, int, int], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        ends(jobs(named), fleet(on))
    assert "\n" not in str(error.value)


def test_missing_pairs_may_take_relative_speeds() -> None:
    perf = Throughputs(profile=Measured(ROWS), missing="speed", speed={"P100": 0.9})  # V100 has 0.45
    assert ends(jobs(("a", 1)), fleet(("P100", 1, 1)), perf) == [300.0]
    assert ends(jobs(("", 1)), fleet(("V100", 1, 1)), perf) == [600.0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"profile": None}, "perf.profile is not given"),
        ({"profile": Measured(ROWS), "missing": "sped"}, "perf.missing is 'sped'; did you mean 'speed'"),
    ],
)
def test_bad_parameters(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Throughputs(**options)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_bad_throughputs_are_named(rate: float) -> None:
    with pytest.raises(InputError, match="the throughput of 'a' on V100 is"):
        _ = Throughputs(profile=Measured((("a", "V100", 1, "alone", rate),))).rates


def test_gavels_table(shared_traces: Path) -> None:
    perf = Throughputs(profile=ProfileGavel(data_dir=str(shared_traces)))
    table = perf.rates
    assert table["ResNet-50 (batch size 128)", "K80", 2, False] == 0.0
    assert table["ResNet-18 (batch size 128)", "V100", 4, False] > table["ResNet-18 (batch size 128)", "V100", 4, True]


def test_runs_are_known_by_the_table_and_not_by_its_place() -> None:
    more = (*ROWS, ("b", "K80", 1, "alone", 1.0))
    on, work = fleet(("V100", 1, 1)), jobs(("a", 1))
    perfs = (PERF, Throughputs(profile=Measured(ROWS[::-1])), Throughputs(profile=Measured(more)))
    same, again, other = (Experiment(on, work, FirstFit(), perf=perf).run().summary["perf"] for perf in perfs)
    assert same == again != other
