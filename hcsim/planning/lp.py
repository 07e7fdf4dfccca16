"""Linear programmes of shares, on HiGHS.

Solved by its interior-point method without crossover, on one thread: of many optima it gives one amid them, which
treats alike jobs alike, where a vertex is as good as drawn by lot. The limit is a number of iterations, never
a time, so the answer is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
#: Interior-point iterations; what is solvable takes some tens.
MOST_ITERATIONS = 500
OPTIMAL = int(highspy.HighsModelStatus.kOptimal)


class _Quiet(highspy.Highs):
    """HiGHS that writes nothing: its own constructor sets up callbacks, and says so, before it can be told not to."""

    def __init__(self) -> None:
        super(highspy.Highs, self).__init__()
        self.setOptionValue("output_flag", False)


@dataclass(frozen=True)
class Answer:
    """What came of a programme.

    Args:
        x: the variables; of no meaning unless ``solved``, nor are the others.
        price: of each constraint, what the objective would gain by its being looser (its dual value).
        value: of the objective.
        status: HiGHS's model status, ``FELL_BACK``'s subject where a rule goes on without an answer.
    """

    x: Floats
    price: Floats
    value: float
    status: int

    @property
    def solved(self) -> bool:
        return self.status == OPTIMAL

    @property
    def words(self) -> str:
        """The status in HiGHS's words, such as ``Infeasible``."""
        return str(_Quiet().modelStatusToString(highspy.HighsModelStatus(self.status)))


@dataclass(frozen=True)
class Rows:
    """Constraints low <= A x <= high, row by row: ``start`` (rows + 1) into ``index`` and ``value``."""

    start: Ints
    index: Ints
    value: Floats
    low: Floats
    high: Floats

    def and_(self, other: Rows) -> Rows:
        """These and those of another."""
        return Rows(
            np.r_[self.start, other.start[1:] + self.start[-1]].astype(np.int32),
            np.r_[self.index, other.index],
            np.r_[self.value, other.value],
            np.r_[self.low, other.low],
            np.r_[self.high, other.high],
        )


def rows(matrix: Floats, first: int, low: Floats, high: Floats, last: Floats | None = None, column: int = -1) -> Rows:
    """A row per row i of a matrix (m, k), over the variables first + i k to first + (i + 1) k - 1, and one more.

    Args:
        last: coefficients of the variable ``column`` in each row (None: it is in none).
    """
    m, k = matrix.shape
    index = first + np.arange(m * k, dtype=np.int32).reshape(m, k)
    if last is not None:
        index = np.c_[index, np.full(m, column, np.int32)]
        matrix = np.c_[matrix, last]
    start = np.arange(m + 1, dtype=np.int32) * matrix.shape[1]
    return Rows(start.astype(np.int32), index.ravel().astype(np.int32), matrix.ravel(), low, high)


def shares_rows(gangs: Floats, gpus: Floats) -> Rows:
    """What shares X (m, k) must keep: nobody more than all of its time, no pool more than its GPUs."""
    m, k = len(gangs), len(gpus)
    ones = rows(np.ones((m, k)), 0, np.full(m, -np.inf), np.ones(m))
    index = np.arange(m * k, dtype=np.int32).reshape(m, k).T.ravel()
    pools = Rows((np.arange(k + 1) * m).astype(np.int32), index, np.tile(gangs, k), np.full(k, -np.inf), gpus)
    return ones.and_(pools)


def solve(cost: Floats, constraints: Rows, high: Floats, low: Floats | None = None, maximise: bool = False) -> Answer:
    """The programme min (max) cost · x with these constraints and low <= x <= high (low: 0).

    A programme without a solution is answered with its status, not an error.
    """
    solver = _Quiet()
    for name, value in (
        ("threads", 1), ("random_seed", 0), ("solver", "ipm"), ("run_crossover", "off"),
        ("presolve", "on" if cost.any() else "off"),  # which would answer with the first corner that will do
        ("ipm_iteration_limit", MOST_ITERATIONS), ("simplex_iteration_limit", 0), ("time_limit", np.inf),
    ):  # fmt: skip
        solver.setOptionValue(name, value)
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(cost), len(constraints.low)
    model.col_cost_, model.col_lower_, model.col_upper_ = cost, np.zeros_like(cost) if low is None else low, high
    model.row_lower_, model.row_upper_ = constraints.low, constraints.high
    model.sense_ = highspy.ObjSense.kMaximize if maximise else highspy.ObjSense.kMinimize
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_, model.a_matrix_.index_ = constraints.start, constraints.index
    model.a_matrix_.value_ = constraints.value
    solver.passModel(model)
    solver.run()
    status = solver.getModelStatus()
    found = solver.getSolution()
    x, price = np.array(found.col_value, np.float64), np.array(found.row_dual, np.float64)
    return Answer(x, price, float(solver.getInfo().objective_function_value), int(status))
