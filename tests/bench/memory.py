"""Peak memory of one run, in a process of its own: ``python -m tests.bench.memory JOBS NODES`` prints JSON."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from tests.bench.worlds import simulate, steady

STATUS = Path("/proc/self/status")


def resident_bytes(field: str) -> int:
    """``VmRSS`` (now) or ``VmHWM`` (peak) of this process.

    On Linux both are read from /proc: there, getrusage's peak of a process starts with that of the process which
    started it. Elsewhere both are getrusage's peak, in units of 1024 bytes except on macOS.
    """
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(jobs: int, nodes: int) -> None:
    simulate(*steady(1000, nodes))  # what is imported late is loaded, and what is cached per fleet size has its place
    fleet, work = steady(jobs, nodes)
    before = resident_bytes("VmRSS")
    ran = simulate(fleet, work)
    peak = resident_bytes("VmHWM")
    print(json.dumps({"bytes_per_job": (peak - before) / jobs, "rows": len(ran.rows), "sha256": ran.sha256}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
