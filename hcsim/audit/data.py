"""Datasets and checkpoints: where they may be, where they are, and what links carry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf, nextafter

from hcsim.audit.base import Breach, Now, described
from hcsim.audit.stored import Stored
from hcsim.events import Row
from hcsim.fleet import BILLING_MONTH_S, Fleet
from hcsim.model import InputError, Jobs, nearest


@dataclass(slots=True)
class Transfer:
    """Bytes on their way from one site to another."""

    job: int
    dataset: int | None  # None: a checkpoint
    source: int
    target: int
    size_bytes: float
    begin_s: float
    metered_bytes: float = 0.0
    metered_s: float = -1.0
    carried_bytes: float = -1.0  # -1: still on its way
    end_s: float = 0.0
    cut: bool = False
    row: int = -1
    event: Row | None = None


class Data:
    """Copies and transfers. ``live``: transfers are delays that are told at their beginning only."""

    def __init__(self, now: Now, fleet: Fleet, jobs: Jobs, live: bool, staging: Callable[[int, bool], None]) -> None:
        self.now, self.fleet, self.jobs, self.live = now, fleet, jobs, live
        self._tell = staging  # (job, whether it waits for data)
        self._place = [site.jurisdiction for site in fleet.sites]
        self._legal = [frozenset(names.split("|")) for names in jobs.residencies]
        number = {name: s for s, name in enumerate(fleet.site_names)}
        for name in {name for names in jobs.dataset_sites for name in names.split("|")} - number.keys():
            raise InputError(f"{jobs.source}: dataset_site is '{name}', no site; {nearest(name, number)}")
        self._homes = [tuple(number[name] for name in names.split("|")) for names in jobs.dataset_sites]
        self._bound = jobs.residency.tolist()
        self._home_code = jobs.dataset_site.tolist()
        self.transfers: list[Transfer] = []
        self._open: defaultdict[tuple[int, int], list[Transfer]] = defaultdict(list)
        self._coming: dict[tuple[int, int], Transfer] = {}  # (dataset, site) -> its transfer
        self._checkpoints: defaultdict[int, int] = defaultdict(int)  # job -> transfers of its checkpoint under way
        self._waiting: defaultdict[tuple[int, int], set[int]] = defaultdict(set)  # (dataset, site) -> who waits there
        self._waits_at: dict[int, int] = {}  # placed job -> site
        self._copies: list[dict[int, float]] = [{} for _ in fleet.sites]  # site -> dataset -> bytes
        self._arrived: dict[tuple[int, int], Transfer] = {}  # what a transfer has brought and STAGED has yet to tell
        self._users: defaultdict[tuple[int, int], int] = defaultdict(int)  # (dataset, site) -> jobs that run on it
        self._on_copy: dict[int, tuple[int, int]] = {}  # running job -> copy that it reads
        self._saved: dict[int, set[int]] = {}  # job -> sites that have its last checkpoint
        self._ran_at: defaultdict[int, set[int]] = defaultdict(set)
        self._given_up: dict[int, float] = {}  # job -> when it last gave up
        self._gone: set[tuple[int, int]] = set()  # copies that were evicted in this instant
        self._ended: list[Transfer] = []  # transfers that ended in this instant
        self._look_at: set[int] = set()  # sites whose cache is looked at when time goes on
        self._links_down: dict[int, float] = {}
        self.cuts: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)  # link -> when it was down
        self.placements = 0
        self.closing = False  # bytes were metered as they are in the last instant of a log alone
        self._gb: defaultdict[tuple[str, int], float] = defaultdict(float)
        self.egress_usd = 0.0
        self.egress_of: defaultdict[tuple[int, int], float] = defaultdict(float)  # (job, site that bytes left) -> USD
        self.stored = Stored(now, fleet, jobs)

    def dataset(self, job: int) -> int:
        """The number of a job's dataset: that of its column, or one of its own."""
        code = int(self.jobs.dataset[job])
        return code if code >= 0 else -1 - job

    def homes(self, job: int) -> tuple[int, ...]:
        """Sites that have a job's dataset from the beginning."""
        code = self._home_code[job]
        return self._homes[code] if code >= 0 else ()

    def at_home(self, job: int, site: int, what: str) -> None:
        """Residency: neither a job nor what belongs to it may be there otherwise."""
        self.placements += 1
        code = self._bound[job]
        if code >= 0 and self._place[site] not in self._legal[code]:
            where = f"site '{self.fleet.site_names[site]}' in {self._place[site]}"
            self.now.fail(f"residency: {what} outside of it", where, self.jobs.residencies[code])

    # -- who waits for what --------------------------------------------------------------------------------------------

    def waits(self, job: int, site: int) -> bool:
        """A job is placed at a site; whether what it reads is under way to it."""
        if job not in self._waits_at:
            self._waits_at[job] = site
            if self.homes(job):
                self._waiting[self.dataset(job), site].add(job)
        return self._lacks(job)

    def _lacks(self, job: int) -> bool:
        site = self._waits_at.get(job)
        if site is None:
            return False
        coming = bool(self._coming) and (self.dataset(job), site) in self._coming
        return coming or self._checkpoints[job] > 0

    def _leave(self, job: int) -> None:
        site = self._waits_at.pop(job, None)
        if site is not None:
            self._waiting[self.dataset(job), site].discard(job)

    def _again(self, transfer: Transfer) -> None:
        """Whoever a transfer matters to waits for data now, or no more."""
        if transfer.dataset is None:
            concerned = {transfer.job}
        else:
            concerned = set(self._waiting[transfer.dataset, transfer.target])
        for job in concerned & self._waits_at.keys():
            self._tell(job, self._lacks(job))

    # -- rows ----------------------------------------------------------------------------------------------------------

    def transferring(self, job: int, source: int, target: int, size_bytes: float) -> None:
        """TRANSFERRING."""
        now = self.now
        self._site(source)
        self._site(target)
        if (source, target) not in self.fleet.links_by_sites:
            now.fail("data are carried where no link goes", self._way(source, target), "a link of the fleet")
        key = (self.dataset(job), target)
        is_data = source in self.homes(job) and size_bytes == self.jobs.dataset_bytes[job]
        is_data = is_data and key not in self._coming and not self._has(job, target)
        if not is_data:
            if size_bytes != self.jobs.checkpoint_bytes[job] or not size_bytes:
                limit = f"its dataset's {self.jobs.dataset_bytes[job]:g} from a home, once, or its checkpoint's"
                now.fail(
                    f"bytes of job {job} that are carried", size_bytes, f"{limit} {self.jobs.checkpoint_bytes[job]:g}"
                )
            if any(t.job == job and t.dataset is None for t in self._open[source, target]):
                now.fail(f"checkpoints of job {job} on their way over {self._way(source, target)}", 2, "one at a time")
            if not self.live and source not in self._ran_at[job]:
                sites = [self.fleet.site_names[s] for s in sorted(self._ran_at[job])]
                now.fail(f"a checkpoint of job {job} is carried from", self.fleet.site_names[source], f"one of {sites}")
        self.at_home(job, target, f"{'the dataset' if is_data else 'a checkpoint'} of job {job} is carried")
        transfer = Transfer(job, key[0] if is_data else None, source, target, size_bytes, now.time_s)
        self.transfers.append(transfer)
        self._open[source, target].append(transfer)
        if is_data:
            self._coming[key] = transfer
        else:
            self._checkpoints[job] += 1
        self._again(transfer)

    def transferred(self, job: int, source: int, target: int, carried_bytes: float) -> None:
        """TRANSFERRED."""
        now = self.now
        self._site(source)
        self._site(target)
        mine = [t for t in self._open.get((source, target), ()) if t.job == job or t.dataset == self.dataset(job)]
        whole = [t for t in mine if abs(t.size_bytes - t.metered_bytes - carried_bytes) <= 1e-9 * t.metered_bytes]
        mine.sort(key=lambda t: t.dataset is not None)  # of what a job gives up its checkpoint is stopped first
        if not mine:
            way = self._way(source, target)
            now.fail(f"a transfer of job {job} over {way} ends", "none has begun", "one that is under way")
        transfer = (whole or mine)[0]
        self._charge(job, source, target, carried_bytes)
        month = now.time_s // BILLING_MONTH_S
        if month > max(transfer.begin_s, transfer.metered_s) // BILLING_MONTH_S + (transfer.metered_s >= 0):
            now.fail(f"bytes of job {job} that went in the month before", "not METERED", "METERED at its end")
        carried_bytes = transfer.size_bytes if whole else carried_bytes + transfer.metered_bytes
        if not 0 <= carried_bytes <= transfer.size_bytes:
            now.fail(f"bytes that job {job} has had carried", carried_bytes, f"0 to {transfer.size_bytes:g}")
        transfer.carried_bytes, transfer.end_s = carried_bytes, now.time_s
        transfer.row, transfer.event = now.row, now.event
        transfer.cut = carried_bytes < transfer.size_bytes or self._given_up.get(job) == now.time_s
        self._open[source, target].remove(transfer)
        self._ended.append(transfer)
        if transfer.dataset is None:
            self._checkpoints[transfer.job] -= 1
            if carried_bytes == transfer.size_bytes:
                self._saved.setdefault(transfer.job, set()).add(target)
        else:
            del self._coming[transfer.dataset, target]
            if carried_bytes == transfer.size_bytes:
                self._arrived[transfer.dataset, target] = transfer
        self._again(transfer)

    def metered(self, job: int, source: int, target: int, carried_bytes: float) -> None:
        """METERED: what has gone until the end of a billing month, or of the log."""
        now = self.now
        self.closing |= nextafter(now.time_s, inf) % BILLING_MONTH_S > 0
        mine = [t for t in self._open.get((source, target), ()) if t.job == job and t.metered_s != now.time_s]
        if not mine:
            now.fail(f"a transfer of job {job} over {self._way(source, target)} is metered", "none", "one under way")
        transfer = mine[0]
        if not 0 <= carried_bytes <= transfer.size_bytes - transfer.metered_bytes:
            limit = f"0 to {transfer.size_bytes - transfer.metered_bytes:g}"
            now.fail(f"bytes of job {job} that are metered", carried_bytes, limit)
        transfer.metered_bytes += carried_bytes
        transfer.metered_s = now.time_s
        transfer.row, transfer.event = now.row, now.event
        self._charge(job, source, target, carried_bytes)

    def _charge(self, job: int, source: int, target: int, carried_bytes: float) -> None:
        """Bytes fall into the tiers of this month."""
        tariff = self.fleet.tariff_of[source, target]
        gb, month = carried_bytes / tariff.gb_bytes, int(self.now.time_s // BILLING_MONTH_S)
        before = self._gb[tariff.name, month]
        self._gb[tariff.name, month] = before + gb
        usd = tariff.charge(before, gb)
        self.egress_usd += usd
        self.egress_of[job, source] += usd

    def staged(self, job: int, site: int, size_bytes: float) -> None:
        """STAGED."""
        self._site(site)
        self.at_home(job, site, f"the dataset of job {job} is kept")
        key, whole = (self.dataset(job), site), float(self.jobs.dataset_bytes[job])
        if size_bytes not in (0.0, whole):
            self.now.fail(
                f"bytes of the dataset of job {job} that are kept", size_bytes, f"{whole:g}, or 0 of one there"
            )
        if self.live:
            self._coming.pop(key, None)
        elif key in self._arrived:
            del self._arrived[key]
        elif size_bytes or (self.jobs.dataset_bytes[job] > 0 and not self._has(job, site)):
            self.now.fail(f"a dataset of job {job} is kept at {self.fleet.site_names[site]}", "not carried", "carried")
        if self.homes(job) and site not in self.homes(job):
            if size_bytes or key[0] not in self._copies[site]:
                self._copies[site][key[0]] = size_bytes
                self.stored.copy(job, key[0], site, size_bytes)
            self._look_at.add(site)

    def evicted(self, job: int, site: int) -> None:
        """EVICTED."""
        self._site(site)
        dataset = self.dataset(job)
        if dataset not in self._copies[site]:
            self.now.fail(f"the dataset of job {job} leaves {self.fleet.site_names[site]}", "not there", "a copy there")
        del self._copies[site][dataset]
        self.stored.gone(dataset, site)
        self._gone.add((dataset, site))

    def started(self, job: int, site: int, saved: bool) -> None:
        """A job begins to run at a site: its data and checkpoint are there."""
        if self.live:
            self._checkpoints[job] = 0
        self._leave(job)
        if not self.live:
            if not self._has(job, site):
                self.now.fail(f"job {job} starts without its data", f"none at {self.fleet.site_names[site]}", "a copy")
            if saved and self.jobs.checkpoint_bytes[job] > 0 and site not in self._saved.get(job, ()):
                sites = [self.fleet.site_names[s] for s in sorted(self._saved.get(job, ()))]
                self.now.fail(
                    f"job {job} starts without its checkpoint", self.fleet.site_names[site], f"one of {sites}"
                )
        self._ran_at[job].add(site)
        key = (self.dataset(job), site)
        if key[0] in self._copies[site]:
            self._on_copy[job] = key
            self._users[key] += 1

    def stopped(self, job: int, site: int, saved: bool) -> None:
        """A run is over; ``saved``: there is a checkpoint of it."""
        if saved:
            self._saved[job] = {site}
        key = self._on_copy.pop(job, None)
        if key is not None:
            self._users[key] -= 1
            self._look_at.add(site)

    def given_up(self, job: int) -> None:
        """A job no longer waits for what is carried to it, or stops."""
        self._given_up[job] = self.now.time_s
        for transfer in self._ended:  # one that ended in this instant was stopped
            transfer.cut |= transfer.job == job
        self._leave(job)

    def link(self, number: int, *, down: bool) -> None:
        """LINK_DOWN and LINK_UP."""
        if not 0 <= number < len(self.fleet.links):
            self.now.fail("number of a link", number, f"0 to {len(self.fleet.links) - 1}")
        if down == (number in self._links_down):
            self.now.fail(f"link {number}", "down" if down else "up", "that it was not so before")
        if down:
            self._links_down[number] = self.now.time_s
        else:
            self.cuts[number].append((self._links_down.pop(number), self.now.time_s))

    def _needed(self, dataset: int, site: int) -> bool:
        """Whether a job that runs or is placed at a site reads a dataset."""
        return self._users[dataset, site] > 0 or bool(self._waiting[dataset, site])

    def _has(self, job: int, site: int) -> bool:
        homes = self.homes(job)
        return not homes or site in homes or self.dataset(job) in self._copies[site]

    def _site(self, site: int) -> None:
        if not 0 <= site < len(self.fleet.sites):
            self.now.fail("number of a site", site, f"0 to {len(self.fleet.sites) - 1}")

    def _way(self, source: int, target: int) -> str:
        return f"{self.fleet.site_names[source]} -> {self.fleet.site_names[target]}"

    # -- sums ----------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Time goes on: what was carried is kept, and no cache is fuller than what is in use in it makes it."""
        self._ended.clear()
        for (_, site), transfer in self._arrived.items():
            if not transfer.cut:
                self.now.fail(f"a dataset has been carried to {self.fleet.site_names[site]}", "no STAGED", "it is kept")
        self._arrived.clear()
        for dataset, site in self._gone:
            if self._users[dataset, site] and dataset not in self._copies[site]:
                job = next(j for j, key in self._on_copy.items() if key == (dataset, site))
                self.now.fail(f"the copy that job {job} reads", f"gone from {self.fleet.site_names[site]}", "it stays")
        self._gone.clear()
        for site in self._look_at:
            room, copies = self.fleet.sites[site].cache_bytes, self._copies[site]
            held = sum(copies.values())
            if held > room and any(not self._needed(dataset, site) for dataset in copies):
                self.now.fail(f"cache of {self.fleet.site_names[site]}", f"{held:g} bytes", f"at most {room:g}")
        self._look_at.clear()

    def close(self, shared: bool, whole: bool) -> None:
        """No link, way out of a site or way in can have carried more than its capacity, whatever shares it gave.

        Transfers are jobs on one machine with a release (their begin) and a due time (their end, less the latency):
        they can have been carried if and only if the earliest due time first rule meets every due time (Horn, Some
        simple scheduling algorithms, 1974). ``shared`` False: each transfer has its link to itself.
        """
        for number, begin_s in self._links_down.items():
            self.cuts[number].append((begin_s, inf))
        for t in self.transfers if whole and not self.live else ():
            if t.carried_bytes < 0:
                if self.now.time_s not in (t.begin_s, t.metered_s):
                    way = self._way(t.source, t.target)
                    self.now.fail(f"what job {t.job} has carried over {way} as the log ends", "not METERED", "METERED")
                t.carried_bytes, t.end_s, t.cut = t.metered_bytes, self.now.time_s, True
        over = [t for t in self.transfers if t.carried_bytes >= 0]
        names = self.fleet.site_names
        for i, link in enumerate(self.fleet.links):
            ends = (names.index(link.source), names.index(link.target))
            mine = [t for t in over if (t.source, t.target) == ends]
            for group in [mine] if shared else [[t] for t in mine]:
                self._carried(group, link.bytes_per_s, f"link {link.source} -> {link.target}", self.cuts.get(i, []))
        for s, site in enumerate(self.fleet.sites):
            for what, capacity, mine in (
                ("out of", site.egress_bytes_per_s, [t for t in over if t.source == s]),
                ("into", site.ingress_bytes_per_s, [t for t in over if t.target == s]),
            ):
                for group in [mine] if shared else [[t] for t in mine]:
                    if capacity < inf:
                        self._carried(group, capacity, f"the way {what} {site.name}", [])

    def _carried(self, mine: list[Transfer], bytes_per_s: float, way: str, cuts: list[tuple[float, float]]) -> None:
        work: list[tuple[float, float, Transfer]] = []
        for t in mine:
            link = self.fleet.links_by_sites[t.source, t.target]
            end_s = t.end_s if t.cut else t.end_s - link.latency_s
            work.append((_up_s(t.begin_s, cuts), _up_s(end_s, cuts), t))
        work.sort(key=lambda each: each[0])
        for late_s, t in _late(work, bytes_per_s):
            least_s = t.carried_bytes / bytes_per_s
            what = f"capacity of {way}: {t.carried_bytes:g} bytes are carried {late_s:g} s too soon"
            took = f"{t.end_s - t.begin_s:g} s from {t.begin_s:g} s"
            limit = f"at least {least_s:g} s at {bytes_per_s:g} bytes/s, and what else was carried"
            raise Breach(what, took, limit, t.row, t.end_s, described(t.event) if t.event else "")


def _up_s(t: float, cuts: list[tuple[float, float]]) -> float:
    """Seconds until ``t`` in which a link was up."""
    return t - sum(max(min(t, end) - begin, 0.0) for begin, end in cuts)


def _late(work: list[tuple[float, float, Transfer]], bytes_per_s: float) -> Iterator[tuple[float, Transfer]]:
    """Transfers that earliest due time first ends after they were said to have ended, and by how many seconds."""
    waiting: list[tuple[float, int, float]] = []  # (due, number, bytes left)
    t, i = 0.0, 0
    while i < len(work) or waiting:
        if not waiting:
            t = max(t, work[i][0])
        while i < len(work) and work[i][0] <= t:
            heappush(waiting, (work[i][1], i, work[i][2].carried_bytes))
            i += 1
        due_s, number, left = heappop(waiting)
        until_s = t + left / bytes_per_s
        if i < len(work) and work[i][0] < until_s:  # something new may be due before
            heappush(waiting, (due_s, number, left - (work[i][0] - t) * bytes_per_s))
            t = work[i][0]
            continue
        t = until_s
        tolerance_s = 1e-6 + 1e-9 * abs(t) + 1e-9 * work[number][2].carried_bytes / bytes_per_s
        if t > due_s + tolerance_s:
            yield t - due_s, work[number][2]
