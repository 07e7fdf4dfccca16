"""Spot prices of AWS p2 and p3 instances in five regions, December 2019 to February 2020 (Narayanan et al., 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from hcsim.model import InputError
from hcsim.traces._files import read_json, seconds
from hcsim.traces._table import Source, Table, checked
from hcsim.traces.aws_price_history import GPUS


@dataclass(frozen=True)
class TrainingOnADime(Source):
    """Change points as ``describe-spot-price-history`` gives them, newest first; sorted by time here. Four of the
    published files are empty lists. Azure's prices and the logs of AWS and Google probes are not read.

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
        if not len(frame):
            raise InputError(f"{path}: its list of prices is empty")
        import numpy as np

        when = seconds(path, frame["Timestamp"], np.arange(1, len(frame) + 1))
        order = np.argsort(when, kind="stable")
        frame, price = frame.iloc[order].reset_index(drop=True), price.iloc[order].reset_index(drop=True)
        return checked(
            "prices",
            {
                "time_s": when[order],
                "provider": np.full(len(frame), "aws"),
                "place": frame["AvailabilityZone"],
                "instance": frame["InstanceType"],
                "gpu": frame["InstanceType"]
                .map({name: gpu for name, (gpu, _) in GPUS.items()})
                .fillna("")
                .astype("str"),
                "gpus": frame["InstanceType"].map({name: float(n) for name, (_, n) in GPUS.items()}).fillna(0.0),
                "market": np.full(len(frame), "spot"),
                "usd_per_h": price,
            },
            str(path),
            order + 1,
        )
