"""Names of GPUs and cloud regions against lists that others have published."""

from __future__ import annotations

import ast
import csv
import gzip
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsim.perf import RELATIVE_SPEED
from hcsim.traces._gpus import AWS, AZURE, canonical, is_gpu, named, of_instance, of_instances
from hcsim.traces._places import AWS_CITIES, AZURE_NAMES, place, places, region_code


def records(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("spelt", "name"),
    [
        ("A100_SXM_80GB", "A100"), ("A100-SXM4-80GB", "A100"), ("a100-80gb", "A100"), ("A100_PCIE_40GB", "A100-40GB"),
        ("nvidia-tesla-a100", "A100"), ("NVIDIA A100 80GB PCIe", "A100"), ("A100-40GB", "A100-40GB"),
        ("H100_NVL", "H100"), ("h100-80gb-pcap", "H100"), ("NVIDIA H100 80GB HBM3", "H100"), ("H100-94GB", "H100-94GB"),
        ("v100", "V100"), ("V100M16", "V100"), ("V100M32", "V100-32GB"), ("Tesla V100-SXM2-32GB", "V100-32GB"),
        ("A10G", "A10"), ("K80", "K80"), ("T4G", "T4G"), ("nvidia-l4", "L4"), ("L40S", "L40S"),
        ("RTX_4090", "RTX4090"), ("GeForce RTX 2080 Ti", "RTX2080TI"), ("RTX_PRO_6000", "RTXPRO6000"),
        ("Quadro RTX 6000", "RTX6000"), ("RTX 6000 Ada", "RTX6000ADA"), ("RTX A6000", "RTXA6000"),
        ("A6000", "RTXA6000"), ("Radeon Pro V520", "V520"), ("AMD Instinct MI300X", "MI300X"),
        ("Gaudi HL-205", "Gaudi"), ("NVIDIA GB200 NVL72", "GB200"), ("A800-SXM4-80GB", "A800"),
        # what is no known GPU stays
        ("tpu-v2-8", "tpu-v2-8"), ("GPU-series-1", "GPU-series-1"), ("MISC", "MISC"), ("G2", "G2"), ("intel", "intel"),
        (" c3-88 ", "c3-88"), ("", ""),
    ],
)  # fmt: skip
def test_one_name_for_each_gpu(spelt: str, name: str) -> None:
    assert canonical(spelt) == name
    assert canonical(name) == name
    assert named(pd.Series([spelt, spelt])).tolist() == [name, name]


def test_the_names_that_have_a_speed_are_names() -> None:
    for name in RELATIVE_SPEED:
        if name not in ("cpu", "G2", "G3", "MISC"):  # what Alibaba calls types that it does not tell
            assert canonical(name.lower()) == canonical(f"NVIDIA {name}") == name and is_gpu(name)
    assert not is_gpu("intel") and not is_gpu("") and not is_gpu("c3")
    assert named(pd.Series(["V100M16|V100M32", "T4", ""])).tolist() == ["V100|V100-32GB", "T4", ""]


@given(st.text(max_size=20))
def test_a_name_is_a_fixed_point(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


def test_every_machine_holds_a_gpu_by_its_name() -> None:
    for table in (AWS, AZURE):
        for instance, (gpu, count) in table.items():
            assert canonical(gpu) == gpu and count > 0, instance
    assert all(of_instance("azure", f"Standard_{name}") == held for name, held in AZURE.items())
    assert [of_instance(cloud, "n1-standard-8") for cloud in ("aws", "azure", "gcp", "lambda")] == [("", 0.0)] * 4
    for name, held in {
        "a2-ultragpu-4g": ("A100", 4), "a2-megagpu-16g": ("A100-40GB", 16), "a3-ultragpu-8g": ("H200", 8),
        "a3-highgpu-1g": ("H100", 1), "a4-highgpu-8g": ("B200", 8), "a4x-highgpu-4g": ("GB200", 4),
        "g4-standard-48": ("RTXPRO6000", 1), "g4-standard-6": ("RTXPRO6000", 1 / 8), "g2-standard-96": ("L4", 8),
    }.items():  # fmt: skip
        assert of_instance("gcp", name) == held
    gpu, gpus = of_instances("aws", pd.Series(["p5.48xlarge", "m5.large", "g6f.large"]))
    assert (gpu.tolist(), gpus.tolist()) == (["H100", "", "L4"], [8.0, 0.0, 0.125])


def test_awss_machines_are_those_of_skypilots_catalogue(shared_traces: Path) -> None:
    """GPU, count and the memory of one, as AWS's interface gave them in 2021."""
    seen = 0
    for row in records(shared_traces / "prices/skypilot_catalog_2021_2022/aws.csv.gz"):
        gpu, count = of_instance("aws", row["InstanceType"])
        assert count == float(row["GpuCount"] or 0), row["InstanceType"]
        if not row["GpuCount"]:
            continue
        seen += 1
        if row["GpuName"] != "A100":  # its A100 is the one of 40 GB
            assert canonical(row["GpuName"]) == gpu
        mib = ast.literal_eval(row["GpuInfo"])["Gpus"][0]["MemoryInfo"]["SizeInMiB"]
        sizes = {"A100-40GB": 40, "V100": 16, "V100-32GB": 32}
        assert gpu not in sizes or mib == sizes[gpu] * 1024
    assert seen == 89


def test_awss_machines_are_those_of_2017(shared_traces: Path) -> None:
    with gzip.open(shared_traces / "prices/ec2instances_2017/instances.json.gz") as file:
        known = json.load(file)
    assert len(known) == 88
    assert sum(each["GPU"] > 0 for each in known) == 9
    for each in known:
        if each["instance_type"].split(".")[0] not in ("g2", "cg1"):  # listed without their GPUs
            assert of_instance("aws", each["instance_type"])[1] == each["GPU"], each["instance_type"]


def test_azures_machines_are_those_of_2020(shared_traces: Path) -> None:
    rows = records(shared_traces / "spot/training_on_a_dime/azure/instance_mapping.csv")
    assert len(rows) == 12
    for row in rows:
        held = (row["GPU type"], float(row["# GPUs"]))
        assert of_instance("azure", row["Instance"].replace(" ", "_")) == held


def test_googles_machines_are_those_of_its_price_list(shared_traces: Path) -> None:
    """Where it says the accelerators of a machine type, as it does for most."""
    keys = {"a100": "A100-40GB", "a100-80gb": "A100", "h100-80gb": "H100", "h100-80gb-mega": "H100", "l4": "L4"}
    instance, seen = "", {}
    with gzip.open(shared_traces / "prices/gcp_pricing_yml/2026-01-01/pricing.yml.gz", "rt") as file:
        for line in file:
            if found := re.fullmatch(r"    ([a-z0-9-]+):\n", line):
                instance = found[1]
            elif (found := re.fullmatch(r"      ([a-z0-9-]+): ([\d.]+)\n", line)) and found[1] in keys:
                seen[instance] = (keys[found[1]], float(found[2]))
    assert len(seen) == 22
    for name, held in seen.items():
        assert of_instance("gcp", name) == held, name


def test_regions_have_one_name(shared_traces: Path) -> None:
    rows = records(shared_traces / "carbon/gsf_real_time_cloud/Cloud_Region_Metadata.csv")
    where = {row["cloud-region"]: row["location"] for row in rows if row["cloud-provider"] == "Amazon Web Services"}
    for city, code in AWS_CITIES.items():
        wanted = {"Sao Paulo": "São Paulo", "Montreal": "Central"}.get(city, city)
        assert wanted in where[code], city
        assert place("AWS", city) == place("Amazon Web Services", code) == f"aws:{code}"
    azure = {
        region.partition(":")[2]
        for row in records(shared_traces / "network/skyplane/cost.csv")
        for region in (row["src"], row["dest"])
        if region.startswith("azure:")
    }
    assert len(azure) > 20 and azure <= set(AZURE_NAMES.values())
    full = {
        row["cloud-region"]: row["location"].rpartition(": ")[2]
        for row in rows
        if row["cloud-provider"] == "Microsoft Azure" and ": " in row["location"]
    }
    assert len(full) == 9  # "Virginia: East US 2"
    for code, name in full.items():
        if code != "eastus3":  # not open then
            assert place("Microsoft Azure", name.replace("west US", "West US")) == f"azure:{code}"
    for name, code in AZURE_NAMES.items():
        assert region_code("azure", name) == region_code("azure", code) == code
    assert len(set(AZURE_NAMES.values())) == len(AZURE_NAMES)


def test_what_is_no_region_keeps_its_words() -> None:
    assert place("Azure", "Multi-region") == "azure:Multi-region"
    assert place("Azure", "UK South / UK West") == "azure:UK South / UK West"
    assert place("GCP", "Unknown") == "gcp:Unknown" and place("AWS", "GovCloud") == "aws:GovCloud"
    assert place("lambda", "us-west-1") == "lambda:us-west-1" and place("aws", "") == "aws"
    assert places("Google Cloud", pd.Series(["us-east4", "us-east4", "us-central1-a"])).tolist() == [
        "gcp:us-east4", "gcp:us-east4", "gcp:us-central1-a",
    ]  # fmt: skip
