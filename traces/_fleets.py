"""A fleet from a table of machines."""

from __future__ import annotations

from collections.abc import Mapping

from hcsim.model import Fleet, InputError, NodePool, Site
from hcsim.traces._table import Table

MOST_GPUS = 16  # of one node


def to_fleet(table: Table, name: str, usd_per_gpu_h: Mapping[str, float] | float = 0.0) -> Fleet:
    """One owned site with a pool per distinct shape of machine (GPU type and count, CPUs, memory); machines without a
    GPU are left out.

    Args:
        table: of kind ``nodes``.
        usd_per_gpu_h: a price for all, or by GPU type.

    GPU types that :mod:`hcsim.perf` does not know need ``perf.speed``.

    Raises:
        InputError: a table of another kind, no machine with a GPU, or one with more than 16.
    """
    if table.kind != "nodes":
        raise InputError(f"{table.source}: a table of {table.kind}, expected nodes")
    frame = table.frame[table.frame["gpus"] > 0]
    if not len(frame):
        raise InputError(f"{table.source}: no machine with a GPU")
    if frame["gpus"].max() > MOST_GPUS:
        raise InputError(f"{table.source}: a machine has {frame['gpus'].max()} GPUs, expected at most {MOST_GPUS}")
    by = ["gpu", "gpus", "cpus", "ram_bytes"]
    shapes = frame.fillna({"ram_bytes": 0.0}).groupby(by, sort=True, as_index=False)["nodes"].sum()
    pools = []
    for gpu, gpus, cpus, ram_bytes, nodes in shapes[[*by, "nodes"]].itertuples(index=False):
        price = usd_per_gpu_h.get(str(gpu), 0.0) if isinstance(usd_per_gpu_h, Mapping) else usd_per_gpu_h
        label = f"{gpu}x{gpus}-{cpus:g}c-{ram_bytes / 2**30:g}g"
        pools.append(
            NodePool(
                label,
                str(gpu),
                int(gpus),
                int(nodes),
                float(price),
                cpus_per_node=float(cpus),
                ram_bytes_per_node=float(ram_bytes),
            )
        )
    return Fleet((Site(name, tuple(pools)),), name=name)
