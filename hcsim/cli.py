"""The command line. The only file that imports Hydra; everything else works without it."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from hcsim.model import InputError, nearest

CONF = Path(__file__).resolve().parent / "conf"  # the one place that knows where the configuration is
COMMANDS = {
    "run": "one run, or with -m a sweep: hcsim run [-m] [key=value ...]",
    "compare": "paired comparison of finished runs, a table and report.html: hcsim compare DIR ...",
    "strategies": "hcsim strategies list | check [NAME ...]",
    "traces": "hcsim traces list | describe NAME [key=value ...]",
    "replay": "feed a run's log back in and compare: hcsim replay RUN",
    "explain": "the story of one job: hcsim explain RUN JOB",
    "demo": "six strategies, five seeds, a hybrid fleet, one page: hcsim demo [DIR]",
}


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
        fail("interrupted; finished runs stay, and the same command goes on where it stopped", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (InputError, OSError) as error:
        fail(str(error))


def fail(message: str, status: int = 2) -> None:
    """One line on standard error, and out."""
    print("hcsim: error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(status)


# -- hcsim run ---------------------------------------------------------------------------------------------------------

_failed: list[str] = []
_shown: list[Any] = []  # the sweep's display; not kept on the callback, which is sent to workers


class Failures(Callback):
    """Shows a sweep's progress, and collects the cells that failed."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Start the display, on a terminal."""
        from hcsim.progress import Sweeping

        _shown.append(Sweeping(Path(config.hydra.sweep.dir)))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Stop it and read what went wrong."""
        while _shown:
            _shown.pop().stop()
        folder = Path(config.hydra.sweep.dir)
        _failed.extend(f"{path.parent}: {path.read_text().strip()}" for path in sorted(folder.rglob("error.txt")))
        done = len(list(folder.rglob("summary.json")))
        print(f"{done} finished runs in {folder}; hcsim compare {folder} compares them")


def _run(args: list[str]) -> None:
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if "-h" in args or "--help" in args:
        print(_run_help())
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing, and we say it in one line
    sys.argv = ["hcsim", *forced(args)]
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(plain(error)) from None
    if _failed:
        for message in _failed:
            print(f"hcsim: error: {message}", file=sys.stderr)
        sys.exit(2)


def _run_help() -> str:
    groups = "\n".join(f"  {name:<10} {', '.join(options)}" for name, options in choices().items())
    keys = "seed=0  data_dir=FOLDER (or HCSIM_DATA)  trace.path=FILE  on_infeasible=reject|error  hydra.run.dir=FOLDER"
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


def choices() -> dict[str, list[str]]:
    """Configuration group -> the names to choose from."""
    return {g.name: sorted(f.stem for f in g.glob("*.yaml")) for g in sorted(CONF.iterdir()) if g.is_dir()}


def task(config: DictConfig) -> None:
    """One cell: instantiate one Experiment, run it, keep it. The configuration goes no further."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    try:
        _cell(config, folder, dict(hydra_config.runtime.choices))
    except (InputError, OSError) as error:
        message = " ".join(str(error).split())
        if hydra_config.mode == RunMode.MULTIRUN:
            (folder / "error.txt").write_text(message + "\n")  # the rest of the sweep goes on
            return
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        _failed.append(message)  # raised, Hydra would print it in its own words first


def _cell(config: DictConfig, folder: Path, chosen: dict[str, str]) -> None:
    import json

    from omegaconf import OmegaConf

    from hcsim.experiment import write_atomically
    from hcsim.progress import Watching, told
    from hcsim.strategy import strategy_sha256

    (folder / "error.txt").unlink(missing_ok=True)
    text = OmegaConf.to_yaml(config, resolve=True)
    experiment = build(config, chosen)
    code = strategy_sha256(experiment.strategy)
    digest = hashlib.sha256((text + code).encode()).hexdigest()
    summary = folder / "summary.json"
    if summary.is_file() and json.loads(summary.read_text()).get("config_sha256") == digest:
        print(f"{folder}: already done")
        return
    summary.unlink(missing_ok=True)
    write_atomically(folder / "config.yaml", lambda path: path.write_text(text))
    try:
        with Watching(str(chosen.get("strategy"))) as watch:
            result = experiment.run(watch=watch)
        result.summary["config_sha256"] = digest
        result.log.write(folder / "log.parquet")
        result.save(folder)
    except BaseException:
        (folder / "config.yaml").unlink(missing_ok=True)
        raise
    print(told(result.summary, folder))


def build(config: DictConfig, chosen: dict[str, str]) -> Any:
    """The Experiment of a configuration.

    Raises:
        InputError: a part that cannot be made; the message names its key.
    """
    import hydra
    from hydra.errors import InstantiationException
    from omegaconf.errors import OmegaConfBaseException

    from hcsim.experiment import Experiment

    parts = {}
    for name in ("fleet", "trace", "strategy", "estimator", "executor", "perf"):
        try:
            parts[name] = hydra.utils.instantiate(config[name], _convert_="all")
        except (InstantiationException, OmegaConfBaseException) as error:
            raise InputError(_instantiation(error, config[name], name)) from None
    return Experiment(**parts, seed=config.seed, on_infeasible=config.on_infeasible, names=named(chosen))


def named(chosen: dict[str, str]) -> dict[str, str]:
    """What tables call the parts: their names in the configuration groups."""
    return {name: chosen[name] for name in ("fleet", "trace", "strategy") if chosen.get(name)}


def _instantiation(error: BaseException, node: Any, name: str) -> str:
    """What was wrong with a part, with its key and, for an unknown parameter, the nearest one."""
    import dataclasses

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return str(cause)
        last, cause = cause, cause.__cause__
    found = re.search(r"unexpected keyword argument '(\w+)'", str(last))
    key = re.search(r"full_key: (\S+)", str(error))
    where = key.group(1) if key else name
    if found:
        import hydra

        target = _target(node, where.removeprefix(name).lstrip("."))
        fields = [f.name for f in dataclasses.fields(hydra.utils.get_object(target))] if target else []
        return f"{where}: no parameter '{found.group(1)}'; {nearest(found.group(1), fields)}"
    return f"{where}: {str(last).splitlines()[0]}"


def _target(node: Any, key: str) -> str | None:
    from omegaconf import OmegaConf

    part = OmegaConf.select(node, key) if key else node
    return None if part is None else part.get("_target_")


def plain(error: BaseException) -> str:
    """A configuration error in one line, with the nearest valid name for a misspelt choice."""
    from hydra.errors import MissingConfigException

    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, MissingConfigException) and error.options:
        wanted = str(error.missing_cfg_file)
        group, _, choice = wanted.rpartition("/")
        return f"no {group or 'configuration'} '{choice}'; {nearest(choice, list(error.options))}"
    return lines[0] if lines else type(error).__name__


def compose(overrides: Sequence[str], config_dir: str | None = None) -> tuple[DictConfig, dict[str, str]]:
    """A configuration outside Hydra's own runs, and what was chosen for each group."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose("config", forced(overrides), return_hydra_config=True)
            chosen = dict(config.hydra.runtime.choices)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(plain(error)) from None
    return config, chosen


if __name__ == "__main__":
    main()
