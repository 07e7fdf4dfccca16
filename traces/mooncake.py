"""Mooncake's conversation trace (FAST'25): 12,031 requests in an hour, with the hashes of their prefix blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.traces._files import read_json_lines
from hcsim.traces._table import Source, Table, checked


@dataclass(frozen=True)
class Mooncake(Source):
    """Times are milliseconds in the file. ``hash_ids`` has a number for each block of 512 prompt tokens; requests that
    share a number share the prefix up to it."""

    kind = "requests"

    def read(self) -> Table:
        """The requests in the file's order."""
        path = self.file("llm_requests/mooncake_fast25/conversation_trace.jsonl.gz")
        whole = ("timestamp", "input_length", "output_length")
        table = read_json_lines(path, dict.fromkeys(whole, pa.int64()) | {"hash_ids": pa.list_(pa.int64())})
        return checked(
            "requests",
            {
                "arrival_s": table["timestamp"].to_numpy() / 1e3,
                "prompt_tokens": table["input_length"].to_numpy(),
                "output_tokens": table["output_length"].to_numpy(),
                "hash_ids": pd.Series(table["hash_ids"], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
            },
            str(path),
            np.arange(1, table.num_rows + 1),
        )
