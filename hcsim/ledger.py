"""The bill: line items made from a log by one function. Their sum is the bill, at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.errors import require
from hcsim.events import Kind
from hcsim.fleet import BILLING_MONTH_S, GB, MARKETS, Fleet
from hcsim.held import Ints, as_of, held, stretches
from hcsim.model import Jobs
from hcsim.paid import paid
from hcsim.power import J_PER_KWH, measure
from hcsim.spells import Floats, Rows, of_kinds, spells

if TYPE_CHECKING:
    import pandas as pd

HOUR_S = 3600.0
#: What an item is for, with the unit of its quantity. ``commitment`` is what was committed to and not used.
UNITS = {
    "compute": "gpu_h",
    "commitment": "gpu_h",
    "egress": "gb",
    "storage": "gb_month",
    "control_plane": "h",
    "energy": "kwh",
}
CATEGORIES = tuple(UNITS)


@dataclass(frozen=True)
class Ledger:
    """Line items as columns of equal length; ``usd`` is quantity × unit price.

    ``category`` is a code into :data:`CATEGORIES`. ``job`` is -1 where an item is nobody's: idle nodes, unused
    commitment, fees. Numbers of sites, pools, nodes, links are the fleet's, -1 where there is none; an egress item's
    site is where the bytes left. ``tier`` numbers the tiers of a tariff from 0 (-1: its free volume); of
    storage 0 is a copy of a dataset, 1 a checkpoint. ``spell`` numbers the times that jobs were given GPUs.
    """

    category: npt.NDArray[np.int8]
    site: Ints
    pool: Ints
    node: Ints
    link: Ints
    tier: Ints
    job: Ints
    spell: Ints
    start_s: Floats
    end_s: Floats
    quantity: Floats
    unit_usd: Floats
    usd: Floats

    @property
    def total_usd(self) -> float:
        """The bill."""
        return float(self.usd.sum())

    def of(self, category: str) -> npt.NDArray[np.bool_]:
        """Which items are of a category."""
        mine: npt.NDArray[np.bool_] = self.category == CATEGORIES.index(category)
        return mine

    def by_category_usd(self) -> dict[str, float]:
        """The bill split by category; every one of :data:`CATEGORIES` appears."""
        return {name: float(self.usd[self.of(name)].sum()) for name in CATEGORIES}

    def by_market_usd(self, fleet: Fleet) -> dict[str, float]:
        """The bill split by market, what is bought in none by category; every market appears."""
        market = self.market(fleet)
        rest = [name for name in CATEGORIES if name not in ("compute", "commitment")]
        return {name: float(self.usd[market == name].sum()) for name in (*MARKETS, *rest)}

    def by_job_usd(self, n: int) -> Floats:
        """What each of ``n`` jobs cost: the GPUs that it held, their energy, its transfers and what it kept."""
        mine = self.job >= 0
        cost: Floats = np.bincount(self.job[mine], self.usd[mine], minlength=n).astype(np.float64)
        return cost

    def unused_share(self, fleet: Fleet) -> float | None:
        """Of the GPU-hours that were reserved those that nobody used; None where nothing is reserved."""
        mine = self.market(fleet) == "reserved"
        hours = float(self.quantity[mine].sum())
        return float(self.quantity[self.of("commitment")].sum()) / hours if hours else None

    def market(self, fleet: Fleet) -> npt.NDArray[Any]:
        """The market of each item, or its category where it is bought in none."""
        names = np.array(CATEGORIES)[self.category]
        bought = self.of("compute") | self.of("commitment")
        of_pool = np.array([*(pool.market for pool in fleet.pools), ""])
        out: npt.NDArray[Any] = np.where(bought, of_pool[self.pool], names)
        return out

    def frame(self, fleet: Fleet, jobs: Jobs | None = None) -> pd.DataFrame:
        """The items as a pandas frame, everything by name; ``job`` by the trace's id where ``jobs`` are given."""
        import pandas as pd

        def named(names: list[str], codes: npt.NDArray[Any]) -> Any:
            return pd.Categorical.from_codes(codes, pd.Index(names))

        links = [k.tariff or f"{k.source} -> {k.target}" for k in fleet.links]
        places = [*(site.name for site in fleet.sites)]
        job, tenant = self.job, np.full(len(self.job), "", object)
        if jobs is not None:
            mine = self.job >= 0
            tenant[mine] = np.array(jobs.tenants, object)[jobs.tenant[self.job[mine]]]
            job = np.where(mine, jobs.id[self.job], -1) if len(jobs) else self.job
        return pd.DataFrame(
            {
                "category": named(list(CATEGORIES), self.category),
                "market": pd.Categorical(self.market(fleet)),
                "provider": np.array([site.provider for site in fleet.sites])[self.site],
                "site": named(places, self.site),
                "region": np.array([site.region for site in fleet.sites])[self.site],
                "pool": named([pool.name for pool in fleet.pools], self.pool),
                "node": self.node,
                "tariff": named(list(dict.fromkeys(links)), _codes(links)[self.link]),
                "tier": self.tier,
                "job": job,
                "tenant": tenant,
                "spell": self.spell,
                "start_s": self.start_s,
                "end_s": self.end_s,
                "quantity": self.quantity,
                "unit": pd.Categorical(np.array(list(UNITS.values()))[self.category]),
                "unit_usd": self.unit_usd,
                "usd": self.usd,
            }
        )


def _codes(names: list[str]) -> Ints:
    """The number of each name among the different ones; a last -1 stands for none."""
    first = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([*(first[name] for name in names), -1], np.int64)


def bill(rows: Rows, fleet: Fleet, until_s: float | None = None, *, jobs: Jobs | None = None) -> Ledger:
    """Line items of a log.

    Owned and reserved nodes are paid from 0 to the end whether used or not. Rented nodes are paid from NODE_UP to
    NODE_OFF, NODE_DOWN or the end, each stretch in steps of its pool's ``billing_s``, at least ``min_billing_s``; a
    step that has begun is owed in full, at the price of its first moment, and so is the minimum. What a job held of a
    node is the job's item; the rest is nobody's, and of a reserved pool it is the unused commitment. Every TRANSFERRED
    or METERED row pays the tiers of its tariff that it falls into, in the order of the log, months beginning at
    multiples of 730 hours. Copies of datasets are stored from STAGED to EVICTED, a job's last checkpoint from the end
    of the run that left it until the job ends or leaves one at another site. Control planes are paid from 0 to the end.
    Sites that are no cloud pay for energy (:mod:`hcsim.power`).

    Args:
        rows: structured array of a log.
        until_s: bill as of that time (default: the last row's time). The bill never falls as time goes on.
        jobs: as they were played; needed where checkpoints are paid for.

    Raises:
        InputError: a site charges for storage and ``jobs`` is missing.
    """
    rows, end_s = as_of(rows, until_s)
    up = stretches(rows, fleet, end_s)
    claims = held(rows, fleet, up, end_s)
    items = _Items(fleet)
    items.compute(*paid(rows, fleet, up, claims, end_s))
    _egress(items, rows)
    if any(site.storage_usd_per_gb_month for site in fleet.sites):
        require(jobs is not None, "bill: a site charges for storage, so it takes the jobs to know their checkpoints")
        assert jobs is not None
        _storage(items, rows, jobs, end_s)
    sites = np.array([i for i, site in enumerate(fleet.sites) if site.control_plane_usd_per_h], np.int64)
    fee = np.array([fleet.sites[i].control_plane_usd_per_h for i in sites])
    items.add("control_plane", sites, np.zeros(len(sites)), end_s, np.full(len(sites), end_s / HOUR_S), fee)
    usd_per_kwh = np.array([0.0 if s.kind == "cloud" else s.usd_per_kwh for s in fleet.sites])
    if usd_per_kwh.any():
        use = measure(rows, fleet, up, claims, end_s)
        site = np.array(fleet.pool_site)[use.pool]
        mine = (use.joules > 0) & (usd_per_kwh[site] > 0)
        items.add(
            "energy", site[mine], use.start_s[mine], use.end_s[mine], use.joules[mine] / J_PER_KWH,
            usd_per_kwh[site[mine]], pool=use.pool[mine], node=use.node[mine], job=use.job[mine], spell=use.spell[mine],
        )  # fmt: skip
    return items.ledger()


class _Items:
    """Line items, a block of columns at a time."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._blocks: list[dict[str, npt.NDArray[Any]]] = []

    def add(
        self, category: str | npt.NDArray[np.int8], site: Ints, start_s: Any, end_s: Any, quantity: Any, unit_usd: Any,
        **others: npt.NDArray[Any],
    ) -> None:  # fmt: skip
        """Items of as many rows as ``site`` has; a number stands for a column of it, a missing one for -1."""
        n = len(site)
        code = CATEGORIES.index(category) if isinstance(category, str) else category
        block: dict[str, npt.NDArray[Any]] = {"category": np.broadcast_to(np.asarray(code, np.int8), n), "site": site}
        for name in ("pool", "node", "link", "tier", "job", "spell"):
            block[name] = np.broadcast_to(others.get(name, np.int64(-1)), n)
        for name, column in (("start_s", start_s), ("end_s", end_s), ("quantity", quantity), ("unit_usd", unit_usd)):
            block[name] = np.broadcast_to(np.asarray(column, np.float64), n)
        self._blocks.append(block)

    def compute(self, pool: Ints, others: dict[str, Ints], numbers: dict[str, Floats]) -> None:
        """What was paid for nodes; of a reserved pool nobody's part is commitment."""
        reserved = np.array([each.market == "reserved" for each in self.fleet.pools])[pool]
        unused = reserved & (others["job"] < 0)
        code = np.where(unused, CATEGORIES.index("commitment"), CATEGORIES.index("compute")).astype(np.int8)
        self.add(code, np.array(self.fleet.pool_site, np.int64)[pool], pool=pool, **numbers, **others)

    def ledger(self) -> Ledger:
        """All of them."""
        columns = {name: np.concatenate([block[name] for block in self._blocks]) for name in self._blocks[0]}
        return Ledger(**columns, usd=columns["quantity"] * columns["unit_usd"])


def _egress(items: _Items, rows: Rows) -> None:
    """Bytes of each tariff and month fill its tiers one after the other, in the month in which they went."""
    fleet = items.fleet
    moved = of_kinds(rows, Kind.TRANSFERRED, Kind.METERED)
    ends = list(fleet.links_by_sites)
    number = {id(link): i for i, link in enumerate(fleet.links)}
    link_of = {pair: number[id(link)] for pair, link in fleet.links_by_sites.items()}
    pairs = list(zip(moved["node"].tolist(), moved["detail"].astype(np.int64).tolist(), strict=True))
    for name in dict.fromkeys(fleet.tariff_of[pair].name for pair in ends):
        tariff = next(t for t in fleet.tariff_of.values() if t.name == name)
        mine = np.array([pair in link_of and fleet.tariff_of[pair].name == name for pair in pairs], bool)
        if not mine.any():
            continue
        out = moved[mine]
        gb = out["value"] / tariff.gb_bytes
        month = (out["time_s"] // BILLING_MONTH_S).astype(np.int64)
        after = np.cumsum(gb)
        first = np.r_[0, np.flatnonzero(np.diff(month)) + 1]
        base = np.repeat((after - gb)[first], np.diff(np.r_[first, len(out)]))
        after, before = after - base, after - gb - base
        link = np.array([link_of[pair] for pair, each in zip(pairs, mine, strict=True) if each], np.int64)
        low = 0.0
        for tier, (bound, usd) in enumerate(((tariff.free_gb, 0.0), *tariff.tiers)):
            bound = max(bound, low)
            part = np.minimum(after, bound) - np.maximum(before, low)
            some = part > 0
            items.add(
                "egress", out["node"][some].astype(np.int64), out["time_s"][some], out["time_s"][some], part[some],
                np.full(int(some.sum()), usd), link=link[some], tier=np.full(int(some.sum()), tier - 1, np.int64),
                job=out["subject"][some].astype(np.int64),
            )  # fmt: skip
            low = bound


def _storage(items: _Items, rows: Rows, jobs: Jobs, end_s: float) -> None:
    """GB-months of copies of datasets and of checkpoints, at the sites that charge for them."""
    fleet = items.fleet
    usd = np.array([site.storage_usd_per_gb_month for site in fleet.sites])
    kept: list[tuple[int, int, float, float, float, int]] = []  # job, site, bytes, from, until, 0 copy or 1 checkpoint
    copies: dict[tuple[int, int], tuple[float, float]] = {}
    for t, kind, job, site, size_bytes, _ in of_kinds(rows, Kind.STAGED, Kind.EVICTED).tolist():
        if kind == Kind.STAGED and size_bytes > 0:
            copies[job, site] = (t, size_bytes)
        elif kind == Kind.EVICTED and (job, site) in copies:
            since, size_bytes = copies.pop((job, site))
            kept.append((job, site, size_bytes, since, t, 0))
    kept += [(job, site, size, since, end_s, 0) for (job, site), (since, size) in copies.items()]
    each = spells(rows, fleet, end_s)
    over = of_kinds(rows, Kind.FINISHED, Kind.REJECTED)
    end_of = np.full(len(jobs), end_s)
    end_of[over["subject"]] = over["time_s"]
    saves = np.isin(each.how, [int(Kind.PREEMPTED), int(Kind.LOST), int(Kind.SHRUNK)])
    saves &= each.stopped_s - each.started_s > each.lost_s  # never started: NaN, which is not greater
    saves &= jobs.checkpoint_bytes[each.job] > 0
    at: dict[int, tuple[int, float]] = {}  # job -> site of its checkpoint, since when
    site_of = np.array(fleet.pool_site)
    for i in np.flatnonzero(saves).tolist():
        job, site, t = int(each.job[i]), int(site_of[each.pool[i]]), float(each.released_s[i])
        if job in at and at[job][0] != site:
            kept.append((job, at[job][0], float(jobs.checkpoint_bytes[job]), at[job][1], t, 1))
        if job not in at or at[job][0] != site:
            at[job] = (site, t)
    for job, (site, since) in at.items():
        kept.append((job, site, float(jobs.checkpoint_bytes[job]), since, float(end_of[job]), 1))
    if not kept:
        return
    job_, site_, size, since_, until_, tier = (np.array(column) for column in zip(*kept, strict=True))
    paid_for = (usd[site_] > 0) & (until_ > since_)
    months = size / GB * (until_ - since_) / BILLING_MONTH_S
    items.add(
        "storage", site_[paid_for], since_[paid_for], until_[paid_for], months[paid_for], usd[site_[paid_for]],
        job=job_[paid_for], tier=tier[paid_for],
    )  # fmt: skip
