"""One self-contained page for a comparison: no network, readable on screen, in the dark and in print."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from hcsim import plots
from hcsim.compare import OTHER_JOBS, POWER, SAME, SINGLE, Comparison, Metric
from hcsim.experiment import write_atomically
from hcsim.runs import Runs
from hcsim.tables import front, rules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { --ink: #1b1b1b; --paper: #fff; --soft: #666; --line: #ddd; --good: #00734f; --bad: #b3400f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181b; --soft: #a0a0a0; --line: #3a3d42; --good: #4ec9a0; --bad: #ff9466; }
  figure { background: #fff; border-radius: 6px; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 68rem;
       margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 0.86rem; }
th, td { padding: 0.45rem 0.5rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } td small { display: block; color: var(--soft); }
td small.better { color: var(--good); } td small.worse { color: var(--bad); }
figure { margin: 1rem 0; padding: 0.4rem; } figure svg { width: 100%; height: auto; display: block; }
figcaption, .note { color: var(--soft); font-size: 0.86rem; } figcaption { color: #555; padding: 0 0.6rem 0.4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; }
@media print { body { max-width: none; margin: 0; } h2, figure, tr { break-inside: avoid; } }
"""


def write_report(comparison: Comparison, runs: Runs, path: Path) -> None:
    """Write ``report.html``: what was compared, the table, and figures, all in one file."""
    page = render(comparison, runs)
    write_atomically(path, lambda partial: partial.write_text(page, encoding="utf-8"))


def render(comparison: Comparison, runs: Runs) -> str:
    """The page as a string."""
    first = comparison.seeds[0]
    jobs, ledger = comparison.of_pairs(runs.jobs), comparison.of_pairs(runs.ledger)
    timeline = comparison.of_pairs(runs.timeline, first=True)
    seeds = f"all {len(comparison.seeds)} seeds" if len(comparison.seeds) > 1 else "one seed"
    rule = html.escape(" ".join([*rules(comparison), *front(comparison)]))
    body = [
        f"<h1>{html.escape(comparison.trace)} on {html.escape(comparison.fleet)}</h1>",
        _facts(comparison, comparison.of_pairs(runs.runs)),
        "<h2>Comparison</h2>",
        f"<p class=note>Jobs over {seeds}; the others are means over seeds ± 95 % interval, below them the paired"
        f" difference from <b>{html.escape(comparison.baseline)}</b>, pair by pair. Nothing is called better or worse"
        f" that depends on which jobs were finished where these differ. {rule}</p>",
        _table(comparison, comparison.metrics),
        *(f"<p class=note>Note: {html.escape(note)}.</p>" for note in comparison.notes),
        "<h2>Cost against completion time</h2>",
        _figure(
            (10, 4.6),
            f"Each point is a strategy's mean over {seeds}; bars are 95 % intervals over seeds, not paired."
            + (" A hollow point is of other finished jobs than the baseline's." if comparison.other_jobs else ""),
            lambda figure: plots.tradeoff(figure.subplots(), comparison),
        ),
        "<h2>Paired differences</h2>",
        _figure(
            (10, 0.4 * len(comparison.strategies) + 1.0),
            f"95 % intervals of the difference from {comparison.baseline}; a hollow point cannot be told from zero.",
            lambda figure: _pair(figure, comparison),
        )
        if len(comparison.seeds) > 1 and len(comparison.strategies) > 1
        else "",
        "<h2>Completion times</h2>",
        _figure(
            (10, 4.0),
            f"Share of the jobs of {seeds} that finished within a JCT; a curve that ends below 1 left jobs unfinished.",
            lambda figure: plots.jct_cdf(figure.subplots(), jobs, comparison),
        ),
        "<h2>Fleet occupancy</h2>",
        _figure(
            (10, 1.55 * ((len(comparison.strategies) + 1) // 2) + 1.1),
            f"GPUs held by jobs, stacked by site, and GPUs up (line), under seed {first}.",
            lambda figure: _occupancies(figure, timeline, comparison),
        ),
        "<h2>Queue</h2>",
        _figure(
            (10, 3.6),
            f"Demand of waiting jobs under seed {first}, linear below 10 GPUs and logarithmic above.",
            lambda figure: plots.queue(figure.subplots(), timeline, comparison),
        ),
        "<h2>Bill</h2>",
        _figure(
            (10, 0.36 * len(comparison.strategies) + 1.4),
            "Owned and reserved capacity is paid whether used or not, until the last job of the run has finished;"
            f" right: the steps from the cost of {comparison.baseline} to that of each other strategy.",
            lambda figure: _bills(figure, ledger, comparison),
        ),
        _power(comparison),
    ]
    title = f"{comparison.trace} on {comparison.fleet}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        + "\n".join(body)
        + "</body></html>\n"
    )


def _facts(comparison: Comparison, frame: Any) -> str:
    run = frame.iloc[0]
    rows = {
        "strategies": ", ".join(comparison.strategies),
        "seeds": ", ".join(map(str, comparison.seeds)),
        "jobs per run": f"{run['jobs_submitted']:,}",
        "fleet": f"{comparison.fleet} ({run['fleet_sha256'][:10]})",
        "executor": run["executor"],
        "residency violations": f"{frame['residency_violations'].sum()} in {len(frame)} runs",
        "versions": ", ".join(f"{k} {v}" for k, v in run["versions"].items()),
    }
    return "<dl>" + "".join(f"<dt>{k}</dt><dd>{html.escape(str(v))}</dd>" for k, v in rows.items()) + "</dl>"


def _table(comparison: Comparison, metrics: Sequence[Metric]) -> str:
    head = "".join(f"<th>{m.title} ({m.unit})</th>" for m in metrics)
    rows = []
    for name in comparison.strategies:
        cells = [f"<td><b>{html.escape(name)}</b><small>knows: {html.escape(comparison.knowledge[name])}</small></td>"]
        for metric in metrics:
            mean, verdict = (each.replace(" ± ", "&nbsp;±&nbsp;") for each in comparison.shown(name, metric))
            kind = "" if verdict in (SAME, SINGLE, OTHER_JOBS, "baseline") else verdict.split(" ")[0]
            cells.append(f"<td>{mean}<small class='{kind}'>{verdict}</small></td>")
        rows.append("<tr>" + "".join(cells) + "</tr>")
    return f"<table><thead><tr><th>strategy</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _power(comparison: Comparison) -> str:
    """Energy and carbon as a table; nothing where no run has any."""
    metrics = [metric for metric in POWER if metric.key in comparison.cells[comparison.baseline]]
    if not metrics:
        return ""
    return (
        "<h2>Energy and carbon</h2><p class=note>At the meter, PUE included, of all nodes that were up, used or not;"
        f" carbon by the intensity of each site's grid at the time.</p>{_table(comparison, metrics)}"
    )


def _bills(figure: Figure, ledger: Any, comparison: Comparison) -> None:
    if len(comparison.strategies) == 1:
        plots.cost_by_market(figure.subplots(), ledger, comparison)
        return
    left, right = figure.subplots(1, 2)
    plots.cost_by_market(left, ledger, comparison)
    plots.cost_steps(right, ledger, comparison)


def _pair(figure: Figure, comparison: Comparison) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    plots.differences(left, comparison, "jct_mean_s")
    plots.differences(right, comparison, "cost_usd")


def _occupancies(figure: Figure, timeline: Any, comparison: Comparison) -> None:
    names = comparison.strategies
    grid = figure.subplots((len(names) + 1) // 2, 2, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for ax, name in zip(panels, names, strict=False):
        plots.occupancy(ax, timeline[timeline["strategy"] == name], name)
    for ax in panels[len(names) :]:
        ax.set_visible(False)
    for ax in grid[:, 0]:
        ax.set_ylabel("GPUs")
    for ax in panels[: len(names)][-2:]:  # the last of each column
        ax.tick_params(labelbottom=True)
        ax.set_xlabel("time (days)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(labels), frameon=False, loc="outside upper right", fontsize=8)


def _figure(size: tuple[float, float], caption: str, draw: Callable[[Figure], Any]) -> str:
    """A drawing as inline SVG."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "hcsim",
        "path.simplify": True,
    }
    with rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    own = f"f{crc32(svg.encode()):08x}-"  # figures of one page share its ids
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\1{own}", svg[svg.index("<svg") :])
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
