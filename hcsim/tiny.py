"""Tiny worlds, in which a strategy shows in milliseconds whether it keeps the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hcsim.model import Fleet, Jobs, Link, NodePool, Site


@dataclass(frozen=True)
class Event:
    """Something that happens to a world at a time: ``Simulation.fail``, ``repair`` or ``set_price``."""

    time_s: float
    what: str
    args: tuple[float, ...]


def tiny_fleets() -> dict[str, Fleet]:
    """Small fleets by name: one node; nodes for gangs; owned and rented pools under two jurisdictions, with boot delay
    and quota; nodes that fail; GPUs to share; two GPUs for everyone; all sorts of demands."""

    def one(name: str, per_node: int, nodes: int, **more: Any) -> Fleet:
        return Fleet((Site("here", (NodePool("own", "A100", per_node, nodes, 1.5, **more),)),), name=name)

    hybrid = Fleet(
        sites=(
            Site("home", (NodePool("own", "A100", 4, 2, 1.0),), jurisdiction="EU"),
            Site(
                "near",
                (NodePool("near", "A100", 4, 3, 3.0, "on_demand", boot_s=90.0, boot_cv=0.3),),
                jurisdiction="EU",
                provider="one",
                kind="cloud",
                quota_gpus=8,
            ),
            Site(
                "far",
                (NodePool("far", "H100", 4, 2, 2.5, "on_demand", boot_s=240.0, idle_release_s=120.0),),
                jurisdiction="US",
                provider="two",
                kind="cloud",
            ),
        ),
        links=tuple(
            Link(a, b, bytes_per_s=1e8, usd_per_gb=0.0 if a == "home" else 0.09)
            for a in ("home", "near", "far")
            for b in ("home", "near", "far")
            if a != b
        ),
        name="hybrid",
    )
    return {
        "single": one("single", 8, 1),
        "gangs": one("gangs", 4, 4),
        "hybrid": hybrid,
        "failures": one("failures", 2, 3),
        "shared": one("shared", 2, 2),
        "hosts": one("hosts", 4, 2, cpus_per_node=16.0, ram_bytes_per_node=64e9),
        "tight": one("tight", 2, 1),
        "mixed": one("mixed", 4, 3, cpus_per_node=16.0, ram_bytes_per_node=64e9),
    }


def tiny_jobs() -> dict[str, Jobs]:
    """Jobs for each of :func:`tiny_fleets`, by the same names: every one of them can be held by its fleet."""
    rng = np.random.default_rng(7)

    def jobs(name: str, n: int, gap_s: float, mean_s: float, gpus: Sequence[int], **more: Any) -> Jobs:
        return Jobs.build(
            source=f"tiny jobs '{name}'",
            arrival_s=np.round(np.cumsum(rng.exponential(gap_s, n)), 1),
            duration_s=np.round(rng.lognormal(np.log(mean_s), 1.0, n) + 1.0, 1),
            gpus=rng.choice(gpus, n),
            tenant=rng.integers(0, 2, n),
            tenants=("a", "b"),
            **more,
        )

    share = np.where(rng.random(24) < 0.7, rng.choice([200, 250, 500], 24), 1000)
    overheads = {"checkpoint_interval_s": np.full(20, 300.0), "checkpoint_s": np.full(20, 5.0)}
    return {
        "single": jobs("single", 16, 60.0, 400.0, (1, 2, 4, 8)),
        "gangs": jobs("gangs", 20, 60.0, 400.0, (1, 2, 4, 6, 8, 16)),
        "hybrid": jobs(
            "hybrid",
            24,
            60.0,
            2000.0,
            (1, 2, 4, 8),
            residency=rng.choice([-1, 0], 24),
            residencies=("EU",),
            dataset_site=rng.choice([-1, 0], 24),
            dataset_sites=("home",),
            dataset_bytes=np.full(24, 5e9),
            restart_s=np.full(24, 20.0),
        ),
        "failures": jobs("failures", 20, 90.0, 900.0, (1, 2, 4), restart_s=np.full(20, 10.0), **overheads),
        "shared": jobs("shared", 24, 60.0, 500.0, (1,), gpu_milli=share),
        "hosts": jobs("hosts", 20, 60.0, 500.0, (1, 2), cpus=rng.choice([2.0, 8.0], 20), ram_bytes=np.full(20, 12e9)),
        "tight": jobs("tight", 20, 400.0, 9000.0, (1, 1, 2), restart_s=np.full(20, 30.0), **overheads),
        "mixed": _mixed(24),
    }


def _mixed(n: int) -> Jobs:
    """Jobs without a GPU, with a share of one, and with several, that ask for CPUs and RAM."""
    rng = np.random.default_rng(8)
    gpus = rng.choice([0, 1, 1, 1, 2, 4, 8], n)
    return Jobs.build(
        source="tiny jobs 'mixed'",
        arrival_s=np.round(np.cumsum(rng.exponential(40.0, n)), 1),
        duration_s=np.round(rng.lognormal(np.log(600.0), 1.0, n) + 1.0, 1),
        gpus=gpus,
        gpu_milli=np.where((gpus == 1) & (rng.random(n) < 0.6), rng.choice([250, 400, 600], n), 1000),
        cpus=rng.choice([1.5, 4.0, 11.9], n),
        ram_bytes=rng.choice([4e9, 30e9], n),
    )


EVENTS: dict[str, tuple[Event, ...]] = {
    "hybrid": (Event(700.0, "set_price", (2, 4.0)), Event(1500.0, "set_price", (1, 2.0))),
    "failures": (
        Event(400.0, "fail", (0,)),
        Event(900.0, "repair", (0,)),
        Event(1300.0, "fail", (1,)),
        Event(1500.0, "fail", (2,)),
        Event(2500.0, "repair", (1,)),
        Event(2600.0, "repair", (2,)),
    ),
}
