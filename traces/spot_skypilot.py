"""Spot capacity as SkyPilot's authors probed it (NSDI'24): zones of AWS and GCP, 2022 and 2023."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from hcsim.model import InputError
from hcsim.parts import quoted
from hcsim.traces._files import Defect, Defective, read_json
from hcsim.traces._gpus import canonical, is_gpu
from hcsim.traces._table import Source, Table, checked

FOLDER = "spot/skypilot_spot_traces"


@dataclass(frozen=True)
class SpotSkypilot(Source):
    """How many instances could be had (availability) or were there (preemption) at each tick; 0 or 1, to 16 in 16-node.

    Times count from the first tick. ``gpus`` is of one instance; the traces of CPU machines (``intel_64``, ``c3-88``)
    have none. ``usd_per_h`` is there where the file has prices (six of the preemption traces).

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
        prices = known.get("prices")
        if prices is not None:
            if not isinstance(prices, list) or len(prices) != len(data):
                raise InputError(f"{path}: expected as many prices as entries of data, {len(data):,}")
            bad = [i for i, each in enumerate(prices) if type(each) not in (int, float) or not 0 <= each < float("inf")]
            if bad:
                found = [Defect(i + 1, "entry of prices", repr(prices[i]), "USD per hour") for i in bad[:1000]]
                raise Defective(path, found, len(bad))
        zone, gpu, gpus = place_of(path.stem)
        return checked(
            "availability",
            {
                "time_s": np.arange(len(data)) * gap_s,
                "place": np.full(len(data), zone),
                "gpu": np.full(len(data), gpu),
                "nodes": np.array(data, np.int64),
                "gpus": np.full(len(data), gpus),
                "usd_per_h": None if prices is None else np.array(prices, np.float64),
            },
            str(path),
            np.arange(1, len(data) + 1),
        )


def place_of(stem: str) -> tuple[str, str, float]:
    """Zone with its provider, GPU type and GPUs of an instance, from a file's name (``us-west-2b_v100_8``).

    AWS's zones end in a digit and a letter (``us-west-2b``), Google's in a letter of its own (``us-central1-a``). What
    follows the zone is a GPU type with a count, else a CPU machine; where nothing does, neither is known.
    """
    zone, _, machine = stem.partition("_")
    provider = "aws" if re.search(r"-\d[a-z]$", zone) else "gcp" if re.search(r"\d-[a-z]$", zone) else ""
    place = f"{provider}:{zone}" if provider else zone
    name, _, count = machine.partition("_")
    if not machine:
        return place, "unknown", float("nan")
    return (place, canonical(name), float(count)) if is_gpu(name) and count.isdecimal() else (place, "", 0.0)
