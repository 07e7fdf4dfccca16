"""Two strategies under one seed face the same world, however differently they act on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hcsim import Fleet, Jobs, Link, NodePool, Plan, Site, Strategy, View, while_waiting
from hcsim.events import Kind
from hcsim.sim.nodes import SLOT_S
from hcsim.strategies.first_fit import FirstFit
from hcsim.strategies.random_fit import RandomFit
from hcsim.traces.twin import Twin
from tests.worlds import play


class CloudFirst(Strategy):
    """Rents before it uses what is owned, and boots nodes that nobody asked for."""

    wake = while_waiting

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        plan.provision(1, 1)
        for job in plan.placeable(view.waiting, (1, 0)):
            plan.place(job, plan.first_fit(job, (1, 0)))
        return plan


def world() -> tuple[Fleet, Jobs]:
    fleet = Fleet(
        (
            Site("own", (NodePool("own", "A100", 8, 4, 1.0, mtbf_s=80_000.0, repair_s=5_000.0),)),
            Site("cloud", (NodePool("rent", "A100", 8, 6, 4.0, "on_demand", boot_s=200.0, boot_cv=0.5),)),
        ),
        (Link("own", "cloud"), Link("cloud", "own")),
    )
    work = Twin(n=400, gpus=60, max_gang=8).jobs(3)
    return fleet, Jobs.build(arrival_s=work.arrival_s, duration_s=work.duration_s, gpus=work.gpus)


def test_same_arrivals_run_times_failures_and_boot_delays() -> None:
    fleet, work = world()
    logs = [play(s, fleet, work, seed=5).array() for s in (FirstFit(), CloudFirst(), RandomFit())]
    placements = []
    arrivals, failures, boots = [], [], []
    for rows in logs:
        arrived = rows[rows["kind"] == Kind.ARRIVED]
        arrivals.append(list(zip(arrived["subject"].tolist(), arrived["time_s"].tolist(), strict=True)))
        down = rows[rows["kind"] == Kind.NODE_DOWN]
        failures.append(set(zip(down["subject"].tolist(), down["time_s"].tolist(), strict=True)))
        placed = rows[rows["kind"] == Kind.PLACED]
        placements.append(dict(zip(placed["subject"].tolist(), placed["node"].tolist(), strict=True)))
        asked: dict[int, float] = {}
        delays: dict[tuple[int, int], float] = {}
        for t, kind, node in zip(rows["time_s"].tolist(), rows["kind"].tolist(), rows["subject"].tolist(), strict=True):
            if kind == Kind.PROVISIONING:
                asked[node] = t
            elif kind == Kind.NODE_UP and node in asked:
                start = asked.pop(node)
                delays[node, int(start // SLOT_S)] = t - start
        boots.append(delays)
    assert placements[0] != placements[1] != placements[2]
    assert arrivals[0] == arrivals[1] == arrivals[2]
    # owned nodes fail at the same times until a run ends
    end_s = min(float(rows["time_s"][-1]) for rows in logs)
    until = [{(node, t) for node, t in f if t < end_s} for f in failures]
    assert until[0] == until[1] == until[2] and len(until[0]) > 5
    assert len({round(d, 6) for d in boots[1].values()}) > 10


@dataclass(frozen=True)
class Boots(Strategy):
    """Asks for some nodes at the first arrival."""

    count: int

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        if view.decision == 0:
            plan.provision(1, self.count)
        return plan


def test_a_node_asked_for_in_the_same_slot_boots_as_long_whoever_asks_and_for_how_many() -> None:
    fleet, work = world()
    boots = []
    for count in (3, 6):
        rows = play(Boots(count), fleet, work, seed=5).array()
        up = rows[(rows["kind"] == Kind.NODE_UP) & (rows["subject"] >= 4)]
        boots.append(dict(zip(up["subject"].tolist(), up["time_s"].tolist(), strict=True)))
    assert set(boots[0]) == {4, 5, 6} and set(boots[1]) == {4, 5, 6, 7, 8, 9}
    assert all(boots[0][node] == boots[1][node] for node in boots[0])
    assert len(set(boots[1].values())) == 6


def test_uninterrupted_jobs_run_as_long_under_every_strategy() -> None:
    fleet, work = world()
    runs = []
    for strategy in (FirstFit(), CloudFirst()):
        rows = play(strategy, fleet, work, seed=5).array()
        start = {int(r["subject"]): float(r["time_s"]) for r in rows[rows["kind"] == Kind.STARTED]}
        lost = set(rows[rows["kind"] == Kind.LOST]["subject"].tolist())
        end = {int(r["subject"]): float(r["time_s"]) for r in rows[rows["kind"] == Kind.FINISHED]}
        runs.append({job: end[job] - start[job] for job in end if job not in lost})
    both = set(runs[0]) & set(runs[1])
    assert len(both) > 300
    for job in both:
        assert np.isclose(runs[0][job], runs[1][job])
        assert np.isclose(runs[0][job], work.duration_s[job])
