"""The Philly log against its own file, read a second way, and against bad copies of it."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from hcsim import InputError
from hcsim.traces._catalog import available
from hcsim.traces._summary import describe
from hcsim.traces.philly import FILE, Philly

HEAD = "timestamp,duration,num_gpus,gpu_time,cluster\n"
GOOD = "2017-10-09 07:01:55,66.0,1,66.0,vc1\n2017-10-09 06:13:03,2951.0,2,5902.0,vc2\n"


@pytest.mark.shared
def test_every_row_of_the_log_is_there(shared_traces: Path) -> None:
    jobs = Philly(str(shared_traces)).jobs(0)
    with gzip.open(shared_traces / FILE, "rt") as file:
        rows = list(csv.DictReader(file))
    assert len(jobs) == len(rows) == 82_247
    assert (jobs.gpus * jobs.duration_s).sum() == pytest.approx(sum(float(r["gpu_time"]) for r in rows))
    start = min(datetime.fromisoformat(r["timestamp"]) for r in rows)
    by_id = {int(i): j for j, i in enumerate(jobs.id)}
    for i in range(0, len(rows), 4111):
        j, row = by_id[i], rows[i]
        assert jobs.arrival_s[j] == (datetime.fromisoformat(row["timestamp"]) - start).total_seconds()
        assert jobs.duration_s[j] == float(row["duration"])
        assert jobs.gpus[j] == int(row["num_gpus"])
        assert jobs.tenants[jobs.tenant[j]] == row["cluster"]
    figures = describe(jobs)
    assert (figures["rows"], figures["tenants"], figures["duplicates"]) == (82_247, 15, 65)
    assert np.all(np.diff(jobs.arrival_s) >= 0)


@pytest.mark.shared
def test_the_seed_moves_only_what_the_log_does_not_say(shared_traces: Path) -> None:
    a, b = (Philly(str(shared_traces), limit=500).jobs(seed) for seed in (1, 2))
    assert np.array_equal(a.duration_s, b.duration_s)
    assert not np.array_equal(a.user_estimate_s, b.user_estimate_s)


def test_rows_are_sorted_and_keep_their_file_order_as_ids(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(HEAD + GOOD)
    jobs = Philly(path=str(path)).jobs(0)
    assert jobs.id.tolist() == [1, 0]
    assert jobs.arrival_s.tolist() == [0.0, 2932.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (HEAD, "no rows"),
        (HEAD.replace("duration", "durations") + GOOD, "column 'duration' is missing; did you mean 'durations'?"),
        (HEAD + GOOD.replace("2951.0", "-5"), "row 3: duration_s is -5.0"),
        (HEAD + GOOD.replace("2951.0", "nan"), "row 3: duration_s is nan"),
        (HEAD + GOOD.replace("2951.0", ""), "row 3: duration is empty, expected a value"),
        (HEAD + GOOD.replace("2951.0", "long"), "row 3: duration is 'long', expected a number"),
        (HEAD + GOOD.replace("66.0,1,", "66.0,0,"), "row 2: gpus is 0"),
        (HEAD + GOOD.replace("66.0,1,", "66.0,1.5,"), "row 2: num_gpus is '1.5', expected a whole number"),
        (HEAD + GOOD.replace("2017-10-09 07:01:55", "yesterday"), "row 2: timestamp is 'yesterday'"),
    ],
)
def test_bad_files_are_refused_with_row_and_column(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        Philly(path=str(path)).jobs(0)
    assert said in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_or_truncated_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="HCSIM_DATA"):
        Philly().jobs(0)
    with pytest.raises(InputError, match=r"philly\.csv\.gz: cannot be read"):
        Philly(data_dir=str(tmp_path)).jobs(0)
    path = tmp_path / "p.csv.gz"
    path.write_bytes(gzip.compress((HEAD + GOOD * 1000).encode())[:-200])
    with pytest.raises(InputError, match="cannot be read"):
        Philly(path=str(path)).jobs(0)


def test_the_catalogue_names_every_source() -> None:
    assert {"philly", "swf", "twin"} <= set(available())
    assert all(len(text) > 20 for text in available().values())
