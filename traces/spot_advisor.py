"""AWS's spot advisor of June 2025: saving and frequency of interruption by instance type in 33 regions."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from hcsim.model import InputError
from hcsim.traces._files import read_json
from hcsim.traces._table import Source, Table, checked

#: Upper end of each published band of interruption, as a share of instances per month.
BANDS = (0.05, 0.10, 0.15, 0.20, 1.0)


@dataclass(frozen=True)
class SpotAdvisor(Source):
    """``s`` is the saving in per cent, ``r`` the band of interruption: below 5, 10, 15, 20 per cent, and above.

    Args:
        system: ``Linux`` or ``Windows``.
    """

    kind = "advice"

    system: str = "Linux"

    def read(self) -> Table:
        """A row per region and type."""
        path = self.file("spot/aws_spot_advisor/spot-advisor-data.json")
        known = read_json(path)
        try:
            rows = [
                (region, instance, entry["s"] / 100.0, BANDS[entry["r"]])
                for region, systems in known["spot_advisor"].items()
                for instance, entry in systems.get(self.system, {}).items()
            ]
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(f"{path}: not the spot advisor's data ({type(error).__name__}: {error})") from None
        if not rows:
            raise InputError(f"{path}: holds nothing for system '{self.system}', expected Linux or Windows")
        frame = pd.DataFrame(rows, columns=["place", "instance", "saving_share", "interruption_share"])
        return checked("advice", {str(name): frame[name] for name in frame}, str(path))
