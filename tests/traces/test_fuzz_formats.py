# ruff: noqa: E501 (rows of files stand as they are)
"""Damaged files, as in test_fuzz, of the sources whose files need others beside them, a name, or an archive."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcsim import InputError
from hcsim.traces._table import Source, Table
from hcsim.traces.alibaba_genai import AlibabaGenai, AlibabaGenaiMetrics, AlibabaGenaiProcessed
from hcsim.traces.ec2_instances import Ec2Instances
from hcsim.traces.gcp_pricing_yml import GcpEgress, GcpMachines, GcpPricingYml
from hcsim.traces.gpu_offerings import GpuOfferings
from hcsim.traces.profile_llmservingsim import ProfileLlmservingsim
from hcsim.traces.profile_mlperf import ProfileMlperfInference, ProfileMlperfSummary, ProfileMlperfTraining
from hcsim.traces.profile_sia import ProfileSiaValidation
from hcsim.traces.profile_vidur import ProfileVidurNetwork
from hcsim.traces.training_on_a_dime import DimeAzure, DimeProbes, DimeSpinUpPrices, DimeSpinUps
from tests.traces.test_fuzz import damaged

SYSTEM = (
    '{"submitter": "A", "number_of_nodes": "2", "accelerators_per_node": 8, "accelerator_model_name": "NVIDIA L40S"}'
)
YML = "about:\n  timestamp: 1767242268\ncompute:\n  instance:\n    a2-highgpu-1g:\n      a100: 1\n      cost:\n        asia-east1:\n          hour: 4\n          month_1y: 1460\n      cpu: 12\n  network:\n    traffic:\n      egress:\n        internet:\n          cost:\n            0-1:\n              asia-east1:\n                month: 0.12\n              us-east1:\n                month: 0.11\n"
SPIN_UP = "Zone: us-west1-b, GPU type: nvidia-tesla-v100, Number of GPUs: 1, Price per hour: $0.851\nZone: us-west1-b, GPU type: nvidia-tesla-k80, Number of GPUs: 8, Price per hour: $1.242\n"
SPUN_UP = "2020-02-26T17_03_53.000Z.out"


@dataclass(frozen=True)
class Sample:
    """A few good rows of a file, what it is called, the parameters that it needs, and what lies beside it."""

    text: str
    name: str = "file"
    parameters: dict[str, object] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)


GOOD: dict[type[Source], Sample] = {
    ProfileMlperfInference: Sample("Scenario : Server\nMode     : PerformanceOnly\nCompleted tokens per second: 2520.27\nResult is : VALID\nMin latency (ns)                : 527740394\n99.00 percentile first token latency (ns)   : 785265884\nTest Parameters Used\ntarget_qps : 8.6\n", parameters={"model": "m"}, beside={"system.json": SYSTEM}),
    ProfileMlperfTraining: Sample("noise\n" + "".join(f':::MLLOG {{"key": "{key}", "value": {value}, "time_ms": {ms}, "metadata": {{"status": "success"}}}}\n' for key, value, ms in (("submission_benchmark", '"gpt3"', 5), ("run_start", "null", 1000), ("tracked_stats", '{"throughput": 2.5}', 1500), ("eval_accuracy", "0.9", 2000), ("run_stop", "null", 9000))), beside={"system.json": SYSTEM}),
    ProfileMlperfSummary: Sample("Organization,Platform,Model,Scenario,Result,number_of_nodes,accelerator_model_name,accelerators_per_node,framework,Units\nA,p,gptj-99,Server,10,2,NVIDIA L40S,4,vLLM,Queries/s\nA,p,bert-99,Offline,3,1,,,,Samples/s\n"),
    ProfileLlmservingsim: Sample("layer_name,input,kv_cache,tp_size,latency(ns)\nembedding,1,0,1,2920\nq_proj,1,0,1,46242\n", parameters={"gpu": "H100", "model": "m", "variant": "tp1"}),
    ProfileVidurNetwork: Sample(",time_stats.send_recv.mean,rank,num_workers,size,devices_per_node\n0,0.0346,0,2,2048,1\n1,0.0373,0,2,10240,1\n", parameters={"cluster": "a100_dgx"}),
    ProfileSiaValidation: Sample("progress,iteration,metric,grad_sqr,grad_var\n2069.0,2069,25.4,1764298.2,143227.1\n4138.0,4138,23.2,2697.2,40474.7\n", parameters={"model": "m", "batch": 8}),
    GpuOfferings: Sample(json.dumps([{"id": "x", "provider_id": "p", "gpu_model": "NVIDIA A100", "vram_gb": 40, "tier": "spot", "is_spot": spot, "price_usd_hour": 1.5, "collected_at": "2026-05-24"} for spot in (True, False)])),
    Ec2Instances: Sample('[{"instance_type": "p3.2xlarge", "GPU": 1, "pricing": {"us-east-1": {"ebs": "0.05", "linux": {"ondemand": "3.06", "reserved": {"yrTerm3Convertible.noUpfront": "1.795"}}}}}]'),
    GcpPricingYml: Sample(YML),
    GcpEgress: Sample(YML),
    GcpMachines: Sample("NAME;CPUS;SHARED_CPU;MEMORY_GB;DEPRECATED;ZONE\na2-highgpu-8g;96;False;680.00;;us-west1-b\nf1-micro;1;True;0.60;;us-west1-b\n"),
    DimeAzure: Sample("Date,NC6,NC24s v3\n2/24/2020,$0.25,\n2/25/2020,$0.50,$2.5\n", "us_east.csv", beside={"instance_mapping.csv": "Instance,GPU type,# GPUs\nNC6,K80,1\nNC24s v3,V100,4\n"}),
    DimeProbes: Sample("[2020-03-15T10:00:00.000Z] Created instance i-0a with 1 GPU(s) of type v100 in zone us-east-1b\n[2020-03-15T10:01:30.000Z] Instance with 1 GPU(s) of type v100 creation failed\n[2020-03-15T10:11:01.000Z] Instance i-0a not running in zone us-east-1b\n[2020-03-15T10:11:02.000Z] Successfully deleted instance i-0a\n"),
    DimeSpinUps: Sample(SPIN_UP, SPUN_UP),
    DimeSpinUpPrices: Sample(SPIN_UP, SPUN_UP),
    AlibabaGenai: Sample("gmt_create,groupId,checkpoint_model_version_id,exec_time_seconds,prompt_length\n2024-11-15 00:00:00,g,m,32.0,63.0\n2024-11-15 01:00:00,g,m,3.0,\n"),
    AlibabaGenaiMetrics: Sample("timestamp_anon,value,container_ip,request_type\n1662859176.0,0.09,,API Requests\n1662859233.0,0.09,ab,API Requests\n", "qps.csv"),
    AlibabaGenaiProcessed: Sample("exec_time_seconds,prompt_length,checkpoint_model_version_id\n22.0,54.0,m\n18.0,,\n"),
}  # fmt: skip


def placed(cls: type[Source], folder: Path) -> tuple[Source, Path]:
    """A source, and where its file is to lie."""
    sample = GOOD[cls]
    for name, text in sample.beside.items():
        (folder / name).write_text(text)
    path = folder / sample.name
    return cls(path=str(path), **sample.parameters), path  # type: ignore[arg-type]


def read_or_refused(source: Source, path: Path) -> None:
    try:
        assert isinstance(source.read(), Table)
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)


@pytest.mark.parametrize("cls", GOOD, ids=lambda cls: cls.__name__)
def test_the_samples_are_good(cls: type[Source], tmp_path: Path) -> None:
    source, path = placed(cls, tmp_path)
    path.write_text(GOOD[cls].text)
    table = source.read()
    assert len(table) >= 2 and table.kind == cls.kind
    path.write_bytes(gzip.compress(GOOD[cls].text.encode()))
    assert source.read().frame.equals(table.frame)


@pytest.mark.parametrize("cls", GOOD, ids=lambda cls: cls.__name__)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_read_or_refused_in_one_line(cls: type[Source], tmp_path: Path, data: st.DataObject) -> None:
    source, path = placed(cls, tmp_path)
    path.write_bytes(data.draw(damaged(GOOD[cls].text)))
    read_or_refused(source, path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_archive_is_read_or_refused_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    text, packed = GOOD[AlibabaGenaiMetrics].text.encode(), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("._qps.csv", "qps.csv"):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    raw = bytearray(packed.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, 3000))] = data.draw(st.integers(0, 255))
    path = tmp_path / "qps.tar.gz"
    whole = gzip.compress(bytes(raw[: data.draw(st.sampled_from([len(raw), 1024, 1500, 2048]))]))
    path.write_bytes(whole[: data.draw(st.sampled_from([len(whole), len(whole) // 2]))])
    read_or_refused(AlibabaGenaiMetrics(path=str(path)), path)
