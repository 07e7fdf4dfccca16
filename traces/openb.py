"""Alibaba's openb cluster (FGD, ATC'23): 8,152 pods on 1,213 GPU nodes, most of which share a GPU; 149 days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hcsim.model import InputError
from hcsim.traces._files import read_csv
from hcsim.traces._gpus import named
from hcsim.traces._table import JobSource, Source, Table, checked, kept, left_out

FOLDER = "gpu_sharing/openb_2023"
MIB = 1024.0**2


@dataclass(frozen=True)
class Openb(JobSource):
    """Pods with a GPU that ran: from ``scheduled_time`` to ``deletion_time``, submitted at ``creation_time``.

    Pods without a GPU and pods that were never scheduled are left out and counted. ``gpu_milli`` is of each GPU. CPUs
    are cores, memory is MiB in the file; their status is the pod's phase, failed ones included. The authors' resampled
    variants ``multigpu*`` hold no times: :class:`OpenbDemands` reads them.

    Args:
        variant: ``default``, ``cpu050``, ``cpu100``, ``gpushare20`` to ``80``, ``gpuspec05`` to ``25``.
    """

    variant: str = "default"

    def read(self) -> Table:
        """The pods in the file's order."""
        if self.variant.startswith("multigpu"):
            raise InputError(
                f"trace.variant: '{self.variant}' holds no times and cannot be replayed; openb:OpenbDemands reads it"
            )
        path = self.file(f"{FOLDER}/openb_pod_list_{self.variant}.csv")
        whole = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
        times = ("creation_time", "deletion_time", "scheduled_time")
        text = ("gpu_spec", "pod_phase")
        kinds = dict.fromkeys(whole, pa.int64()) | dict.fromkeys(times, pa.float64()) | dict.fromkeys(text, pa.string())
        table = read_csv(path, kinds, nullable=("scheduled_time", "gpu_spec"))
        rows = np.arange(2, table.num_rows + 2)
        has_gpu = table["num_gpu"].to_numpy() > 0
        ran = pc.is_valid(table["scheduled_time"]).to_numpy()
        dropped = left_out(has_gpu, rows, "asks for no GPU") + left_out(ran | ~has_gpu, rows, "was never scheduled")
        keep = has_gpu & ran
        pods, rows = kept(table, keep), rows[keep]
        column = {name: pods[name].to_numpy() for name in (*whole, *times)}
        return checked(
            "jobs",
            {
                "id": rows - 2,
                "arrival_s": column["creation_time"],
                "duration_s": column["deletion_time"] - column["scheduled_time"],
                "gpus": column["num_gpu"],
                "gpu_milli": column["gpu_milli"],
                "cpus": column["cpu_milli"] / 1000.0,
                "ram_bytes": column["memory_mib"] * MIB,
                "gpu_type": named(pc.fill_null(pods["gpu_spec"], "").to_pandas()),
                "status": pods["pod_phase"].to_pandas(),
            },
            str(path),
            rows,
            dropped,
        )


@dataclass(frozen=True)
class OpenbDemands(Source):
    """What all pods of a variant ask for, in the file's order, in which they can be packed one after another. Pods
    without a GPU are there with 0.

    Args:
        variant: ``multigpu20``, ``30`` or ``40`` (per cent of all GPUs asked for that pods with several ask for; 7 in
            the original), or one that :class:`Openb` reads.
    """

    kind = "demands"

    variant: str = "multigpu20"

    def read(self) -> Table:
        """A row per pod."""
        path = self.file(f"{FOLDER}/openb_pod_list_{self.variant}.csv")
        whole = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
        spec = () if self.variant.startswith("multigpu") else ("gpu_spec",)  # those files do not have it
        kinds = dict.fromkeys(whole, pa.int64()) | dict.fromkeys(spec, pa.string())
        table = read_csv(path, kinds, nullable=spec)
        return checked(
            "demands",
            {
                "gpus": table["num_gpu"].to_numpy(),
                "gpu_milli": table["gpu_milli"].to_numpy(),
                "cpus": table["cpu_milli"].to_numpy() / 1000.0,
                "ram_bytes": table["memory_mib"].to_numpy() * MIB,
                "gpu_type": named(pc.fill_null(table["gpu_spec"], "").to_pandas()) if spec else None,
            },
            str(path),
        )


@dataclass(frozen=True)
class OpenbNodes(Source):
    """The machines: 1,213 with 6,212 GPUs of seven types; with ``cpu_nodes`` also 310 without.

    Their CPUs are cores and their memory bytes here, thousandths and MiB in the file.
    """

    kind = "nodes"

    cpu_nodes: bool = False

    def read(self) -> Table:
        """A row per machine."""
        path = self.file(f"{FOLDER}/openb_node_list_{'all' if self.cpu_nodes else 'gpu'}_node.csv")
        whole = ("cpu_milli", "memory_mib", "gpu")
        table = read_csv(path, dict.fromkeys(whole, pa.int64()) | {"model": pa.string()}, nullable=("model",))
        return checked(
            "nodes",
            {
                "gpu": named(table["model"].to_pandas().fillna("")),
                "gpus": table["gpu"].to_numpy(),
                "cpus": table["cpu_milli"].to_numpy() / 1000.0,
                "ram_bytes": table["memory_mib"].to_numpy() * MIB,
                "nodes": np.ones(table.num_rows, np.int64),
            },
            str(path),
        )
