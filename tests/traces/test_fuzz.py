"""Damaged files of every source: it reads them, or refuses them in one line; no row goes missing unsaid.

``HCSIM_FUZZ_S=600`` spends so many seconds on it (``make fuzz``); ``tools/fuzz_traces.py`` looks for what these random
files do not reach. What that found is kept in ``corpus``, and read again here.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.traces.samples import NASTY, SAMPLES, outcome, sources

CORPUS = Path(__file__).parent / "corpus"
SECONDS = float(os.environ.get("HCSIM_FUZZ_S", "0")) / len(SAMPLES)


def test_every_source_that_reads_files_has_a_sample() -> None:
    assert set(sources()) == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_read(name: str, tmp_path: Path) -> None:
    assert outcome(name, SAMPLES[name].files, tmp_path) == "read"


def _columns(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    """Every line with its cells changed."""

    def damaged(raw: bytes) -> bytes:
        mark = b"\t" if b"\t" in raw else b","
        return b"\n".join(mark.join(change(line.split(mark))) if line else line for line in raw.split(b"\n"))

    return damaged


def _below(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """The lines below the first changed."""
    return lambda raw: b"\n".join([raw.split(b"\n")[0], *(change(line) for line in raw.split(b"\n")[1:])])


#: Damage that happens: by editors, spreadsheets, broken transfers and other units.
WHOLE: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda raw: raw,
    "byte order mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "UTF-16": lambda raw: raw.decode("utf-8", "replace").encode("utf-16"),
    "CRLF": lambda raw: raw.replace(b"\n", b"\r\n"),
    "CR": lambda raw: raw.replace(b"\n", b"\r"),
    "empty lines between": lambda raw: raw.replace(b"\n", b"\n\n"),
    "empty lines at the end": lambda raw: raw + b"\n\n\n",
    "semicolons": lambda raw: raw.replace(b",", b";").replace(b"\t", b";"),
    "tabs": lambda raw: raw.replace(b",", b"\t"),
    "decimal commas": lambda raw: raw.replace(b".", b","),
    "all in quotes": _columns(lambda cells: [b'"' + cell + b'"' for cell in cells]),
    "no first column": _columns(lambda cells: cells[1:]),
    "no last column": _columns(lambda cells: cells[:-1]),
    "columns turned round": _columns(lambda cells: cells[::-1]),
    "no header": lambda raw: raw.partition(b"\n")[2],
    "only a header": lambda raw: raw.partition(b"\n")[0] + b"\n",
    "header again": lambda raw: raw + raw.partition(b"\n")[0] + b"\n",
    "all twice": lambda raw: raw + raw.partition(b"\n")[2],
    "a quote before each line": _below(lambda line: b'"' + line if line else line),
    "negative": _below(lambda line: line.replace(b",", b",-").replace(b"\t", b"\t-").replace(b": ", b": -")),
    "huge": _below(lambda line: line.replace(b"1", b"1e308")),
    "too many digits": _below(lambda line: line.replace(b"1", b"9" * 30)),
    "a thousandth": _below(lambda line: line.replace(b"1", b"0.001")),
    "other units in the last line": lambda raw: raw.rstrip(b"\n")[: raw.rstrip(b"\n").rfind(b"\n") + 1]
    + raw.rstrip(b"\n").rpartition(b"\n")[2].replace(b"0", b"000") + b"\n",
    "NUL bytes": lambda raw: raw.replace(b"0", b"\x00"),
    "gzip": lambda raw: gzip.compress(raw, mtime=0),
    "gzip cut": lambda raw: gzip.compress(raw, mtime=0)[:-9],
    "gzip cut in half": lambda raw: gzip.compress(raw, mtime=0)[: len(gzip.compress(raw, mtime=0)) // 2],
    "gzip and more": lambda raw: gzip.compress(raw, mtime=0) + b"more",
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_damage_as_it_happens(name: str, tmp_path: Path) -> None:
    files = SAMPLES[name].files
    for how in WHOLE:
        for damaged in files:  # each of a folder's files in turn
            try:
                outcome(name, {**files, damaged: WHOLE[how](files[damaged])}, tmp_path)
            except Exception as error:
                raise AssertionError(f"{damaged}: {how}") from error


@st.composite
def damage(draw: st.DrawFn, raw: bytes) -> bytes:
    """A file with a few bytes cut, put in or put in the place of others; perhaps damaged as a whole."""
    out = bytearray(WHOLE[draw(st.sampled_from(list(WHOLE)))](raw) if draw(st.integers(0, 3)) == 0 else raw)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(out)))
        kind = draw(st.sampled_from(["insert", "cut", "replace", "double", "end"]))
        to = min(len(out), at + draw(st.integers(0, 12)))
        if kind == "insert":
            out[at:at] = draw(st.one_of(st.sampled_from(NASTY), st.binary(max_size=6)))
        elif kind == "cut":
            del out[at:to]
        elif kind == "replace":
            out[at:to] = draw(st.sampled_from(NASTY))
        elif kind == "double":
            out[at:at] = out[at:to]
        else:
            del out[at:]
    return bytes(out)


@pytest.mark.parametrize("name", SAMPLES)
def test_damage_at_random(name: str) -> None:
    files = SAMPLES[name].files

    @settings(max_examples=20)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        damaged = data.draw(st.sampled_from(sorted(files)))
        with tempfile.TemporaryDirectory() as folder:
            outcome(name, {**files, damaged: data.draw(damage(files[damaged]))}, Path(folder))

    until = time.monotonic() + SECONDS
    run()
    while time.monotonic() < until:
        run()


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_before(path: Path, tmp_path: Path) -> None:
    name = path.parent.name.replace("-", ":")
    first = next(iter(SAMPLES[name].files))
    outcome(name, {**SAMPLES[name].files, first: path.read_bytes()}, tmp_path)
