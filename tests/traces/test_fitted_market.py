"""Twins of spot capacity and prices: like their originals in what was fitted, and other for another seed or zone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hcsim import InputError
from hcsim.traces._fit_market import distances, fit, held_mean
from hcsim.traces._quantiles import LEAST_ALIKE
from hcsim.traces._table import Table, checked
from hcsim.traces._twins import FOLDER, AvailabilityFigures, names, table, text
from hcsim.traces.fitted_market import FittedAvailability, FittedPrices
from hcsim.traces.spot_skypilot import SpotSkypilot
from hcsim.traces.training_on_a_dime import TrainingOnADime
from tests.shell import hcsim

ZONES = {"spot_aws_v100": "us-west-2a", "spot_aws_v100_east": "us-east-2b"}


def probed(shared_traces: Path, of: str) -> Table:
    trace = f"availability/16-node/aws-08-27-2023/{ZONES[of]}_v100_1"
    return SpotSkypilot(str(shared_traces), trace=trace).table()


def test_what_ships() -> None:
    assert names("availability") == sorted(ZONES) and names("prices") == ["price_aws_v100"]


@pytest.mark.parametrize("of", ZONES)
def test_capacity_is_like_its_originals(of: str, shared_traces: Path) -> None:
    """Over 20 seeds: mean times with and without capacity, mean nodes, and how often it changes, within 15 %."""
    original = probed(shared_traces, of)
    drawn = [FittedAvailability(of=of, seed=seed).table() for seed in range(20)]
    for up in (True, False):
        assert np.mean([held_mean(each, up) for each in drawn]) == pytest.approx(held_mean(original, up), rel=0.15)
    for figure in (np.mean, lambda nodes: np.count_nonzero(np.diff(nodes))):
        found = np.mean([figure(each.frame["nodes"]) for each in drawn])
        assert found == pytest.approx(figure(original.frame["nodes"]), rel=0.15), figure
    assert all(len(each) == len(original) for each in drawn)
    assert set(np.concatenate([each.frame["nodes"] for each in drawn])) <= set(range(17))


def test_prices_are_like_their_originals(shared_traces: Path) -> None:
    """Over 40 seeds: mean price within 3 %, its deviation and the changes per day within 30 %; all within its range."""
    original = TrainingOnADime(str(shared_traces), region="us-west-2", instance="p3.2xlarge").table()
    drawn = [FittedPrices(seed=seed).table() for seed in range(40)]
    usd = np.concatenate([each.frame["usd_per_h"] for each in drawn])
    assert (
        original.frame["usd_per_h"].min() - 0.01 <= usd.min() and usd.max() <= original.frame["usd_per_h"].max() + 0.01
    )
    assert usd.mean() == pytest.approx(original.frame["usd_per_h"].mean(), rel=0.03)
    assert usd.std() == pytest.approx(original.frame["usd_per_h"].std(), rel=0.3)
    days = 60.0
    zones = original.frame.sort_values("time_s").groupby("place")["usd_per_h"]
    changes = np.mean([np.count_nonzero(np.diff(each)) for _, each in zones]) / days
    assert len(usd) / 40 / days == pytest.approx(changes, rel=0.3)


@pytest.mark.parametrize("twin", [FittedAvailability, FittedPrices])
def test_draws_are_of_seed_and_zone(twin: type[FittedAvailability] | type[FittedPrices]) -> None:
    a, again, other, there = (twin(place=p, seed=s).table().frame for p, s in (("a", 1), ("a", 1), ("a", 2), ("b", 1)))
    value = "nodes" if twin is FittedAvailability else "usd_per_h"
    assert a.equals(again)
    for each in (other, there):
        n = min(len(a), len(each))
        assert (a[value][:n].to_numpy() != each[value][:n].to_numpy()).mean() > 0.2
    long = twin(place="a", seed=1, span_s=1e7).table().frame
    assert 0.9e7 < long["time_s"].iloc[-1] < 1e7
    n = min(len(a), len(long)) - 1
    assert a["time_s"][:n].tolist() == long["time_s"][:n].tolist()


def test_the_table_that_ships_is_what_the_command_writes(shared_traces: Path, tmp_path: Path) -> None:
    out = tmp_path / "twin.json"
    trace = "trace=availability/16-node/aws-08-27-2023/us-west-2a_v100_1"
    said = hcsim("traces", "twin", "spot_skypilot", out, trace, f"data_dir={shared_traces}")
    assert said.status == 0 and "mean time with capacity" in said.out, said
    assert out.read_text() == (FOLDER / "spot_aws_v100.json").read_text()
    said = hcsim("traces", "twin", "titan", out, f"data_dir={shared_traces}")
    assert said.status == 2 and "source of failures, expected one of jobs, requests, availability, prices" in said.err


def test_no_figure_is_of_a_single_stay(shared_traces: Path) -> None:
    """Each quantile is of five stays or more, and what followed fewer than five times is left out."""
    figures = fit(probed(shared_traces, "spot_aws_v100"))
    assert isinstance(figures, AvailabilityFigures)
    assert text(figures) == text(table("availability", "spot_aws_v100", ""))
    nodes = probed(shared_traces, "spot_aws_v100").frame["nodes"].to_numpy()
    state = np.where(nodes == 0, 0, np.where(nodes == 16, 2, 1))
    stays = state[np.flatnonzero(np.diff(nodes))[1:]]  # those of which both ends are seen
    for i, each in enumerate(figures.states):
        assert each.hold_s is not None
        assert min(each.hold_s.share) * (stays == i).sum() >= LEAST_ALIKE - 0.01


def capacity(nodes: list[int]) -> Table:
    n = len(nodes)
    columns = {"time_s": np.arange(n) * 60.0, "place": ["z"] * n, "gpu": ["A100"] * n, "nodes": np.array(nodes)}
    return checked("availability", columns, "written")


def test_a_regular_market_has_a_regular_twin(tmp_path: Path) -> None:
    """Ten ticks with four nodes, five without: so are the twin's, whatever the seed."""
    original = capacity(([4] * 10 + [0] * 5) * 40)
    path = tmp_path / "regular.json"
    path.write_text(text(fit(original)))
    for seed in range(3):
        drawn = FittedAvailability(path=str(path), seed=seed).table()
        assert held_mean(drawn, True) == 600.0 and held_mean(drawn, False) == 300.0
        assert set(drawn.frame["nodes"]) == {0, 4}
        assert distances(original, drawn)["mean nodes"] < 0.02


def test_too_little_to_fit() -> None:
    with pytest.raises(InputError, match="2 changes, expected at least 30"):
        fit(capacity([0, 0, 1, 1, 0, 0, 1, 1]))
    with pytest.raises(InputError, match="no twin of 'spot_aws'; did you mean 'spot_aws_v100'"):
        FittedAvailability(of="spot_aws").table()
    with pytest.raises(InputError, match="not a fitted table of prices"):
        FittedPrices(path=str(FOLDER / "spot_aws_v100.json")).table()
    with pytest.raises(InputError, match="span_s is -1"):
        FittedPrices(span_s=-1)
