"""Rounds: against a second implementation, and golden schedules worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hcsim import Experiment, Fleet, InputError, Jobs, Kind, NodePool, Site
from hcsim.planning import lp
from hcsim.planning.rounds import RoundBased
from hcsim.progress import fell_back
from hcsim.strategies.fifo_perf import FifoPerf
from hcsim.strategies.finish_time_fairness import FinishTimeFairness
from hcsim.strategies.isolated import Isolated
from hcsim.strategies.max_min_fairness import MaxMinFairness
from hcsim.strategies.max_min_fairness_perf import MaxMinFairnessPerf
from hcsim.strategies.max_sum_throughput import MaxSumThroughput
from hcsim.strategies.min_total_duration import MinTotalDuration
from hcsim.strategies.throughput_per_dollar import ThroughputPerDollar
from hcsim.strategies.water_filling import WaterFilling
from hcsim.testing import check_strategy
from tests.planning.worlds import Trace, naive

#: Model a is four times as fast on a V100 as on a K80, model b hardly faster.
RATES = {("a", 1): {"V100": 4.0, "K80": 1.0}, ("b", 1): {"V100": 2.0, "K80": 1.9}}


def starts(trace: Trace, strategy: RoundBased) -> list[list[tuple[float, int]]]:
    """(time, node) of every start of each job; a job that goes on in its place starts once."""
    jobs, rows = trace.play(strategy)
    rows = rows[rows["kind"] == Kind.STARTED]
    return [[(round(r["time_s"], 2), int(r["node"])) for r in rows[rows["subject"] == j]] for j in range(len(jobs))]


def one_of_each(*jobs: tuple[float, str, int]) -> Trace:
    """A V100 (node 0) and a K80 (node 1); jobs of one GPU by (arrival, model, iterations)."""
    return Trace(RATES, {"V100": 1, "K80": 1}, [(at, model, 1, n) for at, model, n in jobs])


# -- a second implementation -----------------------------------------------------------------------------------------


def crowd(seed: int) -> Trace:
    """Thirty jobs on seven GPUs, and one that outlasts all of them, so that there is no gap in which nothing runs: what
    the authors' simulator credits for that is a defect."""
    rng = np.random.default_rng(seed)
    rates = {
        (m, n): {gpu: float(np.exp(rng.normal(0.0, 1.5))) for gpu in ("V100", "P100", "K80")}
        for m in "abcdef"
        for n in (1, 2)
    }
    rates["b", 2]["P100"], rates["a", 1] = 0.0, {"V100": 1.0, "P100": 0.5, "K80": 0.2}
    arrivals = np.r_[0.0, np.sort(rng.uniform(0.0, 20_000.0, 30))].tolist()
    jobs = [
        (at, str(rng.choice(list("bcdef"))), int(rng.choice([1, 2])), int(rng.integers(50, 5000))) for at in arrivals
    ]
    return Trace(rates, {"V100": 2, "P100": 2, "K80": 3}, [(0.0, "a", 1, 500_000), *jobs[1:]])


@pytest.mark.parametrize("policy", ["isolated", "fifo_perf"])
@pytest.mark.parametrize("seed", range(5))
def test_rounds_are_those_of_a_simulator_without_events(policy: str, seed: int) -> None:
    trace = crowd(seed)
    strategy = {"isolated": Isolated, "fifo_perf": FifoPerf}[policy](quirks=True)
    np.testing.assert_allclose(trace.ends(strategy), naive(trace, policy), atol=1e-3)


def test_gaps_count_as_the_authors_count_them() -> None:
    """Bursts of five jobs on two GPUs, and nothing for an hour and more between them."""
    rng = np.random.default_rng(9)
    rates = {(m, 1): {"V100": float(rng.uniform(1, 4)), "K80": float(rng.uniform(0.5, 2))} for m in "abcde"}
    jobs = [(8000.0 * burst, m, 1, int(rng.integers(500, 2500))) for burst in range(4) for m in "abcde"]
    trace = Trace(rates, {"V100": 1, "K80": 1}, jobs)
    theirs = naive(trace, "isolated")
    assert all(end < 8000.0 * (job // 5 + 1) for job, end in enumerate(theirs))
    np.testing.assert_allclose(trace.ends(Isolated(quirks=True)), theirs, atol=1e-3)


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_fifo_perf() -> None:
    # J0 is fastest on the V100 and takes it, J1 has the K80 left. J2 comes at 100: shares stand until 1,920, so it
    # waits. J0 has 720 s of work, J1 1,900 iterations, 1,000 s: then nothing runs, and J2 need not wait any longer.
    trace = one_of_each((0.0, "a", 2880), (0.0, "b", 1900), (100.0, "a", 400))
    assert starts(trace, FifoPerf()) == [[(0.0, 0)], [(0.0, 1)], [(1000.0, 0)]]


def test_a_round_ends_early_when_all_in_it_have_ended() -> None:
    # J0 ends at 100; J1 came at 50 and starts then, not at 360.
    trace = one_of_each((0.0, "a", 400), (50.0, "a", 400))
    assert starts(trace, FifoPerf()) == [[(0.0, 0)], [(100.0, 0)]]


def test_fifo_perf_with_quirks() -> None:
    # 0.31 iterations per second: 111 whole ones in a round, which take 358.06 s; so the second round starts there.
    trace = Trace({("c", 1): {"V100": 0.31}}, {"V100": 1}, [(0.0, "c", 1, 150)])
    assert trace.ends(FifoPerf(quirks=True)).tolist() == pytest.approx([150 / 0.31])
    trace = Trace(
        {("c", 1): {"V100": 0.31}, ("d", 1): {"V100": 0.30}}, {"V100": 2}, [(0.0, "c", 1, 150), (0.0, "d", 1, 150)]
    )
    # J1 does 108 in 360 s, and J0, done with its 111 at 358.06, waits for it: 39 more from 360 on.
    assert trace.ends(FifoPerf(quirks=True)).tolist() == pytest.approx([360 + 39 / 0.31, 500.0])
    assert trace.ends(FifoPerf()).tolist() == pytest.approx([150 / 0.31, 500.0])


def test_isolated() -> None:
    # One V100, two jobs of 720 s: each has half of it. At first both are level and J0 runs; then J1 has had less; then
    # they are level again.
    trace = Trace(RATES, {"V100": 1}, [(0.0, "a", 1, 2880), (0.0, "a", 1, 2880)])
    assert starts(trace, Isolated()) == [[(0.0, 0), (720.0, 0)], [(360.0, 0), (1080.0, 0)]]


def test_max_min_fairness() -> None:
    # J1 is of a tenant that counts twice, and should have two thirds. Shares 1/3 and 2/3 over f = 1/2: J1 first. After
    # a round its f is 3/4 and J0's 1/4: 8/9 against 4/3, so J0. Then both f are 1/2 again, and J1 has 720 s in all.
    trace = Trace(RATES, {"V100": 1}, [(0.0, "a", 1, 2880), (0.0, "b", 1, 1440)], tenants=(0, 1))
    assert starts(trace, MaxMinFairness(weights=(1.0, 2.0))) == [[(360.0, 0), (1080.0, 0)], [(0.0, 0), (720.0, 0)]]
    assert starts(trace, MaxMinFairness()) == [[(0.0, 0), (720.0, 0)], [(360.0, 0), (1080.0, 0)]]


def test_max_min_fairness_perf() -> None:
    # Fair parts are (4 + 1) / 2 = 2.5 and (2 + 1.9) / 2 = 1.95 iterations per second, and both can have just these:
    # with x of the V100 for J1, J0 has 1.6 (1 - x) + 0.4 x and J1 1.0256 x + 0.9744 (1 - x), equal at x = 1/2. So they
    # change places every round. J0: 1,440 iterations at 360, 1,800 at 720, and 1,000 more on the V100: 970.
    trace = one_of_each((0.0, "a", 2800), (0.0, "b", 1_000_000))
    assert starts(trace, MaxMinFairnessPerf())[0] == [(0.0, 0), (360.0, 1), (720.0, 0)]
    assert trace.ends(MaxMinFairnessPerf())[0] == pytest.approx(970.0)


def test_water_filling() -> None:
    # Both levels of that world are one, so nothing is left to fill (see test_levels for where something is).
    trace = one_of_each((0.0, "a", 2800), (0.0, "b", 1_000_000))
    assert starts(trace, WaterFilling())[0] == [(0.0, 0), (360.0, 1), (720.0, 0)]


def test_min_total_duration() -> None:
    # 3,600 s of a on the V100, and 3,600 s of b on the K80: all is done in an hour if each stays where it is, and in no
    # less.
    trace = one_of_each((0.0, "a", 14_400), (0.0, "b", 6840))
    assert starts(trace, MinTotalDuration()) == [[(0.0, 0)], [(0.0, 1)]]
    assert trace.ends(MinTotalDuration()).tolist() == pytest.approx([3600.0, 3600.0])


def test_max_sum_throughput() -> None:
    # 4 + 1.9 is more than 2 + 1, though J1 came first.
    trace = one_of_each((0.0, "b", 6840), (0.0, "a", 14_400))
    assert starts(trace, MaxSumThroughput()) == [[(0.0, 1)], [(0.0, 0)]]


def test_throughput_per_dollar() -> None:
    # c on the V100 and d on the K80 make 10.5 iterations per second, the other way round 10. Per dollar, at 10 USD
    # against 1, these are 1 + 0.5 and 0.9 + 1.
    rates = {("c", 1): {"V100": 10.0, "K80": 1.0}, ("d", 1): {"V100": 9.0, "K80": 0.5}}
    jobs = [(0.0, "c", 1, 100), (0.0, "d", 1, 100)]
    trace = Trace(rates, {"V100": 1, "K80": 1}, jobs, prices=(10.0, 1.0))
    assert starts(trace, MaxSumThroughput()) == [[(0.0, 0)], [(0.0, 1)]]
    assert starts(trace, ThroughputPerDollar()) == [[(0.0, 1)], [(0.0, 0)]]


def test_finish_time_fairness() -> None:
    # One V100. J0 has 3,600 s of work, J1 360 s. Alone on half of it they would take 7,200 and 720 s. With shares x and
    # 1 - x ρ is 3600/x / 7200 and 360/(1 - x) / 720, equal at x = 1/2: turns, J0 first. J1 runs 360 to 720.
    trace = Trace(RATES, {"V100": 1}, [(0.0, "a", 1, 14_400), (0.0, "a", 1, 1440)])
    assert starts(trace, FinishTimeFairness()) == [[(0.0, 0), (720.0, 0)], [(360.0, 0)]]


# -- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": (1.0, 0.0)}, r"strategy.weights.1 is 0.0, expected a finite number > 0"),
        ({"round_s": 0.0}, r"strategy.round_s is 0.0, expected a finite number > 0"),
        ({"reset_s": float("inf")}, r"strategy.reset_s is inf"),
    ],
)
def test_bad_parameters(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        MaxMinFairnessPerf(**options)  # type: ignore[arg-type]


def test_a_solver_that_gives_up_is_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lp, "MOST_ITERATIONS", 0)
    trace = Trace(RATES, {"V100": 1}, [(0.0, "a", 1, 2880), (0.0, "a", 1, 2880)])
    _, rows = trace.play(MaxMinFairnessPerf())
    fell = rows[rows["kind"] == Kind.FELL_BACK]
    assert len(fell) == 1  # one computation of shares; then isolated ones
    assert fell["value"][0] == int(lp.highspy.HighsModelStatus.kIterationLimit)
    rows = rows[rows["kind"] == Kind.STARTED]
    assert rows["time_s"].tolist() == [0.0, 360.0, 720.0, 1080.0]


def test_a_solver_that_gives_up_is_in_the_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet((Site("here", (NodePool("own", "A100", 1, 1),)),))
    jobs = Jobs.build(arrival_s=[0.0, 0.0], duration_s=[500.0, 500.0])
    summary = Experiment(fleet, jobs, MaxMinFairnessPerf()).run().summary
    assert summary["fallbacks"] == 0 and fell_back(summary) == ""
    monkeypatch.setattr(lp, "MOST_ITERATIONS", 0)
    summary = Experiment(fleet, jobs, MaxMinFairnessPerf()).run().summary
    assert summary["fallbacks"] >= 1
    assert fell_back(summary).startswith(f"{summary['fallbacks']} times a solver gave no answer")


@pytest.mark.parametrize("kind", [FifoPerf, Isolated, MaxMinFairnessPerf], ids=lambda kind: kind.__name__)
def test_quirks_keep_the_contract(kind: type[RoundBased]) -> None:
    """Where stopping and moving takes time, nodes fail and jobs share GPUs, too."""
    check_strategy(kind(quirks=True))
