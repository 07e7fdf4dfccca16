"""Alibaba's Stable Diffusion serving of 2026: 26,823 requests with their run times, November and December 2024."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked


@dataclass(frozen=True)
class AlibabaGenai(Source):
    """Image requests: no tokens are made, so ``output_tokens`` is 0; ``prompt_tokens`` is the prompt's length as given.

    ``service_s`` is the execution time; the client is the request's group, the model its checkpoint. Times are wall
    clock without a zone and count from the first request.
    """

    kind = "requests"

    def read(self) -> Table:
        """The requests in the file's order."""
        path = self.file("llm_requests/alibaba_2026_genai/lora_request_trace.csv.gz")
        text, number = ("groupId", "checkpoint_model_version_id"), ("exec_time_seconds", "prompt_length")
        kinds = (
            {"gmt_create": pa.timestamp("s")} | dict.fromkeys(text, pa.string()) | dict.fromkeys(number, pa.float64())
        )
        table = read_csv(path, kinds, nullable=("prompt_length", "exec_time_seconds", *text))
        when = table["gmt_create"].to_numpy().astype(np.int64)
        frame = table.to_pandas()
        return checked(
            "requests",
            {
                "arrival_s": (when - when.min()).astype(np.float64),
                "prompt_tokens": frame["prompt_length"].fillna(0.0).to_numpy(),
                "output_tokens": np.zeros(len(frame), np.int64),
                "service_s": frame["exec_time_seconds"].to_numpy(),
                "model": frame["checkpoint_model_version_id"].fillna(""),
                "client": frame["groupId"].fillna(""),
            },
            str(path),
        )
