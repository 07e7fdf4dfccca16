"""What strategies are told of what is to come: the truth at error 0, else with errors that grow, the same for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsim import Experiment, Fleet, InputError, Jobs, NodePool, Plan, Site, Strategy, View
from hcsim.forecasts import forecast
from hcsim.replay import replay
from hcsim.series import Series
from hcsim.strategies.carbon_waiting import CarbonWaiting
from tests.worlds import owned, play

DAY_S = 86400.0


@given(
    st.lists(st.tuples(st.floats(0.5, 50), st.floats(0, 100)), min_size=1, max_size=12),
    st.floats(0, 100),
    st.sampled_from(["hold", "wrap"]),
    st.floats(0, 400),
    st.floats(0, 300),
)
def test_between_is_what_holds_at_each_time(
    steps: list[tuple[float, float]], first: float, beyond: str, begin: float, span: float
) -> None:
    times = np.r_[first, first + np.cumsum([gap for gap, _ in steps])]
    values = np.r_[1.0, [value for _, value in steps]]
    series = Series(times.tolist(), values.tolist(), float(times[-1]) + 3.0, beyond)  # type: ignore[arg-type]
    at, value = series.between(begin, begin + span)
    assert at[0] == begin and (np.diff(at) > 0).all() and at[-1] <= begin + span
    for t in np.linspace(begin, begin + span, 60):
        k = int(np.searchsorted(at, t, side="right")) - 1
        if np.abs(at - t).min() > 1e-6:  # at a step itself the sum of a wrapped time may be off by a rounding
            assert value[k] == series.at(float(t))


def test_a_series_that_stops_just_ends() -> None:
    series = Series([0.0, 10.0], [1.0, 2.0], 20.0)
    at, value = series.between(5.0, 1e9)
    assert at.tolist() == [5.0, 10.0] and value.tolist() == [1.0, 2.0]
    assert series.between(30.0, 40.0)[1].tolist() == [2.0]


SERIES = Series((np.arange(2000) * 1800.0).tolist(), (100.0 + 50.0 * np.sin(np.arange(2000) / 7.0)).tolist())


def test_without_error_it_is_the_truth() -> None:
    at, value = forecast(SERIES, 3600.0, 5 * DAY_S)
    assert value == pytest.approx([SERIES.at(t) for t in at.tolist()])


def test_the_error_grows_with_the_horizon_and_is_drawn_by_key() -> None:
    ratios: dict[float, list[float]] = {0.25: [], 1.0: [], 4.0: []}
    for seed in range(800):
        at, value = forecast(SERIES, 0.0, 5 * DAY_S, 0.2, seed, "x")
        assert value[0] == SERIES.at(0.0)  # the present is known
        for days, found in ratios.items():
            k = int(days * 48)
            found.append(float(np.log(value[k] / SERIES.at(float(at[k])))))
    for days, found in ratios.items():
        assert np.std(found) == pytest.approx(0.2 * np.sqrt(days), rel=0.08)
        assert np.mean(found) == pytest.approx(0.0, abs=0.03 * np.sqrt(days))
    # the same numbers for whoever asks, other ones for another series and seed
    _, first = forecast(SERIES, 0.0, DAY_S, 0.2, 3, "x")
    _, longer = forecast(SERIES, 0.0, 2 * DAY_S, 0.2, 3, "x")
    assert longer[: len(first)].tolist() == first.tolist()
    for seed, key in ((4, "x"), (3, "y")):
        assert forecast(SERIES, 0.0, DAY_S, 0.2, seed, key)[1].tolist() != first.tolist()
    # made later it is nearer to the truth, in the same direction
    at, early = forecast(SERIES, 0.0, DAY_S, 0.2, 3, "x")
    _, late = forecast(SERIES, 0.5 * DAY_S, DAY_S, 0.2, 3, "x")
    truth = SERIES.at(float(at[-1]))
    assert np.log(late[-1] / truth) == pytest.approx(np.log(early[-1] / truth) * np.sqrt(0.5))


@dataclass(frozen=True)
class Asks(Strategy):
    """Asks for a forecast without saying so."""

    what: str = "carbon"

    def decide(self, view: View) -> Plan:
        getattr(view, f"{self.what}_ahead")(0, view.now + DAY_S)
        return view.plan()


@dataclass(frozen=True)
class Declares(Asks):
    """Asks, and says so."""

    needs = frozenset({"carbon", "price"})

    def decide(self, view: View) -> Plan:
        assert view.carbon_ahead(0, view.now + 60.0)[0].tolist() == []  # not known there
        at, usd = view.price_ahead(0, view.now + 60.0)
        assert (at.tolist(), usd.tolist()) == ([view.now], [1.0])
        plan = view.plan()
        for job in plan.placeable(view.waiting):
            plan.place(job, plan.first_fit(job))
        return plan


@pytest.mark.parametrize("what", ["carbon", "price"])
def test_a_forecast_has_to_be_declared(what: str) -> None:
    work = Jobs.build(arrival_s=[0.0], duration_s=[10.0])
    with pytest.raises(InputError, match=f"forecasts of {what} are not known here: declare needs"):
        play(Asks(what), owned(), work)
    play(Declares(), owned(), work)
    told = Experiment(owned(), work, Declares(), forecast_error=0.25).run().summary["knowledge"]
    assert told == "carbon forecasts (error 25% a day ahead), price forecasts (error 25% a day ahead)"
    with pytest.raises(InputError, match="forecast_error is -1, expected 0 to 10"):
        Experiment(owned(), work, Declares(), forecast_error=-1)


def test_prices_ahead_have_their_discount() -> None:
    price = Series([0.0, 100.0], [4.0, 2.0], beyond="hold")
    pool = NodePool("rent", "A100", 1, 1, market="on_demand", price=price, discount_share=0.25)

    @dataclass(frozen=True)
    class Looks(Declares):
        def decide(self, view: View) -> Plan:
            at, usd = view.price_ahead(0, 200.0)
            assert (at.tolist(), usd.tolist()) == ([0.0, 100.0], [3.0, 1.5])
            plan = view.plan()
            plan.reject(0)
            return plan

    play(Looks(), Fleet((Site("cloud", (pool,), kind="cloud"),)), Jobs.build(arrival_s=[0.0], duration_s=[10.0]))


def clean(hours: list[float], name: str = "here") -> Site:
    """A site whose power has these intensities, hour by hour."""
    carbon = Series((np.arange(len(hours)) * 3600.0).tolist(), hours, beyond="hold")
    return Site(name, (NodePool(f"{name}-own", "A100", 1, 2, 1.0),), carbon=carbon)


HOURS = [5.0, 5.0, 3.0, 1.0, 4.0, 0.5, 5.0, 5.0]


def test_waiting_with_errors_replays_and_is_the_same_for_the_same_seed() -> None:
    fleet = Fleet((clean(HOURS * 4),))
    n = 20
    work = Jobs.build(arrival_s=np.arange(n) * 600.0, duration_s=np.full(n, 3000.0))
    hashes = set()
    for error in (0.0, 0.5, 0.5):
        result = Experiment(fleet, work, CarbonWaiting(slack_s=6 * 3600.0), forecast_error=error, seed=1).run()
        assert result.summary["jobs_finished"] == n
        estimate = Experiment(fleet, work, CarbonWaiting(slack_s=6 * 3600.0), seed=1).prepare().estimate_s
        again = replay(result.log, fleet, work, CarbonWaiting(slack_s=6 * 3600.0), None, estimate, 1, error)
        assert again.sha256 == result.log.sha256
        hashes.add(result.log.sha256)
    assert len(hashes) == 2
