"""Volumes that have left each provider in the current billing month, and what more would cost."""

from __future__ import annotations

from collections import defaultdict

from hcsim.fleet import BILLING_MONTH_S, Fleet


class Egress:
    """A running account per tariff and billing month (months begin at multiples of 730 hours)."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._gb: defaultdict[tuple[str, int], float] = defaultdict(float)

    def carry(self, t: float, source: int, target: int, size_bytes: float) -> tuple[float, float]:
        """Bytes have left a site.

        Returns:
            GB of the tariff, and what they cost in USD (0 within a site).
        """
        usd = self.usd(t, source, target, size_bytes)
        tariff = self._fleet.tariff_of.get((source, target))
        if tariff is None:
            return 0.0, 0.0
        gb = size_bytes / tariff.gb_bytes
        self._gb[tariff.name, int(t // BILLING_MONTH_S)] += gb
        return gb, usd

    def usd(self, t: float, source: int, target: int, size_bytes: float) -> float:
        """What carrying so many bytes would cost now."""
        tariff = self._fleet.tariff_of.get((source, target))
        if tariff is None:
            return 0.0
        return tariff.charge(self._gb[tariff.name, int(t // BILLING_MONTH_S)], size_bytes / tariff.gb_bytes)
