"""Job logs: how long their sources take beside pyarrow's own reader of the same file, and read again from the cache."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from hcsim.traces import _cache
from hcsim.traces._catalog import make
from tests.bench.conftest import Measure
from tests.bench.logs import Log, write
from tests.bench.worlds import FULL, SIZE

NAMES = ("philly", "philly gzip", "itp", "gaia", "openb", "chronus", "swf", "swf aligned")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Log]:
    found = {name: write(name, SIZE.log_rows, tmp_path_factory.mktemp("logs")) for name in NAMES}
    time.sleep(_cache.SETTLED_NS / 1e9)  # until then the cache hashes them each time
    return found


def pyarrows(log: Log) -> pa.Table:
    """The file by pyarrow's reader with its own guesses of types."""
    read = pacsv.ReadOptions(autogenerate_column_names=not log.headed)
    return pacsv.read_csv(log.path, read, pacsv.ParseOptions(delimiter=log.delimiter))


@pytest.mark.parametrize("name", NAMES)
def test_reading(
    measure: Measure, logs: dict[str, Log], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow cannot read SWF whose columns are aligned: the baseline is the same log with single blanks."""
    log = logs[name]
    plain = logs["swf"] if name == "swf aligned" else log
    assert measure.time("pyarrow", lambda: pyarrows(plain)).num_rows == SIZE.log_rows
    source = make(log.source, {"path": str(log.path), **log.parameters})
    table = measure.time("source", source.read)
    assert len(table) == SIZE.log_rows - log.left_out
    assert sum(each.count for each in table.dropped) == log.left_out
    work = (table.frame["duration_s"] * table.frame["gpus"]).sum()
    assert work == pytest.approx(log.work * log.unit_s)
    monkeypatch.setenv("HCSIM_CACHE", str(tmp_path))
    source.table()
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    assert measure.time("again", source.table).frame.equals(table.frame)
    monkeypatch.setattr(_cache, "_unchanged", lambda before, now: False)
    assert measure.time("hashed", source.table).frame.equals(table.frame)
    for clock, seconds in (("CPU", measure.seconds), ("wall", measure.wall_s)):
        of = f"{name}, {clock}"
        measure.report(f"{of}: pyarrow, ms", seconds["pyarrow"] * 1e3)
        measure.report(f"{of}: source / pyarrow", seconds["source"] / seconds["pyarrow"], "x", FULL * "<= 1.5")
        measure.report(f"{of}: source / cache", seconds["source"] / seconds["again"], "x", FULL * ">= 5")
        measure.report(f"{of}: source / cache, always hashed", seconds["source"] / seconds["hashed"], "x")
