"""Hard rules, vectorised over (demand class, pool). The framework enforces them; a strategy cannot break them.

Jobs that ask for the same thing form one demand class, so that a rule is evaluated once per class and pool and a long
queue costs no more than its number of distinct demands.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.model import Fleet, InputError, Jobs, nearest


class Rule(IntEnum):
    """Why a placement is refused. The first rule that fails, in this order, is the one that is logged."""

    OK = 0
    RESIDENCY = 1  # the site's jurisdiction is not one of the job's
    GPU_TYPE = 2  # the job does not run on this GPU type
    GPU_MEMORY = 3  # the job needs more memory than the GPU has
    HOST = 4  # more CPUs or RAM than a node has
    GANG = 5  # the pool could not hold the gang even when empty, or the allocation is not the gang asked for
    DATA = 6  # no link carries the job's dataset there
    CAPACITY = 7  # GPUs that are taken, off or down
    QUOTA = 8  # the site's quota of rented GPUs, now or in all
    STATUS = 9  # the job or node is not in a state in which this can be done
    BUDGET = 10  # a budget of this period cannot pay for it
    STOCK = 11  # the market has fewer nodes than are asked for


_CLASS_COLUMNS = ("gpus", "gpu_milli", "gpu_memory_bytes", "cpus", "ram_bytes", "gpu_type", "residency")


@dataclass(frozen=True)
class Demands:
    """The distinct demands of a workload and which pools may serve each.

    ``job_class[j]`` is the class of job j; ``rules[c][p]`` the first :class:`Rule` that bars class c from pool p
    (0: none); ``pools[c]`` the pools left, in fleet order; ``abroad[c][s]`` is 1 where the data of class c may not be
    at site s; the other columns have one row per class.
    """

    job_class: list[int]
    gpus: list[int]
    milli: list[int]
    cpus: list[float]
    ram_bytes: list[float]
    rules: list[bytes]
    abroad: list[bytes]
    pools: list[tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.gpus)


def demands(jobs: Jobs, fleet: Fleet) -> Demands:
    """Group jobs into demand classes and evaluate the static rules on every pool.

    Raises:
        InputError: a dataset site that the fleet does not have, or one where the data of a bound job may not be.
    """
    _check_homes(jobs, fleet)
    code = np.zeros(len(jobs), np.int64)
    for name in (*_CLASS_COLUMNS, "dataset_site"):
        column = getattr(jobs, name)
        if len(column) and (column != column[0]).any():
            values, inverse = np.unique(column, return_inverse=True)
            code = code * len(values) + inverse
            if name != _CLASS_COLUMNS[0]:
                code = np.unique(code, return_inverse=True)[1]
    _, first, job_class = np.unique(code, return_index=True, return_inverse=True)
    want = {name: getattr(jobs, name)[first] for name in (*_CLASS_COLUMNS, "dataset_site")}
    rules = _static_rules(want, jobs, fleet)
    return Demands(
        job_class=job_class.tolist(),
        gpus=want["gpus"].tolist(),
        milli=want["gpu_milli"].tolist(),
        cpus=want["cpus"].tolist(),
        ram_bytes=want["ram_bytes"].tolist(),
        rules=[row.tobytes() for row in rules],
        abroad=[row.tobytes() for row in _abroad(jobs, fleet)[want["residency"]]],
        pools=[tuple(np.flatnonzero(row == 0).tolist()) for row in rules],
    )


def no_route(jobs: Jobs, fleet: Fleet, wanted: Demands) -> str:
    """How many jobs that can be placed are barred from some pools because no link leads there from their data, in
    words; empty if none are."""
    classes = [c for c, row in enumerate(wanted.rules) if Rule.DATA in row and wanted.pools[c]]
    if not classes:
        return ""
    mine = np.isin(wanted.job_class, classes)
    rules = wanted.rules[wanted.job_class[int(np.argmax(mine))]]
    home = dataset_homes(jobs.dataset_sites[jobs.dataset_site[int(np.argmax(mine))]], fleet)[0]
    to = fleet.sites[fleet.pool_site[rules.index(Rule.DATA)]].name
    pools = [
        fleet.pools[p].name
        for p in sorted({p for c in classes for p, r in enumerate(wanted.rules[c]) if r == Rule.DATA})
    ]
    names = ", ".join(pools[:4]) + (", ..." if len(pools) > 4 else "")
    return (
        f"{jobs.source}: {mine.sum()} of {len(jobs)} jobs are barred from {len(pools)} of {len(fleet.pools)} pools"
        f" ({names}) for want of a route to their data, such as a link {fleet.sites[home].name} -> {to}"
    )


def _static_rules(want: dict[str, npt.NDArray[Any]], jobs: Jobs, fleet: Fleet) -> npt.NDArray[np.uint8]:
    """First failing static rule, shape (classes, pools)."""
    pools = fleet.pools
    types = [set(names.split("|")) for names in jobs.gpu_types]
    per_node = np.array([p.gpus_per_node for p in pools])
    count = np.array([p.nodes for p in pools])
    cpus = np.array([p.cpus_per_node or np.inf for p in pools])
    ram = np.array([p.ram_bytes_per_node or np.inf for p in pools])
    homes = [dataset_homes(name, fleet) for name in jobs.dataset_sites]
    rules = np.zeros((len(want["gpus"]), len(pools)), np.uint8)

    def bar(rule: Rule, failed: npt.NDArray[np.bool_]) -> None:
        rules[(rules == 0) & failed] = rule

    by_type = np.array([[p.gpu not in names for p in pools] for names in [*types, {p.gpu for p in pools}]])
    by_data = np.array(
        [
            [s not in mine and not any((home, s) in fleet.links_by_sites for home in mine) for s in fleet.pool_site]
            for mine in homes
        ]
        + [[False] * len(pools)]
    )
    gpus = want["gpus"][:, None]
    nodes_needed = np.maximum(-(-gpus // per_node), 1)
    bar(Rule.RESIDENCY, _abroad(jobs, fleet)[want["residency"]][:, fleet.pool_site] != 0)
    bar(Rule.GPU_TYPE, by_type[want["gpu_type"]])
    bar(Rule.GPU_MEMORY, want["gpu_memory_bytes"][:, None] > np.array([p.gpu_memory_bytes for p in pools]))
    bar(Rule.HOST, (want["cpus"][:, None] > cpus * nodes_needed) | (want["ram_bytes"][:, None] > ram * nodes_needed))
    bar(Rule.GANG, nodes_needed > count)
    bar(Rule.DATA, by_data[want["dataset_site"]])
    most = [min((fleet.limits[i].gpus for i in mine), default=np.inf) for mine in fleet.pool_quotas]
    bar(Rule.QUOTA, nodes_needed * per_node > np.array(most, np.float64))
    return rules


def _abroad(jobs: Jobs, fleet: Fleet) -> npt.NDArray[np.uint8]:
    """Whether a site is outside each residency of the name table; the last row, of code -1, bars none. Shape
    (residencies + 1, sites)."""
    allowed = [set(names.split("|")) for names in jobs.residencies]
    outside = [[site.jurisdiction not in names for site in fleet.sites] for names in allowed]
    return np.array([*outside, [False] * len(fleet.sites)], np.uint8)


def _check_homes(jobs: Jobs, fleet: Fleet) -> None:
    """The data of a bound job lie where they may be from the beginning.

    Raises:
        InputError: they do not.
    """
    both = (jobs.residency >= 0) & (jobs.dataset_site >= 0)
    for home, bound in np.unique(np.c_[jobs.dataset_site, jobs.residency][both], axis=0).tolist():
        legal = jobs.residencies[bound].split("|")
        for site in (fleet.sites[s] for s in dataset_homes(jobs.dataset_sites[home], fleet)):
            if site.jurisdiction not in legal:
                row = int(np.argmax(both & (jobs.dataset_site == home) & (jobs.residency == bound)))
                number = int(jobs.dataset[row])
                raise InputError(
                    f"{jobs.source}: job {jobs.id[row]}: its dataset{f' {number}' if number >= 0 else ''} lies at site"
                    f" '{site.name}' in {site.jurisdiction}, expected a home in {' or '.join(legal)}, which binds it"
                )


def check_checkpoints(jobs: Jobs, fleet: Fleet) -> None:
    """Checkpoints can go between all sites that one and the same job may run at.

    Raises:
        InputError: two of these have no link.
    """
    sites, has = set(fleet.pool_site), jobs.checkpoint_bytes > 0
    apart = [(a, b) for a in sites for b in sites if a != b and (a, b) not in fleet.links_by_sites]
    if not apart or not has.any():
        return
    some = jobs.take(has)
    wanted = demands(some, fleet)
    for c, pools in enumerate(wanted.pools):
        mine = {fleet.pool_site[p] for p in pools}
        for a, b in apart:
            if a in mine and b in mine:
                raise InputError(
                    f"{jobs.source}: no link {fleet.site_names[a]} -> {fleet.site_names[b]} to carry checkpoints over,"
                    f" and job {some.id[wanted.job_class.index(c)]} may run at both;"
                    " trace.attributes.checkpoint_bytes=0 leaves checkpoints out"
                )


def dataset_homes(names: str, fleet: Fleet) -> tuple[int, ...]:
    """The numbers of the sites that a dataset lives at, which are named with ``|`` between them.

    Raises:
        InputError: the fleet lacks one of them.
    """
    for name in names.split("|"):
        if name not in fleet.site_names:
            raise InputError(
                f"dataset site '{name}' is not a site of fleet '{fleet.name}'; {nearest(name, fleet.site_names)};"
                " trace.attributes.dataset_share=0 leaves datasets out"
            )
    return tuple(fleet.site_names.index(name) for name in names.split("|"))
