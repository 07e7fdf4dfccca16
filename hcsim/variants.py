"""Names that tell apart the runs of one strategy with several parameters, estimators or forecast errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def named_variants(frame: pd.DataFrame) -> pd.Series[Any]:
    """The strategy of each run, with what it differs in where one was run in several variants under one seed.

    ``owned_first`` run with two patiences is ``owned_first (patience_s=60)`` and ``owned_first (patience_s=600)``. Runs
    that differ and share no seed keep their name: that is a mistake to be told, not a comparison.
    """
    names = frame["strategy"].copy()
    for name, group in frame.groupby("strategy"):
        if not group.duplicated(["seed", "window"]).any():
            continue
        given = [_given(row) for row in group.to_dict("records")]
        every = list(dict.fromkeys(key for each in given for key in each))
        apart = [key for key in every if len({str(each.get(key)) for each in given}) > 1]
        if apart:
            names.loc[group.index] = [f"{name} ({', '.join(_says(each, key) for key in apart)})" for each in given]
    return names


def _given(row: dict[Any, Any]) -> dict[str, Any]:
    """What a run's strategy was given, by the name of each parameter."""
    given = dict(row["strategy_params"] if isinstance(row["strategy_params"], dict) else {})
    if isinstance(row["estimator"], dict):
        given["knows"] = row["knowledge"]
    if row["forecast_error"] == row["forecast_error"] and row["forecast_error"] is not None:  # not NaN
        given["forecast_error"] = row["forecast_error"]
    return given


def _says(given: dict[str, Any], key: str) -> str:
    if key == "knows":
        return str(given.get(key, "knows nothing"))
    return f"{key}={given[key]}" if key in given else f"no {key}"
