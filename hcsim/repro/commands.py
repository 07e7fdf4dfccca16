"""``hcsim repro list | run NAME``."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from hcsim import repro
from hcsim.model import InputError, nearest
from hcsim.progress import Busy
from hcsim.repro.table import Row

#: Every other module here is a reproduction, with ``about``, ``takes`` and ``rows(say)``.
FOUND = {each.name for each in iter_modules(repro.__path__) if not each.name.startswith("_")}
NAMES = tuple(sorted(FOUND - {"commands", "table"}))


def module(name: str) -> ModuleType:
    """A reproduction.

    Raises:
        InputError: there is none of that name.
    """
    if name not in NAMES:
        raise InputError(f"no reproduction '{name}'; {nearest(name, NAMES)}")
    return import_module(f"hcsim.repro.{name}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands below ``hcsim repro``."""
    parser.description = "Rerun a published result: reference, ours and the difference, row by row."
    commands = parser.add_subparsers(dest="what", required=True, metavar="list|run")
    commands.add_parser("list", help="what can be rerun")
    commands.add_parser("run", help="rerun one; exit status 1 when a row is outside its tolerance").add_argument("name")


def main(given: argparse.Namespace) -> int:
    """Run one of them; its exit status."""
    if given.what == "list":
        for name in NAMES:
            print(f"{name:<8} {module(name).about}; {module(name).takes}")
        return 0
    made = module(given.name)
    with Busy(f"repro {given.name}") as say:
        rows: list[Row] = made.rows(say)
    _print(rows)
    outside = sum(not row.holds for row in rows if not row.missing)
    missing = sum(row.missing for row in rows)
    left = f", {missing} not produced here" if missing else ""
    inside = len(rows) - missing - outside
    print(f"{given.name}: {inside} of {len(rows) - missing} rows inside their tolerance{left}")
    return 1 if outside or not inside else 0


def _print(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for title in ("reference", "ours", "difference", "tolerance"):
        table.add_column(title, justify="right")
    table.add_column("")
    for row in rows:
        if row.missing:
            table.add_row(escape(row.name), f"{row.reference:.7g}", "-", "-", "-", row.note, style="dim")
            continue
        sign = "at most " if row.most else ""
        cells = (
            f"{row.reference:.7g}",
            f"{row.ours:.7g}",
            f"{row.ours - row.reference:.2g}",
            f"{sign}{row.tolerance:.2g}",
        )
        table.add_row(
            escape(row.name), *cells, row.note if row.holds else f"OUTSIDE {row.note}", style="" if row.holds else "red"
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table)
