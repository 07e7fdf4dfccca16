"""Regions of the large clouds, by the providers' own names.

``conf/regions.csv`` has them with their source: ``gsf`` is the Green Software Foundation's table of cloud regions
(real-time-cloud, Cloud_Region_Metadata.csv, with data up to 2024), ``azure`` Azure's price list of 2022 as SpotLake
kept it, ``book`` a price book that ships.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path

from hcsim.errors import InputError, nearest

_FILE = Path(__file__).resolve().parent / "conf" / "regions.csv"
#: What tells a zone from its region, by provider.
_ZONE = {"aws": r"[a-f]", "gcp": r"-[a-f]", "azure": r"-[1-3]"}


@cache
def regions(provider: str = "") -> frozenset[str]:
    """Names of a provider's regions, empty where no list of them is known; without a provider those of all."""
    with open(_FILE, newline="", encoding="utf-8") as file:
        return frozenset(row["region"] for row in csv.DictReader(file) if provider in ("", row["provider"]))


def known(where: str, provider: str, name: str, *, cloud: bool = True) -> None:
    """Hold a region, or a zone of one, against the lists of the large clouds.

    A cloud without a list of its own has a region of one of these, or writes ``PROVIDER:NAME``. What is no ``cloud``
    names its place as it likes.

    Raises:
        InputError: there is no such region; with the nearest name.
    """
    listed = provider in _ZONE
    if not name or not (cloud or listed) or (not listed and name.startswith(f"{provider}:")):
        return
    there = regions(provider if listed else "")
    if region_of(provider, name) in there:
        return
    of = f"{provider} has" if listed else "the lists of clouds have"
    more = "" if listed else f"; a region that {provider} alone has is written '{provider}:{name}'"
    raise InputError(f"{where}: {of} no region '{name}'; {nearest(name, there)}{more}")


def region_of(provider: str, name: str) -> str:
    """The region that a zone of a large cloud lies in; any other name is a region itself."""
    there = regions(provider if provider in _ZONE else "")
    zones = [_ZONE[provider]] if provider in _ZONE else list(_ZONE.values())
    outer = (re.sub(f"{zone}$", "", name) for zone in zones)
    return name if name in there else next((each for each in outer if each in there), name)


def known_provider(where: str, name: str) -> None:
    """Raises:
    InputError: a large cloud's name in other letters, which would be held against no list.
    """
    proper = name.casefold()
    if proper in _ZONE and name != proper:
        raise InputError(f"{where}: provider '{name}' unknown; {nearest(proper, _ZONE)}")
