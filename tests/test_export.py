"""A run as a trace: what the Trace Event Format asks for, and that the slices add up to what metrics say."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hcsim import Experiment, Fleet, InputError, Jobs
from hcsim.estimators import Oracle
from hcsim.events import Kind
from hcsim.experiment import Result
from hcsim.export import MOST_S, trace_events, write_trace
from hcsim.strategies.cheapest_fit import CheapestFit
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategies.las import Las
from hcsim.strategies.srtf import Srtf
from hcsim.traces.twin import Twin
from tests.shell import hcsim
from tests.worlds import hybrid, jobs, owned

#: Phase -> the fields that the format asks for beside ``ph``, with their types.
FIELDS: dict[str, dict[str, Any]] = {
    "X": {"name": str, "cat": str, "ts": int, "dur": int, "pid": int, "tid": int},
    "i": {"name": str, "cat": str, "ts": int, "pid": int, "tid": int, "s": str},
    "C": {"name": str, "ts": int, "pid": int, "args": dict},
    "M": {"name": str, "pid": int, "args": dict},
}
META = {"process_name": "name", "process_labels": "labels", "process_sort_index": "sort_index"}
META |= {"thread_name": "name", "thread_sort_index": "sort_index"}


def checked(events: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """Slices by thread, after all that the format asks of events has been seen to hold."""
    threads = defaultdict(list)
    for event in events:
        for name, kind in FIELDS[event["ph"]].items():
            assert type(event[name]) is kind, event
        if event["ph"] == "M":
            assert set(event["args"]) == {META[event["name"]]}
        elif event["ph"] == "C":
            assert all(isinstance(value, float) and np.isfinite(value) for value in event["args"].values())
        elif event["ph"] == "i":
            assert event["s"] in ("g", "p", "t")
        else:
            assert event["dur"] > 0 and event["ts"] >= 0
            threads[event["pid"], event["tid"]].append(event)
    named = {kind: {(e["pid"], e["tid"]) for e in events if e["name"] == kind} for kind in META}
    assert set(threads) <= named["thread_name"] and {pid for pid, _ in threads} <= {p for p, _ in named["process_name"]}
    tids = [tid for _, tid in named["thread_name"]]  # what Perfetto's importer makes of ids
    assert len(set(tids)) == len(tids) and not {0, *(event["pid"] for event in events)} & set(tids)
    assert all(0 < event["tid"] < 2**32 for event in events)
    for slices in threads.values():  # slices of one thread nest or are apart; ours are apart
        slices.sort(key=lambda each: each["ts"])
        assert all(a["ts"] + a["dur"] <= b["ts"] for a, b in pairwise(slices))
    return threads


def seconds(events: list[dict[str, Any]]) -> pd.DataFrame:
    """GPU-seconds of each job by phase, whole shares."""
    rows = [
        {"id": e["args"]["job"], "phase": e["cat"], "gpu_s": e["dur"] / 1e6 * e["args"]["gpu_share"]}
        for e in events
        if e["ph"] == "X" and e["cat"] != "node"
    ]
    return pd.DataFrame(rows).groupby(["id", "phase"])["gpu_s"].sum().unstack(fill_value=0.0)


PLAIN = {"residency_share": 0.0, "dataset_share": 0.0}
WORLDS: dict[str, tuple[Fleet, Any, Any]] = {
    "first fit": (owned(3), Twin(n=300, gpus=24, load=1.1, max_gang=16, attributes=PLAIN), FirstFit()),
    "preemptions": (owned(3), Twin(n=300, gpus=24, load=1.3, max_gang=16, attributes=PLAIN), Las()),
    "preempted by length": (owned(3), Twin(n=200, gpus=24, load=1.3, max_gang=16, attributes=PLAIN), Srtf()),
    "rented": (hybrid(2, 6), Twin(n=200, gpus=16, load=1.2, max_gang=8, attributes=PLAIN), CheapestFit()),
    "failures": (owned(3, mtbf_s=40_000.0, repair_s=900.0), Twin(n=300, gpus=24, max_gang=16, attributes=PLAIN), Las()),
    "shared GPUs": (
        owned(1, 2),
        jobs(*[(float(i), 50.0 + 7 * i, 1) for i in range(30)], gpu_milli=[250 + 50 * (i % 4) for i in range(30)]),
        FirstFit(),
    ),
}


@pytest.fixture(scope="module", params=WORLDS)
def result(request: pytest.FixtureRequest) -> Result:
    fleet, trace, strategy = WORLDS[request.param]
    return Experiment(fleet, trace, strategy, Oracle(), seed=4).run()


def test_the_format_is_kept_and_gpu_seconds_add_up(result: Result) -> None:
    """Of each job, all phases together, what the job table has; running alone, GPUs × run time."""
    events = list(trace_events(result.log.array(), result.jobs, result.fleet))
    threads = checked(events)
    assert len(threads) > 1
    got, table = seconds(events), result.table.set_index("id")
    held = table[table["gpu_s"] > 0]
    assert set(got.index) == set(held.index)
    assert got.sum(axis=1).to_dict() == pytest.approx(held["gpu_s"].to_dict(), rel=1e-6, abs=1e-3)
    ran = held["run_s"] * held["gpus"]
    assert got["running"].to_dict() == pytest.approx(ran.to_dict(), rel=1e-6, abs=1e-3)


def test_jobs_that_shrink_are_drawn_with_what_they_hold() -> None:
    n, rng = 60, np.random.default_rng(3)
    gpus = rng.integers(1, 25, n)
    elastic = Jobs.build(
        arrival_s=np.sort(rng.uniform(0, 40_000, n)),
        duration_s=rng.uniform(500, 6000, n),
        gpus=gpus,
        min_gpus=np.maximum(gpus // 4, 1),
        max_gpus=gpus,
        checkpoint_interval_s=np.full(n, 600.0),
        restart_s=np.full(n, 20.0),
    )
    fleet = owned(3, mtbf_s=15_000.0, repair_s=600.0)
    result = Experiment(fleet, elastic, FirstFit(), Oracle(), seed=4).run()
    rows = result.log.array()
    assert (rows["kind"] == Kind.SHRUNK).sum() > 5
    events = list(trace_events(rows, result.jobs, result.fleet))
    checked(events)
    held = result.table.set_index("id")["gpu_s"]
    assert seconds(events).sum(axis=1).to_dict() == pytest.approx(held[held > 0].to_dict(), rel=1e-6, abs=1e-3)


def test_what_happens_beside_is_there(result: Result, request: pytest.FixtureRequest) -> None:
    events = list(trace_events(result.log.array(), result.jobs, result.fleet))
    summary, kinds = result.summary, result.log.frame()["kind"].value_counts()
    ended = [e["args"]["ended"] for e in events if e["ph"] == "X" and e["cat"] == "running"]
    lost = [e for e in events if e.get("cat") == "lost"]
    assert len(lost) == kinds.get("LOST", 0)
    states = [e["name"] for e in events if e.get("cat") == "node"]
    assert states.count("down") == len([1 for e in result.log.frame()["kind"] if e == "NODE_DOWN"])
    name = request.node.callspec.id
    if name == "failures":
        assert lost and "lost" in ended and states
    if name.startswith("preempt"):
        assert summary["preemptions"] and "preempted" in ended
    if name == "rented":
        assert states.count("up") == kinds["NODE_UP"]
    if name == "shared GPUs":
        assert any("beside" in e["args"].get("name", "") for e in events if e["name"] == "thread_name")
    counters = pd.DataFrame([e["args"] for e in events if e["name"] == "GPUs held"])
    assert list(counters) == [site.name for site in result.fleet.sites] and counters.to_numpy().max() > 0


def test_a_price_and_a_rejection_are_instants() -> None:
    from hcsim.events import Kind
    from hcsim.log import Log

    log = Log()
    log.rows += [(5.0, int(Kind.PRICE_CHANGED), 0, -1, 2.5, 0.0), (9.0, int(Kind.REJECTED), 1, -1, 3.0, 0.0)]
    work = jobs((0, 10, 1), (0, 10, 1))
    got = [e for e in trace_events(log.array(), work, owned(1)) if e["ph"] == "i"]
    assert [(e["ts"], e["name"]) for e in got] == [
        (5_000_000, "own 2.5 USD per GPU-hour"),
        (9_000_000, f"job {work.id[1]} rejected"),
    ]


def test_a_run_of_centuries_is_no_trace() -> None:
    work = Jobs.build(arrival_s=[0.0], duration_s=[2 * MOST_S], gpus=[1])
    result = Experiment(owned(1), work, FirstFit()).run()
    with pytest.raises(InputError, match="expected at most 9e"):
        list(trace_events(result.log.array(), result.jobs, result.fleet))


def test_the_command(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert hcsim("run", "trace.n=60", "seed=2", "strategy=las", f"hydra.run.dir={run}").status == 0
    said = hcsim("export", run, tmp_path / "a.json")
    assert said.status == 0 and "ui.perfetto.dev" in said.out
    page = json.loads((tmp_path / "a.json").read_text())
    checked(page["traceEvents"])
    assert page["displayTimeUnit"] == "ms" and page["otherData"]["strategy"] == "las"
    assert f"{len(page['traceEvents']):,} events" in said.out
    assert hcsim("export", run, tmp_path / "a.json.gz").status == 0
    assert json.loads(gzip.decompress((tmp_path / "a.json.gz").read_bytes())) == page
    summary = json.loads((run / "summary.json").read_text())
    for args, text in (
        ((run, tmp_path / "a.txt"), "a.txt: expected a name that ends in .json or .json.gz"),
        ((tmp_path, tmp_path / "b.json"), f"{tmp_path}: not a run folder"),
        ((run, tmp_path / "none" / "b.json"), "none/b.json"),
    ):
        said = hcsim("export", *args)
        assert said.status == 2 and text in said.err and said.err.count("\n") == 1, said.err
    (run / "summary.json").write_text(json.dumps(summary | {"jobs_sha256": "other"}))
    said = hcsim("export", run, tmp_path / "b.json")
    assert said.status == 2 and "the jobs of twin" in said.err and "has changed since the run" in said.err
    assert {path.name for path in tmp_path.iterdir()} == {"run", "a.json", "a.json.gz"}


def test_an_empty_log_is_a_trace(tmp_path: Path) -> None:
    from hcsim.log import Log

    assert write_trace(Log().array(), jobs((0, 10, 1)), owned(1), tmp_path / "a.json") > 0
    checked(json.loads((tmp_path / "a.json").read_text())["traceEvents"])
