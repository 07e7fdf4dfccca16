"""Switches that take one piece of realism out of the world, so that its effect on a comparison can be measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from math import inf
from typing import Any, TypeAlias

import numpy as np

from hcsim.fleet import Fleet, NodePool, Reclaim
from hcsim.model import JOB_COLUMNS, InputError, Jobs, nearest

Switch: TypeAlias = Callable[[Fleet, Jobs], tuple[Fleet, Jobs]]


def _pools(fleet: Fleet, change: Callable[[NodePool], NodePool]) -> Fleet:
    sites = tuple(dataclasses.replace(site, pools=tuple(change(pool) for pool in site.pools)) for site in fleet.sites)
    return dataclasses.replace(fleet, sites=sites)


def _of_pools(**changes: Any) -> Switch:
    """Sets fields of all pools."""
    return lambda fleet, jobs: (_pools(fleet, lambda pool: dataclasses.replace(pool, **changes)), jobs)


def _of_sites(**changes: Any) -> Switch:
    """Sets fields of all sites."""

    def switch(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
        sites = tuple(dataclasses.replace(site, **changes) for site in fleet.sites)
        return dataclasses.replace(fleet, sites=sites), jobs

    return switch


def _of_fleet(**changes: Any) -> Switch:
    """Sets fields of the fleet."""
    return lambda fleet, jobs: (dataclasses.replace(fleet, **changes), jobs)


def _of_jobs(**changes: float) -> Switch:
    """Sets columns of all jobs to one value."""

    def switch(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
        columns: dict[str, Any] = {
            key: np.full(len(jobs), value, JOB_COLUMNS[key][0]) for key, value in changes.items()
        }
        return fleet, dataclasses.replace(jobs, **columns)

    return switch


def _all(*switches: Switch) -> Switch:
    def switch(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
        for each in switches:
            fleet, jobs = each(fleet, jobs)
        return fleet, jobs

    return switch


def _no_reclaims(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    """Spot nodes stay spot, at their price, and stay up; stock still limits how many can be had."""
    return _pools(fleet, lambda pool: dataclasses.replace(pool, reclaim=Reclaim(beyond=None))), jobs


def _no_stock(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    """Every request is met; spot nodes are reclaimed when they would have been, another can be had at once."""

    def change(pool: NodePool) -> NodePool:
        reclaim = dataclasses.replace(pool.reclaim, beyond=pool.reclaimed_beyond)
        return dataclasses.replace(pool, stock=None, stockout_share=0.0, reclaim=reclaim)

    return _pools(fleet, change), jobs


def _no_price_changes(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    """Prices stay at their mean from 0 to the last arrival and as long again as the longest job takes, or as all the
    work would on the whole fleet, whichever is longer.

    Raises:
        InputError: a price that is not known for so long, and stops.
    """
    last_s = float(jobs.arrival_s.max(initial=0.0))
    left_s = float((jobs.duration_s * jobs.gpus).sum()) / fleet.gpus
    end_s = last_s + max(left_s, float(jobs.duration_s.max(initial=0.0)))

    def change(pool: NodePool) -> NodePool:
        if pool.price is None:
            return pool
        mean = float(pool.price.integral(np.array([end_s]))[0] / end_s) if end_s else pool.price.at(0.0)
        return dataclasses.replace(pool, price=None, usd_per_gpu_h=mean)

    return _pools(fleet, change), jobs


def _no_tiers(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    """All egress pays the price of the first tier."""
    first = {t.name: dataclasses.replace(t, tiers=((inf, t.tiers[0][1]),), free_gb=0.0) for t in fleet.tariffs}
    return dataclasses.replace(fleet, tariffs=tuple(first.values())), jobs


def _no_egress(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    links = tuple(dataclasses.replace(link, usd_per_gb=0.0) for link in fleet.links)
    free = tuple(dataclasses.replace(t, tiers=((inf, 0.0),)) for t in fleet.tariffs)
    return dataclasses.replace(fleet, links=links, tariffs=free), jobs


def _no_quotas(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    fleet, jobs = _of_sites(quota_gpus=None)(fleet, jobs)
    return dataclasses.replace(fleet, quotas=()), jobs


def _no_notice(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    """Nodes are reclaimed without a warning."""

    def change(pool: NodePool) -> NodePool:
        return dataclasses.replace(pool, reclaim=dataclasses.replace(pool.reclaim, notice_s=0.0))

    return _pools(fleet, change), jobs


def _no_commitments(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    """Of reserved nodes only what jobs hold is paid for; they stand there as before, outside quotas and budgets."""

    def change(pool: NodePool) -> NodePool:
        return dataclasses.replace(pool, committed=False) if pool.market == "reserved" else pool

    return _pools(fleet, change), jobs


def _rigid(fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
    """Jobs run on as many GPUs as they ask for or not at all."""
    return fleet, dataclasses.replace(jobs, min_gpus=jobs.gpus, max_gpus=jobs.gpus)


#: What each switch takes out of the world.
SWITCHES: dict[str, Switch] = {
    # markets
    "commitments": _no_commitments,  # of reserved nodes only what is used is paid
    "price_changes": _no_price_changes,  # prices stay at their mean
    "reclaims": _no_reclaims,  # spot nodes are not taken back
    "notice": _no_notice,  # nodes are reclaimed without a warning
    "minimum": _of_pools(min_billing_s=0.0, billing_s=1e-9),  # rented nodes are billed for as long as they are up
    "discounts": _of_pools(discount_share=0.0),  # list prices
    "fees": _of_sites(control_plane_usd_per_h=0.0, storage_usd_per_gb_month=0.0),  # no control planes, no storage
    # capacity
    "quotas": _no_quotas,  # any number of nodes may be rented
    "budgets": _of_fleet(budgets=()),  # any amount may be spent
    "stock": _no_stock,  # there is always enough to rent
    "boot": _of_pools(boot_s=0.0, boot_cv=0.0, image_s=0.0, image_cv=0.0),  # rented nodes are up at once
    "images": _of_pools(image_s=0.0, image_cv=0.0),  # they boot, and need no image
    "idle_time": _of_pools(idle_release_s=0.0),  # rented nodes are given back as soon as they are idle
    "host": _of_jobs(cpus=0.0, ram_bytes=0.0),  # CPUs and RAM are no limit
    # data
    "data": _of_jobs(dataset_site=-1, checkpoint_bytes=0.0),  # there is nothing to carry or to pay for
    "checkpoint_moves": _of_jobs(checkpoint_bytes=0.0),  # checkpoints are wherever their jobs are
    "cache": _of_sites(cache_bytes=inf),  # copies of datasets are kept for ever
    "gateways": _of_sites(egress_bytes_per_s=inf, ingress_bytes_per_s=inf),  # only links limit transfers
    "egress": _no_egress,  # links cost nothing
    "tiers": _no_tiers,  # all egress pays the first tier
    "residency": _of_jobs(residency=-1),  # jobs may run under any jurisdiction
    # losses
    "failures": _of_pools(mtbf_s=inf),  # nodes do not fail
    "outages": _of_fleet(outages=()),  # sites, providers and links stay up
    "lost_work": _of_jobs(checkpoint_interval_s=1e-3, checkpoint_stall_s=0.0),  # what was done is never lost
    "overheads": _of_jobs(restart_s=0.0, checkpoint_s=0.0, checkpoint_stall_s=0.0),  # they take no time
    "elasticity": _rigid,  # jobs neither start smaller nor shrink
    # power
    "power": _all(_of_pools(idle_w=0.0, max_w=0.0), _of_sites(carbon=None)),  # no energy, no carbon
    "carbon": _of_sites(carbon=None),  # energy, but no carbon
}


#: What the executor leaves out itself, whatever the fleet.
OF_EXECUTOR = {
    "sharing",  # every transfer has its link to itself
    "crashes",  # jobs do not fail by themselves
}


def without(fleet: Fleet, jobs: Jobs, names: Iterable[str]) -> tuple[Fleet, Jobs]:
    """The world with some of its realism switched off.

    Raises:
        InputError: an unknown switch.
    """
    for name in names:
        if name not in SWITCHES and name not in OF_EXECUTOR:
            raise InputError(f"without: no switch '{name}'; {nearest(name, [*SWITCHES, *OF_EXECUTOR])}")
        if name in SWITCHES:
            fleet, jobs = SWITCHES[name](fleet, jobs)
    return fleet, jobs
