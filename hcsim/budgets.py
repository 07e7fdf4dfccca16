"""What rented nodes have cost in the current period of each budget, as it accrues second by second."""

from __future__ import annotations

from math import inf

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
        self._usd_per_s: list[float] | None = None  # of each budget, while nothing changes it
        self._now = 0.0
        self._quiet_s = -inf  # until when no budget will be spent, and no period be over
        self._ends: list[float] = []
        self.spent_usd = [0.0] * len(fleet.budgets)

    def nodes(self, t: float, pool: int, change: int) -> None:
        """A rented node of a pool came up (1) or went (-1)."""
        self.changes(t)
        self._up[pool] += change

    def changes(self, t: float) -> None:
        """What an hour costs changes now."""
        self.accrue(t)
        self._usd_per_s, self._quiet_s = None, -inf

    def accrue(self, t: float) -> list[float]:
        """Let time pass; what a second costs now, of each budget."""
        rates = self._usd_per_s
        if rates is None:
            rates = self._usd_per_s = [
                sum(self._up[p] * self._size[p] * self._price_usd[p] for p in scope) / HOUR_S for scope in self._scope
            ]
        for i, budget in enumerate(self.budgets):
            begin_s = t // budget.period_s * budget.period_s
            if begin_s > self._now:
                self.spent_usd[i] = 0.0
            self.spent_usd[i] += rates[i] * (t - max(begin_s, self._now))
        self._now = t
        return rates

    def check(self, t: float) -> list[float]:
        """Bar the pools whose budget is spent, open the others; when the periods end that bar any."""
        if t < self._quiet_s:
            return self._ends
        rates = self.accrue(t)
        barred = [False] * len(self._capacity.barred)
        self._ends, self._quiet_s = [], inf
        for i, budget in enumerate(self.budgets):
            end_s = (t // budget.period_s + 1) * budget.period_s
            self._quiet_s = min(self._quiet_s, end_s)
            if self.spent_usd[i] >= budget.usd:
                self._ends.append(end_s)
                for p in self._scope[i]:
                    barred[p] = True
            elif rates[i]:
                self._quiet_s = min(self._quiet_s, t + (budget.usd - self.spent_usd[i]) / rates[i])
        for p, (before, after) in enumerate(zip(self._capacity.barred, barred, strict=True)):
            self._capacity.barred[p] = after
            if before and not after:
                self._capacity.reopen(p)
        return self._ends
