"""Throughputs of Gavel (OSDI'20) and Shockwave (NSDI'23): steps per second on three GPU types, alone and packed."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from hcsim.model import InputError, nearest
from hcsim.traces._files import read_json
from hcsim.traces._gpus import canonical
from hcsim.traces._table import Source, Table, checked

FILES = {
    "simulation": "gpu_profiles/gavel/simulation_throughputs.json.gz",
    "physical": "gpu_profiles/gavel/physical_cluster_throughputs.json.gz",
    "shockwave": "gpu_profiles/shockwave/tacc_throughputs.json.gz",
}


@dataclass(frozen=True)
class ProfileGavel(Source):
    """A row per GPU type, job type and what it shares the GPU with (``alone``, else the other's job type).

    ``_unconsolidated`` GPU types are gangs spread over nodes; ``setting`` says so. ``gpus`` is the gang.

    Args:
        table_name: ``simulation``, ``physical`` or ``shockwave``.
    """

    kind = "profiles"

    table_name: str = "simulation"

    def read(self) -> Table:
        """The throughputs in the file's order."""
        if self.table_name not in FILES:
            raise InputError(f"trace.table_name: no '{self.table_name}'; {nearest(self.table_name, list(FILES))}")
        path = self.file(FILES[self.table_name])
        rows: list[tuple[str, str, float, str, str, float, str]] = []
        try:
            for gpu, jobs in read_json(path).items():
                for job, others in jobs.items():
                    model, gang = _job(job)
                    spread = "spread, " if gpu.endswith("_unconsolidated") else ""
                    for other, rate in others.items():
                        with_ = "alone" if other == "null" else f"with {' x'.join(str(x) for x in _job(other))}"
                        own = rate if other == "null" else rate[0]
                        name = canonical(gpu.removesuffix("_unconsolidated"))
                        rows.append((model, name, gang, spread + with_, "throughput", float(own), "steps/s"))
        except (AttributeError, ValueError, TypeError, IndexError) as error:
            raise InputError(f"{path}: not a table of throughputs ({str(error).splitlines()[0]})") from None
        names = ("model", "gpu", "gpus", "setting", "metric", "value", "unit")
        frame = pd.DataFrame(rows, columns=list(names))
        return checked("profiles", {name: frame[name] for name in names}, str(path))


def _job(key: str) -> tuple[str, float]:
    """Model and gang of ``('ResNet-18 (batch size 16)', 1)``."""
    found = re.fullmatch(r"\('([^']*)', (\d{1,9})\)", key)
    if not found:
        raise ValueError(f"no job type and gang: {key[:60]}")
    return found[1], float(found[2])
