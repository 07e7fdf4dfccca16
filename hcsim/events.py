"""What happened, as rows. The log is a list of these rows and nothing else; every metric is a function of it.

A row is ``(time_s, kind, subject, node, value, detail)``. Rows of one instant stand in one documented order: losses,
completions, price and carbon changes, capacity arriving, job arrivals; then the strategy wakes once.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

Row: TypeAlias = tuple[float, int, int, int, float, float]


class Kind(IntEnum):
    """The closed union of events. Kinds below ``WAKE`` come from the executor, in the order of one instant."""

    # losses
    NODE_DOWN = 1  # subject: node
    LOST = 2  # subject: job; node: the failed node; value: seconds of its run that must be done again
    PREEMPTED = 3  # subject: job, its GPUs are free now; value: seconds lost
    # completions
    FINISHED = 4  # subject: job
    LEASE_ENDED = 5  # subject: job
    ALL_LEASES_ENDED = 6
    # price changes
    PRICE_CHANGED = 7  # subject: pool; value: USD per GPU-hour
    # capacity
    NODE_UP = 8  # subject: node, booted or repaired
    NODE_OFF = 9  # subject: node, a rented node given back
    IDLE = 10  # subject: node, has been without work for its pool's idle_release_s
    TRANSFERRING = 11  # subject: job; node: source site; detail: target site; value: bytes
    STAGED = 12  # subject: job; node: site that now holds its dataset
    STARTED = 13  # subject: job; node: its first node
    # arrivals
    ARRIVED = 14  # subject: job
    TIMER = 15  # a time that a strategy asked to be woken at
    RESUMED = 16  # subject: job whose hold is over
    # the control loop
    WAKE = 32  # subject: number of this decision
    REMEMBERED = 41  # subject: number of the decision; value: CRC-32 of the strategy's memory after it
    # what admission made of a plan
    PLACED = 33  # subject: job; node; value: bit mask of its GPUs there; detail: milli-GPU of each. One row per node
    DRAINING = 34  # subject: job; value: 1 when it writes a checkpoint; detail: 1 when it migrates or resizes
    PROVISIONING = 35  # subject: node, asked to boot
    RELEASING = 36  # subject: node, asked to go off
    STAGING = 37  # subject: job; node: target site
    HELD = 38  # subject: job; value: until when
    REJECTED = 39  # subject: job; value: rule (hcsim.constraints.Rule)
    REFUSED = 40  # subject: job or node; node: action (hcsim.actions.Verb); value: rule


NAMES = {int(kind): kind.name for kind in Kind}
EXECUTOR_KINDS = frozenset(int(k) for k in Kind if k < Kind.WAKE)
