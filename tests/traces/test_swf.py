"""SWF logs: the two real ones against a second reading, and bad lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from hcsim import InputError
from hcsim.traces.swf import Swf
from tests.shell import hcsim

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
    table = Swf(path=str(path)).read()
    assert sum(each.count for each in table.dropped) == len(rows) - len(usable)
    names = {-1: "unknown", 0: "failed", 1: "completed", 5: "cancelled"}
    assert table.frame["status"].tolist() == [names[int(r[10])] for r in usable]
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


STATUS = "{job} {submit} -1 60 4 -1 -1 4 100 -1 {status} 7 1 1 1 1 -1 -1\n"


def test_the_status_is_kept_and_parts_of_jobs_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.swf"
    codes = (1, 0, 5, -1, 1, 2, 3, 4, 9)
    path.write_text(
        "".join(STATUS.format(job=min(i, 5) if i < 9 else i, submit=i, status=code) for i, code in enumerate(codes, 1))
    )
    table = Swf(path=str(path)).read()
    assert table.frame["status"].tolist() == ["completed", "failed", "cancelled", "unknown", "completed", "code 9"]
    assert table.frame["id"].tolist() == [1, 2, 3, 4, 5, 9]
    assert table.told == "3 rows left out: a part of a job that was swapped out (first: row 6)"


def test_each_reason_to_leave_a_row_out_is_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "a.swf"
    path.write_text(
        line(1) + line(2, run=-1) + line(3, run=-1, procs=0, asked=0) + line(4, submit=-1) + line(5, procs=0, asked=-1)
    )
    assert [(each.reason, each.count, each.row) for each in Swf(path=str(path)).read().dropped] == [
        ("its run time is unknown", 2, 2),
        ("its submission is unknown", 1, 4),
        ("its processors are unknown or none", 1, 5),
    ]


def test_columns_may_be_padded_and_comments_anywhere(tmp_path: Path) -> None:
    plain, padded = tmp_path / "a.swf", tmp_path / "b.swf"
    plain.write_text(line(1) + line(2, submit=5) + line(3, submit=9, run=7))
    rows = [f"{'':>3}{row.strip().replace(' ', '   ')} \t\r\n" for row in plain.read_text().splitlines()]
    padded.write_text(
        "\ufeff; Version: 2\n;\n" + rows[0] + "\n; later\n" + rows[1] + "  \n" + rows[2].strip(), newline=""
    )
    one, two = (Swf(path=str(path)).read() for path in (plain, padded))
    assert one.frame.equals(two.frame)
    assert one.rows.tolist() == [1, 2, 3] and two.rows.tolist() == [3, 6, 8]
    padded.write_text(padded.read_text().replace(" 7   4", " x   4"))
    with pytest.raises(InputError, match="row 8: run_s is 'x'"):
        Swf(path=str(padded)).read()


def test_a_run_says_what_its_log_leaves_out(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.swf", tmp_path / "run"
    path.write_text("; head\n" + line(1) + line(2, run=-1) + line(3, run=-1) + line(4, submit=9))
    said = hcsim("run", "trace=swf", f"trace.path={path}", "strategy=fifo", f"hydra.run.dir={folder}")
    left_out = f"{path}: 2 rows left out: its run time is unknown (first: row 3)"
    assert said.status == 0 and said.err == f"hcsim: note: {left_out}\n"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["trace_left_out"] == left_out and summary["jobs_submitted"] == 2
    path.write_text(line(1))
    said = hcsim("run", "trace=swf", f"trace.path={path}", "strategy=fifo", f"hydra.run.dir={tmp_path / 'all'}")
    assert said.status == 0 and said.err == ""
    assert json.loads((tmp_path / "all" / "summary.json").read_text())["trace_left_out"] == ""


def test_steps_keep_what_is_said_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "a.swf"
    path.write_text(line(1) + line(2, run=-1) + line(3, submit=9))
    jobs = Swf(path=str(path), steps=({"window": {"end_s": 5}}, {"shift": {"by_s": 3}})).jobs(0)
    assert len(jobs) == 1 and jobs.left_out == f"{path}: 1 rows left out: its run time is unknown (first: row 2)"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"trace\.path"):
        Swf().jobs(0)
    with pytest.raises(InputError, match=r"none\.swf: cannot be read"):
        Swf(path=str(tmp_path / "none.swf")).jobs(0)
