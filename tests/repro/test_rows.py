"""Every row of every reproduction, as a test; and the command that prints them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from hcsim.cli import main
from hcsim.model import InputError
from hcsim.repro import egress, oracles
from hcsim.repro.commands import NAMES, module
from hcsim.repro.table import TABLES, Row, reference


def said(text: str) -> None:
    """Nobody watches."""


def hold(rows: list[Row], least: int) -> None:
    outside = [f"{row.name}: {row.ours:.8g}, expected {row.reference:.8g} ± {row.tolerance:.2g}" for row in rows
               if not row.holds]  # fmt: skip
    assert not outside, outside
    assert len(rows) >= least


@pytest.fixture
def with_data(monkeypatch: pytest.MonkeyPatch, shared_traces: Path, shared_reference: Path) -> None:
    monkeypatch.setenv("HCSIM_DATA", str(shared_traces))
    monkeypatch.setenv("HCSIM_REFERENCE", str(shared_reference))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("spot", 225 + 16 + 12), ("carbon", 26), ("gavel", 52), ("fgd", 38 + 216)])
def test_every_row_holds(with_data: None, name: str, least: int) -> None:
    hold(module(name).rows(said), least)


def test_every_tier_case_holds() -> None:
    hold(egress.rows(said), 9)


# -- closed forms, group by group -----------------------------------------------------

TABLE = reference("oracles/analytic_oracles.csv")
#: Too rare an event for its interval to say much about it.
RARE = "M/M/c, lam=45 mu=1 c=50: P(Wq>1)"


@pytest.mark.slow
@pytest.mark.parametrize("family", oracles.FAMILIES, ids=lambda f: "-".join(map(str, (f[0].__name__, *f[1]))))
def test_closed_forms_lie_in_their_intervals(family: oracles.Family) -> None:
    exact = {tuple(row[:3]): row[4] for row in TABLE.itertuples(index=False)}
    exact["M/G/inf cloud only", "lam=5 E[S]=2", "Var[N]"] = exact["M/G/inf cloud only", "lam=5 E[S]=2", "E[N]=Var[N]"]
    found = oracles.made(family)
    rows = [oracles.row(key, float(exact[key]), each) for key, each in found.items()]
    hold(rows, 1)
    for row in rows:
        assert row.tolerance < (0.8 if row.name == RARE else 0.35) * row.reference, f"{row.name}: ± {row.tolerance:.2g}"


def test_schedules_are_those_of_the_closed_forms() -> None:
    toys = TABLE[TABLE["case"].str.startswith("EASY")]
    rows = [row for each in toys.itertuples(index=False) for row in oracles.schedules(each[0], each[1], each[4])]
    hold(rows, 17)


def test_every_closed_form_has_a_group() -> None:
    """No row of the table is left out in silence."""
    quick = {f[0].__name__ for f in oracles.FAMILIES}
    assert quick == {"m_m_c", "m_g_1", "processor_sharing", "burst", "cloud_only", "patience", "two_classes", "kills",
                     "no_checkpoint", "failing_nodes", "exact_figures"}  # fmt: skip
    assert oracles.row(("a", "b", "c"), 1.0, None).missing


# -- tables, and the command ------------------------------------------------------------


def test_tables_that_ship_are_those_of_the_reference(shared_reference: Path) -> None:
    shipped = {path.relative_to(TABLES) for path in TABLES.rglob("*.csv*")}
    assert shipped
    assert len(shipped) >= 12
    for path in shipped - {Path("cloud/egress.csv")}:  # the reference gives that one in its text
        pd.testing.assert_frame_equal(pd.read_csv(TABLES / path), pd.read_csv(shared_reference / path))
    text = (shared_reference / "cloud" / "README.md").read_text()
    for row in pd.read_csv(TABLES / "cloud" / "egress.csv").itertuples(index=False):
        assert f"| {row.gb:,} | {row.skypilot_usd:.2f} | {row.marginal_usd:.2f} |" in text


def test_list_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["repro", "list"])
    assert end.value.code == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(NAMES)


def test_run_ends_with_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["repro", "run", "egress"])
    assert end.value.code == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "egress: 10 of 10 rows inside their tolerance"


def test_a_row_outside_is_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = ModuleType("made")
    made.rows = lambda say: [  # type: ignore[attr-defined]
        Row("inside", 1.0, 1.1, 0.2),
        Row("E[x]", 1.0, 1.3, 0.2),
        Row("below", 1.0, 0.5, 0.0, most=True),
        Row("none", 1.0, float("nan"), 0.2, "no such thing here"),
    ]
    monkeypatch.setattr("hcsim.repro.commands.module", lambda name: made)
    with pytest.raises(SystemExit) as end:
        main(["repro", "run", "made"])
    out = capsys.readouterr().out
    assert end.value.code == 1
    assert out.splitlines()[-1] == "made: 2 of 3 rows inside their tolerance, 1 not produced here"
    assert next(line for line in out.splitlines() if "OUTSIDE" in line).startswith("E[x]")
    assert "no such thing here" in out


@pytest.mark.parametrize("name", ["spot", "carbon", "gavel", "fgd"])
@pytest.mark.parametrize("folder", ["", "empty"])
def test_missing_data_names_the_command_that_fetches_it(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HCSIM_DATA", str(tmp_path) if folder else "")
    monkeypatch.delenv("HCSIM_REFERENCE", raising=False)
    with pytest.raises(SystemExit) as end:
        main(["repro", "run", name])
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert told.count("\n") == 1
    assert f"repro {name}: " in told
    command = told.partition("hcsim traces fetch ")[2].split("'")[0].split()
    from hcsim.traces._fetch import entries

    assert len(entries(command[:1])) in (3, 8, 15, 16)
    assert "--yes" in command


def test_bad_names_and_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no reproduction 'spto'; did you mean 'spot'"):
        module("spto")
    monkeypatch.setenv("HCSIM_REFERENCE", str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"HCSIM_REFERENCE: .* is not a folder"):
        reference("spot/results.csv")
    monkeypatch.setenv("HCSIM_REFERENCE", str(tmp_path))  # a folder without that table: the one that ships
    assert len(reference("spot/results.csv")) == 225
    for text, said in (("", "not a table"), ("gb,foo\n1,2\n", "column '\\w+_usd' is missing")):
        (tmp_path / "cloud").mkdir(exist_ok=True)
        (tmp_path / "cloud" / "egress.csv").write_text(text)
        with pytest.raises(InputError, match=rf"egress.csv: {said}"):
            reference("cloud/egress.csv")
