"""Job logs of any size in the formats of their sources, drawn column by column, and what they hold."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

MONTH_S = 30 * 86400


@dataclass(frozen=True)
class Log:
    """A file, how the source is asked for it, and what its table must hold."""

    source: str
    path: Path
    parameters: dict[str, Any]
    left_out: int
    work: float  # sum of duration × gang of the rows that are read, in the file's unit of time
    unit_s: float = 1.0
    delimiter: str = ","
    headed: bool = True


def write(name: str, rows: int, folder: Path) -> Log:
    """The log of a source in ``folder``; one row in a hundred of openb, Chronus and SWF is one to leave out."""
    rng = np.random.default_rng(0)
    at_s = np.sort(rng.integers(0, MONTH_S, rows))
    run_s = rng.integers(1, 100_000, rows)
    gang = 2 ** rng.integers(0, 7, rows)
    gone = np.arange(rows) % 100 == 50
    text = np.array(["6214e9", "11cb48", "ee9e8c", "6c71a0", "ed69ec"])[rng.integers(0, 5, rows)]
    work = float((run_s * gang)[~gone].sum())
    whole = float((run_s * gang).sum())
    path = folder / f"{name.replace(' ', '_')}.csv"
    if name.startswith("philly"):
        when = pc.strftime(pa.array(at_s + 1_506_816_000, pa.timestamp("s")), format="%Y-%m-%d %H:%M:%S")
        columns = {
            "timestamp": when,
            "duration": run_s * 1.0,
            "num_gpus": gang,
            "gpu_time": run_s * gang,
            "cluster": text,
        }
        pacsv.write_csv(pa.table(columns), path, pacsv.WriteOptions(quoting_style="none"))
        if name == "philly gzip":
            packed = path.with_name(f"{path.name}.gz")
            packed.write_bytes(gzip.compress(path.read_bytes(), 6))
            path = packed
        return Log("philly", path, {}, 0, whole)
    if name == "itp":
        ids = pc.binary_join_element_wise(
            pa.array(np.arange(rows)).cast(pa.string()), "445-c1a8-12af-97e4c536c66e", "-"
        )
        columns = {"job_id": ids, "submission_time": at_s, "duration": run_s, "num_gpu": gang}
        pacsv.write_csv(pa.table(columns), path, pacsv.WriteOptions(quoting_style="none"))
        return Log(name, path, {}, 0, whole)
    if name == "gaia":
        hours = {"arrival_time": at_s / 3600.0, "length": run_s / 3600.0, "cpus": gang}
        pacsv.write_csv(pa.table(hours), path)
        return Log(name, path, {"sample": "pai"}, 0, whole / 3600.0, 3600.0)
    if name == "openb":
        asked = np.where(gone, 0, gang)
        columns = {
            "name": np.arange(rows), "cpu_milli": gang * 8000, "memory_mib": gang * 16384, "num_gpu": asked,
            "gpu_milli": np.full(rows, 1000), "gpu_spec": np.where(at_s % 3 == 0, "V100M16|V100M32", ""),
            "qos": text, "pod_phase": np.where(at_s % 5 == 0, "Failed", "Succeeded"), "creation_time": at_s,
            "deletion_time": at_s + 7 + run_s, "scheduled_time": at_s + 7,
        }  # fmt: skip
        pacsv.write_csv(pa.table(columns), path, pacsv.WriteOptions(quoting_style="none"))
        return Log(name, path, {}, int(gone.sum()), work)
    if name == "chronus":
        asked = np.where(gone, 0, gang)
        columns = {
            "job_id": np.arange(rows), "user": text, "num_gpu": asked, "submit_time": at_s, "iterations": run_s * 7,
            "model_name": np.where(at_s % 2 == 0, "resnet50", "vgg16"), "duration": run_s,
            "expect_time_list": run_s + 100, "best_effort": at_s % 4 // 3,
        }  # fmt: skip
        pacsv.write_csv(pa.table(columns), path, pacsv.WriteOptions(quoting_style="none"))
        return Log(name, path, {}, int(gone.sum()), work, 60.0)
    assert name.startswith("swf")
    fields = np.full((18, rows), -1)
    fields[[0, 1, 3, 4, 7, 8, 10, 11]] = (
        np.arange(1, rows + 1), at_s, np.where(gone, -1, run_s), gang, gang, run_s * 2, at_s % 2, at_s % 50,
    )  # fmt: skip
    written = [pa.array(field).cast(pa.string()) for field in fields]
    if name == "swf aligned":  # as the archive publishes most: columns padded with blanks, a header of comments
        written = [pc.utf8_lpad(column, 8) for column in written]
    lines = pc.binary_join_element_wise(*written, " ").to_pylist()
    path = path.with_suffix(".swf")
    path.write_text(("; Version: 2.2\n" if name == "swf aligned" else "") + "\n".join(lines) + "\n")
    return Log("swf", path, {}, int(gone.sum()), work, delimiter=" ", headed=False)
