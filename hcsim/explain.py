"""Why a job is where it is, from the log alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.actions import Verb
from hcsim.constraints import Rule, demands
from hcsim.events import Kind
from hcsim.model import Fleet, InputError, Jobs


def explain(rows: npt.NDArray[Any], jobs: Jobs, fleet: Fleet, job_id: int, left_out: Jobs | None = None) -> list[str]:
    """The story of one job: what barred it from which pools, what was refused, where it was placed, and what it cost.

    Args:
        rows: structured array of a log.
        job_id: the trace's own id of the job.
        left_out: jobs that were left out of the run because no pool could ever hold them.

    Raises:
        InputError: no job has that id.
    """
    found = np.flatnonzero(jobs.id == job_id)
    if left_out is not None and job_id in left_out.id:
        row = int(np.argmax(left_out.id == job_id))
        return [*_allowed(left_out, fleet, row), "  left out of the run: fits no pool"]
    if not len(found):
        ids = jobs.id if left_out is None else np.concatenate([jobs.id, left_out.id])
        note = f" ({jobs.left_out})" if jobs.left_out else ""
        raise InputError(f"no job {job_id} in {jobs.source}, which has ids {ids.min()} to {ids.max()}{note}")
    job = int(found[0])
    lines = _allowed(jobs, fleet, job)
    about_node = {Kind.NODE_DOWN, Kind.NODE_UP, Kind.NODE_OFF, Kind.IDLE, Kind.PROVISIONING, Kind.RELEASING}
    about_none = {Kind.PRICE_CHANGED, Kind.TIMER, Kind.WAKE, Kind.REMEMBERED, Kind.ALL_LEASES_ENDED}
    mine = rows[(rows["subject"] == job) & ~np.isin(rows["kind"], [int(k) for k in about_node | about_none])]
    for row in mine:
        if row["kind"] == Kind.REFUSED and row["node"] in (Verb.PROVISION, Verb.RELEASE):
            continue  # those refusals are about a pool or a node of the same number
        lines.append(f"  {row['time_s']:14.1f} s  {_sentence(row, fleet)}")
    return lines


def _allowed(jobs: Jobs, fleet: Fleet, job: int) -> list[str]:
    """What a job is, and which pools may hold it."""
    lines = [f"job {jobs.id[job]}: {jobs.gpus[job]} GPUs, tenant {jobs.tenants[jobs.tenant[job]]}"]
    for pool, rule in zip(fleet.pools, demands(jobs.take(np.array([job])), fleet).rules[0], strict=True):
        lines.append(f"  pool {pool.name}: " + (f"barred by rule {Rule(rule).name.lower()}" if rule else "allowed"))
    return lines


def _sentence(row: Any, fleet: Fleet) -> str:
    kind, node, value, detail = Kind(int(row["kind"])), int(row["node"]), float(row["value"]), float(row["detail"])
    match kind:
        case Kind.PLACED:
            pool = fleet.pools[fleet.node_pool[node]]
            share = "" if detail == 1000 else f", {detail:.0f}/1000 of each"
            return f"placed on node {node} of {pool.name}, {int(value).bit_count()} GPUs{share}"
        case Kind.REFUSED:
            return f"{Verb(node).name.lower()} refused by rule {Rule(int(value)).name.lower()}"
        case Kind.LOST:
            return f"lost with node {node}; {value:.0f} s of its run must be done again"
        case Kind.PREEMPTED:
            return f"stopped; {value:.0f} s lost"
        case Kind.DRAINING:
            return ("moves on" if detail else "is preempted") + (", writes a checkpoint" if value else "")
        case Kind.TRANSFERRING:
            source, target = fleet.site_names[node], fleet.site_names[int(detail)]
            return f"{value / 1e9:.1f} GB on the way from {source} to {target}"
        case Kind.HELD:
            return f"held until {value:.0f} s"
        case Kind.STAGED | Kind.STAGING:
            return f"{kind.name.lower()} at {fleet.site_names[node]}"
        case _:
            return kind.name.lower()
