"""Whose each GPU is in every second, and what that costs, takes and emits: added up GPU by GPU as rows come."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan

from hcsim.audit.base import Now
from hcsim.fleet import Fleet

J_PER_KWH = 3.6e6
NOBODY = -1


@dataclass(slots=True)
class Account:
    """What somebody has had of one pool."""

    gpu_s: float = 0.0
    usd: float = 0.0
    joules: float = 0.0
    grams: float = 0.0  # NaN: of a place where no intensity is known


class Shares:
    """Accounts by (job, pool); :data:`NOBODY` has what is left of nodes that are up (energy alone, not its price).

    A job has a GPU from when it claimed it, but not before the node is up and who drained on it then is gone. It takes
    its share of ``idle_w``, running or draining on it the rest up to ``max_w``, times the site's PUE.
    """

    def __init__(
        self, now: Now, fleet: Fleet, first: list[int], cost: Callable[[int, float, float, float], float]
    ) -> None:
        self.now, self._first, self._cost = now, first, cost
        self._pool_of, self._site_of = fleet.node_pool, fleet.pool_site
        pue = [fleet.sites[s].pue for s in fleet.pool_site]
        self._idle_w = [pool.idle_w * pue[p] / pool.gpus_per_node for p, pool in enumerate(fleet.pools)]
        self._more_w = [(pool.max_w - pool.idle_w) * pue[p] / pool.gpus_per_node for p, pool in enumerate(fleet.pools)]
        # node -> since when it is up
        self._up: list[float | None] = [None if fleet.pools[p].elastic else 0.0 for p in self._pool_of]
        # GPU -> job -> milli run, drain, claim; since when it drains, when it claimed
        self._who: list[dict[int, list[float]]] = [{} for _ in range(first[-1])]
        self._since = [0.0] * first[-1]
        self.accounts: defaultdict[tuple[int, int], Account] = defaultdict(Account)
        # site -> (from when, g CO2 per kWh, grams that a watt has brought about until then)
        self._carbon: list[list[tuple[float, float, float]]] = [[] for _ in fleet.sites]

    def change(self, job: int, node: int, gpu: int, how: int, milli: int) -> None:
        """Of a GPU a job has so many thousandths more (or fewer): 0 to run, 1 to drain, 2 as a claim."""
        self._add(gpu, node)
        who = self._who[gpu]
        mine = who.setdefault(job, [0, 0, 0, 0.0, 0.0])
        if how and not mine[how]:
            mine[how + 2] = self.now.time_s
        mine[how] += milli
        if not any(mine[:3]):
            del who[job]

    def node(self, node: int, up: bool) -> None:
        """A node comes up, or no longer is."""
        for gpu in range(self._first[node], self._first[node + 1]):
            self._add(gpu, node)
        self._up[node] = self.now.time_s if up else None

    def intensity(self, site: int, grams: float) -> None:
        """CARBON_CHANGED."""
        dose = self._dose(site, self.now.time_s)
        self._carbon[site].append((self.now.time_s, grams, dose if self._carbon[site] else 0.0))

    def close(self) -> None:
        """Everything up to now."""
        for node in range(len(self._pool_of)):
            for gpu in range(self._first[node], self._first[node + 1]):
                self._add(gpu, node)

    def _dose(self, site: int, t: float) -> float:
        """Grams that one watt of a site has brought about until then; NaN before its intensity is told."""
        told = self._carbon[site]
        i = bisect_right(told, t, key=lambda each: each[0]) - 1
        if i < 0:
            return nan
        since, grams, area = told[i]
        return area + grams / J_PER_KWH * (t - since)

    def _add(self, gpu: int, node: int) -> None:
        since, until = self._since[gpu], self.now.time_s
        if since == until:
            return
        self._since[gpu] = until
        up = self._up[node]
        if up is None:
            return
        p, dt = self._pool_of[node], until - since
        idle_w, more_w = self._idle_w[p], self._more_w[p]
        site = self._site_of[p]
        dose = self._dose(site, until) - self._dose(site, since)
        left = 1000.0
        who = self._who[gpu]
        if who:
            usd = self._cost(p, up, since, until)
            first = min((each[3] for each in who.values() if each[1]), default=inf)
            for job, (run, drain, claim, _, claimed_s) in who.items():
                busy = run + drain
                had = busy if first <= claimed_s else busy + claim  # a claim waits for who drained when it was made
                left -= had
                if had:
                    mine = self.accounts[job, p]
                    mine.gpu_s += had / 1000.0 * dt
                    mine.usd += had / 1000.0 * usd
                    watts = (had * idle_w + busy * more_w) / 1000.0
                    mine.joules += watts * dt
                    mine.grams += watts * dose
        if left and idle_w:
            rest = self.accounts[NOBODY, p]
            rest.joules += left / 1000.0 * idle_w * dt
            rest.grams += left / 1000.0 * idle_w * dose
