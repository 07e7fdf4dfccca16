"""What a strategy that asks for run times is told: the truth, the truth with errors, users' guesses, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hcsim.model import MOST_S, InputError, Jobs
from hcsim.rng import stream, uniforms


@dataclass(frozen=True)
class Oracle:
    """The true run time: an upper bound on what knowledge is worth, not a thing that exists in production."""

    @property
    def knowledge(self) -> str:
        """What tables print beside a strategy's name."""
        return "oracle run times"

    def estimate_s(self, jobs: Jobs, seed: int) -> npt.NDArray[np.float64] | None:
        """Estimated run time on reference GPUs, shape (jobs,)."""
        return jobs.duration_s


@dataclass(frozen=True)
class Noisy:
    """The true run time times a lognormal error of median 1: exp(σ·N(0,1)), drawn per job."""

    sigma: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 10:
            raise InputError(f"estimator.sigma is {self.sigma}, expected 0 to 10")

    @property
    def knowledge(self) -> str:
        return f"noisy run times (σ = {self.sigma:g})"

    def estimate_s(self, jobs: Jobs, seed: int) -> npt.NDArray[np.float64] | None:
        """Estimated run time on reference GPUs, shape (jobs,); keyed by (seed, job)."""
        from scipy.special import ndtri

        error = ndtri(uniforms(seed, stream("estimator"), np.arange(len(jobs)))) if len(jobs) else np.zeros(0)
        out: npt.NDArray[np.float64] = jobs.duration_s * np.exp(self.sigma * error)
        return out


@dataclass(frozen=True)
class User:
    """What the user declared. A job without a declaration gets ``default_s`` (0: that is an error)."""

    default_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.default_s <= MOST_S:
            raise InputError(f"estimator.default_s is {self.default_s}, expected 0 to {MOST_S:g}")

    @property
    def knowledge(self) -> str:
        return "user estimates"

    def estimate_s(self, jobs: Jobs, seed: int) -> npt.NDArray[np.float64] | None:
        """Declared run time, shape (jobs,).

        Raises:
            InputError: a job declares none and there is no default.
        """
        missing = np.isnan(jobs.user_estimate_s)
        if missing.any() and not self.default_s > 0:
            job = int(jobs.id[np.argmax(missing)])
            raise InputError(f"{jobs.source}: job {job} declares no run time; set estimator.default_s")
        return np.where(missing, self.default_s, jobs.user_estimate_s)


@dataclass(frozen=True)
class Nothing:
    """No run times: strategies that need them cannot run."""

    @property
    def knowledge(self) -> str:
        return "none"

    def estimate_s(self, jobs: Jobs, seed: int) -> npt.NDArray[np.float64] | None:
        """None: there are no estimates."""
        return None


Estimator = Oracle | Noisy | User | Nothing
