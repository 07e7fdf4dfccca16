"""``hcsim audit RUN``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main(run: Path) -> int:
    """Audit a run's folder and say what was found; 1 when something is wrong."""
    from rich.console import Console

    from hcsim.audit.folder import audit_run
    from hcsim.kept import part_of
    from hcsim.progress import Busy

    fleet, perf, executor = (part_of(run, name) for name in ("fleet", "perf", "executor"))
    live = executor.name != "sim"
    with Busy(f"auditing {run}") as busy:
        report = audit_run(
            run,
            _played(fleet, executor),
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


def _played(fleet: Any, executor: Any) -> Any:
    """The fleet with what the executor leaves out left out."""
    from hcsim.model import Jobs

    return executor.world(fleet, Jobs.build(arrival_s=[], duration_s=[]))[0]
