"""Tables read again: the same, for files of the same content only."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hcsim.traces import _cache
from hcsim.traces._catalog import make
from hcsim.traces._files import listed, read_csv
from hcsim.traces._table import Source, Table, checked
from hcsim.traces.philly import Philly
from tests.traces.samples import SAMPLES

HEAD = "timestamp,duration,num_gpus,gpu_time,cluster\n"
ROW = "2017-10-09 07:01:55,{},1,66.0,vc1\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, in which any file is worth keeping."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HCSIM_CACHE", str(folder))
    monkeypatch.setattr(_cache, "LEAST_BYTES", 0)
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that Philly's loader has read."""
    done: list[str] = []
    original = Philly.read

    def read(self: Philly) -> Table:
        done.append(self.path)
        return original(self)

    monkeypatch.setattr(Philly, "read", read)
    return done


def log(path: Path, *durations: float) -> Path:
    path.write_text(HEAD + "".join(map(ROW.format, durations)))
    return path


@pytest.mark.parametrize("name", SAMPLES)
def test_every_source_reads_the_same_again(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample, folder = SAMPLES[name], tmp_path / "files"
    folder.mkdir()
    for file, raw in sample.files.items():
        (folder / file).write_bytes(raw)
    path = str(folder if sample.folder else folder / next(iter(sample.files)))
    given = sample.parameters | ({"throughputs": str(folder / "t.json")} if name == "gavel" else {})
    source = make(name, {"path": path, **given})
    first = source.table()
    monkeypatch.setattr(type(source), "read", lambda self: pytest.fail("read again"))
    second = source.table()
    pd.testing.assert_frame_equal(first.frame, second.frame)
    assert np.array_equal(first.rows, second.rows)
    assert replace(first, frame=None, rows=None) == replace(second, frame=None, rows=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lzma.compress, partial(pa.compress, codec="zstd", asbytes=True)]
)
def test_packed_files_are_hashed_as_they_lie(tmp_path: Path, reads: list[str], pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "p"
    path.write_bytes(pack(log(tmp_path / "p.csv", *range(100_000)).read_bytes()))
    first, second = (Philly(path=str(path)).table() for _ in range(2))
    assert len(reads) == 1 and first.frame.equals(second.frame) and len(first) == 100_000
    (entry,) = (tmp_path / "cache").glob("*.json")
    ((name, (digest, state)),) = json.loads(entry.read_text())["files"].items()
    assert (name, digest) == (str(path), hashlib.sha256(path.read_bytes()).hexdigest())
    assert state[2] == path.stat().st_size


def test_other_content_is_read_whatever_its_size_and_times(tmp_path: Path, reads: list[str]) -> None:
    path = log(tmp_path / "p.csv", 5, 6)
    source = Philly(path=str(path))
    assert source.table().frame["duration_s"].tolist() == [5, 6]
    assert source.table().frame["duration_s"].tolist() == [5, 6] and len(reads) == 1
    before = path.stat()
    with path.open("r+") as file:  # in place: the same inode, size and time of change
        file.write(HEAD + ROW.format(7))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert source.table().frame["duration_s"].tolist() == [7, 6] and len(reads) == 2


def test_a_settled_file_is_not_hashed_again_until_it_changes(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cache, "SETTLED_NS", 50_000_000)
    path = log(tmp_path / "p.csv", 5, 6)
    time.sleep(0.1)
    source = Philly(path=str(path))
    source.table()
    with monkeypatch.context() as within:
        within.setattr(_cache.hashlib, "file_digest", lambda *_: pytest.fail("hashed"))
        assert source.table().frame["duration_s"].tolist() == [5, 6]
    before = path.stat()
    log(path, 8, 6)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source.table().frame["duration_s"].tolist() == [8, 6] and len(reads) == 2
    path.touch()  # other times, the same content: hashed, not read
    assert source.table().frame["duration_s"].tolist() == [8, 6] and len(reads) == 2


def test_a_file_that_has_just_changed_is_hashed(tmp_path: Path, reads: list[str]) -> None:
    path = log(tmp_path / "p.csv", 5)
    source = Philly(path=str(path))
    source.table()
    hashed = []
    state = _cache._state(str(path))
    assert not _cache._unchanged(state, state)  # less than two seconds old
    old = [*state[:3], *(each - 10 * _cache.SETTLED_NS for each in state[3:5]), state[5]]
    assert _cache._unchanged(old, old)
    for at in range(5):
        hashed.append(_cache._unchanged(old, [each + (i == at) for i, each in enumerate(old)]))
    assert hashed == [False] * 5


def test_equal_files_share_a_table_and_keep_their_names(tmp_path: Path, cache: Path) -> None:
    one, two = (log(tmp_path / name, 5, 6) for name in ("one.csv", "two.csv"))
    for path in (one, two, one, two):
        assert Philly(path=str(path)).table().source == str(path)
    assert len(list(cache.glob("*.parquet"))) == 1
    log(two, 7, 8)
    assert Philly(path=str(two)).table().frame["duration_s"].tolist() == [7, 8]
    assert Philly(path=str(one)).table().frame["duration_s"].tolist() == [5, 6]


def test_a_table_of_older_content_goes(tmp_path: Path, cache: Path) -> None:
    for duration in range(4):
        Philly(path=str(log(tmp_path / "p.csv", duration))).table()
    assert len(list(cache.glob("*.parquet"))) == len(list(cache.glob("*.json"))) == 1
    assert not list(cache.glob("*.partial"))


def test_parameters_and_code_have_tables_of_their_own(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("arrival_time,length,cpus\n1,2,3\n")
    hours, seconds = (make("gaia", {"path": str(path), "sample": name}).table() for name in ("pai", "pai_1k"))
    assert hours.frame["duration_s"].tolist() == [7200.0] and seconds.frame["duration_s"].tolist() == [2.0]
    assert len(list(cache.glob("*.json"))) == 2
    monkeypatch.setattr(_cache, "_code", lambda: "another version")
    make("gaia", {"path": str(path), "sample": "pai"}).table()
    assert len(list(cache.glob("*.json"))) == 3


def test_the_code_is_all_that_a_table_depends_on() -> None:
    """A loader may use another's: the hash changes with any of them."""
    read = {path.name for path in Path(_cache.__file__).parent.glob("*.py")}
    assert {"sia.py", "pollux.py", "_files.py", "_defects.py"} <= read
    digest = _cache._code.__wrapped__()
    assert digest == _cache._code() and len(digest) == 64


@dataclass(frozen=True)
class Folder(Source):
    """The files of a folder, one after the other."""

    kind = "links"

    def read(self) -> Table:
        import pyarrow as pa

        found = [read_csv(path, {"ms": pa.float64()}) for path in listed(Path(self.path), "*.csv")]
        ms = np.concatenate([table["ms"].to_numpy() for table in found])
        nothing = np.full(len(ms), np.nan)
        pairs = {"source": ["a"] * len(ms), "target": ["b"] * len(ms), "bytes_per_s": nothing, "usd_per_gb": nothing}
        return checked("links", {**pairs, "rtt_s": ms / 1e3}, self.path)


def test_a_folder_with_more_or_fewer_files_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "1.csv").write_text("ms\n5\n")
    source = Folder(path=str(folder))
    assert len(source.table()) == 1
    (folder / "2.csv").write_text("ms\n6\n7\n")
    assert len(source.table()) == 3
    (folder / "1.csv").unlink()
    assert source.table().frame["rtt_s"].tolist() == [0.006, 0.007]


def test_servegen_notices_another_client(tmp_path: Path) -> None:
    files, folder = SAMPLES["servegen"].files, tmp_path / "files"
    folder.mkdir()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    source = make("servegen", {"path": str(folder)})
    before = source.table()
    for name, raw in files.items():
        (folder / name.replace("-1-", "-2-")).write_bytes(raw)
    assert source.table().frame["client"].nunique() == 2 > before.frame["client"].nunique()


@pytest.mark.parametrize("how", ["not JSON", "no table", "half a table", "another's entry"])
def test_a_broken_entry_is_read_anew(tmp_path: Path, cache: Path, reads: list[str], how: str) -> None:
    source = Philly(path=str(log(tmp_path / "p.csv", 5, 6)))
    source.table()
    (entry,), (kept,) = cache.glob("*.json"), cache.glob("*.parquet")
    if how == "not JSON":
        entry.write_text("{")
    elif how == "no table":
        kept.unlink()
    elif how == "half a table":
        kept.write_bytes(kept.read_bytes()[:100])
    else:
        entry.write_text(json.dumps({"files": {}, "folders": {}}))
    assert source.table().frame["duration_s"].tolist() == [5, 6] and len(reads) == 2
    assert source.table().frame["duration_s"].tolist() == [5, 6] and len(reads) == 2


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file, not a folder")
    assert len(Philly(path=str(log(tmp_path / "p.csv", 5, 6))).table()) == 2


@pytest.mark.parametrize("which", ["*.parquet", "*.json"])
def test_what_is_damaged_anywhere_is_read_anew(
    tmp_path: Path, cache: Path, reads: list[str], which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte in forty, and 400 at once: in values, headers of pages, the footer, the entry's counts and notes."""
    path = log(tmp_path / "p.csv", *range(300))
    source = Philly(path=str(path))
    table = replace(source.read(), notes=("a note",))
    monkeypatch.setattr(Philly, "read", lambda self: reads.append(self.path) or table)
    source.table()
    (kept,) = cache.glob(which)
    whole = kept.read_bytes()
    others = {each: each.read_bytes() for each in cache.iterdir() if each != kept}
    reads.clear()
    damaged = [(at, at + 1) for at in range(0, len(whole), 40)] + [(at, at + 400) for at in range(0, len(whole), 400)]
    for begin, end in damaged:
        for each, raw in others.items():
            each.write_bytes(raw)
        kept.write_bytes(whole[:begin] + bytes(255 - byte for byte in whole[begin:end]) + whole[end:])
        again = source.table()
        assert again.frame.equals(table.frame) and again.notes == table.notes, (begin, end)
    assert len(reads) == len(damaged)


def test_what_is_kept_is_what_takes_long_to_read(
    tmp_path: Path, cache: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is the size unpacked: a log packed to a fiftieth is kept, half of it is not."""
    size = len(log(tmp_path / "p.csv", *[5.0] * 10_000).read_bytes())
    monkeypatch.setattr(_cache, "LEAST_BYTES", size)
    for name, pack in (
        ("gz", gzip.compress),
        ("xz", lzma.compress),
        ("zst", partial(pa.compress, codec="zstd", asbytes=True)),
        ("csv", bytes),
    ):
        for rows, files in ((5_000, 0), (10_000, 1)):
            reads.clear()
            path = tmp_path / f"{rows}.{name}"
            path.write_bytes(pack(log(tmp_path / "p.csv", *[5.0] * rows).read_bytes()))
            monkeypatch.setenv("HCSIM_CACHE", str(tmp_path / f"{rows} {name}"))
            first, second = (Philly(path=str(path)).table() for _ in range(2))
            assert len(list((tmp_path / f"{rows} {name}").glob("*.parquet"))) == files
            assert first.frame.equals(second.frame) and len(first) == rows and len(reads) == 2 - files


def test_the_published_logs_are_kept(shared_traces: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed, all are smaller than a megabyte, and take ten times as long to read as what is kept of them."""
    monkeypatch.undo()
    monkeypatch.setenv("HCSIM_CACHE", str(cache))
    for kept, name in enumerate(("philly", "gaia", "mooncake", "chronus", "openb"), 1):
        first = make(name, {"data_dir": str(shared_traces)}).table()
        assert len(list(cache.glob("*.parquet"))) == kept, name
        assert first.frame.equals(make(name, {"data_dir": str(shared_traces)}).table().frame)


def test_small_files_are_not_kept(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache, "LEAST_BYTES", 1 << 18)
    Philly(path=str(log(tmp_path / "p.csv", 5, 6))).table()
    assert not cache.exists()
