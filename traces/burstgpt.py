"""BurstGPT (2024): requests to ChatGPT and GPT-4 through a university's Azure service, in its published format."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from hcsim.traces._files import read_csv
from hcsim.traces._table import Source, Table, checked, left_out


@dataclass(frozen=True)
class Burstgpt(Source):
    """``Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type``; times are seconds. Set ``path``.

    Requests that failed have 0 response tokens; they are left out and counted unless ``failures`` is true. The client
    is the log's type: conversation or API.
    """

    kind = "requests"

    failures: bool = False

    def read(self) -> Table:
        """The requests in the file's order."""
        import numpy as np

        path = self.file("llm_requests/burstgpt/BurstGPT_1.csv")
        text, whole = ("Model", "Log Type"), ("Request tokens", "Response tokens")
        kinds = {"Timestamp": pa.float64()} | dict.fromkeys(whole, pa.int64()) | dict.fromkeys(text, pa.string())
        table = read_csv(path, kinds)
        rows = np.arange(2, table.num_rows + 2)
        keep = (table["Response tokens"].to_numpy() > 0) | self.failures
        frame = table.to_pandas()[keep].reset_index(drop=True)
        return checked(
            "requests",
            {
                "arrival_s": frame["Timestamp"].to_numpy(),
                "prompt_tokens": frame["Request tokens"].to_numpy(),
                "output_tokens": frame["Response tokens"].to_numpy(),
                "model": frame["Model"],
                "client": frame["Log Type"],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "failed: no response tokens"),
        )
