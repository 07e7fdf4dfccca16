"""What a paper's first table says of a trace: figures of jobs, and of a table of any other kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hcsim.model import Jobs
from hcsim.traces._measures import (
    DAY_S,
    HOUR_S,
    LINK_MEASURES,
    YEAR_S,
    between,
    date,
    dated,
    dispersion,
    frame_of,
    gang_sizes,
    losses,
    per_bin,
    per_gpu,
    provider,
    quantiles,
    reuse,
    runs,
    same_provider,
    shares,
    spells,
    split,
    steps,
    variation,
    yearly,
)
from hcsim.traces._table import Table

if TYPE_CHECKING:
    import pandas as pd


def describe(jobs: Jobs, table: Table | None = None, start_s: float | None = None) -> dict[str, Any]:
    """Figures of jobs: rows, span, offered load, gang sizes, quantiles, tenants, gaps, duplicates.

    ``index_of_dispersion`` is variance over mean of hourly submissions (1 for a Poisson process), ``interarrival_cv``
    the coefficient of variation of the time between submissions (1 likewise). The offered load is the work of all jobs
    over the time from the first submission to the last.

    Args:
        table: the log that the jobs are of, for what jobs do not hold: what was left out, and how they ended.
        start_s: the clock time at which their times are 0, in seconds since 1970, where it is known.

    Returns:
        Key -> a number, text or several texts; quantiles (a dictionary); or a data frame.
    """
    gaps = np.diff(jobs.arrival_s)
    span_s = float(jobs.arrival_s[-1] - jobs.arrival_s[0]) if len(jobs) else 0.0
    gpus = jobs.gpus * jobs.gpu_milli / 1000.0
    work_s = gpus * jobs.duration_s
    by_tenant = np.bincount(jobs.tenant, minlength=1)
    same = np.unique(np.column_stack([jobs.arrival_s, jobs.duration_s, gpus, jobs.tenant]), axis=0)
    out: dict[str, Any] = {
        "source": jobs.source,
        "rows": len(jobs),
        "span_days": span_s / DAY_S,
        "gpu_hours": float(work_s.sum() / HOUR_S),
        "load_gpus": float(work_s.sum() / span_s) if span_s else None,
        "tenants": int((by_tenant > 0).sum()),
        "largest_tenant_share": float(by_tenant.max() / max(len(jobs), 1)),
        "duplicates": len(jobs) - len(same),
        "longest_gap_h": float(gaps.max() / HOUR_S) if len(gaps) else None,
        "index_of_dispersion": dispersion(jobs.arrival_s, HOUR_S),
        "interarrival_cv": variation(gaps),
        "at_time_0": int((jobs.arrival_s == 0).sum()),
        "residency_share": float((jobs.residency >= 0).mean()) if len(jobs) else 0.0,
        "dataset_share": float((jobs.dataset_site >= 0).mean()) if len(jobs) else 0.0,
        "deadline_share": float(np.isfinite(jobs.deadline_s).mean()) if len(jobs) else 0.0,
        "duration_s": quantiles(jobs.duration_s),
        "interarrival_s": quantiles(gaps),
        "gpus": quantiles(gpus),
        "gang_sizes": gang_sizes(gpus, jobs.duration_s),
    }
    if start_s is not None and len(jobs):
        out["dates"] = _dates(start_s + jobs.arrival_s[0], start_s + jobs.arrival_s[-1])
    if out["tenants"] < 2:
        del out["tenants"], out["largest_tenant_share"]
    if table is not None:
        out |= _left_out(table)
        if "status" in table.frame:
            out["ended"] = shares(table.frame["status"], "status")
    return out


def describe_table(table: Table) -> dict[str, Any]:
    """Figures of a table of any kind, as :func:`describe`: what all have, then what its kind is judged by."""
    frame = table.frame
    out: dict[str, Any] = {"source": table.source, "kind": table.kind, "rows": len(frame)}
    out |= _left_out(table)
    for time in ("time_s", "arrival_s", "start_s"):
        if time in frame and frame[time].notna().any():
            first, last = float(frame[time].min()), float(frame[time].max())
            out["span_days"] = (last - first) / DAY_S
            if dated(first, last):
                out["dates"] = f"{_dates(first, last)} UTC"
            elif table.start_s is not None:
                out["dates"] = _dates(table.start_s + first, table.start_s + last)
            break
    lists = [name for name in frame if str(frame[name].dtype).startswith(("list", "object"))]
    if not lists and table.kind != "nodes":  # of which many are alike
        out["duplicates"] = int(frame.duplicated().sum())
    missing = {str(name): int(n) for name, n in frame.isna().sum().items() if n}
    if missing:
        out["missing"] = ", ".join(f"{name} {n:,}" for name, n in missing.items())
    return out | _KINDS[table.kind](frame)


def _dates(first_s: float, last_s: float) -> str:
    return f"{date(first_s)} to {date(last_s)}"


def _left_out(table: Table) -> dict[str, Any]:
    left = tuple(f"{each.count:,} rows: {each.reason} (first: row {each.row})" for each in table.dropped)
    notes = tuple(getattr(table, "notes", ()))
    return ({"left_out": left} if left else {}) | ({"notes": notes} if notes else {})


def _requests(frame: pd.DataFrame) -> dict[str, Any]:
    when = np.sort(frame["arrival_s"].dropna().to_numpy())
    out: dict[str, Any] = {}
    if len(when) > 1 and when[-1] > when[0]:
        span_s = when[-1] - when[0]
        out |= {
            "rate_per_s": len(when) / span_s,
            "busiest_minute_per_s": float(per_bin(when, 60.0)[0].max() / 60.0),
            "tokens_per_s": float((frame["prompt_tokens"] + frame["output_tokens"]).sum() / span_s),
            "index_of_dispersion_minute": dispersion(when, 60.0),
            "interarrival_cv": variation(np.diff(when)),
        }
    for column, key in (("client", "clients"), ("model", "models")):
        if column in frame:
            out[key] = frame[column].nunique()
            out[f"largest_{column}_share"] = float(frame[column].value_counts(normalize=True).iloc[0])
    if "hash_ids" in frame:
        seen, length = reuse(frame)
        out |= {"prefix_blocks": int(length.sum()), "prefix_blocks_seen_before_share": float(seen.sum() / length.sum())}
    if len(when) > 1:
        out["interarrival_s"] = quantiles(np.diff(when))
    for key in ("prompt_tokens", "output_tokens", "service_s"):
        if key in frame and frame[key].gt(0).any():
            out[key] = quantiles(frame[key].dropna())
    if frame["output_tokens"].gt(0).any():
        out["output_per_prompt_token"] = quantiles(frame["output_tokens"] / frame["prompt_tokens"].clip(lower=1))
    return out


def _submissions(frame: pd.DataFrame) -> dict[str, Any]:
    gaps = np.diff(np.sort(frame["arrival_s"]))
    return {
        "index_of_dispersion": dispersion(frame["arrival_s"].to_numpy(), HOUR_S),
        "interarrival_cv": variation(gaps),
        "interarrival_s": quantiles(gaps),
        "gpus": quantiles(frame["gpus"]),
        "batch": quantiles(frame["batch"]),
        "gang_sizes": gang_sizes(frame["gpus"].to_numpy(np.float64)),
        "model": shares(frame["model"], "model"),
    }


def _load(frame: pd.DataFrame) -> dict[str, Any]:
    step_s, gaps = steps(frame)
    out: dict[str, Any] = {"places": frame["place"].nunique(), "step_s": step_s, "gaps": gaps}
    if "capacity_gpus" in frame:
        known = frame[frame["gpus"].notna()]
        used = known["gpus"].sum() / known["capacity_gpus"].sum() if known["capacity_gpus"].sum() else 0.0
        out |= {"capacity_gpus": float(frame["capacity_gpus"].max()), "utilization_share": float(used)}
    for key in ("gpus", "nodes", "capacity_nodes", "running_jobs", "pending_jobs"):
        if key in frame and frame[key].notna().any():
            out[key] = quantiles(frame[key].dropna())
    if "rate_per_s" in frame:
        out["submitted_per_h"] = quantiles(frame["rate_per_s"] * HOUR_S)
    return out


def _availability(frame: pd.DataFrame) -> dict[str, Any]:
    spell = spells(frame)
    rows = []
    for (place, gpu), mine in spell.groupby(["place", "gpu"], sort=False):
        up, down = mine[mine["nodes"] > 0], mine[mine["nodes"] == 0]
        span_s = mine["duration_s"].sum()
        rows.append(
            {
                "place": place,
                "GPU": gpu,
                "days": span_s / DAY_S,
                "uptime": f"{up['duration_s'].sum() / span_s:.1%}" if span_s else "-",
                "nodes, mean": (mine["nodes"] * mine["duration_s"]).sum() / span_s if span_s else None,
                "nodes, max": int(mine["nodes"].max()),
                "losses a day": float(losses(mine) / span_s * DAY_S) if span_s else None,
                "up, median h": _median(runs(up) / HOUR_S),
                "down, median h": _median(runs(down) / HOUR_S),
            }
        )
    return {"by_place": frame_of(rows)}


def _prices(frame: pd.DataFrame) -> dict[str, Any]:
    out: dict[str, Any] = {key + "s": frame[key].nunique() for key in ("provider", "place", "instance")}
    with_gpus = per_gpu(frame)
    out["rows_with_gpus"] = len(with_gpus)
    if not len(with_gpus):
        return out | {"usd_per_h": quantiles(frame["usd_per_h"])}
    rows = []
    for (gpu, market), mine in with_gpus.groupby(["gpu", "market"]):
        price = mine["usd_per_gpu_h"]
        row = {
            "GPU": gpu,
            "market": str(market).replace("_", " "),
            "rows": len(mine),
            "places": mine["place"].nunique(),
        }
        rows.append(row | {name: float(price.quantile(q)) for name, q in _SPREAD})
    return out | {"usd_per_gpu_hour": frame_of(rows)}


def _advice(frame: pd.DataFrame) -> dict[str, Any]:
    rows = [
        {"at most": f"{band:.0%}", "rows": len(mine), "share": f"{len(mine) / len(frame):.1%}"}
        | {name: f"{mine['saving_share'].quantile(q):.0%}" for name, q in _SPREAD}
        for band, mine in frame.groupby("interruption_share")
    ]
    out = {"places": frame["place"].nunique(), "instances": frame["instance"].nunique()}
    return out | {"saving_share": quantiles(frame["saving_share"]), "saving_by_interruptions": frame_of(rows)}


def _links(frame: pd.DataFrame) -> dict[str, Any]:
    import pandas as pd

    ends = pd.concat([frame["source"], frame["target"]])
    rows = []
    for key, label, scale in LINK_MEASURES:
        for within, mine in frame.groupby(same_provider(frame)):
            value = mine[key].dropna() / scale
            if len(value):
                where = "within a provider" if within else "between providers"
                rows.append({"measure": label, "pairs": f"{len(value):,} {where}"}
                            | {name: float(value.quantile(q)) for name, q in _SPREAD})  # fmt: skip
    return {"ends": ends.nunique(), "pairs_to_themselves": int((frame["source"] == frame["target"]).sum()),
            "by_measure": frame_of(rows)}  # fmt: skip


def _carbon(frame: pd.DataFrame) -> dict[str, Any]:
    step_s, gaps = steps(frame)
    out: dict[str, Any] = {"places": frame["place"].nunique(), "step_s": step_s, "gaps": gaps}
    if "estimated" in frame:
        out["estimated_share"] = float(frame["estimated"].mean())
    if not yearly(frame):
        hour = (
            frame.dropna(subset="g_per_kwh").groupby((frame["time_s"] // HOUR_S % 24).astype(int))["g_per_kwh"].mean()
        )
        out["dirtiest_over_cleanest_hour_of_day"] = float(hour.max() / hour.min()) if hour.min() else None
    for key in ("g_per_kwh", "pue", "carbon_free_share"):
        if key in frame and frame[key].notna().any():
            out[key] = quantiles(frame[key].dropna())
    if yearly(frame):
        year = frame["time_s"].map(lambda s: date(s)[:4])
        rows = [
            {"year": y, "provider": who, "places": len(mine)}
            | {name: float(mine["g_per_kwh"].quantile(q)) for name, q in _SPREAD}
            for (y, who), mine in frame.groupby([year, provider(frame["place"])])
        ]
        out["g_per_kwh_by_year"] = frame_of(rows)
    return out


def _failures(frame: pd.DataFrame) -> dict[str, Any]:
    """By entity, or by event where there are many entities. MTBF is the mean time between the starts of failures."""
    rows: list[dict[str, Any]] = []
    for name, mine in {"all": frame, **split(frame, "entity", "event")}.items():
        repair_h, gap_h = (mine["end_s"] - mine["start_s"]).dropna() / HOUR_S, between(mine) / HOUR_S
        row = {"of": name, "failures": len(mine), "no end": int(mine["end_s"].isna().sum())}
        row |= {"MTBF, h": float(gap_h.mean()) if len(gap_h) else None, "MTTR, h": float(repair_h.mean())}
        rows.append(row | {each: float(repair_h.quantile(q)) for each, q in _SPREAD})
    out: dict[str, Any] = {"entities": frame["entity"].nunique(), "durations": frame_of(rows)}
    if "severity" in frame:
        out["severity"] = quantiles(frame["severity"])
    return out | {"event": shares(frame["event"], "event")}


def _lifetimes(frame: pd.DataFrame) -> dict[str, Any]:
    """Failures per device time; stays that ended in none are time without a failure (censored)."""
    years = float(frame["observed_s"].sum() / YEAR_S)
    failed = int((frame["event"] != "").sum())
    rows = [
        {"event": event, "rows": len(mine), "a device year": len(mine) / years if years else None}
        | {name: float((mine["observed_s"] / DAY_S).quantile(q)) for name, q in _SPREAD}
        for event, mine in split(frame.assign(event=frame["event"].replace("", "no failure")), "event").items()
    ]
    return {
        "entities": frame["entity"].nunique(),
        "failures": failed,
        "device_years": years,
        "device_mtbf_years": years / failed if failed else None,
        "ages": frame_of(rows),
    }


def _demands(frame: pd.DataFrame) -> dict[str, Any]:
    gpus = (frame["gpus"] * frame["gpu_milli"] / 1000.0).to_numpy()
    out: dict[str, Any] = {"without_a_gpu_share": float((gpus == 0).mean())}
    out |= {"gpus": quantiles(gpus), "cpus": quantiles(frame["cpus"]), "ram_gib": quantiles(frame["ram_bytes"] / 2**30)}
    return out | {"gang_sizes": gang_sizes(gpus[gpus > 0])}


def _summaries(frame: pd.DataFrame) -> dict[str, Any]:
    named = frame.assign(figure=frame["metric"] + " (" + frame["unit"] + ")")
    wide = named.pivot_table("value", "figure", "entity", "first", sort=False).reset_index()
    wide.columns.name = None
    return {"entities": frame["entity"].nunique(), "figures": wide}


def _metrics(frame: pd.DataFrame) -> dict[str, Any]:
    rows = [
        {"metric": metric, "unit": mine["unit"].iloc[0], "rows": len(mine), "entities": mine["entity"].nunique()}
        | {name: float(mine["value"].quantile(q)) for name, q in _SPREAD}
        for metric, mine in split(frame, "metric").items()
    ]
    return {"entities": frame["entity"].nunique(), "by_metric": frame_of(rows)}


def _profiles(frame: pd.DataFrame) -> dict[str, Any]:
    out: dict[str, Any] = {"models": frame["model"].nunique(), "settings": frame["setting"].nunique()}
    rows = [
        {"metric": metric, "unit": unit, "GPU": gpu, "rows": len(mine)}
        | {name: float(mine["value"].quantile(q)) for name, q in _SPREAD}
        for (metric, unit, gpu), mine in frame.groupby(["metric", "unit", "gpu"], sort=False)
    ]
    out["gangs_measured"] = ", ".join(f"{n:g}" for n in sorted(frame["gpus"].unique()))
    return out | {"by_metric": frame_of(rows)}


def _nodes(frame: pd.DataFrame) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for gpu, mine in frame.assign(gpu=frame["gpu"].replace("", "none")).groupby("gpu"):
        many = mine["nodes"]
        row: dict[str, Any] = {"GPU": gpu, "nodes": int(many.sum()), "GPUs": int((mine["gpus"] * many).sum())}
        row["GPUs a node"] = ", ".join(f"{n:g}" for n in sorted(mine["gpus"].unique()))
        row |= {"CPUs a node": _range(mine["cpus"]), "GiB a node": _range(mine["ram_bytes"].dropna() / 2**30)}
        rows.append(row)
    rows.sort(key=lambda row: -row["GPUs"])
    many = frame["nodes"]
    return {"nodes": int(many.sum()), "all_gpus": int((frame["gpus"] * many).sum()),
            "all_cpus": float((frame["cpus"] * many).sum()), "by_gpu": frame_of(rows)}  # fmt: skip


def _median(values: Any) -> float | None:
    return float(np.median(values)) if len(values) else None


def _range(values: pd.Series[float]) -> str:
    if not len(values):
        return "-"
    low, high = values.min(), values.max()
    return f"{low:,.4g}" if low == high else f"{low:,.4g} to {high:,.4g}"


_SPREAD = (("min", 0.0), ("p10", 0.1), ("p50", 0.5), ("p90", 0.9), ("max", 1.0))
_KINDS: dict[str, Callable[[pd.DataFrame], dict[str, Any]]] = {
    "requests": _requests, "submissions": _submissions, "demands": _demands, "load": _load, "summaries": _summaries,
    "availability": _availability, "prices": _prices, "advice": _advice, "links": _links, "carbon": _carbon,
    "failures": _failures, "lifetimes": _lifetimes, "profiles": _profiles, "metrics": _metrics, "nodes": _nodes,
}  # fmt: skip
