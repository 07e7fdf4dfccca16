"""The simulated world. SimPy lives here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import inf

from hcsim.crashes import Crashes, checked
from hcsim.model import Fleet, InputError, Jobs
from hcsim.perf import Perf
from hcsim.sim.environment import LaneEnvironment
from hcsim.sim.processes import Guarded
from hcsim.sim.switches import without
from hcsim.sim.world import Process, Simulation


@dataclass(frozen=True)
class Simulated:
    """The ``executor=sim`` of a configuration.

    Args:
        until_s: stop there (default: when every job has ended).
        without: switches of :mod:`hcsim.sim.switches` that take realism out of the world.
        job_mtbf_s: mean time between crashes of a running job for reasons of its own (software), which fleets of real
            jobs show beside the failures of their nodes: the law of 1/N that these give is too hopeful for small jobs.
            One number for all (the default: they never crash), or a table gang size -> seconds, interpolated between
            logarithms (:mod:`hcsim.crashes`); ``executor=crashing`` has one with sources.
        cold_starts: whether the first start of a job takes its ``restart_s`` as well, as on nodes that come empty.
        processes: users' own SimPy processes: functions or objects that are called with the simulation at time 0 and
            give a generator of its events.
    """

    until_s: float = inf
    without: Sequence[str] = ()
    processes: Sequence[Process] = ()
    job_mtbf_s: Crashes = inf
    cold_starts: bool = False

    def __post_init__(self) -> None:
        if not self.until_s > 0:
            raise InputError(f"executor.until_s is {self.until_s}, expected > 0 (inf: until every job has ended)")
        object.__setattr__(self, "job_mtbf_s", checked(self.job_mtbf_s, "executor.job_mtbf_s"))
        for i, process in enumerate(self.processes):
            if not callable(process):
                raise InputError(f"executor.processes.{i} is {process!r}, expected something to call")

    name = "sim"
    libraries = ("simpy",)

    def world(self, fleet: Fleet, jobs: Jobs) -> tuple[Fleet, Jobs]:
        """The fleet and jobs as this executor plays them, switches applied."""
        return without(fleet, jobs, self.without)

    def start(self, fleet: Fleet, jobs: Jobs, perf: Perf, seed: int) -> Simulation:
        """An executor for :func:`hcsim.control.run`."""
        return Simulation(
            fleet,
            jobs,
            perf,
            seed,
            [partial(Guarded, process) for process in self.processes],
            self.until_s,
            job_mtbf_s=inf if "crashes" in self.without else self.job_mtbf_s,
            shared_links="sharing" not in self.without,
            cold_starts=self.cold_starts,
        )


__all__ = ["LaneEnvironment", "Process", "Simulated", "Simulation", "without"]
