"""``hcsim ablate``: sweeps with everything on and with each feature off, into one folder per case."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hcsim.ablate import CHANGED, FEWER, MEANS, MORE, ON, ablation, heat_map, several
from hcsim.model import InputError, nearest

USAGE = (
    "usage: hcsim ablate strategy=a,b[,...] [seed=1,2,3] [switches=data,reclaims] [key=value ...]\n\n"
    "Runs the sweep that hcsim run -m would with everything on, and once more with each switch off; compares the\n"
    "rankings. hydra.sweep.dir=FOLDER keeps it there, one folder per case, and goes on where it stopped.\n"
    "Writes ablation.csv, pairs.csv, shifts.csv and ablation.png into the folder."
)


def main(args: Sequence[str]) -> int:
    """Run or resume an ablation and report it."""
    from hcsim.cli import fail
    from hcsim.compare import compare
    from hcsim.progress import Busy
    from hcsim.runs import read_runs

    if not args or "-h" in args or "--help" in args:
        print(USAGE)
        return 0 if args else 2
    overrides, wanted, folder = _parsed(args)
    with Busy("looking for what can be switched off"):
        base, relevant = _relevant(overrides)
    switches = [name for name in relevant if relevant[name]] if wanted is None else list(wanted)
    for name in switches:
        if name not in relevant:
            raise InputError(f"switches: no switch '{name}'; {nearest(name, list(relevant))}")
    absent = [name for name in (wanted or relevant) if not relevant[name]]
    cases = [ON, *(name for name in switches if relevant[name])]
    if absent:
        print(f"nothing to switch off here: {', '.join(absent)}")
    if len(cases) < 2:
        raise InputError("ablate: none of the switches takes anything out of this world")
    runs = {}
    try:
        for i, case in enumerate(cases, 1):
            started = time.monotonic()
            failed = _sweep(overrides, folder / case, [*base, *([] if case == ON else [case])])
            found = read_runs([folder / case])
            for line in (*failed, *found.left_out):
                print(f"hcsim: left out: {line}", file=sys.stderr)
            compare(found)  # refuses runs of different worlds
            if case == ON:
                several(found.runs["strategy"])
            runs[case] = found.runs
            what = "everything on" if case == ON else f"without {case}"
            print(f"{i}/{len(cases)} {what}: {len(found.runs)} runs, {time.monotonic() - started:.0f} s", flush=True)
    except KeyboardInterrupt:
        fail(f"interrupted; finished runs stay, and the same command with hydra.sweep.dir={folder} goes on", 130)
    return _report(ablation(runs, absent), folder)


def _report(found: Any, folder: Path) -> int:
    from rich.console import Console

    from hcsim.experiment import write_atomically

    Console(width=None if sys.stdout.isatty() else 200).print(found.table())
    write_atomically(folder / "ablation.csv", lambda path: found.frame.to_csv(path, index=False))
    for line in found.told:
        print(line)
    write_atomically(folder / "pairs.csv", lambda path: found.pair_frame.to_csv(path, index=False))
    write_atomically(folder / "shifts.csv", lambda path: found.shift_frame.to_csv(path, index=False))
    write_atomically(
        folder / "ablation.png", lambda path: heat_map(found).savefig(path, dpi=150, format="png", facecolor="white")
    )
    names = ("ablation.csv", "pairs.csv", "shifts.csv", "ablation.png")
    print(", ".join(str(folder / name) for name in names))
    print(f"reverse an order: {found.having(CHANGED)}")
    print(f"make an order that could be told lost: {found.having(FEWER)}")
    print(f"bring about an order that could not be told: {found.having(MORE)}")
    print(f"change places of means alone, within their intervals: {found.having(MEANS)}")
    changing = ", ".join(found.changing) or "none"
    print(f"features that change a ranking: {changing} (of {len(found.switches)} switched off)")
    return 0


def _parsed(args: Sequence[str]) -> tuple[list[str], tuple[str, ...] | None, Path]:
    """Overrides for the sweeps, the switches asked for (None: all), and the folder."""
    wanted: tuple[str, ...] | None = None
    folder = Path("ablations") / time.strftime("%Y-%m-%d") / time.strftime("%H-%M-%S")
    overrides = []
    for each in args:
        key, equals, value = each.partition("=")
        if not equals and not each.startswith("-"):
            raise InputError(f"ablate: cannot read '{each}', expected key=value")
        if key == "switches":
            wanted = tuple(filter(None, (name.strip() for name in value.strip("[]").split(","))))
        elif key == "hydra.sweep.dir":
            folder = Path(value)
        elif key in ("-m", "--multirun"):
            continue
        else:
            overrides.append(each)
    if not any(each.startswith(("strategy=", "experiment=", "+experiment=")) for each in overrides):
        raise InputError("ablate: which strategies are to be ranked? expected strategy=NAME,NAME,...")
    varied = ("strategy", "+strategy", "estimator", "forecast_error", "experiment", "+experiment")
    mine = [each for each in overrides if each.partition("=")[0].partition(".")[0] in varied]
    if not any(re.search(r"[,(]", each) or "experiment=" in each for each in mine):
        several([each.partition("=")[2] for each in mine if each.startswith("strategy=")])
    if not any(each.startswith("hydra/launcher=") for each in overrides):
        overrides.append("hydra/launcher=joblib")
    return overrides, wanted, folder


def _relevant(overrides: Sequence[str]) -> tuple[list[str], dict[str, bool]]:
    """What is switched off anyway, and switch -> whether it takes anything out of the world under some seed."""
    from hcsim.cli import compose, config_dirs, part
    from hcsim.sim.switches import OF_EXECUTOR, SWITCHES
    from hcsim.sources import plain

    firsts = [_first(each) for each in overrides if not each.startswith(("hydra", "-"))]
    folders = config_dirs(overrides)
    seeds = next((each.partition("=")[2] for each in reversed(overrides) if each.startswith("seed=")), "0")
    found: dict[str, bool] = dict.fromkeys([*SWITCHES, *OF_EXECUTOR], False)
    base: list[str] = []
    for seed in seeds.split(","):
        given = [*(each for each in firsts if not each.startswith("seed=")), f"seed={seed.strip()}"]
        config, _ = compose(given, folders[0] if folders else None)
        executor = part(config, "executor")
        if not hasattr(executor, "without"):
            raise InputError(f"ablate: executor '{executor.name}' has no switches, expected executor=sim")
        base = list(executor.without)
        fleet, trace = part(config, "fleet"), part(config, "trace")
        fleet, jobs = executor.world(fleet, trace.jobs(int(config.seed)))
        played = plain(fleet)
        for name, switch in SWITCHES.items():
            if not found[name] and name not in base:
                other, others = switch(fleet, jobs)
                found[name] = plain(other) != played or others.sha256 != jobs.sha256
        carries = bool(fleet.links) and bool((jobs.dataset_site >= 0).any() or (jobs.checkpoint_bytes > 0).any())
        found["sharing"] |= carries and "sharing" not in base
        found["crashes"] |= executor.job_mtbf_s != float("inf") and "crashes" not in base
        if all(found.values()):
            break
    return base, found


def _first(override: str) -> str:
    """An override with the first of several values."""
    key, _, value = override.partition("=")
    parts = re.split(r",(?![^\[({]*[\])}])", value)
    return f"{key}={parts[0]}"


def _sweep(overrides: Sequence[str], folder: Path, without: Sequence[str]) -> list[str]:
    """One sweep; what failed in it, line by line."""
    from hcsim.cli import main as hcsim

    said = io.StringIO()
    own = [each for each in overrides if not each.startswith("executor.without=")]
    try:
        with _quiet(), contextlib.redirect_stderr(said):
            hcsim(["run", "-m", *own, f"executor.without=[{','.join(without)}]", f"hydra.sweep.dir={folder}"])
    except SystemExit as end:
        if end.code == 130:
            raise KeyboardInterrupt from None
        lines = [line.removeprefix("hcsim: error: ") for line in said.getvalue().splitlines() if "error:" in line]
        if not list(folder.rglob("summary.json")):
            raise InputError(lines[0] if lines else "the sweep failed") from None
        return lines
    return []


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What cells say of themselves is not shown, in this process and in workers that it starts."""
    sys.stdout.flush()
    kept, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)
