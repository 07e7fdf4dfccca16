"""Fetching from a local server: whole, cut short, wrong, missing, unreachable; by the function and by the command."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hcsim import InputError
from hcsim.traces import _fetch
from hcsim.traces._catalog import available, classes, make
from hcsim.traces._fetch import NOT_PUBLISHED, Entry, downloads, entries, fetch, there
from tests.shell import Said, hcsim

BODY = b"timestamp,duration\n" + b"2017-10-09 07:01:55,66.0\n" * 20_000
OTHER = b"other,rows\n1,2\n"


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, body in (("raw/jobs.csv", BODY), ("raw/other.csv", OTHER)):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


FILES = {
    "/me/logs/abc/data/jobs.csv": BODY,
    "/me/logs/abc/data/other.csv": OTHER,
    "/me/logs/abc/data/jobs.tar.gz": archive(),
}


class Server(ThreadingHTTPServer):
    """Serves FILES with ranges, compressed for who accepts it; ``cut`` ends an answer after so many bytes, once."""

    cut = 0
    busy = 0
    says_length = True
    asked: list[str]
    ranges: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = FILES.get(self.path)
        if self.server.busy:
            self.server.busy -= 1
            self.send_error(503)
            return
        if body is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        sent = body[start:]
        if "gzip" in (self.headers.get("Accept-Encoding") or ""):
            sent = gzip.compress(sent)
            self.send_header("Content-Encoding", "gzip")
        if self.server.says_length:
            self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        cut, self.server.cut = self.server.cut, 0
        self.wfile.write(sent[:cut] if cut else sent)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.asked, server.ranges = [], []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def at(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def entry(
    path: str = "data/jobs.csv",
    file: str = "dl_jobs/me/jobs.csv",
    body: bytes = BODY,
    licence: str = "MIT",
    **other: str,
) -> Entry:
    values = {"source": "philly", "sha256": sha256(body)} | other
    return Entry(file=file, repository="me/logs", path=path, commit="abc", bytes_=len(body), licence=licence, **values)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_comes_whole_with_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    fetch([entry()], tmp_path, at(server), lambda have, total: seen.append((have, total)))
    assert (tmp_path / "dl_jobs/me/jobs.csv").read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY)) and seen == sorted(seen)
    assert there(entry(), tmp_path)
    assert files(tmp_path) == ["dl_jobs/me/jobs.csv"]


def test_what_belongs_compressed_is_compressed_and_known_again(server: Server, tmp_path: Path) -> None:
    wanted = entry(file="dl_jobs/me/jobs.csv.gz")
    fetch([wanted], tmp_path, at(server))
    path = tmp_path / wanted.file
    assert gzip.decompress(path.read_bytes()) == BODY
    assert there(wanted, tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    assert not there(wanted, tmp_path)


def test_members_come_out_of_one_download_of_their_archive(server: Server, tmp_path: Path) -> None:
    both = [
        entry("data/jobs.tar.gz!jobs.csv", "dl_jobs/me/jobs.csv"),
        entry("data/jobs.tar.gz!other.csv", "dl_jobs/me/sub/other.csv.gz", OTHER),
        entry("data/other.csv", "dl_jobs/me/plain.csv", OTHER),
    ]
    groups = downloads(both)
    assert [len(group) for group in groups] == [2, 1]
    for group in groups:
        fetch(group, tmp_path, at(server))
    assert server.asked == ["/me/logs/abc/data/jobs.tar.gz", "/me/logs/abc/data/other.csv"]
    assert files(tmp_path) == [f"dl_jobs/me/{name}" for name in ("jobs.csv", "plain.csv", "sub/other.csv.gz")]
    assert all(there(each, tmp_path) for each in both)


def test_a_member_that_is_wrong_or_missing_does_not_keep_out_the_others(server: Server, tmp_path: Path) -> None:
    group = [
        entry("data/jobs.tar.gz!jobs.csv"),
        entry("data/jobs.tar.gz!none.csv", "dl_jobs/me/none.csv"),
        entry("data/jobs.tar.gz!other.csv", "dl_jobs/me/other.csv", BODY),
    ]
    with pytest.raises(InputError, match=r"jobs\.tar\.gz: none\.csv, other\.csv: not in it as published"):
        fetch(group, tmp_path, at(server))
    assert files(tmp_path) == ["dl_jobs/me/jobs.csv"]
    with pytest.raises(InputError, match=r"jobs\.csv: is not what was published \(it cannot be unpacked"):
        fetch([entry("data/jobs.csv!jobs.csv")], tmp_path / "b", at(server))
    assert files(tmp_path / "b") == []


def test_a_cut_download_leaves_nothing_and_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.cut = 100_000
    with pytest.raises(InputError, match="broke off after") as error:
        fetch([entry()], tmp_path, at(server))
    assert "\n" not in str(error.value)
    assert files(tmp_path) == ["dl_jobs/me/jobs.csv.part"]
    have = (tmp_path / "dl_jobs/me/jobs.csv.part").stat().st_size
    assert 0 < have <= 100_000
    fetch([entry()], tmp_path, at(server))
    assert server.ranges == [None, f"bytes={have}-"]
    assert files(tmp_path) == ["dl_jobs/me/jobs.csv"] and there(entry(), tmp_path)


def test_a_cut_that_the_server_does_not_tell_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.cut, server.says_length = 100_000, False
    with pytest.raises(InputError, match=f"broke off after 100,000 of {len(BODY):,} bytes"):
        fetch([entry()], tmp_path, at(server))
    assert files(tmp_path) == ["dl_jobs/me/jobs.csv.part"]
    fetch([entry()], tmp_path, at(server))
    assert server.ranges == [None, "bytes=100000-"] and there(entry(), tmp_path)


def test_what_fails_leaves_no_folders(server: Server, tmp_path: Path) -> None:
    for wrong in (entry("data/none.csv"), entry(sha256="0" * 64), entry("data/jobs.tar.gz!none.csv")):
        with pytest.raises(InputError):
            fetch([wrong], tmp_path / "data", at(server))
        assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError):
        fetch([entry("data/none.csv")], tmp_path / "data", at(server))
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]


@pytest.mark.parametrize("earlier", [b"of something else", BODY + b"more"])
def test_an_earlier_part_of_something_else_is_begun_anew(server: Server, tmp_path: Path, earlier: bytes) -> None:
    part = tmp_path / "dl_jobs/me/jobs.csv.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(earlier)
    fetch([entry()], tmp_path, at(server))
    assert server.ranges == [f"bytes={len(earlier)}-", None]
    assert files(tmp_path) == ["dl_jobs/me/jobs.csv"] and there(entry(), tmp_path)


def test_a_server_that_is_busy_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.busy = 2
    fetch([entry()], tmp_path, at(server))
    assert len(server.asked) == 3 and there(entry(), tmp_path)


def test_other_content_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"jobs\.csv: is not what was published"):
        fetch([entry(sha256="0" * 64)], tmp_path, at(server))
    assert files(tmp_path) == []


# -- the command -------------------------------------------------------------------------------------------------------


def command(monkeypatch: pytest.MonkeyPatch, folder: Path, known: Sequence[Entry], *args: object) -> Said:
    """``hcsim traces fetch`` with a registry of these files."""
    registry = folder.parent / "registry.csv"
    with registry.open("w", newline="") as file:
        keys = ("file", "source", "repository", "path", "commit", "sha256", "bytes", "licence")
        writer = csv.DictWriter(file, keys)
        writer.writeheader()
        writer.writerows({key: getattr(each, "bytes_" if key == "bytes" else key) for key in keys} for each in known)
    monkeypatch.setattr(_fetch, "REGISTRY", registry)
    return hcsim("traces", "fetch", "--to", folder, *args)


def test_the_command_says_size_and_licence_then_fetches(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    known = [entry(), entry("data/other.csv", "dl_jobs/swf/other.csv", OTHER, source="swf")]
    said = command(monkeypatch, folder, known, "philly", "--mirror", at(server))
    assert (said.status, said.err) == (0, "")
    assert said.out == f"1 file, 0.5 MB, licence: MIT (me/logs)\n1 file fetched into {folder}, 0 were there\n"
    assert files(folder) == ["dl_jobs/me/jobs.csv"]
    said = command(monkeypatch, folder, known, "philly", "swf", "--mirror", at(server))
    assert said.out.endswith(f"1 file fetched into {folder}, 1 were there\n")
    assert server.asked == ["/me/logs/abc/data/jobs.csv", "/me/logs/abc/data/other.csv"]


def test_the_command_goes_on_after_a_failure_and_lists_all_at_the_end(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    known = [
        entry("data/none.csv", "a/none.csv"),
        entry("data/jobs.csv", "a/wrong.csv", sha256="0" * 64),
        entry("data/other.csv", "a/other.csv", OTHER),
    ]
    said = command(monkeypatch, folder, known, "philly", "--mirror", at(server))
    assert said.status == 2
    assert said.out.splitlines()[-1] == f"1 file fetched into {folder}, 0 were there"
    first, second = said.err.splitlines()
    assert first == f"hcsim: error: {at(server)}/me/logs/abc/data/none.csv: the server says 404 Not Found"
    assert "data/jobs.csv: is not what was published (its SHA-256 differs); 2 of 3 files missing" in second
    assert files(folder) == ["a/other.csv"]


def test_the_command_resumes_what_broke_off(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    server.cut = 100_000
    said = command(monkeypatch, folder, [entry()], "philly", "--mirror", at(server))
    assert said.status == 2 and "broke off after" in said.err and "the same command goes on from here" in said.err
    assert said.err.count("\n") == 1 and files(folder) == ["dl_jobs/me/jobs.csv.part"]
    said = command(monkeypatch, folder, [entry()], "philly", "--mirror", at(server))
    assert (said.status, said.err) == (0, "") and files(folder) == ["dl_jobs/me/jobs.csv"]
    assert server.ranges[1] is not None and server.ranges[1].startswith("bytes=")


def test_without_a_network_the_command_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [entry(), entry("data/other.csv", "dl_jobs/me/other.csv", OTHER)]
    said = command(monkeypatch, tmp_path / "data", known, "philly", "--mirror", "http://127.0.0.1:9")
    assert said.status == 2 and said.err.count("\n") == 1
    assert "jobs.csv: the server cannot be reached" in said.err and "2 of 2 files missing" in said.err
    assert files(tmp_path / "data") == []


def test_what_has_no_licence_needs_a_yes(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    known = [entry(), entry("data/other.csv", "dl_jobs/me/other.csv", OTHER, "unknown")]
    said = command(monkeypatch, folder, known, "philly", "--mirror", at(server))
    assert said.status == 2 and "other.csv: its publisher states no licence (1 such file); --yes" in said.err
    assert said.err.count("\n") == 1 and "missing" not in said.err
    assert "1 file, 0.0 MB, no licence is stated by its publisher (me/logs)" in said.out
    assert said.out.endswith(
        f"1 file fetched into {folder}, 0 were there\nnot fetched, no licence is stated: dl_jobs/me/other.csv\n"
    )
    assert server.asked == ["/me/logs/abc/data/jobs.csv"] and files(folder) == ["dl_jobs/me/jobs.csv"]
    assert command(monkeypatch, folder, known, "philly", "--yes", "--mirror", at(server)).status == 0
    assert len(files(folder)) == 2


def test_what_the_command_cannot_fetch_it_says(tmp_path: Path) -> None:
    for name, text in (
        ("phily", "did you mean 'philly'"),
        ("openb:Openbb", "known there: Openb, "),
        ("dl_jobs/philly_polux/philly.csv.gz", "no such source, file or folder"),
        ("twin", "its jobs are drawn"),
        (_fetch.DERIVED, "derived from 48 price lists, not published"),
    ):
        said = hcsim("traces", "fetch", name, "--to", tmp_path)
        assert said.status == 2 and text in said.err and said.err.count("\n") == 1, said
    assert files(tmp_path) == []


# -- the registry ------------------------------------------------------------------------------------------------------


def test_a_name_means_one_sources_files_and_a_path_one_file() -> None:
    (philly,) = entries(["philly"])
    assert philly.file == "dl_jobs/philly_pollux/philly.csv.gz" and philly.licence.startswith("Apache-2.0")
    assert philly.url().startswith("https://raw.githubusercontent.com/petuum/adaptdl/")
    assert {each.file.rsplit("/", 2)[0] for each in entries(["sia:Sia"])} == {"dl_jobs/sia_workloads"}
    needed = {"/".join(each.file.split("/")[:2]) for each in entries(["sia"])}  # run times come from the profiles
    assert needed == {"dl_jobs/sia_workloads", "gpu_profiles/sia"}
    nodes, both = entries(["openb:OpenbNodes"]), entries(["openb"])
    assert len(nodes) == 2 and set(nodes) < set(both) and len(both) == 16
    assert [each.file for each in entries([philly.file, "philly"])] == [philly.file]
    assert len(entries(["dl_jobs/swf"])) == 2
    burstgpt, second = entries(["burstgpt"])
    assert second.file.endswith("BurstGPT_2.csv") and burstgpt.url().startswith(
        "https://media.githubusercontent.com/media/HPMLL/BurstGPT/"
    )


def test_every_source_can_be_fetched_or_says_why_not() -> None:
    for name in available():
        if name == "table":  # a file of one's own
            continue
        if name in NOT_PUBLISHED:
            with pytest.raises(InputError, match=NOT_PUBLISHED[name]):
                entries([name])
        else:
            assert all(entries([label]) for label in (name, *(f"{name}:{cls.__name__}" for cls in classes(name))))


def test_what_a_source_reads_by_default_is_what_is_fetched(tmp_path: Path) -> None:
    """A source that finds nothing names the file that it wants: it is one of those that are fetched for it."""
    for name in available():
        if name in NOT_PUBLISHED or name == "table":  # no file, or one of one's own
            continue
        for label in (f"{name}:{cls.__name__}" for cls in classes(name)):
            with pytest.raises(InputError) as error:
                make(label, {"data_dir": str(tmp_path)}).read()
            wanted = str(error.value).partition(": ")[0].removeprefix(f"{tmp_path}/")
            if wanted != _fetch.DERIVED:
                mine = [each.file for each in entries([label])]
                assert any(f in (wanted, f"{wanted}.gz") or f.startswith(f"{wanted}/") for f in mine), (label, wanted)


def test_the_registry_names_only_sources_that_there_are() -> None:
    with _fetch.REGISTRY.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for label in {label for row in rows for label in row["source"].split()}:
        assert make(label, {}).kind, label
    assert len({row["file"] for row in rows}) == len(rows)
    for row in rows:
        assert len(row["sha256"]) == 64 and len(row["commit"]) == 40 and int(row["bytes"]) > 0 and row["licence"], row


def test_the_registry_is_of_the_files_at_hand(shared_traces: Path) -> None:
    missing = [
        each.file
        for name in available()
        if name not in NOT_PUBLISHED and name not in ("burstgpt", "table")
        for each in entries([name])
        if not there(each, shared_traces)
    ]
    assert missing == []


def test_a_fetched_log_can_be_described(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_traces: Path
) -> None:
    """The two commands that the README gives, one after the other, from a mirror with the true file."""
    (philly,) = entries(["philly"])
    body = gzip.decompress((shared_traces / philly.file).read_bytes())
    monkeypatch.setitem(FILES, philly.url("").removeprefix("https://raw.githubusercontent.com"), body)
    assert hcsim("traces", "fetch", "philly", "--to", tmp_path / "data", "--mirror", at(server)).status == 0
    said = hcsim("traces", "describe", "philly", f"data_dir={tmp_path / 'data'}", "--plot", tmp_path / "p.png")
    assert said.status == 0 and "82,247" in said.out
