"""Download public data from where it is published, by the registry ``registry.csv`` beside this file.

The registry says for each file: where it belongs in the data folder, the repository, path and commit it is published
at, the SHA-256 and size of the published file, and its licence. No data ships with the project. A file that is
published plain but belongs in the folder as ``.gz`` is compressed here; a path ``archive!member`` names a member of a
tar archive.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hcsim.model import InputError, nearest

REGISTRY = Path(__file__).parent / "registry.csv"
BASE_URL = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class Entry:
    """One file of the registry. ``bytes_`` and ``sha256`` are of the published file (of the member, in an archive)."""

    file: str
    repository: str
    path: str
    commit: str
    sha256: str
    bytes_: int
    licence: str

    def url(self, base: str = BASE_URL) -> str:
        """Where it is published."""
        return f"{base}/{self.repository}/{self.commit}/{quote(self.path.partition('!')[0])}"


def entries(names: Sequence[str]) -> list[Entry]:
    """The registry's files whose place in the data folder has one of these names in it (a folder, a file, a part).

    Raises:
        InputError: no file has.
    """
    with REGISTRY.open(newline="") as file:
        known = [Entry(bytes_=int(row.pop("bytes")), **row) for row in csv.DictReader(file)]
    found: list[Entry] = []
    for name in names:
        mine = [entry for entry in known if name.lower().replace("-", "_") in entry.file.lower().replace("-", "_")]
        if not mine:
            folders = sorted({part for entry in known for part in entry.file.split("/")[:2]})
            raise InputError(f"traces fetch: no published file of '{name}' is known; {nearest(name, folders)}")
        found += [entry for entry in mine if entry not in found]
    return found


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


def fetch(entry: Entry, folder: Path, base: str = BASE_URL, progress: Callable[[int, int], None] | None = None) -> Path:
    """Download one file, check it and put it in its place. An earlier part of it is gone on with.

    Args:
        progress: called with (bytes so far, bytes in all or 0).

    Raises:
        InputError: it cannot be had, or is not what was published; nothing is left at its place then.
    """
    import pooch

    target = folder / entry.file
    target.parent.mkdir(parents=True, exist_ok=True)
    member = entry.path.partition("!")[2]
    part = target.with_name(target.name + ".part")
    whole = target.with_name(target.name + ".whole")
    known = None if member else f"sha256:{entry.sha256}"
    pooch.get_logger().setLevel("ERROR")
    try:
        pooch.retrieve(
            entry.url(base),
            known,
            fname=whole.name,
            path=whole.parent,
            downloader=_Resuming(part, progress),
        )
        raw = whole.read_bytes()
        if member:
            raw = _member(raw, member)
            if hashlib.sha256(raw).hexdigest() != entry.sha256:
                raise InputError(f"{entry.url(base)}: {member} is not what was published (its SHA-256 differs)")
        if target.name.endswith(".gz") and raw[:2] != b"\x1f\x8b":
            raw = gzip.compress(raw, mtime=0)
        whole.write_bytes(raw)
        os.replace(whole, target)
    except InputError:
        raise
    except ValueError:
        part.unlink(missing_ok=True)
        raise InputError(f"{entry.url(base)}: is not what was published (its SHA-256 differs)") from None
    finally:
        whole.unlink(missing_ok=True)
    return target


def _member(raw: bytes, name: str) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for item in archive.getmembers():
                if item.name == name or item.name.endswith("/" + name):
                    file = archive.extractfile(item)
                    if file is not None:
                        return file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"archive of {name}: cannot be read ({error})") from None
    raise InputError(f"archive of {name}: no such member")


class _Resuming:
    """A downloader for Pooch that goes on where an earlier try stopped."""

    def __init__(self, part: Path, progress: Callable[[int, int], None] | None) -> None:
        self._part, self._progress = part, progress

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> bool | None:
        import requests

        have = self._part.stat().st_size if self._part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=30) as answer:
                if answer.status_code == 416:  # nothing is left to get
                    os.replace(self._part, output_file)
                    return None
                if answer.status_code >= 400:
                    raise InputError(f"{url}: the server says {answer.status_code} {answer.reason}")
                if answer.status_code != 206:
                    have = 0  # the server starts anew
                length = int(answer.headers.get("content-length") or 0)
                total = have + length
                with self._part.open("ab" if have else "wb") as file:
                    for chunk in answer.iter_content(1 << 16):
                        file.write(chunk)
                        have += len(chunk)
                        if self._progress:
                            self._progress(have, total)
        except requests.RequestException as error:
            raise InputError(
                f"{url}: cannot be had ({_short(error)}); the same command goes on with what has come"
            ) from None
        if length and have < total:
            raise InputError(f"{url}: ended after {have:,} of {total:,} bytes; the same command goes on there")
        os.replace(self._part, output_file)
        return None


def _short(error: Exception) -> str:
    """The innermost reason of a network error."""
    seen: BaseException = error
    while seen.__context__ is not None:
        seen = seen.__context__
    return " ".join(str(seen).split())[:120] or type(seen).__name__
