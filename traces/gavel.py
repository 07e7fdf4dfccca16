"""Gavel's job traces (OSDI'20): models, steps and gang sizes; also those with Philly's arrivals, 2,000 jobs each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import header, read_csv, read_json
from hcsim.traces._table import JobSource, Table, checked, left_out

THROUGHPUTS = "gpu_profiles/gavel/simulation_throughputs.json.gz"
#: Number of columns -> their names; the files have no header.
COLUMNS = {
    7: ("type", "command", "arg", "needs_data", "steps", "arrival", "gpus"),
    10: ("type", "command", "folder", "arg", "needs_data", "steps", "gpus", "priority", "slo", "arrival"),
}


@dataclass(frozen=True)
class Gavel(JobSource):
    """Tab-separated lines, without run times: a job's is its steps over the throughput that Gavel publishes for its
    model and gang size on one GPU type. Jobs for which it publishes none (181 of 2,000 in the default) are left out.

    Args:
        trace: which file below ``dl_jobs/gavel``.
        gpu: the type on which the run time holds: ``v100``, ``p100`` or ``k80``.
        throughputs: the table of throughputs (default: at its place in the data folder).
    """

    trace: str = "msr_seed=0/11cb48"
    gpu: str = "v100"
    throughputs: str = ""

    def read(self) -> Table:
        """The jobs in the file's order."""
        path = self.file(f"dl_jobs/gavel/{self.trace}.trace")
        names = columns_of(path, COLUMNS)
        table = read_csv(
            path,
            {
                "type": pa.string(),
                "steps": pa.float64(),
                "arrival": pa.float64(),
                "gpus": pa.int64(),
            },
            delimiter="\t",
            names=names,
        )
        steps, gpus = table["steps"].to_numpy(), table["gpus"].to_numpy()
        rate = self._rates(table["type"].to_pylist(), gpus.tolist())
        rows = np.arange(1, len(steps) + 1)
        keep = rate > 0
        if not keep.any():
            raise InputError(f"{path}: no job's model and gang size has a throughput on {self.gpu}")
        return checked(
            "jobs",
            {
                "id": rows[keep] - 1,
                "arrival_s": table["arrival"].to_numpy()[keep],
                "duration_s": steps[keep] / rate[keep],
                "gpus": gpus[keep],
                "model": table["type"].to_pandas()[keep].reset_index(drop=True),
                "iterations": steps[keep],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, f"no throughput on {self.gpu} is published for its model and gang size"),
        )

    def _rates(self, types: list[str], gpus: list[int]) -> npt.NDArray[np.float64]:
        """Steps per second of each job on the reference GPU, 0 where none is published."""
        if not self.throughputs and not self.data_dir:
            raise InputError(
                f"trace gavel: run times need throughputs, set data_dir= or trace.throughputs={THROUGHPUTS}"
            )
        where = Path(self.throughputs) if self.throughputs else Path(self.data_dir) / THROUGHPUTS
        known = read_json(where)
        if not isinstance(known, dict) or not isinstance(known.get(self.gpu), dict):
            there = list(known) if isinstance(known, dict) else []
            raise InputError(f"trace.gpu: no '{self.gpu}' in {where}; {nearest(self.gpu, there)}")
        of = {}
        for pair in set(zip(types, gpus, strict=True)):
            entry = known[self.gpu].get(str(pair))
            try:
                of[pair] = float(entry.get("null", 0.0)) if isinstance(entry, dict) else 0.0
            except (TypeError, ValueError, OverflowError) as error:
                raise InputError(f"{where}: the throughput of {pair} on {self.gpu} is no number ({error})") from None
        return np.array([of[pair] for pair in zip(types, gpus, strict=True)])


def columns_of(path: Path, known: dict[int, tuple[str, ...]]) -> tuple[str, ...]:
    """The names of the columns of a headerless, tab-separated file, by how many its first line has.

    Raises:
        InputError: another number.
    """
    first = len(header(path, "\t"))
    if first not in known:
        expected = " or ".join(str(count) for count in known)
        raise InputError(f"{path}: row 1: the row is {first} cells, expected {expected}, tabs between them")
    return known[first]
