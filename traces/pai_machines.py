"""Alibaba's PAI cluster of 2020 (NSDI'22): 1,897 machines, a heterogeneous fleet. Its job tables could not be had."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import read_bytes, read_csv, why
from hcsim.traces._gpus import named
from hcsim.traces._table import Source, Table, checked

NAMES = ("machine", "gpu_type", "cap_cpu", "cap_mem", "cap_gpu")
GIB = 1024.0**3


@dataclass(frozen=True)
class PaiMachines(Source):
    """A row per machine, from the headerless CSV in the published archive. 83 have no GPU (``CPU`` in the file)."""

    kind = "nodes"

    def read(self) -> Table:
        """The machines in the file's order."""
        path = self.file("dl_jobs/alibaba_pai_2020/pai_machine_spec.tar.gz")
        raw = read_bytes(path)
        try:
            with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
                member = next(item for item in archive.getmembers() if item.name.endswith("pai_machine_spec.csv"))
                file = archive.extractfile(member)
                raw = file.read() if file is not None else b""
        except (tarfile.TarError, EOFError, StopIteration) as error:
            raise InputError(f"{path}: holds no pai_machine_spec.csv ({why(error)})") from None
        number = ("cap_cpu", "cap_mem")
        kinds = {"gpu_type": pa.string(), "cap_gpu": pa.int64()} | dict.fromkeys(number, pa.float64())
        table = read_csv(path, kinds, names=NAMES, raw=raw)
        gpus = table["cap_gpu"].to_numpy()
        return checked(
            "nodes",
            {
                "gpu": named(table["gpu_type"].to_pandas().where(gpus > 0, "")),
                "gpus": gpus,
                "cpus": table["cap_cpu"].to_numpy(),
                "ram_bytes": table["cap_mem"].to_numpy() * GIB,
                "nodes": np.ones(len(gpus), np.int64),
            },
            str(path),
            np.arange(1, len(gpus) + 1),
        )
