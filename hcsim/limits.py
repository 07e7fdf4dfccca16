"""What limits a fleet and befalls it: quotas, budgets, outages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import inf
from typing import Literal

from hcsim.errors import in_bounds, nearest, require
from hcsim.regions import region_of
from hcsim.series import Series, name_series

ScopeKind = Literal["node", "site", "provider", "link"]
SCOPES: tuple[ScopeKind, ...] = ("node", "site", "provider", "link")


@dataclass(frozen=True)
class Quota:
    """Most GPUs rented at one time, of all pools that match in each of these (empty: any).

    Args:
        provider: the account: one provider is one account.
        site: the site's name.
        gpu: a GPU type, or a family of several with ``|`` between them, which count together.
        region: the provider's name for it, as the sites give it; sites in its zones count as well.
    """

    gpus: int
    provider: str = ""
    site: str = ""
    gpu: str = ""
    region: str = ""

    def __post_init__(self) -> None:
        whole = not self.gpu or all(self.gpu.split("|"))
        require(whole, f"quota {self.name}: gpu is '{self.gpu}', expected GPU types with | between them")
        said = "expected at least 1; what may not be rented is left out of the fleet"
        require(self.gpus >= 1, f"quota {self.name}: gpus is {self.gpus}, {said}")

    @property
    def name(self) -> str:
        """For messages."""
        return "/".join(filter(None, (self.provider, self.region, self.site, self.gpu))) or "of everything rented"

    def covers(self, provider: str, region: str, site: str, gpu: str) -> bool:
        """Whether a pool there counts towards it."""
        region = self.region if self.region == region_of(provider, region) else region
        mine = ((self.provider, provider), (self.region, region), (self.site, site))
        return all(a in ("", b) for a, b in mine) and (not self.gpu or gpu in self.gpu.split("|"))


@dataclass(frozen=True)
class Budget:
    """Rented nodes never cost more than ``usd`` in a period, as they are billed; a step counts when it begins.

    A node is rented if its minimum can be paid beside the next step of each that is up. One whose next step cannot be
    paid goes when the one before is over, jobs or not; a job there has written its checkpoint, if that takes no longer
    than the end could be foreseen (no node has come up and no price has changed since).

    Args:
        period_s: its length; periods begin at multiples of it.
        provider: whose nodes count (empty: all).
    """

    usd: float
    period_s: float = 86400.0
    provider: str = ""

    def __post_init__(self) -> None:
        in_bounds("budget", self, usd=(0.0, inf))
        require(0 < self.period_s < inf, f"budget: period_s is {self.period_s}, expected finite, > 0")


@dataclass(frozen=True)
class Outage:
    """A node (``pool/number``), a site, all of a provider, or a link (``source -> target``) is down: in given windows,
    as a trace says (:mod:`hcsim.incidents`), or at random.

    Args:
        windows: (from, to) in seconds, ascending.
        down: above 0 while it is down; what holds after its end is its ``beyond``.
        mtbf_s, repair_s: mean times from repair to failure and back (exponential; inf: only the windows).
    """

    scope: ScopeKind
    name: str
    windows: tuple[tuple[float, float], ...] = ()
    mtbf_s: float = inf
    repair_s: float = 3600.0
    down: Series | None = None

    def __post_init__(self) -> None:
        windows = tuple((float(a), float(b)) for a, b in self.windows)
        object.__setattr__(self, "windows", windows)
        where = f"outage of {self.scope} '{self.name}'"
        name_series(where, self, "down")
        require(self.scope in SCOPES, f"{where}: scope '{self.scope}' unknown; {nearest(self.scope, SCOPES)}")
        flat = [t for window in windows for t in window]
        ok = all(math.isfinite(t) and t >= 0 for t in flat) and flat == sorted(set(flat))
        require(ok, f"{where}: windows are {windows}, expected (from, to) pairs that ascend")
        require(self.mtbf_s > 0 and self.repair_s > 0, f"{where}: mtbf_s and repair_s, expected > 0")
