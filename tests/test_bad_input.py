"""Bad input is one line on standard error, exit status 2 and an empty folder: no traceback, nothing half-written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hcsim.events import Kind
from hcsim.log import Log
from tests.shell import hcsim, refused, swf

PHILLY = "timestamp,duration,num_gpus,gpu_time,cluster\n"
ROW = "2017-10-03 00:00:{second:02d},{duration},{gpus},60,a\n"


def philly(second: int = 0, duration: object = 60, gpus: object = 1) -> str:
    return ROW.format(second=second, duration=duration, gpus=gpus)


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


# -- traces ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trace", "text", "said"),
    [
        pytest.param("swf", None, "cannot be read (No such file or directory)", id="missing"),
        pytest.param("swf", "not a trace\n", "row 1: the row is 3 cells, expected 18 cells", id="not-a-trace"),
        pytest.param("swf", "; head\n" + swf() + "2 0 -1 5\n", "row 3: the row is 4 cells, expected", id="fields"),
        pytest.param("swf", swf() + swf(2, run="x"), "row 2: run_s is 'x', expected a number", id="text"),
        pytest.param("swf", swf() + swf(2, run=-5), "row 2: run_s is -5, expected 0 or more", id="negative"),
        pytest.param("swf", swf() + swf(2, run="nan"), "row 2: run_s is nan, expected 0 or more", id="nan"),
        pytest.param(
            "swf", swf() + swf(2, run=1e308), "row 2: duration_s is 1e+308, expected at most 1e+12", id="long"
        ),
        pytest.param("swf", swf() + swf(2, 1e300), "row 2: arrival_s is 1e+300, expected at most 1e+12", id="late"),
        pytest.param(
            "swf", swf() + swf(2, procs=2**32 + 2), "row 2: gpus is 4294967298, expected at most 2147483647", id="wraps"
        ),
        pytest.param("swf", swf(3) + swf(3, submit=9), "row 2: id is 3, expected an id of its own", id="twice"),
        pytest.param("swf", "", "no rows", id="empty"),
        pytest.param("philly", None, "cannot be read (No such file or directory)", id="philly-missing"),
        pytest.param(
            "philly",
            PHILLY.replace("duration", "durations") + philly(),
            "row 1: column 'duration' is missing; did you mean 'durations'?",
            id="philly-column",
        ),
        pytest.param(
            "philly", PHILLY + philly() + philly(1, -5), "row 3: duration_s is -5.0, expected", id="philly-neg"
        ),
        pytest.param("philly", PHILLY + philly() + philly(1, "nan"), "row 3: duration_s is nan, exp", id="philly-nan"),
        pytest.param("philly", PHILLY + philly() + philly(1, ""), "row 3: duration is empty, expected", id="philly-no"),
        pytest.param(
            "philly", PHILLY + philly() + philly(1, "x"), "row 3: duration is 'x', expected", id="philly-text"
        ),
        pytest.param("philly", PHILLY + philly() + philly(99), "row 3: timestamp is '2017-10-03 00:00:99'", id="time"),
        pytest.param("philly", PHILLY + philly(gpus=0), "row 2: gpus is 0, expected at least 1", id="philly-no-gpus"),
    ],
)
def test_a_bad_trace_is_named_by_file_and_line(tmp_path: Path, trace: str, text: str | None, said: str) -> None:
    path = tmp_path / "jobs.txt"
    if text is not None:
        path.write_text(text)
    line = refused(tmp_path / "run", f"trace={trace}", f"trace.path={path}")
    assert line.startswith(f"{path}: {said}")


def test_a_trace_without_a_file_says_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HCSIM_DATA", raising=False)
    assert "trace.path=" in refused(tmp_path / "run", "trace=swf")
    assert "HCSIM_DATA" in refused(tmp_path / "run", "trace=philly")
    monkeypatch.setenv("HCSIM_DATA", str(tmp_path / "nowhere"))
    assert refused(tmp_path / "run", "trace=philly").startswith(f"{tmp_path}/nowhere/")


def test_unsorted_jobs_are_sorted(tmp_path: Path) -> None:
    rows = [swf(5, 30), swf(1, 10), swf(4, 20), swf(2, 10)]
    hashes = []
    for name, lines in (("given", rows), ("sorted", [rows[1], rows[3], rows[2], rows[0]])):
        path = tmp_path / f"{name}.swf"
        path.write_text("".join(lines))
        assert hcsim("run", "trace=swf", f"trace.path={path}", f"hydra.run.dir={tmp_path / name}").status == 0
        hashes.append(summary(tmp_path / name)["log_sha256"])
    assert hashes[0] == hashes[1]


def test_a_job_that_no_node_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "jobs.swf"
    path.write_text(swf(7, 0, procs=999) + swf(8, 0) + swf(9, 5, procs=1000))
    args = ("trace=swf", f"trace.path={path}", "fleet=lab")
    what = f"{path}: job 7 (999 GPUs) fits no pool (lab-a100: gang); 2 such jobs"
    assert refused(tmp_path / "run", *args, "on_infeasible=error").startswith(what)
    said = hcsim("run", *args, f"hydra.run.dir={tmp_path / 'run'}")
    assert said.status == 0 and said.err == f"hcsim: note: {what} are left out\n"
    figures = summary(tmp_path / "run")
    assert (figures["jobs_submitted"], figures["jobs_infeasible"], figures["jobs_finished"]) == (3, 2, 1)
    assert "'eror', expected 'reject' or 'error'" in refused(tmp_path / "other", *args, "on_infeasible=eror")


def test_only_jobs_that_no_node_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "jobs.swf"
    path.write_text(swf(7, 0, procs=999))
    line = refused(tmp_path / "run", "trace=swf", f"trace.path={path}", "fleet=lab")
    assert line.startswith(f"{path}: job 7 (999 GPUs) fits no pool") and line.endswith("no other is left to run")


# -- fleets ------------------------------------------------------------------------------------------------------------

FLEET = """
_target_: hcsim.model.Fleet
name: mine
sites:
  - _target_: hcsim.model.Site
    name: here
    pools: {pools}
"""
POOL = "[{{_target_: hcsim.model.NodePool, name: p, gpu: {gpu}, gpus_per_node: {per_node}, nodes: {nodes}{more}}}]"


def own_fleet(folder: Path, pools: str) -> tuple[str, ...]:
    """Overrides that run four jobs on a fleet of one's own."""
    (folder / "conf" / "fleet").mkdir(parents=True, exist_ok=True)
    (folder / "conf" / "fleet" / "mine.yaml").write_text(FLEET.format(pools=pools))
    (folder / "jobs.swf").write_text("".join(swf(i, i, procs=2) for i in range(4)))
    return (f"--config-dir={folder / 'conf'}", "fleet=mine", "trace=swf", f"trace.path={folder / 'jobs.swf'}")


@pytest.mark.parametrize(
    ("pools", "said"),
    [
        ("[]", "fleet 'mine': no node pools, so no accelerator that could run a job"),
        (POOL.format(gpu="A100", per_node=8, nodes=0, more=""), "pool 'p': nodes is 0, expected at least 1"),
        (POOL.format(gpu="A100", per_node=0, nodes=1, more=""), "pool 'p': gpus_per_node is 0, expected 1 to 16"),
        (POOL.format(gpu="A10O", per_node=8, nodes=1, more=""), "pool 'p': gpu 'A10O' has no speed"),
        (POOL.format(gpu="A100", per_node=8, nodes=1, more=", market: spott"), "did you mean 'spot'?"),
        (
            POOL.format(gpu="A100", per_node=8, nodes=1, more=", bot_s: 3"),
            "no parameter 'bot_s'; did you mean 'boot_s'",
        ),
        (POOL.format(gpu="A100", per_node=8, nodes="many", more=""), ".pools.0.nodes is 'many', expected an integer"),
        ("none", "fleet.sites.0.pools is 'none', expected a list"),
        ("[{_target_: hcsim.model.Pool, name: p}]", "did you mean 'NodePool'?"),
    ],
    ids=["none", "no-nodes", "no-devices", "gpu", "market", "parameter", "type", "list", "target"],
)
def test_a_fleet_that_cannot_be(tmp_path: Path, pools: str, said: str) -> None:
    assert said in refused(tmp_path / "run", *own_fleet(tmp_path, pools))


def test_a_fleet_of_cpu_core_groups(tmp_path: Path) -> None:
    args = own_fleet(tmp_path, POOL.format(gpu="cpu", per_node=4, nodes=1, more=""))
    assert hcsim("run", *args, f"hydra.run.dir={tmp_path / 'run'}").status == 0
    figures = summary(tmp_path / "run")
    assert figures["jobs_finished"] == 4 and figures["gpu_seconds_used"] == 4 * 2 * 60.0


# -- the hybrid world --------------------------------------------------------------------------------------------------

RENT = "[{{_target_: hcsim.model.NodePool, name: p, gpu: A100, gpus_per_node: 8, nodes: 2, market: spot, {more}}}]"
PRICES = "time_s,until_s,usd_per_gpu_h,currency,unit\n"


def rented(folder: Path, more: str) -> tuple[str, ...]:
    return own_fleet(folder, RENT.format(more=more))


def of_file(folder: Path, text: str, **options: object) -> str:
    """The price of a pool from a file with that text."""
    (folder / "prices.csv").write_text(text)
    options = {"path": folder / "prices.csv", "column": "usd_per_gpu_h"} | options
    return "price: {_target_: hcsim.records.of_file, " + ", ".join(f"{k}: {v}" for k, v in options.items()) + "}"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("usd_per_gpu_h: -1", "pool 'p': usd_per_gpu_h is -1, expected a finite number >= 0"),
        ("discount_share: 1.5", "pool 'p': discount_share is 1.5, expected a number from 0 to 1"),
        ("stockout_share: -0.1", "pool 'p': stockout_share is -0.1, expected a number from 0 to 1"),
        ("reclaim: {_target_: hcsim.fleet.Reclaim, mtbf_s: 0}", "reclaim: mtbf_s is 0, expected > 0 (inf: never)"),
        (
            "price: {_target_: hcsim.series.Series, time_s: [0, 5], value: [1, -2], beyond: hold}",
            "pool 'p': price falls to -2, expected >= 0",
        ),
        (
            "price: {_target_: hcsim.series.Series, time_s: [0, 5, 5], value: [1, 2, 3], beyond: hold}",
            "pool 'p': price: series: time_s does not rise at [2]",
        ),
        (
            "price: {_target_: hcsim.series.Series, time_s: [0, 5], value: [1, 2], beyond: warp}",
            "pool 'p': price: series: beyond is 'warp'; did you mean 'wrap'?",
        ),
        (
            "price: {_target_: hcsim.series.Series, time_s: [0, 20], value: [1, 2]}",
            "pool 'p': price: series ends at 40 s and the run goes on; set beyond: hold or wrap",
        ),
    ],
    ids=["price", "discount", "stock-out", "reclaim", "falls", "twice", "beyond", "short"],
)
def test_a_market_that_cannot_be(tmp_path: Path, more: str, said: str) -> None:
    assert said in refused(tmp_path / "run", *rented(tmp_path, more))


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (None, {}, "no such file"),
        ("", {}, "no column 'usd_per_gpu_h'"),
        (PRICES, {}, "no record"),
        (PRICES + "0,9,x,USD,h\n", {}, "line 2: usd_per_gpu_h is 'x', expected a number"),
        (PRICES + "0,9,1,USD,h\n9,19,-1,USD,h\n", {}, "row 3: usd_per_gpu_h is -1, expected a finite number >= 0"),
        (PRICES + "0,9,1,USD,h\n9,19,2,EUR,h\n", {}, "line 3: currency is EUR, expected USD"),
        (
            PRICES.title().replace("Usd_Per_Gpu_H", "usd_per_gpu_h") + "0,9,1,EUR,h\n",
            {"time": "Time_S"},
            "line 2: Currency is EUR, expected USD",
        ),
        (PRICES + "0,9,1,USD,h\n9,19,2,USD,s\n", {}, "line 3: unit is s, expected h as in line 2"),
        (PRICES + "0,9,1,USD,s\n", {}, "line 2: unit is s, expected that of usd_per_gpu_h, gpu_h"),
        (PRICES + "0,9,1,USD,h\n0,19,2,USD,h\n", {}, "row 3: overlaps the record of row 2"),
        (PRICES + "0,9,1,USD,h\n5,19,2,USD,h\n", {"until": "until_s"}, "row 3: overlaps the record of row 2"),
        (PRICES + "0,9,1,USD,h\n11,19,2,USD,h\n", {"until": "until_s"}, "row 3: begins after the record of row 2 has"),
        (PRICES + "9,9,1,USD,h\n", {"until": "until_s"}, "row 2: ends before it begins"),
        (PRICES + "0,9,1,USD,h\n9,19,2,USD,h\n", {"until": "until_s"}, "ends at 19 s and the run goes on"),
        (PRICES + "9000,9009,1,USD,h\n9009,9019,2,USD,h\n", {"begin_s": 0}, "begins at 9,000 s and the run at 0; let"),
        (PRICES + "0,9,1,USD,h\n", {"where": "{zone: a}"}, "no column 'zone'"),
        (PRICES + "0,9,1,USD,h\n", {"column": "usd_per_gpu"}, "did you mean 'usd_per_gpu_h'?"),
    ],
    ids=[
        "missing",
        "empty",
        "no-record",
        "text",
        "negative",
        "currency",
        "capitals",
        "unit",
        "other-unit",
        "twice",
        "overlap",
        "gap",
        "backwards",
        "short",
        "late",
        "where",
        "column",
    ],
)
def test_price_records_that_cannot_be(tmp_path: Path, text: str | None, options: dict[str, object], said: str) -> None:
    more = of_file(tmp_path, text or "", **options)
    if text is None:
        (tmp_path / "prices.csv").unlink()
    assert said in refused(tmp_path / "run", *rented(tmp_path, more))


def test_price_records_that_can(tmp_path: Path) -> None:
    """In any order; the second price holds on for the run, which is billed at it."""
    text = PRICES + "30,90,4,USD,h\n0,30,2,USD,h\n"
    more = of_file(tmp_path, text, until="until_s", beyond="hold") + ", min_billing_s: 0, idle_release_s: 0"
    run = hcsim("run", *rented(tmp_path, more), f"hydra.run.dir={tmp_path / 'run'}")
    assert run.status == 0, run.err
    # four jobs of two GPUs from 0, 1, 2, 3 on for 60 s: one node from 0 to 63, 30 s of them at 2 USD
    assert summary(tmp_path / "run")["cost_usd"] == pytest.approx(8 * (30 * 2 + 33 * 4) / 3600)


@pytest.mark.parametrize(
    ("quota", "said"),
    [
        ("gpus: 0", "quota of everything rented: gpus is 0, expected at least 1"),
        ("gpus: -1", "gpus is -1, expected at least 1"),
        (
            "gpus: 4",
            "quota of everything rented: gpus is 4, expected at least 8, a node of what it limits; what may not",
        ),
        ("gpus: 8, site: heer", "quota heer: no site 'heer'; did you mean 'here'?"),
        ("gpus: 8, account: c", "quotas.0: no parameter 'account'; known: gpu, gpus, provider, region, site"),
    ],
    ids=["zero", "negative", "small", "site", "key"],
)
def test_a_quota_that_cannot_be(tmp_path: Path, quota: str, said: str) -> None:
    args = rented(tmp_path, "usd_per_gpu_h: 1")
    given = f"+fleet.quotas=[{{_target_: hcsim.fleet.Quota, {quota}}}]"
    assert said in refused(tmp_path / "run", *args, given)


def world(tmp_path: Path, jobs: str, links: str = "[]") -> list[str]:
    """Two sites of two jurisdictions, and jobs as a listed trace."""
    site = "{{_target_: hcsim.model.Site, name: {0}, jurisdiction: {1}, pools: {2}}}"
    pool = POOL.format(gpu="A100", per_node=8, nodes=1, more="")
    sites = ", ".join([site.format("a", "us", "[]"), site.format("b", "eu", pool)])
    (tmp_path / "conf" / "fleet").mkdir(parents=True, exist_ok=True)
    text = f"_target_: hcsim.model.Fleet\nname: mine\nsites: [{sites}]\nlinks: {links}\n"
    (tmp_path / "conf" / "fleet" / "mine.yaml").write_text(text)
    return [f"--config-dir={tmp_path / 'conf'}", "fleet=mine", "trace=twin", "trace.n=5", f"+trace.attributes={jobs}"]


def test_a_site_without_a_route_to_the_data(tmp_path: Path) -> None:
    data = "{_target_: hcsim.traces._attributes.Attributes, dataset_share: 1, dataset_sites: [a]}"
    args = world(tmp_path, data)
    assert "fits no pool (p: data)" in refused(tmp_path / "run", *args)
    args = world(tmp_path, data.replace("[a]", "[c]"))
    assert "dataset site 'c' is not a site of fleet 'mine'" in refused(tmp_path / "run", *args)


def test_jobs_whose_data_cannot_reach_some_pools_run_with_a_note(tmp_path: Path) -> None:
    """A fleet without any link is one where everything runs beside its data: said, and no error."""
    args = world(
        tmp_path,
        "{_target_: hcsim.traces._attributes.Attributes, dataset_share: 1, dataset_sites: [b], checkpoint_bytes: 0}",
    )
    fleet = tmp_path / "conf" / "fleet" / "mine.yaml"
    own = POOL.format(gpu="A100", per_node=8, nodes=1, more="").replace("name: p", "name: q")
    fleet.write_text(fleet.read_text().replace("pools: []", f"pools: {own}"))
    said = hcsim("run", f"hydra.run.dir={tmp_path / 'run'}", *args)
    assert said.status == 0
    notes = [line for line in said.err.splitlines() if "route" in line]
    expected = "5 of 5 jobs are barred from 1 of 2 pools (q) for want of a route to their data, such as a link b -> a"
    assert len(notes) == 1 and notes[0].endswith(f": {expected}"), notes
    assert notes[0] == f"hcsim: note: {summary(tmp_path / 'run')['no_route']}"
    linked = fleet.read_text().replace("links: []", "links: [{_target_: hcsim.model.Link, source: a, target: b}, "
                                       "{_target_: hcsim.model.Link, source: b, target: a}]")  # fmt: skip
    fleet.write_text(linked)
    assert "route" not in hcsim("run", f"hydra.run.dir={tmp_path / 'other'}", *args).err
    assert summary(tmp_path / "other")["no_route"] == ""


def test_a_residency_that_no_site_satisfies(tmp_path: Path) -> None:
    """Of the two sites, in the US and the EU, the first has no nodes."""
    for place in ("ch", "us"):
        bound = "{_target_: hcsim.traces._attributes.Attributes, dataset_share: 0, residency_share: 1, residency: %s}"
        line = refused(tmp_path / "run", *world(tmp_path, bound % place))
        assert f"may run under {place} alone, and no site of fleet 'mine' with nodes does (eu)" in line


def test_data_of_bound_jobs_that_lie_where_they_may_not_be(tmp_path: Path) -> None:
    """Every job is bound to the EU, and every dataset lies at a site in the US."""
    text = "{_target_: hcsim.traces._attributes.Attributes, dataset_share: 1, residency_share: 1, residency: eu, "
    args = world(tmp_path, text + "residency_site: a, dataset_sites: [a]}")
    line = refused(tmp_path / "run", *args)
    assert "job 0: its dataset lies at site 'a' in us, expected a home in eu, which binds it" in line


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (
            "{_target_: hcsim.model.Link, source: a, target: b, usd_per_gb: -1}",
            "link a -> b: usd_per_gb is -1, expected",
        ),
        ("{_target_: hcsim.model.Link, source: a, target: b, tariff: t}", "link a -> b: no tariff 't'"),
        ("{_target_: hcsim.model.Link, source: a, target: x}", "link a -> x: no site 'x'"),
        (
            "{_target_: hcsim.model.Link, source: a, target: b, bytes_per_s: 0}",
            "bytes_per_s is 0, expected finite, > 0",
        ),
    ],
    ids=["price", "tariff", "site", "speed"],
)
def test_a_link_that_cannot_be(tmp_path: Path, link: str, said: str) -> None:
    assert said in refused(tmp_path / "run", *world(tmp_path, "{}", f"[{link}]"))


# -- names and values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["strategy=easy_backfil"], "no strategy 'easy_backfil'; did you mean 'easy_backfill'?"),
        (["fleet=hybird"], "no fleet 'hybird'; did you mean 'hybrid'?"),
        (["trace=philli"], "no trace 'philli'; did you mean 'philly'?"),
        (["strategy="], "no strategy ''; known: allox, "),
        (
            ["strategy=owned_first", "strategy.pacience_s=1"],
            "strategy: no parameter 'pacience_s'; did you mean 'patience_s'",
        ),
        (["strategy=owned_first", "strategy.patience_s=long"], "strategy.patience_s is 'long', expected a number"),
        (
            ["trace.attributes.dataset_shar=0"],
            "trace.attributes: no parameter 'dataset_shar'; did you mean 'dataset_share'",
        ),
        (["trace.attributes.dataset_share=2"], "trace.attributes.dataset_share is 2, expected 0 to 1"),
        (["trace.attributes=3"], "trace.attributes is 3, expected the parameters of Attributes"),
        (["trace.n=-4"], "trace.n is -4, expected > 0"),
        (["trace.n=2.5"], "trace.n is 2.5, expected an integer"),
        (["trace.load=nan"], "trace.load is nan, expected > 0"),
        (["strategy=owned_first", "strategy.patience_s=nan"], "strategy.patience_s is nan, expected >= 0"),
        (["strategy=las", "strategy.threshold_gpu_s=-1"], "strategy.threshold_gpu_s is -1, expected >= 0"),
        (["strategy=las", "strategy.depth=-1"], "strategy.depth is -1, expected >= 0"),
        (["strategy=srtf", "strategy.margin_s=nan"], "strategy.margin_s is nan, expected >= 0"),
        (["strategy=cheapest_fit", "strategy.egress_hours=0"], "strategy.egress_hours is 0, expected > 0"),
        (["strategy=conservative_backfill", "strategy.depth=0"], "strategy.depth is 0, expected at least 1"),
        (["strategy=easy_backfill", "strategy.depth=-1"], "strategy.depth is -1, expected >= 0"),
        (["estimator.sigma=inf"], "estimator.sigma is inf, expected 0 to 10"),
        (["perf.scaling=nan"], "perf.scaling is nan, expected 0 to 1"),
        (["perf.speed.A100=x"], "perf.speed.A100 is 'x', expected a number"),
        (["perf.speed=3"], "perf.speed is 3, expected a mapping"),
        (["executor.without=[3]"], "without: no switch '3'; known: boot, "),
        (["trace.attributes.dataset_sites=[here]"], "trace.attributes.residency_site is 'cloud_eu', expected one of"),
        (["trace.attributes.deadline_slack=[2,1]"], "trace.attributes.deadline_slack is [2, 1], expected two numbers"),
        (["trace.load=1e-300"], "trace.load is 1e-300, at which submissions would span"),
        (["perf.spread=1"], "perf: no parameter 'spread'; did you mean 'speed'?"),
        (["seed=abc"], "seed is 'abc', expected an integer >= 0"),
        (["seed=-1"], "seed is -1, expected an integer >= 0"),
        (["seed=1.5"], "seed is 1.5, expected an integer >= 0"),
        (["seed="], "seed is '', expected an integer >= 0"),
        (["seed=1,2"], "seed=1,2: several values, expected one; a sweep is hcsim run -m"),
        (["sed=1"], "no key 'sed'; did you mean 'seed'?"),
        (["stratgy=fifo"], "no key 'stratgy'; did you mean 'strategy'?"),
        (["hydra.run.dri=x"], "no key 'hydra.run.dri'; did you mean 'hydra.run.dir'?"),
        (["estimator=none", "strategy=sjf"], "strategy sjf needs run times, and estimator=none gives none"),
        (["~fleet"], "fleet is missing, expected fleet=NAME"),
        (["trace.n=${nothing}"], "Interpolation key 'nothing' not found"),
        (["two words"], "cannot read 'two words', expected key=value"),
        (["strategy=null"], "Config group override must be a string"),
        (["--config-dir=/nowhere"], "Additional config directory '/nowhere' not found"),
        (["--config-dri=mine"], "run: no option '--config-dri'; did you mean '--config-dir'?"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_names_and_values(tmp_path: Path, args: list[str], said: str) -> None:
    assert refused(tmp_path / "run", "trace.n=20", *args).startswith(said)


def test_an_output_folder_that_cannot_be(tmp_path: Path) -> None:
    """Below a regular file, where not even root can write."""
    (tmp_path / "file").write_text("")
    line = refused(tmp_path / "file" / "run", "trace.n=20")
    assert line == f"{tmp_path}/file/run: cannot be used (Not a directory)"
    said = hcsim("run", "-m", "seed=1,2", "trace.n=20", f"hydra.sweep.dir={tmp_path}/file/sweep")
    assert (said.status, said.out) == (2, "") and said.err.count("\n") == 1 and "file/sweep: cannot be" in said.err


def test_other_commands(tmp_path: Path) -> None:
    for args, said in (
        (["comapre"], "no command 'comapre'; did you mean 'compare'?"),
        (["compare"], "the following arguments are required: DIR"),
        (["strategies", "chek"], "invalid choice: 'chek'"),
        (["strategies", "check", "fifi"], "no strategy 'fifi'; did you mean 'fifo'?"),
        (["traces", "describe"], "the following arguments are required: name"),
        (["traces", "describe", "twni"], "no trace 'twni'; did you mean 'twin'?"),
        (["traces", "describe", "twin", "trace.m=3"], "trace: no parameter 'm'"),
        (["replay", tmp_path], f"{tmp_path}: not a run folder, it has no config.yaml"),
        (["explain", tmp_path, "1"], f"{tmp_path}: not a run folder, it has no config.yaml"),
        (["explain", tmp_path, "one"], "invalid int value: 'one'"),
    ):
        got = hcsim(*args)
        assert (got.status, got.out) == (2, ""), args
        assert said in got.err and got.err.startswith("hcsim: error: ") and got.err.count("\n") == 1, args


# -- processes of one's own --------------------------------------------------------------------------------------------

PROCESSES = """
from functools import partial
import simpy

def fails(world):
    yield world.timeout(5.0)
    raise KeyError("no such rack")

def yields(world):
    yield world.timeout(5.0)
    yield 3

def gives(world):
    world.fail(0)

def stops(world, after_s):
    yield world.timeout(after_s)
    try:
        yield world.event().fail(OSError("burnt"))
    except OSError:
        world.fail(0)

class Outage:
    def __init__(self, at_s):
        self.at_s = at_s
    def __call__(self, world):
        yield world.timeout(self.at_s)
        world.fail(1)
"""


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "procs.py").write_text(PROCESSES)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("procs", None)


METHOD = "[{{_target_: hydra.utils.get_method, path: {}}}]"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[x]", "executor.processes.0 is 'x', expected something to call"),
        ("x", "executor.processes is 'x', expected a list"),
        ("[{a: 1}]", "executor.processes.0 is {'a': 1}, expected something to call"),
        ("[{_target_: hcsim.perf.Perf}]", "executor.processes.0 is Perf("),
        ("[{_target_: procs.fials}]", "executor.processes.0._target_ is 'procs.fials', expected a name that can be"),
        ("[{_target_: procs.fails}]", "executor.processes"),
        (METHOD.format("procs.fials"), "executor.processes"),
        (METHOD.format("procs.fails"), "process fails raised KeyError: 'no such rack' at procs.py:7 (t = 5 s)"),
        (METHOD.format("procs.yields"), "process yields yields 3, expected an event (t = 5 s)"),
        (METHOD.format("procs.gives"), "process gives gives None, expected a generator of events"),
    ],
)
@pytest.mark.usefixtures("processes")
def test_a_process_that_cannot_be(tmp_path: Path, value: str, said: str) -> None:
    assert refused(tmp_path / "run", "trace.n=20", f"executor.processes={value}").startswith(said)


@pytest.mark.usefixtures("processes")
def test_processes_of_ones_own(tmp_path: Path) -> None:
    """A function with parameters that catches an event's failure, and an object that is called."""
    (tmp_path / "conf" / "executor").mkdir(parents=True)
    (tmp_path / "conf" / "executor" / "two.yaml").write_text(
        "_target_: hcsim.sim.Simulated\nprocesses:\n- {_target_: procs.stops, _partial_: true, after_s: 5}\n"
        "- {_target_: procs.Outage, at_s: 7}\n"
    )
    to = tmp_path / "run"
    said = hcsim("run", "trace.n=20", f"--config-dir={tmp_path / 'conf'}", "executor=two", f"hydra.run.dir={to}")
    assert (said.status, said.err) == (0, "")
    rows = Log.read(to / "log.parquet").array()
    down = rows[(rows["kind"] == Kind.NODE_DOWN) & (rows["time_s"] < 10)]
    assert down[["time_s", "subject"]].tolist() == [(5.0, 0), (7.0, 1)]
    assert hcsim("replay", to).status == 0


# -- configuration files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"_target_: hcsim.model.Fleet\nsites: [\n" + b"# far\n" * 120, ": line 123: expected the node content"),
        (b"_target_: hcsim.model.Fleet\nname: caf\xe9\n", ": line 2: not UTF-8 text"),
        (b"_target_: hcsim.model.Fleet\nname: a\x07b\n", ": unacceptable character #x0007"),
        (b"a: 1\na: 2\n", ": line 2: found duplicate key a"),
        (b"- one\n- two\n", "fleet"),
        (b"words\n", "fleet"),
        (b"_target_: hcsim.model.Fleet\nsites: [{name: a, pools: []}]\n",
         "fleet.sites.0 is {'name': 'a', 'pools': []}, expected the parameters of Site with _target_: hcsim.fleet."),
        (b"_target_: hcsim.model.Fleet\nsites: [{_target_: hcsim.model.Site, name: a, pools: [], kind: moon}]\n",
         "site 'a': kind 'moon' unknown; known: cloud, edge, owned"),
    ],
    ids=["unclosed", "latin-1", "bell", "twice", "list", "text", "no-target", "kind"],
)  # fmt: skip
def test_a_file_of_ones_own_that_cannot_be_read(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "conf" / "fleet" / "mine.yaml"
    path.parent.mkdir(parents=True)
    (path.parent / "good.yaml").write_text("_target_: hcsim.model.Fleet\n")
    path.write_bytes(text)
    for mode in ([], ["-m"]):
        got = hcsim("run", *mode, f"--config-dir={path.parent.parent}", "fleet=mine", f"hydra.run.dir={tmp_path}/run",
                    f"hydra.sweep.dir={tmp_path}/sweep")  # fmt: skip
        assert got.status == 2 and got.err.count("\n") == 1
        assert (f"{path}{said}" if said.startswith(":") else said) in got.err


def test_a_broken_file_hides_no_other_strategy(mine: Path) -> None:
    (mine / "strategy" / "unclosed.yaml").write_text("_target_: [\n")
    (mine / "strategy" / "latin.yaml").write_bytes(b"_target_: caf\xe9\n")
    for what in ("list", "check"):
        said = hcsim("strategies", what, "works", "unclosed", "latin", "fifo", f"--config-dir={mine}")
        lines = said.out.splitlines()
        assert said.status == 1 and said.err == ""
        assert [line.split()[0] for line in lines[:4]] == ["works", "unclosed", "latin", "fifo"]
        assert ["FAILED" in line for line in lines[:4]] == [False, True, True, False]
        assert f"{mine}/strategy/unclosed.yaml: line 2: " in lines[1]
        assert f"{mine}/strategy/latin.yaml: line 1: not UTF-8 text" in lines[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"fleet: {\n", "config.yaml: line 2: "),
        (b"fleet:\n  name: caf\xe9\n", "config.yaml: line 2: not UTF-8 text"),
        (b"- one\n", "config.yaml: a list, expected"),
        (b"words\n", "fleet is missing"),
        (b"", "fleet is missing"),
    ],
    ids=["unclosed", "latin-1", "list", "text", "empty"],
)
def test_a_kept_configuration_that_cannot_be_read(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "config.yaml").write_bytes(text)
    (tmp_path / "summary.json").write_text('{"jobs_sha256": "", "fleet_sha256": "", "log_sha256": ""}')
    out = tmp_path / "bill.csv"
    for args in (["replay", tmp_path], ["explain", tmp_path, 1], ["audit", tmp_path],
                 ["bill", "export", tmp_path, "--out", out]):  # fmt: skip
        got = hcsim(*args)
        assert (got.status, got.out) == (2, "") and got.err.count("\n") == 1 and said in got.err, args


def test_a_price_book_that_cannot_be_read(tmp_path: Path) -> None:
    for text, said in ((b"prices: [\n\n", "line 3: "), (b"title: caf\xe9\n", "line 1: not UTF-8 text")):
        (tmp_path / "book.yaml").write_bytes(text)
        got = hcsim("market", "show", tmp_path / "book.yaml")
        assert got.status == 2 and got.err.startswith(f"hcsim: error: {tmp_path}/book.yaml: {said}")


# -- strategies of one's own -------------------------------------------------------------------------------------------

MINE = """
from dataclasses import dataclass
from hcsim import Strategy, while_waiting

@dataclass(frozen=True)
class Works(Strategy):
    patience_s: float = float("inf")
    wake = while_waiting

    def decide(self, view):
        plan = view.plan()
        for job in plan.placeable(view.waiting):
            plan.place(job, plan.first_fit(job))
        return plan

@dataclass(frozen=True)
class Raises(Strategy):
    def decide(self, view):
        raise RuntimeError("two\\nlines") if view.decision > 2 else KeyError("at once")

@dataclass(frozen=True)
class Late(Works):
    def decide(self, view):
        if view.decision > 30:
            raise RuntimeError("two\\nlines")
        return super().decide(view)

@dataclass(frozen=True)
class Wrong(Strategy):
    def decide(self, view):
        return [1]

@dataclass(frozen=True)
class Illegal(Strategy):
    def decide(self, view):
        plan = view.plan()
        plan.place(next(iter(view.waiting)), ((99999, 1, 1000),))
        return plan

@dataclass(frozen=True)
class Wakes(Works):
    wake = "always"

@dataclass(frozen=True)
class Needs(Works):
    needs = "runtime"

class Bare(Works.__mro__[1]):
    def decide(self, view):
        return view.plan()

@dataclass(frozen=True)
class Picky(Strategy):
    share: float

    def __post_init__(self):
        raise ValueError("share must be even")

    def decide(self, view):
        return view.plan()
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of configuration with one strategy per class of a module in the current folder."""
    folder = tmp_path / "conf" / "strategy"
    folder.mkdir(parents=True)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    for name in ("Works", "Raises", "Late", "Wrong", "Illegal", "Bare", "Wakes", "Needs", "Picky", "Wroks"):
        (folder / f"{name.lower()}.yaml").write_text(f"_target_: mine.{name}\n")
    (folder / "broken.yaml").write_text("_target_: broken.Works\n")
    (folder / "nowhere.yaml").write_text("_target_: mien.Works\n")
    (folder / "notone.yaml").write_text("_target_: hcsim.perf.Perf\n")
    (folder / "notarget.yaml").write_text("share: 1\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "conf"
    for name in ("mine", "broken"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", r"strategy raises raised KeyError: 'at once' at \S+mine.py:\d+ \(decision 0, t = 0 s\)"),
        ("late", r"strategy late raised RuntimeError: two lines at \S+mine.py:\d+ \(decision \d+, t = \S+ s\)"),
        ("wrong", r"strategy wrong returned list, expected the Plan of view.plan\(\) \(decision 0"),
        ("illegal", r"strategy illegal was refused: illegal action: node 99999 does not exist, expected 0 to 54"),
        ("bare", r"strategy Bare is not decorated with @dataclass\(frozen=True\)"),
        ("wakes", r"strategy Wakes has wake = 'always', expected one of hcsim's wakes"),
        ("needs", r"strategy Needs has needs = 'runtime', expected a subset of"),
        ("picky", r"strategy: TypeError: .*missing 1 required positional argument: 'share'"),
        ("picky strategy.share=1", r"strategy: ValueError: share must be even"),
        ("wroks", r"strategy._target_ is 'mine.Wroks', expected a name that can be imported \(did you mean 'Works'"),
        ("nowhere", r"strategy._target_ is 'mien.Works', .*No module named 'mien'"),
        ("broken", r"strategy._target_ is 'broken.Works', .*No module named 'nothing_of_that_name'"),
        ("notone", r"strategy is Perf\(.*, which has no 'decide'"),
        ("notarget", r"strategy is \{'share': 1\}, which has no 'decide'"),
        ("works strategy.pacience_s=1", r"strategy: no parameter 'pacience_s'; did you mean 'patience_s'\?"),
    ],
)
def test_a_strategy_of_ones_own_at_fault(tmp_path: Path, mine: Path, name: str, said: str) -> None:
    line = refused(tmp_path / "run", "trace.n=50", f"--config-dir={mine}", *f"strategy={name}".split())
    assert re.match(said, line), line


def test_a_strategy_of_ones_own(tmp_path: Path, mine: Path) -> None:
    said = hcsim("run", "trace.n=50", f"--config-dir={mine}", "strategy=works", f"hydra.run.dir={tmp_path / 'run'}")
    assert (said.status, said.err) == (0, "")
    assert summary(tmp_path / "run")["jobs_finished"] == 50
    assert summary(tmp_path / "run")["strategy_params"] == {"patience_s": "inf"}  # JSON has no infinity
    assert hcsim("replay", tmp_path / "run").status == 0


def test_as_a_user_starts_it(tmp_path: Path, mine: Path) -> None:
    """In processes of their own: the strategy's module is found in the current folder, and errors look the same."""
    command = [sys.executable, "-c", "import sys; sys.path.remove(''); from hcsim.cli import main; main()", "run"]
    command += ["trace.n=50", "--config-dir=conf"]  # without the current folder, as the installed script is started
    started = [
        subprocess.Popen([*command, f"strategy={name}", f"hydra.run.dir=run_{name}"], stderr=subprocess.PIPE, text=True)
        for name in ("works", "raises")
    ]
    errors = [each.communicate()[1] for each in started]
    assert [each.returncode for each in started] == [0, 2]
    assert errors[0] == "" and errors[1].count("\n") == 1 and errors[1].startswith("hcsim: error: strategy raises")
    assert (tmp_path / "run_works" / "summary.json").is_file() and not (tmp_path / "run_raises").exists()
