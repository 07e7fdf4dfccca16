"""Requests as Vidur and Sarathi processed them: Azure conversations with arrivals, arXiv and ShareGPT without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked

FILES = {
    "splitwise_conv": "llm_requests/vidur_processed/splitwise_conv.csv",
    "arxiv": "llm_requests/vidur_processed/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv",
    "sharegpt": "llm_requests/sarathi_sharegpt/sharegpt_8k_filtered_stats_llama2_tokenizer.csv",
}


@dataclass(frozen=True)
class Vidur(Source):
    """Tokens of prompts and outputs by Llama 2's tokenizer.

    Args:
        sample: ``splitwise_conv`` (with arrivals), ``arxiv`` (28,257 lengths) or ``sharegpt`` (30,731 lengths).
    """

    kind = "requests"

    sample: str = "splitwise_conv"

    def read(self) -> Table:
        """The requests in the file's order; arrivals are missing where the file has none."""
        if self.sample not in FILES:
            raise InputError(f"trace.sample: no sample '{self.sample}'; {nearest(self.sample, list(FILES))}")
        path = self.file(FILES[self.sample])
        lengths = ("num_prefill_tokens", "num_decode_tokens")
        kinds = {"arrived_at": pa.float64()} | dict.fromkeys(lengths, pa.int64())
        table = read_csv(path, kinds, optional=("arrived_at",))
        arrives = "arrived_at" in table.column_names
        return checked(
            "requests",
            {
                "arrival_s": table["arrived_at"].to_numpy() if arrives else np.full(table.num_rows, np.nan),
                "prompt_tokens": table["num_prefill_tokens"].to_numpy(),
                "output_tokens": table["num_decode_tokens"].to_numpy(),
            },
            str(path),
        )
