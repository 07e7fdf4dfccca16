"""What describe says and draws: figures beside closed forms and second countings, pictures by what is on their axes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from hcsim.model import Jobs
from hcsim.traces import _figures, _summary
from hcsim.traces._catalog import available, classes, make
from hcsim.traces._figures import draw
from hcsim.traces._measures import dispersion, gang_bins, reuse, runs, spells
from hcsim.traces._schemas import KINDS
from hcsim.traces._summary import describe, describe_table
from hcsim.traces._table import Dropped, JobSource, Source, Table, checked, starts
from hcsim.traces._text import choices, number, text
from hcsim.traces.itp import Itp
from hcsim.traces.philly import Philly
from hcsim.traces.swf import Swf
from tests.shell import hcsim
from tests.traces.samples import SAMPLES

DAY_S = 86400.0
T0 = 1_600_000_000.0  # 2020-09-13 12:26:40 UTC


def table(kind: str, **columns: Any) -> Table:
    """A table of a kind; what is not of its length is the same in all rows."""
    frame = pd.DataFrame(columns)
    return checked(kind, {name: frame[name] for name in frame}, "test")


def unchecked(kind: str, **columns: Any) -> Table:
    """A table that is not held against its kind's schema."""
    frame = pd.DataFrame(columns)
    return Table(kind, frame, "test", np.arange(len(frame)))


def jobs(arrival_s: Any, duration_s: Any, gpus: Any, **more: Any) -> Jobs:
    return Jobs.build("test", arrival_s=np.asarray(arrival_s, float), duration_s=np.asarray(duration_s, float),
                      gpus=np.asarray(gpus), **more)  # fmt: skip


def drawn(subject: Jobs | Table, device: str = "GPU") -> dict[str, Axes]:
    """Title -> axes of the picture, rendered: no label is cut, no ticks or titles run into each other."""
    figure = Figure(layout="constrained")
    canvas = FigureCanvasAgg(figure)
    draw(figure, subject, "title", device)
    canvas.draw()
    panels = {ax.get_title(loc="left")[4:]: ax for ax in figure.axes if ax.get_title(loc="left")}
    letters = [ax.get_title(loc="left")[:3] for ax in figure.axes if ax.get_title(loc="left")]
    assert letters == [f"({'abcdefghijklmnopqrstuvwxyz'[i]})" for i in range(len(letters))]
    assert panels
    for name, ax in panels.items():
        label = ax.xaxis.label.get_window_extent()
        assert ax.get_xlabel() and label.x0 >= -1 and label.x1 <= figure.bbox.x1 + 1, f"{name}: its label is cut"
        side = ax.yaxis.label.get_window_extent()
        assert side.y0 >= ax.bbox.y0 - 25 and side.y1 <= ax.bbox.y1 + 10, f"{name}: its y label is longer than its axis"
        assert not overlapping(ax.get_xticklabels() + ax.get_xticklabels(minor=True), ax), f"{name}: x labels overlap"
    titles = [each for each in figure.findobj(Text) if re.match(r"\([a-z]\) ", each.get_text())]  # type: ignore[arg-type]
    for above in {round(each.get_window_extent().y0) for each in titles}:
        row = [each for each in titles if round(each.get_window_extent().y0) == above]
        assert not overlapping(row), [each.get_text() for each in row]
    return panels


def overlapping(texts: Sequence[Text], within: Axes | None = None) -> bool:
    """Whether texts of one line run into each other; of an axis, those that lie within it."""
    boxes = [each.get_window_extent() for each in texts if each.get_text() and each.get_visible()]
    if within:
        boxes = [box for box in boxes if within.bbox.x0 - 1 <= (box.x0 + box.x1) / 2 <= within.bbox.x1 + 1]
    return any(a.x1 > b.x0 for a, b in pairwise(sorted(boxes, key=lambda box: box.x0)))


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [each.get_text() for each in found.get_texts()] if found else []


# -- jobs --------------------------------------------------------------------------------------------------------------


def test_jobs_by_hand() -> None:
    said = describe(
        jobs([0, 0, 3600, 7200], [3600, 3600, 1800, 0], [1, 1, 8, 2], tenant=[0, 0, 0, 1], tenants=("a", "b"))
    )
    assert said["rows"] == 4 and said["duplicates"] == 1 and said["tenants"] == 2 and said["at_time_0"] == 2
    assert said["largest_tenant_share"] == 0.75
    assert said["gpu_hours"] == pytest.approx(1 + 1 + 4)
    assert said["load_gpus"] == pytest.approx(6 / 2)  # over two hours
    assert said["longest_gap_h"] == 1.0
    assert said["duration_s"]["p50"] == 2700.0 and said["interarrival_s"]["mean"] == 2400.0
    sizes = said["gang_sizes"].set_index("GPUs")
    assert sizes["jobs"].to_dict() == {"1": 2, "2": 1, "8": 1}
    assert sizes["share of GPU time"].to_dict() == {"1": "33.3%", "2": "0.0%", "8": "66.7%"}


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.sampled_from([1.0, 60.0, 3600.0]))
def test_dispersion_equals_variance_over_mean_of_all_bins(when: list[float], bin_s: float) -> None:
    times = np.array(when)
    counts = np.bincount(((times - times.min()) // bin_s).astype(int))
    assert dispersion(times, bin_s) == pytest.approx(counts.var() / counts.mean(), rel=1e-6, abs=1e-9)


@given(st.lists(st.sampled_from([0.05, 0.5, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 100, 1024, 1025, 9216]), min_size=1))
def test_every_gang_lies_in_the_bin_that_it_is_counted_in(gpus: list[float]) -> None:
    labels, which = gang_bins(np.array(gpus, float))
    assert len(set(labels)) == len(labels) and len(labels) <= 16
    for size, k in zip(gpus, which, strict=True):
        low, _, high = labels[k].partition("–")
        assert size < 1 if low == "<1" else float(low) <= size <= float(high or low), (size, labels[k])


def test_jobs_are_drawn_with_units(rng: np.random.Generator) -> None:
    n = 3000
    gpus = rng.choice([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 3, 5, 7], n)
    axes = drawn(jobs(np.sort(rng.uniform(0, 30 * DAY_S, n)), rng.lognormal(7, 2, n), gpus))
    names = ["Submissions", "Offered load, if nothing waited", "Run times", "Gang sizes", "Burstiness", "Daily cycle"]
    assert list(axes) == names
    assert axes["Submissions"].get_xlabel() == "time (days)" and "jobs per h" in axes["Submissions"].get_ylabel()
    assert axes["Run times"].get_xlabel() == "run time (s)" and legend(axes["Run times"]) == ["jobs", "GPU time"]
    bars = axes["Gang sizes"].containers
    assert [sum(bar.get_height() for bar in each) for each in bars] == pytest.approx([1.0, 1.0])
    assert legend(axes["Burstiness"]) == ["measured", "exponential, same mean"]
    assert sum(bar.get_height() for bar in axes["Daily cycle"].patches) == pytest.approx(1.0)


def test_the_offered_load_is_the_work_over_the_time(rng: np.random.Generator) -> None:
    arrival = np.arange(0.0, 10 * DAY_S, 600.0)
    axes = drawn(jobs(arrival, np.full(len(arrival), 1200.0), np.full(len(arrival), 4)))
    (steps,) = axes["Offered load, if nothing waited"].patches
    level = steps.get_data().values  # type: ignore[attr-defined]
    assert level[5:] == pytest.approx(np.full(len(level) - 5, 8.0))  # two jobs of 4 GPUs at any time


def test_a_spike_does_not_flatten_the_rest(rng: np.random.Generator) -> None:
    arrival = np.sort(np.r_[np.zeros(3000), rng.uniform(0, 30 * DAY_S, 1000)])
    ax = drawn(jobs(arrival, np.full(4000, 60.0), np.ones(4000, int)))["Submissions"]
    assert ax.get_ylim()[1] < 10  # jobs per h, where the spike has 500
    assert any(re.match(r"3,0\d\d jobs in 6 h", each.get_text()) for each in ax.texts)


def test_processors_are_not_called_gpus() -> None:
    axes = drawn(jobs([0, 60, 120], [10, 20, 30], [64, 4096, 8]), "processor")
    words = [word for ax in axes.values() for word in (ax.get_xlabel(), ax.get_ylabel(), *legend(ax))]
    assert not any("GPU" in word for word in words) and "processors of a job" in words
    said = text(describe(jobs([0, 60], [10, 20], [64, 4096])), "processor")
    assert "GPU" not in said and "offered load (processors)" in said
    assert len({len(line) for line in said.split("\n\n")[2].splitlines()}) == 1  # aligned all the same
    assert Swf().device == "processor" and Swf(processors_per_gpu=8).device == "GPU"


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, 1e3, 1e9, 1e12]),
            st.sampled_from([0.0, 1.0, 1e12]),
            st.sampled_from([1, 7, 10**6]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_jobs_can_be_described_and_drawn(rows: list[tuple[float, float, int]]) -> None:
    arrival, duration, gpus = zip(*rows, strict=True)
    subject = jobs(arrival, duration, gpus)
    assert re.search(rf"^rows +{len(rows)}$", text(describe(subject)), re.M)
    figure = Figure(layout="constrained")
    canvas = FigureCanvasAgg(figure)
    draw(figure, subject)
    canvas.draw()


# -- requests, submissions, load ---------------------------------------------------------------------------------------


def blocks(seed: int) -> pd.Series:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    return pd.Series([rng.integers(0, 30, rng.integers(1, 6)).tolist() for _ in range(40)])


@pytest.mark.parametrize("seed", range(5))
def test_prefix_reuse_is_counted_as_with_a_set(seed: int) -> None:
    ids = blocks(seed)
    frame = pd.DataFrame({"arrival_s": np.random.default_rng(seed).permutation(40).astype(float), "hash_ids": ids})
    seen, known = [], set()
    for row in frame.sort_values("arrival_s")["hash_ids"]:
        count = 0
        for block in row:
            count += block in known
            known.add(block)
        seen.append(count)
    got, length = reuse(frame)
    assert got.tolist() == seen and length.sum() == ids.map(len).sum()


def requests(rng: np.random.Generator, n: int = 2000, **more: Any) -> Table:
    return table("requests", arrival_s=np.sort(rng.uniform(0, 3600, n)), prompt_tokens=rng.integers(1, 9000, n),
                 output_tokens=rng.integers(1, 900, n), **more)  # fmt: skip


def test_requests(rng: np.random.Generator) -> None:
    subject = requests(rng, client=rng.choice([f"c{i}" for i in range(30)], 2000), service_s=rng.uniform(1, 2, 2000))
    said = describe_table(subject)
    assert said["rate_per_s"] == pytest.approx(2000 / 3600, rel=0.01)
    assert 0.9 < said["interarrival_cv"] < 1.1 and 0.5 < said["index_of_dispersion_minute"] < 1.5  # as Poisson's
    assert said["clients"] == 30 and "hash_ids" not in text(said)
    axes = drawn(subject)
    assert list(axes) == ["Requests", "Burstiness", "Lengths", "Output by prompt", "Service", "Clients"]
    assert axes["Lengths"].get_xlabel() == "length (tokens)" and legend(axes["Lengths"]) == ["prompt", "output"]
    assert axes["Service"].get_xlabel() == "service time (s)"
    assert len(axes["Clients"].patches) == 10 and axes["Clients"].texts[0].get_text().startswith("20 others: ")


def test_requests_of_images_have_no_panel_of_output(rng: np.random.Generator) -> None:
    n = 100
    subject = table("requests", arrival_s=np.arange(n) * 9.0, prompt_tokens=rng.integers(0, 90, n),
                    output_tokens=np.zeros(n, int), service_s=np.linspace(1, 50, n))  # fmt: skip
    assert list(drawn(subject)) == ["Requests", "Burstiness", "Prompts", "Service"]
    assert "output_tokens" not in describe_table(subject)


def test_lengths_only_have_no_panel_of_time(rng: np.random.Generator) -> None:
    n = 100
    subject = table("requests", arrival_s=np.full(n, np.nan), prompt_tokens=rng.integers(1, 90, n),
                    output_tokens=rng.integers(1, 9, n))  # fmt: skip
    assert list(drawn(subject)) == ["Lengths", "Output by prompt"]
    assert "rate_per_s" not in describe_table(subject)


def test_submissions_fill_their_axes(rng: np.random.Generator) -> None:
    subject = table("submissions", arrival_s=np.arange(60) * 100.0, model=["ncf"] * 40 + ["bert"] * 20,
                    gpus=rng.choice([1, 4, 16], 60), batch=np.full(60, 64))  # fmt: skip
    axes = drawn(subject)
    assert list(axes) == ["Submissions", "Burstiness", "Gang sizes asked for", "Models"]
    assert [bar.get_width() for bar in axes["Models"].patches] == pytest.approx([2 / 3, 1 / 3])
    assert describe_table(subject)["model"]["rows"].tolist() == [40, 20]


def test_load() -> None:
    when = T0 + np.arange(0, 10 * DAY_S, 600)
    used = 50 + 10 * np.sin(2 * np.pi * when / DAY_S)
    subject = table("load", time_s=np.delete(when, 700), place="a", gpus=np.delete(used, 700), capacity_gpus=100.0,
                    running_jobs=5.0, pending_jobs=1.0)  # fmt: skip
    said = describe_table(subject)
    assert said["step_s"] == 600.0 and said["gaps"] == 1 and said["utilization_share"] == pytest.approx(0.5, abs=0.01)
    assert said["dates"] == "2020-09-13 to 2020-09-23 UTC"
    axes = drawn(subject)
    assert axes["Occupancy"].get_xlabel() == "date (UTC)" and "capacity" in legend(axes["Occupancy"])
    assert axes["Occupancy"].get_ylim()[1] > 100
    assert legend(axes["Jobs"]) == ["running jobs", "pending jobs"]


def test_load_is_of_all_places_and_may_be_of_nodes_or_of_capacity_alone() -> None:
    when = np.repeat(T0 + np.arange(0, 5 * DAY_S, 3600), 2)
    both = unchecked("load", time_s=when, place=["a", "b"] * (len(when) // 2), gpus=10.0)
    (line,) = (line for line in drawn(both)["Occupancy"].lines if line.get_label() == "mean")
    assert set(np.asarray(line.get_ydata())) == {20.0}
    nodes = unchecked("load", time_s=when, place="a", gpus=np.nan, nodes=5.0, capacity_nodes=8.0)
    assert drawn(nodes)["Occupancy"].get_ylabel() == "nodes in use"
    daily = unchecked("load", time_s=T0 + np.arange(20) * DAY_S, place="a", gpus=np.nan, capacity_gpus=64.0)
    axes = drawn(daily)
    assert axes["Occupancy"].get_ylabel() == "capacity (GPUs)" and "Daily cycle" not in axes


# -- the world ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60))
def test_runs_are_those_that_a_loop_finds(nodes: list[int]) -> None:
    frame = pd.DataFrame({"time_s": np.arange(len(nodes)) * 10.0, "place": "a", "gpu": "g", "nodes": nodes})
    spell = spells(frame)
    assert spell["duration_s"].sum() == pytest.approx(10.0 * len(nodes) if len(nodes) > 1 else 0.0)
    if len(nodes) > 1:
        up = "".join("1" if n else "0" for n in nodes)
        assert runs(spell[spell["nodes"] > 0]).tolist() == [10.0 * len(run) for run in re.findall("1+", up)]
        assert runs(spell[spell["nodes"] == 0]).tolist() == [10.0 * len(run) for run in re.findall("0+", up)]


def availability(*strips: list[int]) -> Table:
    return table("availability", time_s=np.concatenate([np.arange(len(s)) * 3600.0 for s in strips]),
                 place=np.repeat([f"zone-{i}" for i in range(len(strips))], [len(s) for s in strips]), gpu="V100",
                 nodes=np.concatenate(strips))  # fmt: skip


def test_availability_has_a_strip_for_each_place() -> None:
    subject = availability([1, 1, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 0, 0, 0, 0])
    said = describe_table(subject)["by_place"]
    assert said["uptime"].tolist() == ["75.0%", "12.5%"]
    assert said["up, median h"].tolist() == [3.0, 1.0] and said["down, median h"].tolist() == [2.0, 3.5]
    assert said["losses a day"].tolist() == pytest.approx([3.0, 3.0])
    axes = drawn(subject)
    strips = axes["Nodes that could be had"]
    assert [each.get_text() for each in strips.get_yticklabels()] == ["zone-0 V100", "zone-1 V100"]
    assert len(strips.collections[0].get_array()) == 6  # runs of the same count
    assert [bar.get_width() for bar in axes["Uptime"].patches] == [0.75, 0.125]
    assert legend(axes["Runs"]) == ["available", "not available"] and axes["Runs"].get_xlabel() == "length of a run (h)"


def test_availability_of_counts_shows_how_many_for_how_long() -> None:
    axes = drawn(availability([4, 4, 2, 0]))
    (line,) = axes["Capacity"].lines
    at, share = line.get_data()
    assert dict(zip(np.asarray(at).tolist(), np.asarray(share).tolist(), strict=True)) == {1: 0.75, 2: 0.75, 4: 0.5}
    assert axes["Changes"].get_xlabel() == "time between changes (h)"


def prices(days: int, gpus: tuple[str, ...] = ("A100", "T4"), place: tuple[str, ...] = ("x",)) -> Table:
    markets = (("on_demand", 4.0), ("spot", 1.0))
    rows = [(T0 + d * DAY_S, "p", where, "i", gpu, 8.0, market, 8.0 * usd)
            for d in range(days) for gpu in gpus for where in place for market, usd in markets]  # fmt: skip
    names = ("time_s", "provider", "place", "instance", "gpu", "gpus", "market", "usd_per_h")
    return table("prices", **{name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


def test_prices_are_per_gpu_hour_by_gpu_and_market() -> None:
    subject = prices(30)
    said = describe_table(subject)["usd_per_gpu_hour"]
    assert said[["GPU", "market", "p50"]].to_numpy().tolist() == [
        ["A100", "on demand", 4.0], ["A100", "spot", 1.0], ["T4", "on demand", 4.0], ["T4", "spot", 1.0],
    ]  # fmt: skip
    axes = drawn(subject)
    over_time, by_gpu = axes["Median over offers by the day"], axes["By GPU: median, P10 to P90"]
    assert over_time.get_ylabel() == by_gpu.get_xlabel() == "USD per GPU-hour"
    assert legend(over_time) == ["A100 on demand", "A100 spot", "T4 on demand", "T4 spot"]
    for line, usd in zip(over_time.lines, (4.0, 1.0, 4.0, 1.0), strict=True):
        assert len(line.get_xdata()) == 30 and set(np.asarray(line.get_ydata())) == {usd}


def test_a_catalogue_of_one_day_is_sorted_not_drawn_over_time() -> None:
    axes = drawn(prices(1))
    assert list(axes) == ["By GPU: median, P10 to P90"]
    assert [each.get_text() for each in next(iter(axes.values())).get_yticklabels()] == ["A100", "T4"]


def test_prices_of_one_gpu_are_drawn_by_place() -> None:
    axes = drawn(prices(10, ("V100",), ("us-1", "us-2")))
    assert list(axes) == ["Median over offers by the day", "V100 by place: median, P10 to P90"]
    assert {name.split()[0] for name in legend(axes["Median over offers by the day"])} == {"us-1", "us-2"}


def test_prices_without_gpus_are_of_instances() -> None:
    frame = prices(1).frame.assign(gpu="", gpus=0.0)
    axes = drawn(table("prices", **{name: frame[name] for name in frame}))
    assert axes["Prices"].get_xlabel() == "USD per h of an instance" and legend(axes["Prices"]) == ["on demand", "spot"]


def test_advice() -> None:
    subject = table("advice", place="p", instance=[f"i{k}" for k in range(10)], saving_share=np.linspace(0.3, 0.9, 10),
                    interruption_share=[0.05] * 6 + [1.0] * 4)  # fmt: skip
    axes = drawn(subject)
    assert [each.get_text() for each in axes["Interruptions"].get_xticklabels()] == ["0–5%", ">5%"]
    assert [bar.get_height() for bar in axes["Interruptions"].patches] == [0.6, 0.4]
    assert describe_table(subject)["saving_by_interruptions"]["share"].tolist() == ["60.0%", "40.0%"]


def test_links() -> None:
    ends = ["aws:a", "aws:b", "gcp:c"]
    pairs = [(s, t) for s in ends for t in ends if s != t]
    subject = table("links", source=[s for s, _ in pairs], target=[t for _, t in pairs],
                    bytes_per_s=np.arange(1, 7) * 1e8, rtt_s=np.arange(1, 7) * 0.01, usd_per_gb=0.02)  # fmt: skip
    axes = drawn(subject)
    assert [ax.get_xlabel() for ax in axes.values()] == [
        "MB/s",
        "round-trip time (ms)",
        "USD per GB",
        "round-trip time (ms)",
    ]
    said = describe_table(subject)["by_measure"]
    assert said["pairs"].tolist()[:2] == ["4 between providers", "2 within a provider"]
    assert said.loc[said["measure"] == "RTT, ms", "max"].max() == pytest.approx(60.0)
    only_rtt = table("links", source=[s for s, _ in pairs], target=[t for _, t in pairs], bytes_per_s=np.nan,
                     rtt_s=0.01, usd_per_gb=np.nan)  # fmt: skip
    assert list(drawn(only_rtt)) == ["All pairs", "Round trips"]


def test_carbon_by_the_hour() -> None:
    when = T0 // DAY_S * DAY_S + np.arange(0, 30 * DAY_S, 3600)
    g = np.where(when // 3600 % 24 < 12, 100.0, 300.0)
    subject = table("carbon", place="X", time_s=when, g_per_kwh=g)
    assert describe_table(subject)["dirtiest_over_cleanest_hour_of_day"] == pytest.approx(3.0)
    axes = drawn(subject)
    assert all("gCO" in label for label in (axes["Carbon intensity"].get_ylabel(), axes["Distribution"].get_xlabel()))
    _, median = axes["Daily cycle, X"].lines[0].get_data()
    assert np.asarray(median).tolist() == [100.0] * 12 + [300.0] * 12


def test_carbon_by_the_year_is_not_a_line_for_each_region() -> None:
    years = [np.datetime64(f"{y}-01-01", "s").astype(float) for y in (2021, 2022)]
    places = [f"{who}:r{i}" for who in ("A", "B") for i in range(40)]
    subject = table("carbon", place=places * 2, time_s=np.repeat(years, 80), g_per_kwh=np.arange(160.0))
    axes = drawn(subject)
    assert list(axes) == ["Regions by year: median, P10 to P90", "Regions in the latest year"]
    assert axes["Regions by year: median, P10 to P90"].get_xlabel() == "year"
    assert legend(axes["Regions in the latest year"]) == ["A 2022", "B 2022"]
    said = describe_table(subject)["g_per_kwh_by_year"]
    assert said[["year", "provider", "places"]].to_numpy().tolist() == [
        ["2021", "A", 40], ["2021", "B", 40], ["2022", "A", 40], ["2022", "B", 40],
    ]  # fmt: skip
    zones = unchecked("carbon", place=[f"zone {i}" for i in range(80)] * 2, time_s=np.repeat(years, 80), g_per_kwh=1.0)
    assert legend(drawn(zones)["Regions by year: median, P10 to P90"]) == ["all"]
    one = subject.frame[subject.frame["time_s"] == years[0]].iloc[:30]
    assert list(drawn(table("carbon", **{c: one[c].to_numpy() for c in one}))) == [
        "Regions in 2021",
        "Regions in the latest year",
    ]


def test_failures_have_mtbf_and_mttr() -> None:
    start = T0 + np.arange(20) * 36_000.0
    subject = table(
        "failures", entity=["a"] * 10 + ["b"] * 10, start_s=start, end_s=start + 7200.0, event=["net", "disk"] * 10
    )
    said = describe_table(subject)["durations"].set_index("of")
    assert said["MTBF, h"].tolist() == pytest.approx([10.0] * 3) and said["MTTR, h"].tolist() == pytest.approx(
        [2.0] * 3
    )
    axes = drawn(subject)
    assert list(axes) == ["Failures over time", "Time between failures", "Durations", "What failed"]
    assert axes["Failures over time"].get_xlabel() == "date (UTC)"
    assert sum(bar.get_height() for bar in axes["Failures over time"].patches) == 20
    assert axes["Time between failures"].get_xlabel() == "time between starts (h)"
    assert axes["Durations"].get_xlabel() == "duration (h)"
    assert all(np.max(np.asarray(line.get_xdata())) < 1e6 for ax in axes.values() for line in ax.lines)  # no epochs


def test_failures_without_dates_are_counted_per_30_days() -> None:
    start = np.arange(0, 300 * DAY_S, DAY_S)
    ax = drawn(table("failures", entity="a", start_s=start, end_s=start + 60.0, event="e"))["Failures over time"]
    assert ax.get_ylabel() == "failures per 30 days" and ax.get_xlabel() == "time (days)"
    assert [bar.get_height() for bar in ax.patches] == [30.0] * 10


def test_failures_of_many_entities_without_ends_are_told_by_event() -> None:
    n = 300
    subject = table("failures", entity=[f"gpu-{i}" for i in range(n)], start_s=T0 + np.arange(n) * DAY_S, end_s=np.nan,
                    event=["DBE"] * 200 + ["OTB"] * 100)  # fmt: skip
    said = describe_table(subject)["durations"]
    assert said["of"].tolist() == ["all", "DBE", "OTB"] and said["no end"].tolist() == [300, 200, 100]
    assert "MTTR, h" in text(describe_table(subject)) and "nan" not in text(describe_table(subject))
    axes = drawn(subject)
    assert list(axes) == ["Failures over time", "Time between failures"]  # the first says what failed
    assert legend(axes["Time between failures"]) == ["DBE", "OTB"]


def test_lifetimes_are_censored(rng: np.random.Generator) -> None:
    """Exponential lives that are observed for 1,000 days at most: survival and MTBF are those of the distribution."""
    life = rng.exponential(2000 * DAY_S, 4000)
    seen, failed = np.minimum(life, 1000 * DAY_S), life <= 1000 * DAY_S
    subject = unchecked("lifetimes", entity=[f"g{i}" for i in range(4000)], start_s=np.full(4000, T0),
                        end_s=np.where(failed, T0 + seen, np.nan), observed_s=seen,
                        event=np.where(failed, "DBE", ""))  # fmt: skip
    said = describe_table(subject)
    assert said["device_mtbf_years"] == pytest.approx(2000 / 365.25, rel=0.05)
    assert said["ages"]["event"].tolist() == ["no failure", "DBE"]
    axes = drawn(subject)
    age, share = (np.asarray(x, float) for x in axes["Survival, others censored"].lines[0].get_data())
    for days in (100, 500, 900):
        assert share[np.searchsorted(age, days)] == pytest.approx(np.exp(-days / 2000), abs=0.02)
    assert axes["Survival, others censored"].get_xlabel() == "age (days)"
    assert axes["Age at failure"].get_xlabel() == "age (days)"


def test_demands_metrics_and_summaries(rng: np.random.Generator) -> None:
    asked = unchecked("demands", gpus=[0, 1, 1, 4], gpu_milli=[0, 500, 1000, 1000], cpus=[4.0, 8, 8, 32],
                      ram_bytes=np.full(4, 2.0**35))  # fmt: skip
    said = describe_table(asked)
    assert said["without_a_gpu_share"] == 0.25 and said["gang_sizes"]["GPUs"].tolist() == ["<1", "1", "2", "3–4"]
    assert [ax.get_xlabel() for ax in drawn(asked).values()] == [
        "GPUs of a job (up to)", "CPUs asked for", "memory asked for (GiB)",
    ]  # fmt: skip
    values = np.r_[rng.uniform(5, 9, 50), rng.uniform(1e-3, 2e-3, 50)]
    seen = unchecked("metrics", time_s=T0 + np.tile(np.arange(50) * 60.0, 2), entity="c", value=values,
                     metric=["qps"] * 50 + ["wait"] * 50, unit=["1/s"] * 50 + ["s"] * 50)  # fmt: skip
    assert describe_table(seen)["by_metric"]["unit"].tolist() == ["1/s", "s"]
    labels = [ax.get_ylabel() for name, ax in drawn(seen).items() if name != "Distribution"]
    assert labels == ["qps (1/s)", "wait (ms)"]
    known = unchecked("summaries", entity=["a", "a", "b", "b"], metric=["mean", "share"] * 2,
                      value=[5.0, 0.1, 7.0, 0.3], unit=["s", "1"] * 2)  # fmt: skip
    figures = describe_table(known)["figures"]
    assert figures.to_numpy().tolist() == [["mean (s)", 5.0, 7.0], ["share (1)", 0.1, 0.3]]
    assert len(drawn(known)) == 2


def test_every_kind_is_described_and_drawn() -> None:
    assert set(KINDS) - {"jobs"} <= set(_summary._KINDS) == set(_figures._KINDS)


def test_profiles_have_a_panel_for_each_metric_with_its_unit() -> None:
    rows = [(m, g, metric, v, unit) for m in ("bert", "vgg") for g, f in (("A100", 1.0), ("H100", 2.0))
            for metric, v, unit in (("throughput", 10 * f, "samples/s"), ("step_time", 2e-5 / f, "s"))]  # fmt: skip
    model, gpu, metric, value, unit = (list(column) for column in zip(*rows, strict=True))
    subject = table("profiles", model=model, gpu=gpu, gpus=1.0, setting="x", metric=metric, value=value, unit=unit)
    axes = drawn(subject)
    assert list(axes) == ["Throughput", "Step time"]
    assert [ax.get_xlabel() for ax in axes.values()] == ["throughput (samples/s)", "step time (µs)"]
    assert [each.get_text() for each in axes["Throughput"].get_yticklabels()] == ["bert", "vgg"]
    points = {line.get_label(): np.asarray(line.get_xdata()).tolist() for line in axes["Step time"].lines}
    assert points == {"A100": pytest.approx([20.0, 20.0]), "H100": pytest.approx([10.0, 10.0])}
    said = describe_table(subject)["by_metric"]
    assert said[["metric", "unit", "GPU"]].to_numpy().tolist()[0] == ["throughput", "samples/s", "A100"]


def test_times_by_size_are_lines_for_each_gang() -> None:
    size, gpus = np.tile(2.0 ** np.arange(8), 2), np.repeat([1.0, 4.0], 8)
    frames = [("mlp_up_proj", 1e-6), ("emb", 2e-6)]
    subject = table("profiles", model="m", gpu="H100", gpus=np.tile(gpus, 2),
                    setting=[f"{s:g} tokens" for s in np.tile(size, 2)],
                    metric=np.repeat([name for name, _ in frames], 16),
                    value=np.concatenate([each * size / gpus for _, each in frames]), unit="s")  # fmt: skip
    axes = drawn(subject)
    assert list(axes) == ["MLP up projection", "Embedding"]
    for ax, (_, each) in zip(axes.values(), frames, strict=True):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log") and ax.get_xlabel() == "tokens"
        lines = {line.get_label(): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in ax.lines}
        assert set(lines) == {"1 GPU", "4 GPUs"}
        assert lines["4 GPUs"][0].tolist() == size[:8].tolist()
        assert lines["4 GPUs"][1] == pytest.approx(each * size[:8] / 4 * 1e6)  # µs


def test_scenarios_and_units_of_mlperf_are_panels_of_their_own() -> None:
    rows = [(where, metric, unit, float(i)) for where in ("Offline", "Server") for i, (metric, unit) in enumerate(
        [("latency, mean", "s"), ("throughput", "tokens/s"), ("throughput", "samples/s"), ("latency, P99", "s"),
         ("latency, P50", "s"), ("latency, P90", "s")])]  # fmt: skip
    where, metric, unit, value = (list(column) for column in zip(*rows, strict=True))
    subject = table("profiles", model="m", gpu="H100", gpus=1.0, setting=[f"{each}, x" for each in where],
                    metric=metric, value=value, unit=unit)  # fmt: skip
    axes = drawn(subject)
    assert list(axes) == [f"{title}, {each}" for title in ("Throughput in tokens/s", "Throughput in samples/s",
                          "Latency, P99", "Latency, mean") for each in ("Offline", "Server")]  # fmt: skip
    notes = [text.get_text() for text in axes["Latency, mean, Server"].texts]
    assert notes == ["4 more measures are not drawn"]


def test_what_fails_is_told_once() -> None:
    """Two kinds of failure that the first panel tells apart have no panel of two bars."""
    subject = table("failures", entity=[f"g{i}" for i in range(40)], start_s=np.arange(40) * 1e6, end_s=np.nan,
                    event=["DBE"] * 30 + ["OTB"] * 10)  # fmt: skip
    axes = drawn(subject)
    assert list(axes) == ["Failures over time", "Time between failures"]
    legend = axes["Failures over time"].get_legend()
    assert legend is not None and [each.get_text() for each in legend.get_texts()] == ["DBE (30)", "OTB (10)"]


def test_clock_hours_and_dates_where_the_log_has_them(tmp_path: Path) -> None:
    """A log whose jobs all come at six in the evening."""
    path = tmp_path / "p.csv"
    rows = [f"2017-10-{day:02d} 18:30:00,66.0,1,66.0,vc1" for day in range(3, 12)]
    path.write_text("timestamp,duration,num_gpus,gpu_time,cluster\n" + "\n".join(rows) + "\n")
    source = Philly(path=str(path))
    read = source.table()
    assert read.start_s == np.datetime64("2017-10-03T18:30:00", "s").astype(int) and read.told == ""
    assert describe(source.jobs(0), read, read.start_s)["dates"] == "2017-10-03 to 2017-10-11"
    assert "dates" not in describe(source.jobs(0), read)
    figure = Figure(layout="constrained")
    draw(figure, source.jobs(0), start_s=read.start_s or 0.0)
    (ax,) = (ax for ax in figure.axes if ax.get_title(loc="left").endswith("Daily cycle"))
    heights = [bar.get_height() for bar in ax.patches]
    assert heights.index(max(heights)) == 18 and ax.get_xlabel() == "hour of the day (the log's clock)"
    assert starts(float("inf")) == starts(float("nan")) == starts(-1e300) == ()
    swf = tmp_path / "a.swf"
    swf.write_text("; StartTime: Fri Oct 01 00:00:03 PDT 1993\n1 5 -1 60 4 -1 -1 4 100 -1 1 7 1 1 1 1 -1 -1\n")
    assert Swf(path=str(swf)).table().start_s == np.datetime64("1993-10-01T00:00:08", "s").astype(int)
    swf.write_text("; StartTime: Fri Feb 31 00:00:03 PDT 1993\n1 5 -1 60 4 -1 -1 4 100 -1 1 7 1 1 1 1 -1 -1\n")
    assert Swf(path=str(swf)).table().start_s is None


def test_the_variant_is_the_one_that_was_read(tmp_path: Path) -> None:
    """Also where it was left to the source, and where its table was kept."""
    folder = tmp_path / "compute" / "a40" / "llama" / "7b"
    folder.mkdir(parents=True)
    path = folder / "mlp.csv"
    path.write_bytes(SAMPLES["profile_vidur"].files["a.csv"])
    source = make("profile_vidur", {"path": str(path)})
    assert "gpu=" in choices(source)
    source.read()
    assert [each for each in choices(source) if each != "gpu="] == ["gpu=a40", "model=llama/7b"]
    said = hcsim("traces", "describe", "profile_vidur", f"path={path}", "--plot", tmp_path / "p.svg")
    assert said.status == 0 and "gpu=a40" in said.out and "model=llama/7b" in said.out, said.err
    assert "gpu=a40" in re.sub(
        r"<!--|-->", "", (tmp_path / "p.svg").read_text()
    )  # the title, as a comment of its glyphs


def test_nodes() -> None:
    subject = table("nodes", gpu=["A100", "A100", "T4", ""], gpus=[8, 4, 1, 0], cpus=[96.0, 48.0, 8.0, 64.0],
                    ram_bytes=[2.0**40, 2.0**39, 2.0**35, 2.0**38], nodes=[2, 1, 10, 5])  # fmt: skip
    said = describe_table(subject)
    assert (said["nodes"], said["all_gpus"], said["all_cpus"]) == (18, 30, 96 * 2 + 48 + 80 + 320)
    axes = drawn(subject)
    assert axes["GPUs by type"].get_xlabel() == "GPUs" and axes["CPUs"].get_xlabel() == "CPUs per GPU"
    assert axes["Memory"].get_xlabel() == "GiB per GPU"
    assert sum(bar.get_width() for bar in axes["GPUs by type"].patches) == 30
    none = table("nodes", gpu="", gpus=[0, 0], cpus=[64.0, 32.0], ram_bytes=2.0**38, nodes=[1, 2])
    assert drawn(none)["CPUs"].get_xlabel() == "CPUs of a node"


# -- text --------------------------------------------------------------------------------------------------------------


def test_text_is_aligned_and_plain() -> None:
    said = text(describe(jobs([0, 10, 30], [1234567, 5, 1], [1, 2, 16])))
    first, quantiles, sizes = said.split("\n\n")
    lines = first.splitlines()
    assert len({len(line) - len(line.split("  ")[-1].lstrip()) for line in lines}) == 1  # values begin in one column
    assert "\x1b" not in said and "nan" not in said
    heads, *rows = quantiles.splitlines()
    assert heads.split() == ["mean", "min", "p10", "p50", "p90", "p99", "max"] and len({len(row) for row in rows}) == 1
    assert "1,234,567" in rows[0]
    assert Counter(len(line) for line in sizes.splitlines()).most_common(1)[0][1] == 4


def test_what_was_left_out_is_a_line_each() -> None:
    columns = {"arrival_s": [0.0, 1.0], "model": ["a", "b"], "gpus": [1, 1], "batch": [1, 1]}
    gone = (Dropped("no price", 3, 7), Dropped("no GPU", 1, 9))
    subject = checked("submissions", {name: pd.Series(column) for name, column in columns.items()}, "t", dropped=gone)
    lines = text(describe_table(subject)).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("left out"))
    assert lines[at].endswith("  3 rows: no price (first: row 7)")
    assert lines[at + 1].endswith("  1 rows: no GPU (first: row 9)")
    assert lines[at].index("3 rows") == lines[at + 1].index("1 rows")


def test_numbers() -> None:
    shown = [number(x) for x in (0.0, 1.0, 0.000123456, 12.3456, 1234.5, 1e20, None, float("nan"), 7, np.int64(12345))]
    assert shown == ["0", "1", "0.000123", "12.35", "1,234", "1e+20", "-", "-", "7", "12,345"]
    assert number(0.1234, "some_share") == "12.3%"


def test_a_source_says_what_chooses_its_variant() -> None:
    said = choices(Itp(cluster="02", data_dir="/d"))
    assert list(said) == ["cluster=02", "converted=False"]
    assert said["cluster=02"].startswith("which file, 01 or")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


# -- every source ------------------------------------------------------------------------------------------------------

SWF = "dl_jobs/swf/LLNL-Atlas-2006-2.1-cln.swf.gz"
SOURCES = [(name, cls) for name in available() if name not in ("burstgpt", "swf", "table") for cls in classes(name)]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "cls"), [*SOURCES, ("swf", Swf)], ids=lambda each: getattr(each, "__name__", each))
def test_every_source_is_described_and_drawn(name: str, cls: type[Source], shared_traces: Path) -> None:
    given = {"path": str(shared_traces / SWF)} if name == "swf" else {"data_dir": str(shared_traces)}
    source = cls(**given, **({"polarity": "failed"} if name == "spot_strategy" else {}))
    found = source.table()
    subject = source.jobs(0) if isinstance(source, JobSource) else found
    said = describe(subject, found) if isinstance(subject, Jobs) else describe_table(subject)
    printed = text(said, getattr(source, "device", "GPU"))
    assert re.search(rf"^rows +{len(subject):,}$", printed, re.M)
    _, *tables = printed.split("\n\n")
    assert max((len(line) for each in tables for line in each.splitlines()), default=0) < 140, "wider than terminals"
    axes = drawn(subject, getattr(source, "device", "GPU"))
    assert all(ax.lines or ax.patches or ax.collections or ax.images for ax in axes.values()), "an empty panel"
