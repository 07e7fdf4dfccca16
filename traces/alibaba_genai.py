"""Alibaba's Stable Diffusion serving of 2026: requests with run times (2024), and a day of its service's metrics."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import read_bytes, read_csv, stem, why
from hcsim.traces._table import Source, Table, checked, starts

FOLDER = "llm_requests/alibaba_2026_genai"
#: Archive -> (metric, unit, factor to the unit). The publisher's own words call the memory's share a percentage.
METRICS = {
    "qps": ("", "1/s", 1.0),  # what is counted is in the file
    "queue_rt_raw_anon": ("queue response time", "s", 1e-3),
    "queue_size_raw_anon": ("queue length", "requests", 1.0),
    "pipeline_update_latency_anon": ("pipeline load time", "s", 1e-3),
    "basemodel_update_latency_anon": ("base model load time", "s", 1e-3),
    "lora_update_latency_anon": ("LoRA load time", "s", 1e-3),
    "controlnet_latency_data_anon": ("ControlNet load time", "s", 1e-3),
    "pipeline_inference_data_anon": ("pipeline inference time", "s", 1e-3),
    "model_predict_data_anon": ("prediction time", "s", 1e-3),
    "pod_gpu_duty_cycle_anon": ("GPU duty cycle", "1", 1e-2),
    "pod_gpu_memory_used_bytes_anon": ("GPU memory used", "bytes", 1.0),
    "pod_memory_util_anon": ("memory utilisation", "1", 1.0),
}


@dataclass(frozen=True)
class AlibabaGenai(Source):
    """26,823 image requests. No tokens are made, so ``output_tokens`` is 0; ``prompt_tokens`` is the prompt's length as
    given, 0 where it is not.

    ``service_s`` is the execution time; the client is the request's group, the model its checkpoint. Times are wall
    clock without a zone (November and December 2024) and count from the first request.
    """

    kind = "requests"

    def read(self) -> Table:
        """The requests in the file's order."""
        path = self.file(f"{FOLDER}/lora_request_trace.csv.gz")
        text, number = ("groupId", "checkpoint_model_version_id"), ("exec_time_seconds", "prompt_length")
        kinds = (
            {"gmt_create": pa.timestamp("s")} | dict.fromkeys(text, pa.string()) | dict.fromkeys(number, pa.float64())
        )
        table = read_csv(path, kinds, nullable=("prompt_length", "exec_time_seconds", *text))
        when = table["gmt_create"].to_numpy().astype(np.int64)
        frame = table.to_pandas()
        return checked(
            "requests",
            {
                "arrival_s": (when - when.min()).astype(np.float64),
                "prompt_tokens": frame["prompt_length"].fillna(0.0).to_numpy(),
                "output_tokens": np.zeros(len(frame), np.int64),
                "service_s": frame["exec_time_seconds"].to_numpy(),
                "model": frame["checkpoint_model_version_id"].fillna(""),
                "client": frame["groupId"].fillna(""),
            },
            str(path),
            notes=starts(when.min()),
        )


@dataclass(frozen=True)
class AlibabaGenaiProcessed(Source):
    """68,195 image requests without times: lengths and run times alone, columns as in :class:`AlibabaGenai`."""

    kind = "requests"

    def read(self) -> Table:
        """The requests in the file's order."""
        path = self.file(f"{FOLDER}/data_trace_processed.tar.gz")
        kinds = {
            "exec_time_seconds": pa.float64(),
            "prompt_length": pa.float64(),
            "checkpoint_model_version_id": pa.string(),
        }
        frame = read_csv(path, kinds, nullable=tuple(kinds), raw=_packed(path)).to_pandas()
        return checked(
            "requests",
            {
                "arrival_s": np.full(len(frame), np.nan),
                "prompt_tokens": frame["prompt_length"].fillna(0.0).to_numpy(),
                "output_tokens": np.zeros(len(frame), np.int64),
                "service_s": frame["exec_time_seconds"].to_numpy(),
                "model": frame["checkpoint_model_version_id"].fillna(""),
            },
            str(path),
        )


@dataclass(frozen=True)
class AlibabaGenaiMetrics(Source):
    """What the service and its pods measured over 22.8 h, one metric an archive; times are shifted by the publisher.

    Times in the files are ms, the GPUs' duty cycle is in percent; here they are seconds and shares. The pods' memory is
    a share already; it is a little below 0 at times. Entities are hashes of containers, empty where the file has
    none (the whole service).

    Args:
        table_name: an archive's name without ``.tar.gz``, see :data:`METRICS`; ``qps`` by default, of a file given by
            ``path`` its name says it.
    """

    kind = "metrics"

    table_name: str = ""

    def read(self) -> Table:
        """The measurements in the file's order, which is not that of time."""
        name = self.said("table_name", "qps", stem(self.path) if stem(self.path) in METRICS else None, METRICS)
        if name not in METRICS:
            raise InputError(f"trace.table_name: no table '{name}'; {nearest(name, list(METRICS))}")
        path = self.file(f"{FOLDER}/{name}.tar.gz")
        metric, unit, factor = METRICS[name]
        kinds = {"timestamp_anon": pa.float64(), "value": pa.float64(), "container_ip": pa.string()}
        if not metric:
            kinds["request_type"] = pa.string()
        frame = read_csv(path, kinds, nullable=("container_ip",), raw=_packed(path)).to_pandas()
        return checked(
            "metrics",
            {
                "time_s": frame["timestamp_anon"],
                "entity": frame["container_ip"].fillna(""),
                "metric": np.full(len(frame), metric) if metric else frame["request_type"],
                "value": frame["value"] * factor,
                "unit": np.full(len(frame), unit),
            },
            str(path),
        )


def _packed(path: Path) -> bytes:
    """The one table of an archive, or the file itself where its name is not an archive's. Members that macOS adds
    (``._name``) are none.

    Raises:
        InputError: it is cut short, no archive, or holds no table or several.
    """
    raw = read_bytes(path)
    if ".tar" not in path.name:
        return raw
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            files = [each for each in archive if each.isreg() and not each.issparse()]
            tables = [each for each in files if not PurePosixPath(each.name).name.startswith("._")]
            found = archive.extractfile(tables[0]) if len(tables) == 1 else None
            table = found.read() if found else b""
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: not an archive of a table ({why(error)})") from None
    if not table:
        raise InputError(f"{path}: holds {len(tables)} files, expected one table")
    return table
