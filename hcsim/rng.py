"""Counter-based randomness: every draw of the world is a function of its key, never of draw order.

``draw(seed, process, entity, slot)`` mixes its integer key with the finaliser of SplitMix64 (Steele, Lea, Flood,
OOPSLA 2014, Fig. 17), so two strategies that act differently still face the same arrivals, failures, prices and
delays: common random numbers. The scalar and the array form give the same numbers, bit for bit.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_SCALE = 2.0**-53


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def stream(name: str) -> int:
    """A process's number from its name (CRC-32), so that no table of numbers has to be kept."""
    return zlib.crc32(name.encode())


@lru_cache(maxsize=256)
def _start(seed: int, process: int) -> int:
    """The first half of a key, which many draws have in common."""
    return _mix((_mix((seed + _GOLDEN) & _MASK) + (process + 1) * _GOLDEN) & _MASK)


def uniform(seed: int, process: int, entity: int = 0, slot: int = 0) -> float:
    """A draw in the open interval (0, 1) for this key."""
    z = _mix((_start(seed, process) + (entity + 1) * _GOLDEN) & _MASK)
    z = _mix((z + (slot + 1) * _GOLDEN) & _MASK)
    return ((z >> 11) + 0.5) * _SCALE


def uniforms(
    seed: int, process: int, entity: npt.NDArray[np.int64] | int = 0, slot: npt.NDArray[np.int64] | int = 0
) -> npt.NDArray[np.float64]:
    """:func:`uniform` for arrays of entities and slots (broadcast), the same numbers."""
    golden = np.uint64(_GOLDEN)

    def mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    start = _start(seed, process)
    entities, slots = np.broadcast_arrays(np.atleast_1d(entity), np.atleast_1d(slot))
    z = mix(np.uint64(start) + (entities.astype(np.uint64) + np.uint64(1)) * golden)
    z = mix(z + (slots.astype(np.uint64) + np.uint64(1)) * golden)
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) * _SCALE


def exponential(mean: float, u: float) -> float:
    """An exponential variate from a uniform one."""
    return -mean * math.log(1.0 - u)


def lognormal(mean: float, cv: float, u: float) -> float:
    """A lognormal variate with this mean and coefficient of variation, from a uniform one."""
    if cv == 0.0 or mean == 0.0:
        return mean
    from statistics import NormalDist

    sigma2 = math.log1p(cv * cv)
    return mean * math.exp(math.sqrt(sigma2) * NormalDist().inv_cdf(u) - sigma2 / 2.0)
