"""Azure's LLM inference of 2023 (Splitwise, ISCA'24): 19,366 conversation requests in an hour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked, starts


@dataclass(frozen=True)
class AzureLlm(Source):
    """Times (UTC, to 100 ns) and lengths; arrivals count from the first request."""

    kind = "requests"

    def read(self) -> Table:
        """The requests in the file's order."""
        path = self.file("llm_requests/azure_llm_2023/AzureLLMInferenceTrace_conv.csv")
        lengths = ("ContextTokens", "GeneratedTokens")
        table = read_csv(path, {"TIMESTAMP": pa.timestamp("ns")} | dict.fromkeys(lengths, pa.int64()))
        when = table["TIMESTAMP"].to_numpy().astype(np.int64)
        return checked(
            "requests",
            {
                "arrival_s": (when - when.min()) / 1e9,
                "prompt_tokens": table["ContextTokens"].to_numpy(),
                "output_tokens": table["GeneratedTokens"].to_numpy(),
            },
            str(path),
            notes=starts(when.min() / 1e9),
        )
