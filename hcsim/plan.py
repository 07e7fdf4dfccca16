"""A plan: what a strategy asks for, kept as a scratch ledger that sees what the plan has already taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hcsim.actions import Action, Allocation, Verb
from hcsim.books import Books, Status
from hcsim.capacity import POPCOUNT, Capacity
from hcsim.model import InputError
from hcsim.queue import Queue

if TYPE_CHECKING:
    from hcsim.scores import Score

_PLACE = int(Verb.PLACE)
_CLAIMING = frozenset(map(int, (Verb.PLACE, Verb.PREEMPT, Verb.MIGRATE, Verb.RESIZE)))


class Plan:
    """Actions in the order in which they will be admitted.

    ``place`` takes its GPUs and ``preempt`` gives them back at once, in the state's own index, so that ``fits``,
    ``first_fit`` and the rest see the plan so far. Hard rules are advisory here and authoritative at admission.
    """

    __slots__ = ("_actions", "_books", "_first", "_found", "_job", "_score", "_taken", "timers")

    def __init__(self, books: Books) -> None:
        self._books = books
        self._actions: list[Action] = []
        self.timers: list[float] | None = None
        self._taken: set[int] = set()  # jobs that this plan has acted on
        self._job = -1  # the job that was searched for last ...
        self._first = False  # ... whether by first fit over all its pools ...
        self._score: Score | None = None  # ... or by this rule ...
        self._found: Allocation | None = None  # ... and what was found, good until capacity changes
        if books.budgets is not None:
            for end_s in books.budgets.check(books.now):
                self.wake_at(end_s)  # then there is money again
        if books.plan:
            books.plan.undo()  # a plan that was not returned was a thought
        books.plan = self

    def __bool__(self) -> bool:
        """Whether it asks for anything but to be woken."""
        return bool(self._actions)

    # -- looking -----------------------------------------------------------------------------------------------------

    def placeable(self, queue: Queue, pools: Sequence[int] | None = None, score: Score | None = None) -> Iterable[int]:
        """Jobs of ``queue`` in its order that fit somewhere now (in ``pools``, if given), found lazily.

        A demand class that does not fit is skipped whole, until GPUs come free that might hold it. With ``score`` they
        are searched for as :meth:`scored_fit` does.
        """
        scope = None if pools is None else tuple(pools)
        job = queue.only()
        if job < 0:
            return self._placeable(queue, scope, score)
        if job in self._taken or (self._books.capacity.closed and self._shut(self._books.job_class[job], scope)):
            return ()
        return () if self._search(job, scope, score=score) is None else (job,)

    def _shut(self, c: int, scope: tuple[int, ...] | None) -> bool:
        books = self._books
        return c in books.capacity.closed.get(books.demands.pools[c] if scope is None else scope, ())

    def _placeable(self, queue: Queue, scope: tuple[int, ...] | None, score: Score | None) -> Iterator[int]:
        classes = [c for c in queue.counts if not self._shut(c, scope)]
        if not classes:
            return
        jobs = queue.merged(classes, lambda c: self._shut(c, scope)) if len(classes) > 1 else queue.of_class(classes[0])
        for job in jobs:
            if job in self._taken:
                continue
            if self._search(job, scope, score=score) is not None:
                yield job
            elif len(classes) == 1:
                return

    def first_fit(self, job: int, pools: Sequence[int] | None = None) -> Allocation | None:
        """GPUs for a job on the first node that fits, pools in the order given (default: all allowed, fleet order).

        A gang larger than a node takes nodes that are entirely free, the remainder on the last. Nodes that are on come
        before rented nodes that are off. None when it fits nowhere.
        """
        if job == self._job and self._first and pools is None:
            return self._found
        self._books.here(job)
        return self._search(job, pools)

    def best_fit(self, job: int, pools: Sequence[int] | None = None) -> Allocation | None:
        """Like :meth:`first_fit`, on the node with the fewest claimable GPUs that still fit, pool by pool."""
        self._books.here(job)
        return self._search(job, pools, best=True)

    def scored_fit(self, job: int, score: Score, pools: Sequence[int] | None = None) -> Allocation | None:
        """GPUs for a job on the node that ``score`` says is best, of all allowed pools; see
        :func:`hcsim.scores.search`."""
        if job == self._job and self._score is score and pools is None:
            return self._found
        self._books.here(job)
        return self._search(job, pools, score=score)

    def best_score(self, job: int, score: Score) -> float | None:
        """The score of the node that :meth:`scored_fit` would take of those that are on; None when none has room."""
        from hcsim.scores import ranking

        said = ranking(self._books, score).find(self._books.job_class[self._books.here(job)])[1]
        return None if said is None else float(said)

    def _search(
        self, job: int, pools: Sequence[int] | None, *, best: bool = False, score: Score | None = None
    ) -> Allocation | None:
        books = self._books
        c = books.job_class[job]
        demands, capacity = books.demands, books.capacity
        g = demands.gpus[c]
        allowed = demands.pools[c]
        scope = allowed
        if pools is not None:
            scope = tuple(pools)
            allowed = tuple(p for p in scope if p in allowed)
        found: Allocation | None = None
        if score is not None and any(g <= capacity.size[p] for p in allowed):
            from hcsim.scores import search

            found = search(books, c, score, None if pools is None else allowed)
        elif demands.milli[c] != 1000 or capacity.track_host:
            from hcsim.sharing import search as scan

            found = scan(books, c, allowed, best=best)
        else:
            for p in allowed:
                size = capacity.size[p]
                if g <= size:
                    node = capacity.best_fit(p, g) if best else capacity.first_fit(p, g)
                    if node >= 0:
                        found = ((node, capacity.lowest(node, g), 1000),)
                        break
                elif nodes := capacity.full_nodes(p, -(-g // size)):
                    found = _spread(capacity, nodes, g)
                    break
        if found is None:
            capacity.shut(scope, c, g if demands.milli[c] == 1000 and not capacity.track_host else 1)
        self._job = job
        self._first = pools is None and not best and score is None
        self._score = score if pools is None else None
        self._found = found
        return found

    def nodes_with_room(self, job: int, score: Score) -> npt.NDArray[np.intp]:
        """All nodes that are on and have room for a job on one node, in the order of ``score``'s ties."""
        from hcsim.scores import ranking

        return ranking(self._books, score).with_room(self._books.job_class[self._books.here(job)])

    def fits(self, job: int, where: int | Allocation) -> bool:
        """Whether a job could be placed there now, by every hard rule and what the plan has taken so far."""
        self._books.here(job)
        allocation = self._allocation(job, where)
        books = self._books
        c = books.job_class[job]
        return bool(allocation) and books.rule(job, allocation) == 0 and books.capacity.holds(allocation, c)

    def on_nodes(self, job: int, nodes: Sequence[int]) -> Allocation:
        """A job's gang on these nodes, filled in their order with each one's lowest claimable GPUs; empty when they
        have too few, or more nodes are given than it needs."""
        self._books.here(job)
        if len(nodes) == 1:
            return self._allocation(job, nodes[0])
        books, parts, left = self._books, [], self._books.gpus[job]
        for node in nodes:
            count = min(left, books.capacity.size[books.capacity.pool_of[node]])
            mask = books.capacity.lowest(node, count)
            if not count or POPCOUNT[mask] != count:
                return ()
            parts.append((node, mask, 1000))
            left -= count
        return () if left else tuple(parts)

    def claims(self) -> dict[int, Allocation]:
        """Job -> GPUs that it holds or will hold once this plan is admitted."""
        claims = dict(self._books.claims)
        for verb, job, allocation, _, held in self._actions:
            if verb == Verb.PREEMPT:
                del claims[job]
            elif held and verb in _CLAIMING:
                claims[job] = allocation
        return claims

    def placed(self) -> dict[int, Allocation]:
        """Job -> allocation of the jobs that this plan places and that fit."""
        return {action[1]: action[2] for action in self._actions if action[0] == _PLACE and action[4]}

    # -- acting ------------------------------------------------------------------------------------------------------

    def place(self, job: int, where: int | Allocation | None, lease_s: float = 0.0) -> bool:
        """Start a waiting job on a node's first free GPUs or on chosen ones, of an elastic job as many as it takes.

        With ``lease_s``, LEASE_ENDED says when it has run for so long, and ALL_LEASES_ENDED when no lease is left.
        Returns whether the GPUs were there to take; when not, the request still stands and admission will refuse it.

        Raises:
            InputError: the job is not waiting, or this plan has acted on it already.
        """
        books = self._books
        if books.plan is not self or not 0 <= job < books.arrived or books.status[job] != 1 or job in self._taken:
            self._illegal("place", job)  # status 1: WAITING
        if where is not None and where is self._found and job == self._job:  # just searched for, so it is there
            held = True
        else:
            where = self._allocation(job, where)
            held = books.rule(job, where) == 0 and books.capacity.holds(where, books.job_class[job])
        if lease_s:
            self._time("place", "lease_s", lease_s, least=0.0)
        self._taken.add(job)
        self._job = -1
        self._found = None
        if held:
            books.capacity.take(where, books.job_class[job])
        self._actions.append((_PLACE, job, where, lease_s, held))
        return held

    def preempt(self, job: int, checkpoint: bool = True) -> None:
        """Stop a job that holds GPUs and queue it again; its GPUs can be claimed by this plan at once."""
        books = self._books
        draining = job in books.claims and books.status[job] == Status.DRAINING
        if books.plan is not self or job not in books.claims or draining or job in self._taken:
            self._illegal("preempt", job)
        self._taken.add(job)
        self._changed()
        books.capacity.give(books.claims[job], books.job_class[job])
        self._actions.append((Verb.PREEMPT, job, (), float(checkpoint), True))

    def migrate(self, job: int, where: int | Allocation) -> bool:
        """Checkpoint a running job and resume it there. Returns whether the GPUs were there to take."""
        return self._move(Verb.MIGRATE, job, self._allocation(job, where))

    def resize(self, job: int, where: Allocation) -> bool:
        """Checkpoint an elastic job and resume it there with another number of GPUs."""
        return self._move(Verb.RESIZE, job, self._allocation(job, where))

    def _move(self, verb: Verb, job: int, where: Allocation) -> bool:
        books = self._books
        running = job in books.claims and books.status[job] == Status.RUNNING
        if books.plan is not self or not running or job in self._taken:
            self._illegal(verb.name.lower(), job)
        self._taken.add(job)
        self._changed()
        c = books.job_class[job]
        books.capacity.give(books.claims[job], c)  # the new place may overlap the old one
        size = sum(mask.bit_count() for _, mask, _ in where)
        if verb == Verb.MIGRATE:
            legal = size == sum(mask.bit_count() for _, mask, _ in books.claims[job])
        else:
            legal = books.min_gpus[job] <= size <= books.max_gpus[job]
        held = legal and books.rule(job, where, size) == 0 and books.capacity.holds(where, c)
        books.capacity.take(where if held else books.claims[job], c)
        self._actions.append((verb, job, where, 0.0, held))
        return held

    def renew(self, job: int, lease_s: float) -> None:
        """Give a job that holds GPUs another lease from now on, in place of what is left of its own."""
        if self._books.plan is not self or job not in self._books.claims or job in self._taken:
            self._illegal("renew", job)
        self._time("renew", "lease_s", lease_s, least=0.0)
        self._taken.add(job)
        self._actions.append((Verb.RENEW, job, (), lease_s, False))

    def fall_back(self, status: int) -> None:
        """Say that a solver gave no answer, and with which status (in words: :attr:`hcsim.planning.lp.Answer.words`),
        and that a simpler rule has decided: a row of the log."""
        self._stands("fall_back")
        self._actions.append((Verb.FALL_BACK, -1, (), float(status), False))

    def stage(self, job: int, site: int) -> None:
        """Copy a waiting job's dataset to a site ahead of its placement."""
        if self._books.plan is not self or not 0 <= job < self._books.arrived:
            self._illegal("stage", job)
        self._actions.append((Verb.STAGE, job, (), float(site), False))

    def provision(self, pool: int, count: int = 1) -> None:
        """Boot nodes of a rented pool ahead of need."""
        self._stands("provision")
        for what, value in (("of pool", pool), ("nodes", count)):
            if not isinstance(value, (int, np.integer)):
                raise InputError(f"illegal action: provision {what} {value!r}, expected a whole number")
        self._actions.append((Verb.PROVISION, pool, (), float(count), False))

    def release(self, node: int) -> None:
        """Give an idle rented node back now rather than after its idle time."""
        self._stands("release")
        node = self._node(node)
        self._actions.append((Verb.RELEASE, node, (), 0.0, False))

    def hold(self, job: int, until_s: float) -> None:
        """Take a waiting job out of the queue until a time."""
        if self._books.plan is not self or not 0 <= job < self._books.arrived:
            self._illegal("hold", job)
        self._time("hold", "until_s", until_s)
        self._taken.add(job)
        self._actions.append((Verb.HOLD, job, (), until_s, False))

    def reject(self, job: int) -> None:
        """Refuse a waiting job for good."""
        if self._books.plan is not self or not 0 <= job < self._books.arrived:
            self._illegal("reject", job)
        self._taken.add(job)
        self._actions.append((Verb.REJECT, job, (), 0.0, False))

    def wake_at(self, time_s: float) -> None:
        """Ask to be woken at a time, beside what the strategy's ``wake`` says."""
        self._time("wake_at", "time_s", time_s)
        if self.timers is None:
            self.timers = []
        self.timers.append(time_s)

    @contextmanager
    def reserving(self, gpus: Mapping[int, int]) -> Iterator[None]:
        """Within this block, hide that many claimable GPUs of each of these nodes (a reservation for someone else)."""
        self._stands("reserving")
        capacity = self._books.capacity
        hidden: Allocation = tuple(
            (node, capacity.lowest(node, min(count, capacity.free[node])), 1000)
            for node, count in gpus.items()
            if count > 0 and capacity.free[node] > 0
        )
        capacity.take(hidden, -1)
        self._changed()
        try:
            yield
        finally:
            capacity.give(hidden, -1)
            self._changed()

    @contextmanager
    def supposing(self, stopped: Iterable[int]) -> Iterator[None]:
        """Within this block, the GPUs of these jobs count as claimable (what if they were preempted?)."""
        self._stands("supposing")
        books = self._books
        given = [(books.claims[job], books.job_class[job]) for job in stopped]
        for allocation, c in given:
            books.capacity.give(allocation, c)
        self._changed()
        try:
            yield
        finally:
            for allocation, c in given:
                books.capacity.take(allocation, c)
            self._changed()

    def undo(self) -> None:
        """Give back what this plan has taken: it will not be admitted."""
        books = self._books
        for verb, job, allocation, _, held in reversed(self._actions):
            c = books.job_class[job] if verb in _CLAIMING else -1
            if verb == Verb.PREEMPT:
                books.capacity.take(books.claims[job], c)
            elif held and verb in _CLAIMING:
                books.capacity.give(allocation, c)
                books.close_unused(allocation)
                if verb != _PLACE:
                    books.capacity.take(books.claims[job], c)
        self._actions = []

    def _stands(self, what: str) -> None:
        """Refuse to act for a plan that is not the last that was made at this decision."""
        if self._books.plan is not self:
            raise InputError(
                f"illegal action: {what} by a plan that no longer stands, expected the last of view.plan()"
            )

    def _time(self, action: str, name: str, value: float, least: float = -inf) -> None:
        if not isinstance(value, (int, float, np.number)) or not least <= value < inf:
            expected = "a finite number" if least == -inf else f"a finite number >= {least:g}"
            raise InputError(f"illegal action: {action} with {name} = {value!r}, expected {expected}")

    def _changed(self) -> None:
        """Capacity has changed: the last search no longer holds."""
        self._job = -1
        self._found = None

    def _allocation(self, job: int, where: int | Allocation | None) -> Allocation:
        """Chosen GPUs as they are; for a node its lowest claimable GPUs (empty when it has too few)."""
        if where is None:
            return ()
        books = self._books
        if isinstance(where, tuple):
            for part in where:
                self._node(part[0])
            return where
        node = self._node(where)
        if books.milli[job] != 1000:
            from hcsim.sharing import share_on

            return share_on(books, node, books.milli[job])
        gpus = books.gpus[job]
        if not gpus:
            return ((node, 0, 1000),)
        mask = books.capacity.lowest(node, gpus) if gpus <= books.capacity.size[books.capacity.pool_of[node]] else 0
        return ((node, mask, 1000),) if mask else ()

    def _node(self, node: int) -> int:
        last = len(self._books.capacity.pool_of) - 1
        if not (isinstance(node, (int, np.integer)) and 0 <= node <= last):
            raise InputError(f"illegal action: node {node!r} does not exist, expected 0 to {last}")
        return int(node)

    def _illegal(self, what: str, job: int) -> None:
        self._stands(f"{what} job {job}")
        status = Status(self._books.status[job]).name if 0 <= job < self._books.arrived else "unknown"
        again = ", and this plan has acted on it already" if job in self._taken else ""
        raise InputError(f"illegal action: {what} job {job}, whose status is {status}{again}")


def _spread(capacity: Capacity, nodes: list[int], gpus: int) -> Allocation:
    """Nodes that are entirely free for a gang, the remainder on the last of them."""
    size = capacity.size[capacity.pool_of[nodes[0]]]
    return tuple((node, capacity.lowest(node, min(gpus - i * size, size)), 1000) for i, node in enumerate(nodes))
