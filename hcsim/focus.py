"""A bill in the columns of FOCUS, the FinOps Open Cost and Usage Specification (focus.finops.org), and back.

Written are the mandatory columns of version 1.2 and the conditional ones that a run has something to say of.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcsim.errors import InputError, nearest, require
from hcsim.fleet import BILLING_MONTH_S, Fleet
from hcsim.ledger import CATEGORIES, UNITS, Ledger
from hcsim.model import Jobs

if TYPE_CHECKING:
    import pandas as pd

#: When a run's second 0 is, unless said otherwise.
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
CENT = 0.01
#: What a bill that is checked must have.
NEEDED = (
    "BilledCost",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargeCategory",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "ServiceName",
)
#: What a charge may be.
CHARGES = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
#: Together with the time these tell one charge of a bill from another.
KEY = ("BillingAccountId", "ProviderName", "RegionId", "ServiceName", "ResourceId", "SkuPriceId", "ChargeCategory",
       "ChargeDescription", "PricingCategory", "CommitmentDiscountStatus", "Tags")  # fmt: skip
SERVICE_CATEGORY = {
    "compute": "Compute",
    "commitment": "Compute",
    "egress": "Networking",
    "storage": "Storage",
    "control_plane": "Management and Governance",
    "energy": "Other",
}
#: In the words of the specification's UnitFormat; a tariff that counts in binary GB is in GiB.
PRICING_UNIT = {"gpu_h": "GPU-Hours", "gb": "GB", "gb_month": "GB-Months", "h": "Hours", "kwh": "kWh"}
#: As the providers call themselves and their services in bills of their own; others keep the names of the fleet.
_CALLED = {"aws": "AWS", "gcp": "Google Cloud", "azure": "Microsoft"}
_SERVICES = {
    "aws": {"compute": "Amazon Elastic Compute Cloud", "egress": "AWS Data Transfer",
            "storage": "Amazon Simple Storage Service",
            "control_plane": "Amazon Elastic Container Service for Kubernetes"},
    "gcp": {"compute": "Compute Engine", "egress": "Networking", "storage": "Cloud Storage",
            "control_plane": "Kubernetes Engine"},
    "azure": {"compute": "Virtual Machines", "egress": "Bandwidth", "storage": "Storage",
              "control_plane": "Azure Kubernetes Service"},
}  # fmt: skip


def _monthly(ledger: Ledger) -> tuple[Any, Any, Any, Any]:
    """(item, begin, end, share) of the items cut at the ends of billing months, which charges may not cross."""
    first = (ledger.start_s // BILLING_MONTH_S).astype(np.int64)
    last = np.maximum(np.ceil(ledger.end_s / BILLING_MONTH_S).astype(np.int64) - 1, first)
    count = last - first + 1
    item = np.repeat(np.arange(len(count)), count)
    month = first[item] + np.arange(len(item)) - np.repeat(np.cumsum(count) - count, count)
    begin = np.maximum(ledger.start_s[item], month * BILLING_MONTH_S)
    end = np.minimum(ledger.end_s[item], (month + 1) * BILLING_MONTH_S)
    length = (ledger.end_s - ledger.start_s)[item]
    share = np.where(length > 0, (end - begin) / np.where(length > 0, length, 1.0), 1.0)
    return item, begin, end, share


def export(ledger: Ledger, fleet: Fleet, jobs: Jobs, start: datetime.datetime = START) -> pd.DataFrame:
    """A ledger as FOCUS rows: one per item and billing month (730 hours from ``start``), in the order of the ledger.

    A commitment is bought in rows of its own, one per pool and month (``Purchase``: billed, of no effective cost);
    what uses it, and what is left unused, is effective cost that is not billed again. Jobs and tenants are tags.
    Owned nodes are charged as they are amortised. Times are rounded to seconds, as the specification wants them.
    """
    import pandas as pd

    item, begin, end, share = _monthly(ledger)
    items = ledger.frame(fleet, jobs).iloc[item].reset_index(drop=True)
    category = np.array(CATEGORIES)[ledger.category[item]]
    kind = np.where(category == "commitment", "compute", category)
    market = items["market"].astype(str).to_numpy()
    committed = market == "reserved"
    quantity, cost = ledger.quantity[item] * share, ledger.usd[item] * share
    pool = ledger.pool[item]
    provider = items["provider"].to_numpy()
    where = items["site"].astype(str)
    node = items["node"].to_numpy()
    pool_name = items["pool"].astype(object).where(pool >= 0, "").astype(str)
    resource = where + np.where(pool >= 0, "/" + pool_name, "") + np.where(node >= 0, "/" + node.astype(str), "")
    tier = np.where(ledger.tier[item] >= 0, " tier " + ledger.tier[item].astype(str), "")
    tariff = items["tariff"].astype(object).where(ledger.link[item] >= 0, "").astype(str)
    sku = np.where(
        kind == "compute", market + " " + _gpus(fleet, pool), np.where(kind == "egress", tariff + tier, kind)
    )
    sku = np.where(kind == "storage", np.where(ledger.tier[item] > 0, "checkpoints", "datasets"), sku)
    list_usd = _list_price(ledger, fleet, item)
    month = (begin // BILLING_MONTH_S).astype(np.int64)
    since = np.minimum(np.round(begin), (month + 1) * BILLING_MONTH_S - 1.0)  # what ends a month is charged in it
    unused = np.where(category == "commitment", "unused ", np.where(ledger.job[item] < 0, "idle ", ""))
    rows = pd.DataFrame(
        {
            "BilledCost": np.where(committed, 0.0, cost),
            "BillingAccountId": fleet.name,
            "BillingAccountName": fleet.name,
            "BillingCurrency": "USD",
            "BillingPeriodStart": _times(start, month * BILLING_MONTH_S),
            "BillingPeriodEnd": _times(start, (month + 1) * BILLING_MONTH_S),
            "ChargeCategory": "Usage",
            "ChargeClass": None,
            "ChargeDescription": [
                " ".join(x for x in (a, b, "in", c) if x) for a, b, c in zip(unused, sku, where, strict=True)
            ],
            "ChargeFrequency": "Usage-Based",
            "ChargePeriodStart": _times(start, since),
            "ChargePeriodEnd": _times(start, np.maximum(np.round(end), since + 1.0)),
            "CommitmentDiscountCategory": _if(committed, "Usage"),
            "CommitmentDiscountId": _if(committed, pool_name),
            "CommitmentDiscountQuantity": _if(committed, quantity),
            "CommitmentDiscountStatus": _if(committed, np.where(category == "commitment", "Unused", "Used")),
            "CommitmentDiscountType": _if(committed, "Reservation"),
            "CommitmentDiscountUnit": _if(committed, "GPU-Hours"),
            "ConsumedQuantity": quantity,
            "ConsumedUnit": _units(ledger, fleet, item),
            "ContractedCost": cost,
            "ContractedUnitPrice": ledger.unit_usd[item],
            "EffectiveCost": cost,
            "InvoiceIssuerName": [_CALLED.get(name, name) for name in provider],
            "ListCost": list_usd * quantity,
            "ListUnitPrice": list_usd,
            "PricingCategory": np.where(committed, "Committed", np.where(market == "spot", "Dynamic", "Standard")),
            "PricingQuantity": quantity,
            "PricingUnit": _units(ledger, fleet, item),
            "ProviderName": [_CALLED.get(name, name) for name in provider],
            "PublisherName": [_CALLED.get(name, name) for name in provider],
            "RegionId": np.where(items["region"] == "", where, items["region"]),
            "RegionName": where,
            "ResourceId": resource,
            "ResourceType": kind,
            "ServiceCategory": [SERVICE_CATEGORY[name] for name in category],
            "ServiceName": [_SERVICES.get(p, {}).get(k, k) for p, k in zip(provider, kind, strict=True)],
            "SkuId": sku,
            "SkuPriceId": [f"{name} at {usd!r}" for name, usd in zip(sku, ledger.unit_usd[item].tolist(), strict=True)],
            "SubAccountId": items["tenant"].where(items["tenant"] != "", None),
            "Tags": _tags(items),
        }
    )
    return pd.concat([rows, _purchases(rows[committed])], ignore_index=True)


def _if(mine: Any, value: Any) -> Any:
    """A column with a value where it applies, and null elsewhere."""
    return np.where(mine, np.asarray(value, object), None)  # type: ignore[call-overload]


def _purchases(used: pd.DataFrame) -> pd.DataFrame:
    """What commitments were bought for: all their uses and what was left of them, by pool and month."""
    by = ["CommitmentDiscountId", "BillingPeriodStart", "BillingPeriodEnd", "SkuPriceId"]
    first = used.drop_duplicates(by).copy()
    sums = used.groupby(by, sort=False)
    for name, column in (
        ("BilledCost", "EffectiveCost"),
        *((c, c) for c in ("PricingQuantity", "CommitmentDiscountQuantity", "ContractedCost", "ListCost")),
    ):
        first[name] = sums[column].sum().to_numpy()
    first["ChargePeriodStart"] = sums["ChargePeriodStart"].min().to_numpy()
    first["ChargePeriodEnd"] = sums["ChargePeriodEnd"].max().to_numpy()
    first["EffectiveCost"] = 0.0
    first["ChargeCategory"], first["ChargeFrequency"] = "Purchase", "Recurring"
    first["ChargeDescription"] = "commitment to " + first["SkuId"] + " in " + first["RegionName"]
    first["PricingCategory"] = "Standard"
    first["ResourceId"] = first["CommitmentDiscountId"]
    first["Tags"] = "{}"
    for name in ("CommitmentDiscountStatus", "ConsumedQuantity", "ConsumedUnit", "SubAccountId"):
        first[name] = None
    return first


def _times(start: datetime.datetime, seconds: Any) -> Any:
    """Seconds of a run as UTC times to the second."""
    import pandas as pd

    at = pd.Timestamp(start) + pd.to_timedelta(np.round(np.asarray(seconds, float)), unit="s")
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _gpus(fleet: Fleet, pool: Any) -> Any:
    return np.array([*(each.gpu for each in fleet.pools), ""], object)[pool].astype(str)


def _units(ledger: Ledger, fleet: Fleet, item: Any) -> Any:
    """Units in FOCUS's words; a tariff may count in binary GB."""
    names = np.array([PRICING_UNIT[unit] for unit in UNITS.values()], object)[ledger.category[item]]
    binary = np.array([*(fleet.tariff_of[pair].gb_bytes == 2**30 for pair in fleet.links_by_sites), False])
    return np.where((names == "GB") & binary[ledger.link[item]], "GiB", names)


def _list_price(ledger: Ledger, fleet: Fleet, item: Any) -> Any:
    """Unit prices before discounts; where all is discounted, what the pool's list says at the item's begin."""
    out = ledger.unit_usd[item].copy()
    bought = ledger.of("compute")[item] | ledger.of("commitment")[item]
    for p, pool in enumerate(fleet.pools):
        mine = bought & (ledger.pool[item] == p)
        if pool.discount_share < 1.0:
            out[mine] /= 1.0 - pool.discount_share
        else:
            listed = pool.price
            out[mine] = pool.usd_per_gpu_h if listed is None else [listed.at(t) for t in ledger.start_s[item][mine]]
    return out


def _tags(items: pd.DataFrame) -> list[str]:
    """Whose charge it is; nobody's has no tags. ``spell`` tells the times apart that a job was on one node."""
    rows = zip(items["job"].tolist(), items["tenant"].tolist(), items["spell"].tolist(), strict=True)
    return [
        json.dumps({"job": str(job), "tenant": tenant} | ({"spell": str(spell)} if spell >= 0 else {}))
        if tenant
        else "{}"
        for job, tenant, spell in rows
    ]


def load(
    path: Path, usd_per: Mapping[str, float] | None = None, units: Mapping[str, tuple[float, str]] | None = None
) -> pd.DataFrame:
    """A FOCUS bill from CSV or Parquet, held against what a check needs; ``BilledCost`` in USD.

    Args:
        usd_per: USD that one of another currency is worth, by its code.
        units: of units that are none of :data:`PRICING_UNIT`, how many of which of these one of them is.

    Raises:
        InputError: the file cannot be read, a column is missing, a currency or unit is another one and not converted, a
            cost is no number or a negative one that is neither credit nor adjustment, a quantity times its price is not
            its cost, a charge ends before it begins or lies outside its billing period, billing periods overlap, or
            two rows charge the same thing for the same time.
    """
    import pandas as pd

    try:
        bill = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, low_memory=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no readable bill ({str(error).splitlines()[0]})") from None
    for name in NEEDED:
        require(name in bill.columns, f"{path}: column '{name}' is missing; {nearest(name, bill.columns)}")
    require(len(bill) > 0, f"{path}: no charges")

    def refuse(bad: Any, column: str, expected: str) -> None:
        at = np.flatnonzero(np.asarray(bad))
        if len(at):  # a CSV's first row stands in its line 2
            raise InputError(f"{path}: row {at[0] + 2}: {column} is {bill[column].iloc[at[0]]}, expected {expected}")

    def numbers(column: str) -> Any:
        return pd.to_numeric(bill[column], errors="coerce")

    rate = bill["BillingCurrency"].map({"USD": 1.0, **(usd_per or {})}).astype(float)
    refuse(rate.isna(), "BillingCurrency", "USD (--currency EUR=1.1 would take one EUR as 1.1 USD)")
    cost = numbers("BilledCost")
    refuse(~np.isfinite(cost), "BilledCost", "a number")
    refuse(~bill["ChargeCategory"].isin(CHARGES), "ChargeCategory", f"one of {', '.join(CHARGES)}")
    given_back = bill["ChargeCategory"].isin(("Credit", "Adjustment"))
    if "ChargeClass" in bill:
        given_back |= bill["ChargeClass"].astype(object) == "Correction"
    for name in ("BilledCost", "ContractedCost", "ListCost", "ContractedUnitPrice", "ListUnitPrice", "PricingQuantity"):
        if name in bill:
            what = "at least 0 (but for a Credit, an Adjustment or a Correction)"
            refuse((numbers(name) < 0) & ~given_back, name, what)
    bill["BilledCost"] = cost * rate
    _quantities(bill, units or {}, refuse, numbers)
    for name in ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"):
        times = pd.to_datetime(bill[name], utc=True, errors="coerce", format="ISO8601")
        refuse(times.isna(), name, "a time (YYYY-MM-DDTHH:MM:SSZ)")
        bill[name] = times
    refuse(bill["ChargePeriodEnd"] <= bill["ChargePeriodStart"], "ChargePeriodEnd", "later than ChargePeriodStart")
    refuse(bill["ChargePeriodStart"] < bill["BillingPeriodStart"], "ChargePeriodStart", "within its billing period")
    refuse(bill["ChargePeriodEnd"] > bill["BillingPeriodEnd"], "ChargePeriodEnd", "within its billing period")
    _apart(path, bill)
    return bill


def _quantities(
    bill: pd.DataFrame, units: Mapping[str, tuple[float, str]], refuse: Callable[[Any, str, str], None],
    numbers: Callable[[str], Any],
) -> None:  # fmt: skip
    """Quantities in units of ours. What is used or bought has one, and quantity times price is its cost."""
    known = {**{unit: (1.0, unit) for unit in (*PRICING_UNIT.values(), "GiB")}, **units}
    counted = bill["ChargeCategory"].isin(("Usage", "Purchase"))
    if "ChargeClass" in bill:
        counted &= bill["ChargeClass"].astype(object) != "Correction"
    unit = bill["PricingUnit"].astype(object).where(bill["PricingUnit"].notna(), "").astype(str)
    example = "--unit 'Hrs=8 GPU-Hours' would take one of Hrs as 8 GPU-Hours"
    refuse(~unit.isin(known) & (counted | (unit != "")), "PricingUnit", f"one of {', '.join(known)} ({example})")
    quantity = numbers("PricingQuantity")
    refuse(counted & ~np.isfinite(quantity), "PricingQuantity", "a number")
    for cost, price in (("ContractedCost", "ContractedUnitPrice"), ("ListCost", "ListUnitPrice")):
        if cost in bill and price in bill:
            product = quantity * numbers(price)
            off = (numbers(cost) - product).abs() > CENT + 1e-3 * product.abs()  # prices are rounded
            refuse(counted & off, cost, f"PricingQuantity × {price}, to a cent")
    bill["PricingQuantity"] = quantity * unit.map({name: many for name, (many, _) in known.items()}).astype(float)
    bill["PricingUnit"] = unit.map({name: ours for name, (_, ours) in known.items()}).fillna("")


def _apart(path: Path, bill: pd.DataFrame) -> None:
    """Billing periods are the same or apart, and nothing is charged twice for one time (more than a second)."""
    import pandas as pd

    account = [name for name in ("BillingAccountId", "ProviderName") if name in bill.columns]
    periods = bill[[*account, "BillingPeriodStart", "BillingPeriodEnd"]].drop_duplicates()
    periods = periods.sort_values([*account, "BillingPeriodStart", "BillingPeriodEnd"])
    same = (periods[account] == periods[account].shift()).all(axis=1)
    clash = same & (periods["BillingPeriodStart"] < periods["BillingPeriodEnd"].shift())
    if clash.any():
        at = int(periods.index[clash][0])
        since = f"{periods['BillingPeriodStart'][at]:%Y-%m-%d}"
        raise InputError(f"{path}: row {at + 2}: its billing period from {since} overlaps another")
    key = [name for name in KEY if name in bill.columns]
    of = bill.groupby(key, dropna=False, sort=False).ngroup()
    zero = pd.Timestamp(0, tz="UTC")
    begin, end = (
        (bill[name] - zero).dt.total_seconds().to_numpy() for name in ("ChargePeriodStart", "ChargePeriodEnd")
    )
    order = np.lexsort((begin, of.to_numpy()))
    group, begin, end = of.to_numpy()[order], begin[order], end[order]
    twice = (group[1:] == group[:-1]) & (begin[1:] < end[:-1] - 1.0)
    if "ResourceId" in key and twice.any():  # without a resource rows may well look alike
        a, b = sorted((order[:-1][twice][0], order[1:][twice][0]))
        raise InputError(f"{path}: rows {a + 2} and {b + 2} charge the same thing for times that overlap")


def compare(ours: pd.DataFrame, bill: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Costs and quantities of usage side by side: a row per service and ``PricingUnit`` with ``run_usd``, ``bill_usd``,
    ``error_usd`` (run less bill), ``error_share`` of the bill (NaN where it has none), ``run_quantity``,
    ``bill_quantity``, and ``quantity_error_usd``, what their difference costs at the run's price.

    Raises:
        InputError: a service that both have is billed in a unit that the run does not have of it.
    """
    import pandas as pd

    usage = [frame["PricingQuantity"].where(frame["ChargeCategory"] == "Usage", 0.0) for frame in (ours, bill)]
    frames = [
        frame.assign(PricingUnit=frame["PricingUnit"].fillna(""), PricingQuantity=quantity)
        for frame, quantity in zip((ours, bill), usage, strict=True)  # what is committed is counted where it is used
    ]
    known, given = (
        {name: set(each["PricingUnit"]) for name, each in frame.groupby(list(by), dropna=False)} for frame in frames
    )
    for service, units in given.items():
        strange = sorted(units - known.get(service, units) - {""})
        if strange:
            right = sorted(known[service] - {""})
            raise InputError(
                f"bill check: {' '.join(map(str, service))} is billed in {', '.join(strange)}, expected"
                f" {', '.join(right)} as in the run's bill; --unit '{strange[0]}=NUMBER {right[0]}' converts it"
            )
    key = [*by, "PricingUnit"]
    sums = [frame.groupby(key, dropna=False)[["BilledCost", "PricingQuantity"]].sum() for frame in frames]
    out = pd.concat(sums, axis=1, keys=["run", "bill"]).fillna(0.0)
    out.columns = pd.Index(["run_usd", "run_quantity", "bill_usd", "bill_quantity"])
    out = out.reset_index()
    out["error_usd"] = out["run_usd"] - out["bill_usd"]
    out["error_share"] = out["error_usd"] / out["bill_usd"].where(out["bill_usd"] != 0)
    price = (out["run_usd"] / out["run_quantity"].where(out["run_quantity"] > 0)).fillna(0.0)
    out["quantity_error_usd"] = (out["run_quantity"] - out["bill_quantity"]) * price
    return out
