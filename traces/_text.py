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
    "cpus": "CPUs",
    "ram_gib": "memory (GiB)",
    "rate_per_s": "requests/s",
    "busiest_minute_per_s": "busiest minute (requests/s)",
    "tokens_per_s": "tokens/s",
    "submitted_per_h": "submitted jobs/h",
    "device_mtbf_years": "MTBF (device years)",
    "device_years": "device years",
}
_TITLES = {
    "usd_per_gpu_hour": "USD per GPU-hour",
    "saving_by_interruptions": "saving below on demand, by the share of instances interrupted within a month",
    "g_per_kwh_by_year": "gCO2eq/kWh over regions",
    "durations": "time between failures, to repair, and quantiles of durations, h",
    "ages": "age at the end, days",
    "ended": "how jobs ended",
}
_UNITS = {"_s": "s", "_h": "h", "_days": "days"}
#: Not said when 0.
_UNLESS_0 = ("at_time_0", "residency_share", "dataset_share", "deadline_share", "gaps", "pairs_to_themselves")


def text(said: Mapping[str, Any], device: str = "GPU") -> str:
    """Figures as aligned lines, then quantiles as one table, then the other tables.

    Args:
        device: what a job's gang counts.
    """
    lines: dict[str, Sequence[str]] = {}
    spread: dict[str, dict[str, float]] = {}
    tables: list[str] = []
    for key, value in said.items():
        name = label(key).replace("GPU", device)
        if hasattr(value, "columns"):
            heads = [str(head).replace("GPU", device) for head in value.columns]
            cells = [[number(cell) for cell in row] for row in value.itertuples(index=False)]
            title = f"{_TITLES[key]}\n" if key in _TITLES else ""
            tables += [title + aligned(heads, cells)] if cells else []
        elif isinstance(value, dict):
            spread |= {name: value} if value else {}
        elif value is not None and (value or key not in _UNLESS_0):
            lines[name] = value if isinstance(value, tuple) else (number(value, key),)
    wide = max(map(len, [*lines, *spread]), default=0) + 2
    parts = ["\n".join(f"{name:<{wide}}" + ("\n" + " " * wide).join(values) for name, values in lines.items())]
    if spread:
        heads = list(next(iter(spread.values())))
        rows = [[name, *(number(value[head]) for head in heads)] for name, value in spread.items()]
        parts.append(aligned(["", *heads], rows, wide))
    return "\n\n".join([*parts, *tables])


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

    The folder, the file and what is drawn or changed on top of a log choose none. What was not given is as it was read.
    """
    documented = re.split(r"\n\s*Args:\n", inspect.getdoc(type(source)) or "")[1:]
    said = {
        key: " ".join(about.replace("``", "").split())
        for keys, about in re.findall(r"^ {4}([\w, ]+): (.*(?:\n {8}.*)*)", "\n".join(documented), re.M)
        for key in keys.split(", ")
    }
    beside = ("data_dir", "path", "limit", "attributes", "steps")
    values = {f.name: getattr(source, f.name) for f in dataclasses.fields(source)}  # type: ignore[arg-type]
    for key, found in getattr(source, "answers", {}).items():
        values[key] = ", ".join(map(str, found)) if len(found) <= 3 else f"{len(found)} of them"
    return {f"{key}={value}": said.get(key, "") for key, value in values.items() if key not in beside}
