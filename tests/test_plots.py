"""What figures show: nothing is cut off, every name is beside its point or tied to it, and no figure claims more than
the table."""

from __future__ import annotations

import inspect
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from hcsim import InputError, plots
from hcsim.compare import METRICS, OTHER_JOBS, SAME, WORSE, Cell, Comparison
from hcsim.report import _occupancies, _power


def comparison(points: dict[str, tuple[float, float]], half: float = 0.0, other: tuple[str, ...] = ()) -> Comparison:
    """Strategies by (cost, JCT); those in ``other`` finished other jobs than the first."""
    cells = {}
    for name, (cost, jct) in points.items():
        one = {m.key: Cell(1.0, half, 1.0, 1.0 - half, 1.0 + half, SAME) for m in METRICS}
        for key, value in (("cost_usd", cost), ("jct_mean_s", jct)):
            one[key] = Cell(value, half, 2.0, 1.0, 3.0, WORSE)
            if name in other:
                one[key] = Cell(value, half, np.nan, np.nan, np.nan, OTHER_JOBS)
        cells[name] = one
    first = next(iter(points))
    return Comparison(tuple(points), first, (1, 2), dict.fromkeys(points, "none"), cells, (), "t", "f")


def axes() -> Axes:
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    ax: Axes = figure.subplots()
    return ax


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=2, max_size=11),
    st.floats(0.0, 20.0),
    st.booleans(),
)
def test_every_name_is_beside_its_point_or_tied_to_it(
    points: list[tuple[float, float]], half: float, crowded: bool
) -> None:
    """Also of eleven strategies that all but coincide."""
    if crowded:
        points = [(50 + x / 100, 2 + y / 100) for x, y in points]
    ax = plots.tradeoff(axes(), comparison({f"strategy_{i}": p for i, p in enumerate(points)}, half))
    ax.figure.canvas.draw()
    names = [each for each in ax.texts if isinstance(each, Annotation)]
    assert {name.get_text() for name in names} == {f"strategy_{i}" for i in range(len(points))}
    frame = ax.get_window_extent().padded(1)
    for name in names:
        box = Text.get_window_extent(name)  # without its line
        x, y = ax.transData.transform(name.xy)
        far = max(box.x0 - x, x - box.x1, box.y0 - y, y - box.y1)  # from the point to the nearest edge of its name
        assert far < 9 * ax.figure.dpi / 72 or name.arrow_patch is not None
        assert all(frame.contains(*corner) for corner in box.corners())


def test_names_do_not_cover_each_other() -> None:
    points = {f"strategy_{i}": (60 + i % 3, 2 + 0.01 * i) for i in range(9)} | {"far": (90.0, 12.0)}
    ax = plots.tradeoff(axes(), comparison(points, 1.5))
    ax.figure.canvas.draw()
    boxes = [Text.get_window_extent(name).padded(-1) for name in ax.texts]
    assert len(boxes) == 10 and not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_who_finished_other_jobs_is_hollow_and_on_no_front() -> None:
    points = {"base": (5.0, 5.0), "dear": (9.0, 3.0), "rejects": (1.0, 1.0)}
    ax = plots.tradeoff(axes(), comparison(points, other=("rejects",)))
    front = next(line for line in ax.lines if line.get_label() == "Pareto front")
    assert front.get_xydata().tolist() == [[5.0, 5.0], [9.0, 3.0]]  # type: ignore[union-attr]
    filled = {
        tuple(line.get_xydata()[0]): line.get_markerfacecolor() != "white"  # type: ignore[index]
        for line in ax.lines
        if line.get_marker() == "o"
    }
    assert filled == {(5.0, 5.0): True, (9.0, 3.0): True, (1.0, 1.0): False}
    ax = plots.differences(axes(), comparison(points, other=("rejects",)), "jct_mean_s")
    assert [text.get_text() for text in ax.texts] == ["not comparable"]
    assert len(ax.lines) == 3  # the interval and the point of one strategy, and zero


def test_a_strategy_that_finished_nothing_has_no_point() -> None:
    ax = plots.tradeoff(axes(), comparison({"none": (np.nan, np.nan), "some": (1.0, 2.0)}))
    assert [text.get_text() for text in ax.texts] == ["some"]
    plots.tradeoff(axes(), comparison({"none": (np.nan, np.nan)}))


def test_a_trade_off_of_other_figures() -> None:
    """Where more is better in one of them the front is on the other side."""
    points = {"base": (5.0, 5.0), "dear": (9.0, 3.0), "poor": (9.5, 2.0)}
    made = comparison(points)
    for name, (_, used) in points.items():
        made.cells[name]["gpu_utilization"] = Cell(used, 0.0, 2.0, 1.0, 3.0, WORSE)
    ax = plots.tradeoff(axes(), made, "cost_usd", "gpu_utilization")
    front = next(line for line in ax.lines if line.get_label() == "Pareto front")
    assert front.get_xydata().tolist() == [[5.0, 5.0]]  # type: ignore[union-attr]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("cost (kUSD)", "utilisation (%)")
    with pytest.raises(InputError, match="no metric 'cost'; did you mean 'cost_usd'"):
        plots.tradeoff(axes(), made, "cost")


def test_functions_draw_on_the_axes_they_are_given_and_return_them() -> None:
    made = comparison({"a": (1.0, 2.0), "b": (2.0, 1.0)})
    times = pd.concat([timeline("a", 1.0), timeline("b", 2.0)])
    finished = pd.DataFrame({"strategy": ["a", "b"], "jct_s": [60.0, 90.0]})
    bill = pd.DataFrame({"strategy": ["a", "b"], "market": ["owned", "spot"], "job": [0, -1], "usd": [1e3, 2e3]})
    given_ = {
        plots.tradeoff: (made,),
        plots.jct_cdf: (finished, made),
        plots.occupancy: (timeline("a", 1.0), "a"),
        plots.queue: (times, made),
        plots.cost_by_market: (bill, made),
        plots.cost_steps: (bill, made),
        plots.differences: (made, "cost_usd"),
    }
    public = [each for name, each in vars(plots).items() if inspect.isfunction(each) and not name.startswith("_")]
    assert {each for each in public if next(iter(inspect.signature(each).parameters)) == "ax"} == set(given_)
    for function, arguments in given_.items():
        ax = axes()
        assert function(ax, *arguments) is ax and ax.has_data()  # type: ignore[operator]


def timeline(strategy: str, days: float) -> pd.DataFrame:
    time_s = np.linspace(0.0, days * 86400.0, 50)
    return pd.DataFrame(
        {"strategy": strategy, "time_s": time_s, "site": "a", "gpus_held": 4.0, "gpus_up": 8.0, "waiting_gpus": 1.0}
    )


@pytest.mark.parametrize("order", [("short", "long", "mid"), ("long", "mid", "short")])
def test_occupancy_is_shown_to_the_end_of_the_longest_run(order: tuple[str, ...]) -> None:
    """The panels share an axis; the first to be drawn does not fix it."""
    days = {"short": 2.0, "long": 4.75, "mid": 3.0}
    frame = pd.concat([timeline(name, days[name]) for name in order])
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    _occupancies(figure, frame, comparison(dict.fromkeys(order, (1.0, 1.0))))
    figure.canvas.draw()
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title(loc="left") for ax in shown] == list(order)
    for ax in shown:
        assert ax.get_xlim() == pytest.approx((0.0, 4.75))
        assert ax.get_ylim()[1] >= 8.0
    for ax in shown[1:]:  # the last of each column says what the axis is
        assert ax.get_xlabel() == "time (days)" and ax.xaxis.get_tick_params()["labelbottom"]


def test_a_distribution_is_over_all_jobs() -> None:
    """One of four jobs never finished: the curve ends at three quarters."""
    frame = pd.DataFrame({"strategy": "s", "jct_s": [3600.0, 7200.0, np.nan, 1800.0]})
    ax = plots.jct_cdf(axes(), frame, comparison({"s": (1.0, 1.0)}))
    x, y = ax.lines[0].get_data()
    assert np.asarray(x).tolist() == [0.5, 1.0, 2.0] and np.asarray(y).tolist() == [0.25, 0.5, 0.75]


def test_lines_can_be_told_apart() -> None:
    names = [f"s{i}" for i in range(20)]
    made = comparison(dict.fromkeys(names, (1.0, 1.0)))
    styles = {(plots.line(made, name)["color"], plots.line(made, name)["ls"]) for name in names}
    assert len(styles) == 20


def costs() -> pd.DataFrame:
    """Two seeds of two strategies: (strategy, market, job or nobody, USD)."""
    rows = [
        ("a", "owned", 0, 3000.0), ("a", "owned", -1, 1000.0), ("a", "on_demand", 1, 2000.0), ("a", "egress", 1, 500.0),
        ("b", "owned", 0, 2000.0), ("b", "owned", -1, 2000.0), ("b", "spot", 1, 800.0), ("b", "energy", -1, 100.0),
    ]  # fmt: skip
    return pd.concat([pd.DataFrame(rows, columns=["strategy", "market", "job", "usd"])] * 2)


def test_a_bill_is_drawn_to_its_sum_and_what_nobody_used_is_hatched() -> None:
    ax = plots.cost_by_market(axes(), costs(), comparison({"a": (1, 1), "b": (1, 1)}))
    bars = [bar for container in ax.containers for bar in container]
    ends = {row: max(b.get_x() + b.get_width() for b in bars if abs(b.get_y() + 0.325 - row) < 0.1) for row in (0, 1)}
    assert ends == {1: pytest.approx(6.5), 0: pytest.approx(4.9)}  # kUSD a run; the first strategy is on top
    assert sum(b.get_width() for b in bars if b.get_hatch()) == pytest.approx(1.0 + 2.0)  # idle owned nodes alone
    legend = ax.get_legend()
    assert [t.get_text() for t in legend.get_texts()] == ["owned", "on demand", "spot", "egress", "energy"]


def test_the_steps_of_a_bill_end_at_the_difference() -> None:
    ax = plots.cost_steps(axes(), costs(), comparison({"a": (1, 1), "b": (1, 1)}))
    bars = [bar for container in ax.containers for bar in container]
    assert sum(bar.get_width() for bar in bars) == pytest.approx(4.9 - 6.5)
    assert sorted(round(bar.get_width(), 3) for bar in bars) == [-2.0, -0.5, 0.1, 0.8]  # owned is the same, no step
    assert ax.lines[0].get_xdata()[0] == pytest.approx(-1.6)


def test_energy_and_carbon_are_in_a_table_where_they_are_known() -> None:
    shown = comparison({"a": (1, 1), "b": (1, 1)})
    assert _power(shown) == ""
    for name, cell in (("a", Cell(2.0, 0.1, 0.0, 0.0, 0.0, SAME)), ("b", Cell(2.5, 0.1, 0.5, 0.4, 0.6, WORSE))):
        shown.cells[name]["energy_kwh"] = cell
    text = _power(shown)
    assert "energy (MWh)" in text and "worse by 0.5" in text and "carbon (t" not in text
