"""hcsim: simulate, compare and run placement strategies of AI workloads on hybrid fleets.

The names here are the contract that strategies are written against. What runs experiments loads lazily.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hcsim.actions import Allocation
from hcsim.books import Status
from hcsim.events import Kind
from hcsim.fleet import Budget, Outage, Quota, Reclaim, Tariff
from hcsim.model import Fleet, InputError, Jobs, Link, NodePool, Site
from hcsim.perf import Perf
from hcsim.plan import Plan
from hcsim.queue import Queue
from hcsim.series import Series
from hcsim.strategy import RememberingStrategy, Strategy, Wake, every, on, on_change, while_waiting
from hcsim.view import View

if TYPE_CHECKING:
    from hcsim.experiment import Experiment, Result
    from hcsim.runs import load

__version__ = "0.1.0"

_LAZY = {"Experiment": "hcsim.experiment", "Result": "hcsim.experiment", "load": "hcsim.runs"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'hcsim' has no attribute '{name}'")


__all__ = [
    "Allocation",
    "Budget",
    "Experiment",
    "Fleet",
    "InputError",
    "Jobs",
    "Kind",
    "Link",
    "NodePool",
    "Outage",
    "Perf",
    "Plan",
    "Queue",
    "Quota",
    "Reclaim",
    "RememberingStrategy",
    "Result",
    "Series",
    "Site",
    "Status",
    "Strategy",
    "Tariff",
    "View",
    "Wake",
    "every",
    "load",
    "on",
    "on_change",
    "while_waiting",
]
