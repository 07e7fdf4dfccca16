"""Random small worlds, and a strategy that does random things in them.

Times are multiples of ten seconds, so that many things happen at the same instant.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st

from hcsim import Fleet, Jobs, Link, NodePool, Plan, Quota, Site, Strategy, View, on_change
from hcsim.actions import Allocation
from hcsim.books import Status
from hcsim.control import run
from hcsim.log import Log
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategy import AnyStrategy

GPUS = ("A100", "H100", "T4")
PLACES = ("us", "eu")
RESIDENCIES = ("us", "eu", "us|eu")
CPUS = 48.0  # of a node: what jobs ask for divides evenly over one to four nodes
Check = Callable[[State], None]


@dataclass(frozen=True)
class Happening:
    """Something that a process does to the world: ``fail``, ``repair`` or ``set_price``."""

    time_s: float
    what: str
    args: tuple[float, ...]


class _Watched(Simulation):
    """A simulation that has the state looked at after each instant, when all orders are carried out."""

    look: Callable[[], None] | None = None

    def instants(self) -> Any:
        for instant in super().instants():
            yield instant
            if self.look is not None:
                self.look()


@dataclass(frozen=True)
class World:
    """Everything that a run needs but the strategy."""

    fleet: Fleet
    jobs: Jobs
    events: tuple[Happening, ...] = ()
    seed: int = 0
    until_s: float = 20_000.0

    @property
    def estimate_s(self) -> memoryview:
        """Estimates that do not move with the true run times."""
        return np.array([600.0 * (1 + (7 * i) % 5) for i in range(len(self.jobs))]).data

    def run(self, strategy: AnyStrategy, check: Check | None = None) -> Log:
        """The log of a run; ``check`` is called with the state after each instant."""
        log = Log()
        state = State(self.fleet, self.jobs, estimate_s=self.estimate_s, seed=self.seed)
        world = _Watched(self.fleet, self.jobs, None, self.seed, (self._process,), self.until_s, stall_s=4000.0)
        if check is not None:
            world.look = lambda: check(state)
        run(world, strategy, state, log)
        log.flush(everything=True)
        return log

    def _process(self, world: Simulation) -> Generator[Any, Any, None]:
        for event in self.events:
            yield world.timeout(event.time_s - world.now)
            getattr(world, event.what)(*event.args)

    def replace(self, **changes: Any) -> World:
        return dataclasses.replace(self, **changes)


# -- worlds --------------------------------------------------------------------------------------------------------


@st.composite
def _pools(draw: Any, name: str) -> NodePool:
    rented = draw(st.booleans())
    market = draw(st.sampled_from(("on_demand", "spot") if rented else ("owned", "reserved")))
    return NodePool(
        name,
        draw(st.sampled_from(GPUS)),
        gpus_per_node=draw(st.sampled_from((1, 2, 4, 4))),
        nodes=draw(st.integers(1, 4)),
        usd_per_gpu_h=draw(st.sampled_from((0.0, 1.5, 4.0))),
        market=market,
        gpu_memory_bytes=draw(st.sampled_from((16e9, 80e9))),
        cpus_per_node=draw(st.sampled_from((0.0, CPUS))),
        boot_s=draw(st.sampled_from((0.0, 50.0, 200.0))) if rented else 0.0,
        boot_cv=draw(st.sampled_from((0.0, 0.4))),
        min_billing_s=draw(st.sampled_from((0.0, 60.0, 600.0))),
        idle_release_s=draw(st.sampled_from((0.0, 30.0, 300.0))),
        mtbf_s=draw(st.sampled_from((float("inf"), 800.0, 4000.0))),
        repair_s=draw(st.sampled_from((100.0, 1000.0))),
    )


def limiting(quota: Quota, sites: Sequence[Site]) -> tuple[Quota, ...]:
    """The quota, at least of a node of what it limits; none where it limits nothing, which a fleet refuses."""
    least = [
        pool.gpus_per_node
        for site in sites
        for pool in site.pools
        if pool.elastic and quota.covers(site.provider, site.region, site.name, pool.gpu)
    ]
    return (dataclasses.replace(quota, gpus=max(quota.gpus, min(least))),) if least else ()


@st.composite
def fleets(draw: Any) -> Fleet:
    """One to three sites of one or two pools, every site linked to every other."""
    sites = []
    for s in range(draw(st.integers(1, 3))):
        pools = tuple(draw(_pools(f"s{s}p{p}")) for p in range(draw(st.integers(1, 2))))
        site = Site(f"s{s}", pools, draw(st.sampled_from(PLACES)))
        found = limiting(Quota(draw(st.sampled_from((2, 4, 8)))), (site,)) if draw(st.booleans()) else ()
        sites.append(dataclasses.replace(site, quota_gpus=found[0].gpus) if found else site)
    names = [site.name for site in sites]
    price = draw(st.sampled_from((0.0, 0.09)))
    latency_s = draw(st.sampled_from((0.0, 0.05)))
    links = tuple(Link(a, b, 1e8, latency_s, price) for a in names for b in names if a != b)
    return Fleet(tuple(sites), links)


@st.composite
def _job(draw: Any, places: tuple[str, ...]) -> dict[str, Any]:
    gpus = draw(st.sampled_from((1, 1, 1, 2, 2, 3, 4, 6, 8)))
    share = gpus == 1 and draw(st.booleans())
    elastic = not share and draw(st.booleans())
    residency = draw(st.sampled_from((-1, -1, 0, 1, 2)))
    legal = RESIDENCIES[residency].split("|") if residency >= 0 else PLACES
    home = draw(st.sampled_from((-1, *(s for s, place in enumerate(places) if place in legal))))
    return {
        "gap_s": 10.0 * draw(st.integers(0, 30)),
        "duration_s": 10.0 * draw(st.integers(0, 150)),
        "gpus": gpus,
        "gpu_milli": draw(st.sampled_from((200, 250, 500, 700))) if share else 1000,
        "gpu_memory_bytes": draw(st.sampled_from((0.0, 0.0, 40e9))),
        "cpus": draw(st.sampled_from((0.0, 0.0, 12.0, 24.0))),
        "gpu_type": draw(st.sampled_from((-1, -1, 0, 1))),
        "residency": residency,
        "dataset_site": home,
        "dataset_bytes": draw(st.sampled_from((0.0, 5e9))) if home >= 0 else 0.0,
        "checkpoint_bytes": draw(st.sampled_from((0.0, 0.0, 1e9))),
        "checkpoint_interval_s": draw(st.sampled_from((float("inf"), 100.0, 330.0))),
        "checkpoint_s": draw(st.sampled_from((0.0, 10.0, 70.0))),
        "restart_s": draw(st.sampled_from((0.0, 20.0))),
        "min_gpus": draw(st.integers(1, gpus)) if elastic else gpus,
        "max_gpus": gpus + draw(st.integers(0, 3)) if elastic else gpus,
    }


@st.composite
def works(draw: Any, fleet: Fleet) -> Jobs:
    """One to twelve jobs; some of them may fit nowhere."""
    names = fleet.site_names
    rows = draw(st.lists(_job(tuple(site.jurisdiction for site in fleet.sites)), min_size=1, max_size=12))
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    return Jobs.build(
        arrival_s=np.cumsum(columns.pop("gap_s")),
        gpu_types=("A100", "H100|T4"),
        residencies=RESIDENCIES,
        dataset_sites=names,
        **columns,
    )


@st.composite
def worlds(draw: Any) -> World:
    """A fleet, jobs, and failures, repairs and prices that a process brings about."""
    fleet = draw(fleets())
    jobs = draw(works(fleet))
    node = st.tuples(st.integers(0, fleet.nodes - 1))
    price = st.tuples(st.integers(0, len(fleet.pools) - 1), st.sampled_from((0.0, 0.5, 3.0)))
    time_s = st.integers(0, 250).map(lambda n: 10.0 * n)
    event = st.one_of(
        st.builds(Happening, time_s, st.sampled_from(("fail", "repair")), node),
        st.builds(Happening, time_s, st.just("set_price"), price),
    )
    events = sorted(draw(st.lists(event, max_size=8)), key=lambda event: event.time_s)
    return World(fleet, jobs, tuple(events), draw(st.integers(0, 1000)))


# -- a strategy that does anything ---------------------------------------------------------------------------------


class _Dice:
    """Draws of one decision, keyed by (seed, decision, salt, number of the draw)."""

    def __init__(self, view: View, salt: int) -> None:
        self._view, self._next = view, salt << 12

    def chance(self, p: float) -> bool:
        self._next += 1
        return self._view.uniform(self._next) < p

    def below(self, n: int) -> int:
        self._next += 1
        return int(self._view.uniform(self._next) * n)

    def pick(self, items: Any) -> Any:
        return items[self.below(len(items))]

    def shuffled(self, items: Any) -> list[Any]:
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]


class _Free:
    """What is claimable, counted by a naive model from the claims; it must agree with the plan."""

    def __init__(self, view: View, plan: Plan) -> None:
        self.view, self.plan = view, plan
        self.milli: dict[tuple[int, int], int] = {}
        self.cpus: dict[int, float] = {}
        claimed = {part[0] for where in view.claims.values() for part in where}
        for node in range(view.fleet.nodes):
            if view.free_gpus(node) or node in claimed:
                self.open(node)
        for job, where in view.claims.items():
            self.take(job, where)

    def open(self, node: int) -> None:
        pool = self.view.pools[self.view.pool_of(node)]
        self.milli.update({(node, gpu): 1000 for gpu in range(pool.gpus_per_node)})
        self.cpus[node] = pool.cpus_per_node or float("inf")

    def take(self, job: int, where: Allocation, sign: int = -1) -> None:
        for node, mask, milli in where:
            if node not in self.cpus:
                self.open(node)
            self.cpus[node] += sign * self._cpus(job) / len(where)
            for gpu in range(mask.bit_length()):
                self.milli[node, gpu] += sign * milli * (mask >> gpu & 1)
                assert 0 <= self.milli[node, gpu] <= 1000

    def give(self, job: int, where: Allocation) -> None:
        self.take(job, where, 1)

    def _cpus(self, job: int) -> float:
        books = self.view._books
        return float(books.demands.cpus[books.job_class[job]])

    def whole(self, node: int) -> bool:
        """Whether a node is on and nothing of it is claimed."""
        return node in self.cpus and all(left == 1000 for (n, _), left in self.milli.items() if n == node)

    def anywhere(self, dice: _Dice, job: int, size: int) -> Allocation | None:
        """Some GPUs where a job could be, drawn at random; None when the draw finds none."""
        view = self.view
        pools = view.allowed_pools(job)
        if not pools:
            return None
        pool = dice.pick(pools)
        first, count = view.fleet.first_node, view.pools[pool].gpus_per_node
        off = view.rentable(pool)
        nodes = [n for n in range(first[pool], first[pool + 1]) if n in self.cpus or n in off]
        if not size:  # a job without a GPU
            room = [n for n in nodes if self.cpus.get(n, np.inf) >= self._cpus(job)]
            return ((dice.pick(room), 0, 1000),) if room else None
        parts, left = [], size
        for node in dice.shuffled(nodes):
            fit = [g for g in range(count) if self.milli.get((node, g), 1000) >= view.milli[job]]
            chosen = dice.shuffled(fit)[: min(left, 1 + dice.below(count) if dice.chance(0.3) else count)]
            if chosen:
                parts.append((node, sum(1 << g for g in chosen), view.milli[job]))
                left -= len(chosen)
            if not left:
                break
        cpus = view.pools[pool].cpus_per_node or float("inf")
        enough = all(self.cpus.get(node, cpus) >= self._cpus(job) / len(parts) for node, _, _ in parts)
        return tuple(parts) if not left and enough else None


@dataclass(frozen=True)
class Fuzz(Strategy):
    """Does up to four random valid things at each decision, then first fit for most of what waits. After
    ``calm_after`` decisions it is first fit, so that jobs end."""

    salt: int = 0
    calm_after: int = 100
    wake = on_change

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        dice = _Dice(view, self.salt)
        last = None
        if view.decision < self.calm_after:
            free, acted = _Free(view, plan), set[int]()
            for _ in range(dice.below(5)):
                self._act(view, plan, dice, free, acted)
            last = (free, dice.below(4))
        if last is None or dice.chance(0.8):
            for job in plan.placeable(view.waiting):
                where = plan.first_fit(job)
                assert where is not None
                if last is not None:
                    last[0].take(job, where)
                plan.place(job, where)
        if last is not None:
            self._capacity(view, plan, dice, *last)
        return plan

    def _act(self, view: View, plan: Plan, dice: _Dice, free: _Free, acted: set[int]) -> None:
        """One thing with one job that this plan has left alone so far."""
        verb = dice.pick(
            ("place", "place", "lease", "preempt", "preempt", "kill", "migrate", "resize", "stage", "hold")
        )
        if dice.chance(0.01):
            verb = "reject"
        if dice.chance(0.1):
            plan.wake_at(view.now + dice.pick((0.0, 10.0, 35.5)))
        if verb in ("preempt", "kill"):
            jobs = [j for j in view.claims if view.status(j) != Status.DRAINING and j not in acted]
        elif verb in ("migrate", "resize"):
            jobs = [j for j in view.running() if j not in acted]
        else:
            jobs = [j for j in view.waiting if j not in acted]
        if not jobs:
            return
        job = dice.pick(jobs)
        if verb in ("place", "lease"):
            where = free.anywhere(dice, job, view.gpus[job]) if dice.chance(0.7) else plan.first_fit(job)
            if where is None:
                return
            free.take(job, where)
            assert plan.fits(job, where)
            assert plan.place(job, where, lease_s=60.0 if verb == "lease" else 0.0)
        elif verb in ("preempt", "kill"):
            free.give(job, view.claims[job])
            plan.preempt(job, checkpoint=verb == "preempt")
        elif verb in ("migrate", "resize"):
            self._move(view, plan, dice, free, verb, job)
        elif verb == "stage":
            sites = sorted({view.fleet.pool_site[pool] for pool in view.allowed_pools(job)})
            if sites:
                plan.stage(job, dice.pick(sites))
            return
        elif verb == "hold":
            plan.hold(job, view.now + 10.0 * dice.below(20))
        else:
            plan.reject(job)
        acted.add(job)

    def _move(self, view: View, plan: Plan, dice: _Dice, free: _Free, verb: str, job: int) -> None:
        old = view.claims[job]
        size = sum(mask.bit_count() for _, mask, _ in old)
        if verb == "resize":
            size = view.min_gpus[job] + dice.below(view.max_gpus[job] - view.min_gpus[job] + 1)
        free.give(job, old)
        where = old if verb == "migrate" and dice.chance(0.1) else free.anywhere(dice, job, size)
        free.take(job, old if where is None else where)
        if where is not None:
            assert plan.migrate(job, where) if verb == "migrate" else plan.resize(job, where)

    def _capacity(self, view: View, plan: Plan, dice: _Dice, free: _Free, turn: int) -> None:
        """Rent nodes or give one back. These see what the whole plan has taken, so they come last."""
        if turn == 0:
            pool = dice.below(len(view.pools))
            if nodes := view.rentable(pool):
                plan.provision(pool, 1 + dice.below(len(nodes)))
        elif turn == 1:
            idle = [
                node
                for node in range(view.fleet.nodes)
                if view.pools[view.pool_of(node)].elastic
                and free.whole(node)
                and view.free_gpus(node)
                and view.ready_in_s(((node, 1, 1000),)) == 0.0
            ]
            if idle:
                plan.release(dice.pick(idle))


fuzzes = st.builds(Fuzz, st.integers(0, 1000), st.sampled_from((0, 30, 100)))


def shipped() -> dict[str, AnyStrategy]:
    """Every strategy that ships, by name, with the parameters of its file."""
    out = {}
    for file in sorted((Path(__file__).parents[2] / "conf" / "strategy").glob("*.yaml")):
        options = yaml.safe_load(file.read_text())
        module, name = options.pop("_target_").rsplit(".", 1)
        out[file.stem] = getattr(importlib.import_module(module), name)(**options)
    return out
