"""What a paper's second figure shows of a trace: load over time, durations, sizes, gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.model import Jobs
from hcsim.traces._table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY = "#0072B2", "#7f7f7f"
DAY_S = 86400.0
#: Kind -> (time, what is drawn over it, what tells its lines apart).
_SERIES = {
    "load": ("time_s", "gpus", "place"),
    "availability": ("time_s", "nodes", "place"),
    "prices": ("time_s", "usd_per_h", "gpu"),
    "carbon": ("time_s", "g_per_kwh", "place"),
    "metrics": ("time_s", "value", "entity"),
}
_SHARES = {
    "advice": ("saving_share", "interruption_share"),
    "links": ("bytes_per_s", "rtt_s", "usd_per_gb"),
    "failures": ("start_s", "end_s"),
    "lifetimes": ("observed_s",),
    "demands": ("gpus", "cpus", "ram_bytes"),
    "summaries": ("value",),
    "profiles": ("value",),
    "nodes": ("gpus", "cpus"),
}


def draw_jobs(figure: Figure, jobs: Jobs) -> None:
    """Submissions by hour, run times, gang sizes by jobs and by GPU time, gaps."""
    axes = figure.subplots(2, 2)
    arrivals(axes[0, 0], jobs.arrival_s, "jobs per hour")
    cdf(axes[0, 1], jobs.duration_s, "run time (s)", "jobs")
    gangs(axes[1, 0], jobs)
    cdf(axes[1, 1], np.diff(jobs.arrival_s), "time between submissions (s)", "submissions")


def draw_table(figure: Figure, table: Table) -> None:
    """A table of any other kind."""
    frame = table.frame
    if table.kind == "requests":
        axes = figure.subplots(2, 2).ravel()
        if frame["arrival_s"].notna().any():
            arrivals(axes[0], frame["arrival_s"].to_numpy(), "requests per minute", bin_s=60.0)
            cdf(axes[3], np.diff(np.sort(frame["arrival_s"].dropna())), "time between requests (s)", "requests")
        cdf(axes[1], frame["prompt_tokens"].to_numpy(), "prompt (tokens)", "requests")
        cdf(axes[2], frame["output_tokens"].to_numpy(), "output (tokens)", "requests")
        return
    if table.kind in _SERIES and frame[_SERIES[table.kind][0]].notna().any():
        left, right = figure.subplots(1, 2, width_ratios=(2, 1))
        series(left, frame, *_SERIES[table.kind])
        cdf(right, frame[_SERIES[table.kind][1]].to_numpy(), _SERIES[table.kind][1], "rows")
        return
    names = [name for name in _SHARES.get(table.kind, ("usd_per_h",)) if name in frame and frame[name].notna().any()]
    axes = np.atleast_1d(figure.subplots(1, max(len(names), 1)))
    for ax, name in zip(axes, names, strict=False):
        cdf(ax, frame[name].dropna().to_numpy(), name, "rows")


def arrivals(ax: Axes, when_s: npt.NDArray[Any], label: str, bin_s: float = 3600.0) -> Axes:
    """How many per bin over time, and their mean."""
    when_s = when_s[~np.isnan(when_s)]
    counts = np.bincount(((when_s - when_s.min()) // bin_s).astype(int)) if len(when_s) else np.zeros(1)
    unit, name = (DAY_S, "days") if len(counts) * bin_s > 2 * DAY_S else (3600.0, "hours")
    ax.step(np.arange(len(counts)) * bin_s / unit, counts, where="post", color=INK, lw=0.7)
    ax.axhline(counts.mean(), color=GREY, lw=1, ls="--")
    ax.set_xlabel(name)
    ax.set_ylabel(label)
    return ax


def cdf(ax: Axes, values: npt.NDArray[Any], label: str, of: str) -> Axes:
    """The share of values at or below x; the axis is logarithmic where they span more than two decades."""
    x = np.sort(values[np.isfinite(values)]).astype(np.float64)
    if len(x):
        y = np.arange(1, len(x) + 1) / len(x)
        keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), 2000)).astype(int))
        ax.step(x[keep], y[keep], where="post", color=INK)
        positive = x[x > 0]
        if len(positive) and positive[-1] / positive[0] > 100:
            ax.set_xscale("log")
            ax.set_xlim(left=positive[0])
    ax.set_xlabel(label)
    ax.set_ylabel(f"share of {of}")
    ax.set_ylim(0, 1.02)
    return ax


def gangs(ax: Axes, jobs: Jobs) -> Axes:
    """Gang sizes: the share of jobs and of GPU time that each has."""
    gpus = jobs.gpus * jobs.gpu_milli / 1000.0
    edges = np.r_[0.0, 2.0 ** np.arange(np.ceil(np.log2(max(float(gpus.max(initial=1.0)), 1.0))) + 1)]
    which = np.digitize(gpus, edges, right=True) - 1
    by_jobs = np.bincount(which, minlength=len(edges) - 1) / max(len(gpus), 1)
    time = np.bincount(which, weights=gpus * jobs.duration_s, minlength=len(edges) - 1)
    by_time = time / max(time.sum(), 1e-12)
    x = np.arange(len(edges) - 1)
    ax.bar(x - 0.2, by_jobs, 0.4, color=INK, label="of jobs")
    ax.bar(x + 0.2, by_time, 0.4, color="#E69F00", label="of GPU time")
    ax.set_xticks(x, [f"≤ {edge:g}" if i else f"{edge:g}" for i, edge in enumerate(edges[1:])], fontsize=7)
    ax.set_xlabel("GPUs of a job")
    ax.set_ylabel("share")
    ax.legend(frameon=False, fontsize=8)
    return ax


def series(ax: Axes, frame: Any, time: str, value: str, of: str) -> Axes:
    """Values over time, a line for each of the six commonest of ``of``."""
    start = frame[time].min()
    for name in frame[of].value_counts().index[:6]:
        mine = frame[frame[of] == name].sort_values(time)
        ax.plot((mine[time] - start) / DAY_S, mine[value], lw=0.8, drawstyle="steps-post", label=str(name) or "-")
    ax.set_xlabel("days")
    ax.set_ylabel(value)
    ax.legend(frameon=False, fontsize=7)
    return ax
