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
    fit = commands.add_parser("twin", help="fit a generator to a source of jobs: twin NAME FILE.json [key=value ...]")
    fit.add_argument("name")
    fit.add_argument("out", metavar="FILE.json")
    fit.add_argument("overrides", nargs="*", metavar="key=value")
    fit.add_argument("--quick", action="store_true", help="leave out what strategies make of it, the longest part")
    get = commands.add_parser(
        "fetch", help="download from where it is published, checked: fetch NAME|PATH ... [--to FOLDER]"
    )
    get.add_argument(
        "names",
        nargs="+",
        metavar="NAME|PATH",
        help="a source (all it can read), or a file or folder of the data folder",
    )
    get.add_argument("--to", help="the data folder (default: HCSIM_DATA)")
    get.add_argument(
        "--mirror", metavar="URL", help="where files lie as OWNER/REPOSITORY/COMMIT/PATH, instead of GitHub"
    )
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
    from hcsim.traces._catalog import available
    from hcsim.traces._summary import describe as figures
    from hcsim.traces._summary import describe_table
    from hcsim.traces._text import choices, text

    path = Path(plot) if plot else Path("runs") / "traces" / f"{name.replace(':', '_')}.png"
    kind = path.suffix.lstrip(".") or "png"
    if kind not in ("png", "svg", "pdf"):
        raise InputError(f"--plot {path}: a .{kind} file cannot be drawn, expected .png, .svg or .pdf")
    with Busy(f"reading {name}"):
        subject, source, table = _subject(name, overrides)
    device = getattr(source, "device", "GPU")
    chosen = choices(source)
    print(f"{name}: {available()[name.partition(':')[0]]}\n")
    if chosen:
        wide = max(map(len, chosen)) + 2
        print(f"This is one variant; for another: hcsim traces describe {name} key=value")
        print("\n".join(f"  {each:<{wide}}{about}".rstrip() for each, about in chosen.items()) + "\n")
    print(text(figures(subject, table) if isinstance(subject, Jobs) else describe_table(subject), device))
    with Busy("drawing"):
        _draw(subject, path, kind, ", ".join([name, *chosen]), device)
    print(f"\nplot  {path}")
    return 0


def _subject(name: str, overrides: Sequence[str]) -> tuple[Any, Any, Any]:
    """Jobs of a source that can be replayed, else its table; the source; and the jobs' table if it has one."""
    from hcsim.cli import choices, compose, part
    from hcsim.traces._catalog import make
    from hcsim.traces._table import JobSource

    if name in choices()["trace"]:
        ours = ("seed", "data_dir")
        given = [
            each if each.startswith("trace.") or each.partition("=")[0] in ours else f"trace.{each}"
            for each in overrides
        ]
        config, _ = compose([f"trace={name}", *given])
        source = part(config, "trace")
        return source.jobs(config.seed), source, source.table() if isinstance(source, JobSource) else None
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        keys = OmegaConf.to_container(OmegaConf.from_dotlist([each.removeprefix("trace.") for each in overrides]))
    except (OmegaConfBaseException, ValueError) as error:
        raise InputError(f"traces describe: {str(error).splitlines()[0]}") from None
    assert isinstance(keys, dict)
    source = make(name, {"data_dir": os.environ.get("HCSIM_DATA", ""), **{str(k): v for k, v in keys.items()}})
    return source.table(), source, None


def _draw(subject: Any, path: Path, kind: str, title: str, device: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from hcsim.experiment import write_atomically
    from hcsim.traces._figures import draw

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure, subject, title if len(title) <= 100 else title[:99] + "…", device)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda to: figure.savefig(to, format=kind, dpi=200))


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
    print(f"{len(table):,} rows of {table.kind} in {out}" + (f"; {table.told}" if table.dropped else ""))
    return 0


def twin(name: str, out: Path, overrides: Sequence[str], quick: bool) -> int:
    """Fit, write the table, and say how good five twins are."""
    import json

    from hcsim.experiment import write_atomically
    from hcsim.traces._fit import fit
    from hcsim.traces._quality import agreement, distances, outcomes
    from hcsim.traces.fitted import Fitted

    jobs, _, _ = _subject(name, overrides)
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
    """Download what is not there yet; sizes and licences are said before. A file that fails does not stop the rest."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from hcsim.traces._fetch import Unreachable, downloads, entries, session, there
    from hcsim.traces._fetch import fetch as get

    given = to or os.environ.get("HCSIM_DATA", "")
    if not given:
        raise InputError("traces fetch: no data folder, set --to FOLDER or HCSIM_DATA")
    folder, asked = Path(given), entries(names)
    wanted = [entry for entry in asked if not there(entry, folder)]
    _told(wanted)
    unknown = [entry for entry in wanted if entry.licence == "unknown"]
    if unknown and not yes:
        raise InputError(
            f"{unknown[0].file}: its publisher states no licence ({_count(len(unknown), 'such file')});"
            " --yes fetches them for your own use"
        )
    failed: list[InputError] = []
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress, session() as over:
        task = progress.add_task("")
        for group in downloads(wanted):
            progress.reset(task, total=sum(entry.bytes_ for entry in group), description=Path(group[0].file).name)
            try:
                get(
                    group,
                    folder,
                    mirror or "",
                    lambda have, total: progress.update(task, completed=have, total=total or None),
                    over,
                )
            except InputError as error:
                failed.append(error)
                if isinstance(error, Unreachable):
                    break
    got = sum(there(entry, folder) for entry in wanted)
    print(f"{_count(got, 'file')} fetched into {folder}, {len(asked) - len(wanted)} were there")
    if not failed:
        return 0
    for each in failed[:-1]:
        print(f"hcsim: error: {each}", file=sys.stderr)
    missing = f"{len(wanted) - got} of {_count(len(wanted), 'file')} missing"
    raise InputError(f"{failed[-1]}; {missing}, the same command goes on from here")


def _told(wanted: Sequence[Any]) -> None:
    """How much there is to fetch, from where, under which licence."""
    for licence in sorted({entry.licence for entry in wanted}):
        mine = [entry for entry in wanted if entry.licence == licence]
        text = "no licence is stated by its publisher" if licence == "unknown" else f"licence: {licence}"
        size = sum(entry.bytes_ for entry in mine) / 1e6
        origins = ", ".join(sorted({entry.repository for entry in mine}))
        print(f"{_count(len(mine), 'file')}, {size:,.1f} MB, {text} ({origins})")


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
