"""Experiments that ship: each runs with one command on what ships, audits clean, compares several strategies, and loads
its fleet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from hcsim.cli import CONF, choices
from tests.conftest import shared_folder
from tests.shell import hcsim

EXPERIMENTS = [name for name in choices()["experiment"] if name != "local"]  # which works in real time
NEED_DATA = {"spot_history"}
#: Fleet -> its experiment, where that has another name.
OF_FLEET = {"hybrid": "demo"}


def played(name: str, folder: Path, *more: str) -> Path:
    data = [f"data_dir={shared_folder('HCSIM_DATA', 'traces')}"] if name in NEED_DATA else ["data_dir=nowhere"]
    said = hcsim("run", f"experiment={name}", f"hydra.run.dir={folder}", *data, *more)
    assert said.status == 0, said
    return folder


def test_every_fleet_has_an_experiment() -> None:
    for fleet in set(choices()["fleet"]) - {"gavel"}:  # which is for a reproduction
        name = OF_FLEET.get(fleet, fleet)
        assert {"override /fleet": fleet} in OmegaConf.load(CONF / "experiment" / f"{name}.yaml").defaults


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_and_its_audit_holds(name: str, tmp_path: Path) -> None:
    params = OmegaConf.load(CONF / "experiment" / f"{name}.yaml").hydra.sweeper.params
    strategies = params.strategy.split(",")
    assert len(strategies) >= 3 and set(strategies) <= set(choices()["strategy"]) and "," in params.seed
    folder = played(name, tmp_path, "trace.n=150")
    jobs = pd.read_parquet(folder / "jobs.parquet")
    assert len(jobs) >= 100 and (jobs["status"] == "finished").all()
    said = hcsim("audit", folder)
    assert said.status == 0 and "audit: holds" in said.out, said


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_loads_its_fleet(name: str, tmp_path: Path) -> None:
    """Of the GPUs that are up 70 to 90 % are held, once the first 40 % of the time in which jobs arrive is over; more
    where nearly all are rented, since what is idle is given back."""
    folder = played(name, tmp_path)
    last_s = float(pd.read_parquet(folder / "jobs.parquet")["arrival_s"].max())
    at = np.linspace(0.4 * last_s, last_s, 500)
    held = up = 0.0
    for _, site in pd.read_parquet(folder / "timeline.parquet").groupby("site"):
        row = np.maximum(np.searchsorted(site["time_s"], at, side="right") - 1, 0)
        held += float(site["gpus_held"].to_numpy()[row].mean())
        up += float(site["gpus_up"].to_numpy()[row].mean())
    assert 0.7 <= held / up <= (0.97 if name.startswith("spot") else 0.9)
