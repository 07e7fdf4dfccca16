"""MLPerf, LLMServingSim, Vidur's collectives and Sia's training runs: against their files, read a second way, and on
files written here in their formats."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from hcsim import InputError
from hcsim.traces._catalog import make
from hcsim.traces._table import Source
from hcsim.traces.profile_llmservingsim import ProfileLlmservingsim
from hcsim.traces.profile_mlperf import ProfileMlperfInference, ProfileMlperfSummary, ProfileMlperfTraining
from hcsim.traces.profile_sia import ProfileSiaValidation
from hcsim.traces.profile_vidur import ProfileVidur, ProfileVidurNetwork

SUMMARY = """\
================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : Server
Mode     : PerformanceOnly
Completed samples per second    : 8.59
Completed tokens per second: 2520.27
Result is : VALID
  Min duration satisfied : Yes
TTFT Early Stopping Result:
 * Run successful.
================================================
Additional Stats
================================================
Scheduled samples per second : 8.62
Min latency (ns)                : 527740394
99.90 percentile latency (ns)   : 175902292104
Completed tokens per second                 : 2520.27
99.00 percentile first token latency (ns)   : 785265884
Mean Time to Output Token (ns)               : 153377770
================================================
Test Parameters Used
================================================
target_qps : 8.6
ttft_latency (ns): 2000000000
"""
SYSTEM = {
    "submitter": "Acme",
    "status": "available",
    "number_of_nodes": "2",
    "accelerators_per_node": 8,
    "accelerator_model_name": "NVIDIA H100-NVL-94GB",
    "framework": "vLLM",
}


def mllog(key: str, value: object, time_ms: object, **metadata: object) -> str:
    record = {"key": key, "value": value, "time_ms": time_ms, "metadata": {"file": "x.py", **metadata}}
    return f"3: :::MLLOG {json.dumps(record)}"


TRAINING = "\n".join(
    [
        "+ echo 'Beginning trial 1 of 1'",
        mllog("submission_benchmark", "llama2_70b_lora", 1000),
        mllog("global_batch_size", 8, 1000),
        mllog("init_start", None, 1000),
        mllog("init_stop", None, 61_500),
        mllog("run_start", None, 61_501),
        mllog("tracked_stats", {"throughput": 2.0}, 62_000),
        mllog("tracked_stats", {"throughput": 3.0}, 63_000),
        mllog("eval_accuracy", 0.94, 64_000),
        mllog("eval_accuracy", 0.92, 65_000),
        mllog("run_stop", 0.92, 1_834_764, status="success"),
        "",
    ]
)


def records(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return list(csv.DictReader(file))


def manifest(shared: Path, prefix: str) -> dict[Path, int]:
    """The files below a prefix and their rows (or lines), as the manifest has them."""
    return {
        shared / r["path"]: int(r["rows"]) for r in records(shared / "MANIFEST.csv") if r["path"].startswith(prefix)
    }


def lines(path: Path) -> int:
    """Lines that are not blank, as the manifest counts them."""
    return sum(bool(line.strip()) for line in path.read_bytes().split(b"\n"))


def error(source: Source) -> str:
    with pytest.raises(InputError) as said:
        source.read()
    assert "\n" not in str(said.value)
    return str(said.value)


def submission(folder: Path, log: str, name: str = "mlperf_log_summary.txt", upstream: bool = False) -> Path:
    """A log with its system's description, as in the data folder or as MLPerf publishes it."""
    path = folder / ("Acme/results/big/mixtral-8x7b/Server/performance/run_1" if upstream else "Acme/big/Server") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(log)
    system = folder / ("Acme/systems/big.json" if upstream else "Acme/big/system.json")
    system.parent.mkdir(exist_ok=True)
    system.write_text(json.dumps(SYSTEM))
    return path


def test_mlperf_inference_of_all_systems(shared_traces: Path) -> None:
    table = ProfileMlperfInference(str(shared_traces)).read()
    files = manifest(shared_traces, "gpu_profiles/mlperf_inference_v4.1/")
    logs = [path for path in files if path.name == "mlperf_log_summary.txt"]
    assert len(files) == 109 and len(logs) == 72 and sum(path.name == "system.json" for path in files) == 36
    figures = 0
    for path in logs:
        text = path.read_text()
        assert lines(path) == files[path]
        figures += len(re.findall(r"(?m)^.*(?:per second|\(ns\))\s*: *[0-9.]+$", text.split("Test Parameters")[0]))
    assert len(table) + sum(each.count for each in table.dropped) == figures
    assert [each.count for each in table.dropped] == [36]  # the Server logs' second line of tokens per second
    frame = table.frame
    assert frame["setting"].nunique() == 72 and set(frame["model"]) == {"llama2-70b-99"}
    assert set(frame["gpu"]) == {"B200", "GH200", "H100", "H100-94GB", "H200", "L40S", "MI300X"}
    # NVIDIA's own eight H100, as its log says and MLPerf lists it (24,525 tokens per second offline)
    mine = frame[frame["setting"].str.startswith("Offline, NVIDIA DGX-H100_H100-SXM-80GBx8_TRT,")]
    log = shared_traces / "gpu_profiles/mlperf_inference_v4.1/NVIDIA/DGX-H100_H100-SXM-80GBx8_TRT/Offline"
    said = float(re.findall(r"\nTokens per second: ([0-9.]+)", (log / "mlperf_log_summary.txt").read_text())[0])
    assert said == 24524.9
    assert mine[mine["unit"] == "tokens/s"]["value"].tolist() == [said] and mine["gpus"].eq(8).all()
    many = frame[frame["setting"].str.contains("JuniperNetworks DGX-H100_H100-SXM-80GBx32")]
    assert many["gpus"].eq(4 * 8).all() and len(many)
    # a rate that is offered is what comes of it, nearly; time to the first token is within MLPerf's bound of 2 s
    rates = frame[frame["unit"] == "samples/s"].pivot_table(index="setting", columns="metric", values="value").dropna()
    assert len(rates) == 36 and (rates["throughput"] / rates["offered load"]).between(0.95, 1.01).all()
    assert frame[frame["metric"] == "time to first token, P99"]["value"].max() <= 2.0
    assert frame[frame["metric"] == "time per output token, P99"]["value"].max() <= 0.2


def test_mlperf_summary_agrees_with_the_logs(shared_traces: Path) -> None:
    frame = ProfileMlperfSummary(str(shared_traces)).read().frame
    (path, rows), *_ = manifest(shared_traces, "gpu_profiles/mlperf_inference_v4.1/GigaComputing/summary.csv").items()
    assert len(frame) == rows == 26
    assert frame["value"].tolist() == [float(r["Result"]) for r in records(path)]
    logs = ProfileMlperfInference(str(shared_traces)).read().frame
    logs = logs[logs["setting"].str.contains("GigaComputing") & (logs["unit"] == "tokens/s")]
    mine = frame[frame["model"] == "llama2-70b-99"]
    assert mine["unit"].tolist() == ["tokens/s"] * 2
    assert sorted(mine["value"]) == pytest.approx(sorted(logs["value"]), rel=1e-5)


def test_mlperf_training_of_all_systems(shared_traces: Path) -> None:
    table = ProfileMlperfTraining(str(shared_traces)).read()
    files = manifest(shared_traces, "gpu_profiles/mlperf_training_v4.0/")
    logs = [path for path in files if path.name.startswith("result_")]
    assert len(files) == 46 and len(logs) == 23
    took = table.frame[table.frame["metric"] == "time to train"].reset_index(drop=True)
    assert not table.dropped and len(took) == 23
    by_log = []
    for path in sorted(logs):
        text = path.read_text(errors="replace")
        assert lines(path) == files[path]
        start, stop = (
            re.findall(rf'"time_ms": *(\d+)[^\n]*"key": *"{key}"', text) for key in ("run_start", "run_stop")
        )
        by_log.append((int(stop[-1]) - int(start[0])) / 1000)
    assert took["value"].tolist() == by_log
    # 8 H100: 1629.043 s; 1,024 of them: 89.207 s; 6,144 TPUs train GPT-3 in 730.151 s
    nvidia = took[took["setting"].str.contains("NVIDIA eos")].set_index("gpus")["value"]
    assert nvidia[8.0] == 1629.043 and nvidia[1024.0] == 89.207
    assert took[took["gpu"] == "TPU-v5p"].set_index("gpus")["value"][6144.0] == 730.151
    # faster with more of the same, by the same submitter and benchmark
    tpus = took[took["gpu"] == "TPU-v5p"].sort_values("gpus")["value"].to_numpy()
    assert (np.diff(tpus) < 0).all() and len(tpus) == 4
    evaluated = table.frame[table.frame["metric"] == "evaluation at the end"]
    lora = evaluated[evaluated["model"] == "llama2_70b_lora"]["value"]
    assert (lora <= 0.925).all() and (lora > 0.9).all()  # the target of MLPerf v4.0


def test_a_log_of_inference_in_both_layouts(tmp_path: Path) -> None:
    for upstream in (False, True):
        folder = tmp_path / str(upstream)
        submission(folder, SUMMARY, upstream=upstream)
        table = ProfileMlperfInference(path=str(folder), model="" if upstream else "llama2-70b-99").read()
        frame = table.frame
        assert frame["value"].tolist() == [8.59, 2520.27, 8.62, 0.527740394, 175.902292104, 0.785265884, 0.15337777]
        assert frame["metric"].tolist() == [
            "throughput", "throughput", "offered load", "latency, min", "latency, P99.9", "time to first token, P99",
            "time per output token, mean",
        ]  # fmt: skip
        assert frame["unit"].tolist() == ["samples/s", "tokens/s", "samples/s", "s", "s", "s", "s"]
        assert set(frame["model"]) == {"mixtral-8x7b" if upstream else "llama2-70b-99"}
        assert set(frame["gpu"]) == {"H100-94GB"} and set(frame["gpus"]) == {16.0}
        assert set(frame["setting"]) == {"Server, Acme big, NVIDIA H100-NVL-94GB, vLLM"}
        assert table.rows.tolist() == [7, 8, 16, 17, 18, 20, 21]
        assert [(each.count, each.row) for each in table.dropped] == [(1, 19)]
    assert "trace.model is not given" in error(ProfileMlperfInference(path=str(tmp_path / "False")))


def test_logs_of_inference_that_measure_nothing(tmp_path: Path) -> None:
    log = submission(tmp_path, SUMMARY.replace(": VALID", ": INVALID"))
    assert "no valid run (of a log that is no valid performance run)" in error(
        ProfileMlperfInference(path=str(log), model="m")
    )
    submission(tmp_path / "other", SUMMARY)
    table = ProfileMlperfInference(path=str(tmp_path), model="m").read()
    assert len(table) == 7 and sum(each.count for each in table.dropped) == 8 + 1
    log.write_text(SUMMARY.replace("527740394", "soon"))
    assert "row 17: Min latency (ns) is 'soon', expected a number" in error(ProfileMlperfInference(path=str(log)))
    log.write_text(SUMMARY.replace("527740394", "-5"))
    assert "row 17: Min latency (ns) is '-5'" in error(ProfileMlperfInference(path=str(log)))
    log.write_text("hello: 5\n")
    assert "not a log summary of MLPerf inference" in error(ProfileMlperfInference(path=str(log)))
    log.write_text(SUMMARY)
    (tmp_path / "Acme/big/system.json").write_text(json.dumps(SYSTEM | {"number_of_nodes": "many"}))
    assert "system.json: number_of_nodes is 'many', expected a number" in error(ProfileMlperfInference(path=str(log)))
    (tmp_path / "Acme/big/system.json").unlink()
    assert "nothing describes its system" in error(ProfileMlperfInference(path=str(log)))
    assert "expected a folder with mlperf_log_summary.txt" in error(ProfileMlperfInference(path=str(tmp_path / "no")))


def test_a_log_of_training(tmp_path: Path) -> None:
    log = submission(tmp_path, TRAINING, "result_0.txt")
    table = ProfileMlperfTraining(path=str(tmp_path)).read()
    frame = table.frame
    assert frame["metric"].tolist() == [
        "time to train", "time to initialise", "evaluation at the end", "throughput, median",
    ]  # fmt: skip
    assert frame["value"].tolist() == [1773.263, 60.5, 0.92, 2.5]
    assert table.rows.tolist() == [11, 5, 10, 8]
    assert set(frame["setting"]) == {"global batch 8, result_0, Acme big, NVIDIA H100-NVL-94GB, vLLM"}
    submission(tmp_path, TRAINING.replace("success", "aborted"), "result_1.txt")
    table = ProfileMlperfTraining(path=str(tmp_path)).read()
    assert len(table) == 4 and [each.count for each in table.dropped] == [1]
    for given, said in (
        ("1834764", "row 11: time_ms is -1, expected 61501 or more"),
        ('"key": "run_stop"', "row 11: the line is ':::MLLOG {"),
        ("run_start", "run_start is missing"),
        ('"throughput": 3.0', "row 8: throughput is"),
    ):
        damaged = {"1834764": "-1", "run_start": "start", '"throughput": 3.0': '"throughput": "fast"'}.get(given, "")
        log.write_text(TRAINING.replace(given, damaged))
        assert said in error(ProfileMlperfTraining(path=str(log)))
    log.write_text("nothing of it\n")
    assert "expected lines with :::MLLOG" in error(ProfileMlperfTraining(path=str(log)))


def test_a_summary_of_results(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    header = "Organization,Platform,Model,Scenario,Result,number_of_nodes,accelerator_model_name,accelerators_per_node,framework,Units\n"  # fmt: skip  # noqa: E501
    path.write_text(header + 'A,p,gptj-99,Server,10,2,"NVIDIA L40S",4,vLLM,Queries/s\nA,p,bert-99,SingleStream,3,1,,,,Latency (ms)\n')  # fmt: skip  # noqa: E501
    frame = ProfileMlperfSummary(path=str(path)).read().frame
    assert frame["unit"].tolist() == ["tokens/s", "s"] and frame["value"].tolist() == [10.0, 0.003]
    assert frame["gpu"].tolist() == ["L40S", ""] and frame["gpus"].tolist() == [8.0, 0.0]
    path.write_text(header + "A,p,gptj-99,Server,10,2,L40S,4,vLLM,Furlongs\n")
    assert "row 2: Units is 'Furlongs'" in error(ProfileMlperfSummary(path=str(path)))


#: A file's columns of times -> factor to seconds, by hand.
SHAPES = {"latency(ns)": 1e-9, "mean_ns": 1e-9, "time_us": 1e-6, "time_stats.attn_prefill.mean": 1e-3}


def test_llmservingsim_in_all(shared_traces: Path) -> None:
    files = manifest(shared_traces, "gpu_profiles/llmservingsim/")
    assert len(files) == 12
    for path, rows in files.items():
        frame = ProfileLlmservingsim(path=str(path)).read().frame
        known = records(path)
        assert len(frame) == len(known) == rows
        column = next(name for name in SHAPES if name in known[0])
        decode = "time_stats.attn_decode.mean"
        wanted = sum(float(r[column] or 0) + float(r.get(decode) or 0) for r in known) * SHAPES[column]
        assert frame["value"].sum() == pytest.approx(wanted)
        folders = path.relative_to(shared_traces / "gpu_profiles/llmservingsim").parts
        assert set(frame["gpu"]) == {folders[0]} and set(frame["model"]) == {"/".join(folders[1:3])}
        assert set(frame["gpus"]) == {float(folders[-2].removeprefix("tp"))}
    # by eye: the first lines of two files
    layers = ProfileLlmservingsim(str(shared_traces)).read().frame.iloc[1]
    assert (layers["metric"], layers["setting"]) == ("input_layernorm", "input 1, kv_cache 0")
    assert layers["value"] == pytest.approx(17_701e-9)
    qwen = ProfileLlmservingsim(
        str(shared_traces), gpu="RTXPRO6000", model="Qwen/Qwen3-32B", variant="bf16/tp2", table_name="per_sequence"
    ).read()
    first = qwen.frame.iloc[0]
    assert (first["metric"], first["setting"]) == ("lm_head", "sequences 1, bf16/tp2")
    assert first["value"] == pytest.approx(536.895e-6)


def test_llmservingsims_shapes(tmp_path: Path) -> None:
    folder = tmp_path / "B200/meta-llama/Llama-9-1B/fp8/tp2"
    folder.mkdir(parents=True)
    path = folder / "dense.csv"
    path.write_text("layer,tokens,time_us\nqkv_proj,1,4.5\nqkv_proj,2,nan\n")
    table = ProfileLlmservingsim(path=str(path)).read()
    row = table.frame.iloc[0].to_dict()
    assert row["value"] == pytest.approx(4.5e-6)
    assert (row["gpu"], row["model"], row["gpus"]) == ("B200", "meta-llama/Llama-9-1B", 2.0)
    assert [(each.reason, each.count, each.row) for each in table.dropped] == [("no time", 1, 3)]
    path.write_text("layer,tokens\nqkv_proj,1\n")
    assert "row 1: no column of times" in error(ProfileLlmservingsim(path=str(path)))
    path.write_text("layer,time_us\nqkv_proj,1\n")
    assert "row 1: no column of sizes" in error(ProfileLlmservingsim(path=str(path)))
    path.write_text("layer,tokens,time_us\nqkv_proj,1,fast\n")
    assert "row 2: time_us is 'fast', expected a number" in error(ProfileLlmservingsim(path=str(path)))
    elsewhere = tmp_path / "dense.csv"
    elsewhere.write_text("layer,tokens,time_us\nqkv_proj,1,4.5\n")
    assert "trace.gpu is not given" in error(ProfileLlmservingsim(path=str(elsewhere)))
    named = ProfileLlmservingsim(path=str(elsewhere), gpu="T4", model="m", variant="half")
    assert "trace.variant is 'half', expected a name that ends in tp" in error(named)


def test_vidurs_collectives_in_all(shared_traces: Path) -> None:
    files = manifest(shared_traces, "gpu_profiles/vidur/network/")
    assert len(files) == 9
    for path, rows in files.items():
        frame = ProfileVidurNetwork(str(shared_traces), cluster=path.parent.name, collective=path.stem).read().frame
        assert frame.equals(ProfileVidurNetwork(path=str(path)).read().frame)
        known = records(path)
        assert len(frame) == len(known) == rows
        assert frame["value"].tolist() == [float(r[f"time_stats.{path.stem}.mean"]) / 1e3 for r in known]
        assert frame["gpus"].tolist() == [float(r["num_workers"]) for r in known]
        sizes = frame["setting"].str.extract(r"^(\d+) bytes")[0].astype(int)
        assert sizes.tolist() == [int(r["size"]) for r in known]
    # the longest all-reduce of 8 A100s takes longer than that of 8 H100s; and a published pair is one file
    slowest = {
        gpu: ProfileVidurNetwork(str(shared_traces), cluster=f"{gpu}_dgx")
        .read()
        .frame.query("gpus == 8")["value"]
        .max()
        for gpu in ("a100", "h100")
    }
    assert slowest["a100"] > slowest["h100"]
    pair = [
        ProfileVidurNetwork(str(shared_traces), cluster=f"{gpu}_pairwise_nvlink", collective="send_recv").read().frame
        for gpu in ("a100", "h100")
    ]
    assert pair[0].drop(columns="gpu").equals(pair[1].drop(columns="gpu"))


def test_vidurs_layers_are_found_compressed(shared_traces: Path) -> None:
    frame = ProfileVidur(str(shared_traces), gpu="a100", model="meta-llama/Meta-Llama-3-8B").read().frame
    assert frame["metric"].eq("emb").sum() == 1824


def test_a_collective(tmp_path: Path) -> None:
    folder = tmp_path / "h200_dgx"
    folder.mkdir()
    path = folder / "x.csv"
    path.write_text(",time_stats.send_recv.mean,num_workers,size,devices_per_node\n0,0.5,2,2048,1\n")
    row = ProfileVidurNetwork(path=str(path)).read().frame.iloc[0].to_dict()
    assert row == {
        "model": "", "gpu": "H200", "gpus": 2.0, "setting": "2048 bytes, 1 a node, dgx", "metric": "send_recv",
        "value": 0.0005, "unit": "s",
    }  # fmt: skip
    path.write_text(",time_stats.send_recv.mean,num_workers,size,devices_per_node\n0,0.5,2,big,1\n")
    assert "row 2: size is 'big', expected a number" in error(ProfileVidurNetwork(path=str(path)))
    path.write_text("size\n1\n")
    assert "trace.collective is not given" in error(ProfileVidurNetwork(path=str(path)))
    assert "no collective 'x'; known: all_reduce, send_recv" in error(ProfileVidurNetwork("d", collective="x"))


def test_sias_training_runs_in_all(shared_traces: Path) -> None:
    files = {path: n for path, n in manifest(shared_traces, "gpu_profiles/sia/").items() if "validation" in path.name}
    assert len(files) == 46
    for path, rows in files.items():
        known = records(path)
        frame = ProfileSiaValidation(path=str(path)).read().frame
        assert len(known) == rows and len(frame) == 3 * rows
        for metric, column in (("validation metric", "metric"), ("squared gradient", "grad_sqr"), ("gradient variance", "grad_var")):  # fmt: skip  # noqa: E501
            assert frame[frame["metric"] == metric]["value"].tolist() == [float(r[column]) for r in known]
    first = make(
        "profile_sia:ProfileSiaValidation", {"data_dir": str(shared_traces), "model": "bert", "batch": 12}
    ).read()
    assert first.frame["setting"].tolist()[:2] == [
        "batch 12, progress 7387, iteration 7387", "batch 12, progress 14774, iteration 14774",
    ]  # fmt: skip


def test_a_training_run(tmp_path: Path) -> None:
    path = tmp_path / "validation-64.csv"
    path.write_text("progress,iteration,metric,grad_sqr,grad_var\n2069.5,2069,25.5,17.0,14.0\n")
    frame = ProfileSiaValidation(path=str(path), model="mine").read().frame
    assert frame["value"].tolist() == [25.5, 17.0, 14.0]
    assert set(frame["setting"]) == {"batch 64, progress 2069.5, iteration 2069"}
    assert "trace.model is not given" in error(ProfileSiaValidation(path=str(path)))
    path.write_text("progress,iteration,metric,grad_sqr\n1,1,1,1\n")
    assert "column 'grad_var' is missing" in error(ProfileSiaValidation(path=str(path), model="mine"))
