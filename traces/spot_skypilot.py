"""Spot capacity as SkyPilot's authors probed it (NSDI'24): zones of AWS and GCP, 2022 and 2023."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hcsim.model import InputError
from hcsim.parts import quoted
from hcsim.traces._files import Defect, Defective, read_json
from hcsim.traces._table import Source, Table, checked

FOLDER = "spot/skypilot_spot_traces"


@dataclass(frozen=True)
class SpotSkypilot(Source):
    """How many instances could be had (availability) or were there (preemption) at each tick; 0 or 1, to 16 in 16-node.

    Times count from the first tick.

    Args:
        trace: a file below the folder: kind, nodes, date, and zone_gpu_count.
    """

    kind = "availability"

    trace: str = "availability/1-node/aws-02-15-2023/us-west-2b_v100_1"

    def read(self) -> Table:
        """A row per tick."""
        path = self.file(f"{FOLDER}/{self.trace}.json")
        known = read_json(path)
        try:
            gap_s, data = float(known["metadata"]["gap_seconds"]), known["data"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: key {error} is missing or no number, expected metadata.gap_seconds and data"
            ) from None
        if not isinstance(data, list) or not data or not 0 < gap_s < float("inf"):
            raise InputError(f"{path}: expected a list of counts in data and gap_seconds above 0")
        bad = [i for i, each in enumerate(data) if type(each) is not int or not 0 <= each < 2**53]
        if bad:
            found = [Defect(i + 1, "entry of data", quoted(data[i]), "a whole number of instances") for i in bad[:1000]]
            raise Defective(path, found, len(bad))
        zone, gpu = place_of(path.stem)
        return checked(
            "availability",
            {
                "time_s": np.arange(len(data)) * gap_s,
                "place": np.full(len(data), zone),
                "gpu": np.full(len(data), gpu),
                "nodes": np.array(data, np.int64),
            },
            str(path),
            np.arange(1, len(data) + 1),
        )


def place_of(stem: str) -> tuple[str, str]:
    """Zone and GPU (with its count) of a file's name, ``us-west-2b_v100_8``."""
    zone, _, gpu = stem.partition("_")
    return zone, gpu.replace("_", "x") or "unknown"
