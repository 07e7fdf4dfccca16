"""What rules for jobs with a deadline on spot and on-demand capacity share: a job in their terms, and the switching.

The terms are those of Wu et al., Can't Be Late, NSDI 2024: a job of C seconds of work, R seconds from its arrival to
its deadline, d seconds that every launch takes, decisions at whole ticks of G seconds.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import ceil, floor, inf
from typing import Literal

from hcsim.actions import Allocation
from hcsim.books import Status
from hcsim.errors import require
from hcsim.plan import Plan
from hcsim.strategy import Strategy, on_change
from hcsim.view import View

Market = Literal["spot", "on_demand", "none"]


@dataclass(slots=True)
class Case:
    """One job at one decision. Seconds; work is in seconds on an on-demand node.

    Args:
        tick_s: G.
        elapsed_s: t, since it arrived.
        span_s: R, from its arrival to its deadline.
        work_s: C, by the estimate.
        done_s: how much of it is done and safe.
        launch_s: d, what a change takes in the mean: the checkpoint before it, boot, image, data and restart.
        on: where it is, launched or still launching.
        works: whether it is past its launch.
        available: whether it has spot capacity or could get some now.
    """

    tick_s: float
    elapsed_s: float
    span_s: float
    work_s: float
    done_s: float
    launch_s: float
    on: Market
    works: bool
    available: bool

    def late(self, launches: int = 1, done_by_s: float = inf, end_s: float = inf) -> bool:
        """Whether no whole tick is left to lose before the rest of the work and so many launches fill the time.

        Args:
            done_by_s, end_s: work and time to measure against, if less than all work and the deadline.
        """
        tick_s = self.tick_s
        rest_s = max(min(self.work_s, done_by_s) - self.done_s, 0.0) + launches * self.launch_s
        left_s = floor((min(self.span_s, end_s) - self.elapsed_s) / tick_s + 1e-9) * tick_s
        return ceil(rest_s / tick_s - 1e-9) * tick_s >= left_s

    def safe(self, asked: Market, done_by_s: float = inf, end_s: float = inf) -> Market:
        """The safety net under every rule: on-demand from when it is :meth:`late`, unless spot works already.

        Work that is done by ``end_s`` needs none.
        """
        if self.done_s >= done_by_s or not self.late(1, done_by_s, end_s):
            return asked
        return "spot" if self.on == "spot" and self.available and self.works else "on_demand"


@dataclass(frozen=True)
class SpotOrOnDemand(Strategy):
    """Base of strategies that put a job with a deadline on spot, on on-demand, or on neither for a while.

    Capacity that is paid for anyway (owned, reserved) is taken first and kept. A job without a deadline, or that may
    not run on spot, rents on demand when it arrives or at the next tick. All others are decided on by :meth:`ask`, when
    they begin to wait (as they arrive, or are reclaimed) and at multiples of ``tick_s``.

    Args:
        tick_s: G, how often to decide.
    """

    tick_s: float = 600.0

    wake = on_change
    needs = frozenset({"runtime"})

    def __post_init__(self) -> None:
        require(0 < self.tick_s < inf, f"strategy.tick_s is {self.tick_s}, expected a finite number > 0")

    @abstractmethod
    def ask(self, case: Case) -> Market:
        """What a job should be on now."""

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        pools = Pools(view)
        for job in plan.placeable(view.waiting, pools.standing):
            plan.place(job, plan.first_fit(job, pools.standing))
        due = floor(view.now / self.tick_s + 1e-9) * self.tick_s
        at_tick = abs(view.now - due) < 1e-6
        placed = plan.placed()
        for job in view.waiting:
            if job not in placed and (at_tick or view.queued_s(job) == 0.0):
                self._place(view, plan, pools, job)
        if at_tick:
            for job in [j for j in view.claims if pools.market(view, j) in ("spot", "on_demand")]:
                self._reconsider(view, plan, pools, job)
        if view.claims or len(view.waiting):
            plan.wake_at(due + self.tick_s)
        return plan

    def _place(self, view: View, plan: Plan, pools: Pools, job: int) -> None:
        flexible, asked = pools.flexible(view, job), "on_demand"
        where = spot = plan.first_fit(job, pools.spot)
        if flexible:
            asked = self.ask(pools.case(view, job, self.tick_s, "none", spot is not None))
        if asked == "on_demand":
            where = plan.first_fit(job, pools.on_demand)
            if where is None and (flexible or not pools.may(view, job, pools.on_demand)):
                where = spot  # better than nothing
        if asked != "none" and where is not None:
            plan.place(job, where)

    def _reconsider(self, view: View, plan: Plan, pools: Pools, job: int) -> None:
        status, on = view.status(job), pools.market(view, job)
        if status not in (Status.RUNNING, Status.PLACED) or not pools.flexible(view, job):
            return
        spot = None if on == "spot" else plan.first_fit(job, pools.spot)
        asked = self.ask(pools.case(view, job, self.tick_s, on, on == "spot" or spot is not None))
        if asked == on:
            return
        where: Allocation | None = spot if asked == "spot" else plan.first_fit(job, pools.on_demand)
        if asked == "none" or (where is not None and status is Status.PLACED):
            plan.preempt(job)  # of one that still launches this instant is decided on again once it has stopped
        elif where is not None:
            plan.migrate(job, where)


class Pools:
    """The pools of a fleet by market, as they are at one decision. Cheapest first."""

    def __init__(self, view: View) -> None:
        order = sorted(range(len(view.pools)), key=lambda p: (view.price_usd(p) / view.speed(p), p))
        self.standing = tuple(p for p in order if not view.pools[p].elastic)
        self.on_demand = tuple(p for p in order if view.pools[p].market == "on_demand")
        most = min((view.price_usd(p) / view.speed(p) for p in self.on_demand), default=inf)
        spot = (p for p in order if view.pools[p].market == "spot")
        self.spot = tuple(p for p in spot if view.price_usd(p) / view.speed(p) < most)  # dearer spot is of no use
        rented = [view.pools[p] for p in (*self.on_demand, *self.spot)]
        self.boot_s = max((pool.boot_s + pool.image_s for pool in rented), default=0.0)

    def may(self, view: View, job: int, pools: tuple[int, ...]) -> bool:
        """Whether some of these pools are not barred to a job."""
        return any(p in pools for p in view.allowed_pools(job))

    def flexible(self, view: View, job: int) -> bool:
        """Whether there is anything to decide: a deadline, and spot that the job may use."""
        return view.deadline_s[job] < inf and bool(self.spot) and self.may(view, job, self.spot)

    def market(self, view: View, job: int) -> Market:
        """Where a job with a claim is; ``none`` on capacity that stands."""
        market = view.pools[view.pool_of(view.claims[job][0][0])].market
        return "spot" if market == "spot" else "on_demand" if market == "on_demand" else "none"

    def case(self, view: View, job: int, tick_s: float, on: Market, available: bool) -> Case:
        """A job in the terms of the rules."""
        arrival_s = view.arrival_s[job]
        basis = next((p for p in (*self.on_demand, *self.spot) if p in view.allowed_pools(job)), -1)
        speed = view.speed(basis)
        moves_s = view.transfer_s(job, basis) if len(view.fleet.sites) > 1 else 0.0
        return Case(
            tick_s=tick_s,
            elapsed_s=view.now - arrival_s,
            span_s=view.deadline_s[job] - arrival_s,
            work_s=view.estimate_s(job) / speed,
            done_s=view.progress_s(job) / speed,
            launch_s=view.checkpoint_s[job] + self.boot_s + moves_s + view.restart_s[job],
            on=on,
            works=on != "none" and view.status(job) is Status.RUNNING,
            available=available,
        )
