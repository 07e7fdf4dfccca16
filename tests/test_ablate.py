"""What an ablation says of rankings, and the sweeps that it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hcsim.ablate import (
    CHANGED,
    FEWER,
    MEANS,
    MORE,
    ON,
    ONE_SEED,
    RANKED,
    SAME,
    UNKNOWN,
    Ablation,
    ablation,
    heat_map,
)  # fmt: skip
from hcsim.model import InputError
from tests.shell import hcsim

COST = next(metric for metric in RANKED if metric.key == "cost_usd")
JCT = next(metric for metric in RANKED if metric.key == "jct_mean_s")


def case(jobs: str = "all", **cost_usd: tuple[float, ...]) -> pd.DataFrame:
    """Summaries of a case: strategy -> its cost under each seed; every other figure is the cost as well."""
    rows: list[dict[str, Any]] = []
    for name, values in cost_usd.items():
        for seed, value in enumerate(values, 1):
            figures = {metric.key: value * metric.scale for metric in RANKED}
            rows.append({"strategy": name, "seed": seed, "finished_sha256": jobs, **figures})
    return pd.DataFrame(rows)


def cost_of(found: Ablation, switch: str) -> Any:
    return next(effect for effect in found.of(switch) if effect.metric is COST)


BASE = case(a=(1.0, 2.0, 3.0), b=(2.0, 3.1, 4.0), c=(2.1, 3.0, 4.1))  # a is cheaper; b and c cannot be told apart


@pytest.mark.parametrize(
    ("off", "verdict", "turned", "lost", "gained"),
    [
        (case(a=(1.5, 2.5, 3.5), b=(2.5, 3.6, 4.5), c=(2.6, 3.5, 4.6)), SAME, (), (), ()),
        (case(a=(3.0, 4.0, 5.0), b=(2.0, 3.1, 4.0), c=(2.1, 3.0, 4.1)), CHANGED, (("a", "b"), ("a", "c")), (), ()),
        (case(a=(2.0, 3.0, 4.1), b=(2.0, 3.1, 4.0), c=(2.1, 3.0, 4.1)), FEWER, (), (("a", "b"), ("a", "c")), ()),
        (case(a=(1.0, 2.0, 3.0), b=(2.0, 3.1, 4.0), c=(3.0, 4.1, 5.0)), MORE, (), (), (("b", "c"),)),
    ],
)
def test_orders_that_turn_are_lost_or_gained(
    off: pd.DataFrame, verdict: str, turned: tuple[Any, ...], lost: tuple[Any, ...], gained: tuple[Any, ...]
) -> None:
    """Worked out by hand: differences over three seeds against Student's t of two degrees of freedom (4.303)."""
    effect = cost_of(ablation({ON: BASE, "x": off}), "x")
    assert (effect.verdict, effect.turned, effect.lost, effect.gained) == (verdict, turned, lost, gained)


@pytest.mark.parametrize(
    ("off", "changes"),
    [
        (case(a=(1.5, 2.5, 3.5), b=(2.5, 3.6, 4.5), c=(2.6, 3.5, 4.6)), False),
        (case(a=(3.0, 4.0, 5.0), b=(2.0, 3.1, 4.0), c=(2.1, 3.0, 4.1)), True),
        (case(a=(2.0, 3.0, 4.1), b=(2.0, 3.1, 4.0), c=(2.1, 3.0, 4.1)), True),  # an order that is lost is a change
        (case(a=(1.0, 2.0, 3.0), b=(2.0, 3.1, 4.0), c=(3.0, 4.1, 5.0)), True),  # and so is one that is gained
    ],
)
def test_an_order_reversed_lost_or_gained_changes_the_ranking(off: pd.DataFrame, changes: bool) -> None:
    found = ablation({ON: BASE, "x": off})
    assert found.changing == (("x",) if changes else ())
    assert bool(found.told) == changes


def test_means_that_change_places_within_their_intervals_are_said_to() -> None:
    """Tau is -1 though nothing can be told apart, before or after: no changed ranking, and not the same either."""
    noise, other = case(a=(1.0, 2.0, 3.3), b=(3.0, 1.0, 2.6)), case(a=(3.0, 1.0, 2.6), b=(1.0, 2.0, 3.3))
    found = ablation({ON: noise, "x": other})
    effect = cost_of(found, "x")
    assert (effect.verdict, effect.tau, effect.swapped) == (MEANS, -1.0, (("a", "b"),))
    assert found.changing == () and found.having(MEANS) == "x" and found.having(CHANGED) == "none"


def test_every_pair_has_its_differences_and_intervals() -> None:
    """By hand: a - b is -1, -1.1, -1, so -1.033 with a deviation of 0.0577; half-width 4.303 x 0.0577 / sqrt(3)."""
    turned = case(a=(3.0, 4.0, 5.0), b=(2.0, 3.1, 4.0), c=(2.1, 3.0, 4.1))
    found = ablation({ON: BASE, "x": turned})
    pair = next(p for p in found.pairs if p.metric is COST and (p.first, p.second) == ("a", "b"))
    assert (pair.on, pair.on_half) == (pytest.approx(-1.0333, abs=1e-4), pytest.approx(0.1434, abs=1e-4))
    assert (pair.off, pair.off_half) == (pytest.approx(0.9667, abs=1e-4), pytest.approx(0.1434, abs=1e-4))
    assert pair.told(off=False) == "a beats b by 1.03 kUSD [0.89, 1.18]"
    assert pair.told(off=True) == "b beats a by 0.967 kUSD [0.823, 1.11]"
    assert len(found.pair_frame) == 3 * len(RANKED)
    row = found.pair_frame.query("metric == 'cost' and first == 'a' and second == 'b'").iloc[0]
    assert row["on_low"] == pytest.approx(-1.1768, abs=1e-4) and row["what"] == CHANGED
    line = next(line for line in found.told if line.startswith("x, cost") and " b by" in line)
    assert line == (
        "x, cost (τ -0.33): an order is reversed; with everything on a beats b by 1.03 kUSD [0.89, 1.18],"
        " without x b beats a by 0.967 kUSD [0.823, 1.11]"
    )


def test_pairs_that_cannot_be_told_apart_say_so() -> None:
    noise = case(a=(1.0, 2.0, 3.0), b=(3.0, 1.0, 2.0))
    assert cost_of(ablation({ON: noise, "x": noise}), "x").verdict == UNKNOWN
    one = case(a=(1.0,), b=(2.0,))
    assert cost_of(ablation({ON: one, "x": one}), "x").verdict == ONE_SEED


def test_strategies_that_finished_other_jobs_have_no_order_of_cost() -> None:
    """But of deadlines, which are over all jobs."""
    far = pd.concat([case("some", a=(1.0, 2.0, 3.0)), case("others", b=(9.0, 10.1, 11.0))])
    found = ablation({ON: case(a=(1.0, 2.0, 3.0), b=(9.0, 10.1, 11.0)), "x": far})
    assert cost_of(found, "x").lost == (("a", "b"),)
    deadlines = next(effect for effect in found.of("x") if effect.metric.of_all)
    assert deadlines.verdict == SAME
    assert not any(shift.same_jobs for shift in found.shifts)


def test_kendalls_tau_is_of_the_means() -> None:
    """Four strategies, of whose six pairs one turns: (5 - 1) / 6; where all are equal there is none."""
    four = case(a=(1.0, 1.0), b=(2.0, 2.0), c=(3.0, 3.0), d=(4.0, 4.0))
    other = case(a=(1.0, 1.0), b=(3.0, 3.0), c=(2.0, 2.0), d=(4.0, 4.0))
    assert cost_of(ablation({ON: four, "x": other}), "x").tau == pytest.approx(4 / 6)
    equal = case(a=(1.0, 1.0), b=(1.0, 1.0))
    assert np.isnan(cost_of(ablation({ON: equal, "x": equal}), "x").tau)


def test_shifts_are_in_percent_and_of_shares_in_points() -> None:
    found = ablation({ON: case(a=(1.0, 3.0), b=(2.0, 2.0)), "x": case(a=(2.0, 4.0), b=(2.0, 2.0))})
    shift = {(s.metric.title, s.strategy): s for s in found.shifts}
    assert shift["cost", "a"].shift == pytest.approx(50.0)  # from a mean of 2 to one of 3
    assert (shift["cost", "a"].low, shift["cost", "a"].high) == (pytest.approx(50.0), pytest.approx(50.0))
    assert shift["utilisation", "a"].shift == pytest.approx(1.0)
    assert shift["cost", "b"].shift == 0.0
    nothing = ablation({ON: case(a=(0.0, 0.0), b=(1.0, 1.0)), "x": case(a=(1.0, 1.0), b=(1.0, 1.0))})
    assert np.isnan(next(s for s in nothing.shifts if s.metric is COST and s.strategy == "a").shift)


def test_what_the_cases_do_not_share_is_left_out_or_refused() -> None:
    more = pd.concat([BASE, case(d=(1.0, 2.0, 3.0))])
    found = ablation({ON: more, "x": BASE[BASE["seed"] > 1]})
    assert (found.strategies, found.seeds) == (("a", "b", "c"), (2, 3))
    with pytest.raises(InputError, match="expected two or more"):
        ablation({ON: case(a=(1.0,)), "x": case(a=(1.0,))})
    with pytest.raises(InputError, match="no seed"):
        ablation({ON: BASE[BASE["seed"] == 1], "x": BASE[BASE["seed"] == 2]})


def test_the_figure_frames_what_changes_and_shows_every_shift() -> None:
    turned = case(a=(3.0, 4.0, 5.0), b=(2.0, 3.1, 4.0), c=(2.1, 3.0, 4.1))
    figure = heat_map(ablation({ON: BASE, "same": BASE, "turns": turned}))
    assert [ax.get_title().split("\n")[0] for ax in figure.axes] == [metric.title for metric in RANKED]
    for ax in figure.axes:
        assert ax.images[0].get_array().shape == (2, 3)
        frames = [patch for patch in ax.patches if not patch.get_fill()]
        assert [patch.get_y() for patch in frames] == [0.5]  # the second row
    texts = [text.get_text() for text in figure.axes[RANKED.index(COST)].texts]
    assert texts == ["0", "0", "0", "+100", "0", "0"]


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("ablate") / "out"
    said = hcsim("ablate", *ARGS, f"hydra.sweep.dir={folder}")
    assert said.status == 0, said
    return folder, said.out


ARGS = ("strategy=fifo,random_fit", "seed=1,2", "trace.n=60", "switches=boot,cache,sharing", "hydra/launcher=basic")


def test_each_case_is_a_sweep_of_its_own(swept: tuple[Path, str]) -> None:
    folder, out = swept
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["boot", "on", "sharing"]
    for name in ("on", "boot", "sharing"):
        assert len(list((folder / name).rglob("summary.json"))) == 4
    lines = out.splitlines()
    assert lines[0] == "nothing to switch off here: cache"
    assert [line.split(":")[0] for line in lines[1:4]] == [
        "1/3 everything on",
        "2/3 without boot",
        "3/3 without sharing",
    ]
    assert lines[-1].startswith("features that change a ranking: ") and lines[-1].endswith("(of 2 switched off)")
    table = pd.read_csv(folder / "ablation.csv")
    assert table["without"].unique().tolist() == ["boot", "sharing"]
    assert len(table) == 2 * len(RANKED)
    shifts = pd.read_csv(folder / "shifts.csv")
    assert len(shifts) == 2 * 2 * len(RANKED)
    assert len(pd.read_csv(folder / "pairs.csv")) == 2 * 1 * len(RANKED)
    assert (folder / "ablation.png").stat().st_size > 10_000


def test_compare_reads_a_case_and_refuses_all_of_them(swept: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = swept
    said = hcsim("compare", folder / "boot", "--out", tmp_path)
    assert said.status == 0 and (tmp_path / "comparison.csv").is_file()
    refused = hcsim("compare", folder, "--out", tmp_path)
    assert refused.status == 2 and "different executors" in refused.err


def test_finished_cells_are_not_run_again_and_missing_ones_are(swept: tuple[Path, str]) -> None:
    folder, first = swept
    runs = {path: path.stat().st_mtime_ns for path in folder.rglob("log.parquet")}
    gone = sorted(runs)[3]
    (gone.parent / "summary.json").unlink()
    said = hcsim("ablate", *ARGS, f"hydra.sweep.dir={folder}")
    assert said.status == 0
    again = {path for path, at in runs.items() if path.stat().st_mtime_ns != at}
    assert again == {gone}
    assert said.out.splitlines()[5:] == first.splitlines()[5:]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["seed=1,2"], "expected strategy=NAME,NAME,..."),
        (["strategy=fifo,las", "switches=boat"], "switches: no switch 'boat'; did you mean 'boot'?"),
        (["strategy=fifo,las", "nonsense"], "cannot read 'nonsense', expected key=value"),
        (["strategy=fifo,las", "executor=local"], "has no switches, expected executor=sim"),
        (["strategy=fifo,lass", "trace.n=20", "switches=boot"], "no strategy 'lass'; did you mean 'las'?"),
        (["strategy=fifo", "trace.n=20", "switches=boot"], "expected two or more"),
        (["strategy=fifo,las", "trace.n=20", "switches=cache"], "takes anything out"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, args: list[str], says: str) -> None:
    said = hcsim("ablate", *args, "hydra/launcher=basic", f"hydra.sweep.dir={tmp_path / 'out'}")
    assert said.status == 2
    assert said.err.startswith("hcsim: error: ") and said.err.count("\n") == 1, said.err
    assert says in said.err
