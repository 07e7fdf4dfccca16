"""What traces there are, and what one looks like in figures."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hcsim.model import InputError, Jobs, nearest
from hcsim.parts import checked as parts_checked
from hcsim.traces._files import Defective
from hcsim.traces._table import JobSource, Source, Table


@cache
def available() -> dict[str, str]:
    """Name -> first line of the docstring, for every source in this folder."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        found[path.stem] = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
    return found


def classes(name: str) -> list[type[Source]]:
    """The sources of a module of this folder, in the order in which they are written.

    Raises:
        InputError: there is no such module.
    """
    known = available()
    if name not in known:
        raise InputError(f"no trace '{name}'; {nearest(name, list(known))}")
    module = importlib.import_module(f"hcsim.traces.{name}")
    mine = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    return [each for each in mine if issubclass(each, Source) and hasattr(each, "kind")]


def make(name: str, parameters: Mapping[str, Any]) -> Source:
    """A source by name, with parameters as a configuration gives them; ``name:Class`` where a module has several.

    Raises:
        InputError: no such source, an unknown parameter, or a value of the wrong type.
    """
    module, _, wanted = name.partition(":")
    found = classes(module)
    if wanted:
        found = [each for each in found if each.__name__.lower() == wanted.lower()]
    if not found:
        raise InputError(
            f"no trace '{name}': known there: {', '.join(each.__name__ for each in classes(module)) or '-'}"
        )
    target = f"{found[0].__module__}.{found[0].__qualname__}"
    parts_checked({"_target_": target, **parameters}, "trace")
    return found[0](**parameters)


def readers(path: Path) -> Iterator[tuple[str, Source]]:
    """Every source that can be given a file, set to this one."""
    for name in available():
        for cls in classes(name):
            if "path" in {f.name for f in dataclasses.fields(cls)}:
                label = name if cls is classes(name)[0] else f"{name}:{cls.__name__}"
                yield label, cls(path=str(path))


def recognised(path: Path) -> tuple[str, Source]:
    """The source whose format a file has: one that reads it whole, else the one that finds the fewest defects.

    Raises:
        InputError: no source reads it; the message says why the nearest does not.
    """
    best: tuple[tuple[bool, int], str, Source] | None = None
    for name, source in readers(path):
        try:
            source.read()
        except Defective as error:
            crooked = any(defect.column == "the row" for defect in error.defects)
            if crooked and error.defects[0].row == 1:
                continue  # rows of something else
            if best is None or (crooked, error.count) < best[0]:
                best = ((crooked, error.count), name, source)
        except InputError:
            continue
        else:
            return name, source
    if best is None:
        raise InputError(f"{path}: no source reads it; name one with --as, or see hcsim traces list")
    return best[1], best[2]


def describe(jobs: Jobs) -> dict[str, Any]:
    """Figures of jobs: rows, span, offered load in GPUs, gang sizes, quantiles, tenants, duplicates.

    ``index_of_dispersion`` is variance over mean of hourly submissions (1 for a Poisson process).
    """
    gaps = np.diff(jobs.arrival_s)
    span_s = float(jobs.arrival_s[-1] - jobs.arrival_s[0]) if len(jobs) else 0.0
    gpus = jobs.gpus * jobs.gpu_milli / 1000.0
    hourly = np.bincount((jobs.arrival_s // 3600.0).astype(int)) if len(jobs) else np.zeros(1)
    sizes, counts = np.unique(gpus, return_counts=True)
    same = np.unique(np.column_stack([jobs.arrival_s, jobs.duration_s, gpus, jobs.tenant]), axis=0)
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
        "duration_s": _quantiles(jobs.duration_s),
        "interarrival_s": _quantiles(gaps),
        "gang_sizes": {f"{size:g}": int(count) for size, count in zip(sizes, counts, strict=True)},
        "residency_share": float((jobs.residency >= 0).mean()),
        "dataset_share": float((jobs.dataset_site >= 0).mean()),
        "deadline_share": float(np.isfinite(jobs.deadline_s).mean()),
    }


def describe_table(table: Table) -> dict[str, Any]:
    """Figures of a table of any kind: rows, what was left out, span, and per column quantiles or distinct values."""
    frame = table.frame
    out: dict[str, Any] = {"file": table.source, "kind": table.kind, "rows": len(frame)}
    if table.told:
        out["left out"] = table.told
    for time in ("time_s", "arrival_s", "start_s"):
        if time in frame and frame[time].notna().any():
            out["span_days"] = float(frame[time].max() - frame[time].min()) / 86400.0
            break
    lists = [name for name in frame if str(frame[name].dtype).startswith("list")]
    out["duplicates"] = int(frame.drop(columns=lists).drop_duplicates().shape[0] - len(frame)) * -1
    for name in frame:
        column = frame[name]
        if name in lists:
            continue
        if str(column.dtype) in ("float64", "int64") and name != "id":
            out[str(name)] = _quantiles(column.dropna().to_numpy(dtype=np.float64))
            if column.isna().any():
                out[f"{name} missing"] = int(column.isna().sum())
        elif name != "id":
            counts = column.value_counts()
            shown = {str(key): int(count) for key, count in counts.head(8).items()}
            out[str(name)] = {"distinct": len(counts)} | shown
    return out


def _quantiles(x: Any) -> dict[str, float]:
    if not len(x):
        return {}
    return (
        {"least": float(np.min(x))}
        | {f"p{q:g}": float(np.percentile(x, q)) for q in (1, 10, 50, 90, 99)}
        | {"most": float(np.max(x))}
    )


def is_jobs(source: object) -> bool:
    """Whether a source can be replayed as ``trace=``."""
    return isinstance(source, JobSource) or hasattr(source, "jobs")
