"""Price books: the figures of their sources, what a bad one is told, and how configurations take prices from them."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import InputError, NodePool, Site
from hcsim.cli import CONF, compose, main, part
from hcsim.fleet import Tariff
from hcsim.money_commands import book, books
from hcsim.prices import OTHER, Book, read
from hcsim.regions import regions
from hcsim.traces.ec2_instances import Ec2Instances
from hcsim.traces.gcp_pricing_yml import GcpPricingYml
from hcsim.traces.skypilot_catalog import SkypilotCatalog
from hcsim.traces.spotlake_azure import SpotlakeAzure

BOOK: dict[str, Any] = {
    "title": "t",
    "currency": "USD",
    "sources": {"list": "a list"},
    "prices": [
        {"region": "r", "item": "H100", "market": "spot", "usd": 80.0, "unit": "node_h", "gpus": 8,
         "date": datetime.date(2026, 1, 1), "source": "list"},
    ],
    "tariffs": [
        {"name": "out", "tiers": [[10, 0.1], [float("inf"), 0.05]], "date": datetime.date(2026, 1, 1), "source": "list"}
    ],
}  # fmt: skip


def made(tmp_path: Path, **changes: Any) -> Book:
    path = tmp_path / "book.yaml"
    path.write_text(yaml.safe_dump(BOOK | changes))
    read.cache_clear()
    return read(path)


def price(**changes: Any) -> list[dict[str, Any]]:
    return [BOOK["prices"][0], BOOK["prices"][0] | changes]


@pytest.mark.parametrize(
    ("name", "region", "item", "market", "usd"),
    [
        ("aws", "us-east-2", "H100", "on_demand", 55.04 / 8),
        ("aws", "us-east-1", "V100", "on_demand", 3.06),
        ("aws", "eu-west-1", "V100", "committed_3y", 11.536 / 8),
        ("gcp", "us-central1", "H100", "on_demand", 88.49 / 8),
        ("gcp", "us-central1", "A100-40GB", "committed_1y", 13514.9691136 / 730 / 8),
        ("gcp", "europe-west4", "A100", "spot", 17.7716975 / 8),
        ("azure", "westeurope", "A100", "on_demand", 40.962 / 8),
        ("azure", "eastus", "A100", "on_demand", 3.67),  # the newer of two
        ("lambda", "us", "H100", "on_demand", 3.99),
        ("nebius", "eu-north1", "H100", "spot", 1.25),
        ("owned", "us", "A100", "owned", 199_000 / (4 * 8760 * 8)),
        ("aws", "us-east-1", "storage", "", 0.023),
        ("owned", "us", "energy", "", 0.0806),
    ],
)
def test_prices_are_those_of_their_sources(name: str, region: str, item: str, market: str, usd: float) -> None:
    assert book(name).usd(region, item, market) == pytest.approx(usd, rel=1e-4)


def test_egress_tariffs_are_marginal_tiers() -> None:
    """Figures of the tiers that SkyPilot gets wrong above 10 TB; AWS's first GB is free."""
    aws, azure = (book(name).tariff(f"{name}-internet") for name in ("aws", "azure"))
    gcp = book("gcp").tariff("gcp-us")
    assert aws.gb_bytes == azure.gb_bytes == gcp.gb_bytes == 2**30
    for gb, usd in ((10_240, 921.60), (12_000, 1071.20), (51_200, 4403.20), (153_600, 11571.20)):
        assert aws.usd(gb) == pytest.approx(usd - 0.09)
    assert azure.usd(20_480) == pytest.approx(10_240 * 0.0875 + 10_240 * 0.083)
    assert gcp.usd(10_240) == pytest.approx(1024 * 0.12 + 9216 * 0.11)
    assert book("lambda").tariff("lambda-internet").usd(1e6) == 0


@pytest.mark.parametrize("name", books())
def test_every_price_has_a_source_and_a_date(name: str) -> None:
    found = book(name)
    assert found.prices and found.title
    for each in found.prices:
        known = each.date.text == "unknown" or datetime.date(2017, 1, 1) <= each.date.first
        assert each.source and known and each.date.first <= found.as_of
        assert each.per_unit_usd >= 0
    rows = found.table().row_count
    assert rows >= len(found.latest) + len(found.tariffs)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"currency": "EUR"}, "currency is 'EUR', expected 'USD'"),
        ({"prices": price(usd=-1.0)}, "prices 2: usd is -1.0, expected greater than or equal to 0"),
        ({"prices": price(unit="gpu_hour")}, "prices 2: unit 'gpu_hour' unknown; did you mean 'gpu_h'?"),
        ({"prices": price(unit="gb_month")}, "prices 2: unit of H100 is gb_month, expected one of gpu_h"),
        ({"prices": price(currency="EUR")}, "prices 2: currency is 'EUR', expected 'USD'"),
        ({"prices": price(market="sport")}, "prices 2: market 'sport' unknown; did you mean 'spot'?"),
        ({"prices": price(gpus=0)}, "prices 2: gpus is 0, expected greater than or equal to 1"),
        ({"prices": price(gpus="x")}, "prices 2: gpus is 'x', expected a valid integer"),
        ({"prices": price(gpus=None)}, "prices 2: unit is node_h, so gpus of a node are missing"),
        ({"prices": price(unit="gpu_h")}, "prices 2: gpus is 8, expected none with unit gpu_h"),
        ({"prices": price(date=datetime.datetime(2026, 1, 1, 5))}, "prices 2: date is datetime.datetime(2026, 1, 1"),
        ({"prices": price(date=datetime.date(2999, 1, 1))}, "prices 2: date is 2999-01-01, expected 20"),
        ({"prices": price(until=datetime.date(2999, 1, 1))}, "prices 2: until is 2999-01-01, expected 20"),
        ({"prices": price(date="2026-13")}, "prices 2: date is '2026-13', expected a date"),
        ({"prices": price(until=datetime.date(2025, 1, 1))}, "prices 2: until is 2025-01-01, expected 2026-01-01"),
        ({"prices": price(item=["H100"])}, "prices 2: item is ['H100'], expected a valid string"),
        ({"prices": price(market="")}, "prices 2: market of H100 is '', expected one of on_demand, spot"),
        ({"prices": price(usd=True)}, "prices 2: usd is True, expected a valid number"),
        ({"prices": price(usd=float("nan"))}, "prices 2: usd is nan, expected "),
        ({"prices": {"a": 1}}, "prices is {'a': 1}, expected a valid list"),
        ({"prices": ["H100"]}, "prices 1: expected keys date, source, region, item, usd, unit, given 'H100'"),
        ({"sources": {"list": 3}}, "sources.list is 3, expected a valid string"),
        ({"tariffs": [BOOK["tariffs"][0] | {"tiers": [10, 0.1]}]}, "tariffs 1: tiers.0 is 10, expected a valid list"),
        ({"tariffs": [BOOK["tariffs"][0]] * 2}, "tariffs: 'out' is given twice"),
        ({"prices": price(source="lst")}, "prices 2: no source 'lst'; did you mean 'list'?"),
        ({"prices": price(date="soon")}, "prices 2: date is 'soon', expected a date"),
        ({"prices": price()}, "prices 1 and 2 overlap: both are of spot H100 in r on 2026-01-01"),
        ({"prices": [price(until=datetime.date(2026, 3, 1))[1], price(date=datetime.date(2026, 2, 1))[1]]},
         "prices 1 and 2 overlap: both are of spot H100 in r on 2026-02-01"),
        ({"prices": [{"region": "r"}]}, "prices 1: date is missing"),
        ({"prices": price(prize=1)}, "prices 2: no key 'prize'; known: "),
        ({"tariffs": [BOOK["tariffs"][0] | {"tiers": [[10, 0.1]]}]}, "tariffs 1: tariff 'out': the last tier must"),
        ({"tarifs": []}, "no key 'tarifs'; did you mean 'tariffs'?"),
    ],
)  # fmt: skip
def test_a_bad_book_is_told_in_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        made(tmp_path, **changes)
    assert said in str(error.value) and str(tmp_path / "book.yaml") in str(error.value)


def test_the_latest_price_holds_and_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    found = made(tmp_path, prices=price(usd=40.0, date=datetime.date(2026, 6, 1)))
    assert found.usd("r", "H100", "spot") == 5.0 and len(found.latest) == 1
    assert found.oldest(datetime.date(2026, 7, 1)) == (1, 181)  # the tariff; the price is a month old
    for args, said in (
        (("us-esat-1", "H100", "on_demand"), "no region 'us-esat-1'; did you mean 'us-east-1'?"),
        (("us-est-1", "H100", "on_demand"), "no region 'us-est-1'; did you mean 'us-east-1'?"),
        (("us-east-1", "H10", "on_demand"), "no item 'H10' in us-east-1; did you mean 'H100'?"),
        (("us-east-1", "H100", "ondemand"), "no market 'ondemand' for H100 in us-east-1; did you mean 'on_demand'?"),
    ):
        with pytest.raises(InputError) as error:
            book("aws").usd(*args)
        assert str(error.value) == f"price book 'aws': {said}"
    with pytest.raises(InputError, match="no price book 'asw'; did you mean 'aws'"):
        book("asw")


def test_a_price_that_has_ended_is_offered_no_more(tmp_path: Path) -> None:
    ended = [BOOK["prices"][0] | {"until": datetime.date(2026, 2, 1)}]
    with pytest.raises(InputError, match="spot H100 in r ended on 2026-02-01, and no later price is known"):
        made(tmp_path, prices=ended).usd("r", "H100", "spot")
    assert made(tmp_path, prices=ended, as_of=datetime.date(2026, 2, 1)).usd("r", "H100", "spot") == 10.0
    later = [*ended, BOOK["prices"][0] | {"date": datetime.date(2026, 3, 1), "usd": 8.0}]
    assert made(tmp_path, prices=later).usd("r", "H100", "spot") == 1.0


def test_a_date_may_be_as_coarse_as_its_source(tmp_path: Path) -> None:
    """Of two prices the one that may be later holds; what has no date is the oldest, and is said to have none."""
    dated = [BOOK["prices"][0] | {"date": date, "usd": usd} for date, usd in
             (("unknown", 8.0), (2024, 16.0), ("2025-06", 24.0), ("2025-03", 32.0))]  # fmt: skip
    found = made(tmp_path, prices=dated)
    assert found.usd("r", "H100", "spot") == 3.0
    assert [str(price.date) for price in found.prices] == ["unknown", "2024", "2025-06", "2025-03"]
    assert made(tmp_path, prices=dated[:1]).undated == 1


def test_a_price_that_held_until_a_month_or_a_year_held_until_its_last_day(tmp_path: Path) -> None:
    """Neither ended on the first day of it nor, given for a later month of the year, before it began."""
    for date, until, next_date in (("2026-01", "2026-03", "2026-04-01"), ("2024-03", 2024, "2025-01-01")):
        rows = price(date=next_date, usd=16.0)
        rows[0] = rows[0] | {"date": date, "until": until}
        assert made(tmp_path, prices=rows).usd("r", "H100", "spot") == 2.0
    for date, until, next_date in (("2026-01", "2026-03", "2026-03-15"), ("2024-03", 2024, "2024-12-31")):
        rows = price(date=next_date, usd=16.0)
        rows[0] = rows[0] | {"date": date, "until": until}
        with pytest.raises(InputError, match=f"prices 1 and 2 overlap: both are of spot H100 in r on {next_date}"):
            made(tmp_path, prices=rows)
    row = BOOK["prices"][0]
    for as_of, until in (("2026-11-25", "2026-11"), ("2026-11-25", 2026), ("2026-02-28", "2026-02")):
        assert made(tmp_path, as_of=as_of, prices=[row | {"until": until}]).usd("r", "H100", "spot") == 10.0
    with pytest.raises(InputError, match="ended on 2026-02, and no later price is known"):
        made(tmp_path, as_of="2026-03-01", prices=[row | {"until": "2026-02"}]).usd("r", "H100", "spot")


@pytest.mark.parametrize(
    ("price", "said"),
    [("owned,us,energy", "energy is priced per kwh"), ("aws,us-east-2,storage", "storage is priced per gb_month")],
)
def test_a_price_of_another_unit_is_refused_where_a_configuration_takes_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, price: str, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", f"fleet.sites.1.pools.0.usd_per_gpu_h=${{usd:{price}}}", f"hydra.run.dir={tmp_path / 'r'}"])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.count("\n") == 1 and said in err
    assert "expected a price per gpu_h for usd_per_gpu_h" in err
    for other in ("storage_usd_per_gb_month", "control_plane_usd_per_h", "usd_per_kwh"):
        with pytest.raises(SystemExit):
            main(["run", f"+fleet.sites.1.{other}=${{usd:aws,us-east-2,H100,spot}}", f"hydra.run.dir={tmp_path / 'r'}"])
        err = capsys.readouterr().err
        assert "spot H100 is priced per gpu_h, expected a price per" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "unit"),
    [
        ("fleet.links.0.usd_per_gb=${usd:aws,us-east-1,storage}", "gb for usd_per_gb"),
        ("+fleet.sites.1.pools.0.price={_target_:hcsim.series.Series,beyond:hold,time_s:[0],"
         "value:[${usd:aws,us-east-1,storage}]}", "gpu_h for price"),
        ("fleet.tariffs=[{_target_:hcsim.fleet.Tariff,name:t,tiers:[[.inf,${usd:aws,us-east-1,storage}]]}]",
         "gb for tiers"),
    ],
    ids=["link", "series", "tier"],
)  # fmt: skip
def test_a_price_of_another_unit_is_refused_inside_a_series_and_for_egress(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, more: str, unit: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "fleet=hybrid", more, f"hydra.run.dir={tmp_path / 'r'}"])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.count("\n") == 1
    assert f"storage is priced per gb_month, expected a price per {unit}" in err


def test_a_site_in_a_region_that_its_cloud_does_not_have() -> None:
    pool = NodePool("p", "H100", 8, 1)
    for provider, region, near in (("aws", "us-esat-1", "us-east-1"), ("gcp", "us-central", "us-central1"),
                                   ("azure", "westeuropa", "westeurope")):  # fmt: skip
        with pytest.raises(InputError) as error:
            Site("s", (pool,), provider=provider, region=region, kind="cloud")
        assert str(error.value) == f"site 's': {provider} has no region '{region}'; did you mean '{near}'?"
    said = "site 's': the lists of clouds have no region 'us-esat-1'; did you mean 'us-east-1'?"
    with pytest.raises(InputError) as error:
        Site("s", (pool,), provider="mine", region="us-esat-1", kind="cloud")
    assert str(error.value) == f"{said}; a region that mine alone has is written 'mine:us-esat-1'"
    for region in ("mine:r1", "us-east-1b", "westeurope"):
        assert Site("s", (pool,), provider="mine", region=region, kind="cloud").region == region
    for provider, region in (("aws", "us-east-1"), ("aws", "us-east-1a"), ("gcp", "us-east5-b"), ("owned", "cellar")):
        assert Site("s", (pool,), provider=provider, region=region).region == region
    for name in books():
        for price in book(name).prices:  # also those that ship
            assert price.region in regions(name) or not regions(name)


CONSTANTS = {  # figures of the reference pack that no price book holds
    "price.aws.p3.2xlarge.spot_range_2023": "a range of prices",
    "egress.oci.first_10TB": "there is no book of Oracle's cloud",
    "egress.oci.gt_10TB": "as above",
    "egress.azure.internet.asia_oceania_mea": "its first tier alone is known",
}
TARIFFS = {
    "egress.aws.internet.tier_0_10TB": ("aws", "aws-internet", 0),
    "egress.aws.internet.tier_10_50TB": ("aws", "aws-internet", 1),
    "egress.aws.internet.tier_50_150TB": ("aws", "aws-internet", 2),
    "egress.aws.internet.tier_gt150TB": ("aws", "aws-internet", 3),
    "egress.aws.us-east-1_to_us-west-2": ("aws", "aws-region", 0),
    "egress.aws.us-east-1_to_eu-west-1": ("aws", "aws-region", 0),
    "egress.aws.us-east-1_to_us-east-2": ("aws", "aws-near-region", 0),
    "egress.azure.internet.NA_EU": ("azure", "azure-internet", 0),
    "egress.azure.interregion.NA_or_EU_same_continent": ("azure", "azure-region", 0),
    "egress.azure.interregion.NA_EU_other_continent": ("azure", "azure-continent", 0),
    "egress.gcp.internet.le_1TB": ("gcp", "gcp-us", 0),
    "egress.gcp.internet.le_10TB": ("gcp", "gcp-us", 1),
    "egress.gcp.internet.gt_10TB": ("gcp", "gcp-us", 2),
    "egress.lambda": ("lambda", "lambda-internet", 0),
}


@pytest.mark.shared
def test_every_price_of_the_reference_is_in_a_book(shared_reference: Path) -> None:
    """price.PROVIDER.MACHINE.MARKET[.REGION]: same machine, market and region, to the last digit."""
    constants = pd.read_csv(shared_reference / "cloud" / "constants.csv", dtype=str)
    mine = constants[constants["name"].str.startswith(("price.", "egress."))]
    assert len(mine) > 40 and set(CONSTANTS) | set(TARIFFS) <= set(mine["name"])
    for name, value in zip(mine["name"], mine["value"], strict=True):
        if name in CONSTANTS:
            continue
        if name in TARIFFS:
            of, tariff, tier = TARIFFS[name]
            assert book(of).tariff(tariff).tiers[tier][1] == float(value), name
            continue
        _, provider, rest = name.split(".", 2)
        machine, market, region = re.fullmatch(r"(.+)\.(ondemand|spot)[._]?(.*)", rest).groups()  # type: ignore[union-attr]
        found = [
            price
            for price in book(provider).prices
            if (price.sku == machine or f"{price.item}x{price.gpus}".lower() == machine.replace("-40", "-40gb"))
            and price.market == {"ondemand": "on_demand", "spot": "spot"}[market]
            and region.removesuffix("_2022") in ("", price.region)
            and price.usd == float(value)
        ]
        assert found, name


def test_every_source_of_a_book_is_used() -> None:
    for name, path in books().items():
        given = yaml.safe_load(path.read_text())
        used = {row["source"] for row in [*given["prices"], *given.get("tariffs", [])]}
        assert used == set(given["sources"]), name


# -- any damage --------------------------------------------------------------------------------------------------------

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates(), st.datetimes(),
    st.just([]), st.just({}), st.lists(st.integers(), max_size=2), st.just({1: 2}),
    st.just(10**400), st.just("unknown"),
)  # fmt: skip


def places_in(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in nested mappings and lists."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [at, *(place for key, each in items for place in places_in(each, (*at, key)))]


@settings(max_examples=300)
@given(st.sampled_from(sorted(books())), st.data())
def test_whatever_a_book_says_is_a_book_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    """A value of a book that ships becomes anything, goes, or gets another key; text is cut or garbled."""
    text = books()[name].read_text()
    given = yaml.safe_load(text)
    if data.draw(st.booleans()):
        given["prices"] = data.draw(st.permutations(given["prices"]))[:3]  # what is damaged is not one of a hundred
        for _ in range(data.draw(st.integers(1, 3))):
            *path, last = data.draw(st.sampled_from([place for place in places_in(given) if place]))
            node = given
            for key in path:
                node = node[key]
            how = data.draw(st.sampled_from(("other", "gone", "key")))
            if how == "other":
                node[last] = data.draw(ODD)
            elif how == "gone":
                del node[last]
            elif isinstance(node, dict):
                node[data.draw(st.one_of(st.text(max_size=4), st.integers()))] = node.pop(last)
        text = yaml.safe_dump(given)
    else:
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 40)) :]
    path_ = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path_.write_text(text, encoding="utf-8", errors="replace")
    read.cache_clear()
    try:
        found = read(path_)
    except InputError as error:
        assert str(error).startswith(str(path_)) and "\n" not in str(error)
    else:
        for price in found.latest:
            if price.until is None:
                assert found.usd(*price.key) >= 0
        assert found.table().row_count >= len(found.latest)
        found.oldest(datetime.date(2026, 12, 1))


def test_configurations_take_prices_from_books(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(BOOK))
    key = "fleet.sites.1.pools.0.usd_per_gpu_h"
    pool = part(compose(["fleet=hybrid", f"{key}=${{usd:{path},r,H100,spot}}"])[0], "fleet").pools[1]
    assert pool.usd_per_gpu_h == 10.0
    fleet = part(compose(["fleet=hybrid", "+fleet.tariffs=['${tariff:aws,aws-internet}']"])[0], "fleet")
    assert fleet.tariffs == (book("aws").tariff("aws-internet"),) and isinstance(fleet.tariffs[0], Tariff)


def test_an_unknown_price_in_a_configuration_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    key = "fleet.sites.1.pools.0.usd_per_gpu_h"
    with pytest.raises(SystemExit) as ended:
        main(["run", f"{key}=${{usd:aws,us-east-1,H101,on_demand}}", f"hydra.run.dir={tmp_path / 'r'}"])
    said = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and len(said) == 1
    assert said[0].endswith("price book 'aws': no item 'H101' in us-east-1; did you mean 'H100'?")
    assert "fleet.sites[1].pools[0].usd_per_gpu_h: " in said[0]


def test_market_show_warns_of_old_prices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["market", "show", "lambda", "owned"])
    said = capsys.readouterr()
    assert ended.value.code == 0
    assert "3.9900" in said.out and "2026-06-28" in said.out and "lambda.ai" in said.out
    assert "owned: 5 prices are older than 180 days, the oldest 3," in said.err and "and 3 have no date" in said.err
    assert "lambda: 1 have no date" in said.err
    with pytest.raises(SystemExit):
        main(["market", "show", "lamda"])
    assert capsys.readouterr().err == "hcsim: error: no price book 'lamda'; did you mean 'lambda'?\n"


def test_books_are_where_the_configuration_is() -> None:
    assert {"aws", "gcp", "azure", "lambda", "owned"} <= set(books())
    assert all(path.parent == CONF / "market" for path in books().values())


@pytest.mark.shared
@pytest.mark.parametrize(
    ("of", "source", "kind"),
    [
        ("gcp", "list", GcpPricingYml),
        ("azure", "spotlake", SpotlakeAzure),
        ("aws", "catalog", SkypilotCatalog),
        ("aws", "reserved", Ec2Instances),
    ],
)
def test_prices_are_those_of_the_traces_they_come_from(shared_traces: Path, of: str, source: str, kind: Any) -> None:
    """Every figure of these sources: the same machine, region and market in the trace of that list, to its digits."""
    more = {SkypilotCatalog: {"provider": of}, GcpPricingYml: {"zones": "none"}}
    frame = kind(str(shared_traces), **more.get(kind, {})).table().frame
    text = yaml.safe_load(books()[of].read_text())["sources"][source]
    mine = [price for price in book(of).prices if price.source == text and price.item not in OTHER]
    assert len(mine) > 4
    for price in mine:
        term = {"committed_1y": "1y", "committed_3y": "3y"}.get(price.market, "")
        there = frame[(frame["instance"].str.removeprefix("Standard_") == price.sku)
                      & (frame["place"] == f"{of}:{price.region}")]  # fmt: skip
        there = there[there["market"] == ("reserved" if term else price.market)]
        if term:
            there = there[there["term"].isin((term, f"{term} standard no upfront"))]
        node_usd_per_h = price.per_unit_usd * price.gpus
        assert there["usd_per_h"].tolist() == pytest.approx([node_usd_per_h], rel=1e-6), price
