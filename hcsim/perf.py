"""How fast a job runs where: what a strategy may know about speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from hcsim.actions import Allocation
from hcsim.model import Fleet, InputError, Jobs, nearest

#: Training throughput relative to an A100 80 GB: MLPerf-style mixed precision averages, rounded; override in ``perf:``.
RELATIVE_SPEED: dict[str, float] = {
    "B200": 4.0,
    "H200": 2.3,
    "GH200": 2.1,
    "H100": 2.0,
    "A100": 1.0,
    "A100-40GB": 0.95,
    "L40S": 0.7,
    "A10": 0.45,
    "L4": 0.35,
    "V100": 0.45,
    "V100-32GB": 0.45,
    "T4": 0.17,
    "P100": 0.21,
    "K80": 0.07,
    "cpu": 1.0,
    # Models that Alibaba's traces do not name, by the machines they are in: assumptions.
    "G3": 1.0,
    "G2": 0.45,
    "MISC": 0.2,
}


@dataclass(frozen=True)
class Perf:
    """Relative speed per GPU type times a placement-quality factor.

    A gang that uses the fewest nodes it could runs at the GPU type's speed; on more nodes it runs at ``spread_factor``
    times that (placement sensitivity, Tiresias, NSDI'19, sec. 2.2). A job without GPUs runs at speed 1 everywhere. An
    elastic job with k times its reference GPUs runs ``k ** scaling`` times as fast.
    """

    speed: Mapping[str, float] = field(default_factory=dict)
    spread_factor: float = 0.8
    scaling: float = 0.9

    def __post_init__(self) -> None:
        for gpu, value in self.speed.items():
            if not 0 < value < inf:
                raise InputError(f"perf.speed.{gpu} is {value}, expected a finite number > 0")
        if not 0 < self.spread_factor <= 1:
            raise InputError(f"perf.spread_factor is {self.spread_factor}, expected in (0, 1]")
        if not 0 <= self.scaling <= 1:
            raise InputError(f"perf.scaling is {self.scaling}, expected 0 to 1")

    def of_pools(self, fleet: Fleet) -> list[float]:
        """Speed of each pool's GPUs.

        Raises:
            InputError: a GPU type without a known speed.
        """
        return [self.of_type(pool.gpu, f"pool '{pool.name}': ") for pool in fleet.pools]

    def of_type(self, gpu: str, where: str = "perf: ") -> float:
        """Speed of a GPU type. Raises like :meth:`of_pools`."""
        known = {**RELATIVE_SPEED, **self.speed}
        if gpu not in known:
            raise InputError(f"{where}gpu '{gpu}' has no speed, set perf.speed.{gpu}; {nearest(gpu, list(known))}")
        return known[gpu]

    def speeds(self, fleet: Fleet, jobs: Jobs) -> Speeds:
        """How fast these jobs run on this fleet. Raises like :meth:`of_pools`."""
        return Speeds(self, fleet, jobs)

    def content(self) -> dict[str, str]:
        """What it read from files, as hashes: with its parameters what a run was made of."""
        return {}

    def runnable(self, fleet: Fleet, jobs: Jobs) -> Jobs:
        """The jobs with the GPU types on which they run, where this says more about it than they do."""
        return jobs

    def rate(self, speed: float, gpus: int, per_node: int, allocation: Allocation) -> float:
        """Reference seconds of work done per second.

        Args:
            speed: of the pool's GPU type.
            gpus: the gang size that the job's duration refers to.
            per_node: GPUs of a node of that pool.
            allocation: where it runs.
        """
        if len(allocation) == 1:
            mask = allocation[0][1]
            held = mask.bit_count()
            if not gpus:
                return 1.0  # CPUs are taken to be alike
            return speed if held == gpus else speed * (held / gpus) ** self.scaling
        held = sum(mask.bit_count() for _, mask, _ in allocation)
        rate = speed if held == gpus else speed * (held / gpus) ** self.scaling
        return rate * self.spread_factor if len(allocation) > -(-held // per_node) else rate


class Speeds:
    """How fast the jobs of one run are on the pools of its fleet; here by GPU type, all jobs alike.

    Attributes:
        pools: speed of each pool's GPUs relative to the reference.
        alike: whether a gang of the size that its job asks for, on one node, runs at its pool's speed.
    """

    alike = True

    def __init__(self, perf: Perf, fleet: Fleet, jobs: Jobs) -> None:
        self.pools = perf.of_pools(fleet)
        self._perf = perf
        self._pool_of = fleet.node_pool
        self._size = [p.gpus_per_node for p in fleet.pools]
        self._gpus = jobs.gpus.data

    def rate(self, job: int, allocation: Allocation) -> float:
        """Reference seconds of work that a job does per second there."""
        p = self._pool_of[allocation[0][0]]
        return self._perf.rate(self.pools[p], self._gpus[job], self._size[p], allocation)

    def relative(self, job: int, pool: int) -> float:
        """Reference seconds of work per second of a job's gang on a pool, on as few nodes as can be."""
        return self.pools[pool]

    def throughput(self, job: int, pool: int) -> float:
        """Iterations per second of a job's gang on a pool, as few nodes as can be; reference seconds per second where
        iterations are not known."""
        return self.pools[pool]
