"""AWS's spot advisor of June 2025: saving and frequency of interruption by instance type in 33 regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hcsim.model import InputError
from hcsim.traces._files import read_json
from hcsim.traces._gpus import of_instances
from hcsim.traces._places import places
from hcsim.traces._table import Source, Table, checked, left_out

GIB = 1024.0**3

#: Upper end of each published band of interruption, as a share of instances per month.
BANDS = (0.05, 0.10, 0.15, 0.20, 1.0)


@dataclass(frozen=True)
class SpotAdvisor(Source):
    """``s`` is the saving in per cent, ``r`` the band of interruption: below 5, 10, 15, 20 per cent, and above. A row's
    number is that of its entry, in the file's order over both systems; those of the other system are left out and
    counted. Cores, memory (GiB in the file) and GPUs are of the instance type.

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
            machines = known["instance_types"]
            rows = [
                (region, instance, entry["s"] / 100.0, BANDS[entry["r"]], system)
                for region, systems in known["spot_advisor"].items()
                for system, entries in systems.items()
                for instance, entry in entries.items()
            ]
            sizes = {name: (float(each["cores"]), float(each["ram_gb"]) * GIB) for name, each in machines.items()}
            of = [sizes[row[1]] for row in rows]
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(f"{path}: not the spot advisor's data ({type(error).__name__}: {error})") from None
        names = ["place", "instance", "saving_share", "interruption_share", "system"]
        frame = pd.DataFrame(rows, columns=names)
        frame[["cpus", "ram_bytes"]] = np.array(of).reshape(-1, 2)
        keep = (frame["system"] == self.system).to_numpy()
        if not keep.any():
            raise InputError(f"{path}: holds nothing for system '{self.system}', expected Linux or Windows")
        line = np.arange(1, len(frame) + 1)
        frame = frame[keep].drop(columns="system").reset_index(drop=True)
        frame["place"] = places("aws", frame["place"])
        frame["gpu"], frame["gpus"] = of_instances("aws", frame["instance"])
        return checked(
            "advice",
            {str(name): frame[name] for name in frame},
            str(path),
            line[keep],
            left_out(keep, line, f"is not for {self.system}"),
        )
