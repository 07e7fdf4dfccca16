"""The bill: line items made from a log by one function. Their sum is the bill, at any time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.events import Kind
from hcsim.model import Fleet

if TYPE_CHECKING:
    import pandas as pd

HOUR_S = 3600.0
GB = 1e9


@dataclass(frozen=True)
class Ledger:
    """Line items as columns of equal length.

    ``kind`` is ``compute`` (quantity in GPU-hours) or ``egress`` (quantity in GB of 1e9 bytes); ``job`` is -1 where an
    item belongs to none; ``pool`` and ``node`` are -1 for egress. ``usd`` is quantity × unit price.
    """

    kind: npt.NDArray[np.str_]
    market: npt.NDArray[np.str_]
    site: npt.NDArray[np.int64]
    pool: npt.NDArray[np.int64]
    node: npt.NDArray[np.int64]
    job: npt.NDArray[np.int64]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    quantity: npt.NDArray[np.float64]
    unit_usd: npt.NDArray[np.float64]
    usd: npt.NDArray[np.float64]

    @property
    def total_usd(self) -> float:
        """The bill."""
        return float(self.usd.sum())

    def by_market_usd(self) -> dict[str, float]:
        """The bill split by market, egress beside the markets; every market of :data:`hcsim.model.MARKETS` appears."""
        from hcsim.model import MARKETS

        return {name: float(self.usd[self.market == name].sum()) for name in (*MARKETS, "egress")}

    def frame(self, fleet: Fleet) -> pd.DataFrame:
        """The items as a pandas frame, sites, providers and pools by name."""
        import pandas as pd

        sites = [s.name for s in fleet.sites]
        pools = [p.name for p in fleet.pools] + [""]
        return pd.DataFrame(
            {
                "kind": self.kind,
                "market": self.market,
                "provider": [fleet.sites[i].provider for i in self.site],
                "site": [sites[i] for i in self.site],
                "pool": [pools[i] for i in self.pool],
                "node": self.node,
                "job": self.job,
                "start_s": self.start_s,
                "end_s": self.end_s,
                "quantity": self.quantity,
                "unit": np.where(self.kind == "egress", "gb", "gpu_h"),
                "unit_usd": self.unit_usd,
                "usd": self.usd,
            }
        )


class _Items:
    def __init__(self) -> None:
        self.rows: list[tuple[str, str, int, int, int, int, float, float, float, float]] = []

    def ledger(self) -> Ledger:
        columns = list(zip(*self.rows, strict=True)) or [()] * 10
        kind, market = (np.array(c, str) for c in columns[:2])
        site, pool, node, job = (np.array(c, np.int64) for c in columns[2:6])
        start_s, end_s, quantity, unit_usd = (np.array(c, np.float64) for c in columns[6:])
        usd = quantity * unit_usd
        return Ledger(kind, market, site, pool, node, job, start_s, end_s, quantity, unit_usd, usd)


def bill(rows: npt.NDArray[Any], fleet: Fleet, until_s: float | None = None) -> Ledger:
    """Line items of a log.

    Owned and reserved nodes are paid from 0 to the end whether used or not, one item per pool and price. Rented nodes
    are paid from NODE_UP to NODE_OFF, NODE_DOWN or the end, each stretch for at least its pool's ``min_billing_s``, one
    item per stretch and price. Every TRANSFERRED row is an egress item at its link's price.

    Args:
        rows: structured array of a log.
        until_s: bill as of that time (default: the last row's time). A stretch that is still open owes its minimum
            from its first moment and at that moment's price, so the bill never falls as time goes on.
    """
    end_s = float(rows["time_s"][-1]) if until_s is None and len(rows) else float(until_s or 0.0)
    wanted = [Kind.NODE_UP, Kind.NODE_OFF, Kind.NODE_DOWN, Kind.PRICE_CHANGED, Kind.TRANSFERRED]
    rows = rows[np.isin(rows["kind"], [int(k) for k in wanted]) & (rows["time_s"] <= end_s)]
    prices: list[list[tuple[float, float]]] = [[(0.0, pool.first_usd)] for pool in fleet.pools]
    for row in rows[rows["kind"] == Kind.PRICE_CHANGED]:
        prices[row["subject"]].append((float(row["time_s"]), float(row["value"])))
    items = _Items()
    for p, pool in enumerate(fleet.pools):
        if not pool.elastic:
            _compute(items, fleet, p, -1, pool.nodes, 0.0, end_s, end_s, prices[p])
    up_s: dict[int, float] = {}
    nodes = rows[np.isin(rows["kind"], [int(Kind.NODE_UP), int(Kind.NODE_OFF), int(Kind.NODE_DOWN)])]
    for t, kind, node in zip(nodes["time_s"].tolist(), nodes["kind"].tolist(), nodes["subject"].tolist(), strict=True):
        p = fleet.node_pool[node]
        if not fleet.pools[p].elastic:
            continue
        if kind == Kind.NODE_UP:
            up_s[node] = t
        elif node in up_s:
            start = up_s.pop(node)
            _compute(items, fleet, p, node, 1, start, t, max(t, start + fleet.pools[p].min_billing_s), prices[p])
    for node, start in sorted(up_s.items()):
        p = fleet.node_pool[node]
        paid_until = max(end_s, start + fleet.pools[p].min_billing_s)
        _compute(items, fleet, p, node, 1, start, end_s, paid_until, prices[p])
    for row in rows[rows["kind"] == Kind.TRANSFERRED]:
        source, target = int(row["node"]), int(row["detail"])
        link = fleet.link(source, target)
        if link is not None:
            t, quantity = float(row["time_s"]), float(row["value"]) / GB
            items.rows.append(
                ("egress", "egress", source, -1, -1, int(row["subject"]), t, t, quantity, link.usd_per_gb)
            )
    return items.ledger()


def _compute(
    items: _Items,
    fleet: Fleet,
    p: int,
    node: int,
    nodes: int,
    start_s: float,
    end_s: float,
    paid_until_s: float,
    prices: list[tuple[float, float]],
) -> None:
    """Items of one stretch, split where the price changes; the minimum is owed at the price of its first moment."""
    pool = fleet.pools[p]
    least_s = start_s + (pool.min_billing_s if pool.elastic else 0.0)
    edges = [start_s, *(max(t, least_s) for t, _ in prices if start_s < t < end_s), paid_until_s]
    for a, b in pairwise(edges):
        if b > a:
            usd = next(price for t, price in reversed(prices) if t <= a)
            hours = (b - a) / HOUR_S * nodes * pool.gpus_per_node
            items.rows.append(("compute", pool.market, fleet.pool_site[p], p, node, -1, a, b, hours, usd))
