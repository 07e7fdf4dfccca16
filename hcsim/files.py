"""Files that belong together and take the place of others together."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """A new folder to write files into. When that has gone well they take the place of those in ``folder``; if not,
    what was there stays.

    An interrupt waits until all are in place; a process that is killed between two leaves none of the last name.

    Args:
        names: of the files, the one that says that the others are whole last.
    """
    new = folder / ".hcsim-partial"
    shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
    new.mkdir(parents=True)
    try:
        yield new
        with _uninterrupted():
            (folder / names[-1]).unlink(missing_ok=True)
            for name in names:
                if (new / name).exists():
                    os.replace(new / name, folder / name)
                else:
                    (folder / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the end."""
    if threading.current_thread() is not threading.main_thread():  # where no interrupt arrives
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
    if came:
        signal.raise_signal(signal.SIGINT)
