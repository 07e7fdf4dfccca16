"""Price books: the figures of their sources, what a bad one is told, and how configurations take prices from them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from hcsim import InputError
from hcsim.cli import CONF, compose, main, part
from hcsim.fleet import Tariff
from hcsim.money_commands import book, books
from hcsim.prices import Book, read

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
        assert each.source and datetime.date(2017, 1, 1) <= each.date <= datetime.date(2026, 11, 25)
        assert each.per_unit_usd >= 0
    rows = found.table().row_count
    assert rows >= len(found.latest) + len(found.tariffs)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"currency": "EUR"}, "currency is EUR, expected USD"),
        ({"prices": price(usd=-1.0)}, "prices 2: usd is -1.0, expected a finite number >= 0"),
        ({"prices": price(unit="gpu_hour")}, "prices 2: unit 'gpu_hour' unknown; did you mean 'gpu_h'?"),
        ({"prices": price(unit="gb_month")}, "prices 2: unit of H100 is gb_month, expected one of gpu_h"),
        ({"prices": price(currency="EUR")}, "prices 2: currency is EUR, expected USD as in the rest of the book"),
        ({"prices": price(market="sport")}, "prices 2: market 'sport' unknown; did you mean 'spot'?"),
        ({"prices": price(gpus=0)}, "prices 2: unit is node_h, so gpus of a node are missing"),
        ({"prices": price(source="lst")}, "prices 2: no source 'lst'; did you mean 'list'?"),
        ({"prices": price(date="soon")}, "prices 2: date is 'soon', expected a date"),
        ({"prices": price()}, "prices 1 and 2 overlap: both are of spot H100 in r on 2026-01-01"),
        ({"prices": [price(until=datetime.date(2026, 3, 1))[1], price(date=datetime.date(2026, 2, 1))[1]]},
         "prices 1 and 2 overlap: both are of spot H100 in r on 2026-02-01"),
        ({"prices": [{"region": "r"}]}, "prices 1: item is missing"),
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
        (("us-est-1", "H100", "on_demand"), "no region 'us-est-1'; did you mean 'us-east-1'?"),
        (("us-east-1", "H10", "on_demand"), "no item 'H10' in us-east-1; did you mean 'H100'?"),
        (("us-east-1", "H100", "ondemand"), "no market 'ondemand' for H100 in us-east-1; did you mean 'on_demand'?"),
    ):
        with pytest.raises(InputError) as error:
            book("aws").usd(*args)
        assert str(error.value) == f"price book 'aws': {said}"
    with pytest.raises(InputError, match="no price book 'asw'; did you mean 'aws'"):
        book("asw")


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
    assert "owned: 8 prices are older than 180 days" in said.err
    with pytest.raises(SystemExit):
        main(["market", "show", "lamda"])
    assert capsys.readouterr().err == "hcsim: error: no price book 'lamda'; did you mean 'lambda'?\n"


def test_books_are_where_the_configuration_is() -> None:
    assert {"aws", "gcp", "azure", "lambda", "owned"} <= set(books())
    assert all(path.parent == CONF / "market" for path in books().values())
