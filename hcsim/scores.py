"""Placement by score: every node has a score for every demand class, and only nodes that have changed are scored anew.

A :class:`Scorer` says how good nodes are for a demand, on columns of many nodes at once. A :class:`Ranking` keeps what
it said, per demand class, and asks again only for nodes whose GPUs, CPUs or RAM have changed since that class was last
asked for. So a decision costs a few calls of NumPy on a handful of nodes and one argmax, on a thousand nodes or a
hundred thousand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from hcsim.actions import Allocation
from hcsim.books import Books
from hcsim.model import InputError
from hcsim.rng import stream, uniforms

if TYPE_CHECKING:
    from hcsim.view import View

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Kinds of claims on a node: by how many whole GPUs of it they have, 0 for a share of one. A node has at most 16.
_KINDS = 17
_TIES = stream("ties")


@dataclass(frozen=True)
class Want:
    """What one job of a demand class asks for: ``gpus`` GPUs, ``milli`` thousandths of each, and of its node
    ``cpus_milli`` thousandths of a CPU and ``ram_bytes``."""

    gpus: int
    milli: int
    cpus_milli: int
    ram_bytes: int

    @property
    def gpu_milli(self) -> int:
        """Thousandths of a GPU in all."""
        return self.gpus * self.milli if self.gpus else 0

    @property
    def kind(self) -> int:
        """The column of ``Nodes.held`` in which such a claim is counted."""
        return self.gpus if self.milli == 1000 else 0


class Nodes:
    """Columns of some nodes, as they are now.

    ``pool`` (n,) their pools; ``gpu_milli`` (n, most GPUs of a node) thousandths left of each GPU, 0 where there is no
    such GPU; ``cpus_milli`` and ``ram_bytes`` (n,) what is left, inf where the fleet does not say; ``gpus`` (n,) how
    many GPUs each has; ``held`` (n, 17) how many claims it holds, by how many whole GPUs of it they have (0: a share of
    one). ``most_cpus_milli`` and ``most_gpu_milli`` are those of the fleet's largest node (1 where none says).
    """

    def __init__(self, table: NodeTable, rows: Any) -> None:
        self._table, self._rows = table, rows
        self.most_cpus_milli, self.most_gpu_milli = table.most_cpus_milli, table.most_gpu_milli

    @property
    def most(self) -> Floats:
        """GPUs (in milli), CPUs (in milli) and bytes of RAM of the fleet's largest node, shape (3,)."""
        return np.array([self.most_gpu_milli, self.most_cpus_milli, self._table.most_ram_bytes])

    @property
    def pool(self) -> Ints:
        out: Ints = self._table.pool[self._rows]
        return out

    @property
    def gpus(self) -> Ints:
        out: Ints = self._table.gpus[self._rows]
        return out

    @property
    def gpu_milli(self) -> Ints:
        out: Ints = self._table.gpu_milli.take(self._rows, 0)
        return out

    @property
    def cpus_milli(self) -> Floats:
        out: Floats = self._table.cpus_milli[self._rows]
        return out

    @property
    def ram_bytes(self) -> Floats:
        out: Floats = self._table.ram_bytes[self._rows]
        return out

    @property
    def held(self) -> Ints:
        out: Ints = self._table.held.take(self._rows, 0)
        return out


class Scorer(ABC):
    """What scores nodes."""

    #: Of the scores: int16, or float64.
    dtype: ClassVar[type] = np.int16

    @abstractmethod
    def scores(self, nodes: Nodes, want: Want) -> npt.NDArray[Any]:
        """How good each of these nodes is for such a job, shape (nodes,), larger is better. All of them have room."""

    def gpu(self, nodes: Nodes, want: Want) -> int:
        """Which GPU of the one node given a share comes from: by default the one with the least left that has room, the
        lowest of equals."""
        left = nodes.gpu_milli[0]
        return int(np.where(left >= want.milli, left, 1001).argmin())


class Score(ABC):
    """A placement rule; frozen, so that it can be told from others. Of equal nodes the one that comes first in ``ties``
    is taken. By default that is an order that the run's seed draws once: by number, demands to which nodes are alike
    would crowd the first pool and take its CPUs from its GPUs (on openb FGD then packs 87 % instead of 95)."""

    ties: tuple[int, ...] = ()

    @abstractmethod
    def scorer(self, view: View) -> Scorer:
        """What scores nodes from now on: the rule itself, or tables that it makes of what is known now."""

    def epoch(self, arrived: int) -> int:
        """Another number than before when :meth:`scorer` must be asked anew, now that so many jobs have arrived."""
        return 0


class NodeTable:
    """The columns of all nodes, brought up to date with what capacity tells, and when each node last changed."""

    def __init__(self, books: Books, claims: Mapping[int, Allocation]) -> None:
        capacity, fleet = books.capacity, books.fleet
        self._capacity = capacity
        capacity.news = []
        n = len(capacity.pool_of)
        self.pool: Ints = np.array(capacity.pool_of, np.int64)
        self.gpus: Ints = np.array(capacity.size, np.int64)[self.pool]
        self.gpu_milli: Ints = np.zeros((n, max(capacity.size)), np.int64)
        self.cpus_milli: Floats = np.full(n, inf)
        self.ram_bytes: Floats = np.full(n, inf)
        self.held: Ints = np.zeros((n, _KINDS), np.int64)
        self.up = np.zeros(n, bool)
        self.most_cpus_milli = max(p.cpus_per_node for p in fleet.pools) * 1000.0 or 1.0
        self.most_ram_bytes = max(p.ram_bytes_per_node for p in fleet.pools) or 1.0
        self.most_gpu_milli = max(capacity.size) * 1000.0
        #: Of each node, how many changes there had been when it last changed; 0: it is as it was when this was made.
        self.stamp: Ints = np.zeros(n, np.int64)
        self.changes = 0
        self._last: list[int] = []  # the nodes of the last changes
        self._window = max(n // 50, 64)
        as_built = np.array([not p.elastic for p in fleet.pools])[self.pool]
        self.up[:] = as_built
        self.gpu_milli[:] = np.where(np.arange(self.gpu_milli.shape[1]) < self.gpus[:, None], 1000, 0)
        changed = (np.frombuffer(capacity.up, np.uint8) != as_built) | (capacity.free != self.gpus * as_built)
        for column, name in ((self.cpus_milli, "cpus"), (self.ram_bytes, "ram")):
            column[:] = whole = np.array(getattr(capacity, f"{name}_of_pool"))[self.pool]
            if capacity.track_host:  # else nobody asks for any, now or later; which of the two must not be seen
                column[:] = getattr(capacity, name)
                changed |= column != whole
        for node in np.flatnonzero(changed).tolist():
            self._note(node)
        for allocation in claims.values():
            self._count(allocation, 1)

    def _count(self, allocation: Allocation, sign: int) -> None:
        for node, mask, milli in allocation:
            if mask:
                self.held[node, mask.bit_count() if milli == 1000 else 0] += sign

    def _read(self, node: int) -> None:
        capacity = self._capacity
        left = capacity.gpu_milli(node)
        self.gpu_milli[node, : len(left)] = left
        if capacity.track_host:
            self.cpus_milli[node] = capacity.cpus[node]
            self.ram_bytes[node] = capacity.ram[node]
        self.up[node] = capacity.up[node]

    def _note(self, node: int) -> None:
        self._read(node)
        self.changes += 1
        self.stamp[node] = self.changes
        self._last.append(node)

    def sync(self) -> None:
        """Take in what has changed."""
        news = self._capacity.news
        if not news:
            return
        touched: dict[int, None] = {}
        for allocation, sign in news:
            if sign:
                self._count(allocation, sign)
            for node, _, _ in allocation:
                touched[node] = None
                if not sign:
                    self.held[node] = 0
        news.clear()
        for node in touched:
            self._note(node)
        if len(self._last) > 2 * self._window:
            del self._last[: -self._window]

    def changed_since(self, changes: int) -> npt.NDArray[np.intp]:
        """Nodes that have changed after so many changes, each once."""
        gap = self.changes - changes
        if gap <= self._window and gap <= len(self._last):
            return np.array(list(dict.fromkeys(self._last[-gap:])) if gap else [], np.intp)
        return np.flatnonzero(self.stamp > changes)


@dataclass
class _Known:
    """Of a demand class: the pools that may hold it on one node, the scores of all nodes by their place in the order of
    ties, and how many changes these take in."""

    want: Want
    allowed: npt.NDArray[np.bool_]
    said: npt.NDArray[Any]
    changes: int


class Ranking:
    """What a rule says of all nodes, by demand class."""

    def __init__(self, books: Books, table: NodeTable, score: Score, scorer: Scorer, epoch: int) -> None:
        self.score, self.epoch, self._scorer = score, epoch, scorer
        self._books, self._table = books, table
        n = len(table.pool)
        if score.ties and sorted(score.ties) != list(range(n)):
            raise InputError(f"strategy.ties has {len(score.ties)} numbers, expected those of all {n} nodes, each once")
        drawn = uniforms(books.seed, _TIES, np.arange(n))
        self._order = np.array(score.ties, np.intp) if score.ties else np.argsort(drawn)  # position -> node
        self._position = np.argsort(self._order)
        self._pool_at = table.pool[self._order]
        self._none = -inf if scorer.dtype is np.float64 else np.iinfo(scorer.dtype).min
        self._known: dict[int, _Known] = {}

    def find(self, c: int, scope: Sequence[int] | None = None) -> tuple[int, Any]:
        """The best node with room for a job of a demand class, and its score; (-1, None) when there is none."""
        table = self._table
        table.sync()
        known = self._known.get(c)
        if known is None:
            known = self._known[c] = self._first(c)
        elif known.changes != table.changes:
            nodes = table.changed_since(known.changes)
            known.said[self._position[nodes]] = self._said(nodes, known)
            known.changes = table.changes
        said = known.said
        if scope is not None:
            said = np.where(np.isin(self._pool_at, scope), said, self._none)
        best = said.argmax()
        if said[best] == self._none:
            return -1, None
        return int(self._order[best]), said[best]

    def with_room(self, c: int) -> npt.NDArray[np.intp]:
        """All nodes with room for a job of a demand class, in the order of ``ties``."""
        self.find(c)
        return self._order[np.flatnonzero(self._known[c].said != self._none)]

    def _first(self, c: int) -> _Known:
        """The scores of all nodes; those that have never changed are scored once per pool."""
        table, books = self._table, self._books
        size, gpus = books.capacity.size, books.demands.gpus[c]
        allowed = np.zeros(len(size), bool)
        for p in books.demands.pools[c]:
            allowed[p] = size[p] >= gpus
        want = Want(gpus, books.demands.milli[c], *books.capacity.host[c])
        known = _Known(want, allowed, np.empty(0), table.changes)
        fresh = np.flatnonzero(table.stamp == 0)
        pools, at = np.unique(table.pool[fresh], return_index=True)
        of_pool: npt.NDArray[Any] = np.full(len(size), self._none, self._scorer.dtype)
        of_pool[pools] = self._said(fresh[at], known)
        known.said = of_pool[self._pool_at]
        changed = np.flatnonzero(table.stamp)
        known.said[self._position[changed]] = self._said(changed, known)
        return known

    def _said(self, nodes: npt.NDArray[np.intp], known: _Known) -> npt.NDArray[Any]:
        """Scores of nodes; the least number where there is no room."""
        table, want = self._table, known.want
        room = table.up[nodes] & known.allowed[table.pool[nodes]]
        if want.cpus_milli:
            room &= table.cpus_milli[nodes] >= want.cpus_milli
        if want.ram_bytes:
            room &= table.ram_bytes[nodes] >= want.ram_bytes
        if want.gpus:
            enough = table.gpu_milli.take(nodes, 0) >= want.milli
            room &= enough.any(1) if want.gpus == 1 else np.count_nonzero(enough, 1) >= want.gpus
        said: npt.NDArray[Any] = np.full(len(nodes), self._none, self._scorer.dtype)
        here = np.flatnonzero(room)
        if len(here):
            said[here] = self._scorer.scores(Nodes(table, nodes[here]), want)
        return said

    def on(self, node: int, c: int) -> Allocation:
        """GPUs of a node that :meth:`find` has found for a demand class."""
        want = self._known[c].want
        if want.milli != 1000:
            gpu = self._scorer.gpu(Nodes(self._table, np.array([node])), want)
            return ((node, 1 << gpu, want.milli),)
        return ((node, self._books.capacity.lowest(node, want.gpus), 1000),)


def ranking(books: Books, score: Score) -> Ranking:
    """The ranking by a rule, made when it is first asked for and when its epoch has changed."""
    from hcsim.view import View

    epoch = score.epoch(books.arrived)
    for i, known in enumerate(books.rankings):
        if known.score is score or known.score == score:
            if known.epoch == epoch:
                return known
            del books.rankings[i]
            break
    if books.node_table is None:
        books.node_table = NodeTable(books, books.claims if books.plan is None else books.plan.claims())
    table = books.node_table
    table.sync()
    made = Ranking(books, table, score, score.scorer(View(books)), epoch)
    books.rankings.append(made)
    return made


def search(books: Books, c: int, score: Score, scope: tuple[int, ...] | None) -> Allocation | None:
    """GPUs for a job of a demand class by a rule.

    A job runs on one node wherever it may run on a pool whose nodes are large enough; nodes that are on come before
    rented ones that are off, which are taken pool by pool. A larger gang takes nodes that are entirely free, as first
    fit does.
    """
    capacity, allowed, gpus = books.capacity, books.demands.pools[c], books.demands.gpus[c]
    if scope is not None:
        allowed = tuple(p for p in scope if p in allowed)
    roomy = [p for p in allowed if capacity.size[p] >= gpus]
    if not roomy:
        return None
    by = ranking(books, score)
    node, _ = by.find(c, roomy if scope is not None else None)
    if node >= 0:
        return by.on(node, c)
    for p in roomy:
        node = capacity.next_spare(p)
        if node >= 0:
            milli = books.demands.milli[c]
            return ((node, capacity.lowest(node, gpus), milli),)
    return None
