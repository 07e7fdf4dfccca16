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
    LINK_DOWN = 1  # subject: link, carries nothing until it is up
    NODE_DOWN = 2  # subject: node; value: 0 when it failed, 1 when it was reclaimed, 2 when a budget cannot pay it on
    SHRUNK = 3  # subject: elastic job that goes on without a node that went; node; value: seconds of its run lost
    LOST = 4  # subject: job; node: the node that went (-1: the job crashed); value: seconds of its run that are lost
    PREEMPTED = 5  # subject: job, its GPUs are free now; value: seconds of its run that are lost
    # completions
    FINISHED = 10  # subject: job; value: seconds of its last run that went into checkpoints
    LEASE_ENDED = 11  # subject: job
    ALL_LEASES_ENDED = 12
    # price changes
    PRICE_CHANGED = 20  # subject: pool; value: USD per GPU-hour, discounts taken
    CARBON_CHANGED = 21  # subject: site; value: g CO2 per kWh
    STOCK_CHANGED = 22  # subject: pool; value: nodes that can be had, those that are up included (inf: not known)
    NOTICE = 23  # subject: node that will be reclaimed; value: when
    BUDGET = 24  # a billing step may begin that a budget cannot pay
    #: The last instant of a billing month, or of the run, in which bytes of a transfer count that have gone since it
    #: began or was metered last; subject: job; node: source site; detail: target site; value: bytes.
    METERED = 25
    # capacity
    LINK_UP = 30  # subject: link
    NODE_UP = 31  # subject: node, booted or repaired
    NODE_OFF = 32  # subject: node, a rented node given back; value: 1 when it could not be had
    IDLE = 33  # subject: node, has been without work for its pool's idle_release_s
    TRANSFERRING = 34  # subject: job; node: source site; detail: target site; value: bytes to carry
    #: Subject: job; node: source site; detail: target site; value: bytes carried since it began or was METERED, to its
    #: end or until it was stopped.
    TRANSFERRED = 35
    STAGED = 36  # subject: job; node: site that now holds its dataset; value: bytes kept there
    EVICTED = 37  # subject: job whose dataset was staged; node: site that no longer holds it; value: bytes
    STARTED = 38  # subject: job; node: its first node
    # arrivals
    ARRIVED = 40  # subject: job
    TIMER = 41  # a time that a strategy asked to be woken at
    RESUMED = 42  # subject: job whose hold is over
    # the control loop
    WAKE = 64  # subject: number of this decision
    REMEMBERED = 65  # subject: number of the decision; value: CRC-32 of the strategy's memory after it
    ENDED = 66  # the executor stopped here, before everything had ended
    # what admission made of a plan
    PLACED = 70  # subject: job; node; value: bit mask of its GPUs there; detail: milli-GPU of each. One row per node
    DRAINING = 71  # subject: job; value: 1 when it writes a checkpoint; detail: 1 when it migrates or resizes
    PROVISIONING = 72  # subject: node, asked to boot
    RELEASING = 73  # subject: node, asked to go off
    STAGING = 74  # subject: job; node: target site
    HELD = 75  # subject: job; value: until when
    REJECTED = 76  # subject: job; value: rule (hcsim.constraints.Rule)
    REFUSED = 77  # subject: job or node; node: action (hcsim.actions.Verb); value: rule
    FELL_BACK = 78  # a solver gave no answer and a simpler rule decided; value: its status (hcsim.planning.lp)


NAMES = {int(kind): kind.name for kind in Kind}
EXECUTOR_KINDS = frozenset(int(k) for k in Kind if k < Kind.WAKE)
#: How many numbers kinds may take.
KINDS = 128
