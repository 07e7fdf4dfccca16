"""Amazon EC2's price list of November 2017 (ec2instances.info): 88 types, on demand and reserved, by region."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hcsim.model import InputError
from hcsim.traces._files import read_json
from hcsim.traces._gpus import of_instances
from hcsim.traces._places import places
from hcsim.traces._table import Source, Table, checked, left_out

#: When the list was taken; the file does not say, the repository's history says the month.
DATE = "2017-11-01"


@dataclass(frozen=True)
class Ec2Instances(Source):
    """USD per hour. Twelve terms of reservation: one or three years, standard or convertible, all, part or none of it
    paid at the start, which the hourly price already spreads over the term. Not every type has each. Prices
    with other operating systems are left out and counted; surcharges for EBS-optimised use, which are no prices of
    instances, are not read.

    Args:
        system: ``linux``, ``rhel``, ``sles``, ``mswin``, ``mswinSQL``, ``mswinSQLWeb`` or ``mswinSQLEnterprise``.
    """

    kind = "prices"

    system: str = "linux"

    def read(self) -> Table:
        """A row per type, region, market and term; ``rows`` number the prices of the file from 1. ``term`` is as
        ``1y standard no upfront``."""
        path = self.file("prices/ec2instances_2017/instances.json.gz")
        rows, known = [], read_json(path)
        try:
            for each in known:
                name, gpus = str(each["instance_type"]), float(each["GPU"])
                for region, systems in each["pricing"].items():
                    for system, prices in systems.items():
                        if isinstance(prices, dict):
                            for term, price in _prices(prices):
                                rows.append((region, name, gpus, system, term, float(price)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            said = str(error).splitlines()[0] if str(error) else ""
            raise InputError(f"{path}: not a list of instances ({type(error).__name__}: {said})") from None
        if not rows:
            raise InputError(f"{path}: holds no price")
        frame = pd.DataFrame(rows, columns=["place", "instance", "gpus", "system", "term", "usd_per_h"])
        keep = (frame["system"] == self.system).to_numpy()
        if not keep.any():
            there = ", ".join(sorted(frame["system"].unique()))
            raise InputError(f"{path}: trace.system is '{self.system}', expected one of {there}")
        line = np.arange(1, len(frame) + 1)
        frame = frame[keep].reset_index(drop=True)
        gpu, _ = of_instances("aws", frame["instance"])  # the file gives their number only
        return checked(
            "prices",
            {
                "time_s": np.full(len(frame), np.datetime64(DATE, "s").astype(np.int64)),
                "provider": np.full(len(frame), "aws"),
                "place": places("aws", frame["place"]),
                "instance": frame["instance"].astype("str"),
                "gpu": gpu.where(frame["gpus"] > 0, ""),
                "gpus": frame["gpus"],
                "market": np.where(frame["term"] == "", "on_demand", "reserved"),
                "usd_per_h": frame["usd_per_h"],
                "term": frame["term"].astype("str"),
            },
            str(path),
            line[keep],
            left_out(keep, line, f"a price of another operating system than {self.system}"),
        )


def _prices(prices: dict[str, Any]) -> list[tuple[str, Any]]:
    """Term (empty: on demand) and price of each of an instance's prices in a region."""
    out = [("", prices["ondemand"])]
    for term, price in prices.get("reserved", {}).items():
        found = re.fullmatch(r"yrTerm(\d)(Standard|Convertible)\.(all|partial|no)Upfront", term)
        if not found:
            raise ValueError(f"unknown term '{term[:40]}'")
        out.append((f"{found[1]}y {found[2].lower()} {found[3]} upfront", price))
    return out
