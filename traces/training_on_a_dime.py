"""Spot prices of AWS p2 and p3 instances in five regions, December 2019 to February 2020 (Narayanan et al., 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hcsim.model import InputError
from hcsim.traces._files import read_json, seconds
from hcsim.traces._gpus import of_instances
from hcsim.traces._places import places
from hcsim.traces._table import Source, Table, checked


@dataclass(frozen=True)
class TrainingOnADime(Source):
    """Change points as ``describe-spot-price-history`` gives them, newest first; sorted by time here. Four of the
    published files are empty lists and give no rows: that type was not offered there. Azure's prices and the logs of
    AWS and Google probes are not read.

    Args:
        region: one of eu-central-1, eu-west-1, eu-west-2, us-east-1, us-west-2.
        instance: p2 or p3 type.
    """

    kind = "prices"

    region: str = "us-east-1"
    instance: str = "p3.2xlarge"

    def read(self) -> Table:
        """A row per change."""
        path = self.file(f"spot/training_on_a_dime/aws/cost/{self.region}/{self.instance}.json")
        known = read_json(path)
        try:
            frame = pd.DataFrame.from_records(known["SpotPriceHistory"])
            need = ["AvailabilityZone", "InstanceType", "ProductDescription", "SpotPrice", "Timestamp"]
            frame = frame[need].astype("str") if len(frame) else pd.DataFrame(columns=need, dtype="str")
            price = frame["SpotPrice"].astype("float64")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: not a history of spot prices ({str(error).splitlines()[0]})") from None
        when = seconds(path, frame["Timestamp"], np.arange(1, len(frame) + 1))
        order = np.argsort(when, kind="stable")
        frame, price = frame.iloc[order].reset_index(drop=True), price.iloc[order].reset_index(drop=True)
        gpu, gpus = of_instances("aws", frame["InstanceType"])
        return checked(
            "prices",
            {
                "time_s": when[order],
                "provider": np.full(len(frame), "aws"),
                "place": places("aws", frame["AvailabilityZone"]),
                "instance": frame["InstanceType"],
                "gpu": gpu,
                "gpus": gpus,
                "market": np.full(len(frame), "spot"),
                "usd_per_h": price,
            },
            str(path),
            order + 1,
        )
