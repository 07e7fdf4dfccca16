"""A run as a timeline for Perfetto (https://ui.perfetto.dev) or chrome://tracing, in the Trace Event Format.

Nodes are processes and their GPUs threads. The format is described in Google's "Trace Event Format" (2016): an object
with ``traceEvents``, of which ``X`` are slices with ``ts`` and ``dur`` in microseconds, ``i`` instants, ``C`` counters
and ``M`` names. Slices of one thread must not cross, so what overlaps on a GPU (shares, a claim while another job
drains) is on threads of its own beside it. Perfetto's importer finds a thread's name by its id alone, and takes 0 for
the idle thread and the process's id for its main thread: ids of threads are all different, and none of these.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.events import NAMES, Kind
from hcsim.metrics import timeline
from hcsim.model import Fleet, InputError, Jobs
from hcsim.spells import Rows, claims, of_kinds, spells

if TYPE_CHECKING:
    from io import TextIOBase

Event = dict[str, Any]
FLEET = 1  # the process of what belongs to no node; 0 is the idle process to Perfetto
LANES = 1024  # threads of a GPU; a share is at least a thousandth
MOST_S = 9e9  # Perfetto counts nanoseconds in 63 bits


def write_trace(rows: Rows, jobs: Jobs, fleet: Fleet, path: Path, about: dict[str, Any] | None = None) -> int:
    """Write a run's log as a trace, gzipped where the name ends in ``.gz``, and return the number of its events.

    Args:
        rows: structured array of a log.
        about: what to say of the run (strategy, seed, ...), kept under ``otherData``.

    Raises:
        InputError: the run is longer than a trace can be, or ``path`` does not end in ``.json`` or ``.json.gz``.
    """
    from hcsim.experiment import write_atomically

    if not path.name.endswith((".json", ".json.gz")):
        raise InputError(f"{path}: expected a name that ends in .json or .json.gz")
    count = 0

    def write(file: TextIOBase) -> None:
        nonlocal count
        file.write('{"displayTimeUnit":"ms","otherData":' + json.dumps(about or {}) + ',"traceEvents":[\n')
        for event in trace_events(rows, jobs, fleet):
            file.write(",\n" * bool(count) + json.dumps(event, separators=(",", ":")))
            count += 1
        file.write("\n]}\n")

    def opened(partial: Path) -> None:
        if path.suffix == ".gz":
            with gzip.open(partial, "wt", encoding="utf-8") as file:
                write(file)
        else:
            with partial.open("w", encoding="utf-8") as file:
                write(file)

    write_atomically(path, opened)
    return count


def trace_events(rows: Rows, jobs: Jobs, fleet: Fleet) -> Iterator[Event]:
    """The events of a log: names, then the slices of GPUs and nodes, then instants and counters.

    A spell on a GPU is up to three slices, of category ``starting`` (claimed, not started), ``running`` and
    ``draining``.

    Raises:
        InputError: the run is longer than a trace can be.
    """
    if len(rows) and rows["time_s"][-1] > MOST_S:
        raise InputError(
            f"a run of {rows['time_s'][-1]:g} s, expected at most {MOST_S:g} s: a trace counts nanoseconds"
        )
    slices = list(chain(_gpu_slices(rows, jobs, fleet), _node_slices(rows, fleet)))
    yield from _names(fleet, {(each["pid"], each["tid"]) for each in slices})
    yield from slices
    yield from _instants(rows, jobs, fleet)
    yield from _counters(rows, jobs, fleet)


_SLOTS = 17  # a node has at most 16 GPUs; before them stands the node itself


def _thread(node: int, gpu: int = -1, lane: int = 0) -> dict[str, int]:
    """Process and thread of a GPU of a node, or of the node itself."""
    pid = node + FLEET + 1
    return {"pid": pid, "tid": (pid * _SLOTS + gpu + 1) * LANES + lane}


def _us(time_s: Any) -> Any:
    """Whole microseconds, so that slices that touch still do after rounding."""
    return np.rint(np.asarray(time_s, np.float64) * 1e6).astype(np.int64)


def _gpu_slices(rows: Rows, jobs: Jobs, fleet: Fleet) -> Iterator[Event]:
    held = spells(rows, fleet)
    spell, node, mask, milli = claims(rows)
    part, gpu = np.nonzero(mask[:, None] >> np.arange(16) & 1)
    spell, node, milli = spell[part], node[part], milli[part]
    started_s = np.where(np.isnan(held.started_s), held.stopped_s, held.started_s)
    edges = np.stack([_us(each) for each in (held.placed_s, started_s, held.stopped_s, held.released_s)], axis=1)
    order = np.lexsort((edges[spell, 0], gpu, node))
    lane = _lanes(node[order], gpu[order], edges[spell[order], 0], edges[spell[order], 3])
    pools, tenants, ids = [pool.name for pool in fleet.pools], jobs.tenants, jobs.id.tolist()
    told: dict[int, Event] = {}  # one object for all slices of a spell
    for at, its_lane in zip(order.tolist(), lane, strict=True):
        s = int(spell[at])
        job = int(held.job[s])
        if s not in told:
            told[s] = {
                "job": ids[job],
                "tenant": tenants[jobs.tenant[job]],
                "pool": pools[held.pool[s]],
                "gpus": float(held.gpus[s]),
                "gpu_share": float(milli[at]) / 1000.0,
                "ended": NAMES.get(int(held.how[s]), "at the end of the run").lower(),
            }
        where = _thread(int(node[at]), int(gpu[at]), its_lane)
        times = edges[s].tolist()
        for i, (phase, name) in enumerate((("starting", " starting"), ("running", ""), ("draining", " draining"))):
            if times[i + 1] > times[i]:
                head = {"name": f"job {ids[job]}{name}", "cat": phase, "ph": "X"}
                yield head | {"ts": times[i], "dur": times[i + 1] - times[i]} | where | {"args": told[s]}


def _lanes(node: npt.NDArray[Any], gpu: npt.NDArray[Any], start: npt.NDArray[Any], end: npt.NDArray[Any]) -> list[int]:
    """For slices in order of GPU and start: the first lane of that GPU on which nothing runs any more."""
    lanes = []
    now: tuple[int, int] | None = None
    free: list[int] = []  # of each lane, when it comes free
    for n, g, begin, stop in zip(node.tolist(), gpu.tolist(), start.tolist(), end.tolist(), strict=True):
        if (n, g) != now:
            now, free = (n, g), []
        lane = next((i for i, until in enumerate(free) if until <= begin), len(free))
        if lane == len(free):
            free.append(stop)
        free[lane] = stop
        lanes.append(lane)
    return lanes


#: Event -> what a node is from then on.
_STATES = {Kind.PROVISIONING: "booting", Kind.NODE_UP: "up", Kind.NODE_DOWN: "down", Kind.NODE_OFF: "off"}


def _node_slices(rows: Rows, fleet: Fleet) -> Iterator[Event]:
    """When a rented node booted and was up, and when any node was down."""
    end = int(_us(rows["time_s"][-1])) if len(rows) else 0
    mine = of_kinds(rows, *_STATES)
    mine = mine[np.argsort(mine["subject"], kind="stable")]
    changes = list(zip(mine["subject"].tolist(), _us(mine["time_s"]).tolist(), mine["kind"].tolist(), strict=True))
    for (node, start, kind), (after, until, _) in pairwise([*changes, (-1, end, 0)]):
        state = _STATES[Kind(kind)]
        stop = until if after == node else end
        if state == "off" or (state == "up" and not fleet.pools[fleet.node_pool[node]].elastic) or stop <= start:
            continue
        yield {"name": state, "cat": "node", "ph": "X", "ts": start, "dur": stop - start} | _thread(node)


def _names(fleet: Fleet, used: set[tuple[int, int]]) -> Iterator[Event]:
    """Names of processes and threads, and their order."""

    def meta(what: str, pid: int, tid: int = 0, **args: Any) -> Event:
        return {"name": what, "ph": "M", "pid": pid, "tid": tid or pid, "args": args}

    yield meta("process_name", FLEET, name=f"fleet {fleet.name}")
    yield meta("process_sort_index", FLEET, sort_index=-1)
    for pid in sorted({pid for pid, _ in used}):
        node = pid - FLEET - 1
        pool, site = fleet.pools[fleet.node_pool[node]], fleet.sites[fleet.pool_site[fleet.node_pool[node]]]
        yield meta("process_name", pid, name=f"{pool.name} node {node}")
        yield meta("process_labels", pid, labels=f"{site.name}, {pool.gpus_per_node} {pool.gpu}, {pool.market}")
        yield meta("process_sort_index", pid, sort_index=node)
    for pid, tid in sorted(used):
        gpu, lane = tid // LANES % _SLOTS - 1, tid % LANES
        name = "node" if gpu < 0 else f"GPU {gpu}" + f", beside ({lane + 1})" * bool(lane)
        yield meta("thread_name", pid, tid, name=name)
        yield meta("thread_sort_index", pid, tid, sort_index=tid)


def _instants(rows: Rows, jobs: Jobs, fleet: Fleet) -> Iterator[Event]:
    """Jobs lost with their node, jobs rejected, and changes of prices."""
    mine = of_kinds(rows, Kind.LOST, Kind.REJECTED, Kind.PRICE_CHANGED)
    for row, ts in zip(mine, _us(mine["time_s"]).tolist(), strict=True):
        subject, value = int(row["subject"]), float(row["value"])
        at = {"ph": "i", "ts": ts, "pid": FLEET, "tid": FLEET, "s": "p"}
        if row["kind"] == Kind.PRICE_CHANGED:
            text = {"name": f"{fleet.pools[subject].name} {value:g} USD per GPU-hour", "cat": "price"}
        elif row["kind"] == Kind.REJECTED:
            text = {"name": f"job {jobs.id[subject]} rejected", "cat": "rejected"}
        else:
            at |= _thread(int(row["node"]))
            text = {"name": f"job {jobs.id[subject]} lost, {value:.0f} s to do again", "cat": "lost"}
        yield text | at


def _counters(rows: Rows, jobs: Jobs, fleet: Fleet) -> Iterator[Event]:
    """GPUs held by site, and what waits, as :func:`hcsim.metrics.timeline` has them."""
    frame = timeline(rows, jobs, fleet)
    wide = frame.pivot(index="time_s", columns="site", values="gpus_held") if len(rows) else frame.head(0)
    wide = wide[[site.name for site in fleet.sites if site.name in wide]]
    waiting = frame.drop_duplicates("time_s").set_index("time_s")[["waiting_jobs", "waiting_gpus"]]
    for ts, held, queue in zip(
        _us(wide.index.to_numpy(np.float64)).tolist(),
        wide.to_dict("records"),
        waiting.to_dict("records") if len(rows) else [],
        strict=True,
    ):
        at = {"ph": "C", "ts": ts, "pid": FLEET, "tid": FLEET}
        yield {"name": "GPUs held", "args": held} | at
        yield {"name": "GPUs waited for", "args": {"gpus": queue["waiting_gpus"]}} | at
        yield {"name": "jobs waiting", "args": {"jobs": queue["waiting_jobs"]}} | at
