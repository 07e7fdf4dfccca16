"""Outages from traces of failures, held against the trace's own rows; what drives a fleet, in its hash and audit."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcsim import Fleet, InputError, Link, NodePool, Site
from hcsim.events import Kind
from hcsim.fleet import Outage
from hcsim.incidents import of_nodes, of_trace
from hcsim.records import of_trace as series_of
from hcsim.series import Series
from hcsim.strategies.fifo import Fifo
from hcsim.traces._table import Source, Table, checked
from hcsim.traces.cloud_incidents import CloudIncidents
from hcsim.traces.spot_skypilot import SpotSkypilot
from hcsim.traces.titan import Titan
from tests.shell import hcsim
from tests.worlds import jobs, play


@dataclass(frozen=True)
class Written(Source):
    """Failures as they are given: (entity, from, to)."""

    kind = "failures"
    rows: tuple[tuple[str, float, float], ...] = ()

    def table(self) -> Table:
        entity, begin, end = zip(*self.rows, strict=True)
        columns = {"entity": entity, "start_s": begin, "end_s": end, "event": [""] * len(entity)}
        return checked("failures", {k: np.array(v) if k[-1] == "s" else list(v) for k, v in columns.items()}, "written")


ROWS = (("a", 100.0, 150.0), ("b", 300.0, 340.0), ("a", 320.0, 400.0), ("a", 900.0, 1000.0))


def owned(*outages: Outage, links: tuple[Link, ...] = ()) -> Fleet:
    sites = tuple(Site(name, (NodePool(f"p{name}", "A100", 1, 2, 1.0),)) for name in ("s", "t"))
    return Fleet(sites, links, outages=outages)


def test_failures_are_one_series_of_down_and_up() -> None:
    """Those that overlap are one outage; time counts from the first failure, or from begin_s."""
    down = of_trace(Written(rows=ROWS), "site", "s", beyond="hold").down
    assert down is not None
    assert [down.at(t) for t in (0, 49, 50, 199, 200, 299, 300, 800, 899, 900, 1e9)] == [
        1,
        1,
        0,
        0,
        1,
        1,
        0,
        1,
        1,
        0,
        0,
    ]
    assert down.integral(np.array([1e6]))[0] == 50 + 100 + 100
    only = of_trace(Written(rows=ROWS), "site", "s", {"entity": "b"}, begin_s=310.0, beyond="hold").down
    assert only is not None and [only.at(t) for t in (0.0, 29.9, 30.0, 600.0)] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("beyond", "expected"),
    [("hold", [0, 50, 200, 300, 800, 900]), ("wrap", [0, 50, 200, 300, 800, 950, 1100])],
)  # fmt: skip
def test_a_site_is_down_when_its_trace_says_and_after_its_end_as_configured(beyond: Any, expected: Any) -> None:
    outage = of_trace(Written(rows=ROWS), "site", "s", beyond=beyond)
    log = play(Fifo(), owned(outage), jobs((0.0, 1150.0, 1), (0.0, 1150.0, 1), (0.0, 1150.0, 1), (0.0, 1150.0, 1)))
    frame = log.frame()
    mine = frame[frame["kind"].isin(["NODE_DOWN", "NODE_UP"]) & (frame["subject"] == 0) & (frame["time_s"] <= 1100)]
    assert mine["time_s"].tolist() == expected
    assert mine["kind"].tolist() == (["NODE_DOWN", "NODE_UP"] * 4)[: len(expected)]


def test_a_trace_that_is_over_ends_the_run_where_it_is_to_stop() -> None:
    outage = of_trace(Written(rows=ROWS), "site", "s")
    with pytest.raises(InputError, match="ends at 900 s and the run goes on; set beyond: hold or wrap"):
        play(Fifo(), owned(outage), jobs((0.0, 2000.0, 1)))


def test_links_and_providers_fail_too() -> None:
    link = of_trace(Written(rows=ROWS), "link", "s -> t", beyond="hold")
    rows = play(Fifo(), owned(link, links=(Link("s", "t"),)), jobs((0.0, 1000.0, 1))).array()
    assert rows["time_s"][rows["kind"] == Kind.LINK_DOWN].tolist() == [0.0, 200.0, 800.0]
    everything = of_trace(Written(rows=ROWS), "provider", "owned", begin_s=100.0, beyond="hold")
    rows = play(Fifo(), owned(everything), jobs((60.0, 100.0, 1))).array()
    assert (rows["kind"] == Kind.NODE_DOWN).sum() == 4 * 1  # all four nodes at 0, and the job is over before 200 s


def test_nodes_play_machines_of_the_trace() -> None:
    """As often as machines fail, nodes do: the mean over nodes is the rate times the machines that each plays."""
    rng = np.random.default_rng(7)
    rows = tuple((f"m{i}", float(t), float(t) + 1.0) for i in range(40) for t in rng.uniform(0, 1e6, 3))
    found = of_nodes(Written(rows=rows), "p", 400, population=400, per_node=2, beyond="hold")
    assert {each.name for each in found} <= {f"p/{n}" for n in range(400)}
    fails = sum(int((each.down.values > 0).sum()) for each in found if each.down is not None)
    assert fails == pytest.approx(400 * 2 * 3 * 40 / 400, rel=0.15)  # 240 failures; the draw has a deviation of 26
    assert of_nodes(Written(rows=rows), "p", 9, population=400, seed=1, beyond="hold") != found[:9]
    fleet = owned(*of_nodes(Written(rows=rows), "ps", 2, beyond="hold"))
    assert Fleet(fleet.sites, outages=[list(fleet.outages)]).outages == fleet.outages  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"where": {"entity": "c"}}, "no row with entity = 'c'"),
        ({"where": {"site": "c"}}, "no column 'site'"),
        ({"begin_s": 5e9}, "begin_s is 5,000,000,000, expected 100 to 1,000"),
        ({"repair_s": 0.0}, "repair_s is 0, expected > 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(more: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        of_trace(Written(rows=ROWS), "site", "s", **more)


def test_a_failure_without_an_end_needs_one() -> None:
    endless = Written(rows=(*ROWS, ("z", 1200.0, float("nan"))))
    with pytest.raises(InputError, match="row 6: end_s is missing, give repair_s"):
        of_trace(endless, "site", "s")
    down = of_trace(endless, "site", "s", {"entity": "z"}, begin_s=100.0, repair_s=30.0, beyond="hold").down
    assert down is not None and down.integral(np.array([2000.0]))[0] == 30.0


def test_population_and_kind() -> None:
    with pytest.raises(InputError, match="population is 1, expected at least the 2 failed"):
        of_nodes(Written(rows=ROWS), "p", 2, population=1)
    with pytest.raises(InputError, match="holds availability, expected failures"):
        of_trace(_Other(), "site", "s")
    with pytest.raises(InputError, match="holds failures, expected a kind with time_s"):
        series_of(Written(rows=ROWS), "end_s")


@dataclass(frozen=True)
class _Other(Source):
    kind = "availability"

    def table(self) -> Table:
        columns = {"time_s": np.zeros(1), "place": ["z"], "gpu": [""], "nodes": np.ones(1, np.int64)}
        return checked("availability", columns, "other")


def test_published_failures(shared_traces: Path) -> None:
    """Eight incidents of EC2 in us-east-1 in 2019, 2.5 h on average; and Titan's rate of failures."""
    folder = str(shared_traces)
    where = {"place": "aws:us-east-1", "event": "Amazon Elastic Compute Cloud"}
    down = of_trace(CloudIncidents(folder), "site", "s", where, beyond="hold").down
    assert down is not None and int((np.diff(down.values) > 0).sum()) == 8
    assert down.integral(np.array([down.end_s]))[0] / 3600 == pytest.approx(8 * 2.4896, rel=1e-3)
    assert str(shared_traces) not in repr(down) and "2019_fixed_infra_cloud.parquet" in repr(down)
    titan = Titan(folder)
    nodes = of_nodes(titan, "p", 300, "place", 18688, 8, repair_s=3600.0, beyond="hold")
    fails = sum(int((each.down.values > 0).sum()) for each in nodes if each.down is not None)
    frame = titan.table().frame.sort_values(["place", "start_s"])
    apart = ~(frame.groupby("place")["start_s"].diff() <= 3600.0)  # one that fails while it is down goes on to be down
    assert fails == pytest.approx(apart.sum() * 300 * 8 / 18688, rel=0.1)


def test_a_fleet_is_the_same_wherever_its_traces_lie(shared_traces: Path, tmp_path: Path) -> None:
    """The hash of a fleet depends on what stands in a trace, not on where that is kept."""
    name = "availability/16-node/aws-08-27-2023/us-west-2a_v100_1"
    file = f"spot/skypilot_spot_traces/{name}.json"
    (tmp_path / file).parent.mkdir(parents=True)
    shutil.copy(shared_traces / file, tmp_path / file)
    here, there = (repr(series_of(SpotSkypilot(str(d), trace=name), "nodes")) for d in (shared_traces, tmp_path))
    assert here == there
    text = (tmp_path / file).read_text()
    (tmp_path / file).write_text(text.replace("16", "15", 1))
    assert repr(series_of(SpotSkypilot(str(tmp_path), trace=name), "nodes")) != here


def test_series_leave_out_what_repeats(shared_traces: Path) -> None:
    name = "availability/16-node/aws-08-27-2023/us-west-2a_v100_1"
    source = SpotSkypilot(str(shared_traces), trace=name)
    frame = source.table().frame
    found: Series = series_of(source, "nodes", scale=2.0, beyond="hold")
    assert len(found.values) == 1 + int((np.diff(frame["nodes"]) != 0).sum())
    assert [found.at(t) for t in frame["time_s"][::50]] == (2 * frame["nodes"][::50]).tolist()
    assert found.end_s == frame["time_s"].iloc[-1] + 300.0


def test_spot_history_runs_audits_and_replays(shared_traces: Path, tmp_path: Path) -> None:
    """The shipped experiment on real traces; and a trace that changed since is found by the audit and the replay."""
    files = ("spot", "failures", "carbon/electricitymaps")
    for each in files:
        shutil.copytree(shared_traces / each, tmp_path / "data" / each)
    run = tmp_path / "run"
    said = hcsim(
        "run", "experiment=spot_history", "trace.n=200", f"data_dir={tmp_path / 'data'}", f"hydra.run.dir={run}"
    )
    assert said.status == 0, said
    said = hcsim("audit", run)
    assert said.status == 0 and "audit: holds" in said.out, said
    said = hcsim("replay", run)
    assert said.status == 0, said
    trace = tmp_path / "data/spot/skypilot_spot_traces/availability/16-node/aws-08-27-2023/us-west-2a_v100_1.json"
    trace.write_text(trace.read_text().replace("16", "15", 1))
    for command in ("audit", "replay"):
        said = hcsim(command, run)
        assert said.status == 2 and "fleet 'spot_history'" in said.err and "has changed since the run" in said.err, said
