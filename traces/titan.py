"""GPUs of Oak Ridge's Titan (SC'20): 6,367 failures and the 36,185 stays of 30,207 K20X, 2013 to 2019."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from hcsim.traces._files import Defect, Defective, read_csv
from hcsim.traces._table import Source, Table, checked, left_out

LOG = "failures/titan_gpu/gc_full.csv.gz"


@dataclass(frozen=True)
class Titan(Source):
    """A row per failure of a GPU: ``DBE`` (double-bit error, 4,826) or ``OTB`` (off the bus, 1,541).

    A failure is at the time of removal; that the GPU worked again is not in the file (a repaired one comes back as a
    stay of its own, see :class:`TitanLifetimes`), so no end is given. 1,158 of them have no insertion: they are further
    failures of a GPU at the moment of its removal. Stays that ended otherwise are left out and counted. Times are wall
    clock without a zone, taken as UTC.
    """

    kind = "failures"

    def read(self) -> Table:
        """The failures in the file's order."""
        path = self.file(LOG)
        kinds = dict.fromkeys(("SN", "location", "event"), pa.string()) | {"remove": pa.timestamp("s")}
        frame = read_csv(path, kinds, nullable=("event",)).to_pandas()
        rows = np.arange(2, len(frame) + 2)
        failed = frame["event"].fillna("").to_numpy() != ""
        frame = frame[failed].reset_index(drop=True)
        return checked(
            "failures",
            {
                "entity": frame["SN"],
                "start_s": _seconds(frame["remove"]),
                "end_s": np.full(len(frame), np.nan),
                "event": frame["event"],
                "place": frame["location"],
            },
            str(path),
            rows[failed],
            left_out(failed, rows, "a stay that no failure ended"),
        )


@dataclass(frozen=True)
class TitanLifetimes(Source):
    """A row per stay of a GPU at a place, from its insertion to its removal; 18,637 were there when the observation
    ended (2019-08-01) and have no end.

    ``observed_s`` is the file's duration, which counts real seconds; the times are wall clock without a zone, taken as
    UTC, and differ from it by up to an hour where summer time began or ended. Rows without an insertion (1,158 further
    failures of a GPU that was just removed) are no stays: they are left out and counted.
    """

    kind = "lifetimes"

    def read(self) -> Table:
        """The stays in the file's order."""
        path = self.file(LOG)
        text = ("SN", "location", "event")
        kinds = dict.fromkeys(text, pa.string()) | dict.fromkeys(("insert", "remove"), pa.timestamp("s"))
        blank = ("insert", "event", "duration", "out")
        frame = read_csv(path, kinds | {"duration": pa.float64(), "out": pa.string()}, nullable=blank).to_pandas()
        rows = np.arange(2, len(frame) + 2)
        stay = frame["insert"].notna().to_numpy()
        frame = frame[stay].reset_index(drop=True)
        end_s = _seconds(frame["remove"])
        # a stay that ends elsewhere without being out was moved: its GPU has another stay
        there = (frame["out"].fillna("") == "FALSE").to_numpy() & (end_s == end_s.max(initial=0.0))
        return checked(
            "lifetimes",
            {
                "entity": frame["SN"],
                "start_s": _seconds(frame["insert"]),
                "end_s": np.where(there, np.nan, end_s),
                "observed_s": frame["duration"],
                "event": frame["event"].fillna(""),
                "place": frame["location"],
            },
            str(path),
            rows[stay],
            left_out(stay, rows, "no time of insertion"),
        )


@dataclass(frozen=True)
class TitanGpus(Source):
    """A row per GPU over all its stays (30,207): how long it was in service, and whether a failure ended that.

    ``event`` is ``DBE``, ``OTB`` or both joined by ``|`` for the 5,089 that the publishers count as dead. When a GPU
    was first inserted is not in this file; ``place`` is where it was longest.
    """

    kind = "lifetimes"

    def read(self) -> Table:
        """The GPUs in the file's order."""
        path = self.file("failures/titan_gpu/gc_summary_loc.csv.gz")
        flags, where = ("out", "dead_otb", "dead_dbe"), ("col", "row", "cage", "slot", "node")
        kinds = dict.fromkeys(("SN", *flags), pa.string()) | dict.fromkeys(where, pa.int64())
        frame = read_csv(path, kinds | {"time": pa.float64(), "last": pa.timestamp("s")}).to_pandas()
        for name in flags:
            bad = np.flatnonzero(~frame[name].isin(("TRUE", "FALSE")).to_numpy())
            if len(bad):
                found = [Defect(int(i) + 2, name, f"'{frame[name].iloc[i]}'", "TRUE or FALSE") for i in bad[:1000]]
                raise Defective(path, found, len(bad))
        out, otb, dbe = (frame[name] == "TRUE" for name in flags)
        event = np.select([dbe & otb, dbe, otb], ["DBE|OTB", "DBE", "OTB"], "")
        col, row, cage, slot, node = (frame[name].astype("str") for name in where)
        return checked(
            "lifetimes",
            {
                "entity": frame["SN"],
                "start_s": np.full(len(frame), np.nan),
                "end_s": np.where(out, _seconds(frame["last"]), np.nan),
                "observed_s": frame["time"],
                "event": event,
                "place": "c" + col + "-" + row + "c" + cage + "s" + slot + "n" + node,
            },
            str(path),
        )


def _seconds(column: pd.Series) -> npt.NDArray[np.float64]:
    """Seconds since 1970 of a column of times."""
    return column.to_numpy().astype("datetime64[s]").astype(np.float64)
