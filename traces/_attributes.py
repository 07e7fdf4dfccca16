"""What a trace does not say about its jobs, drawn by key: residency, datasets, deadlines, estimates, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from hcsim.model import MOST_S, InputError, nearest
from hcsim.parts import checked
from hcsim.rng import stream, uniforms

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Attributes:
    """Seeded distributions. Each job's are drawn by a number of its own, so changing one share moves nothing else.

    A share of 0 leaves the attribute out. Residency-bound jobs keep their data in ``residency_site``. Deadlines are
    arrival + slack × duration + ``deadline_grace_s``, slack uniform in ``deadline_slack``. User estimates are
    duration × a factor uniform in ``estimate_factor`` (users over-ask: Mu'alem and Feitelson, TPDS 2001), rounded up to
    a whole minute. ``checkpoint_bytes`` is per GPU. All of these are assumptions, not measurements of the trace.
    """

    residency: str = "eu"
    residency_share: float = 0.0
    residency_max_gang: int = 32
    residency_site: str = "cloud_eu"
    dataset_share: float = 0.0
    dataset_sites: tuple[str, ...] = ("onprem", "cloud_us", "cloud_eu")
    dataset_median_bytes: float = 20e9
    dataset_sigma: float = 1.0
    deadline_share: float = 0.0
    deadline_slack: tuple[float, float] = (2.0, 10.0)
    deadline_grace_s: float = 4 * 3600.0
    estimate_factor: tuple[float, float] = (1.0, 5.0)
    checkpoint_interval_s: float = 1800.0
    checkpoint_bytes: float = 2e9
    checkpoint_s: float = 10.0
    restart_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("deadline_slack", "estimate_factor"):  # configuration files give lists,
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("residency", "residency_site"):  # and take 5 for a number
            object.__setattr__(self, name, str(getattr(self, name)))
        object.__setattr__(self, "dataset_sites", tuple(map(str, self.dataset_sites)))
        for name in ("residency_share", "dataset_share", "deadline_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"trace.attributes.{name} is {getattr(self, name)}, expected 0 to 1")
        for name in ("deadline_slack", "estimate_factor"):
            given = getattr(self, name)
            if len(given) != 2 or not 0 <= given[0] <= given[1] < inf:
                raise InputError(
                    f"trace.attributes.{name} is {list(given)}, expected two numbers >= 0, the lower first"
                )
        if not self.checkpoint_interval_s > 0:
            given = self.checkpoint_interval_s
            raise InputError(f"trace.attributes.checkpoint_interval_s is {given}, expected > 0 (inf: never)")
        for name in ("deadline_grace_s", "checkpoint_s", "restart_s"):
            if not 0 <= getattr(self, name) <= MOST_S:
                raise InputError(
                    f"trace.attributes.{name} is {getattr(self, name)}, expected a number from 0 to {MOST_S:g}"
                )
        for name in ("dataset_median_bytes", "dataset_sigma", "checkpoint_bytes"):
            if not 0 <= getattr(self, name) < inf:
                raise InputError(f"trace.attributes.{name} is {getattr(self, name)}, expected a finite number >= 0")
        if self.dataset_share and not self.dataset_sites:
            raise InputError("trace.attributes.dataset_sites is empty, expected names of sites")
        if self.dataset_share and self.residency_share:
            self._residency_site()

    def _residency_site(self) -> int:
        """The place in ``dataset_sites`` of the site that holds the data of bound jobs."""
        if self.residency_site not in self.dataset_sites:
            raise InputError(
                f"trace.attributes.residency_site is '{self.residency_site}', expected one of dataset_sites;"
                f" {nearest(self.residency_site, self.dataset_sites)}"
            )
        return self.dataset_sites.index(self.residency_site)

    @np.errstate(over="ignore", invalid="ignore")  # what comes of it is refused, here or with the jobs
    def columns(
        self,
        seed: int,
        jobs: npt.NDArray[np.int64],
        arrival_s: Floats,
        duration_s: Floats,
        gpus: npt.NDArray[np.int32],
        bound: npt.NDArray[np.bool_] | None = None,
    ) -> dict[str, Any]:
        """Columns for :meth:`hcsim.model.Jobs.build`.

        Args:
            jobs: the number by which each job's attributes are drawn.
            bound: which jobs are bound by a residency already; their datasets lie in ``residency_site``.

        Raises:
            InputError: ``residency_site`` is none of ``dataset_sites``, and data of bound jobs is to lie there; or a
                size or deadline that is drawn is not finite.
        """
        bound = np.zeros(len(jobs), bool) if bound is None else bound
        n = len(jobs)

        def draw(name: str) -> Floats:
            return uniforms(seed, stream(name), jobs) if n else np.zeros(0)

        low, high = self.estimate_factor
        estimate = duration_s * (low + (high - low) * draw("estimate"))
        out: dict[str, Any] = {
            "user_estimate_s": np.minimum(np.ceil(estimate / 60.0) * 60.0, MOST_S),
            "checkpoint_interval_s": np.full(n, self.checkpoint_interval_s),
            "checkpoint_bytes": self.checkpoint_bytes * gpus,
            "checkpoint_s": np.full(n, self.checkpoint_s),
            "restart_s": np.full(n, self.restart_s),
        }
        if self.residency_share:
            bound = (draw("residency") < self.residency_share) & (gpus <= self.residency_max_gang)
            out["residency"] = np.where(bound, 0, -1)
            out["residencies"] = (self.residency,)
        if self.dataset_share:
            from scipy.special import ndtri

            holds = draw("dataset") < self.dataset_share
            site = (draw("dataset_site") * len(self.dataset_sites)).astype(int)
            if bound.any():
                site = np.where(bound, self._residency_site(), site)
            size = self.dataset_median_bytes * np.exp(self.dataset_sigma * ndtri(draw("dataset_bytes")))
            if not np.isfinite(size[holds]).all():
                raise InputError(
                    f"trace.attributes.dataset_sigma is {self.dataset_sigma:g} with dataset_median_bytes"
                    f" {self.dataset_median_bytes:g}, expected sizes that are finite"
                )
            out["dataset_site"] = np.where(holds, site, -1)
            out["dataset_bytes"] = np.where(holds, np.round(size), 0.0)
            out["dataset_sites"] = self.dataset_sites
        if self.deadline_share:
            least, most = self.deadline_slack
            slack = least + (most - least) * draw("deadline_slack")
            due = arrival_s + slack * duration_s + self.deadline_grace_s
            if not np.isfinite(due).all():
                given = list(self.deadline_slack)
                raise InputError(f"trace.attributes.deadline_slack is {given}, expected deadlines that are finite")
            out["deadline_s"] = np.where(draw("deadline") < self.deadline_share, due, np.inf)
        return out


#: No residency, datasets or deadlines; checkpoints and estimates only.
NOTHING_ADDED = Attributes()


def over(default: Attributes, given: Attributes | Mapping[str, Any]) -> Attributes:
    """``given``; where a configuration gives some keys only (``trace.attributes.deadline_share=1``), ``default`` with
    these.

    Raises:
        InputError: an unknown key, or a value of another type.
    """
    if isinstance(given, Attributes):
        return given
    checked({**given}, "trace.attributes", Attributes)
    return replace(default, **given)
