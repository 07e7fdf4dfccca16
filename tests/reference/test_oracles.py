"""The random numbers of the engine; its closed forms are rows of ``hcsim repro run oracles`` (tests/repro)."""

from __future__ import annotations

import numpy as np
import pytest

from hcsim.repro.oracles import draws
from hcsim.rng import exponential


def test_exponential_variates_have_their_mean() -> None:
    u = draws(0, "check", 200_000)
    assert np.mean([exponential(2.0, x) for x in u[:50_000].tolist()]) == pytest.approx(2.0, rel=0.02)
    assert u.mean() == pytest.approx(0.5, abs=0.003)
