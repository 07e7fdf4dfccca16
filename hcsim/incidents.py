"""Outages from traces of failures: of a site, a provider or a link, or of the nodes of a pool.

As parts of a fleet's configuration::

    outages:
      - _target_: hcsim.incidents.of_trace
        scope: provider
        name: aws
        source: {_target_: hcsim.traces.cloud_incidents.CloudIncidents, data_dir: "${data_dir}"}
        where: {place: aws:us-east-1, event: Amazon Elastic Compute Cloud}
        beyond: wrap
      - _target_: hcsim.incidents.of_nodes
        pool: own
        nodes: 12
        source: {_target_: hcsim.traces.titan.Titan, data_dir: "${data_dir}"}
        entity: place
        population: 18688
        per_node: 8
        repair_s: 14400
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nan
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hcsim.errors import require
from hcsim.fleet import Outage
from hcsim.records import Beyond, portable, rows_where
from hcsim.rng import stream, uniform
from hcsim.series import Floats, Series

_WHICH = stream("incident entity")


@dataclass(frozen=True)
class _Events:
    """Failures of a trace, times counted from the beginning of a run; it lasts from ``first_s`` to ``last_s``."""

    entity: npt.NDArray[Any]
    begin_s: Floats
    end_s: Floats
    first_s: float
    last_s: float
    source: str

    def down(self, mine: npt.NDArray[np.bool_], beyond: Beyond, of: str) -> Series:
        """Some of the events as a series: 1 while at least one of them lasts, else 0."""
        order = np.argsort(self.begin_s[mine], kind="stable")
        begins, ends = self.begin_s[mine][order], self.end_s[mine][order]
        until = np.r_[-inf, np.maximum.accumulate(ends)]  # what overlaps or touches is one outage
        opens = np.flatnonzero(begins > until[:-1])
        closes = np.r_[opens[1:], len(begins)] if len(opens) else opens
        steps = np.column_stack((begins[opens], until[closes])).ravel()
        steps = np.r_[self.first_s, np.minimum(steps, self.last_s)]
        value = np.r_[0.0, np.resize((1.0, 0.0), len(steps) - 1)]
        last = np.r_[np.diff(steps) > 0, True]  # of steps at one time the last holds
        return Series(steps[last].tolist(), value[last].tolist(), self.last_s, beyond, f"{of} by {self.source}")


def _events(
    source: Any, where: Mapping[str, Any] | None, entity: str, begin_s: float | None, repair_s: float
) -> _Events:
    table = source.table()
    require(table.kind == "failures", f"{table.source}: holds {table.kind}, expected failures")
    require(repair_s != repair_s or 0 < repair_s < inf, f"{table.source}: repair_s is {repair_s:g}, expected > 0")
    chosen = rows_where(table, where, entity)
    frame = table.frame
    start, end = (frame[name].to_numpy(np.float64) for name in ("start_s", "end_s"))
    unknown = np.isnan(end)
    if repair_s == repair_s:
        end = np.where(unknown, start + repair_s, end)
    else:
        row = table.rows[int(np.argmax(chosen & unknown))]
        require(not (chosen & unknown).any(), f"{table.source}: row {row}: end_s is missing, give repair_s")
    first = float(start.min())
    zero = first if begin_s is None else begin_s
    last = float(np.nanmax(np.r_[start, end]))
    require(first <= zero < last, f"{table.source}: begin_s is {zero:,.0f}, expected {first:,.0f} to {last:,.0f}")
    return _Events(
        frame[entity].to_numpy()[chosen], start[chosen] - zero, end[chosen] - zero, first - zero, last - zero,
        portable(source, table),
    )  # fmt: skip


def of_trace(
    source: Any,
    scope: Literal["node", "site", "provider", "link"],
    name: str,
    where: Mapping[str, Any] | None = None,
    begin_s: float | None = None,
    repair_s: float = nan,
    beyond: Beyond = "stop",
) -> Outage:
    """What a trace of failures says, as one outage: down while at least one of the failures lasts.

    Args:
        source: a source of :mod:`hcsim.traces` of kind ``failures``.
        scope, name: as of :class:`hcsim.fleet.Outage`.
        where: column -> value that rows must have, such as ``{"place": "aws:us-east-1"}``.
        begin_s: the trace's time at which the run begins (default: its first failure, chosen or not).
        repair_s: how long a failure lasts whose end the trace does not say.
        beyond: what holds when the trace is over: ``stop``, ``hold`` (no more failures), ``wrap``.

    Raises:
        InputError: no such column, no row left, no end and no ``repair_s``, a ``begin_s`` outside the trace.
    """
    events = _events(source, where, "entity", begin_s, repair_s)
    return Outage(scope, name, down=events.down(np.ones(len(events.entity), bool), beyond, f"outages of {name}"))


def of_nodes(
    source: Any,
    pool: str,
    nodes: int,
    entity: str = "entity",
    population: int = 0,
    per_node: int = 1,
    where: Mapping[str, Any] | None = None,
    begin_s: float | None = None,
    repair_s: float = nan,
    beyond: Beyond = "stop",
    seed: int = 0,
) -> tuple[Outage, ...]:
    """Failures of a trace's machines as outages of a pool's nodes: each node fails when those that it plays do.

    Args:
        pool, nodes: the pool, and how many nodes it has.
        entity: the column that says which machine failed.
        population: machines that were watched, those without a failure included (default: those with one alone, which
            makes nodes fail too often).
        per_node: machines that a node plays: 8 where they have a GPU each, and the node has 8.
        seed: draws which machines; two nodes may play the same.
        source, where, begin_s, repair_s, beyond: as of :func:`of_trace`.

    Returns:
        An outage for each node that fails at all.

    Raises:
        InputError: as :func:`of_trace`; a population smaller than the machines that failed.
    """
    events = _events(source, where, entity, begin_s, repair_s)
    failed = np.unique(events.entity)
    count = population or len(failed)
    require(count >= len(failed), f"{events.source}: population is {count}, expected at least the {len(failed)} failed")
    require(nodes > 0 and per_node > 0, f"outages of pool {pool}: nodes {nodes}, per_node {per_node}, expected > 0")
    found = []
    for node in range(nodes):
        drawn = [int(uniform(seed, _WHICH, node, k) * count) for k in range(per_node)]
        mine = np.isin(events.entity, failed[[i for i in drawn if i < len(failed)]])
        if mine.any():
            name = f"{pool}/{node}"
            found.append(Outage("node", name, down=events.down(mine, beyond, f"failures of {name}")))
    return tuple(found)
