"""Datasets and checkpoints of a simulated world: where they are, and what has to be carried before a job can start."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import nextafter
from typing import TYPE_CHECKING

from hcsim.constraints import dataset_homes
from hcsim.events import Kind
from hcsim.fleet import BILLING_MONTH_S
from hcsim.sim.network import Network, Transfer

if TYPE_CHECKING:
    from hcsim.sim.world import Simulation


def _nothing(_: int) -> None:
    """Nobody waits for a dataset that is staged ahead."""


class _Copy:
    """A dataset at a site that is not its home."""

    __slots__ = ("job", "size_bytes", "users")

    def __init__(self, job: int, size_bytes: float) -> None:
        self.job = job  # who had it brought
        self.size_bytes = size_bytes
        self.users = 0  # jobs that run on it


class _Fetch:
    """What a job waits for before it starts."""

    __slots__ = ("job", "left", "ready", "transfers")

    def __init__(self, job: int, ready: Callable[[int], None]) -> None:
        self.job = job
        self.left = 0
        self.ready = ready
        self.transfers: list[tuple[Transfer, int]] = []


class Data:
    """Who holds which dataset, and the transfers under way.

    A dataset is carried once to a site, whoever asks; those that come later wait for the same transfer. Copies are kept
    in the site's cache, the least recently used go first; one that is in use stays, even beyond the cache's room.
    """

    def __init__(self, world: Simulation, shared_links: bool) -> None:
        self._world, self._jobs, self._fleet = world, world.jobs, world.fleet
        self.network = Network(world, world.fleet, shared_links)
        self._homes = [dataset_homes(name, world.fleet) for name in world.jobs.dataset_sites]
        jobs = world.jobs
        self._dataset, self._dataset_site = jobs.dataset.data, jobs.dataset_site.data
        self._dataset_bytes, self._checkpoint_bytes = jobs.dataset_bytes.data, jobs.checkpoint_bytes.data
        sites = len(world.fleet.sites)
        self._copies: list[dict[int, _Copy]] = [{} for _ in range(sites)]  # site -> dataset -> copy
        #: The copies that nobody runs on, the least recently used first.
        self._unused: list[OrderedDict[int, _Copy]] = [OrderedDict() for _ in range(sites)]
        self._held_bytes = [0.0] * sites  # what all of them take
        self._coming: dict[tuple[int, int], tuple[Transfer, list[_Fetch]]] = {}  # (dataset, site) -> who waits for it
        self._fetches: dict[int, _Fetch] = {}  # job -> what it waits for
        self._uses: dict[int, tuple[int, _Copy]] = {}  # job -> (site, copy) that it runs on, or will
        self.none = not len(world.jobs.dataset_sites)
        self._open: dict[Transfer, tuple[int, float]] = {}  # transfer under way -> its job, bytes metered so far
        self._metered_s = -1.0
        self._month = -1  # the billing month whose end will be heard of

    def dataset(self, job: int) -> int:
        """The number of a job's dataset: that of its column, or one of its own."""
        code = self._dataset[job]
        return code if code >= 0 else -1 - job

    def homes(self, job: int) -> tuple[int, ...]:
        """The sites that hold a job's dataset from the beginning; none when it has none."""
        code = self._dataset_site[job]
        return self._homes[code] if code >= 0 else ()

    def holds(self, job: int, site: int) -> bool:
        """Whether a site has what a job reads."""
        homes = self.homes(job)
        return not homes or site in homes or self.dataset(job) in self._copies[site]

    def fetching(self) -> set[int]:
        """Jobs that wait for what has to be carried."""
        return set(self._fetches)

    # -- before a start ----------------------------------------------------------------------------------------------

    def fetch(self, job: int, site: int, saved: int, ready: Callable[[int], None]) -> bool:
        """Carry what a job lacks at a site: its dataset, and its checkpoint from site ``saved`` (-1: none).

        Returns:
            Whether there is anything to carry; ``ready`` is called with the job when the last of it has come.
        """
        size_bytes = self._checkpoint_bytes[job] if saved >= 0 and saved != site else 0.0
        if self._dataset_site[job] < 0 and not size_bytes:
            return False
        fetch = _Fetch(job, ready)
        if self.holds(job, site):
            self._use(job, site)
        else:
            self._bring(job, site, fetch)
        if size_bytes > 0:
            self._carry(job, saved, site, size_bytes, fetch)
        if not fetch.left:
            return False
        self._fetches[job] = fetch
        return True

    def stage(self, job: int, site: int) -> bool:
        """Carry a job's dataset to a site ahead of its start; whether there is anything to carry."""
        if self.holds(job, site):
            return False
        self._bring(job, site, _Fetch(-1, _nothing))
        return True

    def give_up(self, job: int) -> None:
        """A job no longer waits; what nobody else waits for is stopped."""
        fetch = self._fetches.pop(job, None)
        if fetch is None:
            return
        for transfer, source in fetch.transfers:
            self._stop(job, transfer, source)
        for key, (transfer, waiting) in list(self._coming.items()):
            if fetch in waiting:
                waiting.remove(fetch)
                if not waiting:
                    del self._coming[key]
                    self._stop(job, transfer, transfer.pair[0])

    def _stop(self, job: int, transfer: Transfer, source: int) -> None:
        self._over(job, transfer, self.network.stop(transfer))

    def _start(self, job: int, source: int, site: int, size_bytes: float, done: Callable[[], None]) -> Transfer:
        """Carry bytes, metered at the end of each billing month."""
        transfer = self.network.start(source, site, size_bytes, done)
        self._open[transfer] = (job, 0.0)
        month = int(self._world.now // BILLING_MONTH_S)
        if month != self._month:
            self._month = month
            self._world.at(nextafter((month + 1) * BILLING_MONTH_S, 0.0), self._month_ends)
        return transfer

    def meter(self) -> None:
        """What has gone of each transfer until now counts, once in an instant."""
        if self._metered_s == self._world.now:
            return
        self._metered_s = self._world.now
        for transfer, (job, before) in self._open.items():
            carried = self.network.carried(transfer)
            self._open[transfer] = (job, carried)
            self._told(Kind.METERED, job, transfer.pair[0], carried - before, transfer.pair[1])

    def _month_ends(self) -> None:
        """A billing month is over: what has gone of each transfer counts in it."""
        self._month = -1
        self.meter()
        if self._open:
            self._month = int(self._world.now // BILLING_MONTH_S) + 1
            self._world.at(nextafter((self._month + 1) * BILLING_MONTH_S, 0.0), self._month_ends)

    def _over(self, job: int, transfer: Transfer, carried_bytes: float) -> None:
        source, target = transfer.pair
        _, metered = self._open.pop(transfer)
        self._told(Kind.TRANSFERRED, job, source, carried_bytes - metered, target)

    def _told(self, kind: Kind, job: int, source: int, size_bytes: float, target: int) -> None:
        self._world.tell(kind, job, source, size_bytes, float(target))

    def _carry(self, job: int, source: int, site: int, size_bytes: float, fetch: _Fetch) -> None:
        """A transfer that only this job waits for."""
        self._told(Kind.TRANSFERRING, job, source, size_bytes, site)
        fetch.left += 1

        def done() -> None:
            self._over(job, transfer, size_bytes)
            fetch.transfers = [each for each in fetch.transfers if each[0] is not transfer]
            self._one_less(fetch)

        transfer = self._start(job, source, site, size_bytes, done)
        fetch.transfers.append((transfer, source))
        if transfer.over:
            done()

    def _bring(self, job: int, site: int, fetch: _Fetch) -> None:
        """A dataset that others may wait for as well."""
        key = (self.dataset(job), site)
        fetch.left += 1
        if key in self._coming:
            self._coming[key][1].append(fetch)
            return
        source = self._fleet.nearest_home(self.homes(job), site, self._world.links_cut)
        size_bytes = self._dataset_bytes[job]
        self._told(Kind.TRANSFERRING, job, source, size_bytes, site)

        def done() -> None:
            self._over(job, transfer, size_bytes)
            _, waiting = self._coming.pop(key)
            self._copies[site][key[0]] = self._unused[site][key[0]] = _Copy(job, size_bytes)
            self._held_bytes[site] += size_bytes
            self._world.tell(Kind.STAGED, job, site, size_bytes)
            for each in waiting:
                if each.job >= 0:
                    self._use(each.job, site)
            self._make_room(site)
            for each in waiting:
                self._one_less(each)

        transfer = self._start(job, source, site, size_bytes, done)
        self._coming[key] = (transfer, [fetch])
        if transfer.over:
            done()

    def _one_less(self, fetch: _Fetch) -> None:
        fetch.left -= 1
        if not fetch.left and self._fetches.pop(fetch.job, None) is not None:
            fetch.ready(fetch.job)

    # -- caches ------------------------------------------------------------------------------------------------------

    def _make_room(self, site: int) -> None:
        """The least recently used copies that nobody runs on go, until the rest has room."""
        room, unused = self._fleet.sites[site].cache_bytes, self._unused[site]
        while unused and self._held_bytes[site] > room:
            number, copy = unused.popitem(last=False)
            del self._copies[site][number]
            self._held_bytes[site] = self._held_bytes[site] - copy.size_bytes if self._copies[site] else 0.0
            self._world.tell(Kind.EVICTED, copy.job, site, copy.size_bytes)

    def _use(self, job: int, site: int) -> None:
        """A job will run on a copy at a site: the copy stays there until it has."""
        number = self.dataset(job)
        copy = self._copies[site].get(number)
        if copy is not None:
            copy.users += 1
            self._unused[site].pop(number, None)
            self._uses[job] = (site, copy)

    def leave(self, job: int) -> None:
        """A job no longer runs, or will run, on its dataset."""
        if job not in self._uses:
            return
        site, copy = self._uses.pop(job)
        copy.users -= 1
        if not copy.users:
            self._unused[site][self.dataset(job)] = copy
            self._make_room(site)
