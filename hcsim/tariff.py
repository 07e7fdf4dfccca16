"""How clouds bill: egress prices by volume, months, steps."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from hcsim.errors import in_bounds, require

GB = 1e9
#: A billing month: the 730 hours that cloud price lists count with.
BILLING_MONTH_S = 730 * 3600.0
#: A step of billing has begun once more than this share of it is over: times are sums of floats.
STARTED = 1e-6


@dataclass(frozen=True)
class Tariff:
    """Egress prices by volume per billing month: bytes pay the price of the tier that they fall into.

    Args:
        tiers: (up to how many GB, USD per GB), ascending, the last without a bound (inf).
        free_gb: the first GB of a month, which count towards the tiers and cost nothing.
        gb_bytes: bytes of a GB: 1e9, or 2**30 where the provider counts in binary.
    """

    name: str
    tiers: tuple[tuple[float, float], ...]
    free_gb: float = 0.0
    gb_bytes: float = GB

    def __post_init__(self) -> None:
        tiers = tuple((float(bound), float(usd)) for bound, usd in self.tiers)
        object.__setattr__(self, "tiers", tiers)
        where = f"tariff '{self.name}'"
        require(bool(tiers) and tiers[-1][0] == inf, f"{where}: the last tier must have no bound (.inf)")
        bounds = [0.0, *(bound for bound, _ in tiers)]
        require(bounds == sorted(set(bounds)), f"{where}: bounds are {bounds[1:]}, expected ascending")
        low = min(usd for _, usd in tiers)
        require(low >= 0 and max(usd for _, usd in tiers) < inf, f"{where}: price {low:g}, expected finite, >= 0")
        in_bounds(where, self, free_gb=(0.0, inf), gb_bytes=(1.0, inf))

    def usd(self, total_gb: float) -> float:
        """What that much of one month costs; continuous and rising in the volume."""
        paid, low = 0.0, self.free_gb
        for bound, usd in self.tiers:
            if total_gb <= low:
                break
            high = min(bound, total_gb)
            if high > low:
                paid += (high - low) * usd
                low = high
        return paid

    def charge(self, before_gb: float, gb: float) -> float:
        """What ``gb`` more cost in a month that has had ``before_gb``."""
        return self.usd(before_gb + gb) - self.usd(before_gb)
