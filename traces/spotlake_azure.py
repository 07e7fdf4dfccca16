"""SpotLake's Azure prices of 2022-08-04: on demand and spot of 580 machine types in 52 regions, 16,798 pairs."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hcsim.model import InputError
from hcsim.traces._files import read_json
from hcsim.traces._gpus import of_instances
from hcsim.traces._places import places
from hcsim.traces._table import Source, Table, checked, left_out


@dataclass(frozen=True)
class SpotlakeAzure(Source):
    """The file is a JSON text that holds JSON. Machine types carry no GPU names in it: their GPUs are from their names.
    Prices below 0 mean none and are left out and counted. Regions are short display names in the file (``US East``),
    Azure's codes here."""

    kind = "prices"

    def read(self) -> Table:
        """A row per type, region and market."""
        path = self.file("spot/spotlake_azure/azure_demo_new.json.gz")
        known = read_json(path)
        try:
            records = json.loads(known) if isinstance(known, str) else known
            if not isinstance(records, list):
                raise TypeError("no list")
            frame = pd.DataFrame.from_records(records)
            need = ["InstanceTier", "InstanceType", "Region", "OndemandPrice", "SpotPrice", "Date"]
            frame = frame[need]
            for name in ("OndemandPrice", "SpotPrice"):
                frame[name] = frame[name].astype(np.float64)
            when = pd.to_datetime(frame["Date"], format="ISO8601")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not a list of prices ({str(error).splitlines()[0]})") from None
        line = np.arange(1, len(frame) + 1)
        seconds = when.to_numpy().astype("datetime64[s]").astype(np.int64)
        price = np.concatenate([frame["OndemandPrice"], frame["SpotPrice"]])
        rows = np.concatenate([line, line])
        keep = np.isfinite(price) & (price >= 0)
        both = pd.concat([frame, frame], ignore_index=True)[keep].reset_index(drop=True)
        gpu, gpus = of_instances("azure", both["InstanceType"].astype("str"))
        return checked(
            "prices",
            {
                "time_s": np.concatenate([seconds, seconds])[keep],
                "provider": np.full(len(both), "azure"),
                "place": places("azure", both["Region"].astype("str")),
                "instance": (both["InstanceTier"].astype("str") + "_" + both["InstanceType"].astype("str")),
                "gpu": gpu,
                "gpus": gpus,
                "market": np.repeat(["on_demand", "spot"], len(frame))[keep],
                "usd_per_h": price[keep],
            },
            str(path),
            rows[keep],
            left_out(keep, rows, "no price"),
        )
