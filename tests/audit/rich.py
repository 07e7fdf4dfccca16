"""Random small worlds in which everything that can befall a fleet does, on top of those of the property tests."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hcsim import Fleet, Link, NodePool
from hcsim.control import run
from hcsim.fleet import Budget, Outage, Quota, Reclaim, Site, Tariff
from hcsim.log import Log
from hcsim.series import Series
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategy import AnyStrategy
from tests.properties.worlds import World, limiting, worlds

TIMES = np.arange(8) * 250.0


@dataclass(frozen=True)
class Rich:
    """A world, and how often its jobs crash."""

    world: World
    job_mtbf_s: float = inf

    def run(self, strategy: AnyStrategy) -> Log:
        world, log = self.world, Log()
        state = State(world.fleet, world.jobs, estimate_s=world.estimate_s, seed=world.seed)
        sim = Simulation(
            world.fleet, world.jobs, None, world.seed, (), world.until_s, 4000.0, job_mtbf_s=self.job_mtbf_s
        )
        run(sim, strategy, state, log)
        log.flush(everything=True)
        return log


def _series(draw: Any, values: tuple[float, ...]) -> Series:
    return Series(TIMES, draw(st.lists(st.sampled_from(values), min_size=8, max_size=8)), beyond="wrap")


def _pool(draw: Any, pool: NodePool) -> NodePool:
    changes: dict[str, Any] = {"discount_share": draw(st.sampled_from((0.0, 0.25)))}
    if draw(st.booleans()):
        changes |= {"idle_w": 800.0, "max_w": 3000.0}
    if draw(st.booleans()):
        changes |= {"price": _series(draw, (0.5, 1.0, 3.0)), "usd_per_gpu_h": 0.0}
    if pool.elastic:
        changes |= {
            "billing_s": draw(st.sampled_from((1.0, 60.0))),
            "image_s": draw(st.sampled_from((0.0, 40.0))),
            "stockout_share": draw(st.sampled_from((0.0, 0.5))),
            "stock": _series(draw, (0.0, 1.0, 4.0)) if draw(st.booleans()) else None,
        }
    if pool.market == "spot":
        reclaim = Reclaim(
            draw(st.sampled_from((inf, 600.0))), draw(st.sampled_from((inf, 2.0))), draw(st.sampled_from((0.0, 30.0)))
        )
        changes["reclaim"] = reclaim
    return dataclasses.replace(pool, **changes)


@st.composite
def rich_worlds(draw: Any) -> Rich:
    """A fleet, jobs and what befalls them; each feature is there or not."""
    world = draw(worlds())
    sites: list[Site] = []
    for site in world.fleet.sites:
        changes = {
            "pools": tuple(_pool(draw, pool) for pool in site.pools),
            "provider": draw(st.sampled_from(("p", "q"))),
            "cache_bytes": draw(st.sampled_from((inf, 0.0, 6e9))),
            "egress_bytes_per_s": draw(st.sampled_from((inf, 1.5e8))),
            "carbon": _series(draw, (100.0, 400.0)) if draw(st.booleans()) else None,
            "pue": draw(st.sampled_from((1.0, 1.3))),
            "kind": draw(st.sampled_from(("owned", "cloud"))),
            "usd_per_kwh": draw(st.sampled_from((0.0, 0.2))),
            "storage_usd_per_gb_month": draw(st.sampled_from((0.0, 30.0))),
            "control_plane_usd_per_h": draw(st.sampled_from((0.0, 0.1))),
        }
        sites.append(dataclasses.replace(site, **changes))
    names = [site.name for site in sites]
    tariff = Tariff("egress", ((3.0, 0.2), (inf, 0.1)), free_gb=1.0)
    links = tuple(
        dataclasses.replace(link, tariff="egress", usd_per_gb=0.0) if draw(st.booleans()) else link
        for link in world.fleet.links
    )
    outages: list[Outage] = []
    if draw(st.booleans()):
        outages.append(Outage("site", draw(st.sampled_from(names)), ((500.0, 900.0),)))
    if links and draw(st.booleans()):
        link: Link = draw(st.sampled_from(links))
        outages.append(Outage("link", f"{link.source} -> {link.target}", ((100.0, 300.0), (600.0, 1500.0))))
    fleet = Fleet(
        tuple(sites), links, tariffs=(tariff,), outages=tuple(outages),
        quotas=limiting(Quota(draw(st.sampled_from((4, 8))), provider=sites[0].provider), sites)
        if draw(st.booleans()) else (),
        budgets=(Budget(draw(st.sampled_from((0.5, 2.0))), 1000.0),) if draw(st.booleans()) else (),
    )  # fmt: skip
    stall_s = np.where(np.isfinite(world.jobs.checkpoint_interval_s), draw(st.sampled_from((0.0, 7.0))), 0.0)
    asked = world.jobs  # jobs share a dataset only where it is the same in all
    same = (asked.dataset_site * 4 + asked.residency + 1) * 2 + (asked.dataset_bytes > 0)
    shared = np.where((asked.dataset_site >= 0) & draw(st.booleans()), same, -1)
    jobs = dataclasses.replace(world.jobs, checkpoint_stall_s=stall_s, dataset=shared.astype(np.int32))
    return Rich(world.replace(fleet=fleet, jobs=jobs, events=()), draw(st.sampled_from((inf, inf, 500.0))))
