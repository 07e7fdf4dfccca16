"""``hcsim traces``: what there is, what it looks like, whether a file is sound, and how to get it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcsim.model import InputError, Jobs, nearest
from hcsim.progress import Busy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands below ``hcsim traces``."""
    parser.description = "What traces there are, what one looks like, whether a file is sound, and how to get it."
    commands = parser.add_subparsers(dest="what", required=True, metavar="list|describe|validate|convert|twin|fetch")
    listing = commands.add_parser("list", help="all sources")
    listing.add_argument("--kind", help="only sources of one kind")
    about = commands.add_parser("describe", help="a source in figures, and a plot: describe NAME [key=value ...]")
    about.add_argument("name")
    about.add_argument("overrides", nargs="*", metavar="key=value")
    about.add_argument(
        "--plot", metavar="FILE", help="where the plot goes (png, svg, pdf; default runs/traces/NAME.png)"
    )
    check = commands.add_parser("validate", help="every defect of a file, with its row")
    check.add_argument("path", metavar="PATH")
    check.add_argument("--as", dest="name", metavar="NAME", help="the source it is of (default: found out)")
    turn = commands.add_parser("convert", help="a source or file as one Parquet or CSV table of its kind's columns")
    turn.add_argument("name", metavar="NAME|PATH")
    turn.add_argument("out", metavar="FILE")
    turn.add_argument("overrides", nargs="*", metavar="key=value")
    fit = commands.add_parser(
        "twin", help="fit a generator to a source of jobs or requests: twin NAME FILE.json [key=value ...]"
    )
    fit.add_argument("name")
    fit.add_argument("out", metavar="FILE.json")
    fit.add_argument("overrides", nargs="*", metavar="key=value")
    fit.add_argument("--quick", action="store_true", help="leave out what strategies make of it, the longest part")
    get = commands.add_parser(
        "fetch", help="download from where it is published, checked: fetch NAME ... [--to FOLDER]"
    )
    get.add_argument("names", nargs="+", metavar="NAME")
    get.add_argument("--to", help="the data folder (default: HCSIM_DATA)")
    get.add_argument("--mirror", help="base address instead of GitHub's")
    get.add_argument("--yes", action="store_true", help="also files whose licence is not known")


def main(given: argparse.Namespace) -> int:
    """Run one of them; its exit status."""
    if given.what == "list":
        return list_sources(given.kind)
    if given.what == "describe":
        return describe(given.name, given.overrides, given.plot)
    if given.what == "validate":
        return validate(Path(given.path), given.name)
    if given.what == "convert":
        return convert(given.name, Path(given.out), given.overrides)
    if given.what == "twin":
        return twin(given.name, Path(given.out), given.overrides, given.quick)
    return fetch(given.names, given.to, given.mirror, given.yes)


def list_sources(kind: str | None) -> int:
    """A line per source: name, kind, what it is."""
    from hcsim.traces._catalog import available, classes
    from hcsim.traces._schemas import KINDS

    if kind is not None and kind not in KINDS:
        raise InputError(f"no kind '{kind}'; {nearest(kind, KINDS)}")
    for name, text in available().items():
        kinds = list(dict.fromkeys(cls.kind for cls in classes(name))) or ["jobs"]
        if kind is None or kind in kinds:
            print(f"{name:<26} {','.join(kinds):<14} {text}")
    return 0


def describe(name: str, overrides: Sequence[str], plot: str | None) -> int:
    """Figures on standard output, and the plot."""
    from hcsim.traces._catalog import describe as figures
    from hcsim.traces._catalog import describe_table

    with Busy(f"reading {name}"):
        subject, left_out = _subject(name, overrides)
    said = figures(subject) if isinstance(subject, Jobs) else describe_table(subject)
    if left_out:
        said["left out"] = left_out
    for key, value in said.items():
        shown = "  ".join(f"{k}: {_figure(v)}" for k, v in value.items()) if isinstance(value, dict) else _figure(value)
        print(f"{key:<20} {shown}")
    path = Path(plot) if plot else Path("runs") / "traces" / f"{name.replace(':', '_')}.png"
    with Busy("drawing"):
        _draw(subject, path)
    print(f"{'plot':<20} {path}")
    return 0


def _subject(name: str, overrides: Sequence[str]) -> tuple[Any, str]:
    """Jobs of a source that can be replayed, else its table; and what was left out."""
    from hcsim.cli import choices, compose, part
    from hcsim.traces._catalog import make
    from hcsim.traces._table import JobSource

    if name in choices()["trace"]:
        config, _ = compose([f"trace={name}", *overrides])
        source = part(config, "trace")
        table = source.table() if isinstance(source, JobSource) else None
        return source.jobs(config.seed), "" if table is None else table.told
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        given = OmegaConf.to_container(OmegaConf.from_dotlist([each.removeprefix("trace.") for each in overrides]))
    except (OmegaConfBaseException, ValueError) as error:
        raise InputError(f"traces describe: {str(error).splitlines()[0]}") from None
    assert isinstance(given, dict)
    source = make(name, {"data_dir": os.environ.get("HCSIM_DATA", ""), **{str(k): v for k, v in given.items()}})
    return source.table(), ""


def _draw(subject: Any, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from hcsim.experiment import write_atomically
    from hcsim.traces._figures import draw_jobs, draw_table

    kind = path.suffix.lstrip(".") or "png"
    if kind not in ("png", "svg", "pdf"):
        raise InputError(f"--plot {path}: a .{kind} file cannot be drawn, expected .png, .svg or .pdf")
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    if isinstance(subject, Jobs):
        draw_jobs(figure, subject)
    else:
        draw_table(figure, subject)
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda to: figure.savefig(to, format=kind, dpi=150))


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def validate(path: Path, name: str | None) -> int:
    """Every defect of a file, one per line; exit status 2 when there is any."""
    from hcsim.traces._catalog import make, recognised
    from hcsim.traces._files import Defective

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with Busy(f"reading {path}"):
            label, source = (name, make(name, {"path": str(path)})) if name else recognised(path)
            table = source.read()
    except Defective as error:
        for defect in error.defects:
            print(f"{path}: {defect}")
        more = error.count - len(error.defects)
        print(f"{error.count:,} defects{f', {more:,} of them not shown' if more else ''}: as {label}", file=sys.stderr)
        return 2
    for each in table.dropped:
        print(f"{path}: row {each.row}: {each.reason}; {each.count:,} such rows are left out")
    for note in table.notes:
        print(f"{path}: {note}")
    print(f"{path}: {len(table):,} rows of {table.kind}, read as {label}, no defects")
    return 0


def convert(name: str, out: Path, overrides: Sequence[str]) -> int:
    """One table of the kind's columns."""
    from hcsim.experiment import write_atomically
    from hcsim.traces._catalog import make, recognised

    if out.suffix not in (".parquet", ".csv"):
        raise InputError(f"{out}: expected a name that ends in .parquet or .csv")
    given = {key: value for key, _, value in (each.removeprefix("trace.").partition("=") for each in overrides)}
    if Path(name).is_file():
        _, source = recognised(Path(name))
    else:
        source = make(name, {"data_dir": os.environ.get("HCSIM_DATA", ""), **given})
    with Busy(f"reading {name}"):
        table = source.table()
    frame = table.frame
    if out.suffix == ".csv":
        write_atomically(out, lambda path: frame.to_csv(path, index=False))
    else:
        write_atomically(out, lambda path: frame.to_parquet(path, index=False))
    print(f"{len(table):,} rows of {table.kind} in {out}" + (f"; {table.told}" if table.told else ""))
    return 0


def twin(name: str, out: Path, overrides: Sequence[str], quick: bool) -> int:
    """Fit, write the table, and say how good five twins are."""
    from hcsim.experiment import write_atomically
    from hcsim.traces import _fit, _fit_requests
    from hcsim.traces._quality import distances, request_distances
    from hcsim.traces._twins import text
    from hcsim.traces.fitted import Fitted
    from hcsim.traces.fitted_requests import FittedRequests

    with Busy(f"reading {name}"):
        subject, _ = _subject(name, overrides)
    if not isinstance(subject, Jobs) and subject.kind != "requests":
        raise InputError(f"traces twin: {name} is a source of {subject.kind}, expected one of jobs or requests")
    figures = _fit.fit(subject) if isinstance(subject, Jobs) else _fit_requests.fit(subject)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda path: path.write_text(text(figures)))
    use = f"hcsim run trace=fitted trace.path={out}" if isinstance(subject, Jobs) else "trace fitted_requests"
    print(f"{out}: {out.stat().st_size:,} bytes fitted to {len(subject):,} {figures.kind}; {use}")
    seeds = range(1, 6)
    if not isinstance(subject, Jobs):
        drawn = [FittedRequests(path=str(out), seed=seed).table().frame for seed in seeds]
        _print_means([request_distances(subject.frame, each) for each in drawn])
        return 0
    twins = [Fitted(path=str(out)).jobs(seed) for seed in seeds]
    _print_means([distances(subject, each) for each in twins])
    if not quick:
        _print_outcomes(subject, twins)
    return 0


def _print_means(each: Sequence[dict[str, float]]) -> None:
    for key in each[0]:
        print(f"{key:<34} {sum(d[key] for d in each) / len(each):.3f}")


def _print_outcomes(jobs: Jobs, twins: Sequence[Jobs]) -> None:
    """What strategies make of the original and of its twins; a difference beyond 10 % is marked."""
    from hcsim.traces._quality import agreement, fleet_for, outcomes

    with Busy("twins") as status:
        found = outcomes(jobs, twins, lambda strategy: status(f"{len(twins)} twins under {strategy}"))
    print(f"on {fleet_for(jobs).name}; * more than 10 % off")
    titles = ("strategy", "mean JCT (h)", "twins", "least-most", "", "utilisation", "twins")
    print("{:<16} {:>14} {:>8} {:>17} {:>9} {:>12} {:>6}".format(*titles))
    for row in found:
        spread = f"{min(row.twin_jct_s) / 3600:.1f}-{max(row.twin_jct_s) / 3600:.1f}"
        print(
            f"{row.strategy:<16} {row.jct_mean_s / 3600:>14.2f} {row.twin_jct_mean_s / 3600:>8.2f} {spread:>17}"
            f" {_marked(row.jct_difference)} {row.utilization:>12.1%} {row.twin_utilization:>6.1%}"
            f" {_marked(row.utilization_difference)}"
        )
    tau = agreement(found)
    said = "nothing waits in the original" if tau != tau else f"Kendall's tau {tau:.2f}"
    print(f"order of the strategies by mean JCT: {said}")


def _marked(difference: float) -> str:
    return f"{difference:>+8.1%}{'*' if abs(difference) > 0.1 else ' '}"


def fetch(names: Sequence[str], to: str | None, mirror: str | None, yes: bool) -> int:
    """Download what is not there yet."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    from hcsim.traces._fetch import BASE_URL, entries, there
    from hcsim.traces._fetch import fetch as get

    folder = to or os.environ.get("HCSIM_DATA", "")
    if not folder:
        raise InputError("traces fetch: no data folder, set --to FOLDER or HCSIM_DATA")
    wanted = [entry for entry in entries(names) if not there(entry, Path(folder))]
    unknown = [entry for entry in wanted if entry.licence == "unknown"]
    for licence in sorted({entry.licence for entry in wanted}):
        mine = [entry for entry in wanted if entry.licence == licence]
        text = "no licence is stated by its publisher" if licence == "unknown" else f"licence: {licence}"
        size = sum(entry.bytes_ for entry in mine) / 1e6
        print(f"{len(mine)} files, {size:,.1f} MB, {text} ({', '.join(sorted({e.repository for e in mine}))})")
    if unknown and not yes:
        raise InputError(
            f"{unknown[0].file}: its publisher states no licence ({len(unknown)} such files);"
            " --yes fetches them for your own use"
        )
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for entry in wanted:
            task = progress.add_task(entry.file, total=entry.bytes_)

            def told(have: int, total: int, task: TaskID = task) -> None:
                progress.update(task, completed=have, total=total or None)

            get(entry, Path(folder), mirror or BASE_URL, told)
    print(f"{len(wanted)} files fetched into {folder}, {len(entries(names)) - len(wanted)} were there")
    return 0
