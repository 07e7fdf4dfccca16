"""What figures and pictures of traces measure: quantiles, burstiness, gang sizes, runs of capacity, lifetimes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

DAY_S, HOUR_S, YEAR_S = 86400.0, 3600.0, 365.25 * 86400.0
#: Times in this range are seconds since 1970 (from 1973 to 5138), smaller ones count from the source's first event.
EPOCH_S = (1e8, 1e11)
#: The most gang sizes, and the most names, that are told apart.
MOST_SIZES = MOST_ROWS = 12
#: Column of links -> its name in a table, and the unit that it is shown in.
LINK_MEASURES = (("bytes_per_s", "MB/s", 1e6), ("rtt_s", "RTT, ms", 1e-3), ("usd_per_gb", "USD/GB", 1.0))
Floats = npt.NDArray[np.float64]


def quantiles(values: Any) -> dict[str, float]:
    """Mean, least, P10, P50, P90, P99 and greatest; empty for no values."""
    x = np.asarray(values, np.float64)
    if not len(x):
        return {}
    p10, p50, p90, p99 = (float(q) for q in np.percentile(x, (10, 50, 90, 99)))
    return {"mean": float(x.mean()), "min": float(x.min()), "p10": p10, "p50": p50, "p90": p90, "p99": p99,
            "max": float(x.max())}  # fmt: skip


def per_bin(when_s: Floats, bin_s: float) -> tuple[npt.NDArray[np.int64], float]:
    """How many fall into each bin that is not empty, and the number of bins from the first to the last."""
    which = (when_s - when_s.min()) // bin_s
    return np.unique(which, return_counts=True)[1], float(which.max() + 1)


def dispersion(when_s: Floats, bin_s: float) -> float | None:
    """Variance over mean of the counts per bin; without a table of all bins, however far the times span."""
    if not len(when_s):
        return None
    counts, bins = per_bin(when_s, bin_s)
    mean = len(when_s) / bins
    return float((counts.astype(np.float64) ** 2).sum() / bins / mean - mean)


def variation(gaps: Floats) -> float | None:
    """Standard deviation over mean."""
    return float(gaps.std() / gaps.mean()) if len(gaps) and gaps.mean() > 0 else None


def gang_bins(gpus: Floats) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Labels of gang sizes, and which of them each job has: sizes themselves when they are few, else powers of two."""
    sizes = np.unique(gpus)
    if len(sizes) <= MOST_SIZES and (sizes >= 1).all():
        return [f"{size:g}" for size in sizes], np.searchsorted(sizes, gpus)
    powers = 2.0 ** np.arange(np.floor(np.log2(max(sizes.min(), 1.0))), np.ceil(np.log2(max(sizes.max(), 1.0))) + 1)
    which = np.searchsorted(powers, gpus)
    labels = [f"{high:g}" if high / 2 + 1 >= high else f"{high / 2 + 1:g}–{high:g}" for high in powers]
    if sizes[0] < 1:
        return ["<1", *labels], np.where(gpus < 1, 0, which + 1)
    return labels, which


def gang_sizes(gpus: Floats, duration_s: Floats | None = None) -> pd.DataFrame:
    """Jobs and their share, and their share of GPU time where run times are known, by gang size."""
    labels, which = gang_bins(gpus) if len(gpus) else ([], np.zeros(0, np.intp))
    jobs = np.bincount(which, minlength=len(labels))
    columns: dict[str, Any] = {"GPUs": labels, "jobs": jobs, "share": [f"{n / max(len(gpus), 1):.1%}" for n in jobs]}
    if duration_s is not None:
        work = np.bincount(which, weights=gpus * duration_s, minlength=len(labels))
        columns["share of GPU time"] = [f"{w / max(work.sum(), 1e-12):.1%}" for w in work]
    return frame_of(columns)


def reuse(frame: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Prefix blocks of each request, in the order of arrival, that an earlier one had; and all of its blocks."""
    import pandas as pd

    ordered = frame.sort_values("arrival_s", kind="stable")["hash_ids"]
    length = ordered.map(len).to_numpy(np.int64)
    seen = pd.Series(np.concatenate(ordered.to_numpy())).duplicated().to_numpy()
    return np.add.reduceat(np.r_[seen, False].astype(np.int64), np.r_[0, np.cumsum(length)[:-1]]) * (length > 0), length


def steps(frame: pd.DataFrame) -> tuple[float | None, int]:
    """The usual time between rows of one place, and how many times it is more than 1.5 times that."""
    gaps = frame.sort_values("time_s").groupby("place")["time_s"].diff().dropna()
    gaps = gaps[gaps > 0]
    return (float(gaps.median()), int((gaps > 1.5 * gaps.median()).sum())) if len(gaps) else (None, 0)


def yearly(frame: pd.DataFrame) -> bool:
    """Whether a table of carbon holds figures of whole years."""
    step_s, _ = steps(frame)
    return step_s is None or step_s > 100 * DAY_S


def spells(frame: pd.DataFrame) -> pd.DataFrame:
    """Runs of the same number of nodes: place, GPU, start_s, nodes, duration_s. The last lasts as long as is usual."""
    import pandas as pd

    parts = []
    for (place, gpu), mine in frame.groupby(["place", "gpu"], sort=False):
        when, nodes = (mine.sort_values("time_s", kind="stable")[key].to_numpy() for key in ("time_s", "nodes"))
        gaps = np.diff(when)
        ends = np.r_[when[1:], when[-1] + (np.median(gaps) if len(gaps) else 0.0)]
        first = np.flatnonzero(np.r_[True, nodes[1:] != nodes[:-1]])
        end = ends[np.r_[first[1:] - 1, len(when) - 1]]
        rows = {"place": place, "gpu": gpu, "start_s": when[first], "nodes": nodes[first]}
        parts.append(pd.DataFrame(rows | {"duration_s": end - when[first]}))
    return pd.concat(parts, ignore_index=True)


def runs(spell: pd.DataFrame) -> Floats:
    """How long each unbroken series of these spells of one place lasts."""
    start, length = spell["start_s"].to_numpy(), spell["duration_s"].to_numpy()
    begins = np.r_[True, start[1:] > (start + length)[:-1] + 1e-6] if len(start) else np.zeros(0, bool)
    return np.add.reduceat(length, np.flatnonzero(begins)) if len(start) else np.zeros(0)


def losses(spell: pd.DataFrame) -> float:
    """Nodes that went away."""
    return float(-np.minimum(np.diff(spell["nodes"].to_numpy()), 0).sum())


def grouped(frame: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """Text of the column -> the rows that have it, in the order of the text."""
    return {str(key): mine for key, mine in frame.groupby(column)}


def counted(column: pd.Series[str]) -> dict[str, int]:
    """How often each text is there, the commonest first; - for an empty one."""
    return {str(key) or "-": int(n) for key, n in column.str.strip().value_counts().items()}


def per_gpu(frame: pd.DataFrame) -> pd.DataFrame:
    """The prices of machines with GPUs, with ``usd_per_gpu_h``."""
    mine = frame[(frame["gpus"] > 0) & (frame["gpu"] != "")]
    return mine.assign(usd_per_gpu_h=mine["usd_per_h"] / mine["gpus"])


def provider(place: pd.Series[str]) -> pd.Series[str]:
    """What stands before the colon of a place."""
    return place.str.partition(":")[0]


def same_provider(frame: pd.DataFrame) -> pd.Series[bool]:
    """Whether a link's ends are of one provider."""
    return provider(frame["source"]) == provider(frame["target"])


def split(frame: pd.DataFrame, *columns: str) -> dict[str, pd.DataFrame]:
    """The rows by the first of these columns with few enough names, the commonest names first; else by the last, of
    which the commonest are kept."""
    column = next((name for name in columns if frame[name].nunique() <= MOST_ROWS), columns[-1])
    names = frame[column].value_counts().index[:MOST_ROWS]
    return {str(name) or "-": frame[frame[column] == name] for name in names}


def between(frame: pd.DataFrame) -> Floats:
    """Seconds between the starts of failures."""
    return np.diff(np.sort(frame["start_s"].to_numpy(np.float64)))


def shares(column: pd.Series[str], name: str) -> pd.DataFrame:
    """The commonest values, how often each is there, and its share."""
    counts = column.replace("", "-").value_counts()
    shown = counts.head(MOST_ROWS)
    rows = [{name: key, "rows": int(n), "share": f"{n / len(column):.1%}"} for key, n in shown.items()]
    if len(counts) > len(shown):
        rest = int(counts.iloc[len(shown) :].sum())
        rows.append({name: f"{len(counts) - len(shown)} more", "rows": rest, "share": f"{rest / len(column):.1%}"})
    return frame_of(rows)


def dated(first_s: float, last_s: float) -> bool:
    """Whether times are seconds since 1970."""
    return EPOCH_S[0] < first_s <= last_s < EPOCH_S[1]


def date(seconds: float) -> str:
    """The day of a time since 1970, UTC."""
    return str(np.datetime64(int(seconds), "s").astype("datetime64[D]"))


def frame_of(rows: Any) -> pd.DataFrame:
    """A data frame of rows or columns."""
    import pandas as pd

    return pd.DataFrame(rows)
