"""One columnar schema per kind of trace. Every source is checked against its kind's where it enters.

Columns are named with their units. A column marked *optional* is there only if the source says it; a cell marked *may
be missing* is NaN (numbers) or an empty string (text). Times called ``time_s`` are seconds since 1970-01-01 UTC; those
called ``arrival_s`` or ``start_s`` count from the first event of the source unless its docstring says otherwise.
``gpu`` and ``gpu_type`` are names of :mod:`hcsim.traces._gpus` (``H100``, ``A100-40GB``), empty for none. Where
``place``, ``source`` or ``target`` is a cloud's region or zone it is ``provider:code`` of :mod:`hcsim.traces._places`
with ``aws``, ``azure`` or ``gcp`` for the large three (``aws:us-east-1``), the provider alone where no region is said.

``jobs``
    ``id`` row number in the source (int64, unique); ``arrival_s``; ``duration_s``; ``gpus`` gang size (int64, at least
    1; processors in logs without GPUs). Optional: ``gpu_milli`` (1 to 1000 of one GPU), ``cpus``, ``ram_bytes``,
    ``gpu_memory_bytes``, ``gpu_type`` (names joined by ``|``, empty: any), ``tenant``, ``model``, ``batch``,
    ``deadline_s``, ``user_estimate_s``, ``iterations``, ``status``.
``demands``
    What jobs ask for, without times, so that they can be packed but not replayed: ``gpus`` (int64, may be 0),
    ``gpu_milli`` (0 to 1000 of each GPU), ``cpus``, ``ram_bytes``; optional ``gpu_type`` as of jobs.
``requests``
    ``arrival_s`` (may be missing: lengths only); ``prompt_tokens``, ``output_tokens`` (int64; 0 for image models).
    Optional: ``service_s``, ``model``, ``client``, ``hash_ids`` (list of int64, one per prefix block).
``submissions``
    Jobs without run times, for models of goodput: ``arrival_s``, ``model``, ``gpus`` asked for, ``batch``.
``load``
    Occupancy over time: ``time_s``, ``place``, ``gpus`` in use (may be missing); optional ``capacity_gpus``, ``nodes``
    in use, ``capacity_nodes``, ``running_jobs``, ``pending_jobs``, ``rate_per_s``.
``summaries``
    Published figures of a whole cluster, to calibrate against: ``entity``, ``metric``, ``value``, ``unit``.
``availability``
    Spot capacity: ``time_s``, ``place``, ``gpu``, ``nodes`` that could be had or were there (int64) from then on.
    Optional, of one node: ``gpus`` (0: a CPU machine; may be missing), ``usd_per_h`` (may be missing).
``prices``
    ``time_s`` (may be missing: undated catalogue), ``provider``, ``place``, ``instance``, ``gpu``, ``gpus``,
    ``market`` (on_demand, spot, reserved), ``usd_per_h`` of the whole instance. Optional: ``term`` of a reservation, in
    the provider's words (empty: none).
``advice``
    What a provider says of spot capacity: ``place``, ``instance``, ``saving_share`` below on demand,
    ``interruption_share`` (upper end of the published band, per month). Optional, of the instance: ``gpu``, ``gpus``,
    ``cpus``, ``ram_bytes``.
``links``
    ``source``, ``target``; ``bytes_per_s``, ``rtt_s``, ``usd_per_gb`` (each may be missing). 1 GB is 1e9 bytes.
    Optional: ``source_tier``, ``target_tier`` (the network tier of each end, ``premium`` or ``standard``).
``carbon``
    ``place``, ``time_s``, ``g_per_kwh`` (may be missing, where only the others are known); optional ``estimated``
    (bool), ``pue``, ``carbon_free_share``.
``failures``
    A row is one event at which an entity stopped working: ``entity``, ``start_s`` when it failed, ``end_s`` when it
    worked again (may be missing: it never did, or not yet), ``event`` what it was; optional ``place``, ``severity``
    (share of the service that was down, 0 to 1).
``lifetimes``
    A row is one stretch in which an entity was in service: ``entity``, ``start_s`` (may be missing: not known),
    ``end_s`` when it was taken out (may be missing: it was still there when the observation ended), ``observed_s`` how
    long it was seen in service, ``event`` the failure that ended it (empty: none); optional ``place``.
``profiles``
    Measured speed: ``model``, ``gpu``, ``gpus``, ``setting`` (what else was fixed, in words), ``metric``, ``value``,
    ``unit``.
``metrics``
    What a service measured of itself over time: ``time_s``, ``entity`` (a container or host; empty: the service),
    ``metric``, ``value``, ``unit``.
``nodes``
    Machines: ``gpu``, ``gpus``, ``cpus``, ``ram_bytes`` (may be missing), ``nodes`` how many like it; optional
    ``place`` (a partition or a cloud) and ``instance`` (what the cloud calls it).
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from hcsim.model import JOB_COLUMNS, JOB_LIMITS

KINDS = (
    "jobs",
    "demands",
    "requests",
    "submissions",
    "load",
    "summaries",
    "availability",
    "prices",
    "advice",
    "links",
    "carbon",
    "failures",
    "lifetimes",
    "profiles",
    "metrics",
    "nodes",
)
MARKETS = ("on_demand", "spot", "reserved")
TIERS = ("premium", "standard")


def _once(ids: Any) -> Any:
    """Which ids are not those of an earlier row; an ascending column is seen to be so without a table of them."""
    return ids.notna() if ids.is_monotonic_increasing and not ids.diff().eq(0).any() else ~ids.duplicated()


@cache
def schema(kind: str) -> Any:
    """The pandera schema of a kind."""
    import numpy as np
    from pandera.pandas import Check, Column, DataFrameSchema

    # NaN passes each of these; whether it may be there is the column's nullable. pandera's own would first take copies
    # of a column without it, which costs more than all checks
    def at_least(lowest: float, error: str) -> Check:
        return Check(lambda s: ~(s < lowest), error=error, ignore_na=False)

    def at_most(highest: float, error: str) -> Check:
        return Check(lambda s: ~(s > highest), error=error, ignore_na=False)

    finite = Check(lambda s: ~np.isinf(s), error="a finite number", ignore_na=False)
    least = at_least(0, "0 or more")

    def number(*checks: Check, nullable: bool = False, required: bool = True) -> Column:
        return Column("float64", [finite, *checks], nullable=nullable, required=required)

    def whole(lowest: int = 0, highest: int | None = None, required: bool = True) -> Column:
        checks = [at_least(lowest, f"at least {lowest}")]
        if highest is not None:
            checks.append(at_most(highest, f"at most {highest}"))
        return Column("int64", checks, required=required)

    def text(required: bool = True, among: tuple[str, ...] = ()) -> Column:
        return Column(
            "str", [Check.isin(among, error=f"one of {', '.join(among)}")] if among else [], required=required
        )

    def option(column: Column) -> Column:
        column.required = False
        return column

    def of_job(name: str, required: bool = False, nullable: bool = False) -> Column:
        lowest, most = JOB_LIMITS[name]
        if JOB_COLUMNS[name][0] is not np.float64:
            return whole(int(lowest), int(most), required)
        above = at_most(most, f"at most {most:g}" if most < sys.float_info.max else "a finite number")
        checks = [at_least(lowest, f"{lowest:g} or more"), above]
        return Column("float64", checks, required=required, nullable=nullable)

    def whole_gangs(frame: Any) -> Any:
        return (frame["gpus"] <= 1) | (frame["gpu_milli"] >= 1000) if "gpu_milli" in frame else frame["gpus"].notna()

    # said of the column that it begins with
    wide = {"jobs": Check(whole_gangs, error="gpu_milli: 1000 for a gang of several GPUs", ignore_na=False)}
    seconds = number(least)
    columns: dict[str, dict[str, Column]] = {
        "jobs": {
            "id": Column("int64", Check(_once, error="an id of its own", ignore_na=False)),
            **{name: of_job(name, required=True) for name in ("arrival_s", "duration_s", "gpus")},
            **{name: of_job(name) for name in ("gpu_milli", "cpus", "ram_bytes", "gpu_memory_bytes")},
            "gpu_type": text(required=False),
            "tenant": text(required=False),
            "model": text(required=False),
            "batch": whole(0, required=False),
            "deadline_s": number(least, nullable=True, required=False),
            "user_estimate_s": of_job("user_estimate_s", nullable=True),
            "iterations": option(number(least)),
            "status": text(required=False),
        },
        "demands": {
            "gpus": whole(),
            "gpu_milli": whole(0, 1000),
            "cpus": seconds,
            "ram_bytes": seconds,
            "gpu_type": text(required=False),
        },
        "requests": {
            "arrival_s": number(least, nullable=True),
            "prompt_tokens": whole(),
            "output_tokens": whole(),
            "service_s": number(least, nullable=True, required=False),
            "model": text(required=False),
            "client": text(required=False),
            "hash_ids": Column(required=False),
        },
        "submissions": {"arrival_s": seconds, "model": text(), "gpus": whole(1), "batch": whole(1)},
        "load": {
            "time_s": number(),
            "place": text(),
            "gpus": number(least, nullable=True),
            "capacity_gpus": option(number(least)),
            "nodes": option(number(least)),
            "capacity_nodes": option(number(least)),
            "running_jobs": option(number(least)),
            "pending_jobs": option(number(least)),
            "rate_per_s": option(number(least)),
        },
        "summaries": {"entity": text(), "metric": text(), "value": number(), "unit": text()},
        "availability": {
            "time_s": number(),
            "place": text(),
            "gpu": text(),
            "nodes": whole(),
            "gpus": number(least, nullable=True, required=False),
            "usd_per_h": number(least, nullable=True, required=False),
        },
        "prices": {
            "time_s": number(nullable=True),
            "provider": text(),
            "place": text(),
            "instance": text(),
            "gpu": text(),
            "gpus": seconds,
            "market": text(among=MARKETS),
            "usd_per_h": number(least),
            "term": text(required=False),
        },
        "advice": {
            "place": text(),
            "instance": text(),
            "saving_share": number(at_most(1, "at most 1")),  # below 0 where spot is dearer
            "interruption_share": number(least, at_most(1, "at most 1")),
            "gpu": text(required=False),
            "gpus": option(number(least)),
            "cpus": option(number(least)),
            "ram_bytes": option(number(least)),
        },
        "links": {
            "source": text(),
            "target": text(),
            "bytes_per_s": number(least, nullable=True),
            "rtt_s": number(least, nullable=True),
            "usd_per_gb": number(least, nullable=True),
            "source_tier": text(required=False, among=TIERS),
            "target_tier": text(required=False, among=TIERS),
        },
        "carbon": {
            "place": text(),
            "time_s": number(),
            "g_per_kwh": number(least, nullable=True),
            "estimated": Column("bool", required=False),
            "pue": number(at_least(1, "at least 1"), nullable=True, required=False),
            "carbon_free_share": number(least, at_most(1, "at most 1"), nullable=True, required=False),
        },
        "failures": {
            "entity": text(),
            "start_s": number(),
            "end_s": number(nullable=True),
            "event": text(),
            "place": text(required=False),
            "severity": number(least, at_most(1, "at most 1"), required=False),
        },
        "lifetimes": {
            "entity": text(),
            "start_s": number(nullable=True),
            "end_s": number(nullable=True),
            "observed_s": seconds,
            "event": text(),
            "place": text(required=False),
        },
        "profiles": {
            "model": text(),
            "gpu": text(),
            "gpus": seconds,
            "setting": text(),
            "metric": text(),
            "value": number(),
            "unit": text(),
        },
        "metrics": {"time_s": number(), "entity": text(), "metric": text(), "value": number(), "unit": text()},
        "nodes": {
            "gpu": text(),
            "gpus": whole(),
            "cpus": seconds,
            "ram_bytes": number(least, nullable=True),
            "nodes": whole(1),
            "place": text(required=False),
            "instance": text(required=False),
        },
    }
    return DataFrameSchema(columns[kind], checks=wide.get(kind), strict=True, name=kind)
