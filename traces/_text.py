"""Figures of a trace as aligned text."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_LABELS = {
    "gpu_hours": "GPU-hours",
    "load_gpus": "offered load (GPUs)",
    "index_of_dispersion": "dispersion by hour",
    "index_of_dispersion_minute": "dispersion by minute",
    "interarrival_cv": "interarrival CV",
    "interarrival_s": "interarrival (s)",
    "duration_s": "run time (s)",
    "service_s": "service time (s)",
    "gpus": "GPUs",
    "capacity_gpus": "capacity (GPUs)",
    "all_gpus": "GPUs",
    "all_cpus": "CPUs",
    "g_per_kwh": "gCO2eq/kWh",
    "usd_per_h": "USD/h",
    "pue": "PUE",
    "rate_per_s": "requests/s",
    "busiest_minute_per_s": "busiest minute (requests/s)",
    "tokens_per_s": "tokens/s",
    "submitted_per_h": "submitted jobs/h",
    "device_mtbf_years": "MTBF (device years)",
    "device_years": "device years",
}


_UNITS = {"_s": "s", "_h": "h", "_days": "days"}


_UNLESS_0 = ("at_time_0", "residency_share", "dataset_share", "deadline_share", "gaps", "pairs_to_themselves")


def text(said: Mapping[str, Any], device: str = "GPU") -> str:
    """Figures as aligned lines, then quantiles as one table, then the other tables.

    Args:
        device: what a job's gang counts.
    """
    lines = {label(key): number(value, key) for key, value in said.items()
             if not isinstance(value, dict) and not hasattr(value, "columns") and value is not None
             and not (key in _UNLESS_0 and not value)}  # fmt: skip
    spread = {label(key): value for key, value in said.items() if isinstance(value, dict) and value}
    wide = max(map(len, [*lines, *spread]), default=0) + 2
    parts = ["\n".join(f"{key:<{wide}}{value}" for key, value in lines.items())]
    if spread:
        heads = list(next(iter(spread.values())))
        cells = [[key, *(number(value[head]) for head in heads)] for key, value in spread.items()]
        parts.append(aligned(["", *heads], cells, wide))
    for value in said.values():
        if hasattr(value, "columns") and len(value):
            cells = [[number(cell) for cell in row] for row in value.itertuples(index=False)]
            parts.append(aligned([str(name) for name in value.columns], cells))
    return "\n\n".join(parts).replace("GPU", device) if device != "GPU" else "\n\n".join(parts)


def label(key: str) -> str:
    """A key in words, with its unit."""
    if key in _LABELS:
        return _LABELS[key]
    for suffix, unit in _UNITS.items():
        if key.endswith(suffix):
            return f"{key.removesuffix(suffix).replace('_', ' ')} ({unit})"
    return key.removesuffix("_share").replace("_", " ")


def number(value: Any, key: str = "") -> str:
    """Four significant digits, thousands apart; a share in per cent; - for nothing."""
    if value is None or value != value:
        return "-"
    if isinstance(value, float | np.floating):
        value = float(value)
        if key.endswith("_share"):
            return f"{value:.1%}"
        if value == 0 or 1e-3 <= abs(value) < 1e15:
            return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]], first: int = 0) -> str:
    """Columns of equal width, numbers to the right; the first is at least so wide."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    widths[0] = max(widths[0], first - 2)
    left = [
        all(not row[i][:1].isdigit() and row[i] != "-" and row[i][:1] != "-" for row in rows) for i in range(len(heads))
    ]
    left[0] = True
    return "\n".join(
        "  ".join(
            f"{cell:<{w}}" if to_left else f"{cell:>{w}}" for cell, w, to_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in [heads, *rows]
    )


def choices(source: object) -> dict[str, str]:
    """What chooses a source's variant: ``key=value`` as it is -> what its documentation says of the key.

    The folder, the file and what is drawn or changed on top of a log choose none.
    """
    documented = re.split(r"\n\s*Args:\n", inspect.getdoc(type(source)) or "")[1:]
    said = {
        key: " ".join(about.replace("``", "").split())
        for keys, about in re.findall(r"^ {4}([\w, ]+): (.*(?:\n {8}.*)*)", "\n".join(documented), re.M)
        for key in keys.split(", ")
    }
    beside = ("data_dir", "path", "limit", "attributes", "steps")
    values = {f.name: getattr(source, f.name) for f in dataclasses.fields(source)}  # type: ignore[arg-type]
    return {f"{key}={value}": said.get(key, "") for key, value in values.items() if key not in beside}
