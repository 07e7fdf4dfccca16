"""What a strategy sees: read-only columns of the present, and a scratch plan. The future is not in here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import inf
from types import MappingProxyType

import numpy as np

from hcsim.actions import Allocation
from hcsim.books import Books, Status
from hcsim.forecasts import Floats, forecast
from hcsim.model import Fleet, InputError, NodePool
from hcsim.plan import Plan
from hcsim.queue import KeyedQueue, Queue
from hcsim.rng import stream, uniform
from hcsim.series import Series

_DRAWS = stream("strategy")
_STATUS = tuple(Status)


class View:
    """The state at one instant, with all events of the instant applied.

    Jobs, nodes, pools and sites are numbers; job columns are indexed by job number. One view object serves a whole
    run: read it during ``decide`` and do not keep it.
    """

    def __init__(self, books: Books, knows: frozenset[str] = frozenset()) -> None:
        self._books = books
        self._knows = knows
        self._knows_runtime = "runtime" in knows
        self.fleet: Fleet = books.fleet
        self.pools: tuple[NodePool, ...] = books.fleet.pools
        #: Waiting jobs in arrival order.
        self.waiting: Queue = books.queue
        #: Job -> allocation of every job that holds GPUs, started or not.
        self.claims: Mapping[int, Allocation] = MappingProxyType(books.claims)
        #: Jobs whose lease has not ended, as keys.
        self.leases: Mapping[int, float] = MappingProxyType(books.leases)

    @property
    def now(self) -> float:
        """Seconds since the start of the trace."""
        return self._books.now

    # Columns end with the last job that has arrived, and what is asked of one to come is refused: those to come cannot
    # be looked up, or counted.

    @property
    def arrival_s(self) -> memoryview:
        """When each job arrived, shape (jobs so far,)."""
        return self._books.arrival_s[: self._books.arrived]

    @property
    def gpus(self) -> memoryview:
        """Gang size that each job asks for."""
        return self._books.gpus[: self._books.arrived]

    @property
    def milli(self) -> memoryview:
        """Thousandths of each of its GPUs that a job asks for; 1000: whole GPUs."""
        return self._books.milli[: self._books.arrived]

    @property
    def min_gpus(self) -> memoryview:
        """Fewest GPUs that each job takes."""
        return self._books.min_gpus[: self._books.arrived]

    @property
    def max_gpus(self) -> memoryview:
        """Most GPUs that each job takes."""
        return self._books.max_gpus[: self._books.arrived]

    @property
    def cpus(self) -> memoryview:
        """CPUs that each job asks for, over all its nodes."""
        return self._books.cpus[: self._books.arrived]

    @property
    def ram_bytes(self) -> memoryview:
        """RAM that each job asks for, over all its nodes."""
        return self._books.ram_bytes[: self._books.arrived]

    def gpu_types(self, job: int) -> str:
        """The GPU types that a job runs on, joined by ``|``; empty: any."""
        return self._books.gpu_types[self._books.gpu_type[self._books.here(job)]]

    @property
    def tenant(self) -> memoryview:
        """Code of each job's tenant."""
        return self._books.tenant[: self._books.arrived]

    @property
    def priority(self) -> memoryview:
        """Priority of each job; larger is more urgent."""
        return self._books.priority[: self._books.arrived]

    @property
    def deadline_s(self) -> memoryview:
        """Absolute deadline of each job (inf: none)."""
        return self._books.deadline_s[: self._books.arrived]

    @property
    def dataset_bytes(self) -> memoryview:
        """Size of each job's dataset."""
        return self._books.dataset_bytes[: self._books.arrived]

    @property
    def checkpoint_s(self) -> memoryview:
        """How long each job takes to write a checkpoint when it is preempted or moved."""
        return self._books.checkpoint_s[: self._books.arrived]

    @property
    def restart_s(self) -> memoryview:
        """How long each job takes to resume once all that it needs is there."""
        return self._books.restart_s[: self._books.arrived]

    def job_class(self, job: int) -> int:
        """The demand class of a job: jobs of one class ask for the same thing."""
        self._books.here(job)
        return self._books.job_class[job]

    @property
    def shares(self) -> bool:
        """Whether any GPU is shared now."""
        return any(self._books.capacity.shared)

    @property
    def decision(self) -> int:
        """How many decisions came before this one."""
        return self._books.decision

    def running(self) -> dict[int, Allocation]:
        """Job -> allocation of every job that has started and not finished, in the order of their placement."""
        status = self._books.status
        return {job: where for job, where in self._books.claims.items() if status[job] == Status.RUNNING}

    def plan(self) -> Plan:
        """An empty plan. Every decision returns one."""
        return Plan(self._books)

    def waiting_by(self, key: Callable[[int], float]) -> Queue:
        """Waiting jobs in ascending order of (key, job).

        ``key`` is taken once, when a job joins the queue, so it must be something that does not change while a job
        waits; pass the same function at every decision (a method of a frozen dataclass, a view's method).
        """
        queue = self._books.keyed.get(key)
        if queue is None:
            queue = self._books.keyed[key] = KeyedQueue(self._books.job_class, self._books.status, key)
            for job in self._books.queue:
                queue._add(job)
        return queue

    def status(self, job: int) -> Status:
        """Where a job is in its life."""
        return _STATUS[self._books.status[self._books.here(job)]]

    def queued_s(self, job: int) -> float:
        """How long a waiting job has been in the queue this time."""
        return self._books.now - self._books.since_s[self._books.here(job)]

    def since_s(self, job: int) -> float:
        """When a job's status last changed: of one that has finished, when it did."""
        return self._books.since_s[self._books.here(job)]

    def attained_gpu_s(self, job: int) -> float:
        """GPU-seconds that a job has had, the current run included."""
        books = self._books
        attained = books.attained_gpu_s[books.here(job)]
        if books.status[job] == Status.RUNNING:
            attained += (books.now - books.since_s[job]) * books.gpus_held(books.claims[job])
        return attained

    def progress_s(self, job: int) -> float:
        """Reference seconds of its work that a job has done, the current run included."""
        books = self._books
        done = books.progress_s[self._books.here(job)]
        if books.status[job] == Status.RUNNING:
            done += (books.now - books.since_s[job]) * books.rate(job, books.claims[job])
        return done

    def estimate_s(self, job: int) -> float:
        """The estimated run time on reference GPUs, from the configured estimator.

        Raises:
            InputError: the strategy does not declare ``needs = {"runtime"}``.
        """
        if not self._knows_runtime or self._books.estimate_s is None:
            raise InputError("run-time estimates are not known here: declare needs = frozenset({'runtime'})")
        return self._books.estimate_s[self._books.here(job)]

    def remaining_s(self, job: int) -> float:
        """Estimated reference seconds of work left, at least zero. Raises like :meth:`estimate_s`."""
        return max(self.estimate_s(job) - self.progress_s(job), 0.0)

    def end_s(self, job: int) -> float:
        """When a job that holds GPUs will end by its estimate (now, when it has outrun it; a start still to come is
        taken to be now). Raises like :meth:`estimate_s`."""
        books = self._books
        return books.now + self.remaining_s(job) / books.rate(job, books.claims[job])

    def ready_in_s(self, allocation: Allocation) -> float:
        """Mean seconds until an allocation's nodes are up: 0, or the pool's ``boot_s`` when one is off or boots."""
        return self._books.ready_in_s(allocation)

    def ends(self, *, latest_first: bool = False) -> Iterator[tuple[float, int]]:
        """(estimated end, job) of every job that holds GPUs, soonest first; one that has outrun its estimate ends now.
        Raises like :meth:`estimate_s`."""
        books = self._books
        if not self._knows_runtime or books.estimate_s is None:
            raise InputError("run-time estimates are not known here: declare needs = frozenset({'runtime'})")
        if books.ends is None:
            books.ends, books.end_of = [], {}
            for job in books.claims:
                books.note_end(job)
        now = books.now
        entries = reversed(books.ends) if latest_first else books.ends
        return ((max(entry[0], now), entry[1]) for entry in entries if books.holds_until(entry))

    def rate(self, job: int, allocation: Allocation) -> float:
        """Reference seconds of work per second that a job would do there."""
        return self._books.rate(self._books.here(job), allocation)

    def allowed_pools(self, job: int) -> tuple[int, ...]:
        """The pools that no hard rule bars a job from, in fleet order."""
        return self._books.demands.pools[self._books.job_class[self._books.here(job)]]

    def price_usd(self, pool: int) -> float:
        """Current price of a GPU-hour in a pool."""
        return self._books.price_usd[pool]

    def speed(self, pool: int, job: int = -1) -> float:
        """Speed of a pool's GPUs relative to the reference; for a job's gang, where a table says more (``perf=``)."""
        speeds = self._books.speeds
        return speeds.pools[pool] if job < 0 else speeds.relative(self._books.here(job), pool)

    def throughput(self, job: int, pool: int) -> float:
        """Iterations per second of a job's gang on a pool, on as few nodes as can be (0: it does not run there); where
        no table says them (``perf=``), reference seconds of work per second."""
        return self._books.speeds.throughput(self._books.here(job), pool)

    def pool_of(self, node: int) -> int:
        """The pool that a node belongs to."""
        return self._books.capacity.pool_of[node]

    def free_gpus(self, node: int) -> int:
        """Whole GPUs of a node that can be claimed now; 0 when it is off or down."""
        return self._books.capacity.free[node]

    def gpu_milli(self, node: int) -> list[int]:
        """Thousandths of each GPU of a node that can be claimed now."""
        return self._books.capacity.gpu_milli(node)

    def pool_free_gpus(self, pool: int) -> int:
        """Whole GPUs that can be claimed on nodes of a pool that are on."""
        first = self.fleet.first_node
        return sum(self._books.capacity.free[first[pool] : first[pool + 1]])

    def rentable(self, pool: int) -> list[int]:
        """Nodes of a rented pool that are off and could be rented within quotas, stock and budgets, in their order."""
        capacity = self._books.capacity
        count = capacity.spare_allowed(pool)
        return sorted(node for node in capacity.spare[pool] if capacity.off[node])[:count] if count > 0 else []

    def pool_claimable_gpus(self, pool: int) -> int:
        """Whole GPUs of a pool that can be claimed, slots that are off and within quota included."""
        capacity = self._books.capacity
        return self.pool_free_gpus(pool) + capacity.spare_allowed(pool) * capacity.size[pool]

    def egress_usd(self, job: int, pool: int) -> float:
        """What carrying a job's dataset and checkpoint to a pool's site would cost now, by the volume of this month; 0
        when they are there."""
        books, site = self._books, self.fleet.pool_site[pool]
        usd = 0.0
        source = books.source(self._books.here(job), site)
        if source >= 0:
            usd += books.egress.usd(books.now, source, site, books.dataset_bytes[job])
        saved = books.saved_at.get(job, site)
        if saved != site:
            usd += books.egress.usd(books.now, saved, site, books.checkpoint_bytes[job])
        return usd

    def transfer_s(self, job: int, pool: int) -> float:
        """Seconds that carrying a job's dataset and checkpoint to a pool's site would take on links of their own."""
        books, site = self._books, self.fleet.pool_site[pool]
        seconds = 0.0
        saved = books.saved_at.get(self._books.here(job), site)
        for source, size_bytes in ((books.source(job, site), books.dataset_bytes), (saved, books.checkpoint_bytes)):
            link = self.fleet.links_by_sites.get((source, site))
            if link is not None and size_bytes[job]:
                seconds = max(seconds, link.latency_s + size_bytes[job] / link.bytes_per_s)
        return seconds

    def has_data(self, job: int, site: int) -> bool:
        """Whether a site holds a job's dataset, as a home of it or a copy."""
        return self._books.source(self._books.here(job), site) == site

    def stock(self, pool: int) -> float:
        """Nodes of a rented pool that can be had, those that are up included (inf: not limited, or not known)."""
        return self._books.capacity.stock[pool]

    def notice_s(self, node: int) -> float:
        """When a node will be reclaimed (inf: not announced)."""
        books = self._books
        return min((each for each in books.notices.get(node, ()) if each > books.now), default=inf)

    def carbon_g_per_kwh(self, site: int) -> float:
        """Intensity of a site's power now (NaN: not known)."""
        return self._books.carbon[site]

    def carbon_ahead(self, site: int, until_s: float) -> tuple[Floats, Floats]:
        """Forecast of a site's intensity: times from now on, and g CO2 per kWh from each until the next; see
        :func:`hcsim.forecasts.forecast`. Both empty where it is not known.

        Raises:
            InputError: the strategy does not declare ``needs = {"carbon"}``.
        """
        return self._ahead("carbon", self.fleet.sites[site].carbon, f"carbon {site}", until_s)

    def price_ahead(self, pool: int, until_s: float) -> tuple[Floats, Floats]:
        """Forecast of a pool's price, USD per GPU-hour with discounts taken, as :meth:`carbon_ahead`; one step where
        the price does not change. Raises likewise without ``needs = {"price"}``."""
        of = self.pools[pool]
        at_s, usd = self._ahead("price", of.price, f"price {pool}", until_s)
        if of.price is None:
            return np.array([self.now]), np.array([self.price_usd(pool)])
        return at_s, usd * (1.0 - of.discount_share)

    def _ahead(self, need: str, series: Series | None, key: str, until_s: float) -> tuple[Floats, Floats]:
        books = self._books
        if need not in self._knows:
            raise InputError(f"forecasts of {need} are not known here: declare needs = frozenset({{'{need}'}})")
        if series is None:
            return np.zeros(0), np.zeros(0)
        return forecast(series, books.now, until_s, books.forecast_error, books.seed, key)

    def spent_usd(self, budget: int) -> float:
        """What has been spent of a budget in its current period."""
        budgets = self._books.budgets
        if budgets is None:
            raise InputError("the fleet has no budgets")
        budgets.accrue(self._books.now)
        return budgets.spent_usd[budget]

    def uniform(self, draw: int = 0) -> float:
        """A random number in (0, 1) keyed by (seed, decision, draw): the strategy's only source of randomness."""
        return uniform(self._books.seed, _DRAWS, self._books.decision, draw)
