"""Jobs without a GPU among the others, under a strategy that does random things."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
from hypothesis import given, settings

from hcsim.replay import first_difference, replay
from tests.properties.naive import check
from tests.properties.test_conservation import audited, reconcile
from tests.properties.worlds import Fuzz, World, fuzzes, worlds


def without_gpus(world: World) -> World:
    """Every third job asks for CPUs alone."""
    jobs = world.jobs
    third = np.arange(len(jobs)) % 3 == 0
    columns = {name: np.where(third, 0, getattr(jobs, name)) for name in ("gpus", "min_gpus", "max_gpus")}
    columns["gpu_milli"] = np.where(third, 1000, jobs.gpu_milli)
    columns["cpus"] = np.where(third, np.maximum(jobs.cpus, 6.0), jobs.cpus)
    return world.replace(jobs=dataclasses.replace(jobs, **columns).checked("third"))


@settings(max_examples=80)
@given(worlds(), fuzzes)
def test_books_audit_and_replay_agree(world: World, fuzz: Fuzz) -> None:
    world = without_gpus(world)
    log = world.run(fuzz, partial(check, world))
    rows = log.array()
    reconcile(rows, world, audited(rows, world))
    again = replay(log, world.fleet, world.jobs, fuzz, None, world.estimate_s, world.seed)
    assert not first_difference(log, again)
