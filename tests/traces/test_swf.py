"""SWF logs: the two real ones against a second reading, and bad lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from hcsim import InputError
from hcsim.traces.swf import Swf

LINE = "{job} {submit} -1 {run} {procs} -1 -1 {asked} {limit} -1 1 7 1 1 1 1 -1 -1\n"


def line(job: int = 1, submit: int = 0, run: int = 60, procs: int = 4, asked: int = 4, limit: int = 100) -> str:
    return LINE.format(job=job, submit=submit, run=run, procs=procs, asked=asked, limit=limit)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["LLNL-Atlas-2006-2.1-cln.swf.gz", "NASA-iPSC-1993-3.1-cln.swf.gz"])
def test_the_archives_logs(shared_traces: Path, name: str) -> None:
    path = shared_traces / "dl_jobs" / "swf" / name
    with gzip.open(path, "rt") as file:
        rows = [[float(x) for x in row.split()] for row in file if not row.startswith(";") and row.strip()]
    usable = [r for r in rows if r[3] >= 0 and (r[4] > 0 or r[7] > 0)]
    jobs = Swf(path=str(path)).jobs(0)
    assert len(jobs) == len(usable) > 18_000
    work = sum(r[3] * (r[4] if r[4] > 0 else r[7]) for r in usable)
    assert (jobs.duration_s * jobs.gpus).sum() == pytest.approx(work)


def test_unknown_values_are_dropped_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.swf"
    path.write_text(
        "; comment\n" + line(1) + line(2, run=-1) + line(3, procs=-1, asked=8) + line(4, procs=-1, asked=-1)
    )
    jobs = Swf(path=str(path)).jobs(0)
    assert jobs.id.tolist() == [1, 3]
    assert jobs.gpus.tolist() == [4, 8]
    assert jobs.user_estimate_s.tolist() == [100.0, 100.0]
    with pytest.raises(InputError, match="row 3"):
        Swf(path=str(path), on_unknown="error").jobs(0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (line(run=-5), "row 1: run_s is -5"),
        ("not a trace\n", "row 1: the row is 3 cells, expected 18 cells"),
        (line() + line(2).replace("60", "x"), "row 2: run_s is 'x'"),
        (line(1) + line(1, submit=5), "row 2: id is 1, expected an id of its own"),
        ("; only comments\n", "no rows"),
        (line(run=-1), "no job with a known run time"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.swf"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        Swf(path=str(path)).jobs(0)
    assert said in str(error.value) and str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"trace\.path"):
        Swf().jobs(0)
    with pytest.raises(InputError, match=r"none\.swf: cannot be read"):
        Swf(path=str(tmp_path / "none.swf")).jobs(0)
