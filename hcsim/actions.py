"""What a strategy may ask for (the closed union of actions), where a job may be put, and what becomes an order."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

#: One part of a placement: (node, bit mask of GPUs on it, milli-GPU of each).
Part: TypeAlias = tuple[int, int, int]
#: Where a gang runs: one part per node. Gangs over nodes, chosen GPUs and shared GPUs are all this one type.
Allocation: TypeAlias = tuple[Part, ...]


class Verb(IntEnum):
    """The closed union of actions, made by the methods of :class:`hcsim.plan.Plan` of the same names."""

    PLACE = 1  # start a waiting job there; argument: lease in seconds (0: none), LEASE_ENDED says when it is over
    PREEMPT = 2  # stop a job and queue it again; argument: 1 to checkpoint first, 0 to lose work
    MIGRATE = 3  # checkpoint a running job and resume it there
    RESIZE = 4  # checkpoint an elastic job and resume it there with another number of GPUs
    STAGE = 5  # copy a waiting job's dataset to a site; argument: site
    PROVISION = 6  # boot nodes of a rented pool (the subject); argument: how many
    RELEASE = 7  # give an idle rented node (the subject) back
    HOLD = 8  # take a waiting job out of the queue; argument: until when
    REJECT = 9  # refuse a waiting job for good
    RENEW = 10  # give a running job another lease; argument: its seconds from now
    FALL_BACK = 11  # say that a solver gave no answer and a documented rule decided; argument: its status


#: (verb, subject, allocation, argument, whether its GPUs have been taken or given back in the capacity index already)
Action: TypeAlias = tuple[int, int, Allocation, float, bool]


class Do(IntEnum):
    """What an admitted action asks an executor to do."""

    START = 1  # subject: job, on an allocation whose nodes are up and free
    DRAIN = 2  # subject: job; value: 1 to write a checkpoint first, 0 to stop at once
    KILL = 3  # subject: job that was not handed over before a node (the value) went down, or did not come
    BOOT = 4  # subject: node
    HALT = 5  # subject: node
    WATCH = 6  # subject: node that has just become idle; say IDLE after its pool's idle_release_s
    STAGE = 7  # subject: job; value: target site
    HOLD = 8  # subject: job; value: until when
    FORGET = 9  # subject: job that was rejected
    LEASE = 10  # subject: job; value: seconds from now, inf: it begins later, 0: it ends before its time
    BUDGET = 11  # value: when to say BUDGET
    STOP = 12  # subject: rented node that has to go, jobs or not; value: seconds for which that was to be foreseen


#: (what, subject, allocation, value)
Order: TypeAlias = tuple[int, int, Allocation, float]
