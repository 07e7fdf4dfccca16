"""Searches for jobs that share a GPU or ask for CPUs and RAM: a scan over the nodes of a pool."""

from __future__ import annotations

from hcsim.actions import Allocation
from hcsim.books import Books


def search(books: Books, c: int, pools: tuple[int, ...], *, best: bool) -> Allocation | None:
    """The first node (or the fullest, with ``best``) that holds one job of demand class ``c``."""
    capacity, d = books.capacity, books.demands
    g, milli = d.gpus[c], d.milli[c]
    for p in pools:
        size = capacity.size[p]
        nodes = max(-(-g // size), 1)
        per_node = min(g, size)
        found: list[tuple[int, int]] = []
        for node in range(capacity.first[p], capacity.first[p + 1]):
            if not capacity.up[node] or (capacity.track_host and not capacity.host_fits(node, c, nodes)):
                continue
            if milli != 1000:
                if share_on(books, node, milli):
                    found.append((capacity.free[node], node))
            elif capacity.free[node] >= per_node:
                found.append((capacity.free[node], node))
            if found and not best and len(found) == nodes:
                break
        if best:
            found.sort()
        if len(found) < nodes:
            spare = [n for n in sorted(capacity.spare[p]) if capacity.off[n]][: capacity.spare_allowed(p)]
            found += [(size, n) for n in spare[: nodes - len(found)]]
        if len(found) < nodes:
            continue
        if milli != 1000:
            return share_on(books, found[0][1], milli)
        parts, left = [], g
        for _, node in found[:nodes]:
            count = min(left, size)
            parts.append((node, capacity.lowest(node, count), 1000))  # mask 0 of a job without GPUs
            left -= count
        return tuple(parts)
    return None


def share_on(books: Books, node: int, milli: int) -> Allocation:
    """A share of the fullest shared GPU of a node that still has it, else of a free GPU; empty when there is none."""
    capacity = books.capacity
    p = capacity.pool_of[node]
    shared = capacity.shared[p]
    lefts = [(shared.get((node, gpu), 0), gpu) for gpu in range(capacity.size[p])] if shared else ()
    fitting = [(left, gpu) for left, gpu in lefts if left >= milli]
    if fitting:
        return ((node, 1 << min(fitting)[1], milli),)
    mask = capacity.lowest(node, 1)
    return ((node, mask, milli),) if mask else ()
