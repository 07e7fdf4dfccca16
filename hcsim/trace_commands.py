"""``hcsim traces``: what there is, what it looks like, whether a file is sound, and how to get it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
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
    fit = commands.add_parser(
        "twin", help="fit a generator to jobs, requests, spot capacity or prices: twin NAME FILE.json [key=value ...]"
    )
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
    from hcsim.traces._catalog import available
    from hcsim.traces._summary import describe as figures
    from hcsim.traces._summary import describe_table
    from hcsim.traces._table import Source
    from hcsim.traces._text import choices, text

    path = Path(plot) if plot else Path("runs") / "traces" / f"{name.replace(':', '_')}.png"
    kind = path.suffix.lstrip(".") or "png"
    if kind not in ("png", "svg", "pdf"):
        raise InputError(f"--plot {path}: a .{kind} file cannot be drawn, expected .png, .svg or .pdf")
    with Busy(f"reading {name}"):
        subject, source, table = _subject(name, overrides)
        if isinstance(source, Source) and not source.answers and any(value in ("", 0) for value in _own(source)):
            source.read()  # a kept table does not say what it was found to be
    device = getattr(source, "device", "GPU")
    chosen = choices(source)
    print(f"{name}: {available()[name.partition(':')[0]]}\n")
    if chosen:
        wide = max(map(len, chosen)) + 2
        print(f"This is one variant; for another: hcsim traces describe {name} key=value")
        print("\n".join(f"  {each:<{wide}}{about}".rstrip() for each, about in chosen.items()) + "\n")
    start_s = _start_s(subject, source, table)
    print(text(figures(subject, table, start_s) if isinstance(subject, Jobs) else describe_table(subject), device))
    with Busy("drawing"):
        _draw(subject, path, kind, ", ".join([name, *chosen]), device, start_s)
    print(f"\nplot  {path}")
    return 0


def _subject(name: str, overrides: Sequence[str]) -> tuple[Any, Any, Any]:
    """Jobs of a source that can be replayed, else its table; the source; and the jobs' table if it has one."""
    from hcsim.cli import choices, compose, part
    from hcsim.traces._catalog import make
    from hcsim.traces._table import JobSource

    if name in choices()["trace"]:
        config, _ = compose([f"trace={name}", *_of_trace(name, overrides)])
        source = part(config, "trace")
        table = source.table() if isinstance(source, JobSource) else None
        if table is not None and table.kind != "jobs":
            return table, source, None
        return source.jobs(config.seed), source, table
    source = make(name, _parameters(overrides))
    return source.table(), source, None


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


def _own(source: Any) -> list[Any]:
    """The values of the parameters that are the source's own."""
    import dataclasses

    shared = ("data_dir", "path", "limit", "attributes", "steps")
    return [getattr(source, each.name) for each in dataclasses.fields(source) if each.name not in shared]


def _start_s(subject: Any, source: Any, table: Any) -> float | None:
    """The clock time at which times are 0; None where it is not known, or jobs have been moved."""
    table = subject if table is None else table
    return None if getattr(source, "steps", ()) else getattr(table, "start_s", None)


def _draw(subject: Any, path: Path, kind: str, title: str, device: str, start_s: float | None) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from hcsim.experiment import write_atomically
    from hcsim.traces._figures import draw

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure, subject, title if len(title) <= 100 else title[:99] + "…", device, start_s or 0.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda to: figure.savefig(to, format=kind, dpi=200))


def validate(path: Path, name: str | None, overrides: Sequence[str] = ()) -> int:
    """Every defect of a file or folder, one per line; exit status 2 when there is any."""
    from hcsim.traces._catalog import Unread, make, recognised
    from hcsim.traces._files import IsFolder
    from hcsim.traces._validate import validate as every

    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    parameters = _parameters(overrides)
    try:
        with Busy(f"reading {path}"):
            if name:
                label, source = name, make(name, {**parameters, "path": str(path)})
            else:
                label, source = recognised(path, parameters)
            found = every(source)
    except (Unread, IsFolder):
        files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else []
        if not files:
            raise
        return _validate_each(files, name, overrides)
    if found.table is None:
        for file, defect in found.defects:
            print(f"{file}: {defect}")
        more = found.count - len(found.defects)
        said = f"{_count(found.count, 'defect')}{f', {more:,} of them not shown' if more else ''}: as {label}"
        print(f"{said}{f'; {found.unseen}' if found.unseen else ''}", file=sys.stderr)
        return 2
    table = found.table
    for each in table.dropped:
        which = ", ".join(map(str, each.rows)) + (", ..." if each.count > len(each.rows) else "")
        print(
            f"{path}: row {each.row}: {each.reason}; {_count(each.count, 'such row')} left out"
            + (f": {which}" if len(each.rows) > 1 else "")
        )
    for note in (*table.notes, *_peculiar(table)):
        print(f"{path}: {note}")
    print(f"{path}: {_count(len(table), 'row')} of {table.kind}, read as {label}, no defects")
    return 0


def _validate_each(files: Sequence[Path], name: str | None, overrides: Sequence[str]) -> int:
    """The files of a folder that no source reads as a whole, one after the other."""
    worst = 0
    for file in files:
        try:
            worst = max(worst, validate(file, name, overrides))
        except InputError as error:
            print(f"hcsim: error: {error}", file=sys.stderr)
            worst = 2
    return worst


def _peculiar(table: Any) -> list[str]:
    """What is odd about jobs or requests, but no defect."""
    if table.kind not in ("jobs", "requests"):
        return []
    frame = table.frame
    twice = int(frame.drop(columns=["id", "hash_ids"], errors="ignore").duplicated().sum())
    back = int((frame["arrival_s"].diff() < 0).sum())
    said = [f"note: {_count(twice, 'row')} that are as an earlier one in all but the id"] if twice else []
    return [*said, f"note: not sorted by arrival, {_count(back, 'row')} before the one above"] if back else said


def convert(name: str, out: Path, overrides: Sequence[str]) -> int:
    """One table of the kind's columns."""
    from hcsim.traces._catalog import available, drawn, make, recognised
    from hcsim.traces._table import of_jobs

    if out.suffix not in (".parquet", ".csv"):
        raise InputError(f"{out}: expected a name that ends in .parquet or .csv")
    given = _parameters(overrides)
    for key in ("attributes", "steps"):
        if key in given:
            raise InputError(f"traces convert: a table holds what the source says; {key} is of hcsim run")
    with Busy(f"reading {name}"):
        if Path(name).exists():
            table = recognised(Path(name), given)[1].table()
        elif name in available() and drawn(name):
            table = of_jobs(_subject(name, overrides)[0])
        else:
            table = make(name, given, jobs=True).table()
    write_table(table.frame, out)
    print(f"{len(table):,} rows of {table.kind} in {out}" + (f"; {table.told}" if table.told else ""))
    return 0


def write_table(frame: Any, out: Path) -> None:
    """A data frame as CSV or Parquet, by the file's ending; in CSV lists are JSON."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from hcsim.experiment import write_atomically

    if out.suffix != ".csv":
        write_atomically(out, lambda path: frame.to_parquet(path, index=False))
        return
    lists = {name: pa.array(frame[name]) for name in frame if str(frame[name].dtype).startswith(("list", "object"))}
    texts = {
        name: pc.binary_join_element_wise("[", pc.binary_join(column.cast(pa.list_(pa.string())), ", "), "]", "")
        for name, column in lists.items()
    }
    cells = frame.assign(**{name: text.to_pandas() for name, text in texts.items()})
    write_atomically(out, lambda path: cells.to_csv(path, index=False))


def twin(name: str, out: Path, overrides: Sequence[str], quick: bool) -> int:
    """Fit, write the table, and say how good five twins are."""
    from hcsim.experiment import write_atomically
    from hcsim.traces import _fit, _fit_market, _fit_requests
    from hcsim.traces._quality import distances, request_distances
    from hcsim.traces._twins import KINDS, text
    from hcsim.traces.fitted import Fitted
    from hcsim.traces.fitted_market import FittedAvailability, FittedPrices
    from hcsim.traces.fitted_requests import FittedRequests

    with Busy(f"reading {name}"):
        subject, _, _ = _subject(name, overrides)
    kind = "jobs" if isinstance(subject, Jobs) else subject.kind
    if kind not in KINDS:
        raise InputError(f"traces twin: {name} is a source of {kind}, expected one of {', '.join(KINDS)}")
    fit: dict[str, Callable[[Any], Any]] = {"jobs": _fit.fit, "requests": _fit_requests.fit}
    figures = fit.get(kind, _fit_market.fit)(subject)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda path: path.write_text(text(figures)))
    drawn = {"requests": FittedRequests, "availability": FittedAvailability, "prices": FittedPrices}.get(kind)
    use = f"hcsim run trace=fitted trace.path={out}" if drawn is None else f"{drawn.__module__}.{drawn.__name__}"
    print(f"{out}: {out.stat().st_size:,} bytes fitted to {len(subject):,} {kind}; {use}")
    seeds = range(1, 6)
    if drawn is not None:
        tables = [drawn(path=str(out), seed=seed).table() for seed in seeds]
        requests = [request_distances(subject.frame, each.frame) for each in tables if kind == "requests"]
        _print_means(requests or [_fit_market.distances(subject, each) for each in tables])
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
    refused = [] if yes else [entry for entry in wanted if entry.licence == "unknown"]
    wanted = [entry for entry in wanted if entry not in refused]
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
    print(f"{_count(got, 'file')} fetched into {folder}, {len(asked) - len(wanted) - len(refused)} were there")
    for entry in refused:
        print(f"not fetched, no licence is stated: {entry.file}")
    if refused:
        such = _count(len(refused), "such file")
        failed.append(
            InputError(f"{refused[0].file}: its publisher states no licence ({such}); --yes fetches for your own use")
        )
    if not failed:
        return 0
    for each in failed[:-1]:
        print(f"hcsim: error: {each}", file=sys.stderr)
    missing = f"{len(wanted) - got} of {_count(len(wanted), 'file')} missing, the same command goes on from here"
    raise InputError(f"{failed[-1]}{f'; {missing}' if got < len(wanted) else ''}")


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
