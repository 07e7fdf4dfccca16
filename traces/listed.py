"""Jobs that are listed in the configuration itself: for examples and small experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hcsim.model import Jobs
from hcsim.traces._transform import changed, steps


@dataclass(frozen=True)
class Listed:
    """The columns of :class:`hcsim.model.Jobs`, each with a value per job; the same for every seed.

    Args:
        steps: changes to the jobs, see :mod:`hcsim.traces._transform`.
    """

    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    steps: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", steps(self.steps))

    def jobs(self, seed: int) -> Jobs:
        """The jobs.

        Raises:
            InputError: as :meth:`hcsim.model.Jobs.build`.
        """
        columns: dict[str, Any] = {**self.columns}
        return changed(Jobs.build(source="listed jobs", **columns), self.steps, seed)
