"""``hcsim audit RUN``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hcsim.model import InputError


def main(run: Path) -> int:
    """Audit a run's folder and say what was found; 1 when something is wrong."""
    from rich.console import Console

    from hcsim.audit.folder import audit_run
    from hcsim.kept import part_of
    from hcsim.progress import Busy

    fleet, perf, executor = (part_of(run, name) for name in ("fleet", "perf", "executor"))
    fleet = _played(fleet, executor)
    _same(run, fleet)
    live = executor.name != "sim"
    with Busy(f"auditing {run}") as busy:
        report = audit_run(
            run,
            fleet,
            perf,
            live=live,
            shared_links="sharing" not in getattr(executor, "without", ()),
            scheduled=not getattr(executor, "processes", ()),
            watch=lambda at, of: busy(f"auditing {run}: {at:,} of {of:,} events"),
        )
    if report.breach is None:
        console = Console(width=None if sys.stdout.isatty() else 160)
        console.print(report.table())
        for what, over in report.proved.items():
            console.print(f"{what}: {over}", highlight=False)
    print(report.verdict)
    return 0 if report.breach is None else 1


def _same(run: Path, fleet: Any) -> None:
    """The fleet is the one that was run: traces that drive it are read again, and may have changed.

    Raises:
        InputError: it is not.
    """
    from hcsim.experiment import fleet_sha256

    try:
        recorded = json.loads((run / "summary.json").read_text())["fleet_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # interrupted, or said by the audit of the folder
    if recorded != (found := fleet_sha256(fleet)):
        what = f"fleet '{fleet.name}': a file that it is read from, or hcsim, has changed since the run"
        raise InputError(f"{run}: {what} (hash {found[:12]}, recorded {str(recorded)[:12]})")


def _played(fleet: Any, executor: Any) -> Any:
    """The fleet with what the executor leaves out left out."""
    from hcsim.model import Jobs

    return executor.world(fleet, Jobs.build(arrival_s=[], duration_s=[]))[0]
