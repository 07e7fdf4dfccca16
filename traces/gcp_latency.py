"""Latency between 34 regions of Google's cloud, 1,122 ordered pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import header, read_bytes, read_csv, read_json
from hcsim.traces._table import Source, Table, checked


@dataclass(frozen=True)
class GcpLatency(Source):
    """The file's column is called milliseconds and is taken as a round trip; it gives no throughput and no price."""

    kind = "links"

    def read(self) -> Table:
        """The pairs in the file's order, places as ``gcp:region``."""
        path = self.file("network/gcp_latency/raw_gcp_latency.csv")
        text = ("sending_region", "receiving_region")
        frame = read_csv(path, dict.fromkeys(text, pa.string()) | {"milliseconds": pa.float64()}).to_pandas()
        unknown = np.full(len(frame), np.nan)
        return checked(
            "links",
            {
                "source": "gcp:" + frame["sending_region"],
                "target": "gcp:" + frame["receiving_region"],
                "bytes_per_s": unknown,
                "rtt_s": frame["milliseconds"] / 1e3,
                "usd_per_gb": unknown,
            },
            str(path),
        )


@dataclass(frozen=True)
class GcpLatencyMatrix(Source):
    """The same as a square, by Electricity Maps' zones; a mapper beside it names the region of each row and column (two
    regions share the zone ``US-MIDA-PJM``, so only the order tells them apart). A region to itself is 5 ms.

    It differs from the pairs of :class:`GcpLatency` in one: between europe-west1 and europe-west9 it has 7 ms, not 4.
    """

    kind = "links"

    def read(self) -> Table:
        """A row per ordered pair, also of a region with itself, in the file's order; places as ``gcp:region``."""
        path = self.file("network/gcp_latency/gcp_latency_matrix.csv")
        beside = path.with_name("gcp_dc_zonecode_mapper.json")
        mapper = read_json(beside)
        if not isinstance(mapper, dict) or (names := header(path)) != ["origin", *mapper.values()]:
            raise InputError(f"{path}: row 1: expected 'origin' and the zones of {beside.name}, in its order")
        regions = [f"gcp:{region}" for region in mapper]
        kinds = {"origin": pa.string(), **dict.fromkeys(regions, pa.float64())}
        below = read_bytes(path).partition(b"\n")[2]
        named = ",".join(kinds).encode() + b"\n" + below  # no name twice
        table = read_csv(path, kinds, raw=named)
        if table["origin"].to_pylist() != names[1:]:
            raise InputError(f"{path}: its rows are not the zones of its columns, in their order")
        n = len(regions)
        unknown = np.full(n * n, np.nan)
        return checked(
            "links",
            {
                "source": np.repeat(regions, n),
                "target": np.tile(regions, n),
                "bytes_per_s": unknown,
                "rtt_s": table.select(regions).to_pandas().to_numpy().ravel() / 1e3,
                "usd_per_gb": unknown,
            },
            str(path),
            np.repeat(np.arange(2, n + 2), n),
        )
