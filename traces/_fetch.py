"""Download public data from where it is published, by the registry ``registry.csv`` beside this file.

The registry says for each file: where it belongs in the data folder; which sources read it (``module``, or
``module:Class`` where only one class of it does; several are separated by spaces); the repository, path and commit that
it is published at; the SHA-256 and size of the published file; and its licence. No data ships with the project. A file
that is published plain but belongs in the folder as ``.gz`` is compressed here. A path ``archive!member`` names a
member of a tar archive (checksum and size are the member's), a path ``lfs:...`` a file in Git's large file storage.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hcsim.model import InputError, nearest
from hcsim.traces._catalog import make

if TYPE_CHECKING:
    import requests

REGISTRY = Path(__file__).parent / "registry.csv"
BASE_URL = "https://raw.githubusercontent.com"
LFS_URL = "https://media.githubusercontent.com/media"
DERIVED = "prices/gcp_pricing_yml/derived_gpu_prices_monthly.csv.gz"
#: What can be asked for but not downloaded, and why.
NOT_PUBLISHED = {
    "table": "it reads files of your own, as hcsim traces convert writes them",
    "listed": "its jobs are written in the configuration, there is no file to fetch",
    "twin": "its jobs are drawn, there is no file to fetch",
    "fitted": "its tables ship with the project, there is no file to fetch",
    "fitted_market": "its tables ship with the project, there is no file to fetch",
    "fitted_requests": "its tables ship with the project, there is no file to fetch",
    "gcp_pricing": "its file is derived, not published; 'hcsim traces fetch gcp_pricing_yml' gets five of the lists",
    DERIVED: "derived from 48 price lists, not published; 'hcsim traces fetch gcp_pricing_yml' gets five of the lists",
}


class Unreachable(InputError):
    """The server could not be reached at all: other files of it cannot be had either."""


@dataclass(frozen=True)
class Entry:
    """One file of the registry. ``bytes_`` and ``sha256`` are of the published file (of the member, in an archive)."""

    file: str
    source: str
    repository: str
    path: str
    commit: str
    sha256: str
    bytes_: int
    licence: str

    @property
    def member(self) -> str:
        """Its name within its archive; empty when it is published by itself."""
        return self.path.partition("!")[2]

    def url(self, base: str = "") -> str:
        """Where it, or its archive, is published; below ``base`` instead when that is given."""
        path = self.path.partition("!")[0]
        home = LFS_URL if path.startswith("lfs:") else BASE_URL
        return f"{base or home}/{self.repository}/{self.commit}/{quote(path.removeprefix('lfs:'))}"

    def is_of(self, name: str) -> bool:
        """Whether a source reads it: ``module`` for all classes of one, or ``module:Class``."""
        name = name.lower()
        labels = self.source.lower().split()
        return name in labels or name.partition(":")[0] in labels or any(each.startswith(f"{name}:") for each in labels)


def _known() -> list[Entry]:
    with REGISTRY.open(newline="") as file:
        return [Entry(bytes_=int(row.pop("bytes")), **row) for row in csv.DictReader(file)]


def is_published(raw: bytes, source: str) -> bool:
    """Whether these are the bytes of a file of the registry that a source reads."""
    digest = hashlib.sha256(raw).hexdigest()
    return any(entry.sha256 == digest and entry.is_of(source) for entry in _known())


def entries(names: Sequence[str]) -> list[Entry]:
    """The registry's files that these names mean, each once.

    Args:
        names: sources (``philly``, ``openb:OpenbNodes``; all that they can read), files or folders of the data folder.

    Raises:
        InputError: a name is none of these, or names what is not published.
    """
    known = _known()
    found: dict[str, Entry] = {}
    for name in names:
        path = name.strip("/")
        if ":" in name:
            make(name, {})  # there is such a class
        mine = [entry for entry in known if entry.is_of(name)] or [
            entry for entry in known if entry.file == path or entry.file.startswith(f"{path}/")
        ]
        if not mine:
            raise InputError(f"traces fetch: {name}: {_unknown(path, known)}")
        found |= {entry.file: entry for entry in mine}
    return list(found.values())


def _unknown(name: str, known: Sequence[Entry]) -> str:
    if name in NOT_PUBLISHED:
        return NOT_PUBLISHED[name]
    folders = {entry.file.rsplit("/", n)[0] for entry in known for n in range(entry.file.count("/") + 1)}
    sources = {source for entry in known for label in entry.source.split() for source in (label, label.split(":")[0])}
    return f"no such source, file or folder of published data; {nearest(name, sorted(sources | folders))}"


def there(entry: Entry, folder: Path) -> bool:
    """Whether the folder holds the file, with the content that was published."""
    path = folder / entry.file
    if not path.is_file():
        return False
    raw = path.read_bytes()
    if hashlib.sha256(raw).hexdigest() == entry.sha256:
        return True
    if not path.name.endswith(".gz"):
        return False
    try:
        return hashlib.sha256(gzip.decompress(raw)).hexdigest() == entry.sha256
    except (OSError, EOFError):
        return False


def downloads(wanted: Sequence[Entry]) -> list[list[Entry]]:
    """The files in groups that one download gives: members of the same archive together, any other by itself."""
    groups: dict[str, list[Entry]] = {}
    for entry in wanted:
        groups.setdefault(entry.url(), []).append(entry)
    return list(groups.values())


def session() -> requests.Session:
    """Connections that are kept, and tried three times where the server is busy or does not answer."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    made = requests.Session()
    again = Retry(
        total=3,
        backoff_factor=0.3,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    for scheme in ("https://", "http://"):
        made.mount(scheme, HTTPAdapter(max_retries=again))
    # compressed on the way, bytes would be counted and resumed wrongly
    made.headers["Accept-Encoding"] = "identity"
    return made


def fetch(
    group: Sequence[Entry],
    folder: Path,
    base: str = "",
    progress: Callable[[int, int], None] | None = None,
    over: requests.Session | None = None,
) -> None:
    """Download what one address gives, check it, and put it in its place. An earlier part of it is gone on with.

    Args:
        group: one file, or members of one archive, as :func:`downloads` groups them.
        folder: the data folder.
        base: address of a mirror.
        progress: called with (bytes so far, bytes in all or 0).
        over: the connections to use, of :func:`session`.

    Raises:
        Unreachable: there is no server, or no network.
        InputError: it cannot be had, or is not what was published. Nothing is left at its place then; of an archive,
            members that are as published have been put in theirs.
    """
    first, url = group[0], group[0].url(base)
    home = (folder / first.file).parent
    new = [each for each in (home, *home.parents) if not each.exists()]
    home.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(group, folder, home, url, progress, over or session())
    finally:
        with suppress(OSError):  # one that is not empty, and so those above it
            for each in new:
                each.rmdir()


def _fetch(
    group: Sequence[Entry],
    folder: Path,
    home: Path,
    url: str,
    progress: Callable[[int, int], None] | None,
    over: requests.Session,
) -> None:
    import pooch

    first = group[0]
    name = Path(url).name if first.member else Path(first.file).name
    part, whole = home / f"{name}.part", home / f"{name}.whole"
    known = None if first.member else f"sha256:{first.sha256}"
    pooch.get_logger().setLevel("ERROR")
    loader = _Resuming(part, 0 if first.member else first.bytes_, progress, over)
    while True:
        resumed = part.exists()
        try:
            pooch.retrieve(url, known, fname=whole.name, path=home, downloader=loader)
            published = whole.read_bytes()
            contents = _members(published, group) if first.member else {first.file: published}
            break
        except InputError:
            raise
        except ValueError as error:
            if not resumed:  # else the earlier part was of something else: once more, from the beginning
                why = str(error) if first.member else "its SHA-256 differs"
                raise InputError(f"{url}: is not what was published ({why})") from None
        finally:
            whole.unlink(missing_ok=True)
    for entry in group:
        if entry.file in contents:
            _put(folder / entry.file, contents[entry.file])
    wrong = [entry.member for entry in group if entry.file not in contents]
    if wrong:
        raise InputError(f"{url}: {', '.join(wrong)}: not in it as published (its SHA-256 differs, or it is missing)")


def _members(raw: bytes, group: Sequence[Entry]) -> dict[str, bytes]:
    """Place -> content of the members that are as published; ValueError for what is no archive."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for item in archive.getmembers():
                for entry in group:
                    if item.isfile() and f"/{item.name}".endswith(f"/{entry.member}"):
                        content = archive.extractfile(item).read()  # type: ignore[union-attr]  # it is a file
                        if hashlib.sha256(content).hexdigest() == entry.sha256:
                            found[entry.file] = content
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"it cannot be unpacked: {error}") from None
    return found


def _put(target: Path, raw: bytes) -> None:
    """Write a file whole, compressed where it belongs compressed."""
    if target.name.endswith(".gz") and raw[:2] != b"\x1f\x8b":
        raw = gzip.compress(raw, mtime=0)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_bytes(raw)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


class _Resuming:
    """A downloader for Pooch that goes on where an earlier try stopped. ``size`` is what is published (0: not known),
    for servers that do not say how much they send."""

    def __init__(
        self, part: Path, size: int, progress: Callable[[int, int], None] | None, over: requests.Session
    ) -> None:
        self._part, self._size, self._progress, self._session = part, size, progress, over

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> bool | None:
        import requests

        have = self._part.stat().st_size if self._part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            answer = self._session.get(url, headers=headers, stream=True, timeout=(10, 30))
        except requests.ConnectionError as error:
            raise Unreachable(f"{url}: the server cannot be reached ({_short(error)})") from None
        except requests.RequestException as error:
            raise InputError(f"{url}: cannot be had ({_short(error)})") from None
        with answer:
            if answer.status_code == 416:  # nothing is left to get
                os.replace(self._part, output_file)
                return None
            if answer.status_code >= 400:
                raise InputError(f"{url}: the server says {answer.status_code} {answer.reason}")
            if answer.status_code != 206:
                have = 0  # the server starts anew
            length = int(answer.headers.get("content-length") or 0)
            total = have + length if length else self._size
            try:
                with self._part.open("ab" if have else "wb") as file:
                    for chunk in answer.iter_content(1 << 16):
                        file.write(chunk)
                        have += len(chunk)
                        if self._progress:
                            self._progress(have, total)
            except requests.RequestException as error:
                raise InputError(f"{url}: broke off after {have:,} bytes ({_short(error)})") from None
        if have < total:
            raise InputError(f"{url}: broke off after {have:,} of {total:,} bytes")
        os.replace(self._part, output_file)
        return None


def _short(error: Exception) -> str:
    """The innermost reason of a network error."""
    seen: BaseException = error
    while seen.__context__ is not None:
        seen = seen.__context__
    return " ".join(str(seen).split())[:120] or type(seen).__name__
