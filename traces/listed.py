"""Jobs that are listed in the configuration itself: for examples and small experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hcsim.model import Jobs


@dataclass(frozen=True)
class Listed:
    """The columns of :class:`hcsim.model.Jobs`, each with a value per job; the same for every seed."""

    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def jobs(self, seed: int) -> Jobs:
        """The jobs.

        Raises:
            InputError: as :meth:`hcsim.model.Jobs.build`.
        """
        columns: dict[str, Any] = {**self.columns}
        return Jobs.build(source="listed jobs", **columns)
