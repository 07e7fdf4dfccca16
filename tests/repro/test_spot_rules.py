"""The rules of Can't Be Late in the simulator against a second implementation, tick by tick, on random availability."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import Jobs, Kind, Link
from hcsim.fleet import Fleet, NodePool, Reclaim, Site
from hcsim.ledger import bill
from hcsim.metrics import job_table
from hcsim.model import InputError
from hcsim.repro import spot
from hcsim.series import Series
from hcsim.strategies.greedy_spot import GreedySpot
from hcsim.strategies.on_demand_only import OnDemandOnly
from hcsim.strategies.uniform_progress import UniformProgress
from hcsim.strategy import Strategy
from hcsim.traces._attributes import Attributes
from hcsim.traces.twin import Twin
from tests.worlds import play, story

HOUR = 3600.0


def by_ticks(policy: str, available: npt.NDArray[np.int64], gap: float, span: float, launch: float) -> float:
    """What one job costs from tick 0 on by the rules as they are written down, in USD."""
    work = spot.WORK_H * HOUR
    i, done, over, now, ticks = 0, 0.0, 0.0, "none", {"spot": 0, "on_demand": 0, "none": 0}
    while True:
        if i and now != "none":
            used = min(over, gap)
            done, over = done + max(gap - over, 0.0), over - used
        ticks[now] += 1 if i else 0
        here = bool(available[i])
        if now == "spot" and not here:
            now = "none"
        if done >= work:
            hours = {name: count * gap / HOUR for name, count in ticks.items()}
            return hours["spot"] * spot.SPOT_USD + hours["on_demand"] * spot.ON_DEMAND_USD
        t, rest = i * gap, work - done
        left = floor((span - t) / gap) * gap

        def net(asked: str, rest: float, left: float) -> str:
            if ceil((rest + launch) / gap) * gap < left:
                return asked
            return "spot" if now == "spot" and here and over == 0 else "on_demand"  # noqa: B023

        asked = "spot" if here else "none"
        if policy == "on_demand":
            asked = "on_demand"
        elif policy == "time_sliced_4h":
            n = round(span / (4 * HOUR))
            k = min(int(t * n // span), n - 1)
            if work * (k + 1) / n > done:
                asked = net(asked, work * (k + 1) / n - done, floor((span * (k + 1) / n - t) / gap) * gap)
        elif policy != "greedy":
            if done < t * work / span:
                asked = "spot" if here else "on_demand"
            if policy == "uniform_progress" and now == "on_demand":
                asked = "on_demand" if not here or (t + 2 * launch) * work / span >= done else asked
            if ceil((rest + 2 * launch) / gap) * gap >= left and now != "spot":
                asked = "on_demand"
        asked = net(asked, rest, left) if policy != "on_demand" else asked
        if asked not in (now, "none"):
            over = launch
        now = asked
        i += 1


@pytest.mark.parametrize("policy", list(spot.POLICIES))
@settings(max_examples=12)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.02, 0.1, 0.3, 0.6]),
    st.floats(0.05, 0.95),
    st.sampled_from([49.0, 52.0, 60.0, 90.0]),
    st.sampled_from([0.05, 0.2, 0.25]),
)
def test_simulator_and_rules_agree(
    policy: str, seed: int, flips: float, share: float, span_h: float, launch_h: float
) -> None:
    rng = np.random.default_rng(seed)
    gap, n = 600.0, 6
    available = np.zeros(700, np.int64)
    available[0] = rng.random() < share
    for i in range(1, len(available)):
        available[i] = rng.random() < share if rng.random() < flips else available[i - 1]
    first = np.arange(n) * 20
    out = spot.play(spot.POLICIES[policy](gap), available, gap, first, span_h, launch_h)
    again = [by_ticks(policy, available[k:], gap, span_h * HOUR, launch_h * HOUR) for k in first.tolist()]
    assert out.usd == pytest.approx(again, abs=1e-9)
    assert not out.missed.any()
    if span_h == 52.0 and launch_h > 0.1:
        least = [spot.least_usd(available[k:], gap, span_h, launch_h) for k in first[:2].tolist()]
        assert (out.usd[:2] >= np.array(least) - 1e-9).all()


def test_rules_alone() -> None:
    for row in spot.closed_forms():
        assert row.holds, row


def test_the_bound_is_the_least_of_all_plans() -> None:
    """On a small case by trying every sequence of ticks."""
    available = np.array([1, 0, 1, 1, 0, 1, 1], np.int64)
    hours = len(available)
    least = min(_cost(plan, available, hours) for plan in range(3**hours))
    assert spot.least_usd(available, HOUR, hours, 0.5, work_h=3.0) == pytest.approx(least)


def _cost(plan: int, available: npt.NDArray[np.int64], hours: int) -> float:
    """Cost of a plan (a digit per tick: nothing, spot, on-demand) of three hours of work; inf when it fails."""
    last, launches, usd, ran = 0, 0, 0.0, 0
    for i in range(hours):
        plan, kind = divmod(plan, 3)
        if last == 1 and not available[i]:
            last = 0
        if kind == 1 and not available[i]:
            return float("inf")
        launches += kind not in (0, last)
        ran += kind > 0
        usd += (0.0, spot.SPOT_USD, spot.ON_DEMAND_USD)[kind]
        last = kind
    return usd if ran >= 3.0 + 0.5 * launches else float("inf")


def zone(stock: Series | None, boot_s: float = 0.0) -> Fleet:
    """An owned GPU, one on demand at 3 USD and one on spot at 1."""
    rented = {"gpu": "A100", "gpus_per_node": 1, "nodes": 1, "idle_release_s": 0.0, "boot_s": boot_s}
    return Fleet(
        (
            Site("home", (NodePool("own", "A100", 1, 1, 1.0),)),
            Site(
                "cloud",
                (
                    NodePool("on-demand", usd_per_gpu_h=3.0, market="on_demand", **rented),  # type: ignore[arg-type]
                    NodePool(
                        "spot", usd_per_gpu_h=1.0, market="spot", stock=stock, reclaim=Reclaim(notice_s=0.0), **rented
                    ),  # type: ignore[arg-type]
                ),
                kind="cloud",
            ),
        )
    )


def placed(strategy: Strategy, fleet: Fleet, jobs: Jobs) -> list[tuple[float, int, str]]:
    """(time, job, pool) of each placement."""
    log = play(strategy, fleet, jobs)
    assert sum(kind == "FINISHED" for _, kind, _ in story(log)) == len(jobs)
    rows = log.array()
    rows = rows[rows["kind"] == Kind.PLACED]
    return [(r["time_s"], r["subject"], fleet.pools[fleet.node_pool[r["node"]]].name) for r in rows]


@pytest.mark.parametrize("strategy", [GreedySpot(), UniformProgress()])
def test_ordinary_jobs(strategy: Strategy) -> None:
    # J0 has no deadline but owned capacity. J1 has a deadline: spot. J2 has none, and finds only on-demand.
    jobs = Jobs.build(arrival_s=[0.0, 0.0, 5.0], duration_s=[1e4, 1e4, 1e4], deadline_s=[np.inf, 1e5, np.inf])
    assert placed(strategy, zone(None), jobs) == [(0.0, 0, "own"), (0.0, 1, "spot"), (5.0, 2, "on-demand")]


def test_booting_counts_as_launching() -> None:
    # Due at 7,200 s with 3,600 s of work: there is no spot, so greedy goes on demand at the last tick with boot (300 s)
    # and restart (0) left to lose: rest 3,900 s fills 7 ticks; left is 7 ticks at 3,000 s.
    jobs = Jobs.build(arrival_s=[0.0, 0.0], duration_s=[1e5, 3600.0], deadline_s=[np.inf, 7200.0])
    fleet = zone(Series([0.0], [0.0], beyond="hold"), boot_s=300.0)
    assert placed(GreedySpot(), fleet, jobs)[-1] == (3000.0, 1, "on-demand")
    # Uniform progress is behind its line from the first tick after the arrival on.
    assert placed(UniformProgress(), fleet, jobs)[-1] == (600.0, 1, "on-demand")
    assert placed(OnDemandOnly(), fleet, jobs)[-1] == (0.0, 1, "on-demand")


def test_parameters_are_checked() -> None:
    for bad in (lambda: GreedySpot(0.0), lambda: UniformProgress(float("nan")), lambda: GreedySpot(slice_s=-1.0)):
        with pytest.raises(InputError, match=r"strategy\.(tick_s|slice_s) is"):
            bad()


def enterprise(seed: int) -> Fleet:
    """Nodes of 8 GPUs: two owned, enough on demand, and spot that comes and goes at any second, with notice."""
    rng = np.random.default_rng(seed)
    times = np.r_[0.0, np.cumsum(rng.uniform(300.0, 9000.0, 200))]
    stock = Series(times.tolist(), rng.integers(0, 13, len(times)).astype(float).tolist(), beyond="wrap")
    rented = {"gpu": "A100", "gpus_per_node": 8, "boot_s": 120.0}
    return Fleet(
        (
            Site("home", (NodePool("own", "A100", 8, 2, 1.0),)),
            Site(
                "cloud",
                (
                    NodePool("on-demand", usd_per_gpu_h=3.0, market="on_demand", nodes=120, **rented),  # type: ignore[arg-type]
                    NodePool("spot", usd_per_gpu_h=1.0, market="spot", nodes=12, stock=stock, **rented),  # type: ignore[arg-type]
                ),
                kind="cloud",
            ),
        ),
        (Link("home", "cloud"), Link("cloud", "home")),
    )


@pytest.mark.parametrize("seed", range(4))
def test_many_jobs_with_deadlines_on_one_fleet(seed: int) -> None:
    """Reclaims at any time, gangs, boot times, contention for spot: no deadline is missed, and much is saved."""
    attributes = Attributes(deadline_share=1.0, deadline_slack=(1.3, 3.0), deadline_grace_s=3600.0)
    jobs = Twin(n=150, gpus=64, max_gang=16, attributes=attributes).jobs(seed)
    fleet, rented, missed = enterprise(seed), {}, {}
    for strategy in (OnDemandOnly(), GreedySpot(), UniformProgress()):
        rows = play(strategy, fleet, jobs).array()
        usd = bill(rows, fleet).by_market_usd(fleet)
        rented[strategy.name] = usd["on_demand"] + usd["spot"]
        table = job_table(rows, jobs, fleet)
        assert (table["status"] == "finished").all()
        missed[strategy.name] = int(table["deadline_missed"].sum())
        if not isinstance(strategy, OnDemandOnly):
            assert table["losses"].sum() > 0 and usd["spot"] > 0
    assert missed == dict.fromkeys(missed, 0)
    assert max(rented["greedy_spot"], rented["uniform_progress"]) < 0.8 * rented["on_demand_only"]
