"""Fetching from a local server: whole, cut short, wrong, missing, unreachable."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hcsim import InputError
from hcsim.traces._fetch import Entry, entries, fetch, there

BODY = b"timestamp,duration\n" + b"2017-10-09 07:01:55,66.0\n" * 20_000


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo("raw/jobs.csv")
        info.size = len(BODY)
        tar.addfile(info, io.BytesIO(BODY))
    return out.getvalue()


FILES = {"/me/logs/abc/data/jobs.csv": BODY, "/me/logs/abc/data/jobs.tar.gz": archive()}


class Server(ThreadingHTTPServer):
    """Serves FILES with ranges; ``cut`` ends an answer after so many bytes, once."""

    cut = 0
    ranges: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = FILES.get(self.path)
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
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        cut, self.server.cut = self.server.cut, 0
        self.wfile.write(body[start : start + cut] if cut else body[start:])

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.ranges = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def at(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def entry(path: str = "data/jobs.csv", file: str = "dl_jobs/me/jobs.csv", sha256: str = "") -> Entry:
    return Entry(file, "me/logs", path, "abc", sha256 or hashlib.sha256(BODY).hexdigest(), len(BODY), "MIT")


def test_a_file_comes_whole_with_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(entry(), tmp_path, at(server), lambda have, total: seen.append((have, total)))
    assert path == tmp_path / "dl_jobs/me/jobs.csv" and path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY)) and seen == sorted(seen)
    assert there(entry(), tmp_path)
    assert [p.name for p in path.parent.iterdir()] == ["jobs.csv"]


def test_what_belongs_compressed_is_compressed_and_known_again(server: Server, tmp_path: Path) -> None:
    wanted = entry(file="dl_jobs/me/jobs.csv.gz")
    path = fetch(wanted, tmp_path, at(server))
    assert gzip.decompress(path.read_bytes()) == BODY
    assert there(wanted, tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    assert not there(wanted, tmp_path)


def test_a_member_comes_out_of_its_archive(server: Server, tmp_path: Path) -> None:
    path = fetch(entry("data/jobs.tar.gz!jobs.csv"), tmp_path, at(server))
    assert path.read_bytes() == BODY
    with pytest.raises(InputError, match="no such member"):
        fetch(entry("data/jobs.tar.gz!other.csv"), tmp_path / "b", at(server))


def test_a_cut_download_leaves_nothing_and_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.cut = 100_000
    with pytest.raises(InputError, match="goes on") as error:
        fetch(entry(), tmp_path, at(server))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "dl_jobs/me/jobs.csv").exists()
    part = tmp_path / "dl_jobs/me/jobs.csv.part"
    have = part.stat().st_size
    assert 0 < have <= 100_000
    path = fetch(entry(), tmp_path, at(server))
    assert server.ranges == [None, f"bytes={have}-"]
    assert path.read_bytes() == BODY and not part.exists()


def test_other_content_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"jobs\.csv: is not what was published"):
        fetch(entry(sha256="0" * 64), tmp_path, at(server))
    assert not list((tmp_path / "dl_jobs/me").iterdir())


def test_a_missing_file_and_no_network_are_one_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: the server says 404"):
        fetch(entry("data/none.csv"), tmp_path, at(server))
    with pytest.raises(InputError, match="cannot be had") as error:
        fetch(entry(), tmp_path, "http://127.0.0.1:9")
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "dl_jobs/me").iterdir())


def test_the_registry_knows_sources_by_name() -> None:
    (philly,) = entries(["philly_pollux"])
    assert philly.file == "dl_jobs/philly_pollux/philly.csv.gz" and len(philly.sha256) == 64
    assert philly.url().startswith("https://raw.githubusercontent.com/petuum/adaptdl/")
    with pytest.raises(InputError, match="no published file of 'phily_pollux' is known; did you mean 'philly_pollux'"):
        entries(["phily_pollux"])


def test_the_registry_is_of_the_files_at_hand(shared_traces: Path) -> None:
    for each in entries(["philly", "elasticflow", "swf"]):
        assert there(each, shared_traces), each.file
