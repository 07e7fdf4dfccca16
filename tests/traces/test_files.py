"""Reading tables of lines: no line goes missing, every defect has its row, and a file too long to be one is left early.

What a line is is counted here by :func:`re.split`, what its cells are by the csv module.
"""

from __future__ import annotations

import csv
import gzip
import lzma
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsim import InputError
from hcsim.model import nearest
from hcsim.traces import _bytes
from hcsim.traces._bytes import Lines
from hcsim.traces._files import Defective, Squeezed, read_csv, read_json, read_json_lines
from hcsim.traces.carbon_electricitymaps import CarbonElectricitymaps
from hcsim.traces.mooncake import Mooncake
from hcsim.traces.philly import FILE, Philly
from hcsim.traces.spot_skypilot import SpotSkypilot

KINDS = {"a": pa.int64(), "b": pa.string()}


def defects(path: Path, text: str | bytes, **options: object) -> list[str]:
    """What is wrong with a table of columns a and b."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(Defective) as error:
        read_csv(path, KINDS, **options)  # type: ignore[arg-type]
    assert error.value.count == len(error.value.defects)
    return [str(defect) for defect in error.value.defects]


OPEN = "a quoted cell is still open at the end of the line, expected a quote"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a,b\n1,x\n2,"y\n3,z\n', [f"row 3: {OPEN}"]),
        ('a,b\n1,x\n2,"y\n3,z"\n4,w\n', [f"row 3: {OPEN}"]),  # closed on the next line: a cell of two lines
        ('a,b\n"1,x\n"2",y\n3,""""\n4,"z\n', [f"row 2: {OPEN}", f"row 5: {OPEN}"]),
        ('a,b\n1,"x""\n', [f"row 2: {OPEN}"]),  # two quotes stand for one
        ("a,b\n1,x\n\n3,z\n", ["row 3: the row is empty, expected 2 cells"]),
        ("a,b\r\n1,x\r\n\r\n3,z\r\n", ["row 3: the row is empty, expected 2 cells"]),
        ("a,b\n1,x\x00y\n2,z\n", ["row 2: the line is not all text: it holds a NUL byte, expected text"]),
        ("a,b\n1\n2,y,z\nq,w\n,v\n", [
            "row 2: the row is 1 cells, expected 2 cells", "row 3: the row is 3 cells, expected 2 cells",
            "row 4: a is 'q', expected a whole number", "row 5: a is empty, expected a value",
        ]),
        ('a,b\n1,"x,y"\n2,"x,y",z\n', ["row 3: the row is 3 cells, expected 2 cells"]),
        (b"a,b\n1,x\n2,\xff\n", ["row 3: b is '\\xff', expected UTF-8 text"]),
        ("a,b\n9223372036854775808,x\n", ["row 2: a is '9223372036854775808', expected a whole number"]),
    ],
)  # fmt: skip
def test_every_defect_has_its_row(tmp_path: Path, text: str | bytes, said: list[str]) -> None:
    assert defects(tmp_path / "t.csv", text) == said


def test_a_file_without_a_header_counts_from_its_first_line(tmp_path: Path) -> None:
    assert defects(tmp_path / "t.csv", '1,x\n2,"y\n', names=("a", "b")) == [f"row 2: {OPEN}"]


@pytest.mark.parametrize(
    "text",
    [
        'a,b\n1,"x"\n2,"y,""z"""\n',
        'a,b\r\n1,it"s\r\n2,"y\r\n'.replace('"y', "y"),
        "\ufeffa,b\n1,x\n2,y\n\n\n",  # empty lines at the end are none
        "a,b\r1,x\r2,y",
        '"a","b"\n"1","x"\n"2","y"\n',
    ],
)
def test_what_is_sound_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, newline="")
    rows = [row for row in csv.reader(text.removeprefix("\ufeff").splitlines()) if row]
    read = read_csv(path, KINDS)
    assert [[str(a), b] for a, b in zip(*read.to_pydict().values(), strict=True)] == rows[1:]


@given(st.lists(st.sampled_from(['"', "x", ",", "1", "\n", "\r", "\r\n", '""', '1,"a"\n']), max_size=24).map("".join))
def test_rows_are_lines_whatever_the_quotes(text: str) -> None:
    """Either every line that is not empty is a row as csv reads it, or the table is refused."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text(f"a,b\n{text}", newline="")
        try:
            table = read_csv(path, dict.fromkeys("ab", pa.string()), nullable=("a", "b"))
        except InputError as error:
            assert str(path) in str(error)
            return
    lines = [line for line in re.split("\r\n|\r|\n", text) if line]
    cells = [next(csv.reader([line])) for line in lines]
    assert [[a or "", b or ""] for a, b in zip(*table.to_pydict().values(), strict=True)] == cells


@given(
    st.binary(max_size=60).map(lambda raw: raw.translate(bytes(b"ab\n\r \x00"[i % 6] for i in range(256)))), st.data()
)
def test_lines_are_counted_as_they_pass(raw: bytes, data: st.DataObject) -> None:
    import io

    lines = Lines(Path("x"), io.BytesIO(raw))
    passed = b""
    while piece := lines.read(data.draw(st.integers(1, 9))):
        passed += piece
    assert passed == raw
    found = re.split(rb"\r\n|\r|\n", raw)
    while found and not found[-1]:
        found.pop()
    assert lines.lines == len(found)
    assert lines.nul == (b"\x00" in raw)


@given(
    st.lists(st.sampled_from(["1", "2 3", " ", "\t", "\n", ";", "\r\n", "\r", "  4"])).map("".join), st.integers(1, 9)
)
def test_squeezed_lines_are_those_with_fields(text: str, size: int) -> None:
    import io

    squeezed = Squeezed(io.BytesIO(text.encode()))
    out = b"".join(iter(lambda: squeezed.read(size), b"")).decode()
    wanted = [(i, line.split()) for i, line in enumerate(re.split("\r\n|\r|\n", text), 1)]
    wanted = [(i, cells) for i, cells in wanted if cells and not cells[0].startswith(";")]
    assert [line.split(" ") for line in out.splitlines()] == [cells for _, cells in wanted]
    assert squeezed.numbers().tolist() == [i for i, _ in wanted]


def test_a_stray_quote_in_philly_drops_nothing_unsaid(shared_traces: Path, tmp_path: Path) -> None:
    with gzip.open(shared_traces / FILE) as file:
        rows = file.read().split(b"\n")
    path = tmp_path / "philly.csv"
    for row in (5, 40_000, 82_247):
        path.write_bytes(b"\n".join([*rows[:row], b'"' + rows[row], *rows[row + 1 :]]))
        with pytest.raises(Defective, match=f"row {row + 1}: {OPEN}") as error:
            Philly(path=str(path)).read()
        assert error.value.count == 1


def test_a_row_longer_than_a_piece_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    long = "x" * (3 << 20)
    path.write_text(f"a,b\n1,y\n2,{long}\n3,z\n")
    assert read_csv(path, KINDS)["b"].to_pylist() == ["y", long, "z"]
    path.write_text(f"a,b\n1,y\n2,{long}\nq,z\n")
    with pytest.raises(Defective, match="row 4: a is 'q'"):
        read_csv(path, KINDS)


def test_a_column_that_must_be_there_need_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n")
    assert read_csv(path, {"a": None, "b": pa.string()}).column_names == ["b"]
    with pytest.raises(InputError, match="column 'c' is missing"):
        read_csv(path, {"c": None, "b": pa.string()})


@pytest.mark.parametrize("how", ["gz", "xz", "zst"])
def test_packed_files(tmp_path: Path, how: str) -> None:
    text = b"a,b\n" + b"".join(b"%d,word %d\n" % (i, i) for i in range(50_000))
    pack = {"gz": gzip.compress, "xz": lzma.compress, "zst": lambda raw: pa.compress(raw, codec="zstd", asbytes=True)}
    path = tmp_path / "t"  # the name says nothing
    path.write_bytes(pack[how](text))
    assert read_csv(path, KINDS)["a"].to_pylist() == list(range(50_000))
    path.write_bytes(pack[how](text[:300_000]) + pack[how](text[300_000:]))  # two, one after the other
    assert read_csv(path, KINDS)["a"].to_pylist() == list(range(50_000))
    for cut in (1, 20, 5000):
        path.write_bytes(pack[how](text)[:-cut])
        with pytest.raises(InputError, match="cannot be read"):
            read_csv(path, KINDS)
    path.write_bytes(pack[how](text) + b"more")
    with pytest.raises(InputError, match="cannot be read"):
        read_csv(path, KINDS)


def test_aws_prices_are_the_same_from_zstd(shared_traces: Path) -> None:
    from hcsim.traces.aws_price_history import AwsPriceHistory

    folder = shared_traces / "spot" / "aws_spot_price_history"
    packed = [AwsPriceHistory(path=str(folder / f"05.tsv.{how}")).read() for how in ("zst", "gz")]
    assert packed[0].frame.equals(packed[1].frame) and np.array_equal(packed[0].rows, packed[1].rows)


PEAK = """
import sys
from pathlib import Path
from tests.bench.memory import resident_bytes
from hcsim.trace_commands import validate
from hcsim import InputError
from hcsim.traces._catalog import recognised
recognised(Path(sys.argv[2]))
before = resident_bytes("VmRSS")
try:
    print(validate(Path(sys.argv[1]), None), file=sys.stderr)
except InputError as error:
    print(error, file=sys.stderr)
print((resident_bytes("VmHWM") - before) >> 20)
"""


@pytest.mark.parametrize("head", ["", "timestamp,duration,num_gpus,gpu_time,cluster\n", "{", '"', "1 "])
@pytest.mark.parametrize("packed", [False, True])
def test_a_line_of_a_gigabyte_is_left_early(tmp_path: Path, head: str, packed: bool) -> None:
    """As plain text, as the first row of a log, as JSON, as SWF: refused with at most 400 MiB in memory."""
    path, small = tmp_path / "long", tmp_path / "small.csv"
    with path.open("wb") as file:
        if packed:
            file.write(gzip.compress(head.encode()) + gzip.compress(b"x" * (1 << 20)) * 1024)
        else:
            file.write(head.encode())
            file.truncate(1 << 30)
    small.write_text("timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-09 07:01:55,66.0,1,66.0,vc1\n")
    command = [sys.executable, "-c", PEAK, str(path), str(small)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row = head.count("\n") + 1
    document = head in ("{", chr(34)) or not packed  # the plain file goes on with NUL bytes, as no text does
    expected = "holds more than 256 MiB" if document else f"row {row}: the line is longer than 64 MiB"
    assert expected in done.stderr + done.stdout
    assert int(done.stdout.split()[-1]) < 400


def test_a_document_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bytes, "LARGEST_DOCUMENT_BYTES", 100)
    path = tmp_path / "a.json"
    path.write_text("[" + "1," * 60 + "1]")
    with pytest.raises(InputError, match="holds more than"):
        read_json(path)


def test_the_sign_for_co2_survives_a_bad_cell(tmp_path: Path) -> None:
    path = tmp_path / "NO_2021_hourly.csv"
    head = "Datetime (UTC),Zone Id,Carbon Intensity gCO₂eq/kWh (direct),Data Estimated\n"
    path.write_text(head + "2021-01-01 00:00:00,NO,3.1,false\n2021-01-01 01:00:00,NO,much,false\n")
    with pytest.raises(Defective) as error:
        CarbonElectricitymaps(path=str(path)).read()
    given = "row 3: Carbon Intensity gCO₂eq/kWh (direct) is 'much', expected a number"
    assert [str(defect) for defect in error.value.defects] == [given]


GOOD = '{"timestamp": 0, "input_length": 5, "output_length": 7, "hash_ids": [1]}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + GOOD.replace(": 0", ": 1e22"), "row 2: timestamp is 1e+22, expected a whole number"),
        (GOOD + GOOD.replace(": 0", f": {10**22}"), f"row 2: timestamp is {10**22}, expected a whole"),
        (GOOD + GOOD.strip() + GOOD, "row 2: the line is "),  # two on a line
        (GOOD + GOOD.replace(', "out', ',\n"out'), "row 2: the line is "),  # one on two lines
        (GOOD + "\n" + GOOD, "row 2: the line is ''"),
        ("\n\n", "is empty"),
        ("null", "row 1 is 'null', expected a JSON object on each line"),  # on which pyarrow's reader crashes
        (GOOD + "null2\n" + GOOD, "row 2: the line is 'null2'"),
        (GOOD * 20_000 + "null\n" + GOOD * 20_000, "row 20001: the line is 'null'"),
        (GOOD + " " + GOOD, "row 2: the line is ' {"),
        (GOOD + GOOD.replace("[1]", "[null, 1]"), "row 2: hash_ids is empty, expected a value"),
        ('{"SpotPriceHistory": []}', "row 1: key 'timestamp' is missing"),
    ],
)
def test_rows_of_json_are_lines_too(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        Mooncake(path=str(path)).read()
    assert said in str(error.value)
    path.write_text(GOOD * 3 + "\n\n")
    assert len(read_json_lines(path, {"timestamp": pa.int64()})) == 3


def test_half_a_character_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": "\\ud800"}')
    with pytest.raises(InputError, match="not JSON"):
        read_json(path)
    path.write_text('{"a": "\\ud83d\\ude00"}')
    assert read_json(path) == {"a": "😀"}


@pytest.mark.parametrize("count", [2**63, 10**300, 2**53])
def test_counts_too_large_for_an_integer(tmp_path: Path, count: int) -> None:
    path = tmp_path / "us-west-2a_v100_1.json"
    path.write_text(f'{{"metadata": {{"gap_seconds": 5}}, "data": [1, {count}]}}')
    with pytest.raises(InputError, match=r"row 2: entry of data is|not JSON \(a whole number of \d+ digits\)") as error:
        SpotSkypilot(path=str(path)).read()
    assert len(str(error.value)) < 300


def test_lists_of_known_names_are_short() -> None:
    said = nearest("duration", ["x" * 5000, *(f"{i}" + "y" * 200 for i in range(50))])
    assert said.startswith("known: ") and said.endswith(", ...") and len(said) < 600
    assert nearest("duration", ["durations" + "s" * 5000, "b"]).startswith("known: ")
    assert nearest("duration", ["durations", "b"]) == "did you mean 'durations'?"
