"""Any log replays to itself, and a log that was tampered with does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim.events import EXECUTOR_KINDS, Kind
from hcsim.log import Log
from hcsim.metrics import Rows
from hcsim.model import InputError
from hcsim.replay import first_difference, replay
from tests.properties.worlds import Fuzz, World, fuzzes, worlds


def repeated(world: World, fuzz: Fuzz, record: Log) -> Log:
    return replay(record, world.fleet, world.jobs, fuzz, None, world.estimate_s, world.seed)


def log_of(rows: Rows) -> Log:
    log = Log()
    log.rows.extend(rows.tolist())
    log.flush(everything=True)
    return log


@settings(max_examples=60)
@given(worlds(), fuzzes)
def test_a_replay_is_the_same_log(world: World, fuzz: Fuzz) -> None:
    log = world.run(fuzz)
    again = repeated(world, fuzz, log)
    assert again.sha256 == log.sha256
    assert not first_difference(log, again)


@settings(max_examples=60)
@given(worlds(), fuzzes, st.data())
def test_a_tampered_decision_is_found_out(world: World, fuzz: Fuzz, data: st.DataObject) -> None:
    """Rows of the control loop are made again, so any change to one shows."""
    rows = world.run(fuzz).array()
    made = np.flatnonzero(~np.isin(rows["kind"], list(EXECUTOR_KINDS)))
    i = int(data.draw(st.sampled_from(made.tolist())))
    column = data.draw(st.sampled_from(("subject", "node", "value", "detail")))
    tampered = rows.copy()
    tampered[column][i] += 1
    with pytest.raises(InputError, match="replay: "):
        repeated(world, fuzz, log_of(tampered))


@settings(max_examples=40)
@given(worlds(), fuzzes, st.data())
def test_a_missing_decision_is_found_out(world: World, fuzz: Fuzz, data: st.DataObject) -> None:
    rows = world.run(fuzz).array()
    wakes = np.flatnonzero(rows["kind"] == Kind.WAKE)
    i = int(data.draw(st.sampled_from(wakes.tolist())))
    with pytest.raises(InputError, match="replay: "):
        repeated(world, fuzz, log_of(np.delete(rows, i)))


@settings(max_examples=40)
@given(worlds(), fuzzes, fuzzes)
def test_another_strategy_is_found_out(world: World, fuzz: Fuzz, other: Fuzz) -> None:
    """Unless it asks for the same: the timers that it asks for beside are the executor's, so they are in the record."""
    log = world.run(fuzz)
    try:
        again = repeated(world, other, log)
    except InputError as error:
        assert "replay: " in str(error)
        assert world.run(other).sha256 != log.sha256
    else:
        assert again.sha256 == log.sha256
