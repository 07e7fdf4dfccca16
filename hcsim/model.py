"""What exists before anything happens: the fleet and the work, as frozen data.

Units are suffixes: ``_s`` seconds, ``_usd`` US dollars, ``_bytes`` bytes. Every column of :class:`Jobs` has one row per
job; row ``j`` is job ``j`` everywhere in hcsim (``Jobs.id`` keeps the trace's own name for it).
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MarketKind = Literal["owned", "reserved", "on_demand", "spot"]
MARKETS: tuple[MarketKind, ...] = ("owned", "reserved", "on_demand", "spot")


class InputError(ValueError):
    """Bad input: one line that says where, what was given and what was expected. The command line exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # what was given may hold any character


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """A clause naming the valid name closest to ``name``, or the valid names when none is close."""
    import difflib

    known = [str(each) for each in known]  # a configuration's names may look like numbers
    known = [each if len(each) <= 40 else f"{each[:37]}..." for each in known]  # a file's header may hold anything
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(sorted(known)[:12]) + (", ..." if len(known) > 12 else "")
    return f"known: {shown}"


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise InputError(message)


@dataclass(frozen=True)
class NodePool:
    """Identical nodes of one site, bought in one market.

    ``owned`` and ``reserved`` nodes are always up and paid for whether used or not. ``on_demand`` and ``spot`` nodes
    are slots: a claim on a slot that is off boots it (``boot_s`` on average, drawn per slot and time), an idle node is
    released after ``idle_release_s``, and each stretch from up to off is billed per second, at least
    ``min_billing_s``. On a fleet without accelerators a group of CPU cores counts as one device of type ``cpu``.
    """

    name: str
    gpu: str
    gpus_per_node: int
    nodes: int
    usd_per_gpu_h: float = 0.0
    market: MarketKind = "owned"
    gpu_memory_bytes: float = 80e9
    cpus_per_node: float = 0.0  # 0: not modelled, any demand fits
    ram_bytes_per_node: float = 0.0  # 0: not modelled
    boot_s: float = 0.0
    boot_cv: float = 0.0  # coefficient of variation of the boot time (lognormal)
    min_billing_s: float = 60.0
    idle_release_s: float = 300.0
    mtbf_s: float = math.inf  # mean time between failures of one node
    repair_s: float = 3600.0  # mean time to repair

    def __post_init__(self) -> None:
        where = f"pool '{self.name}'"
        _require(self.market in MARKETS, f"{where}: market '{self.market}' unknown; {nearest(self.market, MARKETS)}")
        _require(self.nodes > 0, f"{where}: nodes is {self.nodes}, expected at least 1")
        _require(
            0 < self.gpus_per_node <= 16,
            f"{where}: gpus_per_node is {self.gpus_per_node}, expected 1 to 16"
            " (a group of CPU cores counts as one device)",
        )
        for name in ("usd_per_gpu_h", "boot_s", "boot_cv", "min_billing_s", "idle_release_s", "gpu_memory_bytes"):
            value = getattr(self, name)
            _require(value >= 0 and value < math.inf, f"{where}: {name} is {value}, expected a finite number >= 0")
        for name in ("mtbf_s", "repair_s"):
            _require(getattr(self, name) > 0, f"{where}: {name} is {getattr(self, name)}, expected > 0")

    @property
    def elastic(self) -> bool:
        """Whether nodes are rented by the second rather than standing there."""
        return self.market in ("on_demand", "spot")


@dataclass(frozen=True)
class Site:
    """A place under one provider and one jurisdiction. ``quota_gpus`` caps the GPUs rented there at one time."""

    name: str
    pools: tuple[NodePool, ...]
    jurisdiction: str = "any"
    provider: str = "owned"
    kind: Literal["owned", "cloud", "edge"] = "owned"
    quota_gpus: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pools", tuple(self.pools))  # configuration files give lists
        quota = self.quota_gpus
        _require(quota is None or quota >= 0, f"site '{self.name}': quota_gpus is {quota}, expected >= 0")


@dataclass(frozen=True)
class Link:
    """A directed path between two sites; ``usd_per_gb`` is the egress price that the source's provider charges.

    A gigabyte is 1e9 bytes.
    """

    source: str
    target: str
    bytes_per_s: float = 1.25e9
    latency_s: float = 0.05
    usd_per_gb: float = 0.0

    def __post_init__(self) -> None:
        where = f"link {self.source} -> {self.target}"
        _require(self.bytes_per_s > 0, f"{where}: bytes_per_s is {self.bytes_per_s}, expected > 0")
        for name in ("latency_s", "usd_per_gb"):
            value = getattr(self, name)
            _require(0 <= value < math.inf, f"{where}: {name} is {value}, expected a finite number >= 0")


@dataclass(frozen=True)
class Fleet:
    """Sites and the links between them. Pools and nodes are numbered in the order in which they are listed."""

    sites: tuple[Site, ...]
    links: tuple[Link, ...] = ()
    name: str = "fleet"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sites", tuple(self.sites))
        object.__setattr__(self, "links", tuple(self.links))
        _require(len(self.sites) > 0, f"fleet '{self.name}': no sites")
        _require(len(self.pools) > 0, f"fleet '{self.name}': no node pools, so no accelerator that could run a job")
        names = [s.name for s in self.sites]
        _require(len(set(names)) == len(names), f"fleet '{self.name}': two sites share a name among {names}")
        pools = [p.name for p in self.pools]
        _require(len(set(pools)) == len(pools), f"fleet '{self.name}': two pools share a name among {pools}")
        for link in self.links:
            for end in (link.source, link.target):
                _require(end in names, f"link {link.source} -> {link.target}: no site '{end}'; {nearest(end, names)}")

    @cached_property
    def pools(self) -> tuple[NodePool, ...]:
        return tuple(pool for site in self.sites for pool in site.pools)

    @cached_property
    def pool_site(self) -> tuple[int, ...]:
        """Site number of each pool."""
        return tuple(i for i, site in enumerate(self.sites) for _ in site.pools)

    @cached_property
    def first_node(self) -> tuple[int, ...]:
        """Number of each pool's first node, and one past the last node of the last pool."""
        return (0, *np.cumsum([p.nodes for p in self.pools]).tolist())

    @cached_property
    def node_pool(self) -> list[int]:
        """Pool number of each node."""
        return np.repeat(np.arange(len(self.pools)), [p.nodes for p in self.pools]).tolist()

    @property
    def nodes(self) -> int:
        return self.first_node[-1]

    @property
    def gpus(self) -> int:
        """GPUs when every slot of every elastic pool is up."""
        return sum(p.nodes * p.gpus_per_node for p in self.pools)

    @cached_property
    def site_names(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.sites)

    def link(self, source: int, target: int) -> Link | None:
        """The link between two site numbers; None within a site.

        Raises:
            InputError: two different sites have no link.
        """
        if source == target:
            return None
        found = self._links.get((self.sites[source].name, self.sites[target].name))
        if found is None:
            raise InputError(f"no link {self.sites[source].name} -> {self.sites[target].name} to carry data over")
        return found

    @cached_property
    def _links(self) -> dict[tuple[str, str], Link]:
        return {(k.source, k.target): k for k in self.links}


#: Column name -> (dtype, value where a trace does not say).
JOB_COLUMNS: dict[str, tuple[type, float]] = {
    "arrival_s": (np.float64, math.nan),
    "duration_s": (np.float64, math.nan),
    "gpus": (np.int32, 1),
    "gpu_milli": (np.int32, 1000),
    "gpu_memory_bytes": (np.float64, 0.0),
    "cpus": (np.float64, 0.0),
    "ram_bytes": (np.float64, 0.0),
    "tenant": (np.int32, 0),
    "gpu_type": (np.int32, -1),
    "residency": (np.int32, -1),
    "dataset_site": (np.int32, -1),
    "dataset_bytes": (np.float64, 0.0),
    "checkpoint_bytes": (np.float64, 0.0),
    "checkpoint_interval_s": (np.float64, math.inf),
    "checkpoint_s": (np.float64, 0.0),
    "restart_s": (np.float64, 0.0),
    "deadline_s": (np.float64, math.inf),
    "priority": (np.int32, 0),
    "user_estimate_s": (np.float64, math.nan),
    "min_gpus": (np.int32, 0),
    "max_gpus": (np.int32, 0),
    "model": (np.int32, -1),
}

#: Columns that hold codes -> the table of names that they are codes into.
NAME_TABLES = {
    "tenant": "tenants",
    "gpu_type": "gpu_types",
    "residency": "residencies",
    "dataset_site": "dataset_sites",
    "model": "models",
}


#: The largest time, 30,000 years: beyond it seconds as float64 are no longer exact to a millisecond.
MOST_S = 1e12


def _numbers(source: str, key: str, column: Any) -> npt.NDArray[Any]:
    """A column as an array of its own."""
    try:
        values = np.array(column)
        return values if values.dtype.kind in "biuf" else values.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{source}: column '{key}' holds something else than numbers") from None


def _wraps(values: npt.NDArray[Any], dtype: type) -> npt.NDArray[np.bool_]:
    """Which values a cast to that type of integer would change: fractions, NaN, and those beyond its range."""
    if np.can_cast(values.dtype, dtype):
        return np.zeros(len(values), bool)
    most = float(np.iinfo(dtype).max) + 1.0
    kept: npt.NDArray[np.bool_] = (np.floor(values) == values) & (values >= -most) & (values < most)
    return ~kept


@dataclass(frozen=True)
class Jobs:
    """Training jobs as columns, sorted by arrival. Build with :meth:`build`, which fills defaults and validates.

    ``duration_s`` is the run time on the trace's own GPUs (speed 1.0 in :mod:`hcsim.perf`) with its requested gang of
    ``gpus``; it is the world's secret, and no strategy sees it. A gang of ``gpus`` devices starts at once or not at
    all; ``gpu_milli`` below 1000 asks for a share of one GPU. ``tenant``, ``gpu_type``, ``residency``,
    ``dataset_site`` and ``model`` (what is trained, such as ``resnet50``) are codes into the name tables below; -1
    means no restriction, no dataset, not known. A ``gpu_type``
    entry may name several types joined by ``|``, a ``residency`` entry several jurisdictions. Work is checkpointed
    every ``checkpoint_interval_s`` of run time (inf: never), writing one takes ``checkpoint_s`` when a preemption asks
    for it, and resuming costs ``restart_s``. ``deadline_s`` is absolute. ``user_estimate_s`` is what the user declared
    (NaN: nothing). ``min_gpus``/``max_gpus`` bound an elastic job (0: rigid, equal to ``gpus``). ``left_out`` says in
    words what the source holds and these columns do not.
    """

    id: npt.NDArray[np.int64]
    arrival_s: Floats
    duration_s: Floats
    gpus: npt.NDArray[np.int32]
    gpu_milli: npt.NDArray[np.int32]
    gpu_memory_bytes: Floats
    cpus: Floats
    ram_bytes: Floats
    tenant: npt.NDArray[np.int32]
    gpu_type: npt.NDArray[np.int32]
    residency: npt.NDArray[np.int32]
    dataset_site: npt.NDArray[np.int32]
    dataset_bytes: Floats
    checkpoint_bytes: Floats
    checkpoint_interval_s: Floats
    checkpoint_s: Floats
    restart_s: Floats
    deadline_s: Floats
    priority: npt.NDArray[np.int32]
    user_estimate_s: Floats
    min_gpus: npt.NDArray[np.int32]
    max_gpus: npt.NDArray[np.int32]
    model: npt.NDArray[np.int32]
    tenants: tuple[str, ...] = ("default",)
    gpu_types: tuple[str, ...] = ()
    residencies: tuple[str, ...] = ()
    dataset_sites: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    source: str = field(default="jobs", compare=False)
    left_out: str = field(default="", compare=False)

    def __len__(self) -> int:
        return len(self.arrival_s)

    @staticmethod
    def build(source: str = "jobs", rows: Ints | None = None, **columns: Any) -> Jobs:
        """Jobs from columns of equal length; missing columns take the defaults of :data:`JOB_COLUMNS`.

        Args:
            source: what to call the data in errors, usually a file's path.
            rows: line number of each row in ``source``, for errors (default: row number from 1).
            columns: ``arrival_s`` and ``duration_s`` at least; ``id`` defaults to 0, 1, 2, ...; the tables
                of :data:`NAME_TABLES` are tuples of names.

        Rows are sorted by (arrival, id) when they are not already.

        Raises:
            InputError: a column is unknown, or a row holds NaN, a negative time or one above :data:`MOST_S`, a
                duplicate id, a gang size below one, or a number that its column cannot hold; the message names source,
                row and column.
        """
        names: dict[str, tuple[str, ...]] = {key: tuple(columns.pop(key, ())) for key in NAME_TABLES.values()}
        names["tenants"] = names["tenants"] or ("default",)
        for key in columns:
            if key != "id" and key not in JOB_COLUMNS:
                raise InputError(f"{source}: column '{key}' unknown; {nearest(key, list(JOB_COLUMNS))}")
        for key in ("arrival_s", "duration_s"):
            _require(columns.get(key) is not None, f"{source}: column '{key}' is missing")
        given = {key: _numbers(source, key, column) for key, column in columns.items() if column is not None}
        n = given["arrival_s"].size
        for key, column in given.items():
            _require(column.shape == (n,), f"{source}: column '{key}' has {column.shape} rows, expected ({n},)")
        line = np.arange(1, n + 1) if rows is None else rows
        full: dict[str, npt.NDArray[Any]] = {"id": np.arange(n)}

        def refuse(bad: npt.NDArray[np.bool_], key: str, expected: str) -> None:
            if bad.any():
                i = int(np.argmax(bad))
                value = given[key][i] if key in given else full[key][i]
                raise InputError(f"{source}: row {line[i]}: {key} is {value}, expected {expected}")

        for key, (dtype, default) in (("id", (np.int64, 0)), *JOB_COLUMNS.items()):
            if key in given:
                if dtype is not np.float64:
                    refuse(_wraps(given[key], dtype), key, f"a whole number up to {np.iinfo(dtype).max}")
                full[key] = given[key].astype(dtype)
            elif key != "id":
                full[key] = np.full(n, default, dtype)
        for key in ("arrival_s", "duration_s", "checkpoint_s", "restart_s"):
            refuse(~((full[key] >= 0) & (full[key] <= MOST_S)), key, f"a number from 0 to {MOST_S:g}")
        for key in ("gpu_memory_bytes", "dataset_bytes", "checkpoint_bytes", "cpus", "ram_bytes"):
            refuse(~(np.isfinite(full[key]) & (full[key] >= 0)), key, "a finite number >= 0")
        refuse((full["user_estimate_s"] < 0) | (full["user_estimate_s"] > MOST_S), "user_estimate_s",
               f"a number from 0 to {MOST_S:g} (NaN: none)")  # fmt: skip
        refuse(~(full["checkpoint_interval_s"] > 0), "checkpoint_interval_s", "> 0 (inf: never)")
        refuse(~(full["deadline_s"] > -math.inf), "deadline_s", "a number (inf: none)")
        refuse(full["gpus"] < 1, "gpus", "at least 1")
        refuse((full["gpu_milli"] < 1) | (full["gpu_milli"] > 1000), "gpu_milli", "1 to 1000")
        refuse((full["gpu_milli"] < 1000) & (full["gpus"] > 1), "gpu_milli", "1000 for a gang of several GPUs")
        for key, table in NAME_TABLES.items():
            least = 0 if key == "tenant" else -1
            bad = (full[key] < least) | (full[key] >= len(names[table]))
            refuse(bad, key, f"a code into {table} {names[table]}" + (", or -1" if least else ""))
        for key in ("min_gpus", "max_gpus"):
            refuse(full[key] < 0, key, "at least 0 (0: as gpus)")
        full["min_gpus"] = np.where(full["min_gpus"] > 0, full["min_gpus"], full["gpus"]).astype(np.int32)
        full["max_gpus"] = np.where(full["max_gpus"] > 0, full["max_gpus"], full["gpus"]).astype(np.int32)
        elastic = full["max_gpus"] > full["min_gpus"]
        refuse((full["gpu_milli"] < 1000) & elastic, "gpu_milli", "1000 for an elastic job")
        refuse((full["min_gpus"] > full["gpus"]) | (full["max_gpus"] < full["gpus"]), "min_gpus", "min <= gpus <= max")
        unique, count = np.unique(full["id"], return_counts=True)
        if len(unique) != n:
            dup = int(unique[count > 1][0])
            second = int(np.flatnonzero(full["id"] == dup)[1])
            raise InputError(f"{source}: row {line[second]}: id {dup} is given twice, expected unique ids")
        order = np.lexsort((full["id"], full["arrival_s"]))
        if not np.array_equal(order, np.arange(n)):
            full = {key: column[order] for key, column in full.items()}
        for column in full.values():
            column.setflags(write=False)
        return Jobs(**full, **names, source=source)  # type: ignore[arg-type]

    @cached_property
    def sha256(self) -> str:
        """A hash of all columns and name tables."""
        digest = hashlib.sha256()
        for key in ("id", *JOB_COLUMNS):
            digest.update(np.ascontiguousarray(getattr(self, key)).tobytes())
        digest.update(repr([getattr(self, table) for table in NAME_TABLES.values()]).encode())
        return digest.hexdigest()

    def take(self, rows: npt.NDArray[Any]) -> Jobs:
        """The jobs at ``rows`` (a mask or ascending row numbers), with their ids."""
        columns = {key: getattr(self, key)[rows] for key in ("id", *JOB_COLUMNS)}
        for column in columns.values():
            column.setflags(write=False)
        return dataclasses.replace(self, **columns)
