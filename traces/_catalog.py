"""What traces there are, and what one looks like in figures."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np

from hcsim.model import Jobs


def available() -> dict[str, str]:
    """Name -> first line of the docstring, for every source in this folder."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        found[path.stem] = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
    return found


def describe(jobs: Jobs) -> dict[str, Any]:
    """Figures of a trace: rows, span, offered load in GPUs, gang sizes, quantiles, tenants, duplicates.

    ``index_of_dispersion`` is variance over mean of hourly submissions (1 for a Poisson process).
    """
    gaps = np.diff(jobs.arrival_s)
    span_s = float(jobs.arrival_s[-1] - jobs.arrival_s[0]) if len(jobs) else 0.0
    gpus = jobs.gpus * jobs.gpu_milli / 1000.0
    hourly = np.bincount((jobs.arrival_s // 3600.0).astype(int)) if len(jobs) else np.zeros(1)
    sizes, counts = np.unique(gpus, return_counts=True)
    same = np.unique(np.column_stack([jobs.arrival_s, jobs.duration_s, gpus, jobs.tenant]), axis=0)

    def quantiles(x: Any) -> dict[str, float]:
        return {f"p{q:g}": float(np.percentile(x, q)) for q in (1, 10, 50, 90, 99)} if len(x) else {}

    return {
        "source": jobs.source,
        "rows": len(jobs),
        "span_days": span_s / 86400.0,
        "gpu_hours": float((gpus * jobs.duration_s).sum() / 3600.0),
        "load_gpus": float((gpus * jobs.duration_s).sum() / span_s) if span_s else None,
        "tenants": len(np.unique(jobs.tenant)),
        "duplicates": len(jobs) - len(same),
        "longest_gap_h": float(gaps.max() / 3600.0) if len(gaps) else None,
        "index_of_dispersion": float(hourly.var() / hourly.mean()) if hourly.sum() else None,
        "duration_s": quantiles(jobs.duration_s),
        "interarrival_s": quantiles(gaps),
        "gang_sizes": {f"{size:g}": int(count) for size, count in zip(sizes, counts, strict=True)},
        "residency_share": float((jobs.residency >= 0).mean()),
        "dataset_share": float((jobs.dataset_site >= 0).mean()),
        "deadline_share": float(np.isfinite(jobs.deadline_s).mean()),
    }
