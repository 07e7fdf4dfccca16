"""Egress prices by volume per month, where a known broker (SkyPilot 0.14.1) loses the lower tiers at each bound.

Prices of AWS to the internet, GB in binary units. Each volume is a dataset that a run carries, and what is compared is
the run's bill. The reference is the charge by marginal tiers without the free first GB. Below the first bound the
broker's own figure is right and is compared with too; it takes the free GB off.
"""

from __future__ import annotations

from math import inf

import numpy as np

from hcsim.control import run
from hcsim.fleet import Tariff
from hcsim.ledger import bill
from hcsim.log import Log
from hcsim.model import Fleet, Jobs, Link, NodePool, Site
from hcsim.perf import Perf
from hcsim.repro.table import Row, Said, reference
from hcsim.sim import Simulated
from hcsim.state import State
from hcsim.strategies.first_fit import FirstFit

about = "marginal egress tiers per month, where SkyPilot 0.14.1 loses the lower ones (its catalogue's prices of AWS)"
takes = "a second"
AWS_TIERS = ((10_240.0, 0.09), (51_200.0, 0.085), (153_600.0, 0.07), (inf, 0.05))

#: The reference is rounded to cents: half of one, and what floats make of it.
CENT = 0.005 + 1e-9


def rows(say: Said) -> list[Row]:
    """Every case of the reference, and what holds of any volume."""
    marginal = Tariff("aws", AWS_TIERS, gb_bytes=2.0**30)
    free = Tariff("aws", AWS_TIERS, free_gb=1.0, gb_bytes=2.0**30)
    made = []
    for _, row in reference("cloud/egress.csv").iterrows():
        gb = float(row["gb"])
        made.append(Row(f"AWS, {gb:,.0f} GB in a month, USD", float(row["marginal_usd"]), _billed(marginal, gb), CENT))
        if gb < AWS_TIERS[0][0]:
            name = f"AWS, {gb:,.0f} GB, first GB free: as the broker, USD"
            made.append(Row(name, float(row["skypilot_usd"]), _billed(free, gb), CENT))
    volumes = np.unique(np.r_[0.0, np.geomspace(0.1, 1e6, 2000), *[[b - 1e-6, b, b + 1e-6] for b, _ in AWS_TIERS[:-1]]])
    usd = np.array([free.usd(float(gb)) for gb in volumes])
    steps = np.diff(usd) / np.diff(volumes)
    made.append(Row("volumes at which the bill falls", 0.0, float((steps < -1e-12).sum()), 0.0))
    made.append(Row("dearest GB at any volume, USD", 0.09, float(steps.max()), 1e-6, most=True))
    parts = [free.charge(gb, 100.0) for gb in np.arange(0.0, 200_000.0, 100.0)]
    made.append(Row("200,000 GB in parts of 100, USD", free.usd(200_000.0), float(sum(parts)), 1e-6))
    return made


def _billed(tariff: Tariff, gb: float) -> float:
    """The egress on the bill of a run whose one job carries so much to where it runs."""
    pool = NodePool("own", "A100", 1, 1, 0.0)
    sites = (Site("cloud", (), kind="cloud"), Site("home", (pool,)))
    fleet = Fleet(sites, (Link("cloud", "home", 1e12, tariff=tariff.name),), tariffs=(tariff,))
    jobs = Jobs.build(
        arrival_s=np.zeros(1),
        duration_s=np.ones(1),
        dataset_site=np.zeros(1, np.int32),
        dataset_sites=("cloud",),
        dataset_bytes=np.array([gb * tariff.gb_bytes]),
    )
    log = Log()
    run(Simulated().start(fleet, jobs, Perf(), 0), FirstFit(), State(fleet, jobs), log)
    ledger = bill(log.array(), fleet, jobs=jobs)
    return float(ledger.usd[ledger.of("egress")].sum())
