# ruff: noqa: E501 (rows of files stand as they are)
"""Damaged files: a source reads them, or refuses them in one line; it never ends in a traceback."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcsim import InputError
from hcsim.traces._table import Source, Table
from hcsim.traces.acme import Acme
from hcsim.traces.alibaba_dlrm import AlibabaDlrm
from hcsim.traces.aws_price_history import AwsPriceHistory
from hcsim.traces.azure_llm import AzureLlm
from hcsim.traces.bamboo import Bamboo
from hcsim.traces.burstgpt import Burstgpt
from hcsim.traces.carbon_regions import CarbonGsf
from hcsim.traces.chronus import Chronus, ChronusModels
from hcsim.traces.cloud_incidents import ServiceOutages
from hcsim.traces.gaia import Gaia
from hcsim.traces.gpu_prices import AwsP5, GpuPrices
from hcsim.traces.helios_earth import HeliosCapacity, HeliosSummary, PhillyNodes
from hcsim.traces.itp import Itp
from hcsim.traces.lucid_venus import LucidVenusNodes
from hcsim.traces.mooncake import Mooncake
from hcsim.traces.openb import Openb, OpenbDemands, OpenbNodes
from hcsim.traces.philly import Philly
from hcsim.traces.profile_zeus import ProfileZeusTrain
from hcsim.traces.shockwave import Shockwave
from hcsim.traces.sia import Sia
from hcsim.traces.skyplane import SkyplaneCost, SkyplaneRtt, SkyplaneThroughput
from hcsim.traces.spot_skypilot import SpotSkypilot
from hcsim.traces.spot_strategy import SpotStrategy
from hcsim.traces.swf import Swf
from hcsim.traces.titan import Titan, TitanGpus, TitanLifetimes

#: Source -> (parameters, a few good rows).
GOOD: dict[type[Source], tuple[dict[str, object], str]] = {
    Philly: ({}, "timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-09 07:01:55,66.0,1,66.0,vc1\n2017-10-09 06:13:03,2951.0,2,5902.0,vc2\n"),
    Itp: ({}, "job_id,submission_time,duration,num_gpu\na,1932025,2429,64\nb,2000581,1532,1\n"),
    Gaia: ({}, "arrival_time,length,cpus\n0.0,0.75,4\n1.5,19.08,4\n"),
    Acme: ({}, "job_id,arrival_time,num_iteration,iteration_computing_time,gpu_workers,gpu_per_worker,cpu_per_gpu_worker\n0,0.0,208,0.5,8,8.0,15.0\n1,313.0,156,0.5,8,8.0,15.0\n"),
    Chronus: ({}, "job_id,user,num_gpu,submit_time,iterations,model_name,duration,expect_time_list,best_effort\n0,vc,4,12198,6910,resnet,211,282,0\n1,vc,0,12199,5,vgg,9,,1\n"),
    Shockwave: ({}, "LM\tpython3\tlm\t--steps\t1\t134583\t1\tgns\t1\t-1.0\t1418\t0\nLM\tpython3\tlm\t--steps\t1\t134\t2\tgns\t1\t-1.0\t14\t5\n"),
    Sia: ({}, "name,time,application,num_replicas,batch_size\nbert-0,775.6,bert,12,384\ncifar-1,960,cifar10,6,2048\n"),
    Swf: ({}, "; head\n1 0 -1 60 4 -1 -1 4 100 -1 1 7 1 1 1 1 -1 -1\n2 5 -1 60 4 -1 -1 4 100 -1 1 7 1 1 1 1 -1 -1\n"),
    Openb: ({}, "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\np0,12000,16384,1,1000,,LS,Running,0,12537496,0\np1,6000,12288,1,460,V100|T4,LS,Running,4,129,\n"),
    OpenbNodes: ({}, "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\nn1,64000,262144,0,\n"),
    AzureLlm: ({}, "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109"),
    Mooncake: ({}, '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n{"timestamp": 9, "input_length": 7, "output_length": 5, "hash_ids": []}\n'),
    Burstgpt: ({}, "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,API log\n6,GPT-4,4,0,4,API log\n"),
    SpotSkypilot: ({}, '{"metadata": {"gap_seconds": 32}, "data": [0, 1, 1, 0], "prices": [0.5, 0.5, 0.6, 0.5]}'),
    SpotStrategy: ({"polarity": "failed"}, "0,2022-10-26T22:05:04.000Z,1\n1,2022-10-26T22:15:04.000Z,0\n"),
    AwsPriceHistory: ({}, "euw3-az2\tg4dn.4xlarge\tLinux/UNIX\t0.4664\t2022-05-31T18:20:41+00:00\neuw3-az2\tg4dn.4xlarge\tRed Hat\t0.5\t2022-05-31T18:20:41+00:00\n"),
    AlibabaDlrm: ({}, "instance_sn,role,app_name,cpu_request,gpu_request,memory_request,creation_time,scheduled_time,deletion_time\ni0,HN,a,12,1,120.0,,,\ni1,HN,a,12,1,120.0,5.0,7.0,9.0\ni2,CN,a,12,0,120.0,,,\n"),
    OpenbDemands: ({}, "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np0,12000,16384,1,1000\np1,6000,12288,0,0\n"),
    ChronusModels: ({}, '{"alexnet": {"2": {"1": 1.0, "2": 0.745}}}'),
    HeliosCapacity: ({}, "date,vca,vcb,total\n2020-04-01,112,8,120\n2020-04-02,112,0,112\n"),
    PhillyNodes: ({}, "time,active,total\n2017-10-03 00:00:00,312,420\n2017-10-03 00:01:00,309,420\n"),
    HeliosSummary: ({}, "id,gpu_num,gpu_job_num,avg_run_time_gpu,fail_rate\nVenus,1022,125303,13040.6,0.12\nEarth,997,427148,5130.6,\n"),
    LucidVenusNodes: ({}, ",num\nvcEwI,9\nvcWoR,5\n"),
    SkyplaneThroughput: ({}, "src_region,src_tier,dst_region,dst_tier,throughput_received\naws:eu-west-3,PREMIUM,gcp:europe-west6-a,STANDARD,4.7e9\ngcp:a-b1-a,,gcp:a-b2-b,,5e8\n"),
    SkyplaneRtt: ({}, "src_region,src_tier,dst_region,dst_tier,avg_rtt\naws:eu-west-3,PREMIUM,gcp:europe-west6-a,STANDARD,105.9\naws:eu-west-3,PREMIUM,gcp:europe-west6-a,PREMIUM,15.9\n"),
    SkyplaneCost: ({}, "src,dest,cost\naws:us-east-2,azure:eastus,0.09\naws:us-east-2,gcp:us-east1-b,0.09\n"),
    CarbonGsf: ({}, "year,cloud-provider,cloud-region,em-zone-id,provider-cfe-annual,power-usage-effectiveness,grid-carbon-intensity-average-consumption-annual\n2024,Amazon Web Services,af-south-1,ZA,,1.24,702.03\n2023,Microsoft Azure,northeurope,FI,,,82.3\n"),
    ServiceOutages: ({}, "start_time,end_time,status,service\n0.0,4800.0,1.0,Github\n296400.0,298800.0,0.124,Github\n"),
    TitanLifetimes: ({}, "SN,location,insert,remove,duration,out,event\n03,c11,2017-04-09 21:36:19,2019-08-01 20:07:33,72916274,FALSE,\n04,c11,,2019-08-01 20:07:33,,,OTB\n"),
    TitanGpus: ({}, "SN,time,last,col,row,cage,slot,node,out,dead_otb,dead_dbe\n03,72916274,2019-08-01 20:07:33,11,2,1,4,1,FALSE,FALSE,FALSE\n04,7,2019-07-01 20:07:33,11,2,1,4,1,TRUE,FALSE,TRUE\n"),
    ProfileZeusTrain: ({}, "dataset,network,batch_size,optimizer,learning_rate,run,target_metric,target_epoch\ncifar,net,1024,adam,1e-1,1,0.05,1\ncifar,net,1024,adam,1e-1,1,0.85,\n"),
    Bamboo: ({}, "0,add,node1\n540000,remove,node1\n"),
    GpuPrices: ({}, "date,provider,gpu_model,gpu_count,region,rental_type,price_median_usd,fetched_at\n2026-02-11,ace,A100,1,global,on_demand,2.3,2026-02-11T21:00:00.5+00:00\n2026-03-12,ace,A100,8,,spot,1.3,2026-03-12T21:00:00+00:00\n"),
    AwsP5: ({}, "timestamp,instance,price_usd\n2025-04-23T18:52:57,p5.48xlarge,98.32\n2025-04-01,p5.48xlarge,\n"),
    Titan: ({}, "SN,location,insert,remove,duration,out,event\n03,c11,2017-04-09 21:36:19,2019-08-01 20:07:33,72916274,FALSE,\n04,c11,,2019-08-01 20:07:33,,,OTB\n"),
}  # fmt: skip

NASTY = [
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"nan", b"inf", b"-inf", b"-1", b"1e400", b"99999999999999999999999", b"0x1F", b"1,5",
    b'"', b'""', b"'", b"\r", b"\r\n", b"\n\n", b"\t", b";", b",", b",,", b"NULL", b"None", b"1e-320", b"2017-13-45 99:99:99", b"{", b"]",
    b"\xe2\x82\x82", b"-0", b"0", b"  ", b"true", b"9" * 400, b"[[[[", b'{"a":1}',
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, text: str) -> bytes:
    """A file with a few bytes cut, put in or put in the place of others; perhaps gzipped and cut."""
    raw = bytearray(text.encode())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        kind = draw(st.sampled_from(["insert", "cut", "replace", "double", "end"]))
        to = min(len(raw), at + draw(st.integers(0, 12)))
        if kind == "insert":
            raw[at:at] = draw(st.one_of(st.sampled_from(NASTY), st.binary(max_size=6)))
        elif kind == "cut":
            del raw[at:to]
        elif kind == "replace":
            raw[at:to] = draw(st.sampled_from(NASTY))
        elif kind == "double":
            raw[at:at] = raw[at:to]
        else:
            del raw[at:]
    out = bytes(raw)
    if draw(st.integers(0, 9)) == 0:
        out = gzip.compress(out)
        out = out[: draw(st.integers(0, len(out)))]
    return out


@pytest.mark.parametrize("cls", GOOD, ids=lambda cls: cls.__name__)
def test_the_samples_are_good(cls: type[Source], tmp_path: Path) -> None:
    parameters, text = GOOD[cls]
    path = tmp_path / "us-west-2a_v100_1"
    path.write_text(text)
    table = cls(path=str(path), **parameters).read()
    assert isinstance(table, Table) and len(table) + sum(each.count for each in table.dropped) >= 2


@pytest.mark.parametrize("cls", GOOD, ids=lambda cls: cls.__name__)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_read_or_refused_in_one_line(cls: type[Source], tmp_path: Path, data: st.DataObject) -> None:
    parameters, text = GOOD[cls]
    path = tmp_path / "us-west-2a_v100_1"
    path.write_bytes(data.draw(damaged(text)))
    try:
        table = cls(path=str(path), **parameters).read()
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        return
    jobs = getattr(cls(path=str(path), **parameters), "jobs", None)
    if jobs is not None and len(table):
        try:
            assert len(jobs(0)) == len(table)
        except InputError as error:  # what no schema of one column sees
            assert "\n" not in str(error)
