"""Series from records: of a trace (prices, availability, carbon), or of a CSV file of one's own.

As parts of a fleet's configuration::

    price: {_target_: hcsim.records.of_file, path: prices.csv, column: usd_per_gpu_h, beyond: hold}
    carbon:
      _target_: hcsim.records.of_trace
      source: {_target_: hcsim.traces.carbon_electricitymaps.CarbonElectricitymaps, data_dir: "${data_dir}", zone: NO}
      column: g_per_kwh
      beyond: wrap
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hcsim.errors import InputError, nearest, require
from hcsim.series import Floats, Series

Beyond = Literal["stop", "hold", "wrap"]
Rows = np.ndarray[Any, np.dtype[np.int64]]


def of_trace(
    source: Any,
    column: str,
    where: Mapping[str, Any] | None = None,
    per: str = "",
    scale: float = 1.0,
    begin_s: float | None = None,
    beyond: Beyond = "stop",
) -> Series:
    """A column of a trace over its ``time_s``. Rows that only repeat the value before are left out.

    Args:
        source: a source of :mod:`hcsim.traces` whose kind has ``time_s``.
        column: the values, such as ``usd_per_h``, ``nodes``, ``g_per_kwh``.
        where: column -> value that rows must have, such as ``{"place": "aws:us-east-1"}``.
        per: a column that values are divided by, such as ``gpus``.
        scale: what values are multiplied by: nodes of a pool for each that the trace probed, another currency.
        begin_s: the trace's time at which the run begins (default: its first).
        beyond: what holds when the trace is over, or has not begun, see :class:`hcsim.series.Series`.

    Raises:
        InputError: no such column, no row left, a value that is missing or negative, two rows of one time.
    """
    table = source.table()
    require("time_s" in table.frame, f"{table.source}: holds {table.kind}, expected a kind with time_s")
    chosen = rows_where(table, where, column, per)
    frame, rows = table.frame, table.rows
    for name in (column, per):
        numeric = not name or getattr(frame[name].dtype, "kind", "") in "biuf"
        require(numeric, f"{table.source}: column '{name}' holds something else than numbers")
    values = frame[column].to_numpy(np.float64)[chosen]
    if per:
        values = values / frame[per].to_numpy(np.float64)[chosen]
    require(0 < scale < math.inf, f"{table.source}: scale is {scale:g}, expected finite, > 0")
    times = frame["time_s"].to_numpy(np.float64)[chosen]
    found = _series(
        str(table.source), column, times, np.full(len(times), math.nan), values * scale, rows[chosen], begin_s, beyond
    )
    new = np.r_[True, np.diff(found.values) != 0]
    name = f"{column} of {portable(source, table)}"
    return Series(found.times[new].tolist(), found.values[new].tolist(), found.end_s, beyond, name)


def rows_where(table: Any, where: Mapping[str, Any] | None, *columns: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows of a trace's table have these values; its ``columns`` (those with a name) must be there too.

    Raises:
        InputError: no such column, or no row left.
    """
    frame = table.frame
    for name in (*columns, *(where or {})):
        require(not name or name in frame, f"{table.source}: no column '{name}'; {nearest(name, list(frame))}")
    chosen = np.ones(len(frame), bool)
    for name, value in (where or {}).items():
        chosen &= (frame[name] == value).to_numpy()
        if not chosen.any():
            known = nearest(str(value), sorted({str(each) for each in frame[name]}))
            raise InputError(f"{table.source}: no row with {name} = {value!r}; {known}")
    return chosen


def portable(source: Any, table: Any) -> str:
    """What a trace was read from, below its folder of data: the same wherever that lies, as a fleet's hash must be."""
    name, folder = Path(str(table.source)), str(getattr(source, "data_dir", ""))
    return name.relative_to(folder).as_posix() if folder and name.is_relative_to(folder) else str(table.source)


def of_file(
    path: str,
    column: str,
    time: str = "time_s",
    until: str = "",
    where: Mapping[str, Any] | None = None,
    begin_s: float | None = None,
    beyond: Beyond = "stop",
) -> Series:
    """A column of a CSV file with a header, one record per line.

    Columns ``currency`` and ``unit`` (in any case), where there are such, must say USD and the same for all records
    chosen; the unit is that which the column of values ends with, as ``usd_per_gpu_h`` (``gpu_h`` or ``h``) does.

    Args:
        column: the values.
        time: the column of seconds from which each holds.
        until: the column of seconds until which it does (default: until the next).
        where: column -> text that records must have.
        begin_s, beyond: as of :func:`of_trace`.

    Raises:
        InputError: the file or a column is missing, a number is none or negative, records overlap or leave a gap, or
            their currency or unit differs; the message names the line.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        for name in (column, time, *([until] if until else ()), *(where or {})):
            require(name in names, f"{path}: no column '{name}'; {nearest(name, names)}")
        kept = [
            (reader.line_num, row)
            for row in reader
            if all(row[name] == str(value) for name, value in (where or {}).items())
        ]
    require(bool(kept), f"{path}: no record" + (f" with {dict(where)}" if where else ""))
    folded = {name.strip().casefold(): name for name in reversed(names)}
    line, first = kept[0]
    if "currency" in folded:
        for at, row in kept:
            given = row[folded["currency"]]
            require(given == "USD", f"{path}: line {at}: {folded['currency']} is {given}, expected USD")
    if "unit" in folded:
        unit = first[folded["unit"]]
        for at, row in kept:
            given = row[folded["unit"]]
            require(given == unit, f"{path}: line {at}: {folded['unit']} is {given}, expected {unit} as in line {line}")
        ok = "_per_" not in column or (bool(unit) and column.endswith(f"_{unit}"))
        require(ok, f"{path}: line {line}: unit is {unit}, expected that of {column}, {column.rpartition('_per_')[2]}")

    def numbers(name: str) -> Floats:
        out = np.full(len(kept), math.nan)
        for i, (line, row) in enumerate(kept):
            try:
                out[i] = float(row[name])
            except (TypeError, ValueError):
                raise InputError(f"{path}: line {line}: {name} is '{row[name]}', expected a number") from None
        return out

    ends = numbers(until) if until else np.full(len(kept), math.nan)
    lines = np.array([line for line, _ in kept], np.int64)
    return _series(path, column, numbers(time), ends, numbers(column), lines, begin_s, beyond)


def _series(
    source: str, column: str, begins: Floats, ends: Floats, values: Floats, rows: Rows, begin_s: float | None,
    beyond: Beyond,
) -> Series:  # fmt: skip
    """Records in any order as a series; each holds until its end, or until the next where that is NaN."""
    order = np.argsort(begins, kind="stable")
    begins, ends, values, rows = begins[order], ends[order], values[order], rows[order]

    def refuse(bad: Any, what: str) -> None:
        if bad.any():
            i = int(np.argmax(bad))
            raise InputError(f"{source}: row {rows[i]}: {what.format(value=values[i], other=rows[max(i - 1, 0)])}")

    refuse(~np.isfinite(begins), f"the time of {column} is missing")
    refuse(~(np.isfinite(values) & (values >= 0)), f"{column} is {{value:g}}, expected a finite number >= 0")
    known = ~np.isnan(ends)
    refuse(known & (ends <= begins), "ends before it begins")
    until = np.r_[-np.inf, np.where(known, ends, begins)[:-1]]
    refuse((begins < until) | np.r_[False, np.diff(begins) <= 0], "overlaps the record of row {other}")
    gap = np.r_[False, known[:-1] & (begins[1:] > ends[:-1])]
    refuse(gap, "begins after the record of row {other} has ended: nothing is known between them")
    zero = float(begins[0]) if begin_s is None else begin_s
    end_s = float(ends[-1]) - zero if known[-1] else 0.0
    return Series((begins - zero).tolist(), values.tolist(), end_s, beyond, f"{column} of {source}")
