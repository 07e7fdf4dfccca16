"""Series from traces: what stands in the files, where it is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hcsim import Fleet, InputError, NodePool, Series, Site
from hcsim.events import Kind
from hcsim.records import of_trace
from hcsim.strategies.fifo import Fifo
from hcsim.traces.carbon_electricitymaps import CarbonElectricitymaps
from hcsim.traces.spot_skypilot import SpotSkypilot
from tests.worlds import jobs, play

TRACE = "availability/1-node/aws-02-15-2023/us-west-2b_v100_1"


def test_an_availability_trace_drives_a_spot_pool(shared_traces: Path) -> None:
    """At each tick the node is there if the probe found one; a job runs as long as it finds nodes for its work."""
    known = json.loads((shared_traces / "spot/skypilot_spot_traces" / f"{TRACE}.json").read_text())
    gap_s, data = known["metadata"]["gap_seconds"], known["data"]
    stock = of_trace(SpotSkypilot(data_dir=str(shared_traces), trace=TRACE), "nodes", beyond="hold")
    assert [stock.at(gap_s * i) for i in range(0, len(data), 97)] == data[::97]
    assert stock.integral(np.array([gap_s * len(data)]))[0] == pytest.approx(gap_s * sum(data))
    pool = NodePool("spot", "A100", 1, 1, 1.0, "spot", stock=stock, idle_release_s=1e9)
    work_s = 0.5 * gap_s * sum(data)
    rows = play(Fifo(), Fleet((Site("s", (pool,)),)), jobs((0.0, work_s, 1), checkpoint_interval_s=[gap_s])).array()
    done_s = float(rows["time_s"][rows["kind"] == Kind.FINISHED][0])
    ran_s = float(stock.integral(np.array([done_s]))[0])
    assert ran_s == pytest.approx(work_s)  # no second of a node is lost: each has its notice
    assert (rows["kind"] == Kind.LOST).sum() > 5


def test_carbon_of_a_zone_by_the_hour(shared_traces: Path) -> None:
    source = CarbonElectricitymaps(str(shared_traces), zone="NO")
    carbon = of_trace(source, "g_per_kwh", {"place": "NO"}, beyond="wrap")
    hours = source.table().frame["g_per_kwh"].to_list()
    assert len(hours) == 8760 and [carbon.at(3600.0 * i) for i in range(8760)] == hours
    assert carbon.end_s == 8760 * 3600.0
    assert carbon.at(8760 * 3600.0 + 10.0) == carbon.at(10.0)


@pytest.mark.parametrize(
    ("column", "where", "per", "said"),
    [
        ("node", {}, "", "no column 'node'; did you mean 'nodes'?"),
        (
            "nodes",
            {"place": "aws:us-west-2"},
            "",
            "no row with place = 'aws:us-west-2'; did you mean 'aws:us-west-2b'?",
        ),
        ("nodes", {}, "gpu", "column 'gpu' holds something else than numbers"),
    ],
)
def test_what_is_not_in_a_trace(shared_traces: Path, column: str, where: dict[str, str], per: str, said: str) -> None:
    source = SpotSkypilot(data_dir=str(shared_traces), trace=TRACE)
    with pytest.raises(InputError, match=said):
        of_trace(source, column, where, per)


def test_a_count_per_another_column(shared_traces: Path) -> None:
    source = SpotSkypilot(data_dir=str(shared_traces), trace=TRACE)
    found: Series = of_trace(source, "nodes", per="gpus")
    assert found.values.tolist() == of_trace(source, "nodes").values.tolist()  # one GPU each
