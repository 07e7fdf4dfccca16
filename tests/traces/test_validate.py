"""validate finds every defect that is there, in whatever step of reading it shows, and says what it did not look at."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import InputError
from hcsim.traces._catalog import make
from hcsim.traces._validate import Found, validate
from tests.shell import hcsim, swf
from tests.traces.samples import SAMPLES

HEAD = "timestamp,duration,num_gpus,gpu_time,cluster\n"
ROW = "2017-10-09 07:01:55,{},{},66.0,vc1\n"


def found(name: str, path: Path, text: str | bytes, **parameters: object) -> Found:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return validate(make(name, {"path": str(path), **parameters}))


def rows(of: Found) -> list[tuple[int, str]]:
    assert of.count == len(of.defects)
    return [(defect.row, defect.column) for _, defect in of.defects]


#: A cell of a Philly row -> the column that is at fault, and in which step that shows is the loader's business.
BAD = {
    ("x", "1"): "duration",
    ("", "1"): "duration",
    ("5", "1.5"): "num_gpus",
    ("-5", "1"): "duration_s",
    ("nan", "1"): "duration_s",
    ("inf", "1"): "duration_s",
    ("1e308", "1"): "duration_s",
    ("5", "0"): "gpus",
    ("5", "4000000000"): "gpus",
    ("5,7", "1"): "the row",
}


@settings(max_examples=50)
@given(
    lines=st.lists(st.sampled_from([*BAD, ("5", "1"), (" 6 ", " 2 ")]), min_size=1, max_size=30), packed=st.booleans()
)
def test_no_step_hides_what_a_later_one_finds(
    lines: list[tuple[str, str]], packed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = (HEAD + "".join(ROW.format(*line) for line in lines)).encode()
    path = tmp_path_factory.mktemp("log") / "p.csv"
    of = found("philly", path, gzip.compress(text) if packed else text)
    expected = [(row, BAD[line]) for row, line in enumerate(lines, 2) if line in BAD]
    assert rows(of) == expected
    assert (of.table is None) == bool(expected)


def test_swf_is_looked_at_in_all_columns(tmp_path: Path) -> None:
    lines = [
        "; a comment", "", swf(1), swf(2, submit=-7), swf(3, run=-9), swf(4, run="x"), swf(5, run="inf"), "6 0 -1 5",
        swf(6), swf(6), swf(7).replace(" 100 ", " -33 "), swf(8, run=1e13),
    ]  # fmt: skip
    of = found("swf", tmp_path / "a.swf", "\n".join(line.rstrip("\n") for line in lines))
    assert rows(of) == [
        (4, "submit_s"), (5, "run_s"), (6, "run_s"), (7, "run_s"), (8, "the row"), (10, "id"), (11, "requested_s"),
        (12, "duration_s"),
    ]  # fmt: skip


def test_json_lines_are_looked_at_key_by_key(tmp_path: Path) -> None:
    line = '{{"timestamp": {}, "input_length": {}, "output_length": {}, "hash_ids": {}}}\n'
    bad = {
        line.format(1, 2.5, 3, "[4]"): [(2, "input_length")],
        line.format('1, "timestamp": 1', 2, 3, "[4]"): [(2, "timestamp")],
        line.format(1, '"2"', "3.0", "[4.5]"): [(2, "input_length"), (2, "output_length"), (2, "hash_ids")],
        line.format(1, 2, 10**30, "[null]"): [(2, "output_length"), (2, "hash_ids")],
        line.format("NaN", "true", 3, "7"): [(2, "timestamp"), (2, "input_length"), (2, "hash_ids")],
        '{"timestamp": 1}\n': [(2, "input_length"), (2, "output_length"), (2, "hash_ids")],
        "[]\n": [(2, "the line")],
        line.format(-1, 2, 3, "[4]"): [(2, "arrival_s")],
    }
    good = line.format(1, 2, 3, "[4]")
    for text, expected in bad.items():
        assert rows(found("mooncake", tmp_path / "m.jsonl", good + text + good)) == expected, text
    of = found("mooncake", tmp_path / "m.jsonl", good + "".join(bad))
    assert rows(of) == [(row, column) for row, each in enumerate(bad.values(), 2) for _, column in each]
    path = tmp_path / "m.jsonl"
    path.write_text(good + line.format(1, 67.5, 3, "[4]"))
    said = hcsim("traces", "validate", path)
    assert said.out == f"{path}: row 2: input_length is 67.5, expected a whole number\n"
    assert said.err.startswith("1 defect: as mooncake; of a row with one defect, cells that are read later were not")


def test_units_and_signs_of_gaia_are_both_looked_at(tmp_path: Path) -> None:
    text = "arrival_time,length,cpus\n9999,1,1\n5,-1,1\n6,1,0\n-4,1,1\n"
    of = found("gaia", tmp_path / "pai-100k.csv", text)
    assert rows(of) == [(2, "arrival_time"), (3, "duration_s"), (4, "gpus"), (5, "arrival_s")]


@pytest.mark.parametrize(
    ("name", "file", "text", "parameters", "expected"),
    [
        (
            "spot_strategy", "us-west-2a_v100_1.txt",
            "0,2022-10-26T22:05:00Z,0\n1,2022-10-26T22:15:00Z,2\n2,x,0\n3,2022-10-26T22:35:00Z,7\n",
            {"polarity": "failed"},
            [(2, "flag"), (3, "time"), (4, "flag")],
        ),
        (
            "bamboo", "p3-trace.csv", "0,add,i-1\n1,ad,i-2\n2,remove,i-1\n3,rm,i-2\n", {}, [(2, "event"), (4, "event")],
        ),
        (
            "bamboo", "mine.txt", "2021-12-10, 13:07:45, 80\n2021-12-1x, 13:08:45, 79\n2021-12-10, 25:08:45, 79\n",
            {"trace": "gcp-v100"}, [(2, "date and time"), (3, "date and time")],
        ),
        (
            "profile_sia", "bert/placements-azure.csv",
            "placement,local_bsz,step_time,sync_time\n4,1,1,1\nx,1,1,1\n4,y,1,1\n2z,1,1,1\n", {},
            [(3, "placement"), (4, "local_bsz"), (5, "placement")],
        ),
    ],
)  # fmt: skip
def test_all_bad_rows_are_named(
    name: str, file: str, text: str, parameters: dict[str, object], expected: list[tuple[int, str]], tmp_path: Path
) -> None:
    of = found(name, tmp_path / file, text, **parameters)
    assert rows(of) == expected and of.unseen


def test_what_follows_from_a_bad_row_is_no_defect(tmp_path: Path) -> None:
    """Without the node that came, the one that goes would leave -1 there."""
    of = found("bamboo", tmp_path / "p3-trace.csv", "0,ad,i-1\n1,remove,i-1\n")
    assert rows(of) == [(1, "event")] and of.unseen == "what these leave unclear was not looked at"


def test_a_folder_is_looked_at_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "skyplane"
    folder.mkdir()
    for name, raw in SAMPLES["skyplane"].files.items():
        (folder / name).write_bytes(raw)
    (folder / "cost.csv").write_text("src,dest,cost\na,b,much\nc,d,1\ne,f,x\n")
    of = validate(make("skyplane", {"path": str(folder)}))
    assert {(file.name, defect.row) for file, defect in of.defects} >= {("cost.csv", 2), ("cost.csv", 4)}


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'duration' is missing"):
        found("philly", tmp_path / "p.csv", HEAD.replace("duration", "length") + ROW.format(1, 1))


def test_rows_that_are_left_out_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.swf"
    path.write_text("".join(swf(job, run=-1 if job % 2 else 60) for job in range(1, 61)))
    said = hcsim("traces", "validate", path)
    assert said.status == 0
    listed = ", ".join(map(str, range(1, 41, 2)))
    assert f"row 1: its run time is unknown; 30 such rows left out: {listed}, ...\n" in said.out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            (HEAD + ROW.format(5, 1)).replace("duration", "length"),
            "no source reads it (nearest is philly, which needs column 'duration' as well); name one with --as",
        ),
        (
            (HEAD + ROW.format(5, 1)).replace(",", ";"),
            "no source reads it (nearest is philly, whose columns are not divided by ';'); name one",
        ),
        (
            (HEAD + ROW.format(5, 1)).replace(",", "|"),
            "no source reads it (nearest is philly, whose columns are not divided by '|'); name one",
        ),
        ("what,is\nthis,1\n", "no source reads it; name one with --as"),
    ],
)
def test_what_no_source_reads_is_near_to_one(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    assert hcsim("traces", "validate", path).err.startswith(f"hcsim: error: {path}: {said}")


def test_what_is_odd_but_no_defect_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    later = ROW.replace("07:01:55", "08:01:55").format(5, 1)
    path.write_text(HEAD + later * 3 + ROW.format(5, 1) + later)
    said = hcsim("traces", "validate", path)
    assert said.status == 0
    assert said.out.splitlines()[1:3] == [
        f"{path}: note: 3 rows that are as an earlier one in all but the id",
        f"{path}: note: not sorted by arrival, 1 row before the one above",
    ]
    path.write_text(HEAD + ROW.format(5, 1) + later)
    assert "note" not in hcsim("traces", "validate", path).out


def test_a_folder_that_no_source_reads_is_read_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    (folder / "more").mkdir(parents=True)
    (folder / "a.csv").write_text(HEAD + ROW.format(5, 1))
    (folder / "more" / "b.csv").write_text(HEAD + ROW.format(-5, 1))
    for given_ in ((), ("--as", "philly")):
        said = hcsim("traces", "validate", folder, *given_)
        assert said.status == 2 and f"{folder / 'a.csv'}: 1 row of jobs, read as philly, no defects\n" in said.out
        assert f"{folder / 'more' / 'b.csv'}: row 2: duration_s is -5.0, expected 0 or more\n" in said.out
    (folder / "more" / "b.csv").write_text("what,is\nthis,1\n")
    said = hcsim("traces", "validate", folder)
    assert said.status == 2 and "b.csv: no source reads it" in said.err and "a.csv: 1 row of jobs" in said.out
    (folder / "more" / "b.csv").unlink()
    assert hcsim("traces", "validate", folder).status == 0
    (folder / "a.csv").unlink()
    said = hcsim("traces", "validate", folder)
    assert said.status == 2 and f"{folder}: no source reads it" in said.err


def test_the_published_logs_say_what_is_odd_about_them(shared_traces: Path) -> None:
    said = hcsim("traces", "validate", shared_traces / "dl_jobs" / "philly_pollux" / "philly.csv.gz")
    assert "note: 65 rows that are as an earlier one" in said.out and "note: not sorted by arrival" in said.out


def test_a_published_log_is_known_wherever_it_is(shared_traces: Path, tmp_path: Path) -> None:
    """Its polarity is known by its content, and that of no other."""
    published = shared_traces / "spot/skypilot_spot_strategy/2022-10-26T22-05/us-west-2a_v100_1.txt"
    raw = published.read_bytes()
    path = tmp_path / published.name
    path.write_bytes(raw)
    for each in (published, path):
        said = hcsim("traces", "validate", each)
        assert said.status == 0 and "rows of availability, read as spot_strategy, no defects" in said.out, said.err
    table = make("spot_strategy", {"path": str(path)}).read()
    assert table.frame.equals(make("spot_strategy", {"data_dir": str(shared_traces)}).read().frame)
    path.write_bytes(raw[: raw.rstrip().rfind(b"\n") + 1])
    assert "expected polarity=failed" in hcsim("traces", "validate", path).err
