# ruff: noqa: E501 (rows of files stand as they are)
"""A small good file of every source, in its published format, and how many rows it holds, counted without hcsim.

What fuzzing asks of a source is in :func:`outcome`: it reads a file or refuses it in one line, and every row of what it
reads is in its table or counted among those left out.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hcsim import InputError
from hcsim.traces._catalog import available, classes, make
from hcsim.traces._files import Defective
from hcsim.traces._table import JobSource

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Sample:
    """Files by their names below a folder. The source is given the first of them, or with ``folder`` the folder.

    ``rows`` counts the rows that a table and what it leaves out must hold together; None where a table does not hold
    the rows of a file.
    """

    files: Files
    rows: Callable[[Files], int] | None
    parameters: dict[str, Any] = field(default_factory=dict)
    folder: bool = False


def unpacked(raw: bytes) -> bytes:
    """A file's bytes, without gzip and byte order mark."""
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    return raw.removeprefix(b"\xef\xbb\xbf")


def lines(raw: bytes, comment: bytes = b"") -> int:
    """Lines that are not empty, and no comment. SWF's may be indented."""
    found = [line for line in re.split(rb"\r\n|\r|\n", unpacked(raw)) if line]
    return len([line for line in found if not line.strip().startswith(comment) and line.strip()] if comment else found)


def table(each: int = 1, header: int = 1) -> Callable[[Files], int]:
    """Counts the lines below the header of all files, ``each`` rows of the table per line."""
    return lambda files: each * sum(lines(raw) - header for raw in files.values())


def means(files: Files) -> int:
    """Columns of mean times in the header of the first file."""
    first = re.split(rb"\r\n|\r|\n", unpacked(next(iter(files.values()))))[0]
    return len([cell for cell in next(csv.reader([first.decode()])) if re.fullmatch(r"time_stats\..*\.mean", cell)])


def document(count: Callable[[Any], int]) -> Callable[[Files], int]:
    """Counts in the JSON of the first file."""
    return lambda files: count(json.loads(unpacked(next(iter(files.values())))))


def parquet(columns: dict[str, list[Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def stored(files: Files) -> int:
    return pq.ParquetFile(io.BytesIO(unpacked(next(iter(files.values()))))).metadata.num_rows


def archive(name: str, text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as into:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        into.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(out.getvalue(), mtime=0)


def member(files: Files) -> int:
    with tarfile.open(fileobj=io.BytesIO(unpacked(next(iter(files.values()))))) as from_:
        found = next(item for item in from_.getmembers() if item.name.endswith("pai_machine_spec.csv"))
        file = from_.extractfile(found)
        assert file is not None
        return lines(file.read())


def one(text: str | bytes, rows: Callable[[Files], int] | None, name: str = "a.csv", **parameters: Any) -> Sample:
    """A sample of one file."""
    return Sample({name: text.encode() if isinstance(text, str) else text}, rows, parameters)


MLP = ",".join(f"time_stats.{name}.{of}" for name in ("emb", "attn_pre_proj") for of in ("min", "mean", "std"))
GSF = "year,cloud-provider,cloud-region,em-zone-id,geolocation,provider-cfe-annual,power-usage-effectiveness,grid-carbon-intensity-average-consumption-annual"
ELECTRICITY_MAPS = "Datetime (UTC),Country,Zone Id,Carbon Intensity gCO₂eq/kWh (direct),Carbon Intensity gCO₂eq/kWh (LCA),Data Estimated,Data Estimation Method"
DLRM = "instance_sn,role,app_name,cpu_request,gpu_request,memory_request,creation_time,scheduled_time,deletion_time"
START = 1_546_300_800_000  # 2019-01-01 in ms
WATTS = {
    "output_throughput_tokens_per_sec": 90.5,
    "median_itl_ms": 11.0,
    "p99_itl_ms": 15.0,
    "avg_power_watts": 410.0,
    "energy_per_token_joules": 4.5,
}

SYSTEM = (
    '{"submitter": "A", "number_of_nodes": "2", "accelerators_per_node": 8, "accelerator_model_name": "NVIDIA L40S"}'
)
YML = "about:\n  timestamp: 1767242268\ncompute:\n  instance:\n    a2-highgpu-1g:\n      a100: 1\n      cost:\n        asia-east1:\n          hour: 4\n          month_1y: 1460\n      cpu: 12\n  network:\n    traffic:\n      egress:\n        internet:\n          cost:\n            0-1:\n              asia-east1:\n                month: 0.12\n              us-east1:\n                month: 0.11\n"
SPIN_UPS = "Zone: us-west1-b, GPU type: nvidia-tesla-v100, Number of GPUs: 1, Price per hour: $0.851\nZone: us-west1-b, GPU type: nvidia-tesla-k80, Number of GPUs: 8, Price per hour: $1.242\n"
SPUN_UP = "2020-02-26T17_03_53.000Z.out"
MLLOG = "noise\n" + "".join(
    f':::MLLOG {{"key": "{key}", "value": {value}, "time_ms": {ms}, "metadata": {{"status": "success"}}}}\n'
    for key, value, ms in (
        ("submission_benchmark", '"gpt3"', 5),
        ("run_start", "null", 1000),
        ("tracked_stats", '{"throughput": 2.5}', 1500),
        ("eval_accuracy", "0.9", 2000),
        ("run_stop", "null", 9000),
    )
)
MLPERF = "Scenario : Server\nMode     : PerformanceOnly\nCompleted tokens per second: 2520.27\nResult is : VALID\nMin latency (ns)                : 527740394\n99.00 percentile first token latency (ns)   : 785265884\nTest Parameters Used\ntarget_qps : 8.6\n"
PROBES = "[2020-03-15T10:00:00.000Z] Created instance i-0a with 1 GPU(s) of type v100 in zone us-east-1b\n[2020-03-15T10:01:30.000Z] Instance with 1 GPU(s) of type v100 creation failed\n[2020-03-15T10:11:01.000Z] Instance i-0a not running in zone us-east-1b\n[2020-03-15T10:11:02.000Z] Successfully deleted instance i-0a\n"
OFFERS = [
    {
        "id": "x",
        "provider_id": "p",
        "gpu_model": "NVIDIA A100",
        "vram_gb": 40,
        "tier": "spot",
        "is_spot": spot,
        "price_usd_hour": 1.5,
        "collected_at": "2026-05-24",
    }
    for spot in (True, False)
]


def several(files: dict[str, str | bytes], rows: Callable[[Files], int] | None, **parameters: Any) -> Sample:
    """A sample of a file, and of what lies beside it."""
    return Sample(
        {name: each.encode() if isinstance(each, str) else each for name, each in files.items()}, rows, parameters
    )


SAMPLES: dict[str, Sample] = {
    "acme:AcmeSummary": one("id,job_num,gpu_job_num,avg_run_time_gpu,fail_rate_gpu\nSeren,1031550,663813,1414.3,0.42\nKalos,62413,19907,1259.7,\n", None),  # empty cells are left
    "alibaba_genai:AlibabaGenaiMetrics": one(archive("qps.csv", "timestamp_anon,value,container_ip,request_type\n1662859176.0,0.09,,API Requests\n1662859233.0,0.09,ab,API Requests\n"), None, "qps.tar.gz"),
    "alibaba_genai:AlibabaGenaiProcessed": one("exec_time_seconds,prompt_length,checkpoint_model_version_id\n22.0,54.0,m\n18.0,,\n", table()),
    "carbon_electricitymaps:ElectricitymapsApi": one("zone_name,datetime,carbon_intensity_avg\nCalifornia,2020-01-01 00:00:00,250.5\nCalifornia,2020-01-01 01:00:00,251\n", table()),
    "carbon_electricitymaps:ElectricitymapsMeans": one("zonecode,2020,2021,2022\nNO,30.5,27,28\nBR,100,120.5,90\n", table(3)),
    "cloud_incidents:ServiceOutages": one("start_time,end_time,status,service\n0.0,4800.0,1.0,Github\n296400.0,298800.0,0.124,Github\n", table()),
    "ec2_instances": one('[{"instance_type": "p3.2xlarge", "GPU": 1, "pricing": {"us-east-1": {"ebs": "0.05", "linux": {"ondemand": "3.06", "reserved": {"yrTerm3Convertible.noUpfront": "1.795"}}}}}]', None, "a.json"),
    "gcp_latency:GcpLatencyMatrix": several({"gcp_latency_matrix.csv": "origin,TW,HK\nTW,5,12\nHK,12.5,5\n", "gcp_dc_zonecode_mapper.json": '{"asia-east1": "TW", "asia-east2": "HK"}'}, lambda files: 2 * (lines(files["gcp_latency_matrix.csv"]) - 1)),
    "gcp_pricing_yml": one(YML, None, "a.yml"),
    "gcp_pricing_yml:GcpEgress": one(YML, None, "a.yml"),
    "gcp_pricing_yml:GcpMachines": one("NAME;CPUS;SHARED_CPU;MEMORY_GB;DEPRECATED;ZONE\na2-highgpu-8g;96;False;680.00;;us-west1-b\nf1-micro;1;True;0.60;;us-west1-b\n", table()),
    "gpu_offerings": one(json.dumps(OFFERS), document(len), "a.json"),
    "helios_earth:HeliosCapacity": one("date,vca,vcb,total\n2020-04-01,112,8,120\n2020-04-02,112,0,112\n", None),  # a row per column
    "helios_earth:HeliosSummary": one("id,gpu_num,gpu_job_num,avg_run_time_gpu,fail_rate\nVenus,1022,125303,13040.6,0.12\nEarth,997,427148,5130.6,\n", None),  # empty cells are left
    "helios_earth:PhillyNodes": one("time,active,total\n2017-10-03 00:00:00,312,420\n2017-10-03 00:01:00,309,420\n", table()),
    "lucid_venus:LucidVenusNodes": one(",num\nvcEwI,9\nvcWoR,5\n", table()),
    "openb:OpenbDemands": one("name,cpu_milli,memory_mib,num_gpu,gpu_milli\np0,12000,16384,1,1000\np1,6000,12288,0,0\n", table()),
    "profile_llmservingsim": one("layer_name,input,kv_cache,tp_size,latency(ns)\nembedding,1,0,1,2920\nq_proj,1,0,1,46242\n", table(), gpu="H100", model="m", variant="tp1"),
    "profile_lucid:ProfileLucidSingle": one("model,dataset,batchsize,amp,speed,gpu_util,gmem_util,gmem\nMobileNetV3,ImageNet,32,0,1.5,50,40,9000\nVGG,ImageNet,16,1,2.5,60,45,8000\n", table(4)),
    "profile_mlperf": several({"mlperf_log_summary.txt": MLPERF, "system.json": SYSTEM}, None, model="m"),
    "profile_mlperf:ProfileMlperfSummary": one("Organization,Platform,Model,Scenario,Result,number_of_nodes,accelerator_model_name,accelerators_per_node,framework,Units\nA,p,gptj-99,Server,10,2,NVIDIA L40S,4,vLLM,Queries/s\nA,p,bert-99,Offline,3,1,,,,Samples/s\n", table()),
    "profile_mlperf:ProfileMlperfTraining": several({"result_0.log": MLLOG, "system.json": SYSTEM}, None),
    "profile_sia:ProfileSiaValidation": one("progress,iteration,metric,grad_sqr,grad_var\n2069.0,2069,25.4,1764298.2,143227.1\n4138.0,4138,23.2,2697.2,40474.7\n", table(3), model="m", batch=8),
    "profile_vidur:ProfileVidurNetwork": one(",time_stats.send_recv.mean,rank,num_workers,size,devices_per_node\n0,0.0346,0,2,2048,1\n1,0.0373,0,2,10240,1\n", table(), cluster="a100_dgx"),
    "profile_zeus:ProfileZeusTrain": one("dataset,network,batch_size,optimizer,learning_rate,run,target_metric,target_epoch\ncifar,net,1024,adam,1e-1,1,0.05,1\ncifar,net,1024,adam,1e-1,1,0.85,\n", table()),
    "skyplane:SkyplaneCost": one("src,dest,cost\naws:us-east-2,azure:eastus,0.09\naws:us-east-2,gcp:us-east1-b,0.09\n", table()),
    "skyplane:SkyplaneMachines": one("instance_name,cloud_provider,vcpu_cost\nm5.large,aws,2\nn2-standard-4,gcp,4\n", table()),
    "skyplane:SkyplaneRtt": one("src_region,src_tier,dst_region,dst_tier,avg_rtt\naws:eu-west-3,PREMIUM,gcp:europe-west6-a,STANDARD,105.9\naws:eu-west-3,PREMIUM,gcp:europe-west6-a,PREMIUM,15.9\n", table()),
    "skyplane:SkyplaneThroughput": one("src_region,src_tier,dst_region,dst_tier,throughput_received\naws:eu-west-3,PREMIUM,gcp:europe-west6-a,STANDARD,4.7e9\ngcp:a-b1-a,,gcp:a-b2-b,,5e8\n", table()),
    "titan:TitanGpus": one("SN,time,last,col,row,cage,slot,node,out,dead_otb,dead_dbe\n03,72916274,2019-08-01 20:07:33,11,2,1,4,1,FALSE,FALSE,FALSE\n04,7,2019-07-01 20:07:33,11,2,1,4,1,TRUE,FALSE,TRUE\n", table()),
    "titan:TitanLifetimes": one("SN,location,insert,remove,duration,out,event\n03,c11,2017-04-09 21:36:19,2019-08-01 20:07:33,72916274,FALSE,\n04,c11,,2019-08-01 20:07:33,,,OTB\n", table()),
    "training_on_a_dime:DimeAzure": several({"us_east.csv": "Date,NC6,NC24s v3\n2/24/2020,$0.25,\n2/25/2020,$0.50,$2.5\n", "instance_mapping.csv": "Instance,GPU type,# GPUs\nNC6,K80,1\nNC24s v3,V100,4\n"}, None),
    "training_on_a_dime:DimeProbes": one(PROBES, None, "a.out"),
    "training_on_a_dime:DimeSpinUpPrices": one(SPIN_UPS, None, SPUN_UP),
    "training_on_a_dime:DimeSpinUps": one(SPIN_UPS, None, SPUN_UP),
    "acme": one("job_id,arrival_time,num_iteration,iteration_computing_time,gpu_workers,gpu_per_worker,cpu_per_gpu_worker\n0,0.0,200,0.5,8,8.0,15.0\n1,300.0,150,0.5,8,8.0,15.0\n", table()),
    "alibaba_dlrm": one(f"{DLRM}\ni0,HN,app_0,12,1,120.0,,,\ni1,CN,app_1,8,0,32.0,50.0,51.0,90.0\ni2,HN,app_1,8,1,32.0,50.0,51.0,90.5\n", table()),
    "alibaba_genai": one("gmt_create,exec_time_seconds,groupId,prompt_length,checkpoint_model_version_id\n2024-11-15 16:57:50,32.0,G0,63.0,M0\n2024-11-15 18:16:14,,G1,,\n", table()),
    "alibaba_spot_nodes": one("gpu_model,gpu_capacity_num,cpu_num,node_name\nGPU-series-1,4,192,0\nA10,1,128,1\n", table()),
    "aws_price_history": one("usw2-az2\tg4dn.xlarge\tLinux/UNIX\t0.25\t2022-05-31T18:20:41+00:00\nusw2-az2\tg4dn.xlarge\tRed Hat\t0.5\t2022-05-31T18:20:42+00:00\n", table(header=0)),
    "azure_llm": one("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,370,40\n2023-11-16 18:15:50.9951690,390,100", table()),
    "bamboo": one("0,add,node1\n540000,remove,node1\n", table(header=0), trace="p3"),
    "burstgpt": one("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,API log\n6,GPT-4,4,0,4,API log\n", table()),
    "carbon_electricitymaps": one(f"{ELECTRICITY_MAPS}\n2021-01-01 00:00:00,Norway,NO,3.1,27.5,false,\n2021-01-01 01:00:00,Norway,NO,3.0,27.4,true,x\n", table()),
    "carbon_lets_wait_awhile": one("Time,Carbon Intensity\n2019-12-20 00:00:00,300.5\n2019-12-20 00:15:00,299\n", table(), zone="DE"),
    "carbon_opendc": one(parquet({"timestamp": pa.array([START, START + 3_600_000], pa.timestamp("ms")), "carbon_intensity": [300.5, 290.0]}), stored, zone="DE"),
    "carbon_regions": one(f'{GSF}\n2024,Amazon Web Services,eu-west-1,IE,"53.3,-6.2 ",,1.2,300.5\n2024,Google Cloud,us-west1,US,"45.6,-121.1",0.9,,\n', table()),
    "carbon_regions:CarbonGoogle": one("Google Cloud Region,Location,Google CFE,Grid carbon intensity (gCO2eq / kWh)\nasia-east1,Taiwan,0.17,450\nasia-east2,Hong Kong,,\n", table(), year=2022),
    "chronus": one("job_id,user,num_gpu,submit_time,iterations,model_name,duration,expect_time_list,best_effort\n0,vc,4,12198,6910,resnet,211,282,0\n1,vc,0,12199,5,vgg,9,,1\n2,vc,1,12200,5,vgg,9,28-30,0\n", table()),
    "chronus:ChronusModels": one('{"resnet50": {"8": {"1": 1.0, "2": 0.9}}, "vgg16": {"4": {"2": 0.8}}}', document(lambda known: sum(len(spread) for gangs in known.values() for spread in gangs.values())), "a.json"),
    "cloud_incidents": one(parquet({name: pa.array([START, START + 9000], pa.timestamp("ms")) for name in ("event_start_time", "event_end_time")} | {"service_name": ["EC2", "S3"], "location": ["Ohio", "Unknown"], "vendor": ["AWS", "AWS"]}), stored),
    "gaia": one("arrival_time,length,cpus\n0.0,0.75,4\n1.5,19.08,4\n", table(), sample="pai"),
    "gavel": Sample({"a.trace": b"LM (batch size 5)\tcmd\t--steps\t0\t100\t0.5\t1\nLM (batch size 5)\tcmd\t--steps\t0\t100\t7.5\t2\n", "t.json": b'{"v100": {"(\'LM (batch size 5)\', 1)": {"null": 2.5}}}'}, lambda files: lines(files["a.trace"])),
    "gcp_latency": one("sending_region,receiving_region,milliseconds\neurope-west1,asia-south1,136\nasia-south1,europe-west1,135.5\n", table()),
    "gcp_pricing": one("commit_date,instance_type,region,hour_usd,hour_spot_usd\n2022-02-09,a2-highgpu-1g,asia-east1,3.65,\n2024-02-09,g2-standard-8,us-east1,0.9,0.3\n", table(2)),
    "gpu_prices": one("date,fetched_at,provider,gpu_model,gpu_count,region,rental_type,price_median_usd\n2026-03-11,2026-03-11T09:00:00Z,ace,A100,1,global,on_demand,2.3\n2026-03-12,2026-03-12T09:00:00Z,ace,A100,8,,spot,1.3\n", table()),
    "gpu_prices:AwsP5": one("timestamp,instance,price_usd\n2025-04-23T18:52:57,p5.48xlarge,98.32\n2025-04-01,p5.48xlarge,\n", table()),
    "helios_earth": one("time,running_job_num,pending_job_num,total_gpu_num,running_gpu_num\n2020-05-01 00:00:00,11,0,64,59\n2020-05-01 00:01:00,12,1,64,60\n", table(), cluster="vc3sl"),
    "itp": one("job_id,submission_time,duration,num_gpu\na,1932025,2429,64\nb,2000581,1532,1\n", table()),
    "lucid_venus": one("time,submit_gpu_job,start_gpu_job,end_gpu_job,start_gpu_num,end_gpu_num\n2020-04-01 00:00:00,3,3,2,3,2\n2020-04-01 00:10:00,4,3,3,3,4\n", table()),
    "mooncake": one('{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n{"timestamp": 9, "input_length": 7, "output_length": 5, "hash_ids": []}\n', table(header=0)),
    "openb": one("name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\np0,12000,16384,1,1000,,LS,Running,0,12537496,0\np1,6000,12288,1,460,V100|T4,LS,Running,4,129,\np2,6000,12288,0,0,,LS,Failed,4,129,5\n", table()),
    "openb:OpenbNodes": one("sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\nn1,64000,262144,0,\n", table()),
    "pai_machines": one(archive("x/pai_machine_spec.csv", "m0,V100,96,512,8\nm1,CPU,96,512,0\n"), member, "a.tar.gz"),
    "philly": one("timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-09 07:01:55,66.0,1,66.0,vc1\n2017-10-09 06:13:03,2951.0,2,5902.0,vc2\n", table()),
    "pollux": one("name,time,application,num_replicas,batch_size\nbert-0,775.6,bert,12,384\ncifar-1,960,cifar10,6,2048\n", table()),
    "profile_gavel": one('{"k80": {"(\'LM (batch size 5)\', 1)": {"null": 2.5, "(\'LM (batch size 5)\', 1)": [1.5, 1.25]}}, "k80_unconsolidated": {"(\'LM (batch size 5)\', 2)": {"null": 4}}}', document(lambda known: sum(len(others) for jobs in known.values() for others in jobs.values())), "a.json"),
    "profile_lucid": one(",model1,dataset1,batchsize1,amp1,speed1,model2,dataset2,batchsize2,amp2,speed2\n0,MobileNetV3,ImageNet,32,0,0.98,ResNet18,CIFAR-10,32,1,1.03\n1,VGG,ImageNet,16,0,0.5,VGG,ImageNet,16,0,0.5\n", table(2)),
    "profile_ml_energy": one(json.dumps({"configurations": [{"model_id": f"m{i}", "gpu_model": "H100", "num_gpus": 8, "weight_precision": "fp8", "tensor_parallel": 8, "max_num_seqs": 16} | WATTS for i in range(2)]}), document(lambda known: 5 * len(known["configurations"])), "a.json", task="gpqa"),
    "profile_sia": one("placement,local_bsz,step_time,sync_time\n1,4,0.45,0.013\n44,6,0.57,0.014\n", table(2), model="bert"),
    "profile_splitwise": one("model,hardware,prompt_size,batch_size,token_size,peak_power,average_power,prompt_time,token_time,e2e_time,tensor_parallel\nllama,a100,512,1,128,1.0,0.7,196.2,54.8,7168.9,2\nllama,h100,512,1,128,1.0,0.7,96.2,24.8,3168.9,2\n", table(5)),
    "profile_vidur": one(f"{MLP},num_tokens,num_tensor_parallel_workers\n0.1,0.2,0.01,0.5,0.6,0.01,64,1\n0.1,0.2,0.01,,,,128,2\n", lambda files: table(means(files))(files), gpu="a40", model="m"),
    "profile_zeus": one("dataset,network,batch_size,optimizer,power_limit,time_per_epoch,average_power\ncifar100,shufflenet,1024,adadelta,100,27.1,106.8\ncifar100,shufflenet,1024,adam,125,16.8,118.9\n", table(2), gpu="a40"),
    "servegen": Sample({"chunk-1-trace.csv": b"0,0.5,1.1,Gamma,0.9,0.01\n600,0.25,1.0,Weibull,0.9,0.02\n1200,0,,,,\n", "chunk-1-dataset.json": b'{"0": {"input_tokens": "{5: 0.5, 9: 0.5}", "output_tokens": "{7: 1.0}"}}'}, None, folder=True),  # draws requests
    "shockwave": one("LM\tpython3\tlm\t--steps\t1\t134583\t1\tgns\t1\t-1.0\t1418\t0\nLM\tpython3\tlm\t--steps\t1\t134\t2\tgns\t1\t-1.0\t14\t5\n", table(header=0)),
    "sia": one("name,time,application,num_replicas,batch_size\nbert-0,775.6,bert,12,384\ncifar-1,960,cifar10,6,2048\n", table()),
    "skypilot_catalog": one("InstanceType,AcceleratorName,AcceleratorCount,Price,SpotPrice,Region,AvailabilityZone\n,A100,1,2.9,0.88,us-central1,us-central1-a\n,A100,1,2.9,,us-central1,us-central1-b\n", table(2)),
    "skyplane": Sample({"throughput.csv.gz": gzip.compress(b"src_region,src_tier,dst_region,dst_tier,throughput_sent,throughput_received\naws:us-east-1,PREMIUM,gcp:europe-west6-a,PREMIUM,5e9,4e9\naws:us-east-1,PREMIUM,gcp:europe-west6-a,PREMIUM,5e9,3e9\n", mtime=0), "latency.csv": b"src_region,src_tier,dst_region,dst_tier,avg_rtt\naws:us-east-1,PREMIUM,gcp:europe-west6-a,PREMIUM,105.9\n", "cost.csv": b"src,dest,cost\naws:us-east-1,azure:eastus,0.09\n"}, None, folder=True),  # three tables in one
    "spot_advisor": one(json.dumps({"spot_advisor": {"us-east-1": {"Linux": {"m5.large": {"s": 60, "r": 0}, "p3.2xlarge": {"s": 70, "r": 4}}, "Windows": {"m5.large": {"s": 30, "r": 1}}}}, "instance_types": {name: {"cores": 2, "ram_gb": 8.0, "emr": True} for name in ("m5.large", "p3.2xlarge")}}), document(lambda known: sum(len(entries) for each in known["spot_advisor"].values() for entries in each.values())), "a.json"),
    "spot_skypilot": one('{"metadata": {"gap_seconds": 32}, "data": [0, 1, 1, 0]}', document(lambda known: len(known["data"])), "us-west-2a_v100_1.json"),
    "spot_strategy": one("0,2022-10-26T22:05:04.000Z,1\n1,2022-10-26T22:15:04.000Z,0\n", table(header=0), "us-west-2a_v100_1.txt", polarity="failed"),
    "spotlake_azure": one(json.dumps(json.dumps([{"InstanceTier": "Standard", "InstanceType": "D2", "Region": "US East", "OndemandPrice": 0.1, "SpotPrice": price, "Date": "2022-08-04"} for price in (0.02, -1)])), document(lambda known: 2 * len(json.loads(known) if isinstance(known, str) else known)), "a.json"),
    "swf": one("; head\n1 0 -1 60 4 -1 -1 4 100 -1 1 7 1 1 1 1 -1 -1\n  2 5 -1  60 4 -1 -1 4 100 -1 5 7 1 1 1 1 -1 -1\n3 5 -1 -1 4 -1 -1 4 100 -1 1 7 1 1 1 1 -1 -1\n", lambda files: lines(files["a.swf"], b";"), "a.swf"),
    "table": one('arrival_s,prompt_tokens,output_tokens,hash_ids\n0.5,7,5,"[0, 1]"\n,9,5,[]\n', table()),
    "titan": one("SN,location,insert,remove,duration,out,event\n03,c11,2017-04-09 21:36:19,2019-08-01 20:07:33,72916274,FALSE,\n04,c11,,2019-08-01 20:07:33,,,OTB\n", table()),
    "training_on_a_dime": one(json.dumps({"SpotPriceHistory": [{"AvailabilityZone": "us-east-1a", "InstanceType": "p3.2xlarge", "ProductDescription": "Linux/UNIX", "SpotPrice": "0.9180", "Timestamp": f"2020-01-0{day}T00:00:00+00:00"} for day in (2, 1)]}), document(lambda known: len(known["SpotPriceHistory"])), "a.json"),
    "vidur": one("arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,370,40\n4.3,390,100\n", table()),
}  # fmt: skip


def sources() -> Iterable[str]:
    """Every source that reads a published file or a folder, as ``make`` takes it."""
    for name in available():
        if name in ("fitted_requests", "fitted_market"):
            continue  # they read what `hcsim traces twin` writes
        for i, cls in enumerate(classes(name)):
            if cls.__name__ in ("SiaJobs", "PolluxJobs"):
                continue  # they join a workload and profiles, each of which has a source of its own
            yield f"{name}:{cls.__name__}" if i else name


def outcome(name: str, files: Files, folder: Path) -> str:
    """Read damaged files of a source's sample: ``read``, or ``refused``.

    Raises:
        AssertionError: an error of several lines, too long, or that names no file; rows that are neither in the table
            nor counted; a defect in a row that is not there.
    """
    sample = SAMPLES[name]
    for file, raw in files.items():
        (folder / file).write_bytes(raw)
    path = str(folder if sample.folder else folder / next(iter(files)))
    given = sample.parameters | ({"throughputs": str(folder / "t.json")} if name == "gavel" else {})
    source = make(name, {"path": path, **given})
    try:
        read = source.read()
    except InputError as error:
        said = str(error)
        assert "\n" not in said and len(said.replace(str(folder), "")) < 500 and str(folder) in said, said
        if isinstance(error, Defective) and path.endswith((".csv", ".txt", ".trace", ".swf")):
            last = len(re.split(rb"\r\n|\r|\n", unpacked(files[error.path.name])))
            assert all(0 <= defect.row <= last for defect in error.defects), (last, error.defects)
        return "refused"
    told = len(read) + sum(each.count for each in read.dropped)
    if sample.rows is not None:
        assert told == sample.rows(files), f"{told} of {sample.rows(files)} rows"
    if isinstance(source, JobSource) and len(read):
        try:
            assert len(source.jobs(0)) == len(read)
        except InputError as error:  # what no schema of one column sees
            assert "\n" not in str(error)
    return "read"


#: Bytes that break readers.
NASTY = [
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"nan", b"inf", b"-inf", b"-1", b"1e400", b"1e308", b"1e-320", b"9" * 23, b"9" * 400,
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"0x1F", b"1,5", b"-0", b"0", b"e", b".", b"-",
    b'"', b'""', b'"\n', b"'", b"\r", b"\r\n", b"\n", b"\n\n", b"\t", b"  ", b";", b",", b",,", b"NULL", b"None", b"true",
    b"2017-13-45 99:99:99", b"0001-01-01 00:00:00", b"9999-12-31 23:59:59", b"2262-04-12 00:00:00", b"300000-01-01",
    b"{", b"}", b"]", b"[]", b"{}", b"[[[[", b'{"a":1}', b"null", b"\\", b"\\u0000", b"\\ud800", b"\xe2\x82\x82", b"\xff",
]  # fmt: skip
