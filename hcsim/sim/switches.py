"""Switches that take one piece of realism out of the world, so that its effect on a comparison can be measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from math import inf

import numpy as np

from hcsim.model import Fleet, InputError, Jobs, NodePool, nearest


def _pools(fleet: Fleet, change: Callable[[NodePool], NodePool]) -> Fleet:
    sites = tuple(dataclasses.replace(site, pools=tuple(change(pool) for pool in site.pools)) for site in fleet.sites)
    return dataclasses.replace(fleet, sites=sites)


def _no_boot(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    return _pools(fleet, lambda pool: dataclasses.replace(pool, boot_s=0.0, boot_cv=0.0)), jobs


def _no_failures(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    return _pools(fleet, lambda pool: dataclasses.replace(pool, mtbf_s=inf)), jobs


def _no_data(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    zeros = np.zeros(len(jobs))
    return fleet, dataclasses.replace(jobs, dataset_site=np.full(len(jobs), -1, np.int32), checkpoint_bytes=zeros)


def _no_egress(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    return dataclasses.replace(
        fleet, links=tuple(dataclasses.replace(link, usd_per_gb=0.0) for link in fleet.links)
    ), jobs


def _no_overheads(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    zeros = np.zeros(len(jobs))
    return fleet, dataclasses.replace(jobs, restart_s=zeros, checkpoint_s=zeros)


def _no_residency(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    return fleet, dataclasses.replace(jobs, residency=np.full(len(jobs), -1, np.int32))


def _no_minimum(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    return _pools(fleet, lambda pool: dataclasses.replace(pool, min_billing_s=0.0)), jobs


#: What each switch takes out of the world.
SWITCHES: dict[str, Callable[[Fleet, Jobs], tuple[Fleet, Jobs]]] = {
    "boot": _no_boot,  # rented nodes are up at once
    "failures": _no_failures,  # nodes do not fail
    "data": _no_data,  # no datasets, and checkpoints have no size: nothing to carry or pay for
    "egress": _no_egress,  # links cost nothing
    "overheads": _no_overheads,  # checkpoints and restarts take no time
    "residency": _no_residency,  # jobs may run under any jurisdiction
    "minimum": _no_minimum,  # rented nodes are billed by the second without a minimum
}


def without(fleet: Fleet, jobs: Jobs, names: Iterable[str]) -> tuple[Fleet, Jobs]:
    """The world with some of its realism switched off.

    Raises:
        InputError: an unknown switch.
    """
    for name in names:
        if name not in SWITCHES:
            raise InputError(f"without: no switch '{name}'; {nearest(name, list(SWITCHES))}")
        fleet, jobs = SWITCHES[name](fleet, jobs)
    return fleet, jobs
