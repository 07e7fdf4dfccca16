"""``hcsim market`` and ``hcsim bill``: what providers charge, and what a run was charged."""

from __future__ import annotations

import argparse
import datetime
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcsim.cli import CONF
from hcsim.errors import InputError, nearest
from hcsim.prices import OLD_DAYS, Book, read


def books() -> dict[str, Path]:
    """Price books that ship, by name."""
    return {path.stem: path for path in sorted((CONF / "market").glob("*.yaml"))}


def book(name: str) -> Book:
    """A price book by its name, or from a file of the user's own.

    Raises:
        InputError: there is none; with the nearest name.
    """
    known = books()
    if name.endswith((".yaml", ".yml")):
        return read(Path(name))
    if name not in known:
        raise InputError(f"no price book '{name}'; {nearest(name, known)}")
    return read(known[name])


def add_market_arguments(parser: argparse.ArgumentParser) -> None:
    """``hcsim market show [NAME ...]``."""
    parser.description = "Show price books: what providers charge, each price with its source and date."
    parser.add_argument("what", choices=("show",))
    parser.add_argument("names", nargs="*", metavar="NAME", help="a book that ships, or a file (default: all)")


def market(given: argparse.Namespace, today: datetime.date | None = None) -> int:
    """Print books; what is old is said on standard error."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 200)
    for name in given.names or books():
        shown = book(name)
        console.print(shown.table())
        now = today or datetime.datetime.now(datetime.UTC).date()
        many, age = shown.oldest(now)
        old = f"{many} prices are older than {OLD_DAYS} days, the oldest {age:,} days" if many else ""
        undated = f"{shown.undated} have no date" if shown.undated else ""
        ahead = f"it is of {shown.as_of}, and today is {now}" if shown.as_of > now else ""
        if said := " and ".join(filter(None, (old, undated, ahead))):
            print(
                f"hcsim: warning: {shown.name}: {said}; check them before you decide anything by them", file=sys.stderr
            )
    return 0


def add_bill_arguments(parser: argparse.ArgumentParser) -> None:
    """``hcsim bill export RUN --out FILE`` and ``hcsim bill check RUN FILE``."""
    parser.description = "A run's bill in the columns of FOCUS, or a FOCUS bill held against the run's, by service."
    parser.add_argument("what", choices=("export", "check"))
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("bill", nargs="?", metavar="FILE", help="check: a FOCUS bill, CSV or Parquet")
    parser.add_argument("--out", metavar="FILE", help="export: where to; .parquet or CSV. check: the table as CSV")
    parser.add_argument("--start", default="2026-01-01", help="export: date of the run's second 0 (UTC)")
    parser.add_argument("--by", default="ServiceName", help="check: column that services are told apart by")
    parser.add_argument("--currency", action="append", default=[], metavar="EUR=1.1",
                        help="check: take a currency of the bill at so many USD")  # fmt: skip
    parser.add_argument("--unit", action="append", default=[], metavar="'Hrs=8 GPU-Hours'",
                        help="check: take a unit of the bill as so many of the run's")  # fmt: skip
    parser.add_argument("--tolerance", type=float, default=0.01, help="check: USD that a service may be off")


def bill(given: argparse.Namespace) -> int:
    """Export a run's bill or check one; exit status 1 where a service is off by more than the tolerance."""
    from hcsim import focus
    from hcsim.experiment import write_atomically
    from hcsim.kept import of_run
    from hcsim.ledger import bill as made

    run = Path(given.run)
    if not 0 <= given.tolerance < math.inf:
        raise InputError(f"bill check: --tolerance is {given.tolerance}, expected a finite number >= 0")
    if given.what == "export" and not given.out:
        raise InputError("bill export: --out is missing, expected a file")
    if given.what == "check" and not given.bill:
        raise InputError("bill check: FILE is missing, expected a FOCUS bill")
    try:
        start = datetime.datetime.fromisoformat(given.start)
        start = start.replace(tzinfo=datetime.UTC) if start.tzinfo is None else start.astimezone(datetime.UTC)
    except ValueError:
        raise InputError(f"bill: --start is {given.start}, expected a date (YYYY-MM-DD)") from None
    usd_per = {name: many for name, many, _ in (_conversion("--currency", text, "") for text in given.currency)}
    if usd_per.get("USD", 1.0) != 1.0:
        raise InputError(f"bill check: --currency USD={usd_per['USD']:g}, expected another currency: bills are in USD")
    units = {
        name: (many, unit) for name, many, unit in (_conversion("--unit", text, "GPU-Hours") for text in given.unit)
    }
    bill_ = focus.load(Path(given.bill), usd_per, units) if given.what == "check" else None
    _, ready, record = of_run(run)
    ledger = made(record.array(), ready.fleet, jobs=ready.jobs)
    ours = focus.export(ledger, ready.fleet, ready.jobs, start)
    if bill_ is not None:
        return _check(ours, bill_, given.by, given.tolerance, given.out)
    out = Path(given.out)
    parquet = out.suffix == ".parquet"
    write_atomically(
        out, lambda path: ours.to_parquet(path, index=False) if parquet else ours.to_csv(path, index=False)
    )
    print(f"{out}: {len(ours):,} charges, {ours['BilledCost'].sum():,.2f} USD")
    return 0


def _conversion(option: str, text: str, unit: str) -> tuple[str, float, str]:
    """``NAME=NUMBER`` or, where a ``unit`` is the example, ``NAME=NUMBER UNIT``."""
    from hcsim.focus import PRICING_UNIT

    name, _, rest = text.rpartition("=")
    number, _, ours = rest.partition(" ")
    try:
        many = float(number)
    except ValueError:
        many = 0.0
    fits = ours in (*PRICING_UNIT.values(), "GiB") if unit else not ours
    if not name or not 0 < many < math.inf or not fits:
        expected = "NAME=NUMBER UNIT with a unit of the run's" if unit else "NAME=NUMBER"
        near = f"; {nearest(ours, [*PRICING_UNIT.values(), 'GiB'])}" if unit and not fits else ""
        raise InputError(f"bill check: {option} is '{text}', expected {expected}{near}")
    return name, many, ours


def _check(ours: Any, bill_: Any, by: str, tolerance: float, out: str | None) -> int:
    from rich.console import Console
    from rich.table import Table

    from hcsim.experiment import write_atomically
    from hcsim.focus import compare

    for name, frame in (("the bill", bill_), ("a run's bill", ours)):
        if by not in frame.columns:
            raise InputError(f"bill check: {name} has no column '{by}'; {nearest(by, frame.columns)}")
    result = compare(ours, bill_, ("ProviderName", by))
    table = Table(title="run against bill (BilledCost in USD, PricingQuantity)")
    names = ("provider", by, "run", "bill", "error", "error %", "unit", "run", "bill", "")
    for name in names:
        table.add_column(name, justify="left" if name in ("provider", by, "unit", "") else "right")
    off = (result["error_usd"].abs() > tolerance) | (result["quantity_error_usd"].abs() > tolerance)
    for row, wrong in zip(result.to_dict("records"), off.tolist(), strict=True):
        usd = (f"{row[name]:,.2f}" for name in ("run_usd", "bill_usd", "error_usd"))
        quantity = (f"{row[name]:,.3f}" for name in ("run_quantity", "bill_quantity"))
        verdict = "off" if wrong else "agrees"
        table.add_row(
            str(row["ProviderName"]),
            str(row[by]),
            *usd,
            _percent(row["error_share"]),
            row["PricingUnit"],
            *quantity,
            verdict,
        )
    table.add_section()
    run_usd, bill_usd = (float(result[name].sum()) for name in ("run_usd", "bill_usd"))
    share = (run_usd - bill_usd) / bill_usd if bill_usd else math.nan
    table.add_row("all", "", f"{run_usd:,.2f}", f"{bill_usd:,.2f}", f"{run_usd - bill_usd:,.2f}", _percent(share))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    agree = len(result) - int(off.sum())
    print(f"{agree} of {len(result)} services agree within {tolerance:g} USD, in cost and quantity")
    if out:
        write_atomically(Path(out), lambda path: result.assign(agrees=~off).to_csv(path, index=False))
    return 1 if off.any() else 0


def _percent(share: float) -> str:
    return "" if share != share else f"{100 * share:.2f}"


def main(name: str, parser: argparse.ArgumentParser, args: Sequence[str]) -> int:
    """Run ``hcsim market`` or ``hcsim bill``; its exit status."""
    if name == "market":
        add_market_arguments(parser)
        return market(parser.parse_args(args))
    add_bill_arguments(parser)
    return bill(parser.parse_args(args))
