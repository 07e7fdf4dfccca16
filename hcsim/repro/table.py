"""Rows of a reproduction, and where their reference figures and data come from."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hcsim.model import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from hcsim.traces._table import Source, Table

TABLES = Path(__file__).parent / "tables"
#: Called with what is being done, for a status line.
Said = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One figure: what was published, what comes out here, and the difference that is allowed.

    Args:
        tolerance: largest difference; with ``most`` only a figure above the reference is outside.
        note: what a reader should know, such as why there is no figure of ours (``ours`` is then NaN, and the row is
            neither inside nor outside).
    """

    name: str
    reference: float
    ours: float
    tolerance: float
    note: str = ""
    most: bool = False

    @property
    def missing(self) -> bool:
        """Whether it is not produced here."""
        return self.ours != self.ours

    @property
    def holds(self) -> bool:
        """Whether it is produced, and inside its tolerance."""
        difference = self.ours - self.reference
        return (difference if self.most else abs(difference)) <= self.tolerance


def reference(path: str) -> pd.DataFrame:
    """A table of reference figures: below ``HCSIM_REFERENCE`` where that is set and has it, else as it ships.

    Raises:
        InputError: ``HCSIM_REFERENCE`` is no folder, or what it has there is no such table.
    """
    import pandas as pd

    given = os.environ.get("HCSIM_REFERENCE", "")
    if given and not Path(given).is_dir():
        raise InputError(f"HCSIM_REFERENCE: {given} is not a folder; unset it to use the figures that ship with hcsim")
    ours = TABLES / path
    theirs = Path(given) / path
    if not given or not theirs.is_file():
        return pd.read_csv(ours)
    try:
        table = pd.read_csv(theirs)
    except ValueError as error:
        raise InputError(f"{theirs}: not a table ({str(error).splitlines()[0]})") from None
    for name in pd.read_csv(ours, nrows=0).columns if ours.is_file() else ():
        if name not in table:
            raise InputError(f"{theirs}: column '{name}' is missing; {nearest(name, list(table.columns))}")
    return table


def data_dir() -> str:
    """The folder of data."""
    return os.environ.get("HCSIM_DATA", "")


def fetched(name: str, source: Source, what: str) -> Table:
    """The table of a source whose data a user may have to fetch.

    Raises:
        InputError: it is not there; the message says how to get it.
    """
    folder = source.data_dir or "FOLDER"
    get = f"get it with 'hcsim traces fetch {what} --yes --to {folder}'"
    if not source.data_dir:
        raise InputError(f"repro {name}: no data folder; {get} and set HCSIM_DATA={folder}")
    try:
        return source.table()
    except InputError as error:
        if "cannot be read" not in str(error):
            raise
        raise InputError(f"repro {name}: {error}; {get}") from None
