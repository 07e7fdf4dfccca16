"""hcsim traces: list, describe, validate, convert, fetch."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hcsim.trace_commands import write_table
from hcsim.traces._catalog import available, classes, make, recognised
from hcsim.traces._schemas import KINDS
from hcsim.traces.fitted import Fitted
from hcsim.traces.table import TableFile
from hcsim.traces.twin import Twin
from tests.shell import hcsim
from tests.traces.samples import SAMPLES

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
    assert (said.status, said.err) == (0, "") and "1 row of jobs, read as philly, no defects" in said.out
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


@pytest.mark.parametrize("name", sorted({*SAMPLES} - {"table"}))
def test_what_convert_writes_is_read_back(name: str, tmp_path: Path) -> None:
    """Of every source, through both formats: the same columns, types and cells."""
    sample, files = SAMPLES[name], tmp_path / "files"
    files.mkdir()
    for file, raw in sample.files.items():
        (files / file).write_bytes(raw)
    given = sample.parameters | ({"throughputs": str(files / "t.json")} if name == "gavel" else {})
    read = make(name, {"path": str(files if sample.folder else files / next(iter(sample.files))), **given}).table()
    for ending in ("csv", "parquet"):
        out = tmp_path / f"out.{ending}"
        write_table(read.frame, out)
        label, source = recognised(out)
        again = source.table()
        assert (label, again.kind) == ("table", read.kind)
        pd.testing.assert_frame_equal(again.frame, read.frame)


def test_lists_are_json_in_csv(tmp_path: Path) -> None:
    """A list of a thousand numbers stays on its line, and none is left out."""
    blocks = [*range(1000)]
    log, out = tmp_path / "m.jsonl", tmp_path / "m.csv"
    log.write_text(json.dumps({"timestamp": 0, "input_length": 9, "output_length": 5, "hash_ids": blocks}) + "\n")
    assert hcsim("traces", "convert", log, out).status == 0
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert json.loads(row["hash_ids"]) == blocks
    for cell, said in (
        ("1", "row 2: hash_ids is '1', expected a list as [1, 2]"),
        ("[99999999999999999999]", "hash_ids"),
    ):
        out.write_text(f"arrival_s,prompt_tokens,output_tokens,hash_ids\n0,1,1,{cell}\n")
        refused = hcsim("traces", "validate", out, "--as", "table")
        assert refused.status == 2 and said in refused.out + refused.err


def test_a_table_is_replayed_described_and_merged(tmp_path: Path) -> None:
    philly, out = tmp_path / "p.csv", tmp_path / "out.csv"
    philly.write_text(HEAD + ROW * 3)
    assert hcsim("traces", "convert", philly, out).status == 0
    plot = ("--plot", tmp_path / "p.png")
    said = hcsim("traces", "describe", "table", f"path={out}", *plot)
    assert said.status == 0 and re.search(r"^rows +3$", said.out, re.M), said.err
    folder = tmp_path / "run"
    merged = f"trace.steps=[{{merge:{{trace:table,parameters:{{path:{out}}}}}}}]"
    said = hcsim("run", "trace=table", f"trace.path={out}", "strategy=fifo", merged, f"hydra.run.dir={folder}")
    assert said.status == 0 and "6 of 6 jobs" in said.out, said.err
    links = tmp_path / "links.csv"
    links.write_text("source,target,bytes_per_s,rtt_s,usd_per_gb\naws:a,aws:b,1e9,,0.02\n")
    assert "1 row of links, read as table" in hcsim("traces", "validate", links).out
    assert hcsim("traces", "describe", "table", f"path={links}", *plot).status == 0
    for args, problem in (
        (("run", "trace=table", f"trace.path={links}"), "a table of links, expected one of jobs"),
        (("traces", "describe", "table", f"path={links}", "limit=1"), "trace.limit is of jobs"),
        (("traces", "describe", "table", f"path={links}", "holds=link"), "no kind 'link'; did you mean 'links'?"),
        (("traces", "describe", "table", f"path={links}", "holds=carbon"), "column 'source' is none of carbon"),
        (("traces", "describe", "table"), "set trace.path="),
    ):
        said = hcsim(*args)
        assert said.status == 2 and problem in said.err, said.err
    links.write_text("source,target,bytes_per_s,rtt_s\naws:a,aws:b,1e9,\n")
    said = hcsim("traces", "describe", "table", f"path={links}")
    assert said.status == 2 and "as a table of links it lacks column 'usd_per_gb'" in said.err
    bad = tmp_path / "bad.parquet"
    good = pd.DataFrame({"id": [0], "arrival_s": [0.0], "duration_s": [1.0], "gpus": [1]})
    for change, problem in (
        ({"gpus": [1.5]}, "gpus is 1.5, expected a whole number"),
        ({"gpus": ["many"]}, "holds other types of columns"),
        ({"duration_s": [None]}, "duration_s is nan, expected a value"),
    ):
        good.assign(**change).to_parquet(bad)
        said = hcsim("traces", "validate", bad, "--as", "table")
        assert said.status == 2 and problem in said.out + said.err, said.out + said.err


def test_convert_writes_what_is_drawn(tmp_path: Path) -> None:
    """Every column of a twin's jobs that a table holds comes back."""
    out = tmp_path / "out.parquet"
    for name, given, jobs in (
        ("fitted", ("of=openb", "n=60", "seed=3"), Fitted(of="openb", n=60).jobs(3)),
        ("twin", ("n=60",), Twin(n=60).jobs(0)),
    ):
        said = hcsim("traces", "convert", name, out, *given)
        assert said.out == f"60 rows of jobs in {out}\n", said.err
        again = TableFile(path=str(out)).jobs(0)
        for key in (
            "id",
            "arrival_s",
            "duration_s",
            "gpus",
            "gpu_milli",
            "cpus",
            "ram_bytes",
            "deadline_s",
            "user_estimate_s",
        ):
            assert np.array_equal(getattr(again, key), getattr(jobs, key), equal_nan=True), key
        names = [[each.tenants[code] for code in each.tenant] for each in (again, jobs)]
        assert names[0] == names[1]
    assert hcsim("traces", "convert", "listed", out).out == f"10 rows of jobs in {out}\n"
    assert "steps is of hcsim run" in hcsim("traces", "convert", "twin", out, "steps=[]").err


def test_a_log_of_the_archive_is_there_by_default(shared_traces: Path, tmp_path: Path) -> None:
    plot = ("--plot", tmp_path / "p.png")
    said = hcsim("traces", "describe", "swf", f"data_dir={shared_traces}", *plot)
    assert said.status == 0 and "NASA-iPSC" in said.out and "log=" in said.out, said.err


def test_convert_takes_parameters_of_every_type(tmp_path: Path) -> None:
    logs = {name: tmp_path / f"{name}.csv" for name in ("philly", "gaia", "nodes", "p3-trace")}
    logs["philly"].write_text(HEAD + ROW + ROW.replace("07:01:55", "06:01:55") + ROW.replace("07:01:55", "05:01:55"))
    out = tmp_path / "out.csv"
    for given in ("limit=2", "trace.limit=2"):  # the first two to arrive, in the file's order
        assert hcsim("traces", "convert", logs["philly"], out, given).out == f"2 rows of jobs in {out}\n"
        assert pd.read_csv(out)["id"].tolist() == [1, 2]
    logs["gaia"].write_text("arrival_time,length,cpus\n1,2,3\n")
    said = hcsim("traces", "convert", logs["gaia"], out, "sample=pai_1k")
    assert said.status == 0 and pd.read_csv(out)["duration_s"].tolist() == [2]
    folder = tmp_path / "gpu_sharing" / "openb_2023"
    folder.mkdir(parents=True)
    (folder / "openb_node_list_all_node.csv").write_text("sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,0,\n")
    said = hcsim("traces", "convert", "openb:OpenbNodes", out, "cpu_nodes=true", f"data_dir={tmp_path}")
    assert said.out == f"1 rows of nodes in {out}\n", said.err
    for name, raw in SAMPLES["servegen"].files.items():
        (tmp_path / name).write_bytes(raw)
    said = hcsim("traces", "convert", tmp_path, out, "hours=0.05")
    assert said.status == 0, said.err
    assert 0 < pd.read_csv(out)["arrival_s"].max() < 600
    for given, problem in (
        ("limit", "cannot read 'limit', expected key=value"),
        ("limit=[1", "cannot read 'limit=[1'"),
        ("limit=many", "trace.limit is 'many', expected an integer"),
        ("steps=[]", "steps is of hcsim run"),
        ("limits=2", "no source has a parameter 'limits'; did you mean 'limit'?"),
    ):
        said = hcsim("traces", "convert", logs["philly"], tmp_path / "none.csv", given)
        assert said.status == 2 and problem in said.err and not (tmp_path / "none.csv").exists()


def test_describe_takes_parameters_in_both_forms(tmp_path: Path) -> None:
    gaia, carbon = tmp_path / "g.csv", tmp_path / "c.csv"
    gaia.write_text("arrival_time,length,cpus\n1,7,3\n2,7,3\n")
    carbon.write_text("Time,Carbon Intensity\n2020-01-01 00:00:00,300\n")
    plot = ("--plot", tmp_path / "p.svg")
    for before in ("", "trace."):
        said = hcsim("traces", "describe", "gaia", f"{before}path={gaia}", f"{before}sample=pai_1k", "seed=3", *plot)
        assert said.status == 0 and re.search(r"0\.012|0\.01167", said.out), said.err  # GPU-hours, of seconds
        given = (f"{before}path={carbon}", f"{before}zone=NO")  # Norway, and not false
        said = hcsim("traces", "describe", "carbon_lets_wait_awhile", *given, *plot)
        assert said.status == 0 and re.search(r"\bNO\b", said.out), said.err


def test_validate_takes_parameters_and_folders(tmp_path: Path) -> None:
    spot = tmp_path / "us-west-2a_v100_1.txt"
    spot.write_bytes(SAMPLES["spot_strategy"].files["us-west-2a_v100_1.txt"])
    said = hcsim("traces", "validate", spot)
    assert said.status == 2 and "expected polarity=failed" in said.err and "to read it as spot_strategy" in said.err
    for given in ("polarity=failed", "trace.polarity=available"):
        said = hcsim("traces", "validate", spot, given)
        assert "2 rows of availability, read as spot_strategy, no defects" in said.out, said.err
    gavel = tmp_path / "g.trace"
    gavel.write_bytes(SAMPLES["gavel"].files["a.trace"])
    (tmp_path / "t.json").write_bytes(SAMPLES["gavel"].files["t.json"])
    said = hcsim("traces", "validate", gavel, f"throughputs={tmp_path / 't.json'}", "--as", "gavel")
    assert "row 2: no throughput on v100" in said.out and "1 row of jobs, read as gavel" in said.out
    google = tmp_path / "mine.txt"
    google.write_text("2021-12-10, 13:07:45, 80\n2021-12-10, 13:08:45, 79\n")
    said = hcsim("traces", "validate", google, "trace=gcp-v100")
    assert "2 rows of availability, read as bamboo, no defects" in said.out, said.err
    folder = tmp_path / "skyplane"
    folder.mkdir()
    for name, raw in SAMPLES["skyplane"].files.items():
        (folder / name).write_bytes(raw)
    said = hcsim("traces", "validate", folder)
    assert said.status == 0 and "rows of links, read as skyplane, no defects" in said.out, said.err
    (folder / "cost.csv").write_text("src,dest,cost\na,b,much\n")
    said = hcsim("traces", "validate", folder)
    assert said.status == 2 and "row 2: cost is 'much', expected a number" in said.out
    said = hcsim("traces", "validate", spot, "polarty=failed")
    assert said.status == 2 and "no source has a parameter 'polarty'; did you mean 'polarity'?" in said.err


def test_fetch_knows_what_is_there(shared_traces: Path, tmp_path: Path) -> None:
    said = hcsim("traces", "fetch", "philly", "--to", shared_traces)
    assert said.out == f"0 files fetched into {shared_traces}, 1 were there\n"
    said = hcsim("traces", "fetch", "spot_strategy", "--to", tmp_path)
    assert said.status == 2 and "states no licence (16 such files)" in said.err and "no licence is stated" in said.out
    assert not list(tmp_path.iterdir())
