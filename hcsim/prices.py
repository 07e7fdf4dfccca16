"""Price books: what a provider charges, each price with its source and date."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcsim.errors import InputError, nearest, require, yaml_fault
from hcsim.fleet import GB, Tariff

if TYPE_CHECKING:
    from rich.table import Table

CURRENCY = "USD"
#: Units of a price -> what the market's are turned into: (the unit that fleets count in, how many of them it holds).
UNITS = {
    "gpu_h": ("gpu_h", 1.0),
    "node_h": ("gpu_h", 1.0),  # of ``gpus`` GPUs
    "node_month": ("gpu_h", 730.0),  # of ``gpus`` GPUs, for 730 hours
    "gb_month": ("gb_month", 1.0),
    "h": ("h", 1.0),
    "kwh": ("kwh", 1.0),
}
MARKETS = ("on_demand", "spot", "committed_1y", "committed_3y", "owned", "")
#: What is not a GPU: the item's name -> the unit that fleets count it in.
OTHER = {"storage": "gb_month", "control_plane": "h", "energy": "kwh"}
OLD_DAYS = 180


@dataclass(frozen=True)
class Price:
    """One price as its source gives it.

    Args:
        item: a GPU type, ``storage``, ``control_plane`` or ``energy``.
        unit: of ``usd``; see :data:`UNITS`.
        gpus: of a node, where ``unit`` is of nodes.
        date: when the source said so. Until the next date of the same item, region and market.
        until: when it ended (the last day that it held), where that is known.
    """

    region: str
    item: str
    usd: float
    unit: str
    date: datetime.date
    source: str
    market: str = ""
    gpus: int = 0
    sku: str = ""
    until: datetime.date | None = None

    @property
    def per_unit_usd(self) -> float:
        """In the unit that fleets count in: of a GPU-hour, a GB-month, an hour or a kWh."""
        each, many = UNITS[self.unit]
        return self.usd / (many * self.gpus if each == "gpu_h" and self.unit != "gpu_h" else many)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.region, self.item, self.market


@dataclass(frozen=True)
class Book:
    """The prices of one provider. Build with :func:`read`."""

    name: str
    title: str
    prices: tuple[Price, ...]
    tariffs: tuple[tuple[Tariff, str, datetime.date], ...]  # with source and date

    def usd(self, region: str, item: str, market: str = "") -> float:
        """The latest price of an item, in the unit that fleets count in.

        Raises:
            InputError: there is none; with the nearest name.
        """
        where = f"price book '{self.name}'"
        for field, given, known in (
            ("region", region, {p.region for p in self.prices}),
            ("item", item, {p.item for p in self.prices if p.region == region}),
            ("market", market, {p.market for p in self.prices if p.region == region and p.item == item}),
        ):
            of = "" if field == "region" else f" in {region}" if field == "item" else f" for {item} in {region}"
            require(given in known, f"{where}: no {field} '{given}'{of}; {nearest(given, known)}")
        return max((p for p in self.prices if p.key == (region, item, market)), key=lambda p: p.date).per_unit_usd

    def tariff(self, name: str) -> Tariff:
        """An egress tariff by name.

        Raises:
            InputError: there is none.
        """
        found = {tariff.name: tariff for tariff, _, _ in self.tariffs}
        require(name in found, f"price book '{self.name}': no tariff '{name}'; {nearest(name, found)}")
        return found[name]

    def oldest(self, today: datetime.date) -> tuple[int, int]:
        """(how many of its prices are older than :data:`OLD_DAYS`, age of the oldest in days)."""
        dates = [p.date for p in self.latest] + [date for _, _, date in self.tariffs]
        ages = [(today - date).days for date in dates]
        return sum(age > OLD_DAYS for age in ages), max(ages, default=0)

    @property
    def latest(self) -> tuple[Price, ...]:
        """Of each item, region and market the latest price."""
        newest: dict[tuple[str, str, str], Price] = {}
        for price in self.prices:
            if price.key not in newest or newest[price.key].date < price.date:
                newest[price.key] = price
        return tuple(newest.values())

    def table(self) -> Table:
        """As a Rich table, one row per price and tier."""
        from rich.table import Table

        table = Table(title=f"{self.name}: {self.title} (USD)")
        for name in ("region or tariff", "item", "market", "USD", "per", "sku", "date", "source"):
            table.add_column(name, overflow="fold", justify="right" if name == "USD" else "left")
        for p in self.latest:
            unit = UNITS[p.unit][0]
            table.add_row(p.region, p.item, p.market, f"{p.per_unit_usd:,.4f}", unit, p.sku, str(p.date), p.source)
        for tariff, source, date in self.tariffs:
            low = tariff.free_gb
            size = "GiB" if tariff.gb_bytes == 2**30 else "GB"
            for bound, usd in tariff.tiers:
                upto = "above" if bound == inf else f"to {bound:,.0f}"
                table.add_row(tariff.name, "egress", "", f"{usd:,.4f}", f"{size}, {upto}", "", str(date), source)
            if low:
                table.add_row(tariff.name, "egress", "", "0.0000", f"{size}, first {low:g}", "", str(date), source)
        return table


@lru_cache(maxsize=32)
def read(path: Path) -> Book:
    """A book from its YAML file.

    Raises:
        InputError: the file cannot be read; a price is negative, of an unknown or unfit unit, in another currency, or
            given twice for the same time; the message names file and row.
    """
    import yaml

    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: no readable price book ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(yaml_fault(error, [path])) from None
    require(isinstance(given, dict), f"{path}: expected keys title, currency, sources, prices, tariffs")
    known = ("title", "currency", "sources", "prices", "tariffs")
    for key in given:
        require(key in known, f"{path}: no key '{key}'; {nearest(key, known)}")
    require(given.get("currency") == CURRENCY, f"{path}: currency is {given.get('currency')}, expected {CURRENCY}")
    sources = given.get("sources") or {}
    prices = tuple(_price(f"{path}: prices {i}", row, sources) for i, row in enumerate(given.get("prices") or [], 1))
    _no_overlap(path, prices)
    tariffs = tuple(
        _tariff(f"{path}: tariffs {i}", row, sources) for i, row in enumerate(given.get("tariffs") or [], 1)
    )
    return Book(path.stem, str(given.get("title", "")), prices, tariffs)


def _fields(where: str, row: Any, known: tuple[str, ...], needed: tuple[str, ...]) -> dict[str, Any]:
    require(isinstance(row, Mapping), f"{where}: expected keys {', '.join(needed)}, given {row!r}")
    for key in row:
        require(key in known, f"{where}: no key '{key}'; {nearest(key, known)}")
    for key in needed:
        require(key in row, f"{where}: {key} is missing")
    currency = row.get("currency", CURRENCY)
    require(currency == CURRENCY, f"{where}: currency is {currency}, expected {CURRENCY} as in the rest of the book")
    return {key: value for key, value in row.items() if key != "currency"}


def _dated(where: str, row: dict[str, Any], sources: Mapping[str, str]) -> None:
    """Source by its key among the book's sources, and dates as dates."""
    require(str(row["source"]) in sources, f"{where}: no source '{row['source']}'; {nearest(row['source'], sources)}")
    row["source"] = str(sources[str(row["source"])])
    for key in ("date", "until"):
        value = row.get(key)
        ok = value is None or isinstance(value, datetime.date)
        require(ok, f"{where}: {key} is {value!r}, expected a date (YYYY-MM-DD)")


def _price(where: str, row: Any, sources: Mapping[str, str]) -> Price:
    needed = ("region", "item", "usd", "unit", "date", "source")
    fields = _fields(where, row, (*needed, "market", "gpus", "sku", "until", "currency"), needed)
    _dated(where, fields, sources)
    usd, unit, item, market = fields["usd"], fields["unit"], fields["item"], fields.get("market", "")
    ok = isinstance(usd, (int, float)) and not isinstance(usd, bool) and 0 <= usd < inf
    require(ok, f"{where}: usd is {usd}, expected a finite number >= 0")
    require(unit in UNITS, f"{where}: unit '{unit}' unknown; {nearest(unit, UNITS)}")
    fits = OTHER.get(item, "gpu_h")
    require(UNITS[unit][0] == fits, f"{where}: unit of {item} is {unit}, expected one of {fits}")
    require(market in MARKETS, f"{where}: market '{market}' unknown; {nearest(market, MARKETS[:-1])}")
    nodes = unit.startswith("node")
    require(not nodes or fields.get("gpus", 0) > 0, f"{where}: unit is {unit}, so gpus of a node are missing")
    return Price(**fields)


def _no_overlap(path: Path, prices: tuple[Price, ...]) -> None:
    """No two prices of one thing at one time: a later one ends an earlier, but not one that says until when it held."""
    by_key: dict[tuple[str, str, str], list[tuple[int, Price]]] = {}
    for i, price in enumerate(prices, 1):
        by_key.setdefault(price.key, []).append((i, price))
    for (region, item, market), same in by_key.items():
        same.sort(key=lambda pair: pair[1].date)
        for (i, a), (j, b) in pairwise(same):
            clash = a.date == b.date or (a.until is not None and a.until >= b.date)
            what = " ".join(filter(None, (market, item)))
            require(not clash, f"{path}: prices {i} and {j} overlap: both are of {what} in {region} on {b.date}")


def _tariff(where: str, row: Any, sources: Mapping[str, str]) -> tuple[Tariff, str, datetime.date]:
    needed = ("name", "tiers", "date", "source")
    fields = _fields(where, row, (*needed, "free_gb", "gb_bytes", "currency"), needed)
    _dated(where, fields, sources)
    try:
        tariff = Tariff(fields["name"], fields["tiers"], fields.get("free_gb", 0.0), fields.get("gb_bytes", GB))
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None
    return tariff, fields["source"], fields["date"]
