"""The live world: real PyTorch work on this machine, under the same control loop as the simulation.

What is here is the smallest whole of it: devices are groups of CPU cores, a job is one process that trains.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from math import isfinite

from hcsim.live.executor import LocalExecutor
from hcsim.model import Fleet, InputError, Jobs
from hcsim.perf import Perf


@dataclass(frozen=True)
class Local:
    """The ``executor=local`` of a configuration: one worker process per running job, pinned to cores of this machine.

    What the machine lacks is injected from the fleet: the boot time of rented nodes and the time of transfers.

    Args:
        steps_per_s: training steps that a second of a job's duration stands for (at a ``time_scale`` of 1).
        time_scale: seconds of the trace per second of wall clock; work shrinks with it, the overheads of processes
            and checkpoints are what they are.
        stall_s: wall-clock seconds without work, arrivals or anything on its way after which the run ends.
        max_losses: how often a job's worker may die before the run is given up.
    """

    steps_per_s: float = 200.0
    time_scale: float = 1.0
    stall_s: float = 30.0
    max_losses: int = 3

    name = "local"
    libraries = ("torch",)

    def __post_init__(self) -> None:
        for key in ("steps_per_s", "time_scale", "stall_s"):
            if not 0 < getattr(self, key) < float("inf"):
                raise InputError(f"executor.{key} is {getattr(self, key)}, expected a finite number > 0")
        if self.max_losses < 0:
            raise InputError(f"executor.max_losses is {self.max_losses}, expected >= 0")

    def world(self, fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
        """Fleet and jobs as they are.

        Raises:
            InputError: something that this executor cannot do.
        """
        for pool in fleet.pools:
            if pool.gpu != "cpu":
                raise InputError(
                    f"executor=local: pool '{pool.name}' has {pool.gpu} devices, expected CPU core groups (gpu: cpu),"
                    " as in fleet=local"
                )
            if isfinite(pool.mtbf_s):
                raise InputError(
                    f"executor=local: pool '{pool.name}' has mtbf_s={pool.mtbf_s}, node failures are not injected"
                )
        largest = max(pool.gpus_per_node for pool in fleet.pools)
        for bad, what in (
            (jobs.gpus > largest, f"gpus, more than the {largest} devices of a node"),
            (jobs.gpu_milli < 1000, "gpu_milli, a share of a device"),
            (jobs.gpus == 0, "gpus, none"),
        ):
            if bad.any():
                job = int(bad.argmax())
                raise InputError(
                    f"executor=local: {jobs.source}: job {jobs.id[job]} asks for {what}; a job is one process"
                )
        return fleet, jobs

    def start(self, fleet: Fleet, jobs: Jobs, perf: Perf, seed: int) -> LocalExecutor:
        """An executor for :func:`hcsim.control.run`.

        Raises:
            InputError: torch is not installed.
        """
        if importlib.util.find_spec("torch") is None:
            raise InputError(
                "executor=local needs torch, which is not installed: make setup, or pip install 'hcsim[live]'"
            )
        return LocalExecutor(fleet, jobs, seed, self.steps_per_s, self.time_scale, self.stall_s, self.max_losses)


__all__ = ["Local", "LocalExecutor"]
