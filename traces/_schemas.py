"""One columnar schema per kind of trace. Every source is checked against its kind's where it enters.

Columns are named with their units. A column marked *optional* is there only if the source says it; a cell marked *may
be missing* is NaN (numbers) or an empty string (text). Times called ``time_s`` are seconds since 1970-01-01 UTC; those
called ``arrival_s`` or ``start_s`` count from the first event of the source unless its docstring says otherwise.

``jobs``
    ``id`` row number in the source (int64, unique); ``arrival_s``; ``duration_s``; ``gpus`` gang size (int64, at least
    1; processors in logs without GPUs). Optional: ``gpu_milli`` (1 to 1000 of each GPU), ``cpus``, ``ram_bytes``,
    ``gpu_memory_bytes``, ``gpu_type`` (names joined by ``|``, empty: any), ``tenant``, ``model``, ``batch``,
    ``deadline_s``, ``user_estimate_s``, ``iterations``, ``status``.
``requests``
    ``arrival_s`` (may be missing: lengths only); ``prompt_tokens``, ``output_tokens`` (int64; 0 for image models).
    Optional: ``service_s``, ``model``, ``client``, ``hash_ids`` (list of int64, one per prefix block).
``submissions``
    Jobs without run times, for models of goodput: ``arrival_s``, ``model``, ``gpus`` asked for, ``batch``.
``load``
    Occupancy over time: ``time_s``, ``place``, ``gpus`` in use; optional ``capacity_gpus``, ``running_jobs``,
    ``pending_jobs``, ``rate_per_s``.
``availability``
    Spot capacity: ``time_s``, ``place``, ``gpu``, ``nodes`` that could be had or were there (int64) from then on.
``prices``
    ``time_s`` (may be missing: undated catalogue), ``provider``, ``place``, ``instance``, ``gpu`` (empty: none),
    ``gpus``, ``market`` (on_demand, spot, reserved), ``usd_per_h`` of the whole instance.
``advice``
    What a provider says of spot capacity: ``place``, ``instance``, ``saving_share`` below on demand,
    ``interruption_share`` (upper end of the published band, per month).
``links``
    ``source``, ``target``; ``bytes_per_s``, ``rtt_s``, ``usd_per_gb`` (each may be missing). 1 GB is 1e9 bytes.
``carbon``
    ``place``, ``time_s``, ``g_per_kwh``; optional ``estimated`` (bool), ``pue``, ``carbon_free_share``.
``failures``
    ``entity``, ``start_s``, ``end_s`` (may be missing: not over), ``event``; optional ``place``.
``profiles``
    Measured speed: ``model``, ``gpu``, ``gpus``, ``setting`` (what else was fixed, in words), ``metric``, ``value``,
    ``unit``.
``nodes``
    Machines: ``gpu`` (empty: none), ``gpus``, ``cpus``, ``ram_bytes`` (may be missing), ``nodes`` how many like it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

KINDS = (
    "jobs",
    "requests",
    "submissions",
    "load",
    "availability",
    "prices",
    "advice",
    "links",
    "carbon",
    "failures",
    "profiles",
    "nodes",
)
MARKETS = ("on_demand", "spot", "reserved")


def _once(ids: Any) -> Any:
    """Which ids are not those of an earlier row; an ascending column is seen to be so without a table of them."""
    return ids.notna() if ids.is_monotonic_increasing and not ids.diff().eq(0).any() else ~ids.duplicated()


@cache
def schema(kind: str) -> Any:
    """The pandera schema of a kind."""
    import numpy as np
    from pandera.pandas import Check, Column, DataFrameSchema

    finite = Check(lambda s: np.isfinite(s), error="a finite number")
    least = Check.ge(0, error="0 or more")

    def number(*checks: Check, nullable: bool = False, required: bool = True) -> Column:
        # NaN passes a nullable column's checks, infinity none
        return Column("float64", [finite, *checks], nullable=nullable, required=required)

    def whole(lowest: int = 0, highest: int | None = None, required: bool = True) -> Column:
        checks = [Check.ge(lowest, error=f"at least {lowest}")]
        if highest is not None:
            checks.append(Check.le(highest, error=f"at most {highest}"))
        return Column("int64", checks, required=required)

    def text(required: bool = True, among: tuple[str, ...] = ()) -> Column:
        return Column(
            "str", [Check.isin(among, error=f"one of {', '.join(among)}")] if among else [], required=required
        )

    def option(column: Column) -> Column:
        column.required = False
        return column

    seconds = number(least)
    columns: dict[str, dict[str, Column]] = {
        "jobs": {
            "id": Column("int64", Check(_once, error="an id of its own")),
            "arrival_s": seconds,
            "duration_s": seconds,
            "gpus": whole(1),
            "gpu_milli": whole(1, 1000, required=False),
            "cpus": option(number(least)),
            "ram_bytes": option(number(least)),
            "gpu_memory_bytes": option(number(least)),
            "gpu_type": text(required=False),
            "tenant": text(required=False),
            "model": text(required=False),
            "batch": whole(0, required=False),
            "deadline_s": number(least, nullable=True, required=False),
            "user_estimate_s": number(least, nullable=True, required=False),
            "iterations": option(number(least)),
            "status": text(required=False),
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
            "gpus": seconds,
            "capacity_gpus": option(number(least)),
            "running_jobs": option(number(least)),
            "pending_jobs": option(number(least)),
            "rate_per_s": option(number(least)),
        },
        "availability": {"time_s": number(), "place": text(), "gpu": text(), "nodes": whole()},
        "prices": {
            "time_s": number(nullable=True),
            "provider": text(),
            "place": text(),
            "instance": text(),
            "gpu": text(),
            "gpus": seconds,
            "market": text(among=MARKETS),
            "usd_per_h": number(least),
        },
        "advice": {
            "place": text(),
            "instance": text(),
            "saving_share": number(Check.le(1, error="at most 1")),  # below 0 where spot is dearer
            "interruption_share": number(least, Check.le(1, error="at most 1")),
        },
        "links": {
            "source": text(),
            "target": text(),
            "bytes_per_s": number(least, nullable=True),
            "rtt_s": number(least, nullable=True),
            "usd_per_gb": number(least, nullable=True),
        },
        "carbon": {
            "place": text(),
            "time_s": number(),
            "g_per_kwh": number(least),
            "estimated": Column("bool", required=False),
            "pue": number(Check.ge(1, error="at least 1"), nullable=True, required=False),
            "carbon_free_share": number(least, Check.le(1, error="at most 1"), nullable=True, required=False),
        },
        "failures": {
            "entity": text(),
            "start_s": number(),
            "end_s": number(nullable=True),
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
        "nodes": {
            "gpu": text(),
            "gpus": whole(),
            "cpus": seconds,
            "ram_bytes": number(least, nullable=True),
            "nodes": whole(1),
        },
    }
    return DataFrameSchema(columns[kind], strict=True, name=kind)
