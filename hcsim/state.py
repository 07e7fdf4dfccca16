"""The one owner of mutable state. It changes by events (:meth:`State.apply`); plans enter by :meth:`State.admit`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf

from hcsim.actions import Allocation, Do, Order
from hcsim.admission import admit
from hcsim.books import Books, NodeState, Status
from hcsim.events import Kind, Row
from hcsim.model import Fleet, Jobs
from hcsim.perf import Perf
from hcsim.plan import Plan
from hcsim.view import View

_ARRIVED, _STARTED, _FINISHED = int(Kind.ARRIVED), int(Kind.STARTED), int(Kind.FINISHED)
_START = int(Do.START)


class State:
    """What is the case now, and what is still to be carried out.

    ``orders`` are what the executor must do next; the control loop takes them from the left. Admission holds capacity
    at once, so a start that comes later cannot be double-booked.
    """

    def __init__(
        self,
        fleet: Fleet,
        jobs: Jobs,
        perf: Perf | None = None,
        estimate_s: memoryview | None = None,
        seed: int = 0,
        forecast_error: float = 0.0,
    ) -> None:
        self.books = Books(fleet, jobs, perf or Perf(), estimate_s, seed, forecast_error)
        self.orders: deque[Order] = deque()
        self._idle_due: dict[int, float] = {}
        self._moving: set[int] = set()  # draining jobs whose next claim is in books.claims already
        self._draining: dict[int, Allocation] = {}  # draining job -> GPUs that it still uses
        self._waits: dict[int, list[int]] = {}  # placed job -> [how many nodes and drains its start waits for]
        #: Node, or -1 - draining job -> who waits for it, with their entries of _waits: one that was given up may stay.
        self._waiters: dict[int, list[tuple[int, list[int]]]] = {}
        #: Placed jobs whose nodes went down, and which; the executor has yet to say LOST, when they may be up again.
        self._killed: dict[int, set[int]] = {}
        self._stopping: set[int] = set()  # nodes that have been told to go
        self._booted = False  # whether nodes were asked for since the budgets were looked at
        self._asked_s = inf  # when the budgets are looked at next
        self._elastic = any(p.elastic for p in fleet.pools)
        self._handlers: dict[int, Callable[[float, int, int, float, float], None]] = {
            Kind.NODE_DOWN: self._node_down,
            Kind.LOST: self._lost,
            Kind.PREEMPTED: self._preempted,
            Kind.LEASE_ENDED: self._lease_ended,
            Kind.PRICE_CHANGED: self._price_changed,
            Kind.BUDGET: self._budget,
            Kind.STOCK_CHANGED: self._stock_changed,
            Kind.CARBON_CHANGED: self._carbon_changed,
            Kind.NOTICE: self._notice,
            Kind.LINK_DOWN: self._link_down,
            Kind.LINK_UP: self._link_up,
            Kind.TRANSFERRED: self._transferred,
            Kind.METERED: self._transferred,
            Kind.STAGED: self._staged,
            Kind.EVICTED: self._evicted,
            Kind.SHRUNK: self._shrunk,
            Kind.NODE_UP: self._node_up,
            Kind.NODE_OFF: self._node_off,
            Kind.IDLE: self._idle,
            Kind.RESUMED: self._resumed,
        }

    def view(self, knows: frozenset[str] = frozenset()) -> View:
        """A view of this state for a strategy with these ``needs``."""
        return View(self.books, knows)

    # -- events ------------------------------------------------------------------------------------------------------

    def apply(self, rows: Sequence[Row]) -> None:
        """Let events of one instant have happened, in their order."""
        books = self.books
        status, since = books.status, books.since_s
        for t, kind, subject, node, value, detail in rows:
            books.now = t
            if kind == _ARRIVED:
                status[subject] = 1  # WAITING
                since[subject] = t
                books.arrived = subject + 1
                books.queue._add(subject)
                if books.keyed:
                    for queue in books.keyed.values():
                        queue._add(subject)
            elif kind == _STARTED:
                status[subject] = 3  # RUNNING
                since[subject] = t
                if books.ends is not None:
                    books.note_end(subject)
                if books.leases.get(subject):
                    self.orders.append((Do.LEASE, subject, (), books.leases[subject]))
                    books.leases[subject] = 0.0
            elif kind == _FINISHED:
                status[subject] = 6  # FINISHED
                since[subject] = t
                allocation = books.claims.pop(subject)
                if books.leases:
                    self._end_lease(subject)
                books.capacity.give(allocation, books.job_class[subject])
                if self._elastic:
                    self._watch(allocation, t)
            else:
                handler = self._handlers.get(kind)
                if handler is not None:
                    handler(t, subject, node, value, detail)

    def _watch(self, allocation: Allocation, t: float) -> None:
        """Have the executor tell when a rented node that has just become idle has been so for long enough."""
        books = self.books
        for node, _, _ in allocation:
            pool = books.fleet.pools[books.capacity.pool_of[node]]
            if pool.elastic and self._is_idle(node):
                self._idle_due[node] = t + pool.idle_release_s
                self.orders.append((Do.WATCH, node, (), pool.idle_release_s))

    def _is_idle(self, node: int) -> bool:
        """Whether a node is up and nobody claims or still drains any of its GPUs."""
        capacity = self.books.capacity
        free = capacity.free[node] == capacity.size[capacity.pool_of[node]] and not capacity.cpu_jobs.get(node)
        if not free or self.books.node_state[node] != NodeState.UP:
            return False
        return not any(part[0] == node for used in self._draining.values() for part in used)

    def _requeue(self, job: int, t: float) -> None:
        books = self.books
        books.status[job] = Status.WAITING
        books.since_s[job] = t
        books.queue._add(job)
        for queue in books.keyed.values():
            queue._add(job)

    def _credit(self, job: int, t: float, lost_s: float) -> None:
        """Account for a run that stopped: what it attained and what of its work is safe."""
        books = self.books
        allocation = books.claims.get(job)
        if allocation is not None and books.status[job] == Status.RUNNING:
            ran_s = t - books.since_s[job]
            books.attained_gpu_s[job] += ran_s * books.gpus_held(allocation)
            books.progress_s[job] += max(ran_s - lost_s, 0.0) * books.rate(job, allocation)
            if ran_s > lost_s:
                books.saved_at[job] = books.fleet.pool_site[books.capacity.pool_of[allocation[0][0]]]

    def _preempted(self, t: float, job: int, node: int, value: float, detail: float) -> None:
        self._drained(job, t, value)
        if job in self._moving:  # its next claim stands; it starts there when nothing else holds it up
            self._moving.discard(job)
            self.books.status[job] = Status.PLACED
            self.books.since_s[job] = t
        else:
            self._requeue(job, t)

    def _drained(self, job: int, t: float, lost_s: float) -> None:
        """A drain is over, or was cut short: whoever waited for its GPUs waits for one thing fewer."""
        used = self._draining.pop(job, None)
        if used is not None:
            self.books.progress_s[job] -= lost_s * self.books.rate(job, used)
            if self._elastic:
                self._watch(used, t)
        for waiter, waits in self._waiters.pop(-1 - job, ()):
            self._one_less(waiter, waits)

    def _lost(self, t: float, job: int, node: int, value: float, detail: float) -> None:
        self._credit(job, t, value)
        gone = self._killed.pop(job, None)
        if gone is not None:
            for order in [each for each in self.orders if each[0] == Do.KILL and each[1] == job]:
                self.orders.remove(order)  # the executor has found out by itself
        self._waits.pop(job, None)
        self._end_lease(job)
        self._moving.discard(job)
        allocation = self.books.claims.pop(job, None)  # none when it was draining without a next claim
        self._drained(job, t, value)
        if allocation is not None:
            self._give_standing(job, allocation, t, gone or set())
        self._requeue(job, t)

    def _give_standing(self, job: int, allocation: Allocation, t: float, gone: set[int]) -> None:
        """Return the GPUs of a lost job on nodes that have not gone."""
        books = self.books
        there = (NodeState.UP, NodeState.BOOTING)
        standing = tuple(p for p in allocation if p[0] not in gone and books.node_state[p[0]] in there)
        books.capacity.give(standing, -1)
        if books.capacity.track_host:
            books.capacity.use_host(allocation, books.job_class[job], 1)
        if self._elastic:
            self._watch(standing, t)

    def _node_down(self, t: float, node: int, _: int, value: float, detail: float) -> None:
        books = self.books
        self._count(t, node, -1)
        books.notices.pop(node, None)
        books.node_state[node] = NodeState.DOWN
        books.capacity.close(node, spare=False)
        self._idle_due.pop(node, None)
        self._strand(node)

    def _strand(self, node: int) -> None:
        """What waits to be handed over on a node that is gone waits in vain."""
        books = self.books
        self._waiters.pop(node, None)
        # what runs is reported LOST by the executor; what waits to be handed over, or to move, only we know
        for job in sorted({*self._waits, *self._moving}):
            allocation = books.claims[job]
            if any(part[0] == node for part in allocation):
                if job not in self._killed:
                    self.orders.append((Do.KILL, job, allocation, float(node)))
                self._killed.setdefault(job, set()).add(node)

    def _node_up(self, t: float, node: int, _: int, value: float, detail: float) -> None:
        books = self.books
        if books.node_state[node] == NodeState.DOWN:
            books.capacity.restore(node)
        self._count(t, node, 1)
        books.node_state[node] = NodeState.UP
        for job, waits in self._waiters.pop(node, ()):
            self._one_less(job, waits)
        self._watch(((node, 0, 0),), t)

    def _node_off(self, t: float, node: int, _: int, value: float, detail: float) -> None:
        books = self.books
        self._count(t, node, -1)
        books.notices.pop(node, None)
        books.node_state[node] = NodeState.OFF
        self._stopping.discard(node)
        if node in self._waiters:
            self._strand(node)
        books.capacity.close(node, spare=True)

    def _count(self, t: float, node: int, change: int) -> None:
        """A node came up or went: budgets pay for those that are rented."""
        books = self.books
        p = books.capacity.pool_of[node]
        counts = change > 0 or books.node_state[node] == NodeState.UP  # one that never came was never counted
        if books.budgets is not None and books.fleet.pools[p].elastic and counts:
            if change > 0:
                books.budgets.came(t, node)
                self._settle()
            else:
                books.budgets.went(t, node)

    def _settle(self) -> None:
        """Rented nodes that the budgets cannot pay on go; have the executor tell when to look again."""
        books = self.books
        assert books.budgets is not None
        self._booted = False
        go, ask_s = books.budgets.settle(books.now)
        for node in go:
            if node not in self._stopping:
                self._stopping.add(node)
                self._idle_due.pop(node, None)
                self.orders.append((Do.STOP, node, (), books.now - books.budgets.foreseen_s))
        if ask_s < self._asked_s:
            self._asked_s = ask_s
            self.orders.append((Do.BUDGET, 0, (), ask_s))

    def _budget(self, t: float, budget: int, _: int, value: float, detail: float) -> None:
        if t >= self._asked_s:
            self._asked_s = inf
        self._settle()

    def _idle(self, t: float, node: int, _: int, value: float, detail: float) -> None:
        due = self._idle_due.get(node)
        if due is not None and t >= due - 1e-9 and self._is_idle(node):
            self._halt(node)

    def _halt(self, node: int) -> None:
        self._idle_due.pop(node, None)
        self.books.capacity.close(node, spare=False, rented=True)  # nobody may claim it while it goes off
        self.orders.append((Do.HALT, node, (), 0.0))

    def _lease_ended(self, t: float, job: int, _: int, value: float, detail: float) -> None:
        self.books.leases.pop(job, None)

    def _end_lease(self, job: int) -> None:
        """A job stops before its lease is over; when it was the last with one, the executor says so."""
        if self.books.leases.pop(job, None) is not None:
            self.orders.append((Do.LEASE, job, (), 0.0))

    def _price_changed(self, t: float, pool: int, _: int, value: float, detail: float) -> None:
        if self.books.budgets is not None:
            self.books.budgets.priced(t, pool, value)
            self._settle()
        self.books.price_usd[pool] = value

    def _stock_changed(self, t: float, pool: int, _: int, value: float, detail: float) -> None:
        capacity = self.books.capacity
        rises = value > capacity.stock[pool]
        capacity.stock[pool] = value
        if rises:
            capacity.reopen(pool)

    def _carbon_changed(self, t: float, site: int, _: int, value: float, detail: float) -> None:
        self.books.carbon[site] = value

    def _notice(self, t: float, node: int, _: int, value: float, detail: float) -> None:
        self.books.notices.setdefault(node, []).append(value)

    def _link_down(self, t: float, link: int, _: int, value: float, detail: float) -> None:
        self.books.links_down.add(link)

    def _link_up(self, t: float, link: int, _: int, value: float, detail: float) -> None:
        self.books.links_down.discard(link)

    def _transferred(self, t: float, job: int, source: int, value: float, detail: float) -> None:
        self.books.egress.carry(t, source, int(detail), value)

    def _staged(self, t: float, job: int, site: int, value: float, detail: float) -> None:
        if site not in self.books.homes[self.books.dataset_site[job]]:
            self.books.copies.add((self.books.dataset_of(job), site))

    def _evicted(self, t: float, job: int, site: int, value: float, detail: float) -> None:
        self.books.copies.discard((self.books.dataset_of(job), site))

    def _shrunk(self, t: float, job: int, node: int, value: float, detail: float) -> None:
        """An elastic job goes on without a node: it restarts on what is left of its claim."""
        books = self.books
        self._credit(job, t, value)
        old = books.claims[job]
        books.claims[job] = left = tuple(part for part in old if part[0] != node)
        if books.capacity.track_host:  # its CPUs and RAM go along, even where that is more than there is
            books.capacity.use_host(old, books.job_class[job], 1)
            books.capacity.use_host(left, books.job_class[job], -1)
        books.status[job] = Status.PLACED
        books.since_s[job] = t
        if books.ends is not None:
            books.note_end(job)

    def _resumed(self, t: float, job: int, _: int, value: float, detail: float) -> None:
        if self.books.status[job] == Status.HELD:
            self._requeue(job, t)

    def _one_less(self, job: int, waits: list[int]) -> None:
        """One thing fewer that a placed job waits for; at none it is handed to the executor."""
        if self._waits.get(job) is not waits or job in self._killed:
            return
        waits[0] -= 1
        if not waits[0]:
            del self._waits[job]
            self.orders.append((_START, job, self.books.claims[job], 0.0))

    # -- plans -------------------------------------------------------------------------------------------------------

    def admit(self, plan: Plan) -> list[Row]:
        """Check a plan's actions against the hard rules, in order, and make orders of those that stand.

        Returns the log rows of the outcome: what was admitted, and for what was refused the rule that refused it.
        """
        return admit(self, plan)
