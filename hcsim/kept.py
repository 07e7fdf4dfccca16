"""A run's folder read again: its configuration, and what the run was made of."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hcsim.cli import CWD, build, importable, part
from hcsim.errors import InputError, yaml_fault
from hcsim.log import Log


def of_run(run: Path) -> tuple[Any, Any, Any]:
    """A run's experiment, what it starts from, prepared anew, and its log.

    Raises:
        InputError: no finished run, or one of these is not what the run recorded.
    """
    config = config_of(run)
    try:
        summary = json.loads((run / "summary.json").read_text())
        expected = [summary[key] for key in ("jobs_sha256", "fleet_sha256", "log_sha256")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run}: no finished run, its summary.json cannot be read ({error})") from None
    with _where_started(config):
        experiment = build(config, {})
        ready = experiment.prepare()
    record = Log.read(run / "log.parquet")
    now = experiment.identity(ready)
    for what, was, found in (
        (f"the jobs of {ready.jobs.source}: the trace", expected[0], now["jobs_sha256"]),
        (f"fleet '{ready.fleet.name}': a file that it is read from, or hcsim,", expected[1], now["fleet_sha256"]),
        ("the log: it or summary.json", expected[2], record.sha256),
    ):
        if found != was:
            raise InputError(f"{run}: {what} has changed since the run (hash {found[:12]}, recorded {str(was)[:12]})")
    return experiment, ready, record


def part_of(run: Path, name: str) -> Any:
    """A part of the experiment that a run's folder holds.

    Raises:
        InputError: this is not a run's folder.
    """
    config = config_of(run)
    with _where_started(config):
        return part(config, name)


def config_of(run: Path) -> DictConfig:
    """The configuration that a run's folder holds.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise InputError(f"{run}: not a run folder, it has no config.yaml")
    try:
        config = OmegaConf.load(path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(yaml_fault(error, [path])) from None
    except (OmegaConfBaseException, OSError) as error:
        raise InputError(f"{path}: {str(error).splitlines()[0]}") from None
    if not isinstance(config, DictConfig):
        raise InputError(f"{path}: a list, expected the configuration of a run")
    return config


def config_sha256(config: DictConfig, identity: Mapping[str, Any]) -> str:
    """A hash of a configuration, resolved, and of what it makes (:meth:`hcsim.experiment.Experiment.identity`)."""
    given = _portable(OmegaConf.to_container(config, resolve=True))
    made = {key: value for key, value in identity.items() if key != "versions"}
    return hashlib.sha256((repr(given) + json.dumps(made, sort_keys=True)).encode()).hexdigest()


def _portable(node: Any) -> Any:
    """A configuration without where it was started and the data lies: what was read there is hashed itself."""
    if isinstance(node, dict):
        return {key: _portable(each) for key, each in node.items() if key not in ("data_dir", CWD)}
    return [_portable(each) for each in node] if isinstance(node, list) else node


@contextlib.contextmanager
def _where_started(config: DictConfig) -> Iterator[None]:
    """In the folder that a kept run was started in, if it is still there: its paths and modules begin there."""
    folder = str(config.get(CWD) or "")
    with contextlib.chdir(folder) if os.path.isdir(folder) else contextlib.nullcontext():
        importable()
        yield
