"""hcsim traces: list, describe, validate, convert, fetch."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from hcsim.traces._catalog import available, classes
from hcsim.traces._schemas import KINDS
from tests.shell import hcsim

HEAD = "timestamp,duration,num_gpus,gpu_time,cluster\n"
ROW = "2017-10-09 07:01:55,66.0,1,66.0,vc1\n"


def test_every_source_is_listed_with_its_kind() -> None:
    lines = hcsim("traces", "list").out.splitlines()
    assert {line.split()[0] for line in lines} == set(available())
    assert all(len(line.split(None, 2)[2]) > 20 for line in lines)
    jobs = hcsim("traces", "list", "--kind", "jobs").out
    assert "philly" in jobs
    assert "did you mean 'jobs'" in hcsim("traces", "list", "--kind", "job").err


@pytest.mark.parametrize("name", sorted(available()))
def test_every_source_says_what_it_is(name: str) -> None:
    """That it reads its files is test_manifest's."""
    assert bool(classes(name)) != (name in ("twin", "fitted", "listed"))  # these draw jobs, or are given them
    for cls in classes(name):
        assert cls.kind in KINDS
        assert len(cls.__doc__ or "") > 40 and not (cls.__doc__ or "").startswith(f"{cls.__name__}(")  # no default
        assert cls.read.__doc__


def test_describe_prints_and_draws(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(HEAD + ROW * 30)
    said = hcsim("traces", "describe", "philly", f"trace.path={path}", "--plot", tmp_path / "out" / "p.png")
    assert said.status == 0, said.err
    assert re.search(r"^rows +30$", said.out, re.M) and re.search(r"^duplicates +29$", said.out, re.M)
    assert (tmp_path / "out" / "p.png").read_bytes()[:4] == b"\x89PNG"
    said = hcsim("traces", "describe", "philly", f"trace.path={path}", "--plot", tmp_path / "p.bmp")
    assert said.status == 2 and "expected .png, .svg or .pdf" in said.err


def test_validate_reports_every_defect_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(HEAD + ROW + ROW.replace("66.0,1", "x,1") + ROW + ROW.replace("66.0,1", "5.0,1.5"))
    said = hcsim("traces", "validate", path)
    assert said.status == 2
    assert said.out.splitlines() == [
        f"{path}: row 3: duration is 'x', expected a number",
        f"{path}: row 5: num_gpus is '1.5', expected a whole number",
    ]
    assert "2 defects: as philly" in said.err
    path.write_text(HEAD + ROW.replace(",66.0,1", ",-1.0,0"))
    assert hcsim("traces", "validate", path, "--as", "philly").out.splitlines() == [
        f"{path}: row 2: duration_s is -1.0, expected 0 or more",
        f"{path}: row 2: gpus is 0, expected at least 1",
    ]
    path.write_text(HEAD + ROW)
    said = hcsim("traces", "validate", path)
    assert (said.status, said.err) == (0, "") and "1 rows of jobs, read as philly, no defects" in said.out
    path.write_text("what,is\nthis,1\n")
    said = hcsim("traces", "validate", path)
    assert said.status == 2 and "no source reads it" in said.err
    assert "no such file" in hcsim("traces", "validate", tmp_path / "none.csv").err


def test_convert_writes_the_columns_of_the_kind(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(HEAD + ROW * 3)
    for name in ("a.parquet", "a.csv"):
        assert hcsim("traces", "convert", path, tmp_path / name).out == f"3 rows of jobs in {tmp_path / name}\n"
    for frame in (pd.read_parquet(tmp_path / "a.parquet"), pd.read_csv(tmp_path / "a.csv")):
        assert list(frame.columns) == ["id", "arrival_s", "duration_s", "gpus", "tenant"]
        assert frame["duration_s"].tolist() == [66.0] * 3
    said = hcsim("traces", "convert", path, tmp_path / "a.xls")
    assert said.status == 2 and ".parquet or .csv" in said.err


def test_fetch_knows_what_is_there(shared_traces: Path, tmp_path: Path) -> None:
    said = hcsim("traces", "fetch", "philly", "--to", shared_traces)
    assert said.out == f"0 files fetched into {shared_traces}, 1 were there\n"
    said = hcsim("traces", "fetch", "spot_strategy", "--to", tmp_path)
    assert said.status == 2 and "states no licence (16 such files)" in said.err and "no licence is stated" in said.out
    assert not list(tmp_path.iterdir())
