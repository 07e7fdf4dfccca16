"""The loop. It is the same for a simulation, a live run and a replay; only the executor differs."""

from __future__ import annotations

import gc
import pickle
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

from hcsim.admission import admit
from hcsim.events import Kind
from hcsim.executor import Executor
from hcsim.log import CHUNK_ROWS, Log
from hcsim.model import InputError
from hcsim.plan import Plan
from hcsim.state import State
from hcsim.strategy import AnyStrategy, RememberingStrategy
from hcsim.view import View


class StrategyError(InputError):
    """A strategy raised, returned something that is not a plan, or asked for something that is not an action."""


@dataclass
class Clock:
    """What a run cost: seconds of wall clock spent in ``decide`` and how often it was called."""

    decide_s: float = 0.0
    decisions: int = 0


def run(executor: Executor, strategy: AnyStrategy, state: State, log: Log) -> Clock:
    """Let the executor's world and the strategy act on each other until nothing more can happen.

    Each instant: the executor's events are applied and logged; if the strategy's ``wake`` selects the instant, a WAKE
    row is logged and it decides; its plan is admitted, and what stands is submitted to the executor.

    Raises:
        StrategyError: the strategy is at fault; the message names it, the decision and the time.
    """
    with _rarely_collecting():
        return _loop(executor, strategy, state, log)


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """Rows are tuples of numbers, never garbage in a cycle: looking for some every 700 of them costs 5 % of a run."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _loop(executor: Executor, strategy: AnyStrategy, state: State, log: Log) -> Clock:
    books, orders, rows, counts = state.books, state.orders, log.rows, state.books.queue.counts
    view = state.view(strategy.needs)
    decide = _remembering(strategy, view, log) if isinstance(strategy, RememberingStrategy) else strategy.decide
    wake, clock, timer = strategy.wake, Clock(), time.perf_counter
    any_kind, waiting_only, period_s, news = wake.kinds is None, wake.waiting_only, wake.period_s, wake.news
    tick = 0
    instant, again = -1.0, 0  # how many decisions this instant has seen
    asked: set[float] = set()

    apply, submit, next_order, add = state.apply, executor.submit, orders.popleft, rows.extend

    if period_s:
        executor.wake_at(0.0)
    for now, events in executor.instants():
        apply(events)
        add(events)
        selected = any_kind or wake.selects(events)
        while orders:
            caused = submit(next_order())
            apply(caused)
            add(caused)
            selected = selected or wake.selects(caused)
        if len(rows) >= CHUNK_ROWS:
            log.flush()
        if period_s and now >= tick * period_s:
            tick = int(now // period_s)
            while tick * period_s <= now:  # the quotient may have been rounded
                tick += 1
            executor.wake_at(tick * period_s)
        elif (waiting_only and not counts) or not selected:
            continue
        if now > instant:
            instant, again = now, 0
        else:
            again += 1
            if again > MOST_DECISIONS:
                raise _fault(
                    strategy, view, RecursionError(f"decided {again} times at one instant and does not settle")
                )
        rows.append((now, _WAKE, books.decision, -1, 0.0, 0.0))
        started = timer()
        try:
            plan = decide(view)
        except (Exception, SystemExit, GeneratorExit) as error:
            raise _fault(strategy, view, error) from error
        if type(plan) is not Plan or plan is not books.plan:
            raise _fault(strategy, view, plan)
        clock.decide_s += timer() - started
        if plan._actions:
            try:
                outcome = admit(state, plan)
            except Exception as error:
                raise _fault(strategy, view, error) from error
            add(outcome)
            anew = not any_kind and not news.isdisjoint([row[1] for row in outcome])
            while orders:
                caused = submit(next_order())
                apply(caused)
                add(caused)
                for row in caused:
                    anew = anew or row[1] in news
            if anew and (counts or not waiting_only):
                executor.wake_at(now)  # what the plan has brought about is news to it
        books.plan = None
        books.decision += 1
        for at in plan.timers or ():
            if at not in asked:  # the same time may be asked for at many decisions
                asked.add(at)
                executor.wake_at(at)
    last = executor.last()
    apply(last)
    add(last)
    if executor.end_s < inf:
        rows.append((executor.end_s, _ENDED, -1, -1, 0.0, 0.0))
    clock.decisions = books.decision
    return clock


_WAKE, _ENDED = int(Kind.WAKE), int(Kind.ENDED)
#: Decisions of one instant, each brought about by the one before, after which a strategy is taken to go in circles.
MOST_DECISIONS = 1000


def _remembering(strategy: RememberingStrategy[Any], view: View, log: Log) -> Callable[[View], Plan]:
    """``decide`` with its memory carried along and fingerprinted in the log, so that a replay that remembers something
    else is found out."""
    try:
        memory = strategy.initial(view)
    except Exception as error:
        raise _fault(strategy, view, error) from error

    before: Any = object()
    print_ = 0.0

    def decide(view: View) -> Plan:
        nonlocal memory, before, print_
        answer = strategy.decide(view, memory)
        if type(answer) is not tuple or len(answer) != 2:
            raise TypeError(f"decide returned {type(answer).__name__}, expected a pair of plan and memory")
        plan, memory = answer
        if memory is not before:  # frozen, so the same object is the same memory
            before, print_ = memory, float(zlib.crc32(pickle.dumps(memory, protocol=5)))
        log.rows.append((view.now, Kind.REMEMBERED, view.decision, -1, print_, 0.0))
        return plan

    return decide


def _fault(strategy: AnyStrategy, view: View, what: object) -> StrategyError:
    """The one-line error for a strategy that raised, or returned something that is not a plan."""
    if isinstance(what, InputError):
        said = f"was refused: {what}"
    elif isinstance(what, RecursionError) and not what.__traceback__:
        said = str(what)
    elif isinstance(what, BaseException):
        frame = traceback.extract_tb(what.__traceback__)[-1]
        said = f"raised {type(what).__name__}: {what} at {frame.filename}:{frame.lineno}"
    elif type(what) is Plan:
        said = "returned a plan that is not the last of view.plan(): one plan stands at a time"
    else:
        said = f"returned {type(what).__name__}, expected the Plan of view.plan()"
    return StrategyError(f"strategy {strategy.name} {said} (decision {view.decision}, t = {view.now:g} s)")
