"""GPU lifetimes of Oak Ridge's Titan (SC'20): 37,343 stays of K20X GPUs, 2013 to 2019, and how they ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked, left_out


@dataclass(frozen=True)
class Titan(Source):
    """A row per stay of a GPU at a place: from its insertion to its removal. ``event`` is ``DBE`` (double-bit error),
    ``OTB`` (off the bus) or ``none``.

    1,158 rows without an insertion (a second event of a GPU that has just been removed) are left out and counted. Times
    are wall clock without a zone, taken as UTC; the file's own durations differ from them by up to an hour at the
    change to summer time and are left.
    """

    kind = "failures"

    def read(self) -> Table:
        """The stays in the file's order."""
        path = self.file("failures/titan_gpu/gc_full.csv.gz")
        text, times = ("SN", "location", "event"), ("insert", "remove")
        kinds = dict.fromkeys(text, pa.string()) | dict.fromkeys(times, pa.timestamp("s"))
        table = read_csv(path, kinds, nullable=("insert", "event"))
        frame = table.to_pandas()
        rows = np.arange(2, len(frame) + 2)
        keep = frame["insert"].notna().to_numpy()
        frame = frame[keep].reset_index(drop=True)
        return checked(
            "failures",
            {
                "entity": frame["SN"],
                "start_s": frame["insert"].to_numpy().astype("datetime64[s]").astype(np.int64),
                "end_s": frame["remove"].to_numpy().astype("datetime64[s]").astype(np.int64),
                "event": frame["event"].fillna("none").replace("", "none"),
                "place": frame["location"],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "no time of insertion"),
        )
