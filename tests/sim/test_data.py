"""Where datasets and checkpoints are: caches with bounded room, replicas, cuts of the WAN, residency."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsim import Fleet, InputError, Jobs, Link, NodePool, Outage, Site
from hcsim.actions import Verb
from hcsim.audit import Audit, Breach
from hcsim.constraints import Rule
from hcsim.control import run
from hcsim.events import Kind
from hcsim.fleet import BILLING_MONTH_S, Tariff
from hcsim.ledger import bill
from hcsim.log import Log
from hcsim.replay import replay
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.fifo import Fifo
from tests.worlds import hybrid, jobs, play, refusals, script, story


def two(cache_bytes: float, **link: Any) -> Fleet:
    """Data at home, where nothing runs, and a site with a cache."""
    return Fleet(
        (Site("home", ()), Site("away", (NodePool("own", "A100", 4, 4),), cache_bytes=cache_bytes)),
        (Link("home", "away", **({"bytes_per_s": 1e9, "latency_s": 0.0} | link)),),
    )


@settings(max_examples=100)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=25),
    st.lists(st.integers(1, 6), min_size=6, max_size=6),
    st.integers(0, 12),
)
def test_a_cache_holds_what_was_used_last(uses: list[int], sizes: list[int], room: int) -> None:
    """Jobs one after the other, each on a dataset; hits and evictions are those of a textbook's LRU."""
    n = len(uses)
    work = Jobs.build(
        arrival_s=np.arange(n) * 100.0,
        duration_s=np.full(n, 10.0),
        dataset=uses,
        dataset_bytes=[sizes[d] * 1e9 for d in uses],
        dataset_site=np.zeros(n),
        dataset_sites=("home",),
    )
    rows = play(Fifo(), two(room * 1e9), work).array()
    carried = [int(r["subject"]) for r in rows[rows["kind"] == Kind.TRANSFERRED]]
    evicted = [float(r["value"]) for r in rows[rows["kind"] == Kind.EVICTED]]
    lru: OrderedDict[int, int] = OrderedDict()
    misses, out = [], []
    for job, dataset in enumerate(uses):
        if dataset in lru:
            lru.move_to_end(dataset)
        else:
            misses.append(job)
            lru[dataset] = sizes[dataset]
        while sum(lru.values()) > room and len(lru) > 1:  # while it runs its own copy stays
            out.append(lru.popitem(last=False)[1] * 1e9)
        if sum(lru.values()) > room:
            out.append(lru.popitem()[1] * 1e9)  # and goes when it has run, if there is no room for it
    assert carried == misses
    assert evicted == out


def test_a_copy_in_use_stays_beyond_the_room_and_goes_afterwards() -> None:
    work = jobs(
        (0.0, 100.0, 4), (0.0, 50.0, 4), dataset=[0, 1], dataset_bytes=[6e9, 6e9], dataset_site=[0, 0],
        dataset_sites=("home",),
    )  # fmt: skip
    log = play(Fifo(), two(10e9), work)
    # both come at 12 s; 12 GB stay while they run, at 62 the second has run and its copy goes
    assert story(log, "STAGED", "STARTED", "EVICTED") == [
        (12.0, "STAGED", 0),
        (12.0, "STAGED", 1),
        (12.0, "STARTED", 0),
        (12.0, "STARTED", 1),
        (62.0, "EVICTED", 1),
    ]


def test_a_copy_stays_while_its_job_waits_for_a_checkpoint() -> None:
    """The dataset is at hand; while the checkpoint is on its way another dataset comes that needs the room."""
    fleet = Fleet(
        (
            Site("home", (NodePool("here", "A100", 4, 1),)),
            Site("away", (NodePool("own", "A100", 4, 4),), cache_bytes=5e9),
        ),
        (Link("home", "away", 1e9, 0.0), Link("away", "home", 1e9, 0.0)),
    )
    work = jobs(
        (0.0, 100.0, 4), (0.0, 50.0, 4), dataset=[0, 1], dataset_bytes=[5e9, 5e9], dataset_site=[0, 0],
        dataset_sites=("home",), checkpoint_bytes=[20e9, 0.0],
    )  # fmt: skip
    acts = ((0.0, "stage", 0, 1), (6.0, "place", 0, 0), (10.0, "preempt", 0), (11.0, "place", 0, 1))
    log = play(script(*acts, (12.0, "place", 1, 2)), fleet, work)
    told = story(log, "EVICTED", "STARTED", "FINISHED")
    # the link is shared from 12 to 22; job 1 finishes at 72, and its copy goes rather than that of job 0
    assert told[:3] == [(6.0, "STARTED", 0), (22.0, "STARTED", 1), (36.0, "STARTED", 0)]
    assert next(each for each in told if each[1] == "EVICTED") == (72.0, "EVICTED", 1)


def test_concurrent_jobs_of_one_dataset_have_it_carried_once() -> None:
    work = jobs(*[(0.0, 10.0, 1)] * 3, dataset=[7] * 3, dataset_bytes=[5e9] * 3, dataset_site=[0] * 3,
                dataset_sites=("home",))  # fmt: skip
    log = play(Fifo(), two(inf), work)
    assert [s for s in story(log, "TRANSFERRING", "STARTED")] == [
        (0.0, "TRANSFERRING", 0),
        *((5.0, "STARTED", job) for job in range(3)),
    ]


def test_a_replica_that_is_cheaper_is_the_source_and_another_while_its_link_is_cut() -> None:
    sites = (Site("a", ()), Site("b", ()), Site("c", (NodePool("own", "A100", 4, 2),)))
    links = (Link("a", "c", 1e9, 0.0, 0.09), Link("b", "c", 1e9, 0.0, 0.02))
    cut = Outage("link", "b -> c", ((50.0, 60.0),))
    work = jobs((0.0, 10.0, 4), (50.0, 10.0, 4), dataset_bytes=[5e9, 5e9], dataset_site=[0, 0],
                dataset_sites=("a|b",))  # fmt: skip
    rows = play(Fifo(), Fleet(sites, links, outages=(cut,)), work).array()
    carried = rows[rows["kind"] == Kind.TRANSFERRED]
    assert list(zip(carried["time_s"].tolist(), carried["node"].tolist(), strict=True)) == [(5.0, 1), (55.0, 0)]


def test_a_home_needs_nothing_carried() -> None:
    work = jobs((0.0, 10.0, 4), dataset_bytes=[5e9], dataset_site=[0], dataset_sites=("home|cloud",))
    log = play(script((0.0, "place", 0, 1)), hybrid(boot_s=0.0), work)
    assert story(log, "TRANSFERRING", "STARTED") == [(0.0, "STARTED", 0)]


def test_what_is_under_way_waits_while_the_wan_is_cut() -> None:
    """5 GB at 1 GB/s from 0, cut from 2 to 102: they are there at 105."""

    def outage(world: Simulation) -> Generator[Any, Any, None]:
        yield world.timeout(2.0)
        world.cut(0)
        yield world.timeout(100.0)
        world.join(0)

    work = jobs((0.0, 10.0, 1), dataset_bytes=[5e9], dataset_site=[0], dataset_sites=("home",))
    log = play(Fifo(), two(inf), work, outage)
    assert story(log, "LINK_DOWN", "LINK_UP", "STARTED") == [
        (2.0, "LINK_DOWN", 0),
        (102.0, "LINK_UP", 0),
        (105.0, "STARTED", 0),
    ]


def test_what_was_carried_until_it_was_given_up_is_told() -> None:
    work = jobs((0.0, 10.0, 4), dataset_bytes=[50e9], dataset_site=[0], dataset_sites=("home",))
    rows = play(script((0.0, "place", 0, 0), (7.0, "preempt", 0)), two(inf), work).array()
    carried = rows[rows["kind"] == Kind.TRANSFERRED]
    assert carried["value"].tolist() == pytest.approx([7e9])


def test_a_checkpoint_may_not_go_where_its_job_may_not() -> None:
    """It moves with its job, and only so; the rule is the job's."""
    work = jobs((0.0, 100.0, 4), checkpoint_bytes=[2e9], residency=[0], residencies=("us",))
    log = play(script((0.0, "place", 0, 0), (10.0, "migrate", 0, 1)), hybrid(boot_s=0.0), work)
    assert refusals(log) == [(10.0, Verb.MIGRATE, 0, Rule.RESIDENCY)]
    assert story(log, "TRANSFERRING") == []


def test_jobs_of_one_dataset_agree_on_it() -> None:
    """Else a copy that one of them may have there would be where another's may not."""
    for column, values in (("residency", [0, -1]), ("dataset_bytes", [1e9, 2e9]), ("dataset_site", [0, 1])):
        columns: dict[str, Any] = {"dataset": [3, 3], "dataset_site": [0, 0], "dataset_bytes": [1e9, 1e9]}
        columns |= {column: values, "residencies": ("us",), "dataset_sites": ("home", "cloud")}
        with pytest.raises(InputError, match=rf"row 2: {column} is .*, expected the {column} of the other jobs"):
            jobs((0.0, 1.0, 1), (0.0, 1.0, 1), **columns)


def test_bytes_are_billed_in_the_month_in_which_they_went() -> None:
    """Two datasets of 6 TB set out 1,000 s before a month ends, at 1 GB/s each; the second's job gives up 500 s into
    the next. So 2 TB fall into the first month, of which one is free, and 5.5 TB into the second."""
    tariff = Tariff("t", ((2000.0, 0.1), (np.inf, 0.05)), free_gb=1000.0)
    pools = (NodePool("a", "A100", 4, 2), NodePool("b", "A100", 4, 2))
    links = (Link("home", "away", 2e9, 0.0, tariff="t"), Link("away", "home", 2e9, 0.0))
    fleet = Fleet((Site("home", pools[:1]), Site("away", pools[1:])), links, tariffs=(tariff,))
    begin_s = BILLING_MONTH_S - 1000.0
    work = jobs(
        (begin_s, 10.0, 4), (begin_s, 10.0, 4), dataset_site=[0, 0], dataset_bytes=[6e12] * 2, dataset_sites=("home",)
    )
    ends_s = BILLING_MONTH_S + 500.0
    acts = script(
        (begin_s, "place", 0, 2), (begin_s, "place", 1, 3), (ends_s, "preempt", 1), (ends_s + 1.0, "reject", 1)
    )
    log, state = Log(), State(fleet, work)
    run(Simulation(fleet, work), acts, state, log)
    rows = log.array()
    metered = rows[rows["kind"] == Kind.METERED]
    assert metered["subject"].tolist() == [0, 1] and metered["value"] == pytest.approx([1e12, 1e12])
    assert set(metered["time_s"] // BILLING_MONTH_S) == {0.0}
    ended = {int(r["subject"]): (r["time_s"], r["value"]) for r in rows[rows["kind"] == Kind.TRANSFERRED]}
    assert ended[1] == (ends_s, pytest.approx(0.5e12))
    # it has had 1.5 TB when it is alone, and the link then: 4.5 TB at 2 GB/s
    assert ended[0] == (pytest.approx(ends_s + 2250.0), pytest.approx(5e12))
    ledger = bill(rows, fleet)
    month = ledger.start_s // BILLING_MONTH_S
    usd = [ledger.usd[ledger.of("egress") & (month == m)].sum() for m in (0, 1)]
    assert usd == pytest.approx([1000 * 0.1, 1000 * 0.1 + 3500 * 0.05])
    audit = Audit(fleet, work)
    for row in rows.tolist():
        audit.see(row)
    audit.close()
    assert audit.data.egress_usd == pytest.approx(sum(usd))
    late = [row for row in rows.tolist() if row[1] != Kind.METERED]
    other = Audit(fleet, work)
    with pytest.raises(Breach, match="not METERED"):
        for row in late:
            other.see(row)
    assert dict(state.books.egress._gb) == pytest.approx({("t", 0): 2000.0, ("t", 1): 5500.0})
    assert replay(log, fleet, work, acts).sha256 == log.sha256


def _under_way(fleet: Fleet, work: Jobs, acts: Any, until_s: float) -> tuple[float, npt.NDArray[Any]]:
    """The egress of a run that ends with bytes under way, on which ledger, account, audit and replay agree; its log."""
    log, state = Log(), State(fleet, work)
    run(Simulation(fleet, work, until_s=until_s), acts, state, log)
    rows = log.array()
    ledger = bill(rows, fleet)
    usd = float(ledger.usd[ledger.of("egress")].sum())
    audit = Audit(fleet, work)
    for row in rows.tolist():
        audit.see(row)
    audit.close()
    assert audit.data.egress_usd == pytest.approx(usd)
    gb = sum(dict(state.books.egress._gb).values())
    assert gb * 0.1 == pytest.approx(usd)
    assert replay(log, fleet, work, acts).sha256 == log.sha256
    other = Audit(fleet, work)
    with pytest.raises(Breach, match="not METERED"):
        for row in rows[rows["kind"] != Kind.METERED].tolist():
            other.see(row)
        other.close()
    more = rows.copy()
    more["value"][more["kind"] == Kind.METERED] *= 1.5
    other = Audit(fleet, work)
    with pytest.raises(Breach, match="capacity of link"):
        for row in more.tolist():
            other.see(row)
        other.close()
    return usd, rows


@pytest.mark.parametrize("until_s", [5000.0, BILLING_MONTH_S + 5000.0])
def test_bytes_under_way_as_a_run_is_cut_are_billed(until_s: float) -> None:
    """10 TB set out at 1 GB/s 5,000 s before the run is cut, also where a billing month's end is in between."""
    begin_s = until_s - 5000.0
    work = jobs((begin_s, 10.0, 4), dataset_site=[0], dataset_bytes=[1e13], dataset_sites=("home",))
    usd, rows = _under_way(two(np.inf, usd_per_gb=0.1), work, Fifo(), until_s)
    assert usd == pytest.approx(500.0)
    assert [(r["time_s"], Kind(r["kind"])) for r in rows[-2:]] == [(until_s, Kind.METERED), (until_s, Kind.ENDED)]


def test_bytes_that_are_staged_for_a_job_that_is_rejected_are_billed() -> None:
    """The run ends with its only job, 2,000 s after the first byte: 2 TB."""
    work = jobs((0.0, 10.0, 4), dataset_site=[0], dataset_bytes=[1e13], dataset_sites=("home",))
    acts = script((0.0, "stage", 0, 1), (2000.0, "reject", 0))
    usd, rows = _under_way(two(np.inf, usd_per_gb=0.1), work, acts, np.inf)
    assert usd == pytest.approx(200.0)
    assert (rows["time_s"][-1], Kind(rows["kind"][-1])) == (2000.0, Kind.METERED)


def test_a_transfer_is_metered_at_the_end_of_a_month_or_of_the_log_alone() -> None:
    work = jobs((0.0, 10.0, 4), dataset_site=[0], dataset_bytes=[1e13], dataset_sites=("home",))
    audit = Audit(two(np.inf), work)
    audit.see((0.0, Kind.ARRIVED, 0, -1, 0.0, 0.0))
    audit.see((0.0, Kind.TRANSFERRING, 0, 0, 1e13, 1.0))
    audit.see((10.0, Kind.METERED, 0, 0, 1e10, 1.0))
    with pytest.raises(Breach, match="metered before"):
        audit.see((11.0, Kind.TRANSFERRED, 0, 0, 1e9, 1.0))
