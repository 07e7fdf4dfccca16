"""The commands beside ``hcsim run``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hcsim.cli import importable
from hcsim.model import InputError, nearest
from hcsim.runs import Cut, read_runs


def main(args: Sequence[str]) -> int:
    """Run one command; its exit status."""
    importable()  # a run or a configuration may name modules of the user's own
    if args[0] == "ablate":
        from hcsim.ablate_commands import main as ablate

        return ablate(args[1:])
    parser = _Parser(prog=f"hcsim {args[0]}", description=__doc__)
    if args[0] == "compare":
        given = _compare_arguments(parser).parse_args(args[1:])
        return compare(
            given.folders,
            given.baseline,
            Path(given.out or given.folders[0]),
            warm_up=Cut.parse(given.warm_up, "--warm-up"),
            cool_down=Cut.parse(given.cool_down, "--cool-down"),
            metrics=_listed(given.metrics),
            pareto=_listed(given.pareto),
        )
    if args[0] == "strategies":
        parser.add_argument("what", choices=("list", "check"))
        parser.add_argument("names", nargs="*")
        parser.add_argument("--config-dir", help="a folder of configuration of your own, as for hcsim run")
        given = parser.parse_intermixed_args(args[1:])  # names may stand after an option
        return strategies(given.what, given.names, given.config_dir)
    if args[0] == "traces":
        from hcsim import trace_commands

        trace_commands.add_arguments(parser)
        given, later = parser.parse_known_args(args[1:])
        if any("=" not in each or each.startswith("-") for each in later) or (later and "overrides" not in given):
            parser.error(f"unrecognized arguments: {' '.join(later)}")
        if later:  # key=value may stand after an option
            given.overrides += later
        return trace_commands.main(given)
    if args[0] in ("market", "bill"):
        from hcsim import money_commands

        return money_commands.main(args[0], parser, args[1:])
    if args[0] == "repro":
        from hcsim.repro import commands as repro

        repro.add_arguments(parser)
        return repro.main(parser.parse_args(args[1:]))
    if args[0] == "replay":
        parser.add_argument("run", metavar="RUN")
        return replay(Path(parser.parse_args(args[1:]).run))
    if args[0] == "explain":
        parser.add_argument("run", metavar="RUN")
        parser.add_argument("job", type=int)
        given = parser.parse_args(args[1:])
        return explain(Path(given.run), given.job)
    if args[0] == "audit":
        from hcsim.audit_commands import main as audit

        parser.add_argument("run", metavar="RUN")
        return audit(Path(parser.parse_args(args[1:]).run))
    if args[0] == "export":
        parser.description = "Write a run as a timeline that https://ui.perfetto.dev opens: nodes with their GPUs."
        parser.add_argument("run", metavar="RUN")
        parser.add_argument("file", metavar="FILE.json", help="or FILE.json.gz")
        given = parser.parse_args(args[1:])
        return export(Path(given.run), Path(given.file))
    parser.add_argument("folder", nargs="?", default="runs/demo", metavar="DIR")
    return demo(Path(parser.parse_args(args[1:]).folder))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Wrong arguments are bad input like any other."""
        raise InputError(message)


def _compare_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.description = "Compare finished runs, paired over seeds; writes comparison.csv, .md and report.html."
    parser.add_argument("folders", nargs="+", metavar="DIR")
    parser.add_argument("--baseline", help="strategy to compare with (default: the first by name)")
    parser.add_argument(
        "--out", help="folder for the table and the page (default: the first DIR), or one file: .csv, .md, .tex, .html"
    )
    left_out = "that JCT and queue delay leave out, by arrival: a share (10%%) or a time (3600s, 1h, 2d); default none"
    parser.add_argument("--warm-up", default="0", metavar="CUT", help=f"jobs at the beginning {left_out}")
    parser.add_argument("--cool-down", default="0", metavar="CUT", help=f"jobs at the end {left_out}")
    parser.add_argument("--metrics", default="", metavar="KEY,...", help="figures of summary.json to show")
    parser.add_argument(
        "--pareto", default="", metavar="KEY,KEY", help="figures of a Pareto front; KEY:max where more is better"
    )
    return parser


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def compare(folders: Sequence[str], baseline: str | None, out: Path, **how: Any) -> int:
    """A table on standard output, and comparison.csv, comparison.md and report.html in ``out``, or ``out`` alone where
    that is the name of one of them or of a .tex; ``how`` goes to :func:`hcsim.compare.compare`."""
    from rich.console import Console

    from hcsim import compare as comparing
    from hcsim import tables
    from hcsim.experiment import write_atomically
    from hcsim.progress import Busy
    from hcsim.report import write_report

    with Busy("reading runs"):
        runs = read_runs(folders)
    with Busy("comparing"):
        comparison = comparing.compare(runs, baseline, **how)
    for line in comparison.notes:
        print(f"hcsim: {'' if line.startswith('left out: ') else 'note: '}{line}", file=sys.stderr)
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(comparison.table())
    if (places := tables.terminal_places(comparison)) is not None:
        console.print(places)
    formats = {
        ".html": lambda path: write_report(comparison, runs, path),
        ".csv": lambda path: write_atomically(path, lambda partial: comparison.frame.to_csv(partial, index=False)),
        ".md": lambda path: write_atomically(path, lambda partial: partial.write_text(comparison.markdown())),
        ".tex": lambda path: write_atomically(path, lambda partial: partial.write_text(comparison.latex())),
    }
    wanted = [out / name for name in ("report.html", "comparison.csv", "comparison.md")]
    if out.suffix in formats and not out.is_dir():
        wanted = [out]
    wanted[0].parent.mkdir(parents=True, exist_ok=True)
    with Busy("drawing the report"):
        for path in wanted:
            formats[path.suffix](path)
    print(", ".join(map(str, wanted)))
    return 0


def strategies(what: str, names: Sequence[str], config_dir: str | None = None) -> int:
    """List the strategies that ship and those of ``config_dir``, or run the public checker over them."""
    from hcsim.cli import choices, compose, part
    from hcsim.progress import Busy

    known = choices(config_dir)["strategy"]
    for name in names:
        if name not in known:
            raise InputError(f"no strategy '{name}'; {nearest(name, known)}")
    failed = 0
    with Busy(f"strategies {what}") as busy:
        for name in names or known:
            busy(f"strategies {what}: {name}")
            try:  # one that is broken hides no other
                strategy = part(compose([f"strategy={name}"], config_dir)[0], "strategy")
                print(f"{name:<22} {_about(strategy) if what == 'list' else _checked(strategy)}")
            except (InputError, AssertionError) as error:
                failed += 1
                print(f"{name:<22} FAILED: {error}")
    if what == "check":
        print(f"{len(names or known) - failed} of {len(names or known)} strategies pass")
    return 1 if failed else 0


def _about(strategy: Any) -> str:
    text = (type(strategy).__doc__ or "").strip().split("\n\n")[0]
    return " ".join(text.split()) + (" [knows run times]" if "runtime" in strategy.needs else "")


def _checked(strategy: Any) -> str:
    from hcsim.testing import check_strategy

    check_strategy(strategy)
    return "ok"


def replay(run: Path) -> int:
    """Replay a run's log through the control loop."""
    from hcsim.kept import of_run
    from hcsim.progress import Busy
    from hcsim.replay import replay as again

    started = time.monotonic()
    with Busy(f"replaying {run}"):
        experiment, ready, record = of_run(run)
        log = again(
            record,
            ready.fleet,
            ready.jobs,
            experiment.strategy,
            experiment.perf,
            ready.estimate_s,
            experiment.seed,
            experiment.forecast_error,
        )
    print(f"{len(log):,} rows replayed in {time.monotonic() - started:.1f} s, hash {log.sha256[:12]} as recorded")
    return 0


def explain(run: Path, job: int) -> int:
    """Why a job is where it is."""
    from hcsim.explain import explain as story
    from hcsim.kept import of_run
    from hcsim.progress import Busy

    with Busy(f"reading {run}"):
        _, ready, record = of_run(run)
    print("\n".join(story(record.array(), ready.jobs, ready.fleet, job, ready.barred)))
    return 0


def export(run: Path, file: Path) -> int:
    """Write a run's log in the Trace Event Format."""
    import json

    from hcsim.export import write_trace
    from hcsim.kept import of_run
    from hcsim.progress import Busy

    with Busy(f"reading {run}"):
        _, ready, log = of_run(run)
    summary = json.loads((run / "summary.json").read_text())
    about = {key: summary[key] for key in ("strategy", "trace", "fleet", "seed", "knowledge")}
    with Busy(f"writing {file}"):
        count = write_trace(log.array(), ready.jobs, ready.fleet, file, about)
    print(f"{file}: {count:,} events; open it in https://ui.perfetto.dev or chrome://tracing")
    return 0


def demo(folder: Path) -> int:
    """Sweep the demo experiment on all cores, then compare."""
    from hcsim.cli import main as hcsim

    started = time.monotonic()
    print("six strategies × five seeds of 5,000 jobs on a hybrid fleet of 440 GPUs", flush=True)
    hcsim(["run", "-m", "experiment=demo", "hydra/launcher=joblib", f"hydra.sweep.dir={folder}"])
    status = compare([str(folder)], "easy_backfill", folder)
    print(f"done in {time.monotonic() - started:.0f} s; open {folder / 'report.html'}")
    return status
