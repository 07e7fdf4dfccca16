"""Training on a Dime's probes and prices, and Alibaba's service metrics: against their files, read a second way, and on
files written here in their formats."""

from __future__ import annotations

import csv
import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from hcsim import InputError
from hcsim.traces._table import Source
from hcsim.traces.alibaba_genai import METRICS, AlibabaGenaiMetrics, AlibabaGenaiProcessed
from hcsim.traces.training_on_a_dime import DimeAzure, DimeProbes, DimeSpinUpPrices, DimeSpinUps

DIME = "spot/training_on_a_dime"
GENAI = "llm_requests/alibaba_2026_genai"


def manifest(shared: Path, prefix: str) -> dict[Path, int]:
    """The files below a prefix and their rows, as the manifest has them."""
    with (shared / "MANIFEST.csv").open() as file:
        return {shared / r["path"]: int(r["rows"]) for r in csv.DictReader(file) if r["path"].startswith(prefix)}


def error(source: Source) -> str:
    with pytest.raises(InputError) as said:
        source.read()
    assert "\n" not in str(said.value)
    return str(said.value)


# --- Training on a Dime ---


def test_azures_prices_in_all(shared_traces: Path) -> None:
    files = manifest(shared_traces, f"{DIME}/azure/cost/")
    assert len(files) == 3
    for path, rows in files.items():
        with path.open() as file:
            known = list(csv.DictReader(file))
        table = DimeAzure(str(shared_traces), region=path.stem).read()
        assert table.frame.equals(DimeAzure(path=str(path)).read().frame)
        cells = [(r["Date"], name, r[name]) for r in known for name in r if name != "Date"]
        assert len(known) == rows and len(cells) == 12 * rows
        given = [float(price.removeprefix("$")) for _, _, price in cells if price]
        assert len(table) == len(given) and sum(each.count for each in table.dropped) == len(cells) - len(given)
        assert table.frame["usd_per_h"].tolist() == given
    frame = DimeAzure(str(shared_traces)).read().frame
    first = frame[frame["instance"] == "NC24s v3"].iloc[0]  # 2/24/2020, $2.41250, four V100
    assert first["time_s"] == datetime(2020, 2, 24, tzinfo=UTC).timestamp()
    assert (first["usd_per_h"], first["gpu"], first["gpus"], first["place"]) == (2.4125, "V100", 4.0, "azure:eastus")


@pytest.mark.parametrize(("provider", "deleted"), [("aws", 32), ("gcp", 417)])
def test_probes_in_all(shared_traces: Path, provider: str, deleted: int) -> None:
    ((path, rows),) = manifest(shared_traces, f"{DIME}/{provider}/availability/").items()
    table = DimeProbes(str(shared_traces), provider=provider).read()
    assert table.frame.equals(DimeProbes(path=str(path)).read().frame)
    text = path.read_text().splitlines()
    assert len(text) == rows == len(table) + deleted
    assert [(each.reason, each.count) for each in table.dropped] == [("a message of deletion", deleted)]
    frame = table.frame
    up = [(" running in" in line and " not running" not in line) or "Created" in line for line in text]
    assert frame["nodes"].tolist() == [int(up[row - 1]) for row in table.rows]
    zoned = [line.rsplit(" ", 1)[-1] if " in zone " in line else "" for line in text]
    for row, place in zip(table.rows, frame["place"], strict=True):
        assert zoned[row - 1] in ("", place.removeprefix(f"{provider}:"))
    assert (np.diff(frame["time_s"]) >= 0).all() and 1.5 < (
        frame["time_s"].iloc[-1] - frame["time_s"].iloc[0]
    ) / 86400 < 3


def test_aws_is_probed_in_sweeps(shared_traces: Path) -> None:
    frame = DimeProbes(str(shared_traces)).read().frame
    # eight kinds of node in two zones, each seen once a sweep, and once more when it was gone and asked for again: that
    # holds only if failures that name no zone are given the right one
    text = (shared_traces / DIME / "aws/availability/persistent_2020-03-15.out").read_text()
    gone = text.count("not running")
    kinds = frame.groupby(["place", "gpu", "gpus"])
    assert len(kinds) == 8 and (len(frame) - gone) % 8 == 0
    sweeps = (len(frame) - gone) // 8
    extra = kinds.size() - sweeps
    assert (extra >= 0).all() and extra.sum() == gone
    stopped = frame[frame["nodes"] == 0].groupby(["place", "gpu", "gpus"]).size()
    assert set(stopped.index) == {("aws:us-east-1b", "K80", 8.0), ("aws:us-east-1c", "K80", 1.0), ("aws:us-east-1c", "K80", 8.0)}  # fmt: skip  # noqa: E501


def test_google_had_no_v100_in_one_zone(shared_traces: Path) -> None:
    frame = DimeProbes(str(shared_traces), provider="gcp").read().frame
    share = frame.groupby(["place", "gpu"])["nodes"].mean()
    assert len(share) == 9 and share[("gcp:us-east1-c", "V100")] == 0.0  # instance3, of which no line says the type
    assert (share.drop(("gcp:us-east1-c", "V100")) > 0.5).all()


def test_spin_ups_in_all(shared_traces: Path) -> None:
    files = manifest(shared_traces, f"{DIME}/gcp/spin_up_and_shut_down/")
    prices = DimeSpinUpPrices(str(shared_traces)).read()
    assert len(files) == 8 and len(prices) == sum(files.values()) == 209
    per_gpu = prices.frame["usd_per_h"] / prices.frame["gpus"]
    for gpu, list_price in (("V100", 0.74), ("P100", 0.43), ("K80", 0.135)):  # and 15 % on top, rounded to mills
        assert per_gpu[prices.frame["gpu"] == gpu].to_numpy() == pytest.approx(list_price * 1.15, abs=6e-4)
    frame = DimeSpinUps(str(shared_traces)).read().frame
    assert frame["nodes"].sum() == 209 and frame["time_s"].nunique() == 8
    by_time = frame.groupby("time_s")["nodes"].sum().tolist()
    assert by_time == [files[path] for path in sorted(files)]
    short = frame[frame["time_s"] == datetime(2020, 2, 26, 21, 57, 37, tzinfo=UTC).timestamp()]
    assert set(short["place"]) == {"gcp:us-west1-b"} and len(short) == 8  # a log that stops after its first zone
    one = DimeSpinUps(path=str(min(files))).read().frame
    assert len(one) == 28 and one["nodes"].eq(1).all()


def test_azures_prices(tmp_path: Path) -> None:
    (tmp_path / "instance_mapping.csv").write_text("Instance,GPU type,# GPUs\nNC6,K80,1\nNC24s v3,V100,4\n")
    path = tmp_path / "us_east.csv"
    path.write_text("Date,NC6,NC24s v3\r\n2/24/2020,$0.25,\r\n2/25/2020,$0.50,$2.5\r\n")
    table = DimeAzure(path=str(path)).read()
    assert table.frame["usd_per_h"].tolist() == [0.25, 0.5, 2.5] and table.rows.tolist() == [2, 3, 3]
    assert [(each.count, each.row) for each in table.dropped] == [(1, 2)]
    for text, said in (
        ("Date,NC6\n2/24/2020,free\n", "row 2: NC6 is 'free', expected a price, $0.25"),
        ("Date,NC6\n24/2/2020,$1\n", "row 2: Date is '24/2/2020', expected a day, M/D/YYYY"),
        ("Date,NC6\n2/24/2020,$-1\n", "row 2: usd_per_h is -1.0, expected 0 or more"),
        ("Date,NC7\n2/24/2020,$1\n", "row 1: no machine 'NC7' is known; did you mean 'NC6'?"),
        ("Day,NC6\n2/24/2020,$1\n", "row 1: no machine 'Day' is known"),
    ):
        path.write_text(text)
        assert said in error(DimeAzure(path=str(path)))
    path.rename(tmp_path / "mars.csv")
    assert "trace.region is not given" in error(DimeAzure(path=str(tmp_path / "mars.csv")))
    (tmp_path / "instance_mapping.csv").unlink()
    assert "instance_mapping.csv: cannot be read" in error(DimeAzure(path=str(tmp_path / "mars.csv"), region="us_east"))


AWS = """\
[2020-03-15T10:00:00.000Z] Created instance i-0a with 1 GPU(s) of type v100 in zone us-east-1b
[2020-03-15T10:00:30.000Z] Created instance i-0b with 8 GPU(s) of type k80 in zone us-east-1b
[2020-03-15T10:01:00.000Z] Created instance i-0c with 1 GPU(s) of type v100 in zone us-east-1c
[2020-03-15T10:01:30.000Z] Instance with 8 GPU(s) of type k80 creation failed
[2020-03-15T10:11:00.000Z] Instance i-0a running in zone us-east-1b
[2020-03-15T10:11:01.000Z] Instance i-0b not running in zone us-east-1b
[2020-03-15T10:11:02.000Z] Successfully deleted instance i-0b
[2020-03-15T10:11:30.000Z] Instance with 8 GPU(s) of type k80 creation failed
[2020-03-15T10:11:31.000Z] Instance i-0c running in zone us-east-1c
[2020-03-15T10:12:00.000Z] Instance with 8 GPU(s) of type k80 creation failed
[2020-03-15T10:22:00.000Z] Instance i-0a running in zone us-east-1b
[2020-03-15T10:22:30.000Z] Created instance i-0d with 8 GPU(s) of type k80 in zone us-east-1b
[2020-03-15T10:22:31.000Z] Instance i-0c running in zone us-east-1c
[2020-03-15T10:23:00.000Z] Instance with 8 GPU(s) of type k80 creation failed
"""


def test_probes_of_awss(tmp_path: Path) -> None:
    path = tmp_path / "x.out"
    path.write_text(AWS)
    frame = DimeProbes(path=str(path)).read().frame
    seen = list(zip(frame["place"].str[-1], frame["gpu"], frame["nodes"], strict=True))
    first = [("b", "V100", 1), ("b", "K80", 1), ("c", "V100", 1), ("c", "K80", 0)]
    second = [("b", "V100", 1), ("b", "K80", 0), ("b", "K80", 0), ("c", "V100", 1), ("c", "K80", 0)]
    assert seen == [*first, *second, *first]
    assert frame["time_s"].iloc[0] == datetime(2020, 3, 15, 10, tzinfo=UTC).timestamp()
    path.write_text(AWS.replace("Instance i-0c running", "Instance i-0c walking"))
    assert "row 9: the line is '[2020-03-15T10:11:31.000Z] Instance i-0c walking" in error(DimeProbes(path=str(path)))
    path.write_text(AWS.replace("2020-03-15T10:11:00", "2020-33-15T10:11:00"))
    assert "row 5: time is '2020-33-15T10:11:00.000Z', expected a time" in error(DimeProbes(path=str(path)))
    path.write_text("hello\n")
    assert "expected a line of a log of probes" in error(DimeProbes(path=str(path)))
    path.write_text(AWS.splitlines()[3] + "\n")
    assert "no line tells of a node in a zone" in error(DimeProbes(path=str(path)))


def test_probes_of_googles(tmp_path: Path) -> None:
    path = tmp_path / "x.out"
    path.write_text(
        "[2020-03-01T10:00:00.000Z] Created instance instance0 with 1 GPU(s) of type nvidia-tesla-v100 in zone a-b\n"
        "[2020-03-01T10:00:01.000Z] Instance instance0 running in zone a-b\n"
        "[2020-03-01T10:00:02.000Z] Created instance instance1 with 1 GPU(s) of type nvidia-tesla-k80 in zone a-b\n"
        "[2020-03-01T10:00:03.000Z] Instance instance1 running in zone a-b\n"
        "[2020-03-01T10:00:04.000Z] Instance instance2 creation failed\n"
        "[2020-03-01T10:00:05.000Z] Instance instance2 not running in zone a-c\n"
        "[2020-03-01T10:00:06.000Z] Created instance instance3 with 1 GPU(s) of type nvidia-tesla-k80 in zone a-c\n"
        "[2020-03-01T10:00:07.000Z] Instance instance4 creation failed\n"
        "[2020-03-01T10:00:08.000Z] Instance instance4 not running in zone a-d\n"
    )
    table = DimeProbes(path=str(path)).read()
    assert set(table.frame["place"]) == {"gcp:a-b", "gcp:a-c"}
    mine = table.frame[table.frame["place"] == "gcp:a-c"]
    assert mine["gpu"].tolist() == ["V100", "V100", "K80"] and mine["nodes"].tolist() == [0, 0, 1]
    # of zone a-d no node came up: whether it was asked for a V100 or a K80 is not told
    assert [(each.reason, each.count, each.row) for each in table.dropped] == [
        ("the zone or kind of the node is not told", 2, 8)
    ]


def test_spin_ups(tmp_path: Path) -> None:
    line = "Zone: {}, GPU type: nvidia-tesla-{}, Number of GPUs: {}, Price per hour: ${}\n"
    one, two = tmp_path / "2020-02-26T17_03_53.000Z.out", tmp_path / "2020-02-27T01:26:08.000Z.out"
    one.write_text(line.format("z-a", "v100", 1, "0.851") + line.format("z-b", "k80", 2, "0.310"))
    two.write_text(line.format("z-a", "v100", 4, "3.404"))
    table = DimeSpinUps(path=str(tmp_path)).read()
    seen = list(zip(table.frame["place"], table.frame["gpus"], table.frame["nodes"], strict=True))
    assert sorted(seen[:3]) == [("gcp:z-a", 1.0, 1), ("gcp:z-a", 4.0, 0), ("gcp:z-b", 2.0, 1)]
    assert sorted(seen[3:]) == [("gcp:z-a", 1.0, 0), ("gcp:z-a", 4.0, 1)]
    assert DimeSpinUpPrices(path=str(tmp_path)).read().frame["usd_per_h"].tolist() == [0.851, 0.31, 3.404]
    two.write_text("Zone: z-a, GPU type: v100\n" + line.format("z-a", "v100", 4, "3.404"))
    assert "row 1: the line is 'Zone: z-a, GPU type: v100'" in error(DimeSpinUps(path=str(tmp_path)))
    two.write_text(line.format("z-a", "v100", 4, "3.4.0"))
    assert "row 1: Price per hour is '3.4.0', expected a price" in error(DimeSpinUpPrices(path=str(two)))
    other = two.rename(tmp_path / "log.out")
    assert "its name is no time" in error(DimeSpinUps(path=str(other)))
    assert "expected a folder with logs" in error(DimeSpinUps(path=str(tmp_path / "none")))


# --- Alibaba's service ---


def packed(path: Path, members: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def unpacked(path: Path) -> list[dict[str, str]]:
    with tarfile.open(path) as archive:
        (member,) = (each for each in archive if not Path(each.name).name.startswith("._"))
        file = archive.extractfile(member)
        assert file is not None
        return list(csv.DictReader(io.TextIOWrapper(file)))


def test_alibabas_metrics_in_all(shared_traces: Path) -> None:
    files = {path.name.partition(".")[0]: n for path, n in manifest(shared_traces, GENAI).items()}
    assert set(files) - set(METRICS) == {"data_trace_processed", "lora_request_trace"}
    for name in METRICS:
        table = AlibabaGenaiMetrics(str(shared_traces), table_name=name).read()
        known = unpacked(shared_traces / GENAI / f"{name}.tar.gz")
        frame = table.frame
        assert len(frame) == len(known) == files[name] and not table.dropped
        _, unit, factor = METRICS[name]
        assert set(frame["unit"]) == {unit}
        assert frame["value"].tolist() == pytest.approx([float(r["value"]) * factor for r in known])
        assert frame["entity"].tolist() == [r["container_ip"] for r in known]
        assert frame["time_s"].tolist() == [float(r["timestamp_anon"]) for r in known]
        assert frame["time_s"].min() >= 1662858720 and frame["time_s"].max() <= 1662858720 + 22.8 * 3600
    qps = AlibabaGenaiMetrics(str(shared_traces)).read().frame
    assert set(qps["metric"]) == {"API Requests", "Generative Requests"}
    for name in ("pod_gpu_duty_cycle_anon", "pod_memory_util_anon"):  # one in percent in its file, one not
        shares = AlibabaGenaiMetrics(str(shared_traces), table_name=name).read().frame["value"]
        assert -1e-4 < shares.min() <= 0.0 and 0.9 < shares.max() <= 1.0
    inference = AlibabaGenaiMetrics(str(shared_traces), table_name="pipeline_inference_data_anon").read().frame["value"]
    assert 1.0 < inference.median() < 60.0  # an image takes seconds


def test_alibabas_processed_requests(shared_traces: Path) -> None:
    known = unpacked(shared_traces / GENAI / "data_trace_processed.tar.gz")
    frame = AlibabaGenaiProcessed(str(shared_traces)).read().frame
    assert len(frame) == len(known) == 68_195
    assert frame["service_s"].tolist() == [float(r["exec_time_seconds"]) for r in known]
    assert frame["prompt_tokens"].sum() == sum(int(float(r["prompt_length"] or 0)) for r in known)
    assert frame["arrival_s"].isna().all()


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "queue_rt_raw_anon.tar.gz"
    text = "value,container_ip,timestamp_anon\n196.0,ab,1662859347.0\n425.0,,1662859803.0\n"
    packed(path, {"._queue_rt_raw_anon.csv": "Mac OS X\0", "queue_rt_raw_anon.csv": text})
    frame = AlibabaGenaiMetrics(path=str(path)).read().frame
    assert frame["value"].tolist() == [0.196, 0.425] and frame["entity"].tolist() == ["ab", ""]
    assert set(frame["unit"]) == {"s"}
    plain = tmp_path / "queue_rt_raw_anon.csv"
    plain.write_text(text)
    assert AlibabaGenaiMetrics(path=str(plain)).read().frame.equals(frame)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in error(AlibabaGenaiMetrics(path=str(path)))
    path.write_text("no archive")
    assert "not an archive of a table" in error(AlibabaGenaiMetrics(path=str(path)))
    packed(path, {"a.csv": text, "b.csv": text})
    assert "holds 2 files, expected one table" in error(AlibabaGenaiMetrics(path=str(path)))
    packed(path, {"a.csv": text.replace("425.0", "slow")})
    assert "row 3: value is 'slow', expected a number" in error(AlibabaGenaiMetrics(path=str(path)))
    other = path.rename(tmp_path / "other.tar.gz")
    assert "trace.table_name is not given" in error(AlibabaGenaiMetrics(path=str(other)))
    assert "no table_name 'pqs'; did you mean 'qps'?" in error(AlibabaGenaiMetrics("data", table_name="pqs"))
    header = "exec_time_seconds,prompt_length,checkpoint_model_version_id\n"
    packed(other, {"a.csv": header + "22.0,54.5,m\n"})
    assert "row 2: prompt_tokens is 54.5, expected a whole number" in error(AlibabaGenaiProcessed(path=str(other)))
