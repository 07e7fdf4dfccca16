"""ML.ENERGY's leaderboard: throughput, latency, power and energy of 565 LLM serving configurations on H100 and B200."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from hcsim.model import InputError
from hcsim.traces._files import read_json, stem
from hcsim.traces._gpus import canonical
from hcsim.traces._table import Source, Table, checked

#: Key -> (metric, unit, factor to the unit).
METRICS = {
    "output_throughput_tokens_per_sec": ("output throughput", "tokens/s", 1.0),
    "median_itl_ms": ("inter-token latency, median", "s", 1e-3),
    "p99_itl_ms": ("inter-token latency, P99", "s", 1e-3),
    "avg_power_watts": ("average power", "W", 1.0),
    "energy_per_token_joules": ("energy per token", "J", 1.0),
}


TASKS = ("gpqa", "lm-arena-chat", "sourcegraph-fim")


@dataclass(frozen=True)
class ProfileMlEnergy(Source):
    """Five rows per configuration.

    Args:
        task: ``gpqa``, ``lm-arena-chat`` (the default) or ``sourcegraph-fim``; a file given by ``path`` says it by its
            name.
    """

    kind = "profiles"

    task: str = ""

    def read(self) -> Table:
        """The configurations in the file's order."""
        task = self.said("task", "lm-arena-chat", stem(self.path) if stem(self.path) in TASKS else None, TASKS)
        path = self.file(f"gpu_profiles/ml_energy/{task}.json")
        known = read_json(path)
        rows = []
        try:
            for each in known["configurations"]:
                setting = (
                    f"{task}, {each['weight_precision']}, tensor {each['tensor_parallel']},"
                    f" batch at most {each['max_num_seqs']}"
                )
                for key, (metric, unit, factor) in METRICS.items():
                    value = float(each[key]) * factor
                    rows.append(
                        (
                            each["model_id"],
                            canonical(each["gpu_model"]),
                            float(each["num_gpus"]),
                            setting,
                            metric,
                            value,
                            unit,
                        )
                    )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a list of configurations ({type(error).__name__}: {error})") from None
        names = ["model", "gpu", "gpus", "setting", "metric", "value", "unit"]
        frame = pd.DataFrame(rows, columns=names)
        return checked("profiles", {name: frame[name] for name in names}, str(path))
