"""The columns of the run's state: written by State alone, read by views and plans."""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Callable
from enum import IntEnum
from math import nan
from typing import TYPE_CHECKING

from hcsim.actions import Allocation
from hcsim.budgets import Budgets
from hcsim.capacity import POPCOUNT, Capacity
from hcsim.constraints import Demands, Rule, dataset_homes, demands
from hcsim.egress import Egress
from hcsim.model import Fleet, InputError, Jobs
from hcsim.perf import Perf
from hcsim.queue import WAITING, KeyedQueue, Queue

if TYPE_CHECKING:
    from hcsim.plan import Plan
    from hcsim.scores import NodeTable, Ranking


class Status(IntEnum):
    """Where a job is in its life."""

    NEW = 0  # has not arrived
    WAITING = WAITING
    PLACED = 2  # holds its GPUs, has not started: nodes boot, GPUs drain, data is staged
    RUNNING = 3
    DRAINING = 4  # writes a checkpoint; its GPUs may be claimed, but not used yet
    HELD = 5  # left the queue until a time
    FINISHED = 6
    REJECTED = 7


class NodeState(IntEnum):
    OFF = 0
    UP = 1
    BOOTING = 2
    DOWN = 3


class Books:
    """State as columns. Row j of a job column is job j; true run times and future arrivals are not here.

    Static job columns are read-only memory views: indexing one gives a plain Python number.
    """

    # a job's life reads these about a hundred times, and an object without slots of so many attributes is read at half
    # the speed
    __slots__ = (
        "_static", "arrival_s", "arrived", "attained_gpu_s", "budgets", "capacity", "carbon", "checkpoint_bytes",
        "checkpoint_s", "claims", "copies", "cpus", "dataset", "dataset_bytes", "dataset_site", "deadline_s",
        "decision", "demands", "egress", "end_of", "ends", "estimate_s", "fleet", "forecast_error", "gpu_type",
        "gpu_types", "gpus", "homes", "id", "job_class", "keyed", "leases", "links_down", "max_gpus", "milli",
        "min_gpus", "node_state", "node_table", "notices", "now", "perf", "plan", "price_usd", "priority",
        "progress_s", "queue", "ram_bytes", "rankings", "rate", "restart_s", "saved_at", "seed", "since_s", "speeds",
        "status", "tenant",
    )  # fmt: skip

    def __init__(
        self,
        fleet: Fleet,
        jobs: Jobs,
        perf: Perf,
        estimate_s: memoryview | None,
        seed: int,
        forecast_error: float = 0.0,
    ) -> None:
        n = len(jobs)
        self.fleet = fleet
        self.seed = seed
        self.forecast_error = forecast_error
        self.now = 0.0
        self.decision = 0
        self.demands: Demands = demands(jobs, fleet)
        self.job_class = self.demands.job_class
        self._static = self.demands.rules
        self.capacity = Capacity(fleet, self.demands)
        self.perf = perf
        self.speeds = perf.speeds(fleet, jobs)
        #: Reference seconds of work that a job does per second on an allocation.
        self.rate = self.speeds.rate
        self.price_usd = [p.first_usd for p in fleet.pools]
        self.carbon = [nan] * len(fleet.sites)  # g CO2 per kWh
        self.egress = Egress(fleet)
        self.notices: dict[int, list[float]] = {}  # node -> when it will be reclaimed, or would have been
        self.links_down: set[int] = set()
        self.budgets = Budgets(fleet, self.capacity, self.price_usd) if fleet.budgets else None
        self.node_state = bytearray(NodeState.OFF if fleet.pools[p].elastic else NodeState.UP for p in fleet.node_pool)
        # what is known of each job
        self.id = jobs.id.data
        self.arrival_s = jobs.arrival_s.data
        self.gpus = jobs.gpus.data
        self.milli = jobs.gpu_milli.data
        self.min_gpus = jobs.min_gpus.data
        self.max_gpus = jobs.max_gpus.data
        self.cpus = jobs.cpus.data
        self.ram_bytes = jobs.ram_bytes.data
        self.gpu_type = jobs.gpu_type.data
        self.gpu_types = (*jobs.gpu_types, "")  # code -1, the last: any
        self.tenant = jobs.tenant.data
        self.priority = jobs.priority.data
        self.deadline_s = jobs.deadline_s.data
        self.dataset_bytes = jobs.dataset_bytes.data
        self.dataset_site = jobs.dataset_site.data
        self.dataset = jobs.dataset.data
        self.homes = [dataset_homes(names, fleet) for names in jobs.dataset_sites]
        self.copies: set[tuple[int, int]] = set()  # (dataset, site) of copies beside the homes
        self.checkpoint_bytes = jobs.checkpoint_bytes.data
        self.checkpoint_s = jobs.checkpoint_s.data
        self.restart_s = jobs.restart_s.data
        self.saved_at: dict[int, int] = {}  # job -> site of its last checkpoint
        self.estimate_s = estimate_s
        # what has become of it
        self.arrived = 0  # jobs 0 to arrived - 1 are there
        self.plan: Plan | None = None  # the one that is being made
        self.status = bytearray(n)
        self.since_s = array("d", bytes(8 * n))  # when its status last changed
        self.attained_gpu_s = array("d", bytes(8 * n))  # GPU-seconds of earlier runs
        self.progress_s = array("d", bytes(8 * n))  # reference seconds of work that is safe
        self.claims: dict[int, Allocation] = {}  # job -> GPUs it holds or will hold, in the order of placement
        self.leases: dict[int, float] = {}  # job -> its lease, from its start on; 0 once that is counted
        self.queue = Queue(self.job_class, self.status)
        self.keyed: dict[Callable[[int], float], KeyedQueue] = {}
        self.node_table: NodeTable | None = None  # with the rankings of nodes, once a strategy places by score
        self.rankings: list[Ranking] = []

        self.ends: list[tuple[float, int]] | None = None  # (estimated end, job) of claims, sorted, once asked for
        self.end_of: dict[int, float] = {}

    def here(self, job: int) -> int:
        """A job that has arrived.

        Raises:
            InputError: it has not, and nothing is told of it.
        """
        if not 0 <= job < self.arrived:
            raise InputError(f"no job {job}: {self.arrived} have arrived")
        return job

    def note_end(self, job: int) -> None:
        """A job was placed or has started: keep its estimated end in ``ends``."""
        assert self.ends is not None and self.estimate_s is not None
        allocation, start_s, done_s = self.claims[job], self.now, self.progress_s[job]
        rate = self.rate(job, allocation)
        if self.status[job] == Status.RUNNING:
            start_s = self.since_s[job]
        else:
            start_s += self.ready_in_s(allocation)
        end_s = start_s + max(self.estimate_s[job] - done_s, 0.0) / rate
        if self.end_of.get(job) == end_s:
            return  # it started at once, or will end just when it would have ended before
        self.end_of[job] = end_s
        insort(self.ends, (end_s, job))
        if len(self.ends) > 64 and len(self.ends) > 2 * len(self.claims):
            self.ends[:] = [entry for entry in self.ends if self.holds_until(entry)]
            self.end_of = {job: end_s for end_s, job in self.ends}

    def holds_until(self, entry: tuple[float, int]) -> bool:
        """Whether an entry of ``ends`` still stands."""
        return entry[1] in self.claims and self.end_of[entry[1]] == entry[0]

    def ready_in_s(self, allocation: Allocation) -> float:
        """Mean seconds until the nodes of an allocation are up."""
        for node, _, _ in allocation:
            if self.node_state[node] != NodeState.UP:
                return self.fleet.pools[self.capacity.pool_of[node]].boot_s
        return 0.0

    def gpus_held(self, allocation: Allocation) -> float:
        """GPUs of an allocation; a share of a GPU counts as its milli-GPU."""
        if len(allocation) == 1:
            return POPCOUNT[allocation[0][1]] * allocation[0][2] / 1000.0
        return sum(mask.bit_count() * milli for _, mask, milli in allocation) / 1000.0

    def dataset_of(self, job: int) -> int:
        """The number of a job's dataset: that of its column, or one of its own."""
        return self.dataset[job] if self.dataset[job] >= 0 else -1 - job

    def source(self, job: int, site: int) -> int:
        """The site that a job's dataset would be carried from: ``site`` itself when it is there, -1 when there is none
        or no way."""
        if self.dataset_site[job] < 0 or (self.dataset_of(job), site) in self.copies:
            return site
        homes = self.homes[self.dataset_site[job]]
        return site if site in homes else self.fleet.nearest_home(homes, site, self.links_down)

    def close_unused(self, allocation: Allocation) -> None:
        """Rented nodes that were opened for a claim that does not stand are spare again."""
        capacity = self.capacity
        for node, _, _ in allocation:
            whole = capacity.free[node] == capacity.size[capacity.pool_of[node]] and not capacity.cpu_jobs.get(node)
            if self.node_state[node] == NodeState.OFF and whole:
                capacity.close(node, spare=True)

    def rule(self, job: int, allocation: Allocation, gpus: int = 0) -> Rule:
        """The first hard rule, capacity aside, that bars a job from an allocation.

        Args:
            gpus: the size that the job must have there (0: what it asks for, or any that an elastic one takes).

        Raises:
            InputError: a node that does not exist.
        """
        capacity, c = self.capacity, self.job_class[job]
        if len(allocation) == 1 and not gpus:  # the common case, by table
            node, mask, milli = allocation[0]
            p = capacity.pool_of[node]
            right = milli == self.demands.milli[c] and not mask >> capacity.size[p]
            if right and not self._static[c][p] and POPCOUNT[mask] == self.demands.gpus[c]:
                return Rule.OK
        if not allocation:
            return Rule.CAPACITY
        p = -1
        held = 0
        for node, mask, milli in allocation:
            if not 0 <= node < len(capacity.pool_of):
                raise InputError(f"node {node} does not exist, expected 0 to {len(capacity.pool_of) - 1}")
            if p >= 0 and capacity.pool_of[node] != p:
                return Rule.GANG  # a gang stays within one pool: the interconnect ends there
            p = capacity.pool_of[node]
            if milli != self.milli[job] or mask >> capacity.size[p] or mask < bool(self.gpus[job]):
                return Rule.GANG
            held += mask.bit_count()
        static = self.demands.rules[c][p]
        if static:
            return Rule(static)
        least, most = (gpus, gpus) if gpus else (self.min_gpus[job], self.max_gpus[job])
        if not least <= held <= most or len({part[0] for part in allocation}) != len(allocation):
            return Rule.GANG
        if not most and len(allocation) > 1:
            return Rule.GANG  # without GPUs a job is on one node
        return Rule.OK
