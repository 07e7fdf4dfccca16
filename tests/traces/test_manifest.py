"""Every file of the shared traces is read by a source, and the source gives as many rows as the MANIFEST says it holds.

What is deliberately not data is in NOT_DATA with the reason. Every rule names the source, its parameters, how many rows
it gives per row of the file, and how many of these it leaves out; nothing may be left out beyond that.
"""

from __future__ import annotations

import csv
import gzip
import importlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcsim.traces._catalog import available
from hcsim.traces._table import Source
from hcsim.traces.servegen import Servegen
from tests.conftest import ROOT

FOLDER = Path(os.environ.get("HCSIM_DATA") or ROOT.parent / "shared" / "traces")


def listed() -> list[dict[str, str]]:
    """The rows of the MANIFEST, none where it is not there: the tests that have a fixture then say so."""
    if not (FOLDER / "MANIFEST.csv").is_file():
        return []
    with (FOLDER / "MANIFEST.csv").open(newline="") as file:
        return list(csv.DictReader(file))


MANIFEST = {row["path"]: int(row["rows"]) for row in listed()}


@dataclass(frozen=True)
class Rule:
    """How files are read.

    Args:
        pattern: of their paths; named groups are parameters of the source.
        source: module and class.
        parameters: further ones.
        times: rows that the source gives for each row of the file.
        dropped: rows that it leaves out, of these; counted in the file where files differ.
        total: rows in all, where the MANIFEST counts something else (items of a JSON object); from the file's content.
        file: the file that the table names, where this one is read along with it.
    """

    pattern: str
    source: str
    parameters: Mapping[str, Any] | None = None
    times: int = 1
    dropped: int | Callable[[Path], int] = 0
    total: Callable[[Path], int] | None = None
    file: str = ""


def leaves(path: Path) -> int:
    """Values at the third level of a JSON object."""
    with gzip.open(path) if path.suffix == ".gz" else path.open() as file:
        known = json.load(file)
    return sum(len(inner) for outer in known.values() for inner in outer.values())


def ticks(path: Path) -> int:
    return len(json.loads(path.read_text())["data"])


def means(path: Path) -> int:
    """Mean times that are given in a table of Vidur."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return sum(bool(cell) for row in csv.DictReader(file) for name, cell in row.items() if name.endswith(".mean"))


def not_replayed(path: Path) -> int:
    """Pods of openb without a GPU, and those that were never scheduled."""
    with path.open() as file:
        return sum(row["num_gpu"] == "0" or not row["scheduled_time"] for row in csv.DictReader(file))


def no_throughput(path: Path) -> int:
    """Jobs of Gavel whose model and gang size have no published throughput on a V100."""
    with gzip.open(FOLDER / "gpu_profiles/gavel/simulation_throughputs.json.gz") as file:
        known = json.load(file)["v100"]
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return sum(str((row[0], int(row[-1 if len(row) == 7 else 6]))) not in known for row in rows)


def unknown(path: Path) -> int:
    """Jobs of an SWF log whose run time is unknown, or both processors that they had and asked for."""
    with gzip.open(path, "rt") as file:
        rows = [[float(cell) for cell in line.split()] for line in file if not line.startswith(";")]
    return sum(row[3] < 0 or (row[4] <= 0 and row[7] <= 0) for row in rows)


def advice(path: Path) -> int:
    """Entries of all systems."""
    known = json.loads(path.read_text())["spot_advisor"]
    return sum(len(entries) for systems in known.values() for entries in systems.values())


def figures(path: Path) -> int:
    """Figures of a log summary of MLPerf."""
    text = path.read_text().split("Test Parameters")[0]
    return len(re.findall(r"(?m)^.*(?:per second|\(ns\))\s*: *[0-9.]+$", text))


def said_twice(path: Path) -> int:
    return max(path.read_text().lower().count("completed tokens per second") - 1, 0)


def trained(path: Path) -> int:
    """Three figures of a log of MLPerf training, and a fourth where it tracks throughput."""
    return 3 + ("tracked_stats" in path.read_text(errors="replace"))


def ec2(path: Path) -> int:
    with gzip.open(path) as file:
        known = json.load(file)
    systems = [s for each in known for r in each["pricing"].values() for name, s in r.items() if name != "ebs"]
    return sum(1 + len(s.get("reserved", {})) for s in systems)


def text_of(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


def google(path: Path) -> int:
    """Prices of a price list of Google's but for monthly ones, and types without any."""
    text = text_of(path)
    machines = text.split("\n  license:\n")[0]
    prices = len(re.findall(r"(?m)^ +(?:hour|hour_spot|month_1y|month_3y): ", machines))
    return prices + len(re.findall(r"(?m)^    [\w-]+:$", machines)) - machines.count("\n      cost:\n")


def egress(path: Path) -> int:
    text = text_of(path)
    return text.split("\n      egress:\n")[1].split("\n    vpn:\n")[0].count(" month: ")


def azure(path: Path) -> int:
    with path.open() as file:
        return sum(not cell for row in csv.DictReader(file) for cell in row.values())


def deleted(path: Path) -> int:
    return path.read_text().count("deleted")


JOBS, PROFILES = "dl_jobs", "gpu_profiles"
RULES = [
    # carbon
    Rule(r"carbon/carbonscaler/data-sample\.csv", "carbon_electricitymaps:ElectricitymapsApi"),
    Rule(
        r"carbon/electricitymaps/(?P<zone>.+)_(?P<year>\d+)_hourly\.csv", "carbon_electricitymaps:CarbonElectricitymaps"
    ),
    Rule(r"carbon/electricitymaps/mean_stats\.csv", "carbon_electricitymaps:ElectricitymapsMeans", times=3),
    Rule(r"carbon/google_region_carbon/(?P<year>\d+)\.csv", "carbon_regions:CarbonGoogle"),
    Rule(r"carbon/gsf_real_time_cloud/Cloud_Region_Metadata\.csv", "carbon_regions:CarbonGsf", dropped=9),
    Rule(r"carbon/lets_wait_awhile/ger_ci\.csv\.gz", "carbon_lets_wait_awhile:CarbonLetsWaitAwhile", {"zone": "DE"}),
    Rule(r"carbon/lets_wait_awhile/fr_ci\.csv", "carbon_lets_wait_awhile:CarbonLetsWaitAwhile", {"zone": "FR"}),
    Rule(r"carbon/lets_wait_awhile/gb_ci\.csv", "carbon_lets_wait_awhile:CarbonLetsWaitAwhile", {"zone": "GB"}),
    Rule(r"carbon/opendc/2022-01-01_2022-12-31_(?P<zone>..)\.parquet", "carbon_opendc:CarbonOpendc"),
    Rule(r"carbon/opendc/(?P<zone>..)_2021-2024\.parquet", "carbon_opendc:CarbonOpendc"),
    # jobs and load
    Rule(rf"{JOBS}/acme/converted_kalos_trace\.csv", "acme:Acme"),
    Rule(rf"{JOBS}/acme/cluster_summary\.csv", "acme:AcmeSummary", total=lambda path: filled(path, "id")),
    Rule(rf"{JOBS}/alibaba_pai_2020/pai_machine_spec\.tar\.gz", "pai_machines:PaiMachines"),
    Rule(rf"{JOBS}/chronus/trace_job_Philly_SLO\.csv\.gz", "chronus:Chronus", dropped=205),
    Rule(rf"{JOBS}/chronus/model_info\.json", "chronus:ChronusModels", times=10),
    Rule(rf"{JOBS}/elasticflow_itp/raw-traces/cluster(?P<cluster>\d+)\.csv", "itp:Itp"),
    Rule(
        rf"{JOBS}/elasticflow_itp/elasticflow-traces/(?:cluster)?(?P<cluster>\w+)\.csv", "itp:Itp", {"converted": True}
    ),
    Rule(rf"{JOBS}/gaia/pai-100k\.csv\.gz", "gaia:Gaia", {"sample": "pai"}),
    Rule(rf"{JOBS}/gaia/mustang-trace-2015-100k\.csv\.gz", "gaia:Gaia", {"sample": "mustang"}),
    Rule(rf"{JOBS}/gaia/azure-100k\.csv\.gz", "gaia:Gaia", {"sample": "azure"}),
    Rule(rf"{JOBS}/gaia/pai_1k\.csv", "gaia:Gaia", {"sample": "pai_1k"}),
    Rule(
        rf"{JOBS}/gavel/(?P<trace>.+)\.trace",
        "gavel:Gavel",
        dropped=no_throughput,
    ),
    Rule(rf"{JOBS}/helios_earth/(?P<cluster>vc\w+)/cluster_sequence_vc\.csv\.gz", "helios_earth:HeliosEarth"),
    Rule(rf"{JOBS}/helios_earth/Earth_gpu_number\.csv", "helios_earth:HeliosCapacity", times=25),
    Rule(rf"{JOBS}/helios_earth/helios_cluster_summary\.csv", "helios_earth:HeliosSummary", times=26),
    Rule(rf"{JOBS}/helios_earth/philly_node_sequence\.csv\.gz", "helios_earth:PhillyNodes"),
    Rule(rf"{JOBS}/lucid_venus/cluster_throughput\.csv\.gz", "lucid_venus:LucidVenus"),
    Rule(rf"{JOBS}/lucid_venus/vc_config\.csv", "lucid_venus:LucidVenusNodes"),
    Rule(rf"{JOBS}/philly_pollux/philly\.csv\.gz", "philly:Philly"),
    Rule(rf"{JOBS}/pollux_workloads/workload-(?P<workload>\d)\.csv", "pollux:Pollux"),
    Rule(rf"{JOBS}/shockwave/(?P<size>\d+)_.+\.trace", "shockwave:Shockwave"),
    Rule(rf"{JOBS}/sia_workloads/(?P<workload>.+)\.csv", "sia:Sia"),
    Rule(rf"{JOBS}/swf/(?P<path>.+)", "swf:Swf", dropped=unknown),
    # failures
    Rule(r"failures/cloud_uptime_archive/(?P<year>2018)_fixed_infra_cloud\.parquet", "cloud_incidents:CloudIncidents"),
    Rule(
        r"failures/cloud_uptime_archive/(?P<year>2019)_fixed_infra_cloud\.parquet",
        "cloud_incidents:CloudIncidents",
        dropped=2,
    ),
    Rule(r"failures/cloud_uptime_archive/Github_user.+", "cloud_incidents:ServiceOutages", {"service": "github-users"}),
    Rule(r"failures/cloud_uptime_archive/github-status.+", "cloud_incidents:ServiceOutages", {"service": "github"}),
    Rule(r"failures/cloud_uptime_archive/atlassian.+", "cloud_incidents:ServiceOutages", {"service": "bitbucket"}),
    Rule(r"failures/cloud_uptime_archive/slack.+", "cloud_incidents:ServiceOutages", {"service": "slack"}),
    Rule(r"failures/titan_gpu/gc_full\.csv\.gz", "titan:Titan", dropped=37_343 - 6_367),
    Rule(r"failures/titan_gpu/gc_full\.csv\.gz", "titan:TitanLifetimes", dropped=1_158),
    Rule(r"failures/titan_gpu/gc_summary_loc\.csv\.gz", "titan:TitanGpus"),
    # measured speed
    Rule(
        rf"{PROFILES}/gavel/simulation_throughputs\.json\.gz",
        "profile_gavel:ProfileGavel",
        {"table_name": "simulation"},
        total=leaves,
    ),
    Rule(
        rf"{PROFILES}/gavel/physical_cluster_throughputs\.json\.gz",
        "profile_gavel:ProfileGavel",
        {"table_name": "physical"},
        total=leaves,
    ),
    Rule(
        rf"{PROFILES}/shockwave/tacc_throughputs\.json\.gz",
        "profile_gavel:ProfileGavel",
        {"table_name": "shockwave"},
        total=leaves,
    ),
    Rule(rf"{PROFILES}/lucid_colocation/colocate_info\.csv", "profile_lucid:ProfileLucid", times=2),
    Rule(rf"{PROFILES}/lucid_colocation/single_data\.csv", "profile_lucid:ProfileLucidSingle", times=4),
    Rule(rf"{PROFILES}/ml_energy/(?P<task>.+)\.json", "profile_ml_energy:ProfileMlEnergy", times=5),
    Rule(
        rf"{PROFILES}/sia/(?P<model>\w+)/(?P<table_name>(?:placements|scalability)-.+)\.csv",
        "profile_sia:ProfileSia",
        times=2,
    ),
    Rule(rf"{PROFILES}/splitwise_sim/perf_model\.csv", "profile_splitwise:ProfileSplitwise", times=5),
    Rule(
        rf"{PROFILES}/vidur/compute/(?P<gpu>\w+)/(?P<model>.+)/mlp\.csv(?:\.gz)?",
        "profile_vidur:ProfileVidur",
        total=means,
    ),
    Rule(rf"{PROFILES}/zeus/summary_power_(?P<gpu>\w+)\.csv", "profile_zeus:ProfileZeus", times=2),
    Rule(rf"{PROFILES}/zeus/summary_train\.csv", "profile_zeus:ProfileZeusTrain", dropped=849),
    Rule(
        rf"{PROFILES}/llmservingsim/(?P<gpu>[^/]+)/(?P<model>[^/]+/[^/]+)/(?P<variant>.+)/(?P<table_name>\w+)\.csv(?:\.gz)?",
        "profile_llmservingsim:ProfileLlmservingsim",
    ),
    Rule(
        rf"(?P<path>{PROFILES}/mlperf_inference_v4\.1/.+/mlperf_log_summary\.txt)",
        "profile_mlperf:ProfileMlperfInference",
        {"model": "llama2-70b-99"},
        dropped=said_twice,
        total=figures,
    ),
    Rule(rf"{PROFILES}/mlperf_inference_v4\.1/GigaComputing/summary\.csv", "profile_mlperf:ProfileMlperfSummary"),
    Rule(
        rf"(?P<path>{PROFILES}/mlperf_training_v4\.0/.+/result_0\.txt)",
        "profile_mlperf:ProfileMlperfTraining",
        total=trained,
    ),
    Rule(rf"{PROFILES}/sia/(?P<model>\w+)/validation-(?P<batch>\d+)\.csv", "profile_sia:ProfileSiaValidation", times=3),
    Rule(rf"{PROFILES}/vidur/network/(?P<cluster>\w+)/(?P<collective>\w+)\.csv", "profile_vidur:ProfileVidurNetwork"),
    # GPU sharing
    Rule(
        r"gpu_sharing/alibaba_2025_dlrm/disaggregated_DLRM_trace\.csv\.gz", "alibaba_dlrm:AlibabaDlrm", dropped=16_485
    ),
    Rule(r"gpu_sharing/alibaba_2026_spot_gpu/node_info_df\.csv", "alibaba_spot_nodes:AlibabaSpotNodes"),
    Rule(r"gpu_sharing/openb_2023/openb_node_list_gpu_node\.csv", "openb:OpenbNodes"),
    Rule(r"gpu_sharing/openb_2023/openb_node_list_all_node\.csv", "openb:OpenbNodes", {"cpu_nodes": True}),
    Rule(r"gpu_sharing/openb_2023/openb_pod_list_(?P<variant>\w+)\.csv", "openb:OpenbDemands"),
    Rule(
        r"gpu_sharing/openb_2023/openb_pod_list_(?P<variant>(?!multigpu)\w+)\.csv",
        "openb:Openb",
        dropped=not_replayed,
    ),
    # requests
    Rule(r"llm_requests/alibaba_2026_genai/lora_request_trace\.csv\.gz", "alibaba_genai:AlibabaGenai"),
    Rule(r"llm_requests/alibaba_2026_genai/data_trace_processed\.tar\.gz", "alibaba_genai:AlibabaGenaiProcessed"),
    Rule(r"llm_requests/alibaba_2026_genai/(?P<table_name>(?!data_)\w+)\.tar\.gz", "alibaba_genai:AlibabaGenaiMetrics"),
    Rule(r"llm_requests/azure_llm_2023/AzureLLMInferenceTrace_conv\.csv", "azure_llm:AzureLlm"),
    Rule(r"llm_requests/mooncake_fast25/conversation_trace\.jsonl\.gz", "mooncake:Mooncake"),
    Rule(r"llm_requests/vidur_processed/splitwise_conv\.csv", "vidur:Vidur", {"sample": "splitwise_conv"}),
    Rule(r"llm_requests/vidur_processed/arxiv_summarization.+", "vidur:Vidur", {"sample": "arxiv"}),
    Rule(r"llm_requests/sarathi_sharegpt/sharegpt_8k.+", "vidur:Vidur", {"sample": "sharegpt"}),
    # networks
    Rule(r"network/gcp_latency/raw_gcp_latency\.csv", "gcp_latency:GcpLatency"),
    Rule(r"network/gcp_latency/gcp_latency_matrix\.csv", "gcp_latency:GcpLatencyMatrix", times=34),
    Rule(
        r"network/gcp_latency/gcp_dc_zonecode_mapper\.json",
        "gcp_latency:GcpLatencyMatrix",
        times=34,
        file="network/gcp_latency/gcp_latency_matrix.csv",
    ),
    Rule(r"network/skyplane/throughput\.csv\.gz", "skyplane:SkyplaneThroughput"),
    Rule(r"network/skyplane/gcp_intracloud_throughput\.csv", "skyplane:SkyplaneThroughput", {"within_gcp": True}),
    Rule(r"network/skyplane/latency\.csv", "skyplane:SkyplaneRtt"),
    Rule(r"network/skyplane/cost\.csv", "skyplane:SkyplaneCost"),
    Rule(r"network/skyplane/aws_transfer_costs\.csv", "skyplane:SkyplaneCost", {"aws": True}),
    Rule(r"network/skyplane/vcpu_info\.csv", "skyplane:SkyplaneMachines"),
    # prices
    Rule(r"prices/aws_p5_daily/gpu_prices\.csv", "gpu_prices:AwsP5", dropped=13),
    Rule(r"prices/gpu_cloud_observations_2026/observations\.csv\.gz", "gpu_prices:GpuPrices", dropped=146 + 13),
    # spot prices that the list did not have before 2023-06
    Rule(
        r"prices/gcp_pricing_yml/derived_gpu_prices_monthly\.csv\.gz", "gcp_pricing:GcpPricing", times=2, dropped=4_117
    ),
    Rule(
        r"prices/skypilot_catalog_2021_2022/aws\.csv\.gz",
        "skypilot_catalog:SkypilotCatalog",
        {"provider": "aws"},
        dropped=3,
    ),
    Rule(
        r"prices/skypilot_catalog_2021_2022/gcp\.csv",
        "skypilot_catalog:SkypilotCatalog",
        {"provider": "gcp"},
        times=2,
        dropped=8,
    ),
    Rule(r"prices/ec2instances_2017/instances\.json\.gz", "ec2_instances:Ec2Instances", total=ec2, dropped=57_737),
    Rule(
        r"prices/gcp_pricing_yml/(?P<date>\d{4}-\d\d-\d\d)/pricing\.yml(?:\.gz)?",
        "gcp_pricing_yml:GcpPricingYml",
        {"zones": "none"},
        dropped=lambda path: 24 * ("2026-01-01" in str(path)),
        total=google,
    ),
    Rule(
        r"prices/gcp_pricing_yml/(?P<date>\d{4}-\d\d-\d\d)/pricing\.yml(?:\.gz)?",
        "gcp_pricing_yml:GcpEgress",
        dropped=lambda path: egress(path) * 2 // 3,
        total=egress,
    ),
    Rule(r"prices/gcp_pricing_yml/tools/machinetypezone\.csv", "gcp_pricing_yml:GcpMachines"),
    Rule(r"prices/gcp_pricing_yml/tools/machinetypes\.csv", "gcp_pricing_yml:GcpMachines", {"by_zone": False}),
    Rule(r"prices/gpu_offerings_2026/offerings\.json", "gpu_offerings:GpuOfferings"),
    # spot
    Rule(r"spot/aws_spot_advisor/spot-advisor-data\.json", "spot_advisor:SpotAdvisor", total=advice, dropped=10_361),
    Rule(
        r"(?P<path>spot/aws_spot_price_history/05\.tsv\.(gz|zst))",
        "aws_price_history:AwsPriceHistory",
        dropped=33_362 - 9_281,
    ),
    Rule(r"spot/bamboo/(?P<trace>p3|g4dn)-trace\.csv", "bamboo:Bamboo"),
    Rule(r"spot/bamboo/gcloud/v100x1-east1c\.txt", "bamboo:Bamboo", {"trace": "gcp-v100"}, dropped=24),
    Rule(r"spot/bamboo/gcloud/a100x1-east1b\.txt", "bamboo:Bamboo", {"trace": "gcp-a100"}),
    Rule(r"spot/skypilot_spot_strategy/(?P<trace>.+)\.txt", "spot_strategy:SpotStrategy"),
    Rule(r"spot/skypilot_spot_traces/(?P<trace>.+)\.json", "spot_skypilot:SpotSkypilot", total=ticks),
    Rule(r"spot/spotlake_azure/azure_demo_new\.json\.gz", "spotlake_azure:SpotlakeAzure", times=2),
    Rule(
        r"spot/training_on_a_dime/aws/cost/(?P<region>[^/]+)/(?P<instance>[^/]+)\.json",
        "training_on_a_dime:TrainingOnADime",
    ),
    Rule(
        r"spot/training_on_a_dime/azure/cost/(?P<region>\w+)\.csv",
        "training_on_a_dime:DimeAzure",
        times=12,
        dropped=azure,
    ),
    Rule(
        r"spot/training_on_a_dime/(?P<provider>aws|gcp)/availability/.+\.out",
        "training_on_a_dime:DimeProbes",
        dropped=deleted,
    ),
    Rule(r"(?P<path>spot/training_on_a_dime/gcp/spin_up_and_shut_down/.+\.out)", "training_on_a_dime:DimeSpinUps"),
    Rule(r"(?P<path>spot/training_on_a_dime/gcp/spin_up_and_shut_down/.+\.out)", "training_on_a_dime:DimeSpinUpPrices"),
]
#: Read by a test of its own below: one client is two files, from which requests are drawn.
SERVEGEN = r"llm_requests/servegen/(?P<model>\w+/[\w-]+)/chunk-(?P<client>\d+)-(trace\.csv|dataset\.json(\.gz)?)"
#: Not a table of data, because ...
NOT_DATA = {
    r"prices/gcp_pricing_yml/tools/acceleratortypezone\.csv": "which zones had which accelerators to attach; no prices",
    r"dl_jobs/alibaba_pai_2020/pai_\w+\.header": "the names of the columns of files without a header; documentation",
    r"failures/titan_gpu/titan\.service\.txt": "which of Titan's nodes are service nodes, which have no GPU",
}
#: Read along with the files that they describe; tests of their sources hold that.
BESIDE = {
    r"gpu_profiles/mlperf_\w+_v4\.\d/.+/system\.json": "the machines of a log of MLPerf",
    r"prices/gpu_offerings_2026/providers\.json": "the providers of the offers",
    r"spot/training_on_a_dime/azure/instance_mapping\.csv": "the GPUs of Azure's machines",
}


def filled(path: Path, but: str) -> int:
    """Cells of a table that are not empty, but for one column."""
    with path.open() as file:
        return sum(bool(cell) for row in csv.DictReader(file) for name, cell in row.items() if name != but)


def matching(path: str) -> list[tuple[Rule, re.Match[str]]]:
    return [(rule, found) for rule in RULES if (found := re.fullmatch(rule.pattern, path))]


CASES = [(path, rule, found) for path in MANIFEST for rule, found in matching(path)]


def made(rule: Rule, found: re.Match[str], folder: Path) -> Source:
    module, _, name = rule.source.partition(":")
    cls = getattr(importlib.import_module(f"hcsim.traces.{module}"), name)
    given: dict[str, Any] = found.groupdict()
    given |= {key: int(value) for key, value in given.items() if value.isdigit() and key != "cluster"}
    if "path" in given:
        given["path"] = str(folder / found[0])
    source: Source = cls(data_dir=str(folder), **{**given, **(rule.parameters or {})})
    return source


@pytest.mark.parametrize(
    ("path", "rule", "found"), CASES, ids=[f"{path}-{rule.source.partition(':')[2]}" for path, rule, _ in CASES]
)
def test_a_file_gives_the_rows_that_it_holds(shared_traces: Path, path: str, rule: Rule, found: re.Match[str]) -> None:
    table = made(rule, found, shared_traces).read()
    assert table.source == str(shared_traces / (rule.file or path))
    left_out = sum(each.count for each in table.dropped)
    wanted = rule.times * MANIFEST[path] if rule.total is None else rule.total(shared_traces / path)
    assert len(table) + left_out == wanted
    assert left_out == (rule.dropped if isinstance(rule.dropped, int) else rule.dropped(shared_traces / path))
    assert len(table.rows) == len(table) and (len(table) == 0 or table.rows.min() >= 1)
    assert table.kind == type(made(rule, found, shared_traces)).kind


def test_every_file_is_read_or_is_no_data_for_a_reason(shared_traces: Path) -> None:
    assert len(MANIFEST) == 615
    for path in MANIFEST:
        assert (shared_traces / path).is_file()
        other = [pattern for pattern in (SERVEGEN, *NOT_DATA, *BESIDE) if re.fullmatch(pattern, path)]
        assert bool(matching(path)) + len(other) == 1, path
    for pattern in (SERVEGEN, *NOT_DATA, *BESIDE, *(rule.pattern for rule in RULES)):
        assert any(re.fullmatch(pattern, path) for path in MANIFEST), pattern


def test_every_source_reads_a_file(shared_traces: Path) -> None:
    modules = [importlib.import_module(f"hcsim.traces.{name}") for name in available()]
    known = [cls for module in modules for cls in vars(module).values() if isinstance(cls, type)]
    known = [cls for cls in known if issubclass(cls, Source) and hasattr(cls, "kind")]
    sources = {f"{cls.__module__.removeprefix('hcsim.traces.')}:{cls.__name__}" for cls in known} - {"_table:JobSource"}
    read = {rule.source for _, rule, _ in CASES}
    # BurstGPT has no sample here, twins draw theirs; Skyplane joins three tables that are read singly; ServeGen has
    # a test of its own; tables are hcsim's own; Sia's and Pollux' jobs join two sources that are read singly
    assert sources - read == {
        "burstgpt:Burstgpt",
        "table:TableFile",
        "sia:SiaJobs",
        "pollux:PolluxJobs",
        "fitted_market:FittedAvailability",
        "fitted_market:FittedPrices",
        "fitted_requests:FittedRequests",
        "servegen:Servegen",
        "skyplane:Skyplane",
    }


CLIENTS = [found for path in MANIFEST if (found := re.fullmatch(SERVEGEN, path)) and path.endswith("trace.csv")]


@pytest.mark.parametrize("found", CLIENTS, ids=lambda found: f"{found['model']}-{found['client']}")
def test_a_client_of_servegen_gives_requests_at_its_rates(
    shared_traces: Path, tmp_path: Path, found: re.Match[str]
) -> None:
    """Its two files alone: windows and periods as many as the MANIFEST says, requests at the rates of the first,
    lengths out of the second."""
    rates = shared_traces / found[0]
    (lengths,) = rates.parent.glob(f"chunk-{found['client']}-dataset.json*")
    with rates.open() as file:
        windows = [(float(row[0]), float(row[1] or 0)) for row in csv.reader(file)]
    assert (
        len(windows) == MANIFEST[found[0]] == {"language/m-small": 14 * 144, "reason/deepseek-r1": 144}[found["model"]]
    )
    with gzip.open(lengths, "rt") if lengths.suffix == ".gz" else lengths.open() as file:
        periods = json.load(file)
    assert len(periods) == MANIFEST[str(lengths.relative_to(shared_traces))]
    for path in (rates, lengths):
        (tmp_path / path.name).symlink_to(path)
    so_far = np.cumsum([rate * 600.0 for _, rate in windows])
    last = min(int(np.searchsorted(so_far, 500.0)), len(windows) - 1)
    table = Servegen(path=str(tmp_path), hours=(windows[last][0] + 600.0) / 3600.0, seed=3).read()
    assert not table.told and set(table.frame["client"]) == {found["client"]}
    assert len(table) == pytest.approx(so_far[last], rel=0.25)
    known = {int(each) for columns in periods.values() for each in re.findall(r"(\d+):", columns["output_tokens"])}
    assert set(table.frame["output_tokens"]) <= known
