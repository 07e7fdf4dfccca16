"""A comparison as a table: for a terminal, in Markdown and in LaTeX, each saying by which rules it speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

    from hcsim.compare import Comparison, Metric


def between(x: float, half: float) -> str:
    """A figure and its half-width, this to two significant digits and both to the same place."""
    if half == 0:
        return f"{number(x)} ± 0"
    digits = min(max(0, 1 - int(np.floor(np.log10(half)))), 6)
    return f"{x:,.{digits}f} ± {half:,.{digits}f}"


def number(x: float) -> str:
    """Three significant digits, without an exponent for what tables hold."""
    if x == 0:
        return "0"
    digits = max(0, 2 - int(np.floor(np.log10(abs(x)))))
    return f"{x:,.{min(digits, 4)}f}"


def header(metric: Metric) -> str:
    """A metric with its unit."""
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def title(comparison: Comparison) -> str:
    """What was compared, and how it is shown."""
    pairs = comparison.pairs or tuple((seed, "") for seed in comparison.seeds)
    windows = len({window for _, window in pairs})
    seeds = f"{len(comparison.seeds)} seed" + "s" * (len(comparison.seeds) > 1)
    if windows > 1:
        seeds += f" and {windows} windows, {len(pairs)} pairs"
    return (
        f"{comparison.trace} on {comparison.fleet}, {seeds}: jobs in all; mean ± 95 % interval, below it the paired"
        f" difference from {comparison.baseline}"
    )


def rules(comparison: Comparison) -> list[str]:
    """How the verdicts were reached, in sentences."""
    cells = [cell for mine in comparison.cells.values() for cell in mine.values()]
    rivals = len(comparison.strategies) - 1
    said = [f"Rule: {comparison.rule}."] if comparison.rule else []
    if rivals and any(not np.isnan(cell.p) for cell in cells):
        family = f", Holm-corrected over {rivals} strategies for each figure by itself" * (rivals > 1)
        said.append(f"Better and worse: Student's paired t test at 5 %{family}.")
    if any(cell.more for cell in cells):
        unit = comparison.varies
        said.append(
            f"(+n {unit}s): n more {unit}s would separate it from {comparison.baseline} with a chance of 80 %, if the"
            " true difference is the one seen."
        )
    return said


def front(comparison: Comparison) -> list[str]:
    """Where each strategy is beside the Pareto front, in sentences."""
    if not comparison.front:
        return []
    of = " and ".join(metric.title for metric in comparison.front_of)
    return [f"Pareto front of {of}: " + "; ".join(f"{who} is {where}" for who, where in comparison.front.items()) + "."]


def places(comparison: Comparison) -> dict[str, list[str]]:
    """Strategy -> its place in each metric with the places that cannot be excluded; empty where there is no contest."""
    metrics = [metric for metric in comparison.metrics if not metric.counts]
    out = {}
    for name in comparison.strategies:
        cells = [comparison.cells[name][metric.key] for metric in metrics]
        out[name] = [
            "-" if np.isnan(c.place) else f"{c.place:.0f} ({c.place_low:.0f} to {c.place_high:.0f})" for c in cells
        ]
    enough = len(comparison.strategies) > 2 and any(text != "-" for row in out.values() for text in row)
    return out if enough else {}


PLACES = "Place by mean (places that cannot be excluded at 95 %, all of them together)"


def terminal(comparison: Comparison) -> Table:
    """For a terminal."""
    from rich.table import Table

    table = Table(
        title=title(comparison),
        title_justify="left",
        caption="\n".join([*rules(comparison), *front(comparison)]),
        caption_justify="left",
    )
    table.add_column("strategy", no_wrap=True)
    for metric in comparison.metrics:
        unit = f"\n({metric.unit})" if metric.counts else f" ({metric.unit})" * bool(metric.unit)  # counts are narrow
        table.add_column(metric.title + unit, justify="right")
    colour = {"better": "green", "worse": "red"}
    for name in comparison.strategies:
        row = [f"{name}\n[dim]knows: {comparison.knowledge[name]}[/dim]"]
        for metric in comparison.metrics:
            mean, verdict = comparison.shown(name, metric)
            style = colour.get(verdict.split(" ")[0], "dim")
            below = verdict.replace(" (+", "\n(+")
            row.append(f"{mean}\n[{style}]{below}[/{style}]" if verdict else mean)
        table.add_row(*row)
    return table


def terminal_places(comparison: Comparison) -> Table | None:
    """The places for a terminal; None where there are none."""
    from rich.table import Table

    rows = places(comparison)
    if not rows:
        return None
    table = Table(title=PLACES, title_justify="left")
    table.add_column("strategy", no_wrap=True)
    for metric in comparison.metrics:
        if not metric.counts:
            table.add_column(metric.title, justify="right")
    for name, row in rows.items():
        table.add_row(name, *row)
    return table


def markdown(comparison: Comparison) -> str:
    """The tables in Markdown, with the rules and the notes below them."""
    head = ["strategy", "knows", *map(header, comparison.metrics)]
    rows = []
    for name in comparison.strategies:
        cells = [comparison.shown(name, metric) for metric in comparison.metrics]
        texts = [f"{mean}<br>{verdict}" if verdict else mean for mean, verdict in cells]
        rows.append([name, comparison.knowledge[name], *texts])
    parts = [_pipes(head, rows)]
    if ranked := places(comparison):
        titles = [metric.title for metric in comparison.metrics if not metric.counts]
        parts.append(f"{PLACES}:\n\n" + _pipes(["strategy", *titles], [[name, *row] for name, row in ranked.items()]))
    parts += [" ".join([f"{title(comparison)}.", *rules(comparison), *front(comparison)]) + "\n"]
    parts += ["".join(f"- {note}\n" for note in comparison.notes)] * bool(comparison.notes)
    return "\n".join(parts)


def _pipes(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: "\\" + sign for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "σ": r"$\sigma$",
        "<": r"$<$",
        ">": r"$>$",
    }
)


def latex(comparison: Comparison) -> str:
    """The table in LaTeX: a ``table*`` for ``\\usepackage{booktabs}``, rules as its caption and notes as comments."""

    def line(cells: list[str]) -> str:
        return " & ".join(cells) + r" \\"

    head = [("strategy", ""), *((metric.title, metric.unit) for metric in comparison.metrics)]
    lines = [
        *(f"% note: {' '.join(note.split())}" for note in comparison.notes),
        r"\begin{table*}",
        r"\centering\footnotesize",
        r"\begin{tabular}{l" + "r" * len(comparison.metrics) + "}",
        r"\toprule",
        line([text.translate(_LATEX) for text, _ in head]),
        line([f"({unit})".translate(_LATEX) if unit else "" for _, unit in head]),
        r"\midrule",
    ]
    for name in comparison.strategies:
        cells = [comparison.shown(name, metric) for metric in comparison.metrics]
        below = [_short(verdict).translate(_LATEX) for _, verdict in cells]
        lines.append(line([name.translate(_LATEX), *(mean.translate(_LATEX) for mean, _ in cells)]))
        lines.append(line(["", *(rf"\scriptsize {text}" if text else "" for text in below)]))
    caption = " ".join([f"{title(comparison)}.", f"{_SHORT}.", *rules(comparison), *front(comparison)])
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption.translate(_LATEX)}}}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


_SHORT = "n.d.: not distinguishable; n.c.: not comparable, the sets of finished jobs differ"


def _short(verdict: str) -> str:
    """A verdict as it fits a narrow column."""
    return verdict.replace("not distinguishable", "n.d.").replace("not comparable: finished sets differ", "n.c.")
