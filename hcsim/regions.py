"""Regions of the large clouds, by the providers' own names.

``conf/regions.csv`` has them with their source: ``gsf`` is the Green Software Foundation's table of cloud regions
(real-time-cloud, Cloud_Region_Metadata.csv, with data up to 2024), ``azure`` Azure's price list of 2022 as SpotLake
kept it.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path

from hcsim.errors import nearest, require

_FILE = Path(__file__).resolve().parent / "conf" / "regions.csv"
#: What tells a zone from its region, by provider.
_ZONE = {"aws": r"[a-f]", "gcp": r"-[a-f]", "azure": r"-[1-3]"}


@cache
def regions(provider: str) -> frozenset[str]:
    """Names of a provider's regions; empty where no list of them is known."""
    with open(_FILE, newline="", encoding="utf-8") as file:
        return frozenset(row["region"] for row in csv.DictReader(file) if row["provider"] == provider)


def known(where: str, provider: str, name: str) -> None:
    """Hold a region, or a zone of one, against the provider's list; other providers name theirs as they like.

    Raises:
        InputError: there is no such region; with the nearest name.
    """
    there = regions(provider) if provider in _ZONE and name else frozenset()
    region = re.sub(_ZONE[provider] + "$", "", name) if there else name
    if there:
        require(name in there or region in there, f"{where}: {provider} has no region '{name}'; {nearest(name, there)}")
