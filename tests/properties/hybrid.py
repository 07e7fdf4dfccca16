"""Random worlds in which everything may happen that a hybrid fleet knows, and a strategy that asks for what it must
not have."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hcsim import (
    Budget,
    Fleet,
    Jobs,
    NodePool,
    Outage,
    Plan,
    Quota,
    Reclaim,
    Series,
    Site,
    Strategy,
    Tariff,
    View,
    on_change,
)
from hcsim.books import Status
from tests.properties.worlds import World, _Dice, limiting, worlds


def _steps(draw: Any, values: tuple[float, ...]) -> Series:
    return Series(np.arange(6) * 300.0, [draw(st.sampled_from(values)) for _ in range(6)], beyond="wrap")


def _pool(draw: Any, pool: NodePool) -> NodePool:
    changes: dict[str, Any] = {"billing_s": 1e-9, "min_billing_s": 0.0}  # what accrues is what is billed
    if draw(st.booleans()):
        changes |= {"price": _steps(draw, (0.5, 1.0, 3.0)), "usd_per_gpu_h": 0.0}
    if pool.elastic:
        changes["image_s"] = draw(st.sampled_from((0.0, 40.0)))
        changes["stockout_share"] = draw(st.sampled_from((0.0, 0.5)))
        if draw(st.booleans()):
            changes["stock"] = _steps(draw, (0.0, 1.0, 2.0, 4.0))
    if pool.market == "spot":
        hazard, bid = draw(st.sampled_from((inf, 700.0))), draw(st.sampled_from((inf, 2.0)))
        changes["reclaim"] = Reclaim(hazard, bid, draw(st.sampled_from((0.0, 30.0))))
    return dataclasses.replace(pool, **changes)


def _quota(draw: Any, sites: tuple[Site, ...]) -> Quota:
    """Of any of the first site's names, its first pool's GPU type alone or with others of the fleet."""
    site, mine = sites[0], draw(st.tuples(*[st.booleans()] * 4))
    types = sorted({pool.gpu for each in sites for pool in each.pools} - {site.pools[0].gpu})
    family = "|".join([site.pools[0].gpu, *types[: draw(st.integers(0, 2))]])
    names = [
        name if used else "" for name, used in zip((site.provider, site.name, family, site.region), mine, strict=True)
    ]
    return Quota(draw(st.sampled_from((1, 4, 8))), *names)


@st.composite
def hybrids(draw: Any) -> World:
    """Markets, caches, shared links, outages of everything, quotas; budgets that never bar, so that they only count."""
    world = draw(worlds())
    sites = tuple(
        dataclasses.replace(
            site,
            pools=tuple(_pool(draw, pool) for pool in site.pools),
            provider=draw(st.sampled_from(("p", "q"))),
            region=draw(st.sampled_from(("east", "west"))),
            cache_bytes=draw(st.sampled_from((inf, 0.0, 6e9))),
            egress_bytes_per_s=draw(st.sampled_from((inf, 1.5e8))),
            ingress_bytes_per_s=draw(st.sampled_from((inf, 1.5e8))),
        )
        for site in world.fleet.sites
    )
    tariff = Tariff("t", ((3.0, 0.2), (inf, 0.1)), free_gb=1.0)
    links = tuple(
        dataclasses.replace(link, tariff="t", usd_per_gb=0.0) if draw(st.booleans()) else link
        for link in world.fleet.links
    )
    outages = []
    for scope, names in (
        ("node", [f"{pool.name}/0" for site in sites for pool in site.pools]),
        ("site", [site.name for site in sites]),
        ("provider", [site.provider for site in sites]),
        ("link", [f"{link.source} -> {link.target}" for link in links]),
    ):
        if names and draw(st.booleans()):
            windows = ((200.0, 500.0), (900.0, 1000.0)) if draw(st.booleans()) else ()
            mtbf_s = inf if windows else 2000.0
            outages.append(Outage(scope, draw(st.sampled_from(names)), windows, mtbf_s, 200.0))  # type: ignore[arg-type]
    quotas = limiting(_quota(draw, sites), sites) if draw(st.booleans()) else ()
    fleet = Fleet(sites, links, "hybrid", (tariff,), quotas, (Budget(1e9, 1e9),), tuple(outages))
    jobs = world.jobs
    stall_s = np.where(np.isfinite(jobs.checkpoint_interval_s), draw(st.sampled_from((0.0, 7.0))), 0.0)
    jobs = dataclasses.replace(jobs, checkpoint_stall_s=stall_s)
    if draw(st.booleans()):
        jobs = dataclasses.replace(jobs, dataset=_shared(jobs))
    return world.replace(fleet=fleet, jobs=jobs, events=())


def _shared(jobs: Jobs) -> Any:
    """Jobs with the same home, size and residency read the same dataset."""
    keys = list(zip(jobs.dataset_site.tolist(), jobs.dataset_bytes.tolist(), jobs.residency.tolist(), strict=True))
    known = sorted(set(keys))
    return np.array([known.index(key) if key[0] >= 0 else -1 for key in keys], np.int32)


@dataclass(frozen=True)
class Adversary(Strategy):
    """At each decision asks for a few things that it may well not have: jobs on any nodes, taken or not, of whatever
    jurisdiction; datasets anywhere; more nodes than there are; nodes back that are in use. Then first fit."""

    salt: int = 0
    calm_after: int = 60
    wake = on_change

    def decide(self, view: View) -> Plan:
        plan, dice = view.plan(), _Dice(view, self.salt)
        acted: set[int] = set()
        for _ in range(dice.below(6) if view.decision < self.calm_after else 0):
            self._ask(view, plan, dice, acted)
        for job in plan.placeable(view.waiting):
            plan.place(job, plan.first_fit(job))
        return plan

    def _ask(self, view: View, plan: Plan, dice: _Dice, acted: set[int]) -> None:
        verb = dice.pick(("place", "place", "migrate", "migrate", "resize", "stage", "provision", "release", "preempt"))
        if verb == "provision":
            plan.provision(dice.below(len(view.pools)), 1 + dice.below(6))
        elif verb == "release":
            plan.release(dice.below(view.fleet.nodes))
        elif verb == "stage":
            waiting = list(view.waiting)
            if waiting:
                plan.stage(dice.pick(waiting), dice.below(len(view.fleet.sites)))
        else:
            held = [job for job in view.claims if job not in acted and view.status(job) != Status.DRAINING]
            running = [job for job in view.running() if job not in acted]
            jobs = {"place": [job for job in view.waiting if job not in acted], "preempt": held}.get(verb, running)
            if not jobs:
                return
            job = dice.pick(jobs)
            acted.add(job)
            if verb == "preempt":
                plan.preempt(job, checkpoint=dice.chance(0.5))
                return
            where = self._anywhere(view, dice, job)
            getattr(plan, verb)(job, where)

    def _anywhere(self, view: View, dice: _Dice, job: int) -> Any:
        """GPUs of any node, or of the job's own gang size from its lowest on, whoever has them."""
        parts, left = [], view.gpus[job]
        for node in dice.shuffled(range(view.fleet.nodes))[: 1 + dice.below(3)]:
            count = min(left, view.pools[view.pool_of(node)].gpus_per_node)
            if count:
                parts.append((node, (1 << count) - 1, view.milli[job]))
            left -= count
        return tuple(parts)
