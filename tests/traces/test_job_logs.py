"""Job logs against their files, read a second way, and against bad copies."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hcsim import InputError
from hcsim.traces._fleets import to_fleet
from hcsim.traces._table import Source
from hcsim.traces._transform import steps
from hcsim.traces.acme import Acme, AcmeSummary
from hcsim.traces.chronus import Chronus, ChronusModels
from hcsim.traces.gaia import SAMPLES, Gaia
from hcsim.traces.gavel import Gavel
from hcsim.traces.helios_earth import HeliosCapacity, HeliosEarth, HeliosSummary, PhillyNodes
from hcsim.traces.itp import Itp
from hcsim.traces.lucid_venus import LucidVenus, LucidVenusNodes
from hcsim.traces.pollux import Pollux, PolluxJobs
from hcsim.traces.shockwave import FILES, Shockwave
from hcsim.traces.sia import Sia, SiaJobs
from tests.shell import hcsim


def cells(path: Path, delimiter: str = ",") -> Iterator[list[str]]:
    """A file's rows, by the csv module."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        yield from csv.reader(file, delimiter=delimiter)


def records(path: Path) -> list[dict[str, str]]:
    head, *rows = cells(path)
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.mark.parametrize("sample", SAMPLES)
def test_gaia(shared_traces: Path, sample: str) -> None:
    name, unit_s = SAMPLES[sample]
    rows = records(shared_traces / "dl_jobs" / "gaia" / name)
    frame = Gaia(str(shared_traces), sample=sample).read().frame
    assert len(frame) == len(rows) == {"pai": 99_998, "mustang": 100_000, "azure": 99_988, "pai_1k": 1_000}[sample]
    work = sum(float(r["length"]) * unit_s * int(r["cpus"]) for r in rows)
    assert (frame["duration_s"] * frame["gpus"]).sum() == pytest.approx(work)
    assert frame["arrival_s"].max() / 86400 <= 366
    if sample != "pai_1k":
        assert frame["arrival_s"].max() / 86400 > 300  # a year, which it would not be in seconds


@pytest.mark.parametrize("cluster", ["01", "02", "03", "04", "05", "06", "07", "10"])
def test_itp(shared_traces: Path, cluster: str) -> None:
    rows = records(shared_traces / f"dl_jobs/elasticflow_itp/raw-traces/cluster{cluster}.csv")
    frame = Itp(str(shared_traces), cluster=cluster).read().frame
    assert len(frame) == len(rows)
    assert frame["duration_s"].min() >= 600
    assert frame["duration_s"].sum() == sum(float(r["duration"]) for r in rows)
    assert frame["gpus"].between(1, 64).all()


def test_itp_in_all_and_converted(shared_traces: Path) -> None:
    clusters = ("01", "02", "03", "04", "05", "06", "07", "10")
    assert sum(len(Itp(str(shared_traces), cluster=c).read()) for c in clusters) == 45_170
    for cluster in ("195job", "01", "06", "10"):
        name = cluster if cluster == "195job" else f"cluster{cluster}"
        rows = records(shared_traces / f"dl_jobs/elasticflow_itp/elasticflow-traces/{name}.csv")
        frame = Itp(str(shared_traces), cluster=cluster, converted=True).read().frame
        assert len(frame) == len(rows)
        assert (frame["deadline_s"] >= frame["arrival_s"]).all()
        start = min(float(r["submission_time"]) for r in rows)
        assert frame["deadline_s"].tolist() == [float(r["deadline"]) - start for r in rows]
    with pytest.raises(InputError, match=r"trace\.cluster is 'x'"):
        Itp(str(shared_traces), cluster="x").read()


def test_acme(shared_traces: Path) -> None:
    rows = records(shared_traces / "dl_jobs/acme/converted_kalos_trace.csv")
    frame = Acme(str(shared_traces)).read().frame
    assert len(frame) == len(rows) == 319
    assert frame["gpus"].median() == 256 and frame["gpus"].max() == 1024
    assert frame["duration_s"].tolist() == [float(r["num_iteration"]) * 0.5 for r in rows]
    assert frame["arrival_s"].max() / 86400 == pytest.approx(90, abs=0.5)


def test_chronus(shared_traces: Path) -> None:
    rows = records(shared_traces / "dl_jobs/chronus/trace_job_Philly_SLO.csv.gz")
    table = Chronus(str(shared_traces)).read()
    assert len(rows) == 30_940
    assert len(table) == sum(int(r["num_gpu"]) > 0 for r in rows)
    assert [each.count for each in table.dropped] == [205]
    assert "205 rows left out: asks for 0 GPUs" in table.told
    first = next(i for i, r in enumerate(rows) if int(r["num_gpu"]) == 0)
    assert table.dropped[0].row == first + 2
    kept = [r for r in rows if int(r["num_gpu"])]
    frame = table.frame
    assert frame["duration_s"].tolist() == [60.0 * int(r["duration"]) for r in kept]
    start = min(int(r["submit_time"]) for r in kept)
    assert frame["arrival_s"].tolist() == [60.0 * (int(r["submit_time"]) - start) for r in kept]
    due = [60.0 * (int(r["submit_time"]) - start + int(r["expect_time_list"])) for r in kept]
    assert frame["deadline_s"].tolist() == due
    # two weeks, runs of 20 minutes (the authors' lease) to three days: what minutes give and seconds do not
    assert 13.9 < frame["arrival_s"].max() / 86_400 < 14
    assert frame["duration_s"].min() == 20 * 60 and 71.9 < frame["duration_s"].max() / 3600 < 72
    assert (frame["deadline_s"] > frame["arrival_s"] + frame["duration_s"]).all()


def test_chronus_reads_the_first_of_several_deadlines(tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    path.write_text(
        "job_id,user,num_gpu,submit_time,iterations,model_name,duration,expect_time_list,best_effort\n"
        "0,a,1,10,5,vgg16,20,30-60,0\n1,a,1,20,5,vgg16,20,30,1\n2,a,1,20,5,vgg16,20,,0\n"
    )
    due = Chronus(path=str(path)).read().frame["deadline_s"]
    assert due[0] == 1800 and due[1:].isna().all()


def test_chronus_models(shared_traces: Path) -> None:
    known = json.loads((shared_traces / "dl_jobs/chronus/model_info.json").read_text())
    frame = ChronusModels(str(shared_traces)).read().frame.set_index(["model", "gpus", "setting"])["value"]
    assert len(frame) == 50 and frame.xs("on 1 nodes", level="setting").eq(1).all()
    assert frame[("vgg16", 8.0, "on 4 nodes")] == known["vgg16"]["8"]["4"]


@pytest.mark.parametrize("trace", ["small_test", "artifact_evaluation", "max_min_fairness", "minimize_makespan"])
def test_gavel(shared_traces: Path, trace: str) -> None:
    rows = list(cells(shared_traces / "dl_jobs" / "gavel" / f"{trace}.trace", "\t"))
    with gzip.open(shared_traces / "gpu_profiles/gavel/simulation_throughputs.json.gz") as file:
        known = json.load(file)["v100"]
    table = Gavel(str(shared_traces), trace=trace).read()
    assert len(table) + sum(d.count for d in table.dropped) == len(rows)
    for _, job in table.frame.iterrows():
        row = rows[job["id"]]
        assert job["gpus"] == int(row[6]) and job["arrival_s"] == float(row[9])
        assert job["duration_s"] == pytest.approx(float(row[5]) / known[str((row[0], int(row[6])))]["null"])


def test_gavel_with_phillys_arrivals(shared_traces: Path) -> None:
    for seed in ("11cb48", "6214e9", "ee9e8c"):
        table = Gavel(str(shared_traces), trace=f"msr_seed=0/{seed}").read()
        assert len(table) + table.dropped[0].count == 2000
    with pytest.raises(InputError, match=r"trace\.gpu: no 'a100'"):
        Gavel(str(shared_traces), gpu="a100").read()


@pytest.mark.parametrize("size", FILES)
def test_shockwave(shared_traces: Path, size: int) -> None:
    rows = list(cells(shared_traces / "dl_jobs" / "shockwave" / FILES[size], "\t"))
    frame = Shockwave(str(shared_traces), size=size).read().frame
    assert len(frame) == len(rows) == size
    assert frame["duration_s"].tolist() == [float(r[10]) for r in rows]
    assert frame["arrival_s"].tolist() == [float(r[11]) for r in rows]
    assert frame["gpus"].tolist() == [int(r[6]) for r in rows]


def test_sia_and_pollux(shared_traces: Path) -> None:
    count = {}
    for path in sorted((shared_traces / "dl_jobs/sia_workloads").rglob("*.csv")):
        workload = f"{path.parent.name}/{path.stem}"
        frame = Sia(str(shared_traces), workload=workload).read().frame
        assert len(frame) == len(records(path))
        count.setdefault(path.parent.name, []).append(len(frame))
    assert count == {"philly": [160] * 8, "newtrace": [960] * 5, "scale_8x": [1280] * 2}
    for k in range(1, 9):
        frame = Pollux(str(shared_traces), workload=k).read().frame
        assert len(frame) == 160 and frame["arrival_s"].max() < 8 * 3600


@pytest.mark.parametrize(("cluster", "gpus"), [("vc3sl", 64), ("vcSoL", 32), ("vc6YE", 208)])
def test_helios_earth(shared_traces: Path, cluster: str, gpus: int) -> None:
    frame = HeliosEarth(str(shared_traces), cluster=cluster).read().frame
    rows = records(shared_traces / "dl_jobs/helios_earth" / cluster / "cluster_sequence_vc.csv.gz")
    assert len(frame) == len(rows) == 44_640
    assert (frame["capacity_gpus"] == gpus).all()
    assert np.diff(frame["time_s"]).tolist() == [60.0] * 44_639
    assert frame["gpus"].sum() == sum(float(r["running_gpu_num"]) for r in rows)


def test_helios_capacity(shared_traces: Path) -> None:
    rows = records(shared_traces / "dl_jobs/helios_earth/Earth_gpu_number.csv")
    frame = HeliosCapacity(str(shared_traces)).read().frame
    by_day = frame.groupby("time_s")["capacity_gpus"].sum()
    assert by_day.tolist() == [float(r["total"]) for r in rows] and len(rows) == 181
    assert set(np.diff(by_day.index)) == {86_400.0}
    # as the occupancy by the minute has it in May
    may = frame[frame["time_s"].between(1588291200, 1590969599)]
    for cluster, gpus in (("vc3sl", 64), ("vcSoL", 32), ("vc6YE", 208)):
        mine = may[may["place"] == cluster].set_index("time_s")["capacity_gpus"]
        assert mine.pop(1588982400.0) == 0  # 9 May, on which the file gives all GPUs to one cluster
        assert len(mine) == 30 and mine.eq(gpus).all()


def test_phillys_nodes(shared_traces: Path) -> None:
    rows = records(shared_traces / "dl_jobs/helios_earth/philly_node_sequence.csv.gz")
    frame = PhillyNodes(str(shared_traces)).read().frame
    assert frame["nodes"].tolist() == [float(r["active"]) for r in rows]
    assert frame["capacity_nodes"].sum() == sum(float(r["total"]) for r in rows)
    steps, counts = np.unique(np.diff(frame["time_s"]), return_counts=True)
    assert steps.tolist() == [60.0, 36_000.0] and counts[1] == 1
    assert frame["gpus"].isna().all()


def test_figures_of_clusters(shared_traces: Path) -> None:
    helios = HeliosSummary(str(shared_traces)).read().frame
    value = helios.set_index(["entity", "metric"])["value"]
    four = ("Venus", "Earth", "Saturn", "Uranus")
    for metric in ("job_num", "gpu_job_num"):
        assert value[("total", metric)] == sum(value[(name, metric)] for name in four)
    assert value[("total", "complete_gpu_time")] == pytest.approx(sum(value[(n, "complete_gpu_time")] for n in four))
    acme = AcmeSummary(str(shared_traces)).read().frame
    theirs = acme.set_index(["entity", "metric"])["value"]
    assert theirs[("Helios", "avg_run_time_gpu")] == value[("total", "avg_run_time_gpu")] == 6651.681
    units = acme.set_index("metric")["unit"].to_dict() | helios.set_index("metric")["unit"].to_dict()
    assert [units[m] for m in ("avg_gpu_num", "max_gpu", "gpu_num", "cpu_job_num")] == ["GPUs", "GPUs", "GPUs", "jobs"]
    assert [units[m] for m in ("med_que_time_gpu", "fail_gpu_time", "fail_rate_gpu_time")] == ["s", "GPU-s", "share"]
    assert acme[acme["unit"] == "share"]["value"].between(0, 1).all()


def test_lucid_venus_nodes(shared_traces: Path) -> None:
    frame = LucidVenusNodes(str(shared_traces)).read().frame
    assert len(frame) == 15 and frame["nodes"].sum() == 135
    assert dict(zip(frame["place"], frame["nodes"], strict=True))["vcJsw"] == 32
    fleet = to_fleet(LucidVenusNodes(str(shared_traces)).read(), "venus")
    assert fleet.gpus == 135 * 8


def test_lucid_venus(shared_traces: Path) -> None:
    frame = LucidVenus(str(shared_traces)).read().frame
    assert len(frame) == 26_064
    assert (frame["rate_per_s"] * 600).sum() == pytest.approx(125_214)
    assert frame["gpus"].min() == 0


def damaged(source: Path, folder: Path, how: str) -> Path:
    """A bad copy of a file."""
    with gzip.open(source, "rb") if source.suffix == ".gz" else source.open("rb") as file:
        raw = file.read()
    lines = raw.split(b"\n")
    path = folder / source.parent.name / source.name.removesuffix(".gz")  # names say what some files are of
    path.parent.mkdir()
    if how == "truncated":
        path.write_bytes(gzip.compress(raw)[:-100])
    elif how == "semicolons":
        path.write_bytes(raw.replace(b",", b";").replace(b"\t", b";"))
    elif how == "nul":
        path.write_bytes(
            b"\n".join([*lines[:3], lines[3].replace(b",", b",\x00").replace(b"\t", b"\t\x00"), *lines[4:]])
        )
    elif how == "short":
        path.write_bytes(b"\n".join([*lines[:3], lines[3][:8], *lines[4:]]))
    elif how == "bom":
        path.write_bytes(b"\xef\xbb\xbf" + raw)
    else:
        path.write_bytes(raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    return path


CASES = [
    (Gaia, "dl_jobs/gaia/pai-100k.csv.gz"),
    (Itp, "dl_jobs/elasticflow_itp/raw-traces/cluster01.csv"),
    (Acme, "dl_jobs/acme/converted_kalos_trace.csv"),
    (Chronus, "dl_jobs/chronus/trace_job_Philly_SLO.csv.gz"),
    (Sia, "dl_jobs/sia_workloads/philly/workload-1.csv"),
    (HeliosEarth, "dl_jobs/helios_earth/vcSoL/cluster_sequence_vc.csv.gz"),
    (LucidVenus, "dl_jobs/lucid_venus/cluster_throughput.csv.gz"),
    (Shockwave, f"dl_jobs/shockwave/{FILES[120]}"),
]


@pytest.mark.parametrize("how", ["truncated", "semicolons", "nul", "short"])
@pytest.mark.parametrize(("cls", "file"), CASES, ids=lambda x: getattr(x, "__name__", ""))
def test_bad_copies_are_refused_in_one_line(
    shared_traces: Path, tmp_path: Path, cls: type[Source], file: str, how: str
) -> None:
    path = damaged(shared_traces / file, tmp_path, how)
    with pytest.raises(InputError) as error:
        cls(path=str(path)).read()
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    if how in ("nul", "short"):
        assert "row 4" in str(error.value)


@pytest.mark.parametrize("how", ["bom", "crlf"])
@pytest.mark.parametrize(("cls", "file"), CASES[:-1], ids=lambda x: getattr(x, "__name__", ""))
def test_byte_order_marks_and_crlf_change_nothing(
    shared_traces: Path, tmp_path: Path, cls: type[Source], file: str, how: str
) -> None:
    good = cls(path=str(shared_traces / file)).read().frame
    assert cls(path=str(damaged(shared_traces / file, tmp_path, how))).read().frame.equals(good)


# -- Sia and Pollux ----------------------------------------------------------------------------------------------------


def profiled(folder: Path) -> Path:
    """A workload, and profiles of nodes of four GPUs by hand: step 1 s + 0.01 s for each sample, sync 0.5 s."""
    (folder / "bert").mkdir()
    local = (8, 16, 32)
    steps = [f"{place},{n},{1 + n / 100},0.5" for place in ("1", "4", "24") for n in local]
    (folder / "bert" / "placements-aws.csv").write_text("placement,local_bsz,step_time,sync_time\n" + "\n".join(steps))
    wide = [f"5,20,{n},{2 + n / 100},0.75" for n in local]
    head = "num_nodes,num_replicas,local_bsz,step_time,sync_time\n"
    (folder / "bert" / "scalability-aws.csv").write_text(head + "\n".join(wide))
    for batch, iterations in ((96, 700), (384, 200)):
        rows = f"1.0,{iterations // 2},80,1,1\n2.0,{iterations},88,1,1\n"
        (folder / "bert" / f"validation-{batch}.csv").write_text("progress,iteration,metric,grad_sqr,grad_var\n" + rows)
    return folder


def test_run_times_of_sia_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    asked = [(4, 96), (6, 384), (20, 384), (4, 384), (3, 96), (4, 97), (1, 8)]
    rows = "".join(f"bert-{i},{i}.5,bert,{gpus},{batch}\n" for i, (gpus, batch) in enumerate(asked))
    path.write_text("name,time,application,num_replicas,batch_size\n" + rows + "gpt-9,9,gpt_pmp,4,96\n")
    table = SiaJobs(path=str(path), profiles=str(profiled(tmp_path))).table()
    frame = table.frame
    assert frame["id"].tolist() == [0, 1, 2, 3] and frame["gpus"].tolist() == [4, 6, 20, 4]
    assert frame["duration_s"].tolist() == pytest.approx(
        [
            700 * 1.24,  # 24 on each of 4 GPUs, between 16 and 32
            200 * (1.32 + 1 * 0.82),  # 384 on 2 + 4 GPUs: 32 on each, twice
            200 * (2 + 0.20),  # 20 on each (19.2), on five nodes
            200 * (1.32 + 2 * 0.82),  # 96 on each: three times 32
        ]
    )
    (left,) = table.dropped  # gangs, batches, local batches and applications that were not measured
    assert (left.count, left.row) == (4, 6)
    with pytest.raises(InputError, match="run times need profiles, set data_dir="):
        SiaJobs(path=str(path)).read()
    with pytest.raises(InputError, match="hcsim traces fetch profile_sia"):
        SiaJobs(path=str(path), data_dir=str(tmp_path)).read()


def test_run_times_of_sia_are_of_the_size_that_pollux_gives(shared_traces: Path) -> None:
    """GPU-hours by application as Table 1 of Pollux (OSDI'21) has them: medium 1 to 10, large 10 to 100, extra large
    100 to 1,000."""
    folder = str(shared_traces)
    for source in (SiaJobs(folder), PolluxJobs(folder)):
        table = source.table()
        assert len(table) == 160 and not table.dropped
        gpu_h = table.frame["gpus"] * table.frame["duration_s"] / 3600
        for model, least, most in (
            ("bert", 1, 10), ("deepspeech2", 1, 10), ("yolov3", 10, 100), ("imagenet", 100, 1000),
        ):  # fmt: skip
            mine = gpu_h[table.frame["model"] == model]
            assert mine.between(least, most).all(), (model, mine.min(), mine.max())
    (step,) = steps([{"merge": {"trace": "sia", "parameters": {"data_dir": folder, "cluster": "rtx"}}}])
    assert len(step(SiaJobs(folder).jobs(0), 0)) == 320


def test_sia_and_pollux_are_replayed(shared_traces: Path, tmp_path: Path) -> None:
    out = tmp_path / "jobs.parquet"
    assert hcsim("traces", "convert", "sia", out, f"data_dir={shared_traces}").out == f"160 rows of jobs in {out}\n"
    for name in ("sia", "pollux"):
        run = ("run", f"trace={name}", f"data_dir={shared_traces}", "strategy=fifo", "fleet=lab")
        said = hcsim(*run, f"hydra.run.dir={tmp_path / name}")
        assert said.status == 0 and "160 of 160 jobs" in said.out, said.err
