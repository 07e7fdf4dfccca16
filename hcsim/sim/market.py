"""Processes of a simulated market: prices, stock and reclaims of rented pools, carbon intensity of sites, outages."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import simpy

from hcsim.events import Kind
from hcsim.fleet import NodePool, Outage
from hcsim.model import InputError
from hcsim.rng import exponential, stream, uniform
from hcsim.series import Series

if TYPE_CHECKING:
    from hcsim.sim.world import Simulation

_FAIL, _REPAIR, _HAZARD, _OUTAGE = stream("failure"), stream("repair"), stream("reclaim"), stream("outage")
Events = Generator[simpy.Event, Any, None]


def open_markets(world: Simulation) -> None:
    """Start everything that goes on by itself in a fleet."""
    fleet = world.fleet
    for p, pool in enumerate(fleet.pools):
        if pool.price is not None:
            if pool.reclaim.notice_s and isfinite(pool.reclaim.bid_usd_per_gpu_h):
                world.process(_bid_notices(world, p, pool, pool.price))
            world.process(_prices(world, p, pool, pool.price))
        if pool.stock is not None:
            world.process(_stock(world, p, pool.stock))
        if pool.reclaimed_beyond is not None:
            world.process(_falls(world, p, pool, pool.reclaimed_beyond))
        for node in range(fleet.first_node[p], fleet.first_node[p + 1]):
            if isfinite(pool.mtbf_s):
                world.process(_failures(world, node, pool.mtbf_s, pool.repair_s))
            if isfinite(pool.reclaim.mtbf_s):
                world.process(_hazard(world, node, pool))
    for s, site in enumerate(fleet.sites):
        if site.carbon is not None:
            world.process(_carbon(world, s, site.carbon))
    for i, outage in enumerate(fleet.outages):
        world.process(_outage(world, i, outage))


def _until(world: Simulation, time_s: float) -> simpy.Event:
    """An event at exactly that time, or now if it has passed."""
    event = simpy.Event(world)

    def happen() -> None:
        event.succeed()

    world.at(time_s, happen)
    return event


def _over(series: Series, value: float) -> float:
    """A value of a series.

    Raises:
        InputError: it is what stands behind the end of one that stops.
    """
    if value != value:
        raise InputError(series.over)
    return value


def _prices(world: Simulation, p: int, pool: NodePool, price: Series) -> Events:
    """The price as it changes; nodes go while it is above their bid."""
    bid = pool.reclaim.bid_usd_per_gpu_h
    world.nodes.limit(p, "bid", 0.0 if pool.usd_at(price.at(0.0)) > bid else inf)
    for t, value in price.changes(0.0):
        usd = value if value != value else pool.usd_at(value)
        yield _until(world, t)
        world.set_price(p, _over(price, usd))
        if usd > bid:
            for node in world.nodes.rented(p):
                world.nodes.reclaim(node)
        world.nodes.limit(p, "bid", 0.0 if usd > bid else inf)


def _bid_notices(world: Simulation, p: int, pool: NodePool, price: Series) -> Events:
    """Nodes are warned before the price is above their bid."""
    first = world.fleet.first_node
    for t, value in price.changes(0.0):
        yield _until(world, t - pool.reclaim.notice_s)
        if pool.usd_at(value) > pool.reclaim.bid_usd_per_gpu_h:
            for node in range(first[p], first[p + 1]):
                world.nodes.warn(node, t)


def _stock(world: Simulation, p: int, stock: Series) -> Events:
    """What can be had, as it changes."""
    world.nodes.limit(p, "stock", stock.at(0.0))
    for t, value in stock.changes(0.0):
        yield _until(world, t)
        world.nodes.limit(p, "stock", _over(stock, value))


def _falls(world: Simulation, p: int, pool: NodePool, beyond: Series) -> Events:
    """Nodes beyond what there is are warned, and go."""
    notice_s, level = pool.reclaim.notice_s, beyond.at(0.0)

    def fall(value: int, k: int) -> None:  # after all that comes up in this instant
        world.at(world.now, lambda: world.nodes.reclaim_beyond(p, value, k))

    for k, (t, value) in enumerate(beyond.changes(0.0)):
        if value < level:
            if notice_s:
                yield _until(world, t - notice_s)
                world.nodes.warn_beyond(p, t, int(value), k)
            else:
                yield _until(world, t)
            world.at(t, partial(fall, int(value), k))
        elif value != value:
            yield _until(world, t)
        level = _over(beyond, value)


def _hazard(world: Simulation, node: int, pool: NodePool) -> Events:
    """Times at which a slot's node is reclaimed, if there is one: a Poisson process, whatever the strategy does."""
    k, at_s = 0, 0.0

    def hit() -> None:
        if world.nodes.up[node]:
            world.nodes.reclaim(node)

    while True:
        at_s += exponential(pool.reclaim.mtbf_s, uniform(world.seed, _HAZARD, node, k))
        yield _until(world, at_s - pool.reclaim.notice_s)
        if pool.reclaim.notice_s:
            world.nodes.warn(node, at_s)
        world.at(at_s, hit)
        k += 1


def _failures(world: Simulation, node: int, mtbf_s: float, repair_s: float) -> Events:
    """A node's alternating renewal process, the same whatever the strategy does. It hits a node that is up."""
    k = 0
    while True:
        yield world.timeout(exponential(mtbf_s, uniform(world.seed, _FAIL, node, k)))
        world.fail(node, "failure")
        yield world.timeout(exponential(repair_s, uniform(world.seed, _REPAIR, node, k)))
        world.repair(node, "failure")
        k += 1


def _carbon(world: Simulation, s: int, carbon: Series) -> Events:
    world.tell(Kind.CARBON_CHANGED, s, value=carbon.at(0.0))
    for t, value in carbon.changes(0.0):
        yield _until(world, t)
        world.tell(Kind.CARBON_CHANGED, s, value=_over(carbon, value))


def _outage(world: Simulation, number: int, outage: Outage) -> Events:
    """Its windows, what its series says, and a renewal process of its own."""
    cause = f"outage {number}"
    if outage.down is not None:
        if outage.down.at(0.0) > 0:
            _strike(world, outage, cause)
        for t, value in outage.down.changes(0.0):
            yield _until(world, t)
            (_strike if _over(outage.down, value) > 0 else _mend)(world, outage, cause)
    for begin_s, end_s in outage.windows:
        yield _until(world, begin_s)
        _strike(world, outage, cause)
        yield _until(world, end_s)
        _mend(world, outage, cause)
    k = 0
    while isfinite(outage.mtbf_s):
        yield world.timeout(exponential(outage.mtbf_s, uniform(world.seed, _OUTAGE, number, 2 * k)))
        _strike(world, outage, cause)
        yield world.timeout(exponential(outage.repair_s, uniform(world.seed, _OUTAGE, number, 2 * k + 1)))
        _mend(world, outage, cause)
        k += 1


def _within(world: Simulation, outage: Outage) -> tuple[list[int], list[int], list[int]]:
    """(pools, nodes, links) that an outage takes down: links too that end at a site that is down."""
    fleet = world.fleet
    if outage.scope == "node":
        return [], [fleet.node_number(outage.name)], []
    if outage.scope == "link":
        return [], [], [i for i, k in enumerate(fleet.links) if f"{k.source} -> {k.target}" == outage.name]
    sites = {s.name for s in fleet.sites if outage.name == (s.name if outage.scope == "site" else s.provider)}
    pools = [p for p, s in enumerate(fleet.pool_site) if fleet.sites[s].name in sites]
    nodes = [n for p in pools for n in range(fleet.first_node[p], fleet.first_node[p + 1])]
    return pools, nodes, [i for i, k in enumerate(fleet.links) if {k.source, k.target} & sites]


def _strike(world: Simulation, outage: Outage, cause: str) -> None:
    pools, nodes, links = _within(world, outage)
    for p in pools:
        if world.fleet.pools[p].elastic:
            world.nodes.limit(p, cause, 0.0)
    for node in nodes:
        world.nodes.strike(node, cause)
    for link in links:
        world.cut(link, cause)


def _mend(world: Simulation, outage: Outage, cause: str) -> None:
    pools, nodes, links = _within(world, outage)
    for p in pools:
        if world.fleet.pools[p].elastic:
            world.nodes.limit(p, cause, inf)
    for node in nodes:
        world.nodes.mend(node, cause)
    for link in links:
        world.join(link, cause)
