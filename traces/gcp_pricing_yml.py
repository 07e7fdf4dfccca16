"""Google's price list as Cyclenerd's calculator publishes it, 2022 to 2026: prices by region, egress, machine types."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import MOST_DEFECTS, Defect, Defective, read_bytes, read_csv, why
from hcsim.traces._gpus import canonical, of_instances
from hcsim.traces._places import places
from hcsim.traces._table import MOST_ROWS, Dropped, Source, Table, checked, left_out

FOLDER = "prices/gcp_pricing_yml"
HOURS_PER_MONTH = 730.0  # of the file's monthly prices
GIB_PER_GB = 1e9 / 2**30  # traffic is sold by the GiB (the calculator's own tests: 1024 GiB at 0.12)
#: What a machine is described by, next to its accelerators (their key names them, its value counts them).
NO_ACCELERATORS = ("bandwidth", "cost", "cpu", "local-ssd", "ram", "tier1", "type")
#: Keys of accelerators that do not say by themselves what they are.
GPUS = {"a100": "A100-40GB", "h100-80gb-mega": "H100", "rtx6000": "RTXPRO6000"}
#: Price -> (market, term, hours that it pays for).
PRICES = {
    "hour": ("on_demand", "", 1.0),
    "hour_spot": ("spot", "", 1.0),
    "month_1y": ("reserved", "1y", HOURS_PER_MONTH),
    "month_3y": ("reserved", "3y", HOURS_PER_MONTH),
}
#: The file's monthly prices on demand and spot are not read: the hourly times 730, less a discount for the whole month.
NOT_READ = ("month", "month_spot")
TIERS = ("0-1", "1-10", "10n")
#: More than any price, count or time of such a list.
MOST = 1e12


@dataclass(frozen=True)
class GcpPricingYml(Source):
    """USD per hour of each machine type in each region: on demand, spot (in the file since 2023-06) and reserved for
    one or three years (``term``; monthly in the file). Accelerators and how many (a part of one, for some) are as the
    file says. The time is when the file was made.

    A price is listed also where the type is not offered. ``tools/machinetypezone.csv`` lists what was offered where in
    May 2023: of the types and regions that it knows, prices of pairs that it does not have are left out and counted.
    Newer types and regions stay, as nothing is known of them.

    Args:
        date: the folder of the copy: 2022-09-01, 2023-09-07, 2024-09-05, 2025-09-04 or 2026-01-01.
        zones: another list of types by zone (``;``-separated, ``NAME`` and ``ZONE``); ``none``: leave nothing out.
            Where ``path`` is given, nothing is left out without it.
    """

    kind = "prices"
    running = True

    date: str = "2026-01-01"
    zones: str = ""

    def read(self) -> Table:
        """A row per type, region, market and term, in the file's order; ``rows`` number the prices from 1."""
        path = self.file(f"{FOLDER}/{self.date}/pricing.yml")
        known = _yaml(path)
        made_s = _number(path, _at(path, known, "about.timestamp"), "about.timestamp")
        instances = _dict(path, _at(path, known, "compute.instance"), "compute.instance")
        rows: list[tuple[str, str, str, float, str, str, Any]] = []
        unpriced: list[int] = []
        for name, machine in instances.items():
            where = f"compute.instance.{name}"
            accelerators = {
                key: count for key, count in _dict(path, machine, where).items() if key not in NO_ACCELERATORS
            }
            if len(accelerators) > 1 or not all(_is_number(count) for count in accelerators.values()):
                raise InputError(f"{path}: {where} holds {accelerators}"[:200] + ", expected one kind of accelerator")
            gpu, gpus = next(iter(accelerators.items()), ("", 0))
            label = GPUS.get(gpu) or canonical(str(gpu))
            cost = _dict(path, machine.get("cost") or {}, f"{where}.cost")
            if not cost:
                unpriced.append(len(rows) + 1)
            for region, prices in cost.items():
                for price, usd in _dict(path, prices, f"{where}.cost.{region}").items():
                    if price not in NOT_READ:
                        rows.append((str(region), str(name), label, float(gpus), f"{where}.cost.{region}", price, usd))
        if not rows:
            raise InputError(f"{path}: no price below compute.instance")
        frame = pd.DataFrame(rows, columns=["place", "instance", "gpu", "gpus", "where", "price", "usd"])
        bad = _defects(frame)
        if bad:
            raise Defective(path, bad[:MOST_DEFECTS], len(bad))
        (keep, notes), line = self._offered(frame), np.arange(1, len(frame) + 1)
        frame = frame[keep].reset_index(drop=True)
        dropped = left_out(keep, line, "not offered in that region, by the list of types by zone")
        if unpriced:
            dropped += (
                Dropped("a machine type without prices", len(unpriced), unpriced[0], tuple(unpriced[:MOST_ROWS])),
            )
        terms = [PRICES[price] for price in frame["price"]]
        return checked(
            "prices",
            {
                "time_s": np.full(len(frame), made_s),
                "provider": np.full(len(frame), "gcp"),
                "place": places("gcp", frame["place"]),
                "instance": frame["instance"],
                "gpu": frame["gpu"],
                "gpus": frame["gpus"],
                "market": [market for market, _, _ in terms],
                "usd_per_h": frame["usd"].astype("float64") / [hours for _, _, hours in terms],
                "term": [term for _, term, _ in terms],
            },
            str(path),
            line[keep],
            dropped,
            notes,
        )

    def _offered(self, frame: pd.DataFrame) -> tuple[Any, tuple[str, ...]]:
        """Which prices are of a type that was offered in the region, or of one of which nothing is known; and what is
        not known, as a note."""
        if self.zones == "none" or (self.path and not self.zones):
            return np.ones(len(frame), bool), ()
        path = Path(self.zones) if self.zones else Path(self.data_dir) / FOLDER / "tools/machinetypezone.csv"
        zones = read_csv(path, {"NAME": pa.string(), "ZONE": pa.string()}, delimiter=";").to_pandas()
        region = zones["ZONE"].str.rpartition("-")[0]
        known = frame["instance"].isin(set(zones["NAME"])) & frame["place"].isin(set(region))
        pairs = frame["instance"] + " " + frame["place"]
        families = sorted(set(frame["instance"][~frame["instance"].isin(set(zones["NAME"]))].str.partition("-")[0]))
        note = (
            f"{int((~known).sum()):,} prices are of types or regions that the list of types by zone (May 2023) does not"
            f" hold: whether they are offered there is unchecked (types {', '.join(families) or '-'})"
        )
        return (~known | pairs.isin(set(zones["NAME"] + " " + region))).to_numpy(), () if known.all() else (note,)


@dataclass(frozen=True)
class GcpEgress(Source):
    """Egress from each region to the internet: to most of the world, to Australia, to China. USD per GiB in the file,
    per GB here. Monthly volume decides the tier; prices of the others are left out and counted.

    Args:
        date: the folder of the copy, see :class:`GcpPricingYml`.
        tier: ``0-1``, ``1-10`` or ``10n`` (more) TiB a month.
    """

    kind = "links"
    running = True

    date: str = "2026-01-01"
    tier: str = "0-1"

    def read(self) -> Table:
        """A row per region and destination (``internet``, ``internet:australia``, ``internet:china``); throughput and
        round trips are not given. ``rows`` number the prices from 1."""
        if self.tier not in TIERS:
            raise InputError(f"trace.tier: no tier '{self.tier}'; {nearest(self.tier, list(TIERS))}")
        path = self.file(f"{FOLDER}/{self.date}/pricing.yml")
        base = "compute.network.traffic.egress.internet"
        rows = []
        for name, part in _dict(path, _at(path, _yaml(path), base), base).items():
            where, target = (base, "internet") if name == "cost" else (f"{base}.{name}", f"internet:{name}")
            tiers = part if name == "cost" else _dict(path, part, where).get("cost")
            for tier, regions in _dict(path, tiers, f"{where}.cost").items():
                for region, prices in _dict(path, regions, f"{where}.cost.{tier}").items():
                    below = f"{where}.cost.{tier}.{region}"
                    usd = _number(path, _dict(path, prices, below).get("month"), f"{below}.month")
                    rows.append((f"gcp:{region}", target, str(tier), usd))
        frame = pd.DataFrame(rows, columns=["source", "target", "tier", "usd"])
        keep, line = (frame["tier"] == self.tier).to_numpy(), np.arange(1, len(frame) + 1)
        if not keep.any():
            raise InputError(f"{path}: {base} has no price of tier {self.tier}")
        frame = frame[keep].reset_index(drop=True)
        unknown = np.full(len(frame), np.nan)
        return checked(
            "links",
            {
                "source": frame["source"],
                "target": frame["target"],
                "bytes_per_s": unknown,
                "rtt_s": unknown,
                "usd_per_gb": frame["usd"] * GIB_PER_GB,
            },
            str(path),
            line[keep],
            left_out(keep, line, f"of another tier than {self.tier}"),
        )


@dataclass(frozen=True)
class GcpMachines(Source):
    """Google's machine types: processors and memory (GB in the file, which are GiB) as Google's own tool lists them,
    GPUs from their names. Types with a part of a GPU are listed as without.

    Args:
        by_zone: a row per type and zone in which it was offered in May 2023, else a row per type of a later list.
    """

    kind = "nodes"
    running = True

    by_zone: bool = True

    def read(self) -> Table:
        """The types in the file's order, ``nodes`` 1 of each; the place is a zone, or the cloud."""
        path = self.file(f"{FOLDER}/tools/{'machinetypezone' if self.by_zone else 'machinetypes'}.csv")
        number = ("CPUS", "MEMORY_GB")
        kinds = dict.fromkeys(("NAME", "ZONE"), pa.string()) | dict.fromkeys(number, pa.float64())
        frame = read_csv(path, kinds, delimiter=";", nullable=("ZONE",)).to_pandas()
        gpu, gpus = of_instances("gcp", frame["NAME"])
        return checked(
            "nodes",
            {
                "gpu": gpu.where(gpus >= 1, ""),
                "gpus": np.floor(gpus).astype(np.int64),
                "cpus": frame["CPUS"],
                "ram_bytes": frame["MEMORY_GB"] * 2**30,
                "nodes": np.ones(len(frame), np.int64),
                "place": places("gcp", frame["ZONE"].fillna("")),
                "instance": frame["NAME"],
            },
            str(path),
        )


def _yaml(path: Path) -> Any:
    """A YAML file, by libyaml where PyYAML has it.

    Raises:
        InputError: it is not YAML; the message names the line.
    """
    import yaml

    data = read_bytes(path)
    if b"compute:" not in data:  # seen before much else is taken for YAML, which takes its time
        raise InputError(f"{path}: key compute is missing, expected a price list of Google's cloud")
    try:
        return yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or why(error)
        raise InputError(f"{path}: {f'row {mark.line + 1}: ' if mark else ''}not YAML ({said})") from None


def _dict(path: Path, found: Any, where: str) -> dict[Any, Any]:
    if not isinstance(found, dict):
        raise InputError(f"{path}: {where} is {str(found)[:40]!r}, expected keys with values")
    return found


def _at(path: Path, known: Any, keys: str) -> Any:
    """What lies under keys that are joined by dots.

    Raises:
        InputError: it is not there.
    """
    found = known
    for key in keys.split("."):
        if not isinstance(found, dict) or key not in found:
            raise InputError(f"{path}: key {keys} is missing, expected a price list of Google's cloud")
        found = found[key]
    return found


def _number(path: Path, found: Any, where: str) -> float:
    if not _is_number(found):
        raise InputError(f"{path}: {where} is {str(found)[:40]!r}, expected a number")
    return float(found)


def _is_number(found: Any) -> bool:
    return type(found) in (int, float) and abs(found) < MOST


def _defects(frame: pd.DataFrame) -> list[Defect]:
    """Prices that are no numbers or of no known kind."""
    known = frame["price"].isin(list(PRICES))
    bad = []
    for i in np.flatnonzero(~(known & frame["usd"].map(_is_number)).to_numpy()):
        where, price, usd = (frame[name].iloc[i] for name in ("where", "price", "usd"))
        if known.iloc[i]:
            bad.append(Defect(int(i) + 1, f"{where}.{price}", f"{str(usd)[:40]!r}", "a number"))
        else:
            expected = f"one of {', '.join((*PRICES, *NOT_READ))}"
            bad.append(Defect(int(i) + 1, where, f"{str(price)[:40]!r}", expected))
    return bad
