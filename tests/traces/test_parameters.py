"""What a file is of: said by its name or content where that is certain, asked for where it is not, never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hcsim import InputError
from hcsim.traces._catalog import make, recognised
from hcsim.traces._table import Source, Unsaid
from tests.traces.samples import SAMPLES

#: Source, published file, and the parameters that name it in the data folder.
PUBLISHED: list[tuple[str, str, dict[str, Any]]] = [
    ("gaia", "dl_jobs/gaia/pai-100k.csv.gz", {"sample": "pai"}),
    ("gaia", "dl_jobs/gaia/azure-100k.csv.gz", {"sample": "azure"}),
    ("gaia", "dl_jobs/gaia/mustang-trace-2015-100k.csv.gz", {"sample": "mustang"}),
    ("gaia", "dl_jobs/gaia/pai_1k.csv", {"sample": "pai_1k"}),
    ("carbon_lets_wait_awhile", "carbon/lets_wait_awhile/ger_ci.csv.gz", {"zone": "DE"}),
    ("carbon_lets_wait_awhile", "carbon/lets_wait_awhile/fr_ci.csv", {"zone": "FR"}),
    ("carbon_lets_wait_awhile", "carbon/lets_wait_awhile/gb_ci.csv", {"zone": "GB"}),
    ("carbon_opendc", "carbon/opendc/2022-01-01_2022-12-31_NL.parquet", {"zone": "NL"}),
    ("carbon_opendc", "carbon/opendc/AT_2021-2024.parquet", {"zone": "AT"}),
    ("carbon_regions:CarbonGoogle", "carbon/google_region_carbon/2019.csv", {"year": 2019}),
    ("profile_zeus", "gpu_profiles/zeus/summary_power_a40.csv", {"gpu": "a40"}),
    ("profile_zeus", "gpu_profiles/zeus/summary_power_rtx6000.csv", {"gpu": "rtx6000"}),
    ("helios_earth", "dl_jobs/helios_earth/vcSoL/cluster_sequence_vc.csv.gz", {"cluster": "vcSoL"}),
    ("profile_vidur", "gpu_profiles/vidur/compute/a40/meta-llama/Llama-2-70b-hf/mlp.csv",
     {"gpu": "a40", "model": "meta-llama/Llama-2-70b-hf"}),
    ("profile_sia", "gpu_profiles/sia/bert/placements-dgx-ext.csv",
     {"model": "bert", "table_name": "placements-dgx-ext"}),
    ("profile_ml_energy", "gpu_profiles/ml_energy/gpqa.json", {"task": "gpqa"}),
    ("bamboo", "spot/bamboo/g4dn-trace.csv", {"trace": "g4dn"}),
    ("bamboo", "spot/bamboo/gcloud/v100x1-east1c.txt", {"trace": "gcp-v100"}),
    ("bamboo", "spot/bamboo/gcloud/a100x1-east1b.txt", {"trace": "gcp-a100"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "parameters"), PUBLISHED, ids=lambda x: Path(x).name if "/" in x else None)
def test_a_published_file_is_known_by_its_name(
    shared_traces: Path, tmp_path: Path, name: str, file: str, parameters: dict[str, Any]
) -> None:
    path = shared_traces / file
    if not path.exists():
        pytest.skip(f"no {file} in the shared traces")
    wanted = make(name, {"data_dir": str(shared_traces), **parameters}).read()
    assert make(name, {"path": str(path)}).read().frame.equals(wanted.frame)
    other = tmp_path / f"mine-placements-dgx-ext{''.join(path.suffixes)}"
    other.symlink_to(path)
    with pytest.raises(Unsaid) as error:
        make(name, {"path": str(other)}).read()
    asked = next(key for key in parameters if key != "table_name")
    assert f"{other}: trace.{asked} is not given, and the file does not say it; expected {asked}=" in str(error.value)
    given = make(name, {"path": str(other), **parameters}).read().frame
    unnamed = given.drop(columns="gpu").equals(wanted.frame.drop(columns="gpu")) if name == "profile_sia" else False
    assert given.equals(wanted.frame) or unnamed


def test_a_catalogue_is_known_by_its_columns_and_has_no_day_of_its_own(shared_traces: Path) -> None:
    for provider, file in (("aws", "aws.csv.gz"), ("gcp", "gcp.csv")):
        path = shared_traces / "prices/skypilot_catalog_2021_2022" / file
        wanted = make("skypilot_catalog", {"data_dir": str(shared_traces), "provider": provider}).read().frame
        frame = make("skypilot_catalog", {"path": str(path)}).read().frame
        assert set(frame["provider"]) == {provider}
        assert frame["time_s"].isna().all() and wanted["time_s"].notna().all()
        assert frame.drop(columns="time_s").equals(wanted.drop(columns="time_s"))


def test_hours_are_of_a_year(tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    path.write_text("arrival_time,length,cpus\n8784,1,1\n31536000,3600,1\n")
    with pytest.raises(InputError, match=r"row 3: arrival_time is 3.1536e\+07, expected at most 8784"):
        make("gaia", {"path": str(path), "sample": "azure"}).read()
    assert len(make("gaia", {"path": str(path), "sample": "pai_1k"}).read()) == 2


def test_names_that_the_data_folder_does_not_have() -> None:
    for name, parameters, said in (
        ("carbon_opendc", {"zone": "XX"}, "trace.zone: no zone 'XX'; known: AT, AU, BE, DE, FR, NL"),
        (
            "carbon_regions:CarbonGoogle",
            {"year": 2018},
            "trace.year: no year '2018'; known: 2019, 2020, 2021, 2022, 2023, 2024",
        ),
        ("gaia", {"sample": "pai1k"}, "no sample 'pai1k'; did you mean 'pai_1k'?"),
    ):
        with pytest.raises(InputError) as error:
            make(name, {"data_dir": "/nowhere", **parameters}).read()
        assert said in str(error.value)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_recognised(name: str, tmp_path: Path) -> None:
    sample = SAMPLES[name]
    folder = tmp_path / name.partition(":")[0]  # pollux and sia publish one format: their folders tell
    folder.mkdir()
    for file, raw in sample.files.items():
        (folder / file).write_bytes(raw)
    given = sample.parameters | ({"throughputs": str(folder / "t.json")} if name == "gavel" else {})
    path = folder if sample.folder else folder / next(iter(sample.files))
    label, source = recognised(path, given)
    if label != name:  # two sources of a module may read one file
        assert label.partition(":")[0] == name.partition(":")[0] and len(source.read()) > 0
        return
    assert isinstance(source, Source) and source.read().frame.equals(
        make(name, {"path": str(path), **given}).read().frame
    )


def test_what_fits_but_for_a_parameter_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("arrival_time,length,cpus\n0.5,1,1\n")
    with pytest.raises(InputError) as error:
        recognised(path)
    assert "expected sample=pai (hours) or pai_1k (seconds)" in str(error.value)
    assert str(error.value).endswith(", to read it as gaia")
    assert recognised(path, {"sample": "pai"})[0] == "gaia"
    with pytest.raises(InputError, match="no source has a parameter 'smaple'; did you mean 'sample'"):
        recognised(path, {"smaple": "pai"})


def test_a_damaged_log_is_recognised_by_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = "timestamp,duration,num_gpus,gpu_time,cluster\n" + "2017-10-09 07:01:55,66.0,1,66.0,vc1\n" * 20_000
    path.write_text(rows + "2017-10-09 07:01:55,long,1,66.0,vc1\n")  # far below what is looked at first
    label, source = recognised(path)
    assert label == "philly"
    with pytest.raises(InputError, match="row 20002: duration is 'long'"):
        source.read()
