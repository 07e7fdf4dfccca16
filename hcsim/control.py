"""The loop. It is the same for a simulation, a live run and a replay; only the executor differs."""

from __future__ import annotations

import pickle
import time
import traceback
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hcsim.events import Kind, Row
from hcsim.executor import Executor
from hcsim.log import CHUNK_ROWS, Log
from hcsim.model import InputError
from hcsim.plan import Plan
from hcsim.state import State
from hcsim.strategy import AnyStrategy, RememberingStrategy


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
    books, orders, rows = state.books, state.orders, log.rows
    decide, wake = _decider(strategy, state, log), strategy.wake
    clock, timer = Clock(), time.perf_counter
    tick = 0.0

    def record(events: Sequence[Row]) -> None:
        state.apply(events)
        rows.extend(events)
        while orders:
            caused = executor.submit(orders.popleft())
            state.apply(caused)
            rows.extend(caused)

    if wake.period_s:
        executor.wake_at(0.0)
    for now, events in executor.instants():
        record(events)
        if len(rows) >= CHUNK_ROWS:
            log.flush()
        if wake.period_s and now >= tick:
            tick = (now // wake.period_s + 1) * wake.period_s
            executor.wake_at(tick)
        elif not wake.selects(events, books.queue.counts):
            continue
        rows.append((now, _WAKE, books.decision, -1, 0.0, 0.0))
        started = timer()
        plan = decide()
        clock.decide_s += timer() - started
        books.decision += 1
        rows.extend(state.admit(plan))
        record(_NOTHING)
        for at in plan.timers or _NOTHING:
            executor.wake_at(at)
    clock.decisions = books.decision
    return clock


_WAKE = int(Kind.WAKE)
_NOTHING: tuple[Row, ...] = ()


def _decider(strategy: AnyStrategy, state: State, log: Log) -> Callable[[], Plan]:
    """``decide`` bound to the run's view (and memory), its faults turned into one-line errors."""
    books = state.books
    view = state.view(knows_runtime="runtime" in strategy.needs)

    def fault(what: str) -> StrategyError:
        return StrategyError(f"strategy {strategy.name} {what} (decision {books.decision}, t = {books.now:g} s)")

    def checked(plan: object) -> Plan:
        if type(plan) is not Plan:
            raise fault(f"returned {type(plan).__name__}, expected the Plan of view.plan()")
        return plan

    def raised(error: Exception) -> StrategyError:
        if isinstance(error, StrategyError):
            return error
        if isinstance(error, InputError):
            return fault(f"was refused: {error}")
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return fault(f"raised {type(error).__name__}: {error} at {frame.filename}:{frame.lineno}")

    if isinstance(strategy, RememberingStrategy):
        memory = strategy.initial(view)

        def remember() -> Plan:
            nonlocal memory
            try:
                answer = strategy.decide(view, memory)
                if type(answer) is not tuple or len(answer) != 2:
                    raise fault(f"returned {type(answer).__name__}, expected (plan, memory)")
                plan, memory = answer
                # the memory's fingerprint is in the log: a replay that remembers something else is found out
                print_ = float(zlib.crc32(pickle.dumps(memory, protocol=5)))
            except Exception as error:
                raise raised(error) from error
            log.rows.append((books.now, Kind.REMEMBERED, books.decision, -1, print_, 0.0))
            return checked(plan)

        return remember

    decide = strategy.decide

    def ask() -> Plan:
        try:
            return checked(decide(view))
        except Exception as error:
            raise raised(error) from error

    return ask
