"""The engine against closed forms: inside a 99 % interval over independent replications, exact for schedules."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import t as student

from hcsim import Fleet, Jobs, Link, NodePool, Site
from hcsim.control import run
from hcsim.events import Kind
from hcsim.log import Log
from hcsim.metrics import job_table
from hcsim.rng import exponential, stream, uniforms
from hcsim.sim import Simulation
from hcsim.state import State
from hcsim.strategies.fifo import Fifo
from hcsim.strategy import Strategy
from tests.worlds import jobs as few
from tests.worlds import owned, play

pytestmark = pytest.mark.shared
Floats = npt.NDArray[np.float64]
SEEDS = range(12)
N, WARM = 12_000, 2_000


def value(reference: Path, case: str, parameters: str, metric: str) -> float:
    """A cell of the table of closed forms."""
    with (reference / "oracles" / "analytic_oracles.csv").open() as file:
        found = [
            r for r in csv.DictReader(file) if (r["case"], r["parameters"], r["metric"]) == (case, parameters, metric)
        ]
    assert len(found) == 1, (case, parameters, metric)
    return float(found[0]["value"])


def draws(seed: int, name: str, n: int = N) -> Floats:
    return uniforms(seed, stream(name), np.arange(n))


def poisson(seed: int, rate: float) -> Floats:
    return np.cumsum(-np.log(draws(seed, "arrival")) / rate)


def exponentials(seed: int, mean: float = 1.0) -> Floats:
    return -mean * np.log(draws(seed, "service"))


def hyper(seed: int, scv: float) -> Floats:
    """Two-phase hyperexponential with balanced means, mean 1."""
    p = (1 + np.sqrt((scv - 1) / (scv + 1))) / 2
    first = draws(seed, "phase") < p
    return -np.log(draws(seed, "service")) / np.where(first, 2 * p, 2 * (1 - p))


def waits(servers: int, arrival: Floats, service: Floats, strategy: Strategy | None = None) -> Floats:
    """Queueing delays after the warm-up in a pool of one-GPU nodes."""
    work = Jobs.build(arrival_s=arrival, duration_s=service)
    fleet = owned(servers, 1)
    log = play(strategy or Fifo(), fleet, work)
    return job_table(log.array(), work, fleet)["queue_delay_s"][WARM:]


def inside(samples: list[float], exact: float) -> None:
    """The exact value lies in the 99 % interval of independent replications, and the interval is not vacuous."""
    x = np.array(samples)
    half = student.ppf(0.995, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    assert abs(x.mean() - exact) <= half, f"{x.mean():.5g} ± {half:.2g}, exact {exact:.5g}"
    assert half < 0.35 * max(exact, 0.02), f"an interval of ± {half:.2g} says nothing about {exact:.5g}"


@pytest.mark.parametrize(("lam", "c"), [(0.8, 1), (7.0, 8), (45.0, 50), (1.6, 2)])
def test_m_m_c(shared_reference: Path, lam: float, c: int) -> None:
    samples = [waits(c, poisson(s, lam), exponentials(s)) for s in SEEDS]
    parameters = f"lam={lam:g} mu=1 c={c}"
    inside([float(w.mean()) for w in samples], value(shared_reference, "M/M/c", parameters, "Wq"))
    inside([float((w > 1e-9).mean()) for w in samples], value(shared_reference, "M/M/c", parameters, "P(wait)"))
    if c < 50:  # at c = 50 a wait above 1 is too rare for these lengths
        inside([float((w > 1).mean()) for w in samples], value(shared_reference, "M/M/c", parameters, "P(Wq>1)"))


@pytest.mark.parametrize(
    ("case", "parameters", "scv"),
    [
        ("PK M/D/1", "lam=0.8 E[S]=1 scv=0", 0.0),
        ("PK M/M/1", "lam=0.8 E[S]=1 scv=1", 1.0),
        ("PK M/G/1 hyperexp scv=4", "lam=0.8 E[S]=1 scv=4", 4.0),
    ],
)
def test_m_g_1(shared_reference: Path, case: str, parameters: str, scv: float) -> None:
    service = {0.0: lambda s: np.ones(N), 1.0: exponentials, 4.0: lambda s: hyper(s, 4.0)}[scv]
    inside([float(waits(1, poisson(s, 0.8), service(s)).mean()) for s in range(24)],
           value(shared_reference, case, parameters, "Wq"))  # fmt: skip


@pytest.mark.parametrize(("a", "c"), [(40.0, 50), (8.0, 8)])
@pytest.mark.parametrize("law", ["exponential", "deterministic"])
def test_burst_when_full(shared_reference: Path, a: float, c: int, law: str) -> None:
    """Own c one-GPU nodes, else a cloud without limit: Erlang B, whatever the law of service."""
    case = "M/G/c/c burst (Erlang B, insensitive)"
    exact = value(shared_reference, case, f"a={a:g} c={c}", "P(burst to cloud)")
    rented = NodePool("rent", "A100", 1, 200, 4.0, "on_demand", idle_release_s=0.0)
    fleet = Fleet(
        (Site("home", (NodePool("own", "A100", 1, c, 1.0),)), Site("cloud", (rented,), kind="cloud")),
        (Link("home", "cloud"), Link("cloud", "home")),
    )
    shares, busy = [], []
    for s in SEEDS:
        service = exponentials(s) if law == "exponential" else np.ones(N)
        work = Jobs.build(arrival_s=poisson(s, a), duration_s=service)
        rows = play(Fifo(), fleet, work).array()
        burst = np.zeros(N, bool)
        placed = rows[rows["kind"] == Kind.PLACED]
        burst[placed["subject"][placed["node"] >= c]] = True
        shares.append(float(burst[WARM:].mean()))
        busy.append(float(service[WARM:][burst[WARM:]].sum() / (work.arrival_s[-1] - work.arrival_s[WARM])))
    inside(shares, exact)
    if c == 8:
        inside(
            busy, value(shared_reference, "M/G/c/c burst", f"a={a:g} c={c}", "E[cloud busy servers], infinite cloud")
        )


def test_provisioning_delay(shared_reference: Path) -> None:
    fleet = Fleet((Site("cloud", (NodePool("rent", "A100", 8, 1, 4.0, "on_demand", boot_s=300.0),)),))
    log = play(Fifo(), fleet, few((0, 3600, 8)))
    exact = value(shared_reference, "Provision delay, 1 job", "deterministic D=300s run=3600s", "makespan")
    assert log.frame()["time_s"].max() == exact


def test_availability_of_a_failing_node(shared_reference: Path) -> None:
    exact = value(shared_reference, "Alternating renewal availability", "up=6h exp, down=0.2h", "fraction")
    fleet = owned(20, 1, mtbf_s=6 * 3600.0, repair_s=0.2 * 3600.0)
    horizon_s = 200 * 86400.0
    samples = []
    for seed in range(10):
        work = few((0, 1e12, 1))
        log = Log()
        run(Simulation(fleet, work, seed=seed, until_s=horizon_s), Fifo(), State(fleet, work), log)
        rows = log.array()
        down_s = np.zeros(20)
        since: dict[int, float] = {}
        for t, kind, node in zip(rows["time_s"].tolist(), rows["kind"].tolist(), rows["subject"].tolist(), strict=True):
            if kind == Kind.NODE_DOWN:
                since[node] = t
            elif kind == Kind.NODE_UP:
                down_s[node] += t - since.pop(node)
        samples.append(1 - down_s.sum() / (20 * horizon_s))
    inside(samples, exact)


@pytest.mark.parametrize(("mtbf_h", "tau_h", "parameters"), [
    (6.0, 1.0, "W=48h MTBF=6h tau=1.000000 ckpt=0.05 R=0.2 (R killable)"),
    (24.0, 1.0, "W=48h MTBF=24h tau=1.000000 ckpt=0.05 R=0.2 (R killable)"),
])  # fmt: skip
def test_checkpointed_work_under_kills(shared_reference: Path, mtbf_h: float, tau_h: float, parameters: str) -> None:
    """W hours of work in intervals of tau plus the time of its checkpoint, on nodes that fail and are back at once.

    Writing a periodic checkpoint takes no time of its own in this engine, so its time is made part of the work: each
    interval of tau + delta hours of run is safe when it is complete, which is what the formula charges.
    """
    exact = value(shared_reference, "Spot Poisson kills, checkpointed", parameters, "E[T]")
    hour, delta_h = 3600.0, 0.05
    fleet = owned(150, 1, mtbf_s=mtbf_h * hour, repair_s=1e-6)
    n = 150
    work = Jobs.build(
        arrival_s=np.zeros(n),
        duration_s=np.full(n, 48 / tau_h * (tau_h + delta_h) * hour),
        checkpoint_interval_s=np.full(n, (tau_h + delta_h) * hour),
        restart_s=np.full(n, 0.2 * hour),
    )
    samples = []
    for seed in range(20):
        log = play(Fifo(), fleet, work, seed=seed)
        samples.append(float(job_table(log.array(), work, fleet)["jct_s"].mean() / hour))
    inside(samples, exact)


def test_exponential_variates_have_their_mean() -> None:
    u = draws(0, "check", 200_000)
    assert np.mean([exponential(2.0, x) for x in u[:50_000].tolist()]) == pytest.approx(2.0, rel=0.02)
    assert u.mean() == pytest.approx(0.5, abs=0.003)
