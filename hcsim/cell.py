"""One run into one folder: a single one, or a cell of a sweep."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

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
    from hcsim.progress import Busy, fell_back, lost, told

    experiment = build(config, chosen)
    with Busy("reading the trace"):
        ready = experiment.prepare()
    identity = {key: value for key, value in experiment.identity(ready).items() if key != "versions"}
    given = _portable(OmegaConf.to_container(config, resolve=True))
    digest = hashlib.sha256((repr(given) + json.dumps(identity, sort_keys=True)).encode()).hexdigest()
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
    for note in (summary["trace_left_out"], summary["left_out"], lost(summary), fell_back(summary)):
        if note:
            print(f"hcsim: note: {note}", file=sys.stderr)
    print(told(result.summary, folder))


def _portable(node: Any) -> Any:
    """A configuration without where the data lies: what was read there is hashed itself."""
    if isinstance(node, dict):
        return {key: _portable(each) for key, each in node.items() if key != "data_dir"}
    return [_portable(each) for each in node] if isinstance(node, list) else node


def _has(folder: Path, digest: str) -> bool:
    """Whether a folder holds that run, finished."""
    try:
        summary = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(summary, dict) and summary.get("config_sha256") == digest


#: Part -> what it must have to be one.
