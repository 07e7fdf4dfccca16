"""What rented nodes have cost in the current period of each budget, and which of them have to go for it to hold."""

from __future__ import annotations

from math import ceil, inf, nextafter

from hcsim.capacity import Capacity
from hcsim.fleet import Budget, Fleet
from hcsim.tariff import STARTED

HOUR_S = 3600.0


class Budgets:
    """Accounts of a fleet's budgets, as it is billed: a step that has begun is owed in full, and so is the minimum.

    A node is rented if a budget can pay its minimum beside the next step of each node that is up; one whose next step
    cannot be paid goes when the one before is over. So no budget is ever exceeded.
    """

    def __init__(self, fleet: Fleet, capacity: Capacity, price_usd: list[float]) -> None:
        self.budgets: tuple[Budget, ...] = fleet.budgets
        self.spent_usd = [0.0] * len(fleet.budgets)
        self._capacity, self._price_usd, self._pools = capacity, price_usd, fleet.pools
        self._scope = [
            [
                p
                for p, s in enumerate(fleet.pool_site)
                if fleet.pools[p].elastic and budget.provider in ("", fleet.sites[s].provider)
            ]
            for budget in fleet.budgets
        ]
        mine = [tuple(i for i, scope in enumerate(self._scope) if p in scope) for p in range(len(fleet.pools))]
        capacity.purses = mine
        self._up: dict[int, list[float]] = {}  # rented node that is up -> [when it came, seconds from then on paid]
        self._count = [0] * len(fleet.pools)  # how many of them
        self._now = 0.0
        self.foreseen_s = 0.0  # since when it has been known how long they last
        self._quiet_s = -inf  # until when no budget can keep anything from being rented, or up
        # when that was found out, at ``_filled_s``: what was left even then, and what a second costs with all nodes up
        self._spare_usd, self._rate, self._filled_s = [0.0] * len(fleet.budgets), [0.0] * len(fleet.budgets), 0.0
        self._least_s = [  # how long a node of each pool is paid for at least
            ceil(pool.min_billing_s / pool.billing_s - STARTED) * pool.billing_s for pool in fleet.pools
        ]
        self._ends: list[float] = []
        self._prices()
        self._fill()

    # -- what is owed --------------------------------------------------------------------------------------------------

    def accrue(self, t: float) -> None:
        """Let time pass."""
        begins = [t // budget.period_s * budget.period_s for budget in self.budgets]
        for begin_s in sorted({begin_s for begin_s in begins if begin_s > self._now}):
            self._pay(begin_s)
            for i, each in enumerate(begins):
                if each == begin_s:
                    self.spent_usd[i] = 0.0
        self._pay(t)
        self._now = t

    def _pay(self, t: float) -> None:
        """Steps that have begun before a time are owed, at the price of now."""
        for node, account in self._up.items():
            if t > account[0] + account[1]:
                self._pay_for(node, account, t)

    def _pay_for(self, node: int, account: list[float], t: float) -> None:
        came_s, paid_s = account
        p = self._capacity.pool_of[node]
        step_s = self._pools[p].billing_s
        owed_s = ceil((t - came_s) / step_s - STARTED) * step_s
        if owed_s > paid_s:
            account[1] = owed_s
            self._owe(p, (owed_s - paid_s) / step_s * self._step_usd[p])

    def _owe(self, p: int, usd: float) -> None:
        for i in self._capacity.purses[p]:
            self.spent_usd[i] += usd

    def _prices(self) -> None:
        """What a step of a node costs, and what has to be there to rent one."""
        self._step_usd = [
            pool.billing_s * pool.gpus_per_node * usd / HOUR_S
            for pool, usd in zip(self._pools, self._price_usd, strict=True)
        ]
        self._capacity.first_usd = [
            max(least_s / pool.billing_s, 1.0) * usd
            for pool, usd, least_s in zip(self._pools, self._step_usd, self._least_s, strict=True)
        ]

    def came(self, t: float, node: int) -> None:
        """A rented node is up: its minimum is owed."""
        if t >= self._quiet_s:
            self.accrue(t)
        self.foreseen_s = t
        p = self._capacity.pool_of[node]
        self._capacity.opening.discard(node)
        self._up[node] = [t, self._least_s[p]]
        self._count[p] += 1
        self._owe(p, self._least_s[p] / self._pools[p].billing_s * self._step_usd[p])
        if t >= self._quiet_s:
            self._fill()
            return
        for i in self._capacity.purses[p]:  # it may come and go any number of times
            self._spare_usd[i] -= self._capacity.first_usd[p]
            if self._spare_usd[i] < self._rate[i] * (t - self._filled_s):
                self._quiet_s = -inf

    def went(self, t: float, node: int) -> None:
        """A rented node is no longer up."""
        if t >= self._quiet_s:
            self.accrue(t)
        account = self._up.pop(node, None)
        if account is not None:
            self._pay_for(node, account, t)
            self._count[self._capacity.pool_of[node]] -= 1
        if t >= self._quiet_s:
            self._fill()

    def priced(self, t: float, pool: int, usd: float) -> None:
        """A GPU-hour of a pool costs something else from now on."""
        self.accrue(t)
        self.foreseen_s = t
        cheaper, self._price_usd[pool] = usd < self._price_usd[pool], usd
        self._prices()
        self._fill()
        if cheaper:
            self._capacity.reopen(pool)

    # -- what is left --------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """What may be spent on further nodes: what is neither spent, nor held for those that boot, nor their next steps
        of those that are up."""
        capacity = self._capacity
        left = []
        for i, scope in enumerate(self._scope):
            usd = self._left(i) - sum(self._count[p] * self._step_usd[p] for p in scope)
            left.append(usd)
            if i < len(capacity.purse_usd) and usd > capacity.purse_usd[i]:
                for p in scope:
                    capacity.reopen(p)
        capacity.purse_usd = left
        self._quiet_s = -inf

    def _left(self, i: int) -> float:
        """Of a budget what is neither spent nor held for nodes that boot."""
        held = sum(
            self._capacity.first_usd[self._capacity.pool_of[node]]
            for node in self._capacity.opening
            if i in self._capacity.purses[self._capacity.pool_of[node]]
        )
        return self.budgets[i].usd - self.spent_usd[i] - held

    def check(self, t: float) -> list[float]:
        """Say what may be rented now; when the periods end of the budgets that keep anything from being rented."""
        if t < self._quiet_s:
            return self._ends
        self.accrue(t)
        self._fill()
        capacity, self._ends, quiet_s = self._capacity, [], inf
        for i, (budget, scope) in enumerate(zip(self.budgets, self._scope, strict=True)):
            end_s = (t // budget.period_s + 1) * budget.period_s
            if any(0.0 < capacity.first_usd[p] > capacity.purse_usd[i] for p in scope):
                self._ends.append(end_s)
            # with all its nodes up it would last so long
            most = sum(self._pools[p].nodes * (capacity.first_usd[p] + 2 * self._step_usd[p]) for p in scope)
            rate = sum(self._pools[p].nodes * self._step_usd[p] / self._pools[p].billing_s for p in scope)
            spare = capacity.purse_usd[i] - most
            # none to spare lasts no time, unless nothing is spent: a period that is not looked into would overspend
            lasts_s = -inf if spare < 0.0 or (rate and not spare) else spare / rate if rate else inf
            quiet_s = min(quiet_s, end_s, t + lasts_s)
            self._spare_usd[i], self._rate[i] = spare, rate
        self._quiet_s, self._filled_s = quiet_s, t
        return self._ends

    def settle(self, t: float) -> tuple[list[int], float]:
        """Hold the steps that begin now against the budgets.

        Returns:
            Nodes that have to go, and when to ask again, if nothing changes before.
        """
        self.check(t)
        if t < self._quiet_s:
            return [], self._quiet_s
        capacity, ask_s = self._capacity, inf
        go: dict[int, None] = {}
        for i, budget in enumerate(self.budgets):
            left = self._left(i) + 1e-12 * budget.usd
            for node in sorted(capacity.opening, reverse=True):  # their minimum may have become dearer
                p = capacity.pool_of[node]
                if left < 0.0 and i in capacity.purses[p]:
                    left += capacity.first_usd[p]
                    go[node] = None
            next_s, rate, steps_usd = inf, 0.0, 0.0
            for node, (came_s, paid_s) in self._up.items():
                p = capacity.pool_of[node]
                if i not in capacity.purses[p] or not self._step_usd[p]:
                    continue
                usd, step_s, due_s = self._step_usd[p], self._pools[p].billing_s, came_s + paid_s
                if due_s <= t + STARTED * step_s:
                    if usd > left:
                        go[node] = None
                        continue
                    left -= usd
                    due_s += step_s
                next_s, rate, steps_usd = min(next_s, due_s), rate + usd / step_s, steps_usd + usd
            if rate:
                safe_s = t + (left - steps_usd) / rate  # each is a step ahead of the second at most
                end_s = (t // budget.period_s + 1) * budget.period_s
                ask_s = min(ask_s, max(next_s, safe_s), end_s)
        return list(go), max(ask_s, nextafter(t, inf))
