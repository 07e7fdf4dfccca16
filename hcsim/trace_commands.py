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
    check = commands.add_parser(
        "validate", help="every defect of a file or folder, with its row: validate PATH [key=value ...]"
    )
    check.add_argument("path", metavar="PATH")
    check.add_argument("overrides", nargs="*", metavar="key=value")
    check.add_argument("--as", dest="name", metavar="NAME", help="the source it is of (default: found out)")
    turn = commands.add_parser("convert", help="a source or file as one Parquet or CSV table of its kind's columns")
    turn.add_argument("name", metavar="NAME|PATH")
    turn.add_argument("out", metavar="FILE")
    turn.add_argument("overrides", nargs="*", metavar="key=value")
    fit = commands.add_parser("twin", help="fit a generator to a source of jobs: twin NAME FILE.json [key=value ...]")
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
        return validate(Path(given.path), given.name, given.overrides)
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
        config, _ = compose([f"trace={name}", *_of_trace(name, overrides)])
        source = part(config, "trace")
        table = source.table() if isinstance(source, JobSource) else None
        return source.jobs(config.seed), "" if table is None else table.told
    return make(name, _parameters(overrides)).table(), ""


def _parameters(overrides: Sequence[str]) -> dict[str, Any]:
    """Parameters of a source as the command line gives them, ``key=value`` or ``trace.key=value``: values are read as
    YAML, but words such as ``no`` are not taken for false. The data folder is HCSIM_DATA if none is given.

    Raises:
        InputError: it is not of that form.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    texts = {}
    for each in overrides:
        key, equals, value = each.removeprefix("trace.").partition("=")
        if not equals or not key:
            raise InputError(f"cannot read '{each}', expected key=value")
        texts[key] = value
    try:
        given = OmegaConf.to_container(OmegaConf.from_dotlist([f"{key}={value}" for key, value in texts.items()]))
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        raise InputError(f"cannot read '{' '.join(overrides)}' ({str(error).splitlines()[0]})") from None
    assert isinstance(given, dict)
    for key, value in texts.items():
        if isinstance(given.get(key), bool) and value.lower() not in ("true", "false"):
            given[key] = value
    return {"data_dir": os.environ.get("HCSIM_DATA", ""), **{str(key): value for key, value in given.items()}}


def _of_trace(name: str, overrides: Sequence[str]) -> list[str]:
    """Overrides of a configuration, in which a parameter of the trace may stand without ``trace.`` before it."""
    import inspect
    import pkgutil

    from omegaconf import OmegaConf

    from hcsim.cli import CONF

    target = OmegaConf.select(OmegaConf.load(CONF / "trace" / f"{name}.yaml"), "_target_")
    known = set(inspect.signature(pkgutil.resolve_name(target)).parameters) - {"data_dir"}
    return [f"trace.{each}" if each.partition("=")[0].partition(".")[0] in known else each for each in overrides]


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


def validate(path: Path, name: str | None, overrides: Sequence[str] = ()) -> int:
    """Every defect of a file or folder, one per line; exit status 2 when there is any."""
    from hcsim.traces._catalog import make, recognised
    from hcsim.traces._files import Defective

    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    parameters = _parameters(overrides)
    label = name or ""
    try:
        with Busy(f"reading {path}"):
            if name:
                source = make(name, {**parameters, "path": str(path)})
            else:
                label, source = recognised(path, parameters)
            table = source.read()
    except Defective as error:
        for defect in error.defects:
            print(f"{path}: {defect}")
        more = error.count - len(error.defects)
        said = f"{error.count:,} defects{f', {more:,} of them not shown' if more else ''}"
        print(f"{said}{f': as {label}' if label else ''}", file=sys.stderr)
        return 2
    for each in table.dropped:
        print(f"{path}: row {each.row}: {each.reason}; {each.count:,} such rows are left out")
    print(f"{path}: {len(table):,} rows of {table.kind}, read as {label}, no defects")
    return 0


def convert(name: str, out: Path, overrides: Sequence[str]) -> int:
    """One table of the kind's columns."""
    from hcsim.experiment import write_atomically
    from hcsim.traces._catalog import make, recognised

    if out.suffix not in (".parquet", ".csv"):
        raise InputError(f"{out}: expected a name that ends in .parquet or .csv")
    given = _parameters(overrides)
    for key in ("attributes", "steps"):
        if key in given:
            raise InputError(f"traces convert: a table holds what the source says; {key} is of hcsim run")
    with Busy(f"reading {name}"):
        source = recognised(Path(name), given)[1] if Path(name).exists() else make(name, given)
        table = source.table()
    frame = table.frame
    if out.suffix == ".csv":
        write_atomically(out, lambda path: frame.to_csv(path, index=False))
    else:
        write_atomically(out, lambda path: frame.to_parquet(path, index=False))
    print(f"{len(table):,} rows of {table.kind} in {out}" + (f"; {table.told}" if table.dropped else ""))
    return 0


def twin(name: str, out: Path, overrides: Sequence[str], quick: bool) -> int:
    """Fit, write the table, and say how good five twins are."""
    import json

    from hcsim.experiment import write_atomically
    from hcsim.traces._fit import fit
    from hcsim.traces._quality import agreement, distances, outcomes
    from hcsim.traces.fitted import Fitted

    jobs, _ = _subject(name, overrides)
    if not isinstance(jobs, Jobs):
        raise InputError(f"traces twin: {name} is not a source of jobs")
    text = json.dumps(fit(jobs), indent=1) + "\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda path: path.write_text(text))
    print(f"{out}: {len(text):,} bytes fitted to {len(jobs):,} jobs; hcsim run trace=fitted trace.path={out}")
    twins = [Fitted(path=str(out)).jobs(seed) for seed in range(1, 6)]
    each = [distances(jobs, drawn) for drawn in twins]
    for key in each[0]:
        print(f"{key:<26} {sum(d[key] for d in each) / len(each):.3f}")
    if quick:
        return 0
    with Busy("five twins") as status:
        found = outcomes(jobs, twins, lambda strategy: status(f"five twins under {strategy}"))
    print(f"{'strategy':<16} {'mean JCT (h)':>14} {'twins':>10} {'':>8} {'utilisation':>12} {'twins':>8}")
    for row in found:
        print(
            f"{row.strategy:<16} {row.jct_mean_s / 3600:>14.2f} {row.twin_jct_mean_s / 3600:>10.2f}"
            f" {row.jct_difference:>+8.1%} {row.utilization:>12.1%} {row.twin_utilization:>8.1%}"
        )
    print(f"order of the strategies by mean JCT: Kendall's tau {agreement(found):.2f}")
    return 0


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
