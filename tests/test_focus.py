"""A bill out and in again: FOCUS's columns and rules, and what a bad bill is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hcsim import Fleet, InputError, Jobs
from hcsim.cli import main
from hcsim.fleet import BILLING_MONTH_S
from hcsim.focus import NEEDED, compare, export, load
from hcsim.ledger import Ledger, bill
from hcsim.strategies.first_fit import FirstFit
from tests.shell import hcsim
from tests.test_ledger import world
from tests.worlds import play


@pytest.fixture(scope="module")
def billed() -> tuple[Ledger, Fleet, Jobs]:
    """A run of two months with every category on its bill."""
    n = 30
    rng = np.random.default_rng(0)
    site = np.where(np.arange(n) % 2 == 0, 0, -1)
    work = Jobs.build(
        arrival_s=np.linspace(0, 1.2 * BILLING_MONTH_S, n),
        duration_s=rng.uniform(600, 400_000, n),
        gpus=rng.integers(1, 9, n),
        tenant=np.arange(n) % 2,
        tenants=("red", "blue"),
        dataset_site=site,
        dataset_sites=("home",),
        dataset_bytes=np.where(site >= 0, 20e9, 0.0),
        checkpoint_interval_s=np.full(n, 3600.0),
        checkpoint_bytes=np.full(n, 4e9),
    )
    fleet = world(60.0, 60.0, 40.0)
    rows = play(FirstFit(), fleet, work).array()
    assert rows["time_s"][-1] > BILLING_MONTH_S
    return bill(rows, fleet, jobs=work), fleet, work


def test_a_bill_comes_back_without_an_error(billed: tuple[Ledger, Fleet, Jobs], tmp_path: Path) -> None:
    ledger = billed[0]
    assert all(usd > 0 for usd in ledger.by_category_usd().values())
    ours = export(*billed)
    for name in ("bill.csv", "bill.parquet"):
        (ours.to_csv if name.endswith("csv") else ours.to_parquet)(tmp_path / name, index=False)
        result = compare(ours, load(tmp_path / name), ("ProviderName", "ServiceName"))
        assert result["quantity_error_usd"].abs().max() < 1e-9
        assert len(result) == 7  # two providers; compute, egress and energy at home, and all but energy in the cloud
        assert result["error_usd"].abs().max() < 1e-9
        assert result["run_usd"].sum() == pytest.approx(ledger.total_usd, abs=1e-6)


def test_rows_keep_the_rules_of_the_specification(billed: tuple[Ledger, Fleet, Jobs]) -> None:
    ledger, fleet, work = billed
    rows = export(ledger, fleet, work)
    never_null = [*NEEDED, "BillingAccountId", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
                  "PublisherName", "ServiceCategory"]  # fmt: skip
    assert rows[never_null].notna().all().all()
    usage, bought = rows[rows["ChargeCategory"] == "Usage"], rows[rows["ChargeCategory"] == "Purchase"]
    assert set(rows["ServiceCategory"]) == {"Compute", "Networking", "Storage", "Management and Governance", "Other"}
    assert set(usage["PricingCategory"]) == {"Standard", "Dynamic", "Committed"}
    # a commitment is billed where it is bought and takes effect where it is used or not
    committed = usage["CommitmentDiscountId"].notna()
    assert (committed == usage["CommitmentDiscountStatus"].notna()).all()
    assert (committed == (usage["PricingCategory"] == "Committed")).all()
    assert (usage["BilledCost"][committed] == 0).all() and (bought["EffectiveCost"] == 0).all()
    for month, group in usage[committed].groupby("BillingPeriodStart"):
        paid = bought.loc[bought["BillingPeriodStart"] == month, "BilledCost"].sum()
        assert paid == pytest.approx(group["EffectiveCost"].sum())
        taken = bought.loc[bought["BillingPeriodStart"] == month, "CommitmentDiscountQuantity"].sum()
        assert taken == pytest.approx(group["CommitmentDiscountQuantity"].astype(float).sum())
    unused = usage["CommitmentDiscountStatus"] == "Unused"
    assert usage["EffectiveCost"][unused].sum() == pytest.approx(ledger.by_category_usd()["commitment"])
    assert rows["BilledCost"].sum() == pytest.approx(rows["EffectiveCost"].sum()) == pytest.approx(ledger.total_usd)
    # prices: list before the discount, contracted after it
    assert np.allclose(usage["ContractedUnitPrice"] * usage["PricingQuantity"], usage["ContractedCost"])
    assert np.allclose(usage["ListUnitPrice"] * usage["PricingQuantity"], usage["ListCost"])
    assert usage["ListUnitPrice"][committed].unique().tolist() == pytest.approx([2.0])
    assert usage["ContractedUnitPrice"][committed].unique().tolist() == pytest.approx([1.4])
    assert set(rows["PricingUnit"]) == {"GPU-Hours", "GB", "GiB", "GB-Months", "Hours", "kWh"}
    # times: within the billing period, which are apart
    assert (rows["ChargePeriodStart"] < rows["ChargePeriodEnd"]).all()
    assert (rows["ChargePeriodStart"] >= rows["BillingPeriodStart"]).all()
    assert (rows["ChargePeriodEnd"] <= rows["BillingPeriodEnd"]).all()
    assert rows["BillingPeriodStart"].nunique() == 2
    tags = [json.loads(each) for each in rows["Tags"]]
    assert {each["tenant"] for each in tags if each} == {"red", "blue"} == set(rows["SubAccountId"].dropna())
    by_job = pd.Series(usage["EffectiveCost"].to_numpy()).groupby([each.get("job", "") for each in tags[: len(usage)]])
    assert by_job.sum().drop("").to_dict() == pytest.approx(
        {str(job): usd for job, usd in enumerate(ledger.by_job_usd(len(work))) if usd}
    )


ROW = {
    "BilledCost": 1.0,
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-01-01T00:00:00Z",
    "BillingPeriodEnd": "2026-02-01T00:00:00Z",
    "ChargeCategory": "Usage",
    "ChargePeriodStart": "2026-01-02T00:00:00Z",
    "ChargePeriodEnd": "2026-01-02T01:00:00Z",
    "ProviderName": "AWS",
    "ServiceName": "Amazon Elastic Compute Cloud",
    "ResourceId": "i-1",
    "PricingUnit": "GPU-Hours",
    "PricingQuantity": 0.5,
    "ContractedUnitPrice": 2.0,
    "ContractedCost": 1.0,
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"BillingCurrency": "EUR"}, "row 3: BillingCurrency is EUR, expected USD"),
        ({"PricingUnit": "Minutes"}, "row 3: PricingUnit is Minutes, expected one of GPU-Hours, GB, "),
        ({"PricingUnit": None}, "row 3: PricingUnit is nan, expected one of GPU-Hours, GB, "),
        ({"PricingQuantity": 30.0}, "row 3: ContractedCost is 1.0, expected PricingQuantity × ContractedUnitPrice"),
        ({"PricingQuantity": "some"}, "row 3: PricingQuantity is some, expected a number"),
        ({"BilledCost": -1.0}, "row 3: BilledCost is -1.0, expected at least 0"),
        ({"ContractedUnitPrice": -2.0, "ContractedCost": -1.0}, "row 3: ContractedCost is -1.0, expected at least 0"),
        ({"ListUnitPrice": -2.0}, "row 3: ListUnitPrice is -2.0, expected at least 0"),
        ({"PricingQuantity": -0.5, "ContractedUnitPrice": -2.0}, "row 3: ContractedUnitPrice is -2.0, expected at le"),
        ({"ChargeCategory": "Foo"}, "row 3: ChargeCategory is Foo, expected one of Usage, Purchase, Tax, "),
        ({"BilledCost": "much"}, "row 3: BilledCost is much, expected a number"),
        ({"ChargePeriodStart": "yesterday"}, "row 3: ChargePeriodStart is yesterday, expected a time"),
        ({"ChargePeriodEnd": "2026-01-02T00:00:00Z"}, "ChargePeriodEnd is 2026-01-02 00:00:00+00:00, expected later"),
        ({"ChargePeriodStart": "2025-12-31T00:00:00Z"}, "expected within its billing period"),
        ({"BillingPeriodStart": "2026-01-15T00:00:00Z", "BillingPeriodEnd": "2026-02-15T00:00:00Z",
          "ChargePeriodStart": "2026-01-16T00:00:00Z", "ChargePeriodEnd": "2026-01-17T00:00:00Z"},
         "row 3: its billing period from 2026-01-15 overlaps another"),
        ({"ChargePeriodStart": "2026-01-02T00:30:00Z"}, "rows 2 and 3 charge the same thing for times that overlap"),
    ],
)  # fmt: skip
def test_a_bad_bill_is_told_in_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "bill.csv"
    pd.DataFrame([ROW, ROW | changes]).to_csv(path, index=False)
    with pytest.raises(InputError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ") and said in str(error.value)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A run on the hybrid fleet, and its bill."""
    folder = tmp_path_factory.mktemp("billed")
    assert hcsim("run", "trace.n=60", f"hydra.run.dir={folder / 'run'}").status == 0
    assert hcsim("bill", "export", folder / "run", "--out", folder / "bill.csv").status == 0
    return folder / "run", pd.read_csv(folder / "bill.csv")


MONEY = ["BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ListUnitPrice", "ContractedUnitPrice"]


def test_a_bill_in_euros_is_refused_or_converted(kept: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    run, rows = kept
    path = tmp_path / "eur.csv"
    rows = rows.assign(BillingCurrency="EUR", **{name: rows[name] / 1.25 for name in MONEY})
    rows.to_csv(path, index=False)
    said = hcsim("bill", "check", run, path)
    assert (said.status, said.out) == (2, "") and said.err.count("\n") == 1
    assert "row 2: BillingCurrency is EUR, expected USD (--currency EUR=1.1" in said.err
    assert hcsim("bill", "check", run, path, "--currency", "EUR=1.25").status == 0
    off = hcsim("bill", "check", run, path, "--currency", "EUR=1.26")
    assert off.status == 1 and "-0.79" in off.out  # 1.25 / 1.26 - 1


def test_quantities_in_another_unit_are_refused_or_converted(kept: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    """Minutes of GPUs, said or not said: as many, or sixty times as many at the old price or at their own."""
    run, rows = kept
    path = tmp_path / "minutes.csv"
    mine = rows["PricingUnit"] == "GPU-Hours"
    minutes = rows.copy()
    minutes.loc[mine, ["PricingQuantity", "ConsumedQuantity"]] *= 60
    minutes.loc[mine, ["ContractedUnitPrice", "ListUnitPrice"]] /= 60
    minutes.assign(PricingUnit=rows["PricingUnit"].where(~mine, "Minutes")).to_csv(path, index=False)
    said = hcsim("bill", "check", run, path)
    assert (said.status, said.out) == (2, "") and "PricingUnit is Minutes, expected one of GPU-Hours" in said.err
    assert hcsim("bill", "check", run, path, "--unit", f"Minutes={1 / 60!r} GPU-Hours").status == 0
    minutes.to_csv(path, index=False)  # the unit's name stayed, and price and quantity fit each other
    said = hcsim("bill", "check", run, path)
    assert said.status == 1 and "off" in said.out
    rows.assign(PricingQuantity=rows["PricingQuantity"].where(~mine, rows["PricingQuantity"] * 60)).to_csv(
        path, index=False
    )
    assert "expected PricingQuantity × ContractedUnitPrice" in hcsim("bill", "check", run, path).err
    rows.assign(PricingUnit=rows["PricingUnit"].where(~mine, "Hours")).to_csv(path, index=False)
    said = hcsim("bill", "check", run, path)
    assert said.status == 2 and "is billed in Hours, expected GPU-Hours as in the run's bill" in said.err


def test_the_table_of_a_check_is_kept_for_a_spreadsheet(kept: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    run, rows = kept
    rows.to_csv(tmp_path / "bill.csv", index=False)
    assert hcsim("bill", "check", run, tmp_path / "bill.csv", "--out", tmp_path / "table.csv").status == 0
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["agrees"].all() and table["bill_usd"].sum() == pytest.approx(rows["BilledCost"].sum())
    for by in ("SubAccountId", "BilledCost"):  # null for some, and no name
        assert hcsim("bill", "check", run, tmp_path / "bill.csv", "--by", by).status == 0
    for args, part in (
        (["--currency", "EUR"], "--currency is 'EUR', expected NAME=NUMBER"),
        (["--currency", "EUR=-1"], "expected NAME=NUMBER"),
        (["--tolerance", "-1"], "--tolerance is -1.0, expected a finite number >= 0"),
        (["--unit", "Hrs=8 GPU-Hour"], "--unit is 'Hrs=8 GPU-Hour', expected NAME=NUMBER UNIT with a unit of the run's;"
         " did you mean 'GPU-Hours'?"),
    ):  # fmt: skip
        said = hcsim("bill", "check", run, tmp_path / "bill.csv", *args)
        assert said.status == 2 and part in said.err and said.err.count("\n") == 1


def test_bytes_that_end_a_month_are_charged_in_it(billed: tuple[Ledger, Fleet, Jobs]) -> None:
    ledger, fleet, work = billed
    last = float(np.nextafter(BILLING_MONTH_S, 0.0))
    egress = np.flatnonzero(ledger.of("egress"))[:1]
    one = replace(ledger, **{name: getattr(ledger, name)[egress] for name in vars(ledger)})
    moved = replace(one, start_s=np.array([last]), end_s=np.array([last]))
    row = export(moved, fleet, work).iloc[0]
    assert row["BillingPeriodStart"] < row["ChargePeriodStart"] < row["ChargePeriodEnd"] == row["BillingPeriodEnd"]


def test_missing_columns_and_files(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    pd.DataFrame([ROW]).rename(columns={"BilledCost": "BilledCosts"}).to_csv(path, index=False)
    with pytest.raises(InputError, match="column 'BilledCost' is missing; did you mean 'BilledCosts'"):
        load(path)
    with pytest.raises(InputError, match=r"nowhere\.csv: no readable bill"):
        load(tmp_path / "nowhere.csv")
    pd.DataFrame([ROW, ROW | {"ChargeCategory": "Credit", "BilledCost": -0.5}]).to_csv(path, index=False)
    assert load(path)["BilledCost"].sum() == 0.5  # what is given back is no bad input


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "bill.csv"
    for args, status in (
        (["run", "trace.n=60", f"hydra.run.dir={run}"], None),
        (["bill", "export", str(run), "--out", str(out), "--start", "2026-03-01"], 0),
        (["bill", "check", str(run), str(out)], 0),
    ):
        if status is None:
            main(args)
            continue
        with pytest.raises(SystemExit) as ended:
            main(args)
        assert ended.value.code == status
    said = capsys.readouterr().out
    assert "services agree within 0.01 USD" in said
    rows = pd.read_csv(out)
    total = json.loads((run / "summary.json").read_text())["cost_usd"]
    assert rows["BilledCost"].sum() == pytest.approx(total) and rows["ChargePeriodStart"].min() >= "2026-03-01"
    rows.loc[0, "BilledCost"] += 5.0
    rows.to_csv(out, index=False)
    with pytest.raises(SystemExit) as ended:
        main(["bill", "check", str(run), str(out)])
    assert ended.value.code == 1 and "-5.00" in capsys.readouterr().out
    for args, said in (
        (["bill", "export", str(run)], "--out is missing"),
        (["bill", "check", str(run)], "FILE is missing"),
        (["bill", "check", str(run), str(out), "--by", "Service"], "no column 'Service'"),
        (["bill", "export", str(run), "--out", str(out), "--start", "1/2/26"], "--start is 1/2/26, expected a date"),
        (["bill", "export", str(tmp_path), "--out", str(out)], "not a run folder"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(args)
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
