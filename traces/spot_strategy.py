"""SkyPilot's raw probe logs of 2022 (two AWS zones, K80 and V100), whose flag is turned round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import read_bytes, read_csv, refuse
from hcsim.traces._table import Source, Table, checked
from hcsim.traces.spot_skypilot import place_of

FOLDER = "spot/skypilot_spot_strategy"


@dataclass(frozen=True)
class SpotStrategy(Source):
    """``tick,time,flag`` every 600 s. In these logs flag 1 says that a launch failed or was preempted, in the traces
    made from them that it went well. A file does not say which it is, so nothing is guessed: say it.

    Args:
        trace: a file below the folder: date, and zone_gpu_count.
        polarity: ``failed`` (flag 1: no capacity, as in the authors' repository) or ``available`` (flag 1: capacity).
            The default is known for the published files alone, wherever they are; another needs it said.
    """

    kind = "availability"

    trace: str = "2022-10-26T22-05/us-west-2a_v100_1"
    polarity: str = ""

    def read(self) -> Table:
        """A row per probe. Times are seconds since 1970."""
        from hcsim.traces._fetch import is_published

        path = self.file(f"{FOLDER}/{self.trace}.txt")
        unclear = "failed (flag 1: no capacity) or available, as logs of both meanings look the same"
        published = not self.polarity and bool(self.path) and is_published(read_bytes(path), "spot_strategy")
        polarity = self.said("polarity", "failed", "failed" if published else None, hint=unclear)
        if polarity not in ("failed", "available"):
            raise InputError(
                f"{path}: trace.polarity is '{polarity}', expected 'failed' (flag 1: no capacity) or 'available'"
            )
        kinds = {"tick": pa.int64(), "time": pa.timestamp("ms", "UTC"), "flag": pa.int64()}
        table = read_csv(path, kinds, names=("tick", "time", "flag"))
        flag = table["flag"].to_numpy()
        rows = np.arange(1, len(flag) + 1)
        refuse(path, (~np.isin(flag, (0, 1)), rows, "flag", flag, "0 or 1"))
        zone, gpu, gpus = place_of(path.stem)
        return checked(
            "availability",
            {
                "time_s": table["time"]
                .to_pandas()
                .dt.tz_localize(None)
                .to_numpy()
                .astype("datetime64[ms]")
                .astype(np.int64)
                / 1e3,
                "place": np.full(len(flag), zone),
                "gpu": np.full(len(flag), gpu),
                "nodes": 1 - flag if polarity == "failed" else flag,
                "gpus": np.full(len(flag), gpus),
            },
            str(path),
            rows,
        )
