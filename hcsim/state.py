"""The one owner of mutable state. It changes by events (:meth:`State.apply`); plans enter by :meth:`State.admit`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import ClassVar

from hcsim.actions import Action, Allocation, Do, Order, Verb
from hcsim.books import Books, NodeState, Status
from hcsim.constraints import Rule
from hcsim.events import Kind, Row
from hcsim.model import Fleet, Jobs
from hcsim.perf import Perf
from hcsim.plan import Plan
from hcsim.view import View

_ARRIVED, _STARTED, _FINISHED = int(Kind.ARRIVED), int(Kind.STARTED), int(Kind.FINISHED)
_PLACED, _REFUSED = int(Kind.PLACED), int(Kind.REFUSED)
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
        self._killed: set[int] = set()  # placed jobs whose node went down; the executor has yet to say LOST
        self._leased: dict[int, float] = {}  # job -> its lease, from its start on; 0 once that is counted
        self._elastic = any(p.elastic for p in fleet.pools)
        self._handlers: dict[int, Callable[[float, int, int, float, float], None]] = {
            Kind.NODE_DOWN: self._node_down,
            Kind.LOST: self._lost,
            Kind.PREEMPTED: self._preempted,
            Kind.LEASE_ENDED: self._lease_ended,
            Kind.PRICE_CHANGED: self._price_changed,
            Kind.STOCK_CHANGED: self._stock_changed,
            Kind.CARBON_CHANGED: self._carbon_changed,
            Kind.NOTICE: self._notice,
            Kind.LINK_DOWN: self._link_down,
            Kind.LINK_UP: self._link_up,
            Kind.TRANSFERRED: self._transferred,
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
                books.queue.add(subject)
                if books.keyed:
                    for queue in books.keyed.values():
                        queue.add(subject)
            elif kind == _STARTED:
                status[subject] = 3  # RUNNING
                since[subject] = t
                if books.ends is not None:
                    books.note_end(subject)
                if self._leased.get(subject):
                    self.orders.append((Do.LEASE, subject, (), self._leased[subject]))
                    self._leased[subject] = 0.0
            elif kind == _FINISHED:
                status[subject] = 6  # FINISHED
                allocation = books.claims.pop(subject)
                if self._leased:
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
        free = capacity.free[node] == capacity.size[capacity.pool_of[node]]
        if not free or self.books.node_state[node] != NodeState.UP:
            return False
        return not any(part[0] == node for used in self._draining.values() for part in used)

    def _requeue(self, job: int, t: float) -> None:
        books = self.books
        books.status[job] = Status.WAITING
        books.since_s[job] = t
        books.queue.add(job)
        for queue in books.keyed.values():
            queue.add(job)

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
        if job in self._killed:
            self._killed.discard(job)
            for order in [each for each in self.orders if each[0] == Do.KILL and each[1] == job]:
                self.orders.remove(order)  # the executor has found out by itself
        self._waits.pop(job, None)
        self._end_lease(job)
        self._moving.discard(job)
        allocation = self.books.claims.pop(job, None)  # none when it was draining without a next claim
        self._drained(job, t, value)
        if allocation is not None:
            self._give_standing(job, allocation, t)
        self._requeue(job, t)

    def _give_standing(self, job: int, allocation: Allocation, t: float) -> None:
        """Return the GPUs of a lost job on nodes that are not down."""
        books = self.books
        standing = tuple(p for p in allocation if books.node_state[p[0]] in (NodeState.UP, NodeState.BOOTING))
        books.capacity.give(standing, -1)
        if books.capacity.track_host:
            books.capacity.use_host(allocation, books.job_class[job], 1.0)
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
        for job in sorted({*self._waits, *self._moving} - self._killed):
            allocation = books.claims[job]
            if any(part[0] == node for part in allocation):
                self._killed.add(job)
                self.orders.append((Do.KILL, job, allocation, float(node)))

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
        if node in self._waiters:
            self._strand(node)
        books.capacity.close(node, spare=True)

    def _count(self, t: float, node: int, change: int) -> None:
        """A node came up or went: budgets count those that are rented."""
        books = self.books
        p = books.capacity.pool_of[node]
        counts = change > 0 or books.node_state[node] == NodeState.UP  # one that never came was never counted
        if books.budgets is not None and books.fleet.pools[p].elastic and counts:
            books.budgets.nodes(t, p, change)

    def _idle(self, t: float, node: int, _: int, value: float, detail: float) -> None:
        due = self._idle_due.get(node)
        if due is not None and t >= due - 1e-9 and self._is_idle(node):
            self._halt(node)

    def _halt(self, node: int) -> None:
        self._idle_due.pop(node, None)
        self.books.capacity.close(node, spare=False)  # nobody may claim it while it goes off
        self.orders.append((Do.HALT, node, (), 0.0))

    def _lease_ended(self, t: float, job: int, _: int, value: float, detail: float) -> None:
        self._leased.pop(job, None)

    def _end_lease(self, job: int) -> None:
        """A job stops before its lease is over; when it was the last with one, the executor says so."""
        if self._leased.pop(job, None) is not None:
            self.orders.append((Do.LEASE, job, (), 0.0))

    def _price_changed(self, t: float, pool: int, _: int, value: float, detail: float) -> None:
        if self.books.budgets is not None:
            self.books.budgets.changes(t)
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
        self.books.notices[node] = value

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
            books.capacity.use_host(old, books.job_class[job], 1.0)
            books.capacity.use_host(left, books.job_class[job], -1.0)
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
        books = self.books
        rows: list[Row] = []
        books.plan = None
        if books.budgets is not None:
            books.budgets.check(books.now)
        for action in plan._actions:
            verb, subject = action[0], action[1]
            rule = self._place(action, rows) if verb == 1 else self._other[verb](self, action, rows)  # Verb.PLACE
            if rule:
                rows.append((books.now, _REFUSED, subject, int(verb), float(rule), 0.0))
        return rows

    def _place(self, action: Action, rows: list[Row]) -> int:
        books = self.books
        _, job, allocation, lease_s, held = action
        rule: int = books.rule(job, allocation) or (0 if held else self._why_not(allocation))
        if rule:
            if held:
                books.capacity.give(allocation, books.job_class[job])
                books.close_unused(allocation)
            return rule
        if lease_s:
            self._leased[job] = lease_s
            self.orders.append((Do.LEASE, job, (), inf))
        books.status[job] = 2  # PLACED
        books.queue.remove(job)
        if books.keyed:
            for queue in books.keyed.values():
                queue.remove(job)
        self._claim(job, allocation, rows)
        return 0

    def _why_not(self, allocation: Allocation) -> Rule:
        """Why GPUs could not be taken."""
        capacity = self.books.capacity
        if any(capacity.off[node] and capacity.barred[capacity.pool_of[node]] for node, _, _ in allocation):
            return Rule.BUDGET
        return Rule.CAPACITY

    def _why_none(self, pool: int) -> Rule:
        """Why no more nodes of a pool can be rented."""
        capacity = self.books.capacity
        if capacity.barred[pool]:
            return Rule.BUDGET
        return Rule.STOCK if capacity.on[pool] + 1 > capacity.stock[pool] else Rule.QUOTA

    def _claim(self, job: int, allocation: Allocation, rows: list[Row]) -> None:
        """A job holds these GPUs from now; order its start, now or when what it waits for has come."""
        books = self.books
        t = books.now
        books.claims[job] = allocation
        if books.ends is not None:
            books.note_end(job)
        waits = [0]
        state = books.node_state
        for node, mask, milli in allocation:
            rows.append((t, _PLACED, job, node, mask, milli))
            if state[node] != 1:  # UP
                if state[node] == NodeState.OFF:
                    self._boot(node, rows)
                waits[0] += 1
                self._waiters.setdefault(node, []).append((job, waits))
        for other, used in self._draining.items():
            # one that moves waits for its own drain, wherever it goes
            if other == job or any(n == m and a & b for n, a, _ in allocation for m, b, _ in used):
                waits[0] += 1
                self._waiters.setdefault(-1 - other, []).append((job, waits))
        if waits[0]:
            self._waits[job] = waits
        else:
            self.orders.append((_START, job, allocation, 0.0))

    def _boot(self, node: int, rows: list[Row]) -> None:
        books = self.books
        books.node_state[node] = NodeState.BOOTING
        rows.append((books.now, Kind.PROVISIONING, node, -1, 0.0, 0.0))
        self.orders.append((Do.BOOT, node, (), 0.0))

    def _preempt(self, action: Action, rows: list[Row]) -> int:
        books = self.books
        _, job, _, checkpoint, _ = action
        allocation = books.claims[job]
        self._end_lease(job)
        self._drain(job, allocation, checkpoint, 0.0, rows)
        del books.claims[job]
        return 0

    def _drain(self, job: int, allocation: Allocation, checkpoint: float, moves: float, rows: list[Row]) -> None:
        books = self.books
        self._waits.pop(job, None)
        self._credit(job, books.now, 0.0)
        books.status[job] = Status.DRAINING
        self._draining[job] = allocation
        rows.append((books.now, Kind.DRAINING, job, -1, checkpoint, moves))
        self.orders.append((Do.DRAIN, job, allocation, checkpoint))

    def _move(self, action: Action, rows: list[Row]) -> int:
        books = self.books
        verb, job, target, _, held = action
        old = books.claims[job]
        size = sum(mask.bit_count() for _, mask, _ in target)
        if verb == Verb.MIGRATE:
            size = sum(mask.bit_count() for _, mask, _ in old)
        elif not books.min_gpus[job] <= size <= books.max_gpus[job]:
            size = -1
        rule = books.rule(job, target, size) if size > 0 else Rule.GANG
        if not held:
            rule = rule or Rule.CAPACITY
        if rule:
            if held:
                books.capacity.give(target, books.job_class[job])
                books.capacity.take(old, books.job_class[job])
                books.close_unused(target)
            return rule
        self._drain(job, old, 1.0, 1.0, rows)
        self._moving.add(job)
        self._claim(job, target, rows)
        return 0

    def _hold(self, action: Action, rows: list[Row]) -> int:
        return self._set_aside(action, Status.HELD, Kind.HELD, Do.HOLD, rows)

    def _reject(self, action: Action, rows: list[Row]) -> int:
        return self._set_aside(action, Status.REJECTED, Kind.REJECTED, Do.FORGET, rows)

    def _set_aside(self, action: Action, status: Status, kind: Kind, do: Do, rows: list[Row]) -> int:
        books = self.books
        _, job, _, argument, _ = action
        if books.status[job] != Status.WAITING:
            return Rule.STATUS
        books.status[job] = status
        books.since_s[job] = books.now
        for queue in (books.queue, *books.keyed.values()):
            queue.remove(job)
        rows.append((books.now, kind, job, -1, argument, 0.0))
        self.orders.append((do, job, (), argument))
        return 0

    def _stage(self, action: Action, rows: list[Row]) -> int:
        books = self.books
        job, site = action[1], int(action[3])
        if books.status[job] != Status.WAITING or not 0 <= site < len(books.fleet.sites):
            return Rule.STATUS
        if books.demands.abroad[books.job_class[job]][site]:
            return Rule.RESIDENCY  # data may not go where the job may not
        if books.source(job, site) < 0:
            return Rule.DATA
        rows.append((books.now, Kind.STAGING, job, site, 0.0, 0.0))
        self.orders.append((Do.STAGE, job, (), float(site)))
        return 0

    def _provision(self, action: Action, rows: list[Row]) -> int:
        pool, count = action[1], int(action[3])
        if not 0 <= pool < len(self.books.fleet.pools) or count < 1:
            return Rule.STATUS
        for _ in range(count):
            node = self.books.capacity.next_spare(pool)
            if node < 0:
                return self._why_none(pool)
            self.books.capacity.open(node)
            self._boot(node, rows)
        return 0

    def _release(self, action: Action, rows: list[Row]) -> int:
        books = self.books
        node = action[1]
        if not 0 <= node < len(books.node_state):
            return Rule.STATUS
        if not books.fleet.pools[books.capacity.pool_of[node]].elastic or not self._is_idle(node):
            return Rule.STATUS
        if any(part[0] == node for where in books.claims.values() for part in where):
            return Rule.STATUS  # the plan has a job leave it later on
        rows.append((books.now, Kind.RELEASING, node, -1, 0.0, 0.0))
        self._halt(node)
        return 0

    _other: ClassVar[dict[int, Callable[[State, Action, list[Row]], int]]] = {
        Verb.PREEMPT: _preempt,
        Verb.MIGRATE: _move,
        Verb.RESIZE: _move,
        Verb.STAGE: _stage,
        Verb.PROVISION: _provision,
        Verb.RELEASE: _release,
        Verb.HOLD: _hold,
        Verb.REJECT: _reject,
    }
