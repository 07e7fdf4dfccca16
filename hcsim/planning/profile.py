"""Free GPUs of a pool over estimated time, with reservations."""

from __future__ import annotations

from math import inf

import numpy as np

from hcsim.view import View


class Profile:
    """A step function: ``free[i]`` GPUs from ``times[i]`` on. Slots of a rented pool that are off count as free."""

    def __init__(self, view: View, pool: int) -> None:
        gains: dict[float, int] = {}
        for end_s, job in view.ends():
            allocation = view.claims[job]
            if view.pool_of(allocation[0][0]) == pool:
                gpus = sum(mask.bit_count() for _, mask, _ in allocation)
                end_s = max(end_s, float(np.nextafter(view.now, inf)))  # what has outrun its estimate ends any moment
                gains[end_s] = gains.get(end_s, 0) + gpus
        free = view.pool_claimable_gpus(pool)
        self.times = np.array([view.now, *gains])
        self.free = np.cumsum(np.array([free, *gains.values()], dtype=np.int64))

    def earliest(self, gpus: int, hold_s: float) -> float:
        """The first time from which ``gpus`` are free for ``hold_s``; inf when that never happens."""
        ok = self.free >= gpus
        bad = np.flatnonzero(~ok)
        for i in np.flatnonzero(ok & np.r_[True, ~ok[:-1]]).tolist():
            later = bad[np.searchsorted(bad, i)] if len(bad) and bad[-1] > i else -1
            if later < 0 or self.times[later] >= self.times[i] + hold_s:
                return float(self.times[i])
        return inf

    def take(self, start_s: float, hold_s: float, gpus: int) -> None:
        """Reserve ``gpus`` from ``start_s`` for ``hold_s``."""
        if start_s == inf:
            return
        for edge in (start_s, start_s + hold_s):
            i = int(np.searchsorted(self.times, edge, side="right")) - 1
            if self.times[i] != edge and edge != inf:
                self.times = np.insert(self.times, i + 1, edge)
                self.free = np.insert(self.free, i + 1, self.free[i])
        self.free[(self.times >= start_s) & (self.times < start_s + hold_s)] -= gpus
