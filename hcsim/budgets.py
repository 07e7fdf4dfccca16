"""What rented nodes have cost in the current period of each budget, as it accrues second by second."""

from __future__ import annotations

from hcsim.capacity import Capacity
from hcsim.fleet import Budget, Fleet

HOUR_S = 3600.0


class Budgets:
    """Accounts of a fleet's budgets. Minimums and steps of billing are not in them: they are known when a node goes."""

    def __init__(self, fleet: Fleet, capacity: Capacity, price_usd: list[float]) -> None:
        self.budgets: tuple[Budget, ...] = fleet.budgets
        self._capacity, self._price_usd = capacity, price_usd
        self._size = capacity.size
        self._scope = [
            [
                p
                for p, s in enumerate(fleet.pool_site)
                if fleet.pools[p].elastic and budget.provider in ("", fleet.sites[s].provider)
            ]
            for budget in fleet.budgets
        ]
        self._up = [0] * len(fleet.pools)
        self._now = 0.0
        self.spent_usd = [0.0] * len(fleet.budgets)

    def nodes(self, t: float, pool: int, change: int) -> None:
        """A rented node of a pool came up (1) or went (-1)."""
        self.accrue(t)
        self._up[pool] += change

    def accrue(self, t: float) -> None:
        """Let time pass; call before anything that changes what an hour costs."""
        for i, budget in enumerate(self.budgets):
            usd_per_s = sum(self._up[p] * self._size[p] * self._price_usd[p] for p in self._scope[i]) / HOUR_S
            begin_s = t // budget.period_s * budget.period_s
            if begin_s > self._now:
                self.spent_usd[i] = 0.0
            self.spent_usd[i] += usd_per_s * (t - max(begin_s, self._now))
        self._now = t

    def check(self, t: float) -> list[float]:
        """Bar the pools whose budget is spent, open the others; when the periods end that bar any."""
        self.accrue(t)
        barred = [False] * len(self._capacity.barred)
        ends = []
        for i, budget in enumerate(self.budgets):
            if self.spent_usd[i] >= budget.usd:
                ends.append((t // budget.period_s + 1) * budget.period_s)
                for p in self._scope[i]:
                    barred[p] = True
        for p, (before, after) in enumerate(zip(self._capacity.barred, barred, strict=True)):
            self._capacity.barred[p] = after
            if before and not after:
                self._capacity.reopen(p)
        return ends
