"""Pods, machines and requests against their files, read a second way."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from hcsim import Experiment, InputError, Jobs, Perf
from hcsim.strategies.first_fit import FirstFit
from hcsim.traces._fleets import to_fleet
from hcsim.traces._table import Source
from hcsim.traces.alibaba_dlrm import AlibabaDlrm
from hcsim.traces.alibaba_genai import AlibabaGenai
from hcsim.traces.alibaba_spot_nodes import AlibabaSpotNodes
from hcsim.traces.azure_llm import AzureLlm
from hcsim.traces.burstgpt import Burstgpt
from hcsim.traces.mooncake import Mooncake
from hcsim.traces.openb import Openb, OpenbDemands, OpenbNodes
from hcsim.traces.pai_machines import PaiMachines
from hcsim.traces.servegen import Servegen
from hcsim.traces.vidur import Vidur


def records(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "variant",
    [
        "default",
        "cpu050",
        "cpu100",
        *(f"gpushare{k}0" for k in (2, 4, 6, 8)),
        *(f"gpuspec{k}" for k in ("05", 10, 20, 25)),
    ],
)
def test_openb(shared_traces: Path, variant: str) -> None:
    rows = records(shared_traces / f"gpu_sharing/openb_2023/openb_pod_list_{variant}.csv")
    table = Openb(str(shared_traces), variant=variant).read()
    ran = [r for r in rows if int(r["num_gpu"]) and r["scheduled_time"]]
    assert len(table) == len(ran)
    assert len(table) + sum(each.count for each in table.dropped) == len(rows)
    assert table.frame["duration_s"].sum() == sum(float(r["deletion_time"]) - float(r["scheduled_time"]) for r in ran)
    assert table.frame["gpu_milli"].sum() == sum(int(r["gpu_milli"]) for r in ran)
    other = {"V100M16": "V100", "V100M32": "V100-32GB"}
    wanted = ["|".join(other.get(name, name) for name in r["gpu_spec"].split("|")) for r in ran]
    assert table.frame["gpu_type"].tolist() == wanted
    assert any(wanted) == variant.startswith("gpuspec")


@pytest.mark.parametrize("variant", ["multigpu20", "multigpu30", "multigpu40", "default"])
def test_openbs_demands(shared_traces: Path, variant: str) -> None:
    rows = records(shared_traces / f"gpu_sharing/openb_2023/openb_pod_list_{variant}.csv")
    table = OpenbDemands(str(shared_traces), variant=variant).read()
    frame = table.frame
    assert not table.told and table.kind == "demands"
    for column, name, factor in (("gpus", "num_gpu", 1), ("gpu_milli", "gpu_milli", 1), ("cpus", "cpu_milli", 1e-3)):
        assert frame[column].tolist() == pytest.approx([int(r[name]) * factor for r in rows])
    assert frame["ram_bytes"].sum() == sum(int(r["memory_mib"]) for r in rows) * 2**20
    if variant == "default":  # the README's figures
        asks = frame[frame["gpus"] > 0]
        assert (len(frame), len(asks)) == (8_152, 7_064)
        assert ((asks["gpu_milli"] < 1000).sum(), (asks["gpus"] > 1).sum()) == (3_078, 75)
        return
    # its name says what share of the GPUs are asked for by pods with several
    asked = frame["gpus"] * frame["gpu_milli"] / 1000
    share = asked[frame["gpus"] > 1].sum() / asked.sum()
    assert share == pytest.approx(int(variant[-2:]) / 100, abs=0.005)


def test_openbs_default_is_what_its_readme_says(shared_traces: Path) -> None:
    table = Openb(str(shared_traces)).read()
    assert [(each.reason, each.count) for each in table.dropped] == [
        ("asks for no GPU", 1088),
        ("was never scheduled", 861),  # of the 897 pending ones, 36 ask for no GPU
    ]
    jobs = Openb(str(shared_traces)).jobs(0)
    assert isinstance(jobs, Jobs) and len(jobs) == 6203 and jobs.gpu_milli.min() > 0
    rows = records(shared_traces / "gpu_sharing/openb_2023/openb_pod_list_default.csv")
    phases = [r["pod_phase"] for r in rows]
    assert (phases.count("Pending"), phases.count("Failed")) == (897, 1_870)
    assert sum(not r["scheduled_time"] for r in rows) == 897
    assert np.median([int(r["deletion_time"]) - int(r["creation_time"]) for r in rows]) == 540
    ran = Openb(str(shared_traces)).read().frame
    assert ran["status"].value_counts()["Failed"] == 1_869  # the other has no GPU
    assert 149 < ran["arrival_s"].max() / 86_400 < 150
    with pytest.raises(InputError, match="openb:OpenbDemands reads it"):
        Openb(str(shared_traces), variant="multigpu20").read()


def test_machines(shared_traces: Path) -> None:
    nodes = OpenbNodes(str(shared_traces)).read().frame
    assert (len(nodes), nodes["gpus"].sum()) == (1213, 6212)
    assert len(OpenbNodes(str(shared_traces), cpu_nodes=True).read()) == 1213 + 310
    spot = AlibabaSpotNodes(str(shared_traces)).read().frame
    assert len(spot) == 4278
    assert spot.groupby("gpu")["gpus"].sum().to_dict() == {
        "A10": 2494,
        "A100": 3456,
        "A800": 176,
        "H800": 1752,
        "GPU-series-1": 1558,
        "GPU-series-2": 976,
    }
    pai = PaiMachines(str(shared_traces)).read().frame
    assert len(pai) == 1897 and (pai["gpus"] == 0).sum() == 83
    by_type = pai.groupby("gpu")["gpus"].sum().to_dict()
    assert by_type == {"": 0, "MISC": 2240, "P100": 1596, "V100-32GB": 1080, "T4": 994, "V100": 832}


def test_a_fleet_of_real_machines_runs_jobs(shared_traces: Path) -> None:
    table = OpenbNodes(str(shared_traces)).read()
    fleet = to_fleet(table, "openb", {"T4": 0.35})
    assert fleet.gpus == 6212 and fleet.nodes == 1213
    assert {pool.usd_per_gpu_h for pool in fleet.pools if pool.gpu == "T4"} == {0.35}
    pods = Openb(str(shared_traces), limit=300)
    speed = dict.fromkeys({pool.gpu for pool in fleet.pools}, 1.0)
    summary = Experiment(fleet, pods, FirstFit(), perf=Perf(speed=speed)).run().summary
    assert summary["jobs_finished"] == 300 and summary["refusals"] == 0
    with pytest.raises(InputError, match="a table of jobs, expected nodes"):
        to_fleet(pods.read(), "x")


def test_alibaba_dlrm(shared_traces: Path) -> None:
    rows = records(shared_traces / "gpu_sharing/alibaba_2025_dlrm/disaggregated_DLRM_trace.csv.gz")
    table = AlibabaDlrm(str(shared_traces)).read()
    assert len(rows) == 23_871
    assert len(table) == sum(r["role"] == "HN" for r in rows) == 7_386
    assert table.dropped[0].count == 16_485
    hosts = [r for r in rows if r["role"] == "HN"]
    assert len({r["app_name"] for r in rows}) == 156 and sum(not r["creation_time"] for r in rows) == 7_280
    assert table.frame["arrival_s"].tolist() == [float(r["creation_time"] or 0) for r in hosts]
    end = 31 * 86_400
    ran = [float(r["deletion_time"] or end) - float(r["scheduled_time"] or 0) for r in hosts]
    assert table.frame["duration_s"].tolist() == ran
    assert (table.frame["duration_s"] == 0).sum() == 16 and "16 jobs were deleted as they were scheduled" in table.told
    waited = [float(r["scheduled_time"]) - float(r["creation_time"]) for r in hosts if r["scheduled_time"]]
    assert max(waited) / 3600 == pytest.approx(66, abs=0.1)  # which is not run time
    assert (table.frame["arrival_s"] + table.frame["duration_s"]).max() <= end


def test_azure_llm(shared_traces: Path) -> None:
    rows = records(shared_traces / "llm_requests/azure_llm_2023/AzureLLMInferenceTrace_conv.csv")
    frame = AzureLlm(str(shared_traces)).read().frame
    assert len(frame) == len(rows) == 19_366
    assert frame["prompt_tokens"].sum() == sum(int(r["ContextTokens"]) for r in rows)
    assert frame["output_tokens"].sum() == sum(int(r["GeneratedTokens"]) for r in rows)
    first, last = (datetime.fromisoformat(rows[i]["TIMESTAMP"][:26]) for i in (0, -1))
    assert frame["arrival_s"].iloc[-1] == pytest.approx((last - first).total_seconds(), abs=1e-5)


def test_mooncake(shared_traces: Path) -> None:
    with gzip.open(shared_traces / "llm_requests/mooncake_fast25/conversation_trace.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    frame = Mooncake(str(shared_traces)).read().frame
    assert len(frame) == len(lines) == 12_031
    assert frame["arrival_s"].tolist() == [line["timestamp"] / 1e3 for line in lines]
    for i in range(0, len(lines), 1201):
        assert list(frame["hash_ids"].iloc[i]) == lines[i]["hash_ids"]


@pytest.mark.parametrize(("sample", "count"), [("splitwise_conv", 19_366), ("arxiv", 28_257), ("sharegpt", 30_731)])
def test_vidur(shared_traces: Path, sample: str, count: int) -> None:
    frame = Vidur(str(shared_traces), sample=sample).read().frame
    assert len(frame) == count
    assert frame["arrival_s"].isna().all() == (sample != "splitwise_conv")


def test_vidur_and_azure_are_the_same_requests(shared_traces: Path) -> None:
    a, b = AzureLlm(str(shared_traces)).read().frame, Vidur(str(shared_traces)).read().frame
    assert a["prompt_tokens"].tolist() == b["prompt_tokens"].tolist()
    assert a["arrival_s"].to_numpy() == pytest.approx(b["arrival_s"].to_numpy(), abs=1e-3)


def test_alibaba_genai(shared_traces: Path) -> None:
    rows = records(shared_traces / "llm_requests/alibaba_2026_genai/lora_request_trace.csv.gz")
    frame = AlibabaGenai(str(shared_traces)).read().frame
    assert len(frame) == len(rows) == 26_823
    assert frame["service_s"].sum() == pytest.approx(sum(float(r["exec_time_seconds"] or 0) for r in rows))


def test_servegen_draws_at_the_published_rates(shared_traces: Path) -> None:
    for model in ("language/m-small", "reason/deepseek-r1"):
        a = Servegen(str(shared_traces), model=model, hours=1.0, seed=1).read().frame
        b = Servegen(str(shared_traces), model=model, hours=1.0, seed=1).read().frame
        assert a.equals(b)
        assert not a.equals(Servegen(str(shared_traces), model=model, hours=1.0, seed=2).read().frame)
        wanted = 0.0
        folder = shared_traces / "llm_requests/servegen" / model
        busy = set()
        for path in folder.glob("chunk-*-trace.csv"):
            with path.open() as file:
                mine = sum(float(row[1]) * 600 for row in csv.reader(file) if float(row[0]) < 3600)
            wanted += mine
            if mine >= 5:
                busy.add(path.name.split("-")[1])
        assert len(a) == pytest.approx(wanted, rel=0.05)
        assert busy <= set(a["client"]) and {"31", "36"} & busy == (
            {"31", "36"} if model == "language/m-small" else set()
        )
        assert (np.diff(a["arrival_s"]) >= 0).all() and a["arrival_s"].max() < 3600
    assert "expected a folder" in error(Servegen(path=str(shared_traces)))


def error(source: Source) -> str:
    with pytest.raises(InputError) as said:
        source.read()
    assert "\n" not in str(said.value)
    return str(said.value)


def test_burstgpt_by_its_documentation(tmp_path: Path) -> None:
    path = tmp_path / "BurstGPT_1.csv"
    path.write_text(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,0,1087,Conversation log\n"
        "118,GPT-4,417,276,693,API log\n"
    )
    table = Burstgpt(path=str(path)).read()
    assert table.frame["arrival_s"].tolist() == [5.0, 118.0]
    assert table.frame["model"].tolist() == ["ChatGPT", "GPT-4"]
    assert table.told == "1 rows left out: failed: no response tokens (first: row 3)"
    assert len(Burstgpt(path=str(path), failures=True).read()) == 3


def test_bad_requests_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    good = '{"timestamp": 0, "input_length": 5, "output_length": 7, "hash_ids": [1]}\n'
    for text, said in (
        (good + "{not json}\n", "row 2"),
        (good + '{"timestamp": 1, "input_length": 5, "hash_ids": [1]}\n', "row 2: output_length is empty"),
        (good + good.replace("5,", '"five",'), "row 2"),
        (good.replace("7", "-7"), "row 1: output_tokens is -7, expected at least 0"),
    ):
        path.write_text(text)
        assert said in error(Mooncake(path=str(path)))
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,x\n")
    assert "row 2: GeneratedTokens is 'x', expected a whole number" in error(AzureLlm(path=str(path)))
    path.write_text("not a tar")
    assert "holds no pai_machine_spec.csv" in error(PaiMachines(path=str(path)))
