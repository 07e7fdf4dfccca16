"""Nodes, what may be rented and what it costs, and what every GPU does in every second."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from math import ceil, inf

from hcsim.audit.base import Now
from hcsim.audit.shares import NOBODY, Shares
from hcsim.fleet import Budget, Fleet
from hcsim.regions import region_of

HOUR_S = 3600.0
#: What a GPU does: ``lost`` is run time that came to nothing or went into checkpoints, ``off`` that of nodes that are
#: off, boot or are down.
CLASSES = ("busy", "idle", "starting", "staging", "lost", "drained", "off")
_BUSY, _IDLE, _STARTING, _STAGING, _LOST, _DRAINED, _OFF = range(7)
#: How a job can have its part of a GPU.
RUN, DRAIN, START, STAGE = range(4)
OFF, BOOTING, UP, DOWN = "off", "booting", "up", "down"


class Nodes:
    """Nodes as the log tells of them, against quotas, stock and budgets; the GPU-seconds and the cost of nodes.

    Of each pool the GPUs are counted by what they do, in whole thousandths, so that no rounding hides one.
    """

    def __init__(self, now: Now, fleet: Fleet, live: bool = False) -> None:
        self.now, self.fleet, self.live = now, fleet, live
        self.pool_of = fleet.node_pool
        self.pools = fleet.pools
        self.size = [pool.gpus_per_node for pool in fleet.pools]
        self.state = [OFF if fleet.pools[p].elastic else UP for p in self.pool_of]
        self.jobs_on: list[Counter[int]] = [Counter() for _ in self.pool_of]  # node -> jobs that hold something of it
        self.look_at: set[int] = set()  # nodes to look at when time goes on
        self._first = [0]
        for p in self.pool_of:
            self._first.append(self._first[-1] + self.size[p])
        self._use = [[0, 0, 0, 0] for _ in range(self._first[-1])]  # GPU -> milli by RUN, DRAIN, START, STAGE
        self.promised = [0] * self._first[-1]  # GPU -> milli that jobs run on or will
        self._level = [[0] * 7 for _ in fleet.pools]  # pool -> milli-GPU by class
        self._sum = [[0.0] * 7 for _ in fleet.pools]  # pool -> milli-GPU-seconds by class
        self._since = [0.0] * len(fleet.pools)
        for node, p in enumerate(self.pool_of):
            self._level[p][_OFF if self.state[node] == OFF else _IDLE] += 1000 * self.size[p]
        # what may be rented
        self._limits = [(q.name, q.gpus, self._matching(q.provider, q.site, q.gpu, q.region)) for q in fleet.limits]
        self._on = [0] * len(fleet.pools)  # nodes of rented pools that are up or boot
        self._stock = [inf] * len(fleet.pools)
        self._notices: defaultdict[int, dict[float, float]] = defaultdict(dict)  # node -> when it goes -> when told
        self._budgets = [(b, self._matching(b.provider)) for b in fleet.budgets]
        self._spent = [0.0] * len(fleet.budgets)
        self._metered_s = 0.0
        self._owed: dict[int, tuple[float, int]] = {}  # rented node that is up -> when it came, steps owed since
        self._booting: set[int] = set()
        # what it costs
        self.price = [[(0.0, pool.first_usd)] for pool in fleet.pools]  # pool -> (from when, USD per GPU-hour)
        self._paid = [0.0] * len(fleet.pools)
        self._since_up: dict[int, float] = {}  # rented node -> when it came up
        self._gpu_s = [0.0] * len(fleet.pools)  # of rented nodes that are gone, as they were paid for
        self.shares = Shares(now, fleet, self._first, self._cost)

    def _matching(self, provider: str, site: str = "", gpu: str = "", region: str = "") -> list[int]:
        """Rented pools of a provider, site, GPU type (or one of several) and region (empty: any)."""
        found = []
        for p, s in enumerate(self.fleet.pool_site):
            here, pool = self.fleet.sites[s], self.pools[p]
            regions = ("", here.region, region_of(here.provider, here.region))
            place = provider in ("", here.provider) and site in ("", here.name) and region in regions
            if pool.elastic and place and (not gpu or pool.gpu in gpu.split("|")):
                found.append(p)
        return found

    def name(self, node: int) -> str:
        """A node in words."""
        p = self.pool_of[node]
        return f"node {node} of pool '{self.pools[p].name}'"

    # -- GPUs ----------------------------------------------------------------------------------------------------------

    def change(self, job: int, node: int, mask: int, how: int, milli: int) -> None:
        """Of each GPU of a mask a job has so many thousandths more (or fewer) in some way."""
        p, up = self.pool_of[node], self.state[node] == UP
        self._accrue(p)
        level = self._level[p]
        first = self._first[node]
        while mask:
            bit = mask & -mask
            mask ^= bit
            gpu = first + bit.bit_length() - 1
            use = self._use[gpu]
            self.shares.change(job, node, gpu, min(how, START), milli)
            if up:
                self._count(level, use, -1)
            use[how] += milli
            if use[RUN] + use[DRAIN] > 1000:
                self.now.fail(f"GPU {bit.bit_length() - 1} of {self.name(node)} is used twice", _gpu(use), "1 GPU")
            if up:
                self._count(level, use, 1)

    def _count(self, level: list[int], use: list[int], sign: int) -> None:
        run, drain, start, stage = use
        if drain:  # a claim on a GPU that still drains waits for it
            start = stage = 0
        level[_BUSY] += sign * run
        level[_DRAINED] += sign * drain
        level[_STARTING] += sign * start
        level[_STAGING] += sign * stage
        level[_IDLE] += sign * (1000 - run - drain - start - stage)

    def promise(self, node: int, mask: int, milli: int) -> None:
        """So many thousandths of each GPU of a mask are promised (or no more)."""
        first = self._first[node]
        while mask:
            bit = mask & -mask
            mask ^= bit
            gpu = first + bit.bit_length() - 1
            self.promised[gpu] += milli
            if self.promised[gpu] > 1000:
                what = f"GPU {bit.bit_length() - 1} of {self.name(node)} is promised twice"
                self.now.fail(what, f"{self.promised[gpu] / 1000:g} GPU", "1 GPU")

    def lost(self, p: int, gpu_s: float) -> None:
        """GPU-seconds that were counted as busy were for nothing."""
        self._accrue(p)
        self._sum[p][_BUSY] -= gpu_s * 1000.0
        self._sum[p][_LOST] += gpu_s * 1000.0

    def _accrue(self, p: int) -> None:
        dt = self.now.time_s - self._since[p]
        if dt:
            self._since[p] = self.now.time_s
            total = self._sum[p]
            for c, level in enumerate(self._level[p]):
                if level:
                    total[c] += level * dt

    def gpu_seconds(self) -> list[dict[str, float]]:
        """Of each pool the GPU-seconds by class, until now."""
        for p in range(len(self.pools)):
            self._accrue(p)
        return [dict(zip(CLASSES, (each / 1000.0 for each in total), strict=True)) for total in self._sum]

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Time goes on: what jobs hold is up or will be."""
        for node in self.look_at:
            if self.state[node] not in (UP, BOOTING) and self.jobs_on[node]:
                job = next(iter(self.jobs_on[node]))
                self.now.fail(f"job {job} holds {self.name(node)}", self.state[node], "a node that is up or boots")
        self.look_at.clear()

    def _become(self, node: int, state: str, *expected: str) -> None:
        was = self.state[node]
        if was not in expected:
            self.now.fail(f"{self.name(node)} becomes {state}", f"it is {was}", f"one that is {' or '.join(expected)}")
        p = self.pool_of[node]
        self._accrue(p)
        if UP in (was, state):
            self.shares.node(node, state == UP)
            level, sign = self._level[p], 1 if state == UP else -1
            for gpu in range(self._first[node], self._first[node + 1]):
                self._count(level, self._use[gpu], sign)
                level[_OFF] -= sign * 1000
        self.state[node] = state
        if state in (OFF, DOWN):
            self._notices.pop(node, None)
        if self.pools[p].elastic:
            self._meter()
            self._on[p] += (state in (UP, BOOTING)) - (was in (UP, BOOTING))
            (self._booting.add if state == BOOTING else self._booting.discard)(node)
            if state == UP:
                self._since_up[node] = self.now.time_s
                if self._budgets:
                    self._owed[node] = (self.now.time_s, 0)
                    self._owe(node, self._steps(p, 0.0))
            elif was == UP:
                self._owed.pop(node, None)
                usd, gpu_s = self._stretch(p, self._since_up.pop(node))
                self._paid[p] += usd
                self._gpu_s[p] += gpu_s
        self.look_at.add(node)

    def provisioning(self, node: int) -> None:
        """A node is rented: within quotas, stock and budgets?"""
        now, p = self.now, self.pool_of[node]
        pool = self.pools[p]
        if not pool.elastic:
            now.fail(f"{self.name(node)} is asked to boot", pool.market, "a rented node")
        self._become(node, BOOTING, OFF)
        for name, gpus, pools in self._limits:
            if p in pools:
                on = sum(self._on[q] * self.size[q] for q in pools)
                if on > gpus:
                    now.fail(f"quota {name}", f"{on} GPUs rented", f"at most {gpus}")
        stock = self._stock[p]
        if pool.stock is not None:
            stock = min(stock, pool.stock.at(now.time_s))
        if self._on[p] > stock:
            now.fail(f"stock of pool '{pool.name}'", f"{self._on[p]} nodes rented", f"at most {stock:g}")
        for (budget, pools), spent in zip(self._budgets, self._spent, strict=True):
            if p in pools:
                asked = [n for n in self._booting if self.pool_of[n] in pools]
                first = sum(
                    max(self._steps(q, 0.0), 1) * self._step_usd(q) for q in map(self.pool_of.__getitem__, asked)
                )
                self._within(budget, spent + first, "spent or asked for")

    def came_up(self, node: int) -> None:
        """NODE_UP."""
        self._become(node, UP, BOOTING if self.pools[self.pool_of[node]].elastic else DOWN)

    def went_off(self, node: int, refused: bool) -> None:
        """NODE_OFF: given back, or could not be had."""
        if not self.pools[self.pool_of[node]].elastic:
            self.now.fail(f"{self.name(node)} goes off", self.pools[self.pool_of[node]].market, "a rented node")
        self._become(node, OFF, *((BOOTING,) if refused else (UP, DOWN)))

    def went_down(self, node: int, reclaimed: bool) -> None:
        """NODE_DOWN: failed or reclaimed."""
        p = self.pool_of[node]
        if reclaimed and self.pools[p].market != "spot":
            self.now.fail(f"{self.name(node)} is reclaimed", self.pools[p].market, "a spot node")
        notice_s, now = self.pools[p].reclaim.notice_s, self.now.time_s
        if reclaimed and notice_s and not self.live:
            told_s = self._notices.get(node, {}).get(now)
            due_s = max(now - notice_s, self._since_up.get(node, 0.0))
            if told_s is None or told_s > due_s + 1e-9 * due_s:
                told = "not announced" if told_s is None else f"announced at {told_s:,.10g} s"
                self.now.fail(f"{self.name(node)} is reclaimed", told, f"a NOTICE by {due_s:,.10g} s")
        self._become(node, DOWN, UP, BOOTING)

    def noticed(self, node: int, when_s: float) -> None:
        """NOTICE."""
        self._notices[node].setdefault(when_s, self.now.time_s)

    def stocked(self, p: int, nodes: float) -> None:
        """STOCK_CHANGED."""
        self._stock[p] = nodes

    # -- money ---------------------------------------------------------------------------------------------------------

    def priced(self, p: int, usd: float) -> None:
        """PRICE_CHANGED."""
        if not 0 <= usd < inf:
            self.now.fail(f"price of pool '{self.pools[p].name}'", usd, "finite, >= 0")
        self._meter()
        self.price[p].append((self.now.time_s, usd))

    def _step_usd(self, p: int) -> float:
        return self.pools[p].billing_s / HOUR_S * self.size[p] * self.price[p][-1][1]

    def _meter(self) -> None:
        """What rented nodes owe in the present period of each budget: a step in the period in which it begins."""
        if not self._budgets:
            return
        now_s, bounds = self.now.time_s, defaultdict(list)  # when periods end since the last time, and whose
        for i, (budget, _) in enumerate(self._budgets):
            first = int(self._metered_s // budget.period_s) + 1
            for k in range(first, int(now_s // budget.period_s) + 1):
                bounds[k * budget.period_s].append(i)
        self._metered_s = now_s
        for t in sorted({*bounds, now_s}):
            for node, (came_s, _) in self._owed.items():
                self._owe(node, self._steps(self.pool_of[node], t - came_s))
            for i, (budget, _) in enumerate(self._budgets):
                if not self.live:  # a wall clock says late that a step would begin
                    self._within(budget, self._spent[i], "spent")
            for i in bounds[t]:
                self._spent[i] = 0.0

    def _owe(self, node: int, steps: int) -> None:
        """A node owes so many steps of its stretch; those that it has not owed before cost the price of now."""
        came_s, before = self._owed[node]
        if steps > before:
            self._owed[node] = (came_s, steps)
            p = self.pool_of[node]
            for i, (_, pools) in enumerate(self._budgets):
                if p in pools:
                    self._spent[i] += (steps - before) * self._step_usd(p)

    def _within(self, budget: Budget, usd: float, what: str) -> None:
        if usd > budget.usd * (1 + 1e-9) + 1e-6:
            scope = f" of {budget.provider}" if budget.provider else ""
            limit = f"at most {budget.usd:,.2f} USD in {budget.period_s:g} s"
            self.now.fail(f"budget{scope}", f"{usd:,.4f} USD {what}", limit)

    def meter(self) -> None:
        """Budgets up to now, before what is rented is held against them."""
        self._meter()

    def _steps(self, p: int, seconds: float) -> int:
        """Steps that so long a stretch of a node owes."""
        pool = self.pools[p]
        begun = ceil(seconds / pool.billing_s - 1e-6)
        return max(begun, ceil(pool.min_billing_s / pool.billing_s - 1e-6))

    def _cost(self, p: int, start_s: float, since: float, until: float) -> float:
        """What a GPU costs from one time to another, on a node that came up at ``start_s``.

        A step that has begun is owed at the price of its first moment, and so is the minimum.
        """
        pool, prices = self.pools[p], self.price[p]
        if len(prices) == 1:
            return (until - since) / HOUR_S * prices[0][1]
        late_s = max(pool.min_billing_s, pool.billing_s) + pool.billing_s if pool.elastic else 0.0
        i = bisect_right(prices, (max(start_s, since - late_s), inf)) - 1
        usd_s, at_s = 0.0, since
        while at_s < until:
            next_s = inf
            if i + 1 < len(prices):
                next_s = prices[i + 1][0]
                next_s = start_s + self._steps_s(p, next_s - start_s) if pool.elastic else next_s
            next_s = min(next_s, until)
            usd_s += max(next_s - at_s, 0.0) * prices[i][1]
            at_s, i = max(next_s, at_s), i + 1
        return usd_s / HOUR_S

    def _steps_s(self, p: int, seconds: float) -> float:
        """So many seconds of a rented node as they are paid for: in whole steps, the minimum at least."""
        return self._steps(p, seconds) * self.pools[p].billing_s

    def _stretch(self, p: int, start_s: float) -> tuple[float, float]:
        """What one node that came up then has cost until now, and the GPU-seconds that are paid for."""
        paid_s, gpus = self._steps_s(p, self.now.time_s - start_s), self.pools[p].gpus_per_node
        return self._cost(p, start_s, start_s, start_s + paid_s) * gpus, paid_s * gpus

    def paid(self) -> list[tuple[float, float]]:
        """Of each pool what nodes have cost until now, and the GPU-seconds that are paid for.

        What is up owes its minimum from the first moment.
        """
        usd, gpu_s = list(self._paid), list(self._gpu_s)
        for node, start_s in self._since_up.items():
            p = self.pool_of[node]
            more_usd, more_gpu_s = self._stretch(p, start_s)
            usd[p] += more_usd
            gpu_s[p] += more_gpu_s
        for p, pool in enumerate(self.pools):
            if not pool.committed:  # what jobs have of it is paid for
                self.shares.close()
                had = [mine for (job, of), mine in self.shares.accounts.items() if of == p and job != NOBODY]
                usd[p], gpu_s[p] = sum(mine.usd for mine in had), sum(mine.gpu_s for mine in had)
            elif not pool.elastic:
                gpus = pool.gpus_per_node * pool.nodes
                usd[p] = self._cost(p, 0.0, 0.0, self.now.time_s) * gpus
                gpu_s[p] = self.now.time_s * gpus
        return list(zip(usd, gpu_s, strict=True))

    def usd(self) -> float:
        """What nodes have cost until now."""
        return sum(usd for usd, _ in self.paid())


def _gpu(use: list[int]) -> str:
    return f"{(use[RUN] + use[DRAIN]) / 1000:g} GPU"
