"""Pictures of traces, with the panels of a paper's second figure: of jobs, requests, submissions, load, failures."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hcsim.model import Jobs
from hcsim.plots import COLOURS
from hcsim.traces import _figures_market as market
from hcsim.traces import _figures_speed as speed
from hcsim.traces import _figures_world as world
from hcsim.traces import _panels as p
from hcsim.traces._measures import DAY_S, HOUR_S, between, counted, dated, reuse, split
from hcsim.traces._panels import Panel, Rows
from hcsim.traces._table import Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(figure: Figure, subject: Jobs | Table, title: str = "", device: str = "GPU", start_s: float = 0.0) -> None:
    """Draw jobs, or a table of another kind, on an empty figure, whose size is set.

    Args:
        device: what a job's gang counts.
        start_s: the clock time at which the jobs' times are 0, in seconds since 1970 (0: not known).
    """
    import matplotlib as mpl

    with mpl.rc_context(p.TEXT):
        if isinstance(subject, Jobs):
            p.lay_out(figure, title, _jobs(subject, device, start_s))
        else:
            drawn = _KINDS[subject.kind](subject.frame)
            p.lay_out(figure, title, *(drawn if isinstance(drawn, tuple) else (drawn,)))


def _jobs(jobs: Jobs, device: str, start_s: float) -> Rows:
    gpus = jobs.gpus * jobs.gpu_milli / 1000.0
    when, duration = jobs.arrival_s, jobs.duration_s
    work = {"jobs": np.ones(len(jobs)), f"{device} time": gpus * duration}
    run_times = dict.fromkeys(work, duration)
    later = when[when > when[0]]  # those of the first moment may have been there before
    drawn: list[Panel] = [
        ("Submissions", lambda ax: p.arrivals(ax, when, "jobs")),
        ("Offered load, if nothing waited", lambda ax: p.demand(ax, when, duration, gpus, device)),
        ("Run times", lambda ax: p.ecdf(ax, run_times, "run time (s)", "the total", work)),
        ("Gang sizes", lambda ax: p.gangs(ax, gpus, duration, device)),
        ("Burstiness", lambda ax: p.gaps(ax, when, "submissions")),
    ]
    if len(later) and np.ptp(when) > 3 * DAY_S:
        drawn.append(("Daily cycle", lambda ax: p.by_hour(ax, start_s + later, "submissions")))
        return [drawn[:2], drawn[2:4], drawn[4:]]
    return [drawn[:2], drawn[2:]]


def _requests(frame: pd.DataFrame) -> Rows:
    drawn: list[Panel] = []
    when = frame["arrival_s"].to_numpy()
    prompt, output = frame["prompt_tokens"].to_numpy(), frame["output_tokens"].to_numpy()
    if np.isfinite(when).any():
        drawn.append(("Requests", lambda ax: p.arrivals(ax, when, "requests")))
        drawn.append(("Burstiness", lambda ax: p.gaps(ax, when, "requests")))
    if output.any():
        lengths = {"prompt": prompt, "output": output}
        drawn.append(("Lengths", lambda ax: p.ecdf(ax, lengths, "length (tokens)", "requests")))
        drawn.append(("Output by prompt", lambda ax: _density(ax, prompt, output)))
    else:  # of images
        drawn.append(("Prompts", lambda ax: p.ecdf(ax, {"": prompt}, "prompt length (tokens)", "requests")))
    if "service_s" in frame:
        service = frame["service_s"].dropna().to_numpy()
        drawn.append(("Service", lambda ax: p.ecdf(ax, {"": service}, "service time (s)", "requests")))
    if "hash_ids" in frame:
        seen, length = reuse(frame)
        seen_share = {"": seen / np.maximum(length, 1)}
        label = "share of blocks seen before"
        drawn.append(("Prefix reuse", lambda ax: p.ecdf(ax, seen_share, label, "requests", linear=True)))
    for column in ("model", "client"):
        if column in frame and frame[column].nunique() > 1:
            share = {name: n / len(frame) for name, n in counted(frame[column]).items()}
            drawn.append((f"{column.title()}s", partial(p.ranks, counts=share, label="share of requests")))
    return [drawn[:2], drawn[2:]] if len(drawn) in (4, 5) else p.in_rows(drawn[:6])


def _density(ax: Axes, prompt: Any, output: Any) -> Axes:
    """How many requests there are by the lengths of prompt and output, both logarithmic."""
    x, y = np.maximum(prompt, 1), np.maximum(output, 1)
    edges = [np.geomspace(each.min(), max(each.max(), each.min() + 1), 50) for each in (x, y)]
    from matplotlib.colors import LogNorm

    *_, mesh = ax.hist2d(x, y, bins=edges, norm=LogNorm(), cmap="cividis", rasterized=True)
    ax.set(xlabel="prompt (tokens)", ylabel="output (tokens)")
    p.logarithmic(ax, "x", *edges[0][[0, -1]])
    p.logarithmic(ax, "y", *edges[1][[0, -1]])
    ax.figure.colorbar(mesh, ax=ax, label="requests")
    return ax


def _submissions(frame: pd.DataFrame) -> Rows:
    when, gpus = frame["arrival_s"].to_numpy(), frame["gpus"].to_numpy()
    models = {name: n / len(frame) for name, n in counted(frame["model"]).items()}
    return [
        [
            ("Submissions", lambda ax: p.arrivals(ax, when, "jobs")),
            ("Burstiness", lambda ax: p.gaps(ax, when, "submissions")),
        ],
        [
            ("Gang sizes asked for", lambda ax: p.gangs(ax, gpus, None, "GPU")),
            ("Models", lambda ax: p.ranks(ax, models, "share of jobs")),
        ],
    ]


def _load(frame: pd.DataFrame) -> Rows:
    """What is in use over time below the capacity where that is known: GPUs, else nodes, else the capacity alone."""
    words = {"gpus": "GPUs in use", "nodes": "nodes in use"}
    words |= {"capacity_gpus": "capacity (GPUs)", "capacity_nodes": "capacity (nodes)"}
    column = next((name for name in words if name in frame and frame[name].notna().any()), "gpus")
    beside = f"capacity_{column}"
    over = [column, beside] if beside in frame and frame[beside].notna().any() else [column]
    total = frame.dropna(subset=[column]).groupby("time_s")[over].sum()  # over all places
    when, used, label = total.index.to_numpy(), total[column].to_numpy(), words[column]
    capacity = total[beside].to_numpy() if beside in total else None

    def over_time(ax: Axes) -> Axes:
        p.band(ax, when, used, label)
        if capacity is not None:
            at, _ = p.time_axis(ax, when)
            ax.plot(at, capacity, color=p.GREY, ls="--", label="capacity")
        ax.set_ylim(0, max(float(used.max()), 0 if capacity is None else float(np.nanmax(capacity))) * 1.25 or 1.0)
        ax.legend(loc="upper right", ncols=3)
        return ax

    second: list[Panel] = [
        ("Distribution", lambda ax: p.ecdf(ax, {"": used}, label, "time")),
    ]
    if len(when) > 1 and np.median(np.diff(when)) < DAY_S / 2:
        second.append(("Daily cycle", lambda ax: p.level_by_hour(ax, when, used, label)))
    names = [name for name in ("running", "pending") if f"{name}_jobs" in frame]
    jobs = {f"{name} jobs": frame[f"{name}_jobs"].to_numpy() for name in names}
    if jobs:
        of_jobs = "jobs" if len(jobs) > 1 else next(iter(jobs))
        second.append(("Jobs", lambda ax: p.ecdf(ax, jobs, of_jobs, "time")))
    first: Rows = [[("Occupancy", over_time)]]
    if "rate_per_s" in frame:
        every, rate = frame["time_s"].to_numpy(), frame["rate_per_s"].to_numpy() * HOUR_S
        first.append([("Submissions", lambda ax: _rates(ax, every, rate))])
    return [*first, second]


def _rates(ax: Axes, when: Any, rate: Any) -> Axes:
    p.band(ax, when, rate, "jobs per h")
    ax.set_ylim(0, ax.get_ylim()[1] * 1.2)
    ax.legend(loc="upper right", ncols=2)
    return ax


def _failures(frame: pd.DataFrame) -> Rows:
    by = dict(itertools.islice(split(frame, "entity", "event").items(), p.MOST_LINES))
    starts = {name: mine["start_s"].to_numpy() for name, mine in by.items()}
    gap = {name: between(mine) / HOUR_S for name, mine in by.items()}
    repair = {name: ((mine["end_s"] - mine["start_s"]).dropna() / HOUR_S).to_numpy() for name, mine in by.items()}
    drawn: list[Panel] = [
        ("Failures over time", lambda ax: _months(ax, starts)),
        ("Time between failures", lambda ax: p.ecdf(ax, gap, "time between starts (h)", "failures")),
    ]
    if frame["end_s"].notna().any():
        drawn.append(("Durations", lambda ax: p.ecdf(ax, repair, "duration (h)", "failures")))
    what = counted(frame["event"])
    if len(what) > 1 and set(what) != set(by):  # else the first panel tells them apart
        drawn.append(("What failed", lambda ax: p.ranks(ax, what, "failures")))
    return p.in_rows(drawn)


def _months(ax: Axes, starts: dict[str, Any]) -> Axes:
    """Failures per month, stacked; per 30 days where times do not say a date."""
    every = np.concatenate(list(starts.values()))
    dates = dated(every.min(), every.max())

    def month(when: Any) -> Any:
        return (when.astype("datetime64[s]").astype("datetime64[M]").astype(int) if dates
                else (when // (30 * DAY_S)).astype(int))  # fmt: skip

    bins = {name: month(np.asarray(x, np.float64)) for name, x in starts.items()}
    index = np.arange(month(every).min(), month(every).max() + 2)
    edges = index.astype("datetime64[M]").astype("datetime64[s]").astype(float) if dates else index * 30 * DAY_S
    x, _ = p.time_axis(ax, edges)
    below = np.zeros(len(x) - 1)
    for (name, each), colour, hatch in zip(bins.items(), COLOURS, p.HATCHES, strict=False):
        count = np.bincount(each - index[0], minlength=len(below))
        bars = ax.bar(
            x[:-1], count, np.diff(x) * 0.9, below, align="edge", color=colour, label=f"{name} ({len(each):,})"
        )
        for bar in bars:
            bar.set(hatch=hatch, edgecolor="white", lw=0.3)
        below = below + count
    ax.set_ylim(0, below.max() * 1.25)
    ax.set_ylabel(f"failures per {'month' if dates else '30 days'}")
    ax.legend(loc="upper right", ncols=3)
    return ax


def _lifetimes(frame: pd.DataFrame) -> Rows:
    """Stays of devices: failures by month, survival, age at failure, gaps between failures of the fleet."""
    failed = frame[(frame["event"] != "") & frame["end_s"].notna()]
    by = dict(itertools.islice(split(failed, "event").items(), p.MOST_LINES))
    ends = {name: mine["end_s"].to_numpy() for name, mine in by.items()}
    age = {name: (mine["observed_s"] / DAY_S).to_numpy() for name, mine in by.items()}
    gap = {name: np.diff(np.sort(each)) / HOUR_S for name, each in ends.items()}
    survival: Panel = ("Survival, others censored", lambda ax: _survival(ax, frame))
    if not len(failed):
        return [[survival]]
    return [
        [("Failures over time", lambda ax: _months(ax, ends)), survival],
        [
            ("Time between failures", lambda ax: p.ecdf(ax, gap, "time between failures of all (h)", "failures")),
            ("Age at failure", lambda ax: p.ecdf(ax, age, "age (days)", "failures")),
        ],
    ]


def _survival(ax: Axes, frame: pd.DataFrame) -> Axes:
    """Kaplan and Meier's estimate of how many devices live beyond an age; stays that ended otherwise are censored."""
    from scipy.stats import CensoredData, ecdf

    life = (frame["observed_s"] / DAY_S).to_numpy()
    names = list(split(frame[frame["event"] != ""], "event")) if (frame["event"] != "").any() else []
    for name, (colour, style) in zip(["any failure", *(names if len(names) > 1 else [])], p.STYLES, strict=False):
        of = (frame["event"] != "") if name == "any failure" else frame["event"] == name
        survival = ecdf(CensoredData.right_censored(life, ~of.to_numpy())).sf
        at, share = np.r_[0.0, survival.quantiles], np.r_[1.0, survival.probabilities]
        ax.plot(at, share, color=colour, ls=style, drawstyle="steps-post", label=name)
    ax.set(xlabel="age (days)", ylabel="share of devices without it", ylim=(None, 1.01), xlim=(0, None))
    ax.legend(loc="lower left")
    return ax


def _demands(frame: pd.DataFrame) -> Rows:
    gpus = (frame["gpus"] * frame["gpu_milli"] / 1000.0).to_numpy()
    cpus, ram = {"": frame["cpus"].to_numpy()}, {"": frame["ram_bytes"].to_numpy() / 2**30}
    return [
        [
            ("Gang sizes", lambda ax: p.gangs(ax, gpus[gpus > 0], None, "GPU")),
            ("CPUs", lambda ax: p.ecdf(ax, cpus, "CPUs asked for", "requests")),
            ("Memory", lambda ax: p.ecdf(ax, ram, "memory asked for (GiB)", "requests")),
        ]
    ]


_KINDS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "requests": _requests, "submissions": _submissions, "demands": _demands, "load": _load, "failures": _failures,
    "lifetimes": _lifetimes, "availability": market.availability, "prices": market.prices, "advice": market.advice,
    "links": world.links, "carbon": world.carbon, "profiles": speed.profiles, "metrics": world.metrics,
    "summaries": world.summaries, "nodes": world.nodes,
}  # fmt: skip
