"""What befalls nodes, sites, providers, links and jobs, and what is left of a job's work, against closed forms."""

from __future__ import annotations

from collections.abc import Generator
from math import inf
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from hcsim import Fleet, InputError, Jobs, Link, NodePool, Outage, Quota, Series, Site
from hcsim.audit import Audit
from hcsim.control import run
from hcsim.events import Kind
from hcsim.log import Log
from hcsim.metrics import Rows, job_table
from hcsim.sim import Simulated, Simulation
from hcsim.state import State
from hcsim.strategies.fifo import Fifo
from hcsim.strategies.first_fit import FirstFit
from tests.worlds import jobs, owned, play, script, starts, story


def inside(samples: list[float], exact: float) -> None:
    """The exact value lies in the 99 % interval of independent samples, which is not vacuous."""
    x = np.array(samples)
    half = student.ppf(0.995, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    assert abs(x.mean() - exact) <= half, f"{x.mean():.5g} ± {half:.2g}, exact {exact:.5g}"
    assert half < 0.2 * exact


def down_s(rows: Rows, down: Kind, up: Kind, until_s: float) -> dict[int, float]:
    """Seconds that each subject was down."""
    since: dict[int, float] = {}
    out: dict[int, float] = {}
    for t, kind, subject, *_ in rows.tolist():
        if kind == down:
            since[subject] = t
        elif kind == up and subject in since:
            out[subject] = out.get(subject, 0.0) + t - since.pop(subject)
    for subject, t in since.items():
        out[subject] = out.get(subject, 0.0) + until_s - t
    return out


def clouds(outage: Outage, nodes: int = 2) -> Fleet:
    """Two sites of one provider, one of another, owned so that nodes stay, every site linked to every other."""
    names = (("a", "p"), ("b", "p"), ("c", "q"))
    sites = tuple(Site(s, (NodePool(f"pool-{s}", "A100", 4, nodes),), provider=p) for s, p in names)
    links = tuple(Link(s, t, 1e9, 0.0) for s in "abc" for t in "abc" if s != t)
    return Fleet(sites, links, outages=(outage,))


# -- outages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "name", "nodes", "links"),
    [
        ("node", "pool-b/1", {3}, set()),
        ("site", "a", {0, 1}, {"a -> b", "a -> c", "b -> a", "c -> a"}),
        ("provider", "p", {0, 1, 2, 3}, {"a -> b", "a -> c", "b -> a", "b -> c", "c -> a", "c -> b"}),
        ("link", "a -> c", set(), {"a -> c"}),
    ],
)
def test_windows_take_down_what_they_name_and_nothing_else(
    scope: Any, name: str, nodes: set[int], links: set[str]
) -> None:
    fleet = clouds(Outage(scope, name, ((10.0, 30.0), (50.0, 60.0))))
    rows = play(Fifo(), fleet, jobs((0.0, 5.0, 1), (100.0, 5.0, 1))).array()
    assert down_s(rows, Kind.NODE_DOWN, Kind.NODE_UP, 100.0) == dict.fromkeys(nodes, 30.0)
    found = down_s(rows, Kind.LINK_DOWN, Kind.LINK_UP, 100.0)
    assert {f"{fleet.links[k].source} -> {fleet.links[k].target}": s for k, s in found.items()} == dict.fromkeys(
        links, 30.0
    )
    downs = rows[np.isin(rows["kind"], [Kind.NODE_DOWN, Kind.LINK_DOWN])]["time_s"]
    assert set(downs.tolist()) == {10.0, 50.0}


@pytest.mark.parametrize(
    ("scope", "name"), [("node", "pool-a/0"), ("site", "a"), ("provider", "q"), ("link", "a -> b")]
)
def test_random_outages_are_an_alternating_renewal_process(scope: Any, name: str) -> None:
    """Availability is mean up over mean up and down (Ross, Stochastic Processes, 2nd ed., theorem 3.4.4)."""
    up_s, repair_s, horizon_s = 5000.0, 1500.0, 4e6
    fleet = clouds(Outage(scope, name, mtbf_s=up_s, repair_s=repair_s), nodes=1)
    kinds = (Kind.LINK_DOWN, Kind.LINK_UP) if scope == "link" else (Kind.NODE_DOWN, Kind.NODE_UP)
    shares = []
    for seed in range(12):
        work, log = jobs((0.0, 1.0, 4), (horizon_s, 1.0, 4)), Log()
        run(Simulation(fleet, work, seed=seed, until_s=horizon_s), Fifo(), State(fleet, work), log)
        found = down_s(log.array(), *kinds, horizon_s)
        shares += [1 - next(iter(found.values())) / horizon_s]
    inside(shares, up_s / (up_s + repair_s))


def test_what_is_rented_in_a_site_that_is_down_is_gone_and_cannot_be_rented_again_until_it_is_up() -> None:
    rented = NodePool("rent", "A100", 4, 2, 4.0, "on_demand", boot_s=100.0, idle_release_s=0.0)
    fleet = Fleet((Site("cloud", (rented,)),), outages=(Outage("site", "cloud", ((150.0, 1000.0),)),))
    # job 0 runs from 100; job 1 arrives at 60 and its node boots when the site goes down
    work = jobs((0.0, 500.0, 4), (60.0, 50.0, 4), checkpoint_interval_s=[20.0, inf])
    log = play(Fifo(), fleet, work)
    assert story(log, "NODE_UP", "NODE_DOWN", "NODE_OFF", "LOST")[:5] == [
        (100.0, "NODE_UP", 0),
        (150.0, "NODE_DOWN", 0),
        (150.0, "LOST", 0),
        (150.0, "NODE_OFF", 1),
        (150.0, "LOST", 1),
    ]
    assert starts(log)[1] == 1100.0
    assert sorted(t for t, *_ in story(log, "FINISHED")) == [1150.0, 1100.0 + 500.0 - 40.0]


@pytest.mark.parametrize(
    ("arrival_s", "boot_s", "up_s"),
    [
        (200.0, 50.0, 500.0),  # off at the outage's beginning, rented during it: it comes when that is over
        (200.0, 0.0, 500.0),
        (200.0, 400.0, 600.0),  # it would have come later anyway
        (80.0, 50.0, 500.0),  # it boots when the outage begins: that boot comes to nothing, the next is late
        (500.0, 50.0, 550.0),
    ],
)
def test_no_rented_node_comes_up_during_its_outage(arrival_s: float, boot_s: float, up_s: float) -> None:
    pool = NodePool("rent", "A100", 4, 1, 1.0, "on_demand", boot_s=boot_s)
    outages = (Outage("node", "rent/0", ((100.0, 500.0),)), Outage("node", "rent/0", ((150.0, 300.0),)))
    fleet = Fleet((Site("cloud", (pool,)),), outages=outages)
    log = play(FirstFit(), fleet, jobs((arrival_s, 10.0, 4)))
    assert story(log, "NODE_UP", "STARTED", "FINISHED") == [
        (up_s, "NODE_UP", 0),
        (up_s, "STARTED", 0),
        (up_s + 10.0, "FINISHED", 0),
    ]


def test_one_that_is_given_back_before_its_outage_is_over_never_comes() -> None:
    pool = NodePool(
        "rent", "A100", 4, 1, 1.0, "spot", boot_s=5.0, stock=Series([0.0, 300.0], [1.0, 0.0], beyond="hold")
    )
    fleet = Fleet((Site("cloud", (pool,)),), outages=(Outage("node", "rent/0", ((100.0, 500.0),)),))
    log = play(FirstFit(), fleet, jobs((200.0, 10.0, 4)))
    assert story(log, "NODE_UP", "NODE_OFF", "STARTED") == [(300.0, "NODE_OFF", 0)]


def test_an_outage_of_the_provider_outlasts_one_of_its_site() -> None:
    fleet = owned(1, 4)
    both = (Outage("site", "home", ((10.0, 40.0),)), Outage("provider", "owned", ((20.0, 70.0),)))
    fleet = Fleet(fleet.sites, outages=both)
    log = play(Fifo(), fleet, jobs((0.0, 100.0, 4)))
    assert story(log, "NODE_DOWN", "NODE_UP") == [(10.0, "NODE_DOWN", 0), (70.0, "NODE_UP", 0)]


@pytest.mark.parametrize(("scope", "name", "said"), [
    ("node", "pool-x/0", "no pool 'pool-x'; did you mean 'pool-"),
    ("node", "pool-a/7", "does not exist, expected pool-a/0 to pool-a/1"),
    ("site", "d", "no site 'd'"),
    ("zone", "a", "scope 'zone' unknown"),
])  # fmt: skip
def test_an_outage_of_what_does_not_exist_is_refused(scope: Any, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        clouds(Outage(scope, name, ((1.0, 2.0),)))


# -- jobs that fail by themselves ------------------------------------------------------------------------------------


def test_a_job_that_crashes_takes_as_long_as_the_renewal_equation_says() -> None:
    """Without checkpoints, work W under Poisson failures of rate r takes (exp(r W) - 1) / r on average and fails
    exp(r W) - 1 times, each of which adds a restart (which cannot fail here)."""
    mtbf_s, work_s, restart_s, n = 2000.0, 1500.0, 30.0, 600
    work = jobs(*[(0.0, work_s, 1)] * n, restart_s=[restart_s] * n)
    fleet = owned(n, 1)
    log = Log()
    run(Simulation(fleet, work, job_mtbf_s=mtbf_s), FirstFit(), State(fleet, work), log)
    rows = log.array()
    taken = job_table(rows, work, fleet)["jct_s"]
    crashes = np.exp(work_s / mtbf_s) - 1
    inside(taken.tolist(), mtbf_s * crashes + restart_s * crashes)
    assert (rows["kind"] == Kind.LOST).sum() / n == pytest.approx(crashes, rel=0.1)
    assert (rows["node"][rows["kind"] == Kind.LOST] == -1).all()


def test_crashes_come_with_time_run_not_with_gpus_or_placements() -> None:
    """The rate does not depend on the gang, and a job that is stopped has as long to go as before."""
    n = 400
    counts = []
    for gpus, acts in ((1, False), (8, False), (1, True)):
        work = jobs(*[(0.0, 5000.0, gpus)] * n, checkpoint_interval_s=[1.0] * n)
        fleet = owned(n, gpus)
        stops = [(100.0 * k, "preempt", job) for k in range(1, 4) for job in range(n)] if acts else []
        log = Log()
        run(Simulation(fleet, work, job_mtbf_s=10_000.0), script(*stops, fit=True), State(fleet, work), log)
        counts.append(int((log.array()["kind"] == Kind.LOST).sum()))
    assert counts[0] == counts[1] == pytest.approx(n / 2, rel=0.25)
    assert counts[2] == pytest.approx(counts[0], abs=0.02 * n)  # but for what a stop of each kind rounds away


def test_crashes_can_be_switched_off() -> None:
    fleet, work = owned(1, 1), jobs((0.0, 1e6, 1))
    world = Simulated(job_mtbf_s=100.0, without=["crashes"])
    log = Log()
    run(world.start(*world.world(fleet, work), State(fleet, work).books.perf, 0), Fifo(), State(fleet, work), log)
    assert story(log, "LOST") == [] and story(log, "FINISHED") == [(1e6, "FINISHED", 0)]


# -- checkpoints -----------------------------------------------------------------------------------------------------


def test_writing_periodic_checkpoints_stops_the_work() -> None:
    """100 s of work, 2 s after each 30 s: three of them; told as time that was no work."""
    work = jobs((0.0, 100.0, 1), checkpoint_interval_s=[30.0], checkpoint_stall_s=[2.0])
    rows = play(Fifo(), owned(1, 1), work).array()
    done = rows[rows["kind"] == Kind.FINISHED]
    assert (done["time_s"][0], done["value"][0]) == (106.0, 6.0)


@pytest.mark.parametrize(("at_s", "lost_s", "end_s"), [
    (31.0, 31.0, 137.0),  # while it writes the first: nothing is safe
    (32.0, 2.0, 106.0),  # the first is whole: 30 of 32 s were work; 70 s and two more checkpoints are left
    (70.0, 10.0, 112.0),  # 60 of 70 s are safe, four of them were writing; 40 s and one checkpoint are left
])  # fmt: skip
def test_a_failure_falls_back_to_the_last_whole_checkpoint(at_s: float, lost_s: float, end_s: float) -> None:
    def failure(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(at_s)
        world.fail(0)
        world.repair(0)

    work = jobs((0.0, 100.0, 1), checkpoint_interval_s=[30.0], checkpoint_stall_s=[2.0])
    rows = play(Fifo(), owned(1, 1), work, failure).array()
    assert rows["value"][rows["kind"] == Kind.LOST].tolist() == [lost_s]
    assert rows["time_s"][rows["kind"] == Kind.FINISHED].tolist() == [end_s]


@pytest.mark.parametrize("mtbf_s", [3000.0, 12_000.0])
def test_checkpointed_work_under_failures_takes_as_long_as_dalys_equation_says(mtbf_s: float) -> None:
    """Each segment of interval + stall takes (exp(r (interval + stall)) - 1) / r on average (Daly 2006, section 3; no
    restart time)."""
    interval_s, stall_s, n, segments = 600.0, 60.0, 300, 6
    work = jobs(*[(0.0, interval_s * segments, 1)] * n, checkpoint_interval_s=[interval_s] * n,
                checkpoint_stall_s=[stall_s] * n)  # fmt: skip
    fleet = owned(n, 1)
    log = Log()
    run(Simulation(fleet, work, job_mtbf_s=mtbf_s), FirstFit(), State(fleet, work), log)
    expected = segments * mtbf_s * (np.exp((interval_s + stall_s) / mtbf_s) - 1)
    inside(job_table(log.array(), work, fleet)["jct_s"].tolist(), expected)


# -- elastic jobs ----------------------------------------------------------------------------------------------------


def failing(*at: tuple[float, int]) -> Any:
    def process(world: Simulation) -> Generator[Any, Any, None]:
        for time_s, node in at:
            yield world.timeout(time_s - world.now)
            world.fail(node)

    return process


def gang(least: int, **columns: Any) -> Jobs:
    return jobs((0.0, 1000.0, 8), min_gpus=[least], max_gpus=[8], checkpoint_interval_s=[100.0], **columns)


def test_an_elastic_job_goes_on_with_the_nodes_that_are_left() -> None:
    """Eight GPUs on four nodes of two; one goes at 250: from 200 s of work on at (6/8) ** 0.9, after its restart."""
    log = play(script(fit=True), owned(4, 2), gang(4, restart_s=[10.0]), failing((250.0, 3)))
    rows = log.array()
    assert rows["value"][rows["kind"] == Kind.SHRUNK].tolist() == [50.0]
    assert story(log, "LOST") == []
    assert story(log, "STARTED", "FINISHED")[1] == (260.0, "STARTED", 0)
    assert story(log, "FINISHED")[0][0] == pytest.approx(260.0 + 800.0 / 0.75**0.9)


@pytest.mark.parametrize("restart_s", [0.0, 10.0])
def test_several_nodes_may_go_at_once(restart_s: float) -> None:
    log = play(script(fit=True), owned(4, 2), gang(4, restart_s=[restart_s]), failing((250.0, 3), (250.0, 0)))
    assert [kind for _, kind, _ in story(log, "SHRUNK", "STARTED", "LOST")] == [
        "STARTED",
        "SHRUNK",
        "SHRUNK",
        "STARTED",
    ]
    assert story(log, "FINISHED")[0][0] == pytest.approx(250.0 + restart_s + 800.0 / 0.5**0.9)


def test_it_shrinks_again_while_it_restarts_and_restarts_anew() -> None:
    log = play(script(fit=True), owned(4, 2), gang(4, restart_s=[10.0]), failing((250.0, 3), (255.0, 0)))
    assert [t for t, *_ in story(log, "STARTED")] == [0.0, 265.0]
    assert story(log, "FINISHED")[0][0] == pytest.approx(265.0 + 800.0 / 0.5**0.9)


def test_it_is_lost_when_too_little_is_left_and_a_rigid_one_always() -> None:
    log = play(script((0.0, "place", 0, tuple((n, 3, 1000) for n in range(4)))), owned(4, 2), gang(6),
               failing((250.0, 3), (250.0, 0)))  # fmt: skip
    assert [kind for _, kind, _ in story(log, "SHRUNK", "LOST")] == ["SHRUNK", "LOST"]
    log = play(script((0.0, "place", 0, tuple((n, 3, 1000) for n in range(4)))), owned(4, 2),
               jobs((0.0, 1000.0, 8)), failing((250.0, 3)))  # fmt: skip
    assert [kind for _, kind, _ in story(log, "SHRUNK", "LOST")] == ["LOST"]


def test_it_shrinks_while_its_data_is_on_the_way() -> None:
    fleet = Fleet((Site("home", ()), Site("away", (NodePool("own", "A100", 2, 4),))), (Link("home", "away", 1e9, 0.0),))
    work = gang(4, dataset_bytes=[100e9], dataset_site=[0], dataset_sites=("home",))
    log = play(script(fit=True), fleet, work, failing((50.0, 3)))
    assert story(log, "TRANSFERRING", "SHRUNK", "STARTED") == [
        (0.0, "TRANSFERRING", 0),
        (50.0, "SHRUNK", 0),
        (100.0, "STARTED", 0),
    ]
    assert story(log, "FINISHED")[0][0] == pytest.approx(100.0 + 1000.0 / 0.75**0.9)


def test_its_dataset_stays_where_it_goes_on() -> None:
    """Also where there is no room for it in the cache, but while the job runs."""
    away = Site("away", (NodePool("own", "A100", 2, 4),), cache_bytes=0.0)
    fleet = Fleet((Site("home", ()), away), (Link("home", "away", 1e9, 0.0),))
    work = gang(4, dataset_bytes=[1e9], dataset_site=[0], dataset_sites=("home",))
    log = play(script(fit=True), fleet, work, failing((50.0, 3)))
    finish_s = story(log, "FINISHED")[0][0]
    assert story(log, "EVICTED") == [(finish_s, "EVICTED", 0)]


@pytest.mark.parametrize("limit", [{"quotas": (Quota(gpus=4),)}, {}], ids=["quota", "stock"])
def test_a_rented_node_that_is_down_holds_no_quota_and_no_stock(limit: dict[str, Any]) -> None:
    """One node may be rented. The first fails at 100; the job goes on at once on the second, and nothing breaks when
    the first is repaired at 300 while the quota is used up."""

    def failure(world: Simulation) -> Any:
        yield world.timeout(100.0)
        world.fail(0)
        yield world.timeout(200.0)
        world.repair(0)

    more = {} if limit else {"stock": Series([0.0], [1.0], 1e9, "hold")}
    pool = NodePool("rent", "A100", 4, 2, 4.0, "on_demand", idle_release_s=50.0, **more)
    fleet = Fleet((Site("cloud", (pool,)),), **limit)
    work = jobs((0.0, 500.0, 4), (0.0, 500.0, 4))
    log = play(Fifo(), fleet, work, failure)
    assert story(log, "STARTED", "NODE_OFF", "FINISHED")[:4] == [
        (0.0, "STARTED", 0), (100.0, "STARTED", 0), (300.0, "NODE_OFF", 0), (600.0, "FINISHED", 0),
    ]  # fmt: skip
    audit = Audit(fleet, work)
    for row in log.array().tolist():
        audit.see(row)
    audit.close()
