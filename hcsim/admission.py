"""Admission: a plan's actions are held against the hard rules, and what stands becomes orders."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from hcsim.actions import Action, Allocation, Do, Verb
from hcsim.books import NodeState, Status
from hcsim.constraints import Rule
from hcsim.events import Kind, Row
from hcsim.plan import Plan

if TYPE_CHECKING:
    from hcsim.state import State

_PLACED, _REFUSED = int(Kind.PLACED), int(Kind.REFUSED)
_START = int(Do.START)


def admit(state: State, plan: Plan) -> list[Row]:
    """Check a plan's actions against the hard rules, in order, and make orders of those that stand.

    Returns the log rows of the outcome: what was admitted, and for what was refused the rule that refused it.
    """
    books = state.books
    rows: list[Row] = []
    books.plan = None
    if books.budgets is not None:
        books.budgets.check(books.now)
    for action in plan._actions:
        verb, subject = action[0], action[1]
        rule = _place(state, action, rows) if verb == 1 else _OTHER[verb](state, action, rows)  # Verb.PLACE
        if rule:
            rows.append((books.now, _REFUSED, subject, int(verb), float(rule), 0.0))
    if state._booted:
        state._settle()
    return rows


def _place(state: State, action: Action, rows: list[Row]) -> int:
    books = state.books
    _, job, allocation, lease_s, held = action
    rule: int = books.rule(job, allocation) or (0 if held else _why_not(state, allocation))
    if rule:
        if held:
            books.capacity.give(allocation, books.job_class[job])
            books.close_unused(allocation)
        return rule
    if lease_s:
        books.leases[job] = lease_s
        state.orders.append((Do.LEASE, job, (), inf))
    books.status[job] = 2  # PLACED
    books.queue._remove(job)
    if books.keyed:
        for queue in books.keyed.values():
            queue._remove(job)
    _claim(state, job, allocation, rows)
    return 0


def _why_not(state: State, allocation: Allocation) -> Rule:
    """Why GPUs could not be taken."""
    capacity = state.books.capacity
    opened = [capacity.pool_of[node] for node, _, _ in allocation if capacity.off[node]]
    if opened and capacity.purses[opened[0]] and capacity.paid_for(opened[0]) < len(opened):
        return Rule.BUDGET
    return Rule.CAPACITY


def _why_none(state: State, pool: int) -> Rule:
    """Why no more nodes of a pool can be rented."""
    capacity = state.books.capacity
    if not capacity.spare[pool]:
        return Rule.CAPACITY
    if capacity.purses[pool] and not capacity.paid_for(pool):
        return Rule.BUDGET
    return Rule.STOCK if capacity.on[pool] + 1 > capacity.stock[pool] else Rule.QUOTA


def _claim(state: State, job: int, allocation: Allocation, rows: list[Row]) -> None:
    """A job holds these GPUs from now; order its start, now or when what it waits for has come."""
    books = state.books
    t = books.now
    books.claims[job] = allocation
    if books.ends is not None:
        books.note_end(job)
    waits = [0]
    nodes = books.node_state
    for node, mask, milli in allocation:
        rows.append((t, _PLACED, job, node, mask, milli))
        if nodes[node] != 1:  # UP
            if nodes[node] == NodeState.OFF:
                _boot(state, node, rows)
            waits[0] += 1
            state._waiters.setdefault(node, []).append((job, waits))
    if state._draining:
        for other, used in state._draining.items():
            # one that moves waits for its own drain, wherever it goes
            if other == job or any(n == m and a & b for n, a, _ in allocation for m, b, _ in used):
                waits[0] += 1
                state._waiters.setdefault(-1 - other, []).append((job, waits))
    if waits[0]:
        state._waits[job] = waits
    else:
        state.orders.append((_START, job, allocation, 0.0))


def _boot(state: State, node: int, rows: list[Row]) -> None:
    books = state.books
    books.node_state[node] = NodeState.BOOTING
    state._booted = books.budgets is not None
    rows.append((books.now, Kind.PROVISIONING, node, -1, 0.0, 0.0))
    state.orders.append((Do.BOOT, node, (), 0.0))


def _preempt(state: State, action: Action, rows: list[Row]) -> int:
    books = state.books
    _, job, _, checkpoint, _ = action
    allocation = books.claims[job]
    state._end_lease(job)
    _drain(state, job, allocation, checkpoint, 0.0, rows)
    del books.claims[job]
    return 0


def _drain(state: State, job: int, allocation: Allocation, checkpoint: float, moves: float, rows: list[Row]) -> None:
    books = state.books
    state._waits.pop(job, None)
    state._credit(job, books.now, 0.0)
    books.status[job] = Status.DRAINING
    state._draining[job] = allocation
    rows.append((books.now, Kind.DRAINING, job, -1, checkpoint, moves))
    state.orders.append((Do.DRAIN, job, allocation, checkpoint))


def _move(state: State, action: Action, rows: list[Row]) -> int:
    books = state.books
    verb, job, target, _, held = action
    old = books.claims[job]
    size = sum(mask.bit_count() for _, mask, _ in target)
    if verb == Verb.MIGRATE:
        size = sum(mask.bit_count() for _, mask, _ in old)
    elif not books.min_gpus[job] <= size <= books.max_gpus[job]:
        size = -1
    rule = books.rule(job, target, size) if size >= 0 else Rule.GANG
    if not held:
        rule = rule or Rule.CAPACITY
    if rule:
        if held:
            books.capacity.give(target, books.job_class[job])
            books.capacity.take(old, books.job_class[job])
            books.close_unused(target)
        return rule
    _drain(state, job, old, 1.0, 1.0, rows)
    state._moving.add(job)
    _claim(state, job, target, rows)
    return 0


def _renew(state: State, action: Action, rows: list[Row]) -> int:
    books, job, lease_s = state.books, action[1], action[3]
    if books.status[job] == Status.RUNNING:
        books.leases[job] = 0.0
        state.orders.append((Do.LEASE, job, (), lease_s))
    else:  # it counts from its start
        books.leases[job] = lease_s
        state.orders.append((Do.LEASE, job, (), inf))
    return 0


def _fall_back(state: State, action: Action, rows: list[Row]) -> int:
    rows.append((state.books.now, Kind.FELL_BACK, -1, -1, action[3], 0.0))
    return 0


def _hold(state: State, action: Action, rows: list[Row]) -> int:
    return _set_aside(state, action, Status.HELD, Kind.HELD, Do.HOLD, rows)


def _reject(state: State, action: Action, rows: list[Row]) -> int:
    return _set_aside(state, action, Status.REJECTED, Kind.REJECTED, Do.FORGET, rows)


def _set_aside(state: State, action: Action, status: Status, kind: Kind, do: Do, rows: list[Row]) -> int:
    books = state.books
    _, job, _, argument, _ = action
    if books.status[job] != Status.WAITING:
        return Rule.STATUS
    books.status[job] = status
    books.since_s[job] = books.now
    for queue in (books.queue, *books.keyed.values()):
        queue._remove(job)
    rows.append((books.now, kind, job, -1, argument, 0.0))
    state.orders.append((do, job, (), argument))
    return 0


def _stage(state: State, action: Action, rows: list[Row]) -> int:
    books = state.books
    job, site = action[1], int(action[3])
    if books.status[job] != Status.WAITING or not 0 <= site < len(books.fleet.sites):
        return Rule.STATUS
    if books.demands.abroad[books.job_class[job]][site]:
        return Rule.RESIDENCY  # data may not go where the job may not
    if books.source(job, site) < 0:
        return Rule.DATA
    rows.append((books.now, Kind.STAGING, job, site, 0.0, 0.0))
    state.orders.append((Do.STAGE, job, (), float(site)))
    return 0


def _provision(state: State, action: Action, rows: list[Row]) -> int:
    pool, count = action[1], int(action[3])
    if not 0 <= pool < len(state.books.fleet.pools) or count < 1:
        return Rule.STATUS
    for _ in range(count):
        node = state.books.capacity.next_spare(pool)
        if node < 0:
            return _why_none(state, pool)
        state.books.capacity.open(node)
        _boot(state, node, rows)
    return 0


def _release(state: State, action: Action, rows: list[Row]) -> int:
    books = state.books
    node = action[1]
    if not 0 <= node < len(books.node_state):
        return Rule.STATUS
    if not books.fleet.pools[books.capacity.pool_of[node]].elastic or not state._is_idle(node):
        return Rule.STATUS
    if any(part[0] == node for where in books.claims.values() for part in where):
        return Rule.STATUS  # the plan has a job leave it later on
    rows.append((books.now, Kind.RELEASING, node, -1, 0.0, 0.0))
    state._halt(node)
    return 0


_OTHER: dict[int, Callable[[State, Action, list[Row]], int]] = {
    Verb.PREEMPT: _preempt,
    Verb.MIGRATE: _move,
    Verb.RESIZE: _move,
    Verb.STAGE: _stage,
    Verb.PROVISION: _provision,
    Verb.RELEASE: _release,
    Verb.HOLD: _hold,
    Verb.REJECT: _reject,
    Verb.RENEW: _renew,
    Verb.FALL_BACK: _fall_back,
}
