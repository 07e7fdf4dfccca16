"""The command line. The only file that imports Hydra; everything else works without it."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from multiprocessing import current_process
from pathlib import Path
from typing import Any, NoReturn

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, Node, OmegaConf

from hcsim.errors import InputError, nearest, yaml_fault

CONF = Path(__file__).resolve().parent / "conf"  # the one place that knows where the configuration is
LONGEST = 140  # bytes of a folder's name; file systems that encrypt names end at 143, others at 255
KEYS = ("fleet", "trace", "strategy", "estimator", "executor", "perf", "experiment", "seed", "data_dir",
        "on_infeasible", "forecast_error", "hydra.run.dir", "hydra.sweep.dir", "hydra/launcher")  # fmt: skip
CWD = "cwd"  # key of a run's config.yaml: the folder that it was started in
COMMANDS = {
    "run": "one run, or with -m a sweep: hcsim run [-m] [key=value ...]",
    "compare": "paired comparison of finished runs, a table and report.html: hcsim compare DIR ...",
    "strategies": "hcsim strategies list | check [NAME ...]",
    "traces": "hcsim traces list | describe NAME | validate PATH | convert NAME FILE | fetch NAME",
    "audit": "prove from a run's folder that no rule was broken and every second and cent is there: hcsim audit RUN",
    "ablate": "which features of the world change the ranking: hcsim ablate strategy=a,b seed=1,2,3 [switches=...]",
    "replay": "feed a run's log back in and compare: hcsim replay RUN",
    "explain": "the story of one job: hcsim explain RUN JOB",
    "market": "price books with source and date: hcsim market show [NAME ...]",
    "bill": "a run's bill as FOCUS, and checked against one: hcsim bill export RUN --out FILE | check RUN FILE",
    "repro": "rerun a published result and compare, row by row: hcsim repro list | run NAME",
    "export": "a run as a timeline for Perfetto: hcsim export RUN FILE.json",
    "demo": "six strategies, five seeds, a hybrid fleet, one page: hcsim demo [DIR]",
}


def folder_name(overrides: str) -> str:
    """What a sweep calls the folder of a cell: its overrides without Hydra's ``+``, as one name in one folder.

    What a name cannot hold is escaped as in a URL; of a longer one the beginning stays, and a hash of the whole.
    """
    text = re.sub(r"(^|,)\+{1,2}", r"\1", overrides)
    name = re.sub(r"[%/\\\x00-\x1f\x7f]", lambda found: f"%{ord(found.group()):02X}", text)
    raw = os.fsencode(name)
    if len(raw) <= LONGEST:
        return name
    return raw[: LONGEST - 20].decode(errors="ignore") + "..." + hashlib.sha256(raw).hexdigest()[:16]


def price(book: str, region: str, item: str, market: str = "", *, _node_: Node) -> float:
    """``${usd:aws,us-east-1,H100,on_demand}`` in a configuration: a price of :mod:`hcsim.prices`, in USD and in the
    unit that the key which takes it says."""
    from hcsim.money_commands import book as found

    taker: Any = _node_
    while isinstance(taker._key(), int) or taker._key() == "value":  # of a series or a tariff: what that is of
        taker = taker._get_parent()
    return found(book).usd(region, item, market, str(taker._key() or ""))


def tariff(book: str, name: str) -> dict[str, Any]:
    """``${tariff:aws,aws-internet}`` in a configuration: an egress tariff of a price book."""
    from hcsim.money_commands import book as found

    of = found(book).tariff(name)
    tiers = [list(tier) for tier in of.tiers]
    target = "hcsim.fleet.Tariff"
    return {"_target_": target, "name": of.name, "tiers": tiers, "free_gb": of.free_gb, "gb_bytes": of.gb_bytes}


for _name, _resolver in (("bare", folder_name), ("usd", price), ("tariff", tariff)):
    OmegaConf.register_new_resolver(_name, _resolver, replace=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. Bad input is one line on standard error and exit status 2, an interrupt 130."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        lines = [f"  {name:<11} {text}" for name, text in COMMANDS.items()]
        print("usage: hcsim COMMAND ...\n\n" + "\n".join(lines) + "\n\nhcsim COMMAND --help says more.")
        sys.exit(0)
    if args[0] == "--version":
        from hcsim import __version__

        print(f"hcsim {__version__}")
        sys.exit(0)
    try:
        if args[0] not in COMMANDS:
            raise InputError(f"no command '{args[0]}'; {nearest(args[0], list(COMMANDS))}")
        if args[0] == "run":
            _run(args[1:])
        else:
            from hcsim import commands

            sys.exit(commands.main(args))
    except KeyboardInterrupt:
        fail(_interrupted(args), 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (InputError, OSError) as error:
        fail(said(error))


def _interrupted(args: Sequence[str]) -> str:
    """What an interrupt leaves behind, and how to go on: a default folder is another at the next start."""
    if not _sweeps:
        return "interrupted" + ("; nothing of the run is kept" if args[0] == "run" else "")
    key = f"hydra.sweep.dir={_sweeps[-1]}"
    how = "the same command" if key in args else f"the same command with {key}"
    return f"interrupted; finished runs stay, and {how} goes on where it stopped"


def said(error: Exception) -> str:
    """An error in one line; one of the operating system begins with the file, as ours do."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: cannot be used ({error.strerror})"
    return " ".join(str(error).split())


def fail(message: str, status: int = 2) -> None:
    """One line on standard error, and out."""
    print("hcsim: error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(status)


# -- hcsim run ---------------------------------------------------------------------------------------------------------

_failed: list[str] = []
_sweeps: list[Path] = []  # the folder of the sweep that has begun
_shown: list[Any] = []  # the sweep's display; not kept on the callback, which is sent to workers
_older: dict[Path, tuple[int, int]] = {}  # the errors of earlier commands that were there when it began


class Failures(Callback):
    """Shows a sweep's progress, and collects the cells that failed."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Start the display, on a terminal."""
        from hcsim.progress import Sweeping

        _sweeps.append(Path(config.hydra.sweep.dir))
        _older.update(_errors(_sweeps[-1]))
        _shown.append(Sweeping(_sweeps[-1]))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Stop it and read what went wrong."""
        _unshow()
        folder = Path(config.hydra.sweep.dir)
        new = [path for path, written in _errors(folder).items() if _older.get(path) != written]
        _failed.extend(f"{path.parent}: {path.read_text().strip()}" for path in new)
        done = sum(1 for each in folder.rglob("summary.json") if not each.with_name("error.txt").exists())
        print(f"{done} finished runs in {folder}" + f"; hcsim compare {folder} compares them" * (done > 1))


def _errors(folder: Path) -> dict[Path, tuple[int, int]]:
    """The errors of a sweep's cells, and what tells one that is written anew: each is a new file."""
    stats = {path: path.stat() for path in sorted(folder.rglob("error.txt"))}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


def _unshow() -> None:
    while _shown:
        _shown.pop().stop()


def _run(args: list[str]) -> None:
    import hydra
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if "-h" in args or "--help" in args:
        print(_run_help())
        return
    for each in (_failed, _sweeps, _older):
        each.clear()
    importable()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing, and we say it in one line
    sys.argv = ["hcsim", *_in_order(forced(args))]
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(plain(error)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(yaml_fault(error, _files(config_dirs(args)))) from None
    except ValueError as error:
        if Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts[-3:-1] != ("hydra", "_internal"):
            raise
        raise InputError(plain(error)) from None  # what Hydra does not like about an override or an option
    finally:
        _unshow()  # an interrupted sweep does not come to its end
    if _failed:
        for message in _failed:
            print(f"hcsim: error: {message}", file=sys.stderr)
        sys.exit(2)


def importable() -> None:
    """The current folder's modules can be named in a configuration, however hcsim was started; those installed win."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)


def _in_order(args: list[str]) -> list[str]:
    """Options before overrides, which Hydra's parser wants; it would print its usage when it does not know one."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise InputError(f"run: {message}")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    known, others = parser.parse_known_args(args)
    for option in others:
        if option.startswith("-"):
            name = option.split("=")[0]
            raise InputError(f"run: no option '{name}'; {nearest(name, list(parser._option_string_actions))}")
    overrides = [*known.overrides, *others]
    return [*(each for each in args if each not in overrides), *overrides]


def config_dirs(args: Sequence[str]) -> list[str]:
    """The folders of the user's own configuration that arguments of ``hcsim run`` name."""
    after = [b for a, b in pairwise(args) if a in ("--config-dir", "-cd")]
    return after + [each.partition("=")[2] for each in args if each.startswith("--config-dir=")]


def _files(folders: Iterable[str]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(Path(folder).rglob("*.yaml"))


def _run_help() -> str:
    groups = "\n".join(f"  {name:<10} {', '.join(options)}" for name, options in choices().items() if name != "market")
    keys = (
        "seed=0  data_dir=FOLDER (or HCSIM_DATA)  trace.path=FILE  on_infeasible=reject|error  forecast_error=0.1"
        "  hydra.run.dir=FOLDER"
    )
    return (
        "usage: hcsim run [key=value ...]           one run\n"
        "       hcsim run -m key=value,value ...    a sweep (hydra.sweep.dir=FOLDER, hydra/launcher=joblib)\n\n"
        f"groups (name=choice):\n{groups}\n\nkeys: {keys}\n"
        "Parameters: strategy.patience_s=600 trace.n=10000. Your own: --config-dir FOLDER strategy=mine."
    )


_PART = re.compile(r"(fleet|trace|strategy|estimator|executor|perf)\.[^=]+=")


def forced(overrides: Sequence[str]) -> list[str]:
    """Overrides of a part's parameters with Hydra's ``++``: files list only what differs from the code's defaults, so
    most parameters are in no file. Misspelt ones are found when the part is made."""
    return [f"++{each}" if _PART.match(each) else each for each in overrides]


def choices(config_dir: str | None = None) -> dict[str, list[str]]:
    """Configuration group -> the names to choose from, with those of a folder of the user's own.

    Raises:
        InputError: there is no such folder.
    """
    folders = [CONF, *([Path(config_dir)] if config_dir else [])]
    if not folders[-1].is_dir():
        raise InputError(f"Additional config directory '{config_dir}' not found")
    found: dict[str, set[str]] = {}
    for group in (each for folder in folders for each in sorted(folder.iterdir()) if each.is_dir()):
        found.setdefault(group.name, set()).update(file.stem for file in group.glob("*.yaml"))
    return {name: sorted(files) for name, files in found.items()}


def task(config: DictConfig) -> None:
    """One cell: instantiate one Experiment, run it, keep it. The configuration goes no further."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException

    from hcsim.cell import drop_empty, play
    from hcsim.experiment import write_atomically

    if current_process().name != "MainProcess":  # an interrupt reaches workers too; who started them ends them
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    try:
        play(config, folder, dict(hydra_config.runtime.choices), sweep=hydra_config.mode == RunMode.MULTIRUN)
    except (InputError, OSError, OmegaConfBaseException) as error:
        message = plain(error) if isinstance(error, OmegaConfBaseException) else said(error)
        if hydra_config.mode == RunMode.MULTIRUN:
            write_atomically(folder / "error.txt", lambda path: path.write_text(message + "\n"))
            return  # the rest of the sweep goes on
        drop_empty(folder)
        _failed.append(message)  # raised, Hydra would print it in its own words first
    except BaseException:
        if hydra_config.mode == RunMode.RUN:
            drop_empty(folder)
        raise


_PARTS = {
    "fleet": "sites",
    "trace": "jobs",
    "strategy": "decide",
    "estimator": "estimate_s",
    "executor": "start",
    "perf": "rate",
}


def build(config: DictConfig, chosen: dict[str, str]) -> Any:
    """The Experiment of a configuration.

    Raises:
        InputError: a part that cannot be made; the message names its key.
    """
    from hcsim.experiment import Experiment

    parts = {name: part(config, name) for name in _PARTS}
    return Experiment(**parts, seed=config.seed, on_infeasible=config.on_infeasible, names=named(chosen),
                      forecast_error=config.forecast_error)  # fmt: skip


def part(config: DictConfig, name: str) -> Any:
    """One part of a configuration: its fleet, trace, strategy, estimator, executor or perf.

    Raises:
        InputError: it cannot be made; the message names its key.
    """
    import hydra
    from hydra.errors import InstantiationException

    from hcsim.parts import checked, quoted

    if config.get(name) is None:
        raise InputError(f"{name} is missing, expected {name}=NAME")
    node = OmegaConf.to_container(config[name], resolve=True, throw_on_missing=True)
    if name == "trace":
        _of_run(node, config)
    checked(node, name)
    try:
        made = hydra.utils.instantiate(node, _convert_="all")
    except InstantiationException as error:
        raise InputError(_instantiation(error, name, node)) from None
    if not hasattr(made, _PARTS[name]):
        raise InputError(f"{name} is {quoted(made)}, which has no '{_PARTS[name]}'; its _target_ must name a {name}")
    return made


def _of_run(trace: Any, config: DictConfig) -> None:
    """Tell the steps of a trace what they leave to the run: whose load they set, where merged traces are read from."""
    steps = trace.get("steps") if isinstance(trace, dict) else None
    for step in steps if isinstance(steps, list) else ():
        for name, given in step.items() if isinstance(step, dict) else ():
            load = {} if given is None else given
            if name == "load" and isinstance(load, dict) and "gpus" not in load:
                pools = part(config, "fleet").pools
                there = [pool for pool in pools if not pool.elastic] or pools
                step[name] = {**load, "gpus": sum(pool.nodes * pool.gpus_per_node for pool in there)}
            elif name == "merge" and isinstance(given, dict) and isinstance(given.get("parameters", {}), dict):
                given["parameters"] = {"data_dir": config.data_dir, **given.get("parameters", {})}
                _of_run(given["parameters"], config)


def named(chosen: dict[str, str]) -> dict[str, str]:
    """What tables call the parts: their names in the configuration groups."""
    return {name: chosen[name] for name in ("fleet", "trace", "strategy") if chosen.get(name)}


def _instantiation(error: BaseException, name: str, node: Any) -> str:
    """What was wrong with a part, with its key."""
    from hcsim.parts import place

    key = re.search(r"full_key: (\S+)", str(error))
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return (place(node, key.group(1)) if key else "") + str(cause)
        last, cause = cause, cause.__cause__
    where = f"{name}.{key.group(1)}" if key else name
    return f"{where}: {type(last).__name__}: {str(last).splitlines()[0]}"


def plain(error: BaseException) -> str:
    """A configuration error in one line, with the nearest valid name for a misspelt choice."""
    from hydra.errors import MissingConfigException, OverrideParseException

    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if found := re.match(r"InputError raised while resolving interpolation: (.*)", lines[0] if lines else ""):
        key = getattr(error, "full_key", "")  # of what one of our resolvers refused
        return f"{key}: {found.group(1)}" if key else found.group(1)
    if isinstance(error, MissingConfigException) and error.options:
        wanted = str(error.missing_cfg_file)
        group, _, choice = wanted.rpartition("/")
        return f"no {group or 'configuration'} '{choice}'; {nearest(choice, list(error.options))}"
    if isinstance(error, OverrideParseException):
        return f"cannot read '{str(error.override).removeprefix('++')}', expected key=value"
    if found := re.match(r"Could not override '([^']+)'", lines[0] if lines else ""):
        return f"no key '{found.group(1)}'; {nearest(found.group(1), KEYS)}"
    if found := re.match(r"Ambiguous value for argument '\+*([^']+)'", lines[0] if lines else ""):
        return f"{found.group(1)}: several values, expected one; a sweep is hcsim run -m"
    cause = str(error.__cause__).splitlines()[0] if error.__cause__ else ""
    return (lines[0] if lines else type(error).__name__) + (f" ({cause})" if cause else "")


def compose(overrides: Sequence[str], config_dir: str | None = None) -> tuple[DictConfig, dict[str, str]]:
    """A configuration outside Hydra's own runs, and what was chosen for each group. ``config_dir`` is searched too."""
    import hydra
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    given = forced(overrides)
    if config_dir:
        place = str(Path(config_dir).resolve()).replace("'", "\\'")
        given.append(f"hydra.searchpath=['file://{place}']")
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose("config", given, return_hydra_config=True)
            chosen = dict(config.hydra.runtime.choices)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(plain(error)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(yaml_fault(error, _files([config_dir] if config_dir else []))) from None
    return config, chosen


if __name__ == "__main__":
    from hcsim import cli  # the module that Hydra finds the callback in, not this second copy of it

    cli.main()
