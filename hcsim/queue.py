"""The waiting jobs, by demand class and in order of a key, so that a class that cannot fit is skipped whole."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heapreplace
from typing import Any

WAITING = 1  # a job's status while it is in the queue


class Queue:
    """Waiting jobs in arrival order (the order of their numbers). Jobs that leave are dropped lazily.

    A strategy reads it; joining and leaving is the state's business.
    """

    _plain = True  # entries are the job numbers themselves

    def __init__(self, job_class: list[int], status: bytearray) -> None:
        self._class = job_class
        self._status = status
        self._lists: dict[int, list[Any]] = {}
        self._last = -1
        self.total = 0
        self._start: dict[int, int] = {}  # class -> entries before this one have left
        self.counts: dict[int, int] = {}  # class -> how many wait, for classes of which any waits

    def __len__(self) -> int:
        return self.total

    def __bool__(self) -> bool:
        return self.total > 0

    def __iter__(self) -> Iterator[int]:
        """All waiting jobs in order."""
        return self.merged(list(self.counts))

    def _entry(self, job: int) -> Any:
        return job

    def _job(self, entry: Any) -> int:
        return entry  # type: ignore[no-any-return]

    def _live(self, entry: Any) -> bool:
        return bool(self._status[entry] == WAITING)

    def _add(self, job: int) -> None:
        """A job starts to wait."""
        c = self._class[job]
        self._last = job
        self.total += 1
        entry = job if self._plain else self._entry(job)
        if c in self.counts:
            self.counts[c] += 1
            entries = self._lists[c]
            if entries[-1] < entry:
                entries.append(entry)
                return
            i = bisect_left(entries, entry)
            if i == len(entries) or entries[i] != entry:
                entries.insert(i, entry)
            if i < self._start.get(c, 0):
                self._start[c] = i
        else:
            self.counts[c] = 1
            self._lists[c] = [entry]

    def _remove(self, job: int) -> None:
        """A job has stopped waiting (its status says so already)."""
        c = self._class[job]
        left = self.counts[c] - 1
        self.total -= 1
        if left:
            self.counts[c] = left
            entries = self._lists[c]
            if len(entries) > 64 and len(entries) > 2 * left:
                self._lists[c] = [entry for entry in entries if self._live(entry)]
                self._start.pop(c, None)
        else:
            del self.counts[c]
            if self._start:
                self._start.pop(c, None)

    def only(self) -> int:
        """The waiting job when it is the only one and the last to have joined, else -1."""
        return self._last if self.total == 1 and self._status[self._last] == WAITING else -1

    @property
    def newest(self) -> int:
        """The job that joined last, waiting or not; -1 before the first."""
        return self._last

    def of_class(self, c: int) -> Iterator[int]:
        """Waiting jobs of one class in order. The queue must not change while this is read."""
        return map(self._job, self._entries(c))

    def _entries(self, c: int) -> Iterator[Any]:
        entries = self._lists[c]
        i = self._start.get(c, 0)
        live = self._live
        while not live(entries[i]):  # one is live, or the class would not be counted
            i += 1
        if i:
            self._start[c] = i
        for later in range(i, len(entries)):
            if live(entries[later]):
                yield entries[later]

    def merged(self, classes: Iterable[int], skip: Callable[[int], bool] | None = None) -> Iterator[int]:
        """Waiting jobs of some classes in order; once ``skip`` of a class is true the rest of it is left out."""
        heads = []
        for c in classes:
            entries = self._entries(c)
            heads.append((next(entries), c, entries))
        heapify(heads)
        while heads:
            entry, c, entries = heads[0]
            if skip is not None and skip(c):
                heappop(heads)
                continue
            yield self._job(entry)
            following = next(entries, None)
            if following is None:
                heappop(heads)
            else:
                heapreplace(heads, (following, c, entries))


class KeyedQueue(Queue):
    """Waiting jobs in ascending order of (key, job).

    A job's key is taken when it joins: what orders waiting jobs (estimate, attained service, priority) does not change
    while they wait.
    """

    _plain = False

    def __init__(self, job_class: list[int], status: bytearray, key: Callable[[int], float]) -> None:
        super().__init__(job_class, status)
        self._key = key
        self._keys: dict[int, float] = {}

    def _entry(self, job: int) -> tuple[float, int]:
        key = self._keys[job] = self._key(job)
        return (key, job)

    def _job(self, entry: tuple[float, int]) -> int:
        return entry[1]

    def _live(self, entry: tuple[float, int]) -> bool:
        # a job that left and came back with another key is live under the new key only
        return self._status[entry[1]] == WAITING and self._keys[entry[1]] == entry[0]
