"""A worker process: one run of one job. Started by :mod:`hcsim.live.executor`, which passes it one end of a pipe.

It is told its task over the connection, trains, and answers with tuples whose first item is the word:
``started``, ``saved`` (a periodic checkpoint is written), ``stopped`` (the checkpoint that was asked for is written),
``finished`` (steps, loss, hash of the weights) or ``failed`` (what was raised). When the connection breaks, the one
who placed it is gone, and so is the worker.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """What a worker is to do: ``steps`` in all, on ``cores``, with a checkpoint every ``interval_s`` of wall clock."""

    job: int
    seed: int
    steps: int
    cores: tuple[int, ...]
    threads: int
    interval_s: float
    checkpoint: str


def main(descriptor: int) -> None:
    """Do the one task that comes over the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who stops its workers
    connection = Connection(descriptor)
    try:
        task: Task = connection.recv()
        try:
            _train(task, connection)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            connection.send(("failed", f"{type(error).__name__}: {error}"))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        sys.exit(1)


def _train(task: Task, connection: Connection) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, task.cores)
    from hcsim.live.work import Training, use_threads

    use_threads(task.threads)
    work = Training(task.seed, task.job)
    path = Path(task.checkpoint)
    if path.exists():
        work.restore(path)
    connection.send(("started", work.steps))
    save_at = time.monotonic() + task.interval_s
    while work.steps < task.steps:
        if connection.poll():
            connection.recv()  # the only thing that is ever said is: stop
            work.save(path)
            connection.send(("stopped", work.steps))
            return
        work.step()
        if time.monotonic() >= save_at:
            work.save(path)
            save_at = time.monotonic() + task.interval_s
            connection.send(("saved", work.steps))
    work.save(path)  # a stop may have crossed with the end: then the job starts once more and has nothing left to do
    connection.send(("finished", work.steps, work.loss, work.weights_sha256()))
