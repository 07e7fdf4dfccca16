"""What is kept at sites that charge for it: copies of datasets, and the last checkpoint of each job."""

from __future__ import annotations

from collections import defaultdict

from hcsim.audit.base import Now
from hcsim.fleet import BILLING_MONTH_S, GB, Fleet
from hcsim.model import Jobs


class Stored:
    """GB-months by (job, site) times the site's price, from when something is left there until it goes."""

    def __init__(self, now: Now, fleet: Fleet, jobs: Jobs) -> None:
        self.now, self._jobs = now, jobs
        self._usd = [site.storage_usd_per_gb_month for site in fleet.sites]
        self._copies: dict[tuple[int, int], tuple[int, float, float]] = {}  # (dataset, site) -> job, since, bytes
        self._checkpoint: dict[int, tuple[int, float]] = {}  # job -> site of its last checkpoint, since when
        self.usd: defaultdict[tuple[int, int], float] = defaultdict(float)

    def copy(self, job: int, dataset: int, site: int, size_bytes: float) -> None:
        """A copy comes."""
        if size_bytes > 0:
            self.gone(dataset, site)
            self._copies[dataset, site] = (job, self.now.time_s, size_bytes)

    def gone(self, dataset: int, site: int) -> None:
        """A copy goes."""
        if (dataset, site) in self._copies:
            job, since, size_bytes = self._copies.pop((dataset, site))
            self._pay(job, site, since, size_bytes)

    def checkpoint(self, job: int, site: int) -> None:
        """A run has left its checkpoint there, in place of an older one elsewhere."""
        if self._jobs.checkpoint_bytes[job] > 0 and self._checkpoint.get(job, (-1, 0.0))[0] != site:
            self.over(job)
            self._checkpoint[job] = (site, self.now.time_s)

    def over(self, job: int) -> None:
        """A job needs its checkpoint no more."""
        if job in self._checkpoint:
            site, since = self._checkpoint.pop(job)
            self._pay(job, site, since, float(self._jobs.checkpoint_bytes[job]))

    def close(self) -> None:
        """Everything up to now."""
        for key in list(self._copies):
            self.gone(*key)
        for job in list(self._checkpoint):
            self.over(job)

    def _pay(self, job: int, site: int, since: float, size_bytes: float) -> None:
        months = (self.now.time_s - since) / BILLING_MONTH_S
        if self._usd[site] and months > 0:
            self.usd[job, site] += size_bytes / GB * months * self._usd[site]
