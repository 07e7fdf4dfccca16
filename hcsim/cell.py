"""One run into one folder: a single one, or a cell of a sweep."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf


def drop_empty(folder: Path) -> None:
    """Take away a run's folder in which there is nothing."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def play(config: DictConfig, folder: Path, chosen: dict[str, str], *, sweep: bool) -> None:
    """Run what a configuration says into a folder, unless it holds that run already; what it held stays until then.

    Args:
        chosen: the names of the parts.
        sweep: whether the folder is a cell of a sweep.
    """
    from hcsim.cli import CWD, build
    from hcsim.experiment import FILES
    from hcsim.files import replacing
    from hcsim.kept import config_sha256
    from hcsim.progress import Busy, fell_back, lost, told

    experiment = build(config, chosen)
    with Busy("reading the trace"):
        ready = experiment.prepare()
    digest = config_sha256(config, experiment.identity(ready))
    if _has(folder, digest):
        (folder / "error.txt").unlink(missing_ok=True)
        print(f"{folder}: already done")
        return
    if sweep and (folder / "summary.json").exists():  # nobody is to compare it with what this sweep makes
        (folder / "error.txt").write_text("begun anew and not finished; the results here are of an earlier command\n")
    with replacing(folder, FILES) as new:
        where = f"{CWD}: {json.dumps(os.getcwd())}\n"  # what relative paths in it start from
        (new / "config.yaml").write_text(where + OmegaConf.to_yaml(config, resolve=True), encoding="utf-8")
        name = chosen.get("strategy")
        with Busy(f"{name}: starting") as busy:

            def watch(now_s: float, arrived: int) -> None:
                busy(f"{name}: day {now_s / 86400:.1f}, {arrived:,} jobs arrived")

            result = experiment.run(watch=watch if busy.shown else None, ready=ready)
        result.summary["config_sha256"] = digest
        result.log.write(new / "log.parquet")
        result.save(new)
    (folder / "error.txt").unlink(missing_ok=True)
    summary = result.summary
    notes = (*(summary[key] for key in ("trace_left_out", "left_out", "no_route")), lost(summary), fell_back(summary))
    for note in notes:
        if note:
            print(f"hcsim: note: {note}", file=sys.stderr)
    print(told(result.summary, folder))


def _has(folder: Path, digest: str) -> bool:
    """Whether a folder holds that run, finished."""
    try:
        summary = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(summary, dict) and summary.get("config_sha256") == digest


#: Part -> what it must have to be one.
