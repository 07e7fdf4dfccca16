"""Microsoft ITP production clusters of 2021 (ElasticFlow, ASPLOS'23): raw logs, and the authors' converted ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import read_csv
from hcsim.traces._table import JobSource, Table, checked, starts

#: 2021-03-04 00:00, from which the raw logs' times count.
START_S = 1614816000
FOLDER = "dl_jobs/elasticflow_itp"
_RAW = {"job_id": None, "submission_time": pa.float64(), "duration": pa.float64(), "num_gpu": pa.int64()}
_ADDED = {
    "num_iteration": pa.float64(),
    "model_name": pa.string(),
    "deadline": pa.float64(),
    "batch_size": pa.int64(),
}


@dataclass(frozen=True)
class Itp(JobSource):
    """One ITP cluster: ``01`` to ``10``, up to 56 to 60 days after 2021-03-04, jobs shorter than 600 s left out by the
    publishers. Three begin later: ``01``, ``03`` and ``10`` span 34, 49 and 33 days.

    The converted logs add models, iterations, batch sizes and deadlines, which their authors made up; ``195job`` is
    their 195-job testbed trace. Times count from the first submission. No GPU type, status or tenant.

    Args:
        cluster: which file, ``01`` or, with ``converted``, also ``195job``.
        converted: read ElasticFlow's conversion instead of the raw log.
    """

    cluster: str = "01"
    converted: bool = False

    def read(self) -> Table:
        """The jobs in the file's order."""
        cluster = str(self.cluster)
        if cluster != "195job":
            if not cluster.isdigit():
                raise InputError(
                    f"trace.cluster is '{cluster}', expected 01 to 10, or 195job with trace.converted=true"
                )
            cluster = f"cluster{int(cluster):02d}"
        folder = "elasticflow-traces" if self.converted else "raw-traces"
        path = self.file(f"{FOLDER}/{folder}/{cluster}.csv")
        table = read_csv(path, _RAW | _ADDED, optional=tuple(_ADDED))
        submitted = table["submission_time"].to_numpy()
        start_s = submitted.min()
        has = set(table.column_names)
        return checked(
            "jobs",
            {
                "id": np.arange(len(submitted)),
                "arrival_s": submitted - start_s,
                "duration_s": table["duration"].to_numpy(),
                "gpus": table["num_gpu"].to_numpy(),
                "model": table["model_name"].to_pandas() if "model_name" in has else None,
                "batch": table["batch_size"].to_numpy() if "batch_size" in has else None,
                "iterations": table["num_iteration"].to_numpy() if "num_iteration" in has else None,
                "deadline_s": table["deadline"].to_numpy() - start_s if "deadline" in has else None,
            },
            str(path),
            notes=() if self.converted else starts(START_S + start_s),
        )
