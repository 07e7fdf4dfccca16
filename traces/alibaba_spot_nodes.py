"""Alibaba's spot GPU cluster of 2026: 4,278 machines of six GPU types. Its job log could not be had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._gpus import named
from hcsim.traces._table import Source, Table, checked


@dataclass(frozen=True)
class AlibabaSpotNodes(Source):
    """A row per machine. Two GPU types are anonymous (``GPU-series-1``, ``GPU-series-2``); memory is not given."""

    kind = "nodes"

    def read(self) -> Table:
        """The machines in the file's order."""
        path = self.file("gpu_sharing/alibaba_2026_spot_gpu/node_info_df.csv")
        table = read_csv(path, {"gpu_model": pa.string(), "gpu_capacity_num": pa.int64(), "cpu_num": pa.float64()})
        return checked(
            "nodes",
            {
                "gpu": named(table["gpu_model"].to_pandas()),
                "gpus": table["gpu_capacity_num"].to_numpy(),
                "cpus": table["cpu_num"].to_numpy(),
                "ram_bytes": np.full(table.num_rows, np.nan),
                "nodes": np.ones(table.num_rows, np.int64),
            },
            str(path),
        )
