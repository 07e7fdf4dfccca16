"""Where work can run: sites of owned clusters and clouds, their pools of nodes, links, quotas, budgets and outages.

Units are suffixes. ``Fleet`` numbers sites, pools, nodes and links in the order in which they are listed. Everything
is frozen data; what becomes of it in a run is the world's and the state's.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Literal

import numpy as np

from hcsim.errors import InputError, in_bounds, nearest, require
from hcsim.limits import Budget as Budget
from hcsim.limits import Outage as Outage
from hcsim.limits import Quota as Quota
from hcsim.regions import known as known_region
from hcsim.regions import known_provider, region_of
from hcsim.series import Series, name_series
from hcsim.tariff import BILLING_MONTH_S as BILLING_MONTH_S
from hcsim.tariff import GB as GB
from hcsim.tariff import Tariff as Tariff

MarketKind = Literal["owned", "reserved", "on_demand", "spot"]
SiteKind = Literal["owned", "cloud", "edge"]
SITES: tuple[SiteKind, ...] = ("owned", "cloud", "edge")
MARKETS: tuple[MarketKind, ...] = ("owned", "reserved", "on_demand", "spot")


@dataclass(frozen=True)
class Reclaim:
    """How a spot market takes nodes back: at random, when its price passes a bid, or when its pool's stock falls.

    Args:
        mtbf_s: mean time to the random reclaim of one node (exponential; inf: never).
        bid_usd_per_gpu_h: while the price is above it nodes are reclaimed and none can be had (inf: never).
        beyond: nodes that are up beyond it are reclaimed: the pool's ``stock``, a series of its own, or nothing (None).
        notice_s: how long before it goes a node is warned (NOTICE), or as it comes up if later; 0: not at all. A
            job that can write a checkpoint in that time does.
    """

    mtbf_s: float = inf
    bid_usd_per_gpu_h: float = inf
    notice_s: float = 120.0
    beyond: Series | Literal["stock"] | None = "stock"

    def __post_init__(self) -> None:
        known = self.beyond is None or isinstance(self.beyond, Series) or self.beyond == "stock"
        require(known, f"reclaim: beyond is {self.beyond!r}, expected stock, a series or null")
        require(self.mtbf_s > 0, f"reclaim: mtbf_s is {self.mtbf_s}, expected > 0 (inf: never)")
        require(self.bid_usd_per_gpu_h >= 0, f"reclaim: bid_usd_per_gpu_h is {self.bid_usd_per_gpu_h}, expected >= 0")
        in_bounds("reclaim", self, notice_s=(0.0, inf))


@dataclass(frozen=True)
class NodePool:
    """Identical nodes of one site, bought in one market.

    ``owned`` and ``reserved`` nodes are always up and paid for whether used or not. ``on_demand`` and ``spot`` nodes
    are slots: a claim on a slot that is off boots it, an idle node is released after ``idle_release_s``, and each
    stretch from up to off is billed in steps of ``billing_s``, at least ``min_billing_s``. On a fleet without
    accelerators a group of CPU cores counts as one device of type ``cpu``.

    Args:
        usd_per_gpu_h: list price, or amortisation of an owned node.
        price: the list price over time, instead.
        discount_share: negotiated discount on either, 0 to 1 (1: a reservation that is paid elsewhere).
        boot_s, boot_cv: mean and coefficient of variation of the time from request to up (lognormal, drawn per slot
            and time).
        image_s, image_cv: the same of pulling the image, which follows the boot.
        stock: how many nodes of a rented pool can be had, over time. It is seen as it changes; of a spot pool, nodes
            that are up beyond it are reclaimed (``reclaim.beyond``).
        committed: whether a reserved pool is paid for when it is not used; if not, only what jobs hold of it is.
        stockout_share: chance that in a ten-minute slot only some nodes can be had (as many as a uniform draw says);
            it is seen when a request fails.
        mtbf_s, repair_s: mean times between failures of one node and to its repair (exponential).
        idle_w, max_w: power of a node without and with full load on all its GPUs (0: not modelled).
    """

    name: str
    gpu: str
    gpus_per_node: int
    nodes: int
    usd_per_gpu_h: float = 0.0
    market: MarketKind = "owned"
    gpu_memory_bytes: float = 80e9
    cpus_per_node: float = 0.0  # 0: not modelled, any demand fits
    ram_bytes_per_node: float = 0.0  # 0: not modelled
    boot_s: float = 0.0
    boot_cv: float = 0.0
    min_billing_s: float = 60.0
    idle_release_s: float = 300.0
    mtbf_s: float = inf
    repair_s: float = 3600.0
    price: Series | None = None
    discount_share: float = 0.0
    billing_s: float = 1.0
    image_s: float = 0.0
    image_cv: float = 0.0
    stock: Series | None = None
    stockout_share: float = 0.0
    reclaim: Reclaim = field(default_factory=Reclaim)
    idle_w: float = 0.0
    max_w: float = 0.0
    committed: bool = True

    def __post_init__(self) -> None:
        where = f"pool '{self.name}'"
        name_series(where, self, "price", "stock")
        if isinstance(self.reclaim.beyond, Series):
            object.__setattr__(
                self, "reclaim", replace(self.reclaim, beyond=self.reclaim.beyond.named(f"{where}: beyond"))
            )
        require(self.market in MARKETS, f"{where}: market '{self.market}' unknown; {nearest(self.market, MARKETS)}")
        require(self.nodes > 0, f"{where}: nodes is {self.nodes}, expected at least 1")
        require(
            0 < self.gpus_per_node <= 16,
            f"{where}: gpus_per_node is {self.gpus_per_node}, expected 1 to 16"
            " (a group of CPU cores counts as one device)",
        )
        amounts = ("usd_per_gpu_h", "boot_s", "boot_cv", "image_s", "image_cv", "min_billing_s", "idle_release_s",
                   "gpu_memory_bytes", "cpus_per_node", "ram_bytes_per_node", "idle_w")  # fmt: skip
        in_bounds(where, self, **dict.fromkeys(amounts, (0.0, inf)))
        in_bounds(where, self, discount_share=(0.0, 1.0), stockout_share=(0.0, 1.0), max_w=(self.idle_w, inf))
        for name in ("mtbf_s", "repair_s", "billing_s"):
            require(getattr(self, name) > 0, f"{where}: {name} is {getattr(self, name)}, expected > 0")
        require(self.billing_s < inf, f"{where}: billing_s is inf, expected finite")
        if self.price is not None:
            low = float(self.price.values.min())
            require(low >= 0, f"{where}: price falls to {low:g}, expected >= 0 ({self.price.source})")
            require(not self.usd_per_gpu_h, f"{where}: both usd_per_gpu_h and price are given, expected one")
        if self.stock is not None:
            low = float(self.stock.values.min())
            require(low >= 0, f"{where}: stock falls to {low:g}, expected >= 0 ({self.stock.source})")
        rented_only = (self.stock is not None, self.stockout_share > 0)
        require(self.elastic or not any(rented_only), f"{where}: a {self.market} pool is there, expected no stock")
        require(self.committed or self.market == "reserved", f"{where}: committed is of reserved pools")
        never = (self.reclaim.mtbf_s, self.reclaim.bid_usd_per_gpu_h) == (inf, inf)
        require(self.market == "spot" or never, f"{where}: reclaim is of spot pools, the market is {self.market}")

    @property
    def reclaimed_beyond(self) -> Series | None:
        """The series beyond which nodes are reclaimed (None: none are)."""
        beyond = self.stock if self.reclaim.beyond == "stock" else self.reclaim.beyond
        return beyond if self.market == "spot" else None

    @property
    def elastic(self) -> bool:
        """Whether nodes are rented rather than standing there."""
        return self.market in ("on_demand", "spot")

    def usd_at(self, list_usd: float) -> float:
        """What is paid at a list price."""
        return list_usd * (1.0 - self.discount_share)

    @property
    def first_usd(self) -> float:
        """What a GPU-hour costs at the start of a run."""
        return self.usd_at(self.usd_per_gpu_h if self.price is None else self.price.at(0.0))


@dataclass(frozen=True)
class Site:
    """A place under one provider and one jurisdiction: an owned cluster, a cloud's region or zone, an edge.

    Args:
        quota_gpus: most GPUs rented there at one time (None: no limit); see also :class:`Quota`.
        region: the provider's name for it, for price books and carbon data.
        cache_bytes: room for copies of datasets that live elsewhere; the least recently used go first. What placed or
            running jobs read stays, even beyond it: they cannot run without.
        egress_bytes_per_s, ingress_bytes_per_s: what all transfers out of and into the site share.
        storage_usd_per_gb_month: for datasets cached and checkpoints kept there.
        control_plane_usd_per_h: a fee for as long as the run lasts.
        usd_per_kwh: price of energy, billed at owned sites (a cloud's prices contain it).
        pue: power usage effectiveness; a site takes it times what its nodes take.
        carbon: intensity of its power, g CO2 per kWh.
    """

    name: str
    pools: tuple[NodePool, ...]
    jurisdiction: str = "any"
    provider: str = "owned"
    kind: SiteKind = "owned"
    quota_gpus: int | None = None
    region: str = ""
    cache_bytes: float = inf
    egress_bytes_per_s: float = inf
    ingress_bytes_per_s: float = inf
    storage_usd_per_gb_month: float = 0.0
    control_plane_usd_per_h: float = 0.0
    usd_per_kwh: float = 0.0
    pue: float = 1.0
    carbon: Series | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pools", tuple(self.pools))  # configuration files give lists
        where, quota = f"site '{self.name}'", self.quota_gpus
        name_series(where, self, "carbon")
        require(self.kind in SITES, f"{where}: kind '{self.kind}' unknown; {nearest(self.kind, SITES)}")
        require(quota is None or quota >= 1, f"{where}: quota_gpus is {quota}, expected at least 1 (null: no limit)")
        known_provider(where, self.provider)
        known_region(where, self.provider, self.region, cloud=self.kind == "cloud")
        require(self.cache_bytes >= 0, f"{where}: cache_bytes is {self.cache_bytes}, expected >= 0")
        for name in ("egress_bytes_per_s", "ingress_bytes_per_s"):
            require(getattr(self, name) > 0, f"{where}: {name} is {getattr(self, name)}, expected > 0")
        fees = ("storage_usd_per_gb_month", "control_plane_usd_per_h", "usd_per_kwh")
        in_bounds(where, self, pue=(1.0, inf), **dict.fromkeys(fees, (0.0, inf)))
        low = 0.0 if self.carbon is None else float(self.carbon.values.min())
        require(low >= 0, f"{where}: carbon falls to {low:g}, expected >= 0")


@dataclass(frozen=True)
class Link:
    """A directed path between two sites; ``usd_per_gb`` is the egress price that the source's provider charges, at a
    GB of 1e9 bytes. With ``tariff`` the fleet's tariff of that name is charged instead; links of one tariff share its
    volume."""

    source: str
    target: str
    bytes_per_s: float = 1.25e9
    latency_s: float = 0.05
    usd_per_gb: float = 0.0
    tariff: str = ""

    def __post_init__(self) -> None:
        where = f"link {self.source} -> {self.target}"
        require(0 < self.bytes_per_s < inf, f"{where}: bytes_per_s is {self.bytes_per_s}, expected finite, > 0")
        in_bounds(where, self, latency_s=(0.0, inf), usd_per_gb=(0.0, inf))
        require(not (self.tariff and self.usd_per_gb), f"{where}: both usd_per_gb and tariff are given, expected one")


@dataclass(frozen=True)
class Fleet:
    """Sites, the links between them, and what limits and befalls them."""

    sites: tuple[Site, ...]
    links: tuple[Link, ...] = ()
    name: str = "fleet"
    tariffs: tuple[Tariff, ...] = ()
    quotas: tuple[Quota, ...] = ()
    budgets: tuple[Budget, ...] = ()
    outages: tuple[Outage, ...] = ()

    def __post_init__(self) -> None:
        for key in ("sites", "links", "tariffs", "quotas", "budgets", "outages"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        # of one trace there may be outages of many nodes
        nested = (each if isinstance(each, Sequence) else (each,) for each in self.outages)
        object.__setattr__(self, "outages", tuple(each for some in nested for each in some))
        where = f"fleet '{self.name}'"
        require(len(self.sites) > 0, f"{where}: no sites")
        require(len(self.pools) > 0, f"{where}: no node pools, so no accelerator that could run a job")
        names = [s.name for s in self.sites]
        require(len(set(names)) == len(names), f"{where}: two sites share a name among {names}")
        pools = [p.name for p in self.pools]
        require(len(set(pools)) == len(pools), f"{where}: two pools share a name among {pools}")
        tariffs = [t.name for t in self.tariffs]
        require(len(set(tariffs)) == len(tariffs), f"{where}: two tariffs share a name among {tariffs}")
        for link in self.links:
            of = f"link {link.source} -> {link.target}"
            for end in (link.source, link.target):
                require(end in names, f"{of}: no site '{end}'; {nearest(end, names)}")
            _known(of, "tariff", link.tariff, tariffs)
        ends = [(k.source, k.target) for k in self.links]
        twice = next((end for end in ends if ends.count(end) > 1), None)
        require(twice is None, f"{where}: two links {' -> '.join(twice or ())}")
        providers = [s.provider for s in self.sites]
        regions = sorted({name for s in self.sites if s.region for name in (s.region, region_of(s.provider, s.region))})
        for quota in self.quotas:
            _known(f"quota {quota.name}", "provider", quota.provider, providers)
            _known(f"quota {quota.name}", "region", quota.region, regions)
            _known(f"quota {quota.name}", "site", quota.site, names)
            for gpu in quota.gpu.split("|"):
                _known(f"quota {quota.name}", "gpu", gpu, [p.gpu for p in self.pools])
        self._quotas_limit()
        for budget in self.budgets:
            _known("budget", "provider", budget.provider, providers)
        known = {"site": names, "provider": providers, "link": [f"{a} -> {b}" for a, b in ends]}
        for outage in self.outages:
            if outage.scope == "node":
                self.node_number(outage.name)
            else:
                _known("outage", outage.scope, outage.name, known[outage.scope], always=True)

    def _quotas_limit(self) -> None:
        """Each quota is of some rented pool, and leaves room for a node of one."""
        for i, quota in enumerate(self.limits):
            sizes = [p.gpus_per_node for p, mine in zip(self.pools, self.pool_quotas, strict=True) if i in mine]
            own = i < len(self.limits) - len(self.quotas)
            where, key = (f"site '{quota.site}'", "quota_gpus") if own else (f"quota {quota.name}", "gpus")
            require(bool(sizes), f"{where}: no rented pool is all of that, so {key} limits nothing")
            least = f"expected at least {min(sizes)}, a node of what it limits"
            more = "what may not be rented is left out of the fleet"
            require(quota.gpus >= min(sizes), f"{where}: {key} is {quota.gpus}, {least}; {more}")

    @cached_property
    def pools(self) -> tuple[NodePool, ...]:
        return tuple(pool for site in self.sites for pool in site.pools)

    @cached_property
    def pool_site(self) -> tuple[int, ...]:
        """Site number of each pool."""
        return tuple(i for i, site in enumerate(self.sites) for _ in site.pools)

    @cached_property
    def pool_quotas(self) -> tuple[tuple[int, ...], ...]:
        """Of each pool the quotas that it counts towards, as numbers into :attr:`limits`."""
        out = []
        for pool, s in zip(self.pools, self.pool_site, strict=True):
            site = self.sites[s]
            own = (site.provider, site.region, site.name, pool.gpu)
            out.append(tuple(i for i, q in enumerate(self.limits) if q.covers(*own)) if pool.elastic else ())
        return tuple(out)

    @cached_property
    def limits(self) -> tuple[Quota, ...]:
        """All quotas, those of sites (``quota_gpus``) first."""
        of_sites = [Quota(s.quota_gpus, site=s.name) for s in self.sites if s.quota_gpus is not None]
        return (*of_sites, *self.quotas)

    @cached_property
    def first_node(self) -> tuple[int, ...]:
        """Number of each pool's first node, and one past the last node of the last pool."""
        return (0, *np.cumsum([p.nodes for p in self.pools]).tolist())

    @cached_property
    def node_pool(self) -> list[int]:
        """Pool number of each node."""
        return np.repeat(np.arange(len(self.pools)), [p.nodes for p in self.pools]).tolist()

    @property
    def nodes(self) -> int:
        return self.first_node[-1]

    def node_number(self, name: str) -> int:
        """The number of a node that is named ``pool/number``, counting in the pool from 0.

        Raises:
            InputError: there is none.
        """
        pool, _, number = name.rpartition("/")
        names = [p.name for p in self.pools]
        require(pool in names, f"node '{name}': no pool '{pool}'; {nearest(pool, names)}")
        p = names.index(pool)
        ok = number.isdecimal() and int(number) < self.pools[p].nodes
        require(ok, f"node '{name}' does not exist, expected {pool}/0 to {pool}/{self.pools[p].nodes - 1}")
        return self.first_node[p] + int(number)

    @property
    def gpus(self) -> int:
        """GPUs when every slot of every elastic pool is up."""
        return sum(p.nodes * p.gpus_per_node for p in self.pools)

    @cached_property
    def site_names(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.sites)

    def link(self, source: int, target: int) -> Link | None:
        """The link between two site numbers; None within a site.

        Raises:
            InputError: two different sites have no link.
        """
        if source == target:
            return None
        found = self.links_by_sites.get((source, target))
        if found is None:
            raise InputError(f"no link {self.sites[source].name} -> {self.sites[target].name} to carry data over")
        return found

    @cached_property
    def links_by_sites(self) -> dict[tuple[int, int], Link]:
        """(source, target) as site numbers -> link."""
        number = {name: i for i, name in enumerate(self.site_names)}
        return {(number[k.source], number[k.target]): k for k in self.links}

    def nearest_home(self, homes: Sequence[int], site: int, cut: Container[int] = ()) -> int:
        """Of a dataset's homes the one to carry it from: the cheapest by its first tier, then the fastest, one whose
        link is ``cut`` only if all are; -1: none."""
        links, tariffs = self.links_by_sites, self.tariff_of
        ways = [home for home in homes if (home, site) in links]
        if not ways:
            return -1
        if len(ways) == 1:
            return ways[0]

        def cost(home: int) -> tuple[bool, float, float, int]:
            link = links[home, site]
            return self.links.index(link) in cut, tariffs[home, site].tiers[0][1], -link.bytes_per_s, home

        return min(ways, key=cost)

    @cached_property
    def tariff_of(self) -> dict[tuple[int, int], Tariff]:
        """(source, target) as site numbers -> what its egress costs; a flat price is a tariff of its own."""
        named = {t.name: t for t in self.tariffs}
        return {
            ends: named[k.tariff] if k.tariff else Tariff(f"{k.source} -> {k.target}", ((inf, k.usd_per_gb),))
            for ends, k in self.links_by_sites.items()
        }


def _known(where: str, what: str, name: str, known: Sequence[str], *, always: bool = False) -> None:
    if name or always:
        require(name in known, f"{where}: no {what} '{name}'; {nearest(name, known)}")
