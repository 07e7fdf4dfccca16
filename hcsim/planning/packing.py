"""What strategies that place by score share: arrival order, each job where its rule says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.plan import Plan
from hcsim.scores import Floats, Nodes, Score, Scorer, Want
from hcsim.strategy import Strategy, while_waiting
from hcsim.view import View


@dataclass(frozen=True)
class Packing(Score, Strategy):
    """Place each waiting job, in arrival order, on the best node by its scorer; jobs that fit nowhere wait.

    Args:
        ties: all nodes, those to be taken first among equals first (default: in an order that is drawn once).
    """

    ties: tuple[int, ...] = ()

    wake = while_waiting

    def __post_init__(self) -> None:
        object.__setattr__(self, "ties", tuple(self.ties))  # configuration files give lists

    def scorer(self, view: View) -> Scorer:
        assert isinstance(self, Scorer), f"{self.name} neither scores nodes nor has a scorer"
        return self

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        for job in plan.placeable(view.waiting, score=self):
            plan.place(job, plan.scored_fit(job, self))
        return plan


def whole(score: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """A score cut to a whole number, as Kubernetes has them: nodes that differ by less are equal."""
    return score.astype(np.int16)  # towards zero


def cpus_share(nodes: Nodes, less_milli: int = 0) -> Floats:
    """CPUs left of each node, less some, as a share of those of the fleet's largest; 0 where the fleet does not say."""
    left = nodes.cpus_milli
    return np.where(np.isinf(left), 0.0, left - less_milli) / nodes.most_cpus_milli


def left_shares(nodes: Nodes) -> Floats:
    """GPUs, CPUs and RAM left of each node, as shares of those of the fleet's largest, shape (nodes, 3); 0 where the
    fleet does not say."""
    host = (np.where(np.isinf(left), 0.0, left) for left in (nodes.cpus_milli, nodes.ram_bytes))
    return np.stack([nodes.gpu_milli.sum(1), *host], 1) / nodes.most


def asked_shares(nodes: Nodes, want: Want) -> Floats:
    """GPUs, CPUs and RAM that a job asks for, likewise, shape (3,)."""
    shares: Floats = np.array([want.gpu_milli, want.cpus_milli, want.ram_bytes]) / nodes.most
    return shares
