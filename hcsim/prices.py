"""Price books: what a provider charges, each price with its source and date."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from hcsim.errors import InputError, nearest, require, yaml_fault
from hcsim.fleet import GB, Tariff
from hcsim.regions import known as known_region

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
#: Keys of a configuration that take prices and do not end with their unit, as ``_per_gpu_h`` does -> that unit.
KEYS = {"price": "gpu_h", "tiers": "gb"}
OLD_DAYS = 180


@dataclass(frozen=True, order=True)
class When:
    """A date as a source gives it: a day, a month or a year, or none at all, which counts as the oldest.

    ``first`` is the first day that it may be.
    """

    first: datetime.date
    text: str

    @staticmethod
    def of(value: Any) -> When | None:
        """From YAML: ``2026-10-22``, ``2026-10``, ``2026`` or ``unknown``; None for anything else."""
        if value == "unknown":
            return When(datetime.date.min, "unknown")
        if isinstance(value, datetime.datetime) or not isinstance(value, (str, int, datetime.date)):
            return None
        found = re.fullmatch(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?", str(value))
        if isinstance(value, bool) or found is None:
            return None
        year, month, day = (int(part or 1) for part in found.groups())
        try:
            return When(datetime.date(year, month, day), str(value))
        except ValueError:
            return None

    @property
    def last(self) -> datetime.date:
        """The last day that it may be."""
        if self.first == datetime.date.min or self.text.count("-") == 2:
            return self.first
        months = 1 if "-" in self.text else 12
        year, month = divmod(self.first.year * 12 + self.first.month - 1 + months, 12)
        return (
            datetime.date.fromordinal(datetime.date(year, month + 1, 1).toordinal() - 1)
            if year < 10000
            else datetime.date.max
        )

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Price:
    """One price as its source gives it.

    Args:
        item: a GPU type, ``storage``, ``control_plane`` or ``energy``.
        unit: of ``usd``; see :data:`UNITS`.
        gpus: of a node, where ``unit`` is of nodes.
        date: when the source said so. Until the next date of the same item, region and market.
        until: the last day, month or year in which it held, where it has ended.
    """

    region: str
    item: str
    usd: float
    unit: str
    date: When
    source: str
    market: str = ""
    gpus: int = 0
    sku: str = ""
    until: When | None = None

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
    tariffs: tuple[tuple[Tariff, str, When], ...]  # with source and date
    as_of: datetime.date  # when it was last looked after: what had ended by then is offered no more

    def usd(self, region: str, item: str, market: str = "", key: str = "") -> float:
        """The latest price of an item, in the unit that fleets count in.

        Args:
            key: of the configuration that it is for, whose end names a unit (or :data:`KEYS`); empty: any.

        Raises:
            InputError: there is none, with the nearest name; it has ended; its unit is not that of the key.
        """
        where = f"price book '{self.name}'"
        for field, given, known in (
            ("region", region, {p.region for p in self.prices}),
            ("item", item, {p.item for p in self.prices if p.region == region}),
            ("market", market, {p.market for p in self.prices if p.region == region and p.item == item}),
        ):
            of = "" if field == "region" else f" in {region}" if field == "item" else f" for {item} in {region}"
            require(given in known, f"{where}: no {field} '{given}'{of}; {nearest(given, known)}")
        price = max((p for p in self.prices if p.key == (region, item, market)), key=lambda p: p.date)
        what = " ".join(filter(None, (market, item)))
        ended = price.until is not None and price.until.last < self.as_of
        require(not ended, f"{where}: {what} in {region} ended on {price.until}, and no later price is known")
        unit = KEYS.get(key) or (key.rpartition("_per_")[2] if "_per_" in key else "")
        mine = UNITS[price.unit][0]
        require(unit in ("", mine), f"{where}: {what} is priced per {mine}, expected a price per {unit} for {key}")
        return price.per_unit_usd

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
        ages = [(today - date.first).days for date in dates if date.first > datetime.date.min]
        return sum(age > OLD_DAYS for age in ages), max(ages, default=0)

    @property
    def undated(self) -> int:
        """How many of its prices have no date."""
        dates = [p.date for p in self.latest] + [date for _, _, date in self.tariffs]
        return sum(date.first == datetime.date.min for date in dates)

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
            unit, dated = UNITS[p.unit][0], f"{p.date} to {p.until}" if p.until else str(p.date)
            table.add_row(p.region, p.item, p.market, f"{p.per_unit_usd:,.4f}", unit, p.sku, dated, p.source)
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
        InputError: the file cannot be read; a value is none of its kind, negative, of an unknown or unfit unit, in
            another currency, later than the book itself (``as_of``), of a region that the provider does not have, or
            given twice for the same time; the message names file, row and key.
    """
    import yaml

    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: no readable price book ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(yaml_fault(error, [path])) from None
    except (ValueError, RecursionError) as error:  # a date such as 2026-13-01, or lists without end
        raise InputError(f"{path}: no readable price book ({error})") from None
    today = datetime.datetime.now(datetime.UTC).date()
    book = _typed(str(path), given, _Book)
    as_of = book.as_of.first if book.as_of else today
    prices = tuple(
        _price(f"{path}: prices {i}", row, book.sources, as_of, path.stem) for i, row in enumerate(book.prices, 1)
    )
    _no_overlap(path, prices)
    tariffs = tuple(_tariff(f"{path}: tariffs {i}", row, book.sources, as_of) for i, row in enumerate(book.tariffs, 1))
    names = [tariff.name for tariff, _, _ in tariffs]
    for name in names:
        require(names.count(name) == 1, f"{path}: tariffs: '{name}' is given twice")
    return Book(path.stem, book.title, prices, tariffs, as_of)


class _Strict(BaseModel):
    """Nothing is converted, and no key is there for nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _when(value: Any) -> When:
    found = When.of(value)
    if found is None:
        expected = "Input should be a date (YYYY-MM-DD, YYYY-MM or YYYY, or 'unknown' where the source gives none)"
        raise PydanticCustomError("date", expected)
    return found


_Date = Annotated[Any, PlainValidator(_when)]
_Text = Annotated[str, Field(pattern=r"\S")]
_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Book(_Strict):
    currency: Literal["USD"]
    sources: dict[_Text, _Text]
    prices: list[Any]
    tariffs: list[Any] = []
    title: str = ""
    as_of: _Date = None


class _Dated(_Strict):
    date: _Date
    source: _Text
    currency: Literal["USD"] = "USD"


class _PriceRow(_Dated):
    region: _Text
    item: _Text
    usd: _Number
    unit: _Text
    market: str = ""
    gpus: Annotated[int, Field(ge=1, le=1024)] | None = None
    sku: str = ""
    until: _Date = None


class _TariffRow(_Dated):
    name: _Text
    tiers: list[Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)]]
    free_gb: _Number = 0.0
    gb_bytes: _Number = GB


_Row = TypeVar("_Row", bound=_Strict)


def _typed(where: str, given: Any, kind: type[_Row]) -> _Row:
    """A row with every value of its kind."""
    needed = ", ".join(name for name, field in kind.model_fields.items() if field.is_required())
    require(isinstance(given, Mapping), f"{where}: expected keys {needed}, given {_shown(given)}")
    for key in given:  # before pydantic, which takes text alone for keys
        require(key in kind.model_fields, f"{where}: no key '{key}'; {nearest(str(key), kind.model_fields)}")
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function"))
        if first["type"] == "missing":
            raise InputError(f"{where}: {key} is missing") from None
        expected = first["msg"].removeprefix("Input should be ").replace("String should match pattern '\\S'", "text")
        raise InputError(f"{where}: {key} is {_shown(first['input'])}, expected {expected}") from None


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, (int, float)) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _dated(where: str, row: _Dated, sources: Mapping[str, str], as_of: datetime.date) -> None:
    """A row names one of the book's sources, and no date is later than the book itself."""
    require(row.source in sources, f"{where}: no source '{row.source}'; {nearest(row.source, sources)}")
    for key in ("date", "until"):
        when = getattr(row, key, None)
        late = when is not None and when.first > as_of
        require(not late, f"{where}: {key} is {when}, expected {as_of} or before, when the book was looked after")


def _price(where: str, given: Any, sources: Mapping[str, str], as_of: datetime.date, book: str) -> Price:
    row = _typed(where, given, _PriceRow)
    _dated(where, row, sources, as_of)
    unit, item, market = row.unit, row.item, row.market
    require(unit in UNITS, f"{where}: unit '{unit}' unknown; {nearest(unit, UNITS)}")
    fits = OTHER.get(item, "gpu_h")
    require(UNITS[unit][0] == fits, f"{where}: unit of {item} is {unit}, expected one of {fits}")
    require(market in MARKETS, f"{where}: market '{market}' unknown; {nearest(market, MARKETS[:-1])}")
    one_of = "none" if item in OTHER else f"one of {', '.join(MARKETS[:-1])}"
    require((market == "") == (item in OTHER), f"{where}: market of {item} is '{market}', expected {one_of}")
    nodes = unit.startswith("node")
    require(not nodes or row.gpus is not None, f"{where}: unit is {unit}, so gpus of a node are missing")
    require(nodes or row.gpus is None, f"{where}: gpus is {row.gpus}, expected none with unit {unit}")
    known_region(where, book, row.region, cloud=False)  # of a book that is named as a large cloud
    until: When | None = row.until
    early = until is not None and until.last < row.date.first
    require(not early, f"{where}: until is {until}, expected {row.date} (date) or later")
    return Price(row.region, item, row.usd, unit, row.date, sources[row.source], market, row.gpus or 0, row.sku, until)


def _no_overlap(path: Path, prices: tuple[Price, ...]) -> None:
    """No two prices of one thing at one time: a later one ends an earlier, but not one that says until when it held."""
    by_key: dict[tuple[str, str, str], list[tuple[int, Price]]] = {}
    for i, price in enumerate(prices, 1):
        by_key.setdefault(price.key, []).append((i, price))
    for (region, item, market), same in by_key.items():
        same.sort(key=lambda pair: pair[1].date)
        for (i, a), (j, b) in pairwise(same):
            clash = a.date.first == b.date.first or (a.until is not None and a.until.last >= b.date.first)
            what = " ".join(filter(None, (market, item)))
            require(not clash, f"{path}: prices {i} and {j} overlap: both are of {what} in {region} on {b.date}")


def _tariff(where: str, given: Any, sources: Mapping[str, str], as_of: datetime.date) -> tuple[Tariff, str, When]:
    row = _typed(where, given, _TariffRow)
    _dated(where, row, sources, as_of)
    try:
        tariff = Tariff(row.name, tuple((bound, usd) for bound, usd in row.tiers), row.free_gb, row.gb_bytes)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return tariff, sources[row.source], row.date
