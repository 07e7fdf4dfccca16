"""Waiting for clean power in Germany and France in 2020, on the intensities of Let's Wait Awhile (Middleware 2021).

Protocol: intensity at :00 and :30 of every hour, gaps filled forward, the first 17,520 half-hours of 2020. Jobs of
eight hours arrive at every full hour and may end up to 24 hours late; daily jobs of half an hour at 01:00 may move by
some hours to either side. All are run by the simulator, waiting under :class:`CarbonWaiting` with a perfect forecast.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hcsim.control import run
from hcsim.fleet import Fleet, NodePool, Site
from hcsim.log import Log
from hcsim.model import Jobs
from hcsim.repro.table import Row, Said, data_dir, fetched, reference
from hcsim.series import Series
from hcsim.sim import Simulation
from hcsim.spells import spells
from hcsim.state import State
from hcsim.strategies.carbon_waiting import CarbonWaiting
from hcsim.strategies.fifo import Fifo
from hcsim.strategy import AnyStrategy
from hcsim.traces.carbon_lets_wait_awhile import CarbonLetsWaitAwhile

about = "waiting for clean power in Germany and France (Let's Wait Awhile, Middleware 2021, its data)"
takes = "half a minute of computing"
STEP_S, STEPS, HOUR_S = 1800.0, 17_520, 3600.0
ZONES = {"germany": "DE", "france": "FR"}
#: Of an intensity, its last printed digit; of a saving, in points.
TOLERANCE_G, TOLERANCE_POINTS = 0.001, 0.1


def intensity(folder: str, zone: str) -> Series:
    """Half-hours of 2020, from second 0 on."""
    frame = fetched("carbon", CarbonLetsWaitAwhile(data_dir=folder, zone=zone), "carbon_lets_wait_awhile").frame
    at_s = frame["time_s"].to_numpy(np.float64) - np.datetime64("2020-01-01", "s").astype(np.int64)
    grid = np.arange(STEPS) * STEP_S
    whole = (at_s % STEP_S == 0) & (at_s <= grid[-1])
    known, value = at_s[whole], frame["g_per_kwh"].to_numpy(np.float64)[whole]
    return Series(grid.tolist(), value[np.searchsorted(known, grid, side="right") - 1].tolist(), source=zone)


def mean_g(strategy: AnyStrategy, carbon: Series, jobs: Jobs) -> float:
    """Mean over jobs of the mean intensity while each runs, on a site with room for all."""
    site = Site("here", (NodePool("own", "A100", 1, 64, 1.0, idle_w=0.0, max_w=1000.0),), carbon=carbon)
    fleet, log = Fleet((site,)), Log()
    run(
        Simulation(fleet, jobs, until_s=STEPS * STEP_S - 1e-6),
        strategy,
        State(fleet, jobs, None, jobs.duration_s.data),
        log,
    )
    held = spells(log.array(), fleet)
    ran_s = np.bincount(held.job, held.stopped_s - held.started_s, minlength=len(jobs))
    if not np.allclose(ran_s, jobs.duration_s, atol=1e-3):
        raise RuntimeError("a job did not run for as long as it should")
    grams = carbon.integral(held.stopped_s) - carbon.integral(held.started_s)
    return float((np.bincount(held.job, grams, minlength=len(jobs)) / jobs.duration_s).mean())


def long_jobs() -> Jobs:
    """Eight hours, arriving at every full hour, due 32 hours later. They end a microsecond early, so that all end."""
    arrival_s = np.arange((STEPS - 64) // 2) * HOUR_S
    return Jobs.build(
        arrival_s=arrival_s,
        duration_s=np.full(len(arrival_s), 8 * HOUR_S - 1e-6),
        deadline_s=arrival_s + 32 * HOUR_S,
        checkpoint_interval_s=np.full(len(arrival_s), STEP_S),
    )


def daily_jobs(window_h: int) -> Jobs:
    """Half an hour a day, from 01:00 or up to ``window_h`` earlier or later, on every day that allows it."""
    at_s = np.arange(STEPS // 48) * 86400.0 + HOUR_S
    at_s = at_s[at_s >= window_h * HOUR_S]
    return Jobs.build(
        arrival_s=at_s - window_h * HOUR_S,
        duration_s=np.full(len(at_s), STEP_S - 1e-6),
        deadline_s=at_s + window_h * HOUR_S + STEP_S,
    )


def cases(carbon: Series) -> dict[str, tuple[float, float]]:
    """The cases as the reference calls them: g/kWh, and the saving in percent."""
    long = long_jobs()
    at_once = mean_g(Fifo(), carbon, long)
    out = {"run-now": (at_once, 0.0)}
    for name, strategy in (
        ("contiguous shift (perfect forecast)", CarbonWaiting()),
        ("interruptible (suspend-resume)", CarbonWaiting(interruptible=True)),
    ):
        grams = mean_g(strategy, carbon, long)
        out[name] = (grams, 100 * (1 - grams / at_once))
    made = {f"8h job, arrival every hour of 2020, slack 24h: {name}": each for name, each in out.items()}
    base = 0.0
    for window_h in (0, 2, 4, 8):
        grams = mean_g(CarbonWaiting(), carbon, daily_jobs(window_h))
        base = base or grams
        name = f"periodic 30-min job daily 01:00, window +-{window_h} h, perfect forecast"
        made[name] = (grams, 100 * (1 - grams / base))
    values: npt.NDArray[np.float64] = carbon.values
    return made | {"mean CI 2020 (30-min)": (float(values.mean()), float("nan"))}


def rows(say: Said) -> list[Row]:
    """Every case of both countries: intensity, and saving against running at once.

    Raises:
        InputError: the intensities are not there.
    """
    known = {name: intensity(data_dir(), zone) for name, zone in ZONES.items()}
    found = {}
    for name, carbon in known.items():
        say(f"carbon: {name}")
        found[name] = cases(carbon)
    made = []
    for _, each in reference("cloud/carbon_oracle.csv").iterrows():
        grams, saving = found[each["region"]][each["case"]]
        name = f"{each['region']}, {each['case']}"
        made.append(Row(f"{name}: g/kWh", float(each["g_co2_per_kwh"]), grams, TOLERANCE_G))
        if each["saving_pct"] > 0:
            made.append(Row(f"{name}: saving, %", float(each["saving_pct"]), saving, TOLERANCE_POINTS))
    return made
