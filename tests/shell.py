"""The command line as tests call it: in this process, which costs a tenth of a new one."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from hcsim.cli import main


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    status: int
    out: str
    err: str


def hcsim(*args: object) -> Said:
    """Run one command; what it changes in this process is put back. A traceback is one here, and fails the test."""
    out, err = io.StringIO(), io.StringIO()
    argv, path, level, full = sys.argv, list(sys.path), logging.root.level, os.environ.get("HYDRA_FULL_ERROR")
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main([str(each) for each in args])
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.argv, sys.path[:] = argv, path
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full
        logging.root.setLevel(level)  # Hydra silences what others log
        for logger in logging.root.manager.loggerDict.values():
            if isinstance(logger, logging.Logger):
                logger.disabled = False
    return Said(status, out.getvalue(), err.getvalue())


def refused(folder: Path, *args: object) -> str:
    """The one line that `hcsim run` says of bad input, having left nothing in the run's folder."""
    said = hcsim("run", f"hydra.run.dir={folder}", *args)
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("hcsim: error: ") and said.err.count("\n") == 1, said.err
    assert not folder.is_dir() or not list(folder.iterdir())
    return said.err.removeprefix("hcsim: error: ").rstrip("\n")


def swf(job: int = 1, submit: float = 0, run: object = 60, procs: int = 4) -> str:
    """A line of an SWF file."""
    return f"{job} {submit} -1 {run} {procs} -1 -1 {procs} 100 -1 1 7 1 1 1 1 -1 -1\n"


def heeds_interrupts() -> None:
    """For a process that a test interrupts: one that was started in the background would ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
