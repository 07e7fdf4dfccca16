"""Energy and carbon of a run, from its log: every watt of a node that is up is a job's, or nobody's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hcsim.events import Kind
from hcsim.fleet import Fleet
from hcsim.held import Held, Ints, Stretches, as_of, held, stretches
from hcsim.spells import Floats, Rows, of_kinds

J_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Energy:
    """Energy at the meter (PUE included), one row per claim of a job on a node, and one per pool for what nobody held.

    A node that is up takes ``idle_w + u (max_w - idle_w)``, u being the share of its GPUs that run or drain jobs; one
    that is off, boots or is down takes nothing. So a GPU that is held takes its share of ``idle_w``, and of the rest
    while its job runs. ``carbon_g`` is the integral of power times intensity, exact over the CARBON_CHANGED rows of
    the log; NaN where the site's intensity is not known.
    """

    job: Ints  # -1: nobody's
    spell: Ints
    pool: Ints
    node: Ints  # -1: all of a pool
    start_s: Floats
    end_s: Floats
    joules: Floats
    carbon_g: Floats

    @property
    def kwh(self) -> float:
        """All of it."""
        return float(self.joules.sum() / J_PER_KWH)

    def carbon_kg(self) -> float | None:
        """All of it; None where a site that took energy has no known intensity."""
        grams = self.carbon_g[self.joules > 0]
        return None if np.isnan(grams).any() else float(grams.sum() / 1000.0)

    def of_jobs(self, n: int) -> tuple[Floats, Floats]:
        """(kWh, kg CO2e) of each of ``n`` jobs; NaN kg where a site has no known intensity."""
        mine = self.job >= 0
        kwh: Floats = np.bincount(self.job[mine], self.joules[mine] / J_PER_KWH, minlength=n).astype(np.float64)
        kg: Floats = np.bincount(self.job[mine], self.carbon_g[mine] / 1000.0, minlength=n).astype(np.float64)
        return kwh, kg


def energy(rows: Rows, fleet: Fleet, until_s: float | None = None) -> Energy:
    """The energy of a log up to a time (default: its last row's)."""
    rows, end_s = as_of(rows, until_s)
    up = stretches(rows, fleet, end_s)
    return measure(rows, fleet, up, held(rows, fleet, up, end_s), end_s)


def measure(rows: Rows, fleet: Fleet, up: Stretches, claims: Held, end_s: float) -> Energy:
    """As :func:`energy`, of what has been read from the log already."""
    pools, pool_of = fleet.pools, np.array(fleet.node_pool, np.int64)
    pue = np.array([fleet.sites[s].pue for s in fleet.pool_site])
    size = np.array([pool.gpus_per_node for pool in pools], float)
    idle_w = np.array([pool.idle_w for pool in pools]) * pue / size  # of one GPU's share of a node, at the meter
    more_w = np.array([pool.max_w for pool in pools]) * pue / size - idle_w
    pool = pool_of[claims.node]
    busy = np.clip(claims.busy_s, claims.since_s, claims.until_s)
    standing, running = idle_w[pool] * claims.gpus, more_w[pool] * claims.gpus
    joules = standing * (claims.until_s - claims.since_s) + running * (claims.until_s - busy)
    up_pool = pool_of[up.node]
    whole = np.bincount(up_pool, (up.end_s - up.start_s) * (idle_w * size)[up_pool], minlength=len(pools))
    used = np.bincount(pool, standing * (claims.until_s - claims.since_s), minlength=len(pools))
    grams, whole_g, used_g = np.zeros(len(pool)), np.zeros(len(pools)), np.zeros(len(pools))
    for s in range(len(fleet.sites)):
        dose = _Dose(rows, s)
        mine = np.array(fleet.pool_site)[pool] == s
        a, b, c = (dose(t[mine]) for t in (claims.since_s, claims.until_s, busy))
        grams[mine] = standing[mine] * (b - a) + running[mine] * (b - c)
        np.add.at(used_g, pool[mine], standing[mine] * (b - a))
        there = np.array(fleet.pool_site)[up_pool] == s
        area = (dose(up.end_s[there]) - dose(up.start_s[there])) * (idle_w * size)[up_pool[there]]
        np.add.at(whole_g, up_pool[there], area)
    n, nobody = len(pools), np.full(len(pools), -1, np.int64)
    return Energy(
        np.r_[claims.job, nobody],
        np.r_[claims.spell, nobody],
        np.r_[pool, np.arange(n)],
        np.r_[claims.node, nobody],
        np.r_[claims.since_s, np.zeros(n)],
        np.r_[claims.until_s, np.full(n, end_s)],
        np.r_[joules, np.maximum(whole - used, 0.0)],
        np.r_[grams, np.maximum(whole_g - used_g, 0.0)],
    )


class _Dose:
    """Grams of CO2e that one watt of a site has brought about from the start to a time."""

    def __init__(self, rows: Rows, site: int) -> None:
        changes = of_kinds(rows, Kind.CARBON_CHANGED)
        changes = changes[changes["subject"] == site]
        self._t, self._g_per_j = changes["time_s"], changes["value"] / J_PER_KWH
        self._area = np.r_[0.0, np.cumsum(self._g_per_j[:-1] * np.diff(self._t))] if len(changes) else np.zeros(0)

    def __call__(self, t: Floats) -> Floats:
        if not len(self._t):
            return np.full(len(t), np.nan)
        i = np.searchsorted(self._t, t, side="right") - 1
        known = np.maximum(i, 0)  # before the first it is not known: that is told at the start of a run
        out: Floats = np.where(i >= 0, self._area[known] + self._g_per_j[known] * (t - self._t[known]), np.nan)
        return out
