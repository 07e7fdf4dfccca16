"""ServeGen (Alibaba, 2025): statistics of single clients of language and reasoning models, drawn from as requests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hcsim.model import InputError
from hcsim.rng import stream, uniforms
from hcsim.traces._files import Defect, Defective, listed, locate, read_csv, read_json
from hcsim.traces._table import Dropped, Source, Table, checked

WINDOW_S = 600.0  # of a rate
PERIOD_S = 6 * 3600.0  # of a length histogram
MOST_PER_S = 1e4  # requests of one client; the busiest has 250
NAMES = ("start", "rate", "cv", "pattern", "p1", "p2")


@dataclass(frozen=True)
class Servegen(Source):
    """The published files hold no requests: for each client and window of 600 s a rate and a distribution of gaps, and
    for each 6 h a histogram of prompt and output lengths. Requests are drawn from these, as ServeGen does.

    Gaps are Gamma or Weibull with the window's shape, scaled to its rate; prompt and output lengths are drawn from
    their own histograms, as if independent. The same seed gives the same requests.

    Args:
        model: ``language/m-small`` (14 days) or ``reason/deepseek-r1`` (24 h), the folder below ``servegen``.
        hours: how much of it, from its start (0: all; a day of m-small is 27 million requests).
        seed: of the draw.
    """

    kind = "requests"

    model: str = "language/m-small"
    hours: float = 1.0
    seed: int = 0

    def read(self) -> Table:
        """Requests sorted by arrival; the client is the number of its file."""
        folder = Path(self.path) if self.path else Path(self.data_dir) / "llm_requests" / "servegen" / self.model
        found = listed(folder, "chunk-*-trace.csv") if folder.is_dir() else []
        if not found:
            if not self.path and not self.data_dir:
                locate("servegen", "", "", "")
            raise InputError(f"{folder}: expected a folder with chunk-*-trace.csv")
        with_lengths = [path for path in found if _lengths_of(path).is_file()]
        if not with_lengths:
            raise InputError(f"{folder}: no client has its lengths, expected {_lengths_of(found[0]).name} or with .gz")
        parts = [self._client(path) for path in with_lengths]
        order = np.argsort(np.concatenate([part["arrival_s"] for part in parts]), kind="stable")
        import pandas as pd

        columns: dict[str, Any] = {key: np.concatenate([part[key] for part in parts])[order] for key in parts[0]}
        columns["client"] = pd.Series(columns["client"]).astype("str")
        missing = len(found) - len(with_lengths)
        dropped = (
            (Dropped("a client's rates without its lengths (the file is not there)", missing, 1),) if missing else ()
        )
        return checked("requests", columns, str(folder), dropped=dropped)

    def _client(self, path: Path) -> dict[str, npt.NDArray[Any]]:
        """The requests of one client."""
        name = path.name.split("-")[1]
        number = ("start", "rate", "cv", "p1", "p2")
        nullable = ("cv", "pattern", "p1", "p2")
        kinds = dict.fromkeys(number, pa.float64()) | {"pattern": pa.string()}
        table = read_csv(path, kinds, names=NAMES, nullable=nullable)
        start, rate, shape = (table[key].to_numpy() for key in ("start", "rate", "p1"))
        pattern = table["pattern"].to_pandas().fillna("").to_numpy(dtype=object)
        known = np.isin(pattern, ("Gamma", "Weibull", ""))
        if not known.all():
            bad = [Defect(int(i) + 1, "pattern", f"'{pattern[i]}'", "Gamma or Weibull") for i in np.flatnonzero(~known)]
            raise Defective(path, bad)
        limits = (
            ("start", start, 0.0, 1e9),
            ("rate", rate, 0.0, MOST_PER_S),
            ("p1", np.where(rate > 0, shape, 1.0), 1e-3, 1e3),
        )
        for key, column, least, most in limits:
            beyond = np.flatnonzero(~((column >= least) & (column <= most)) & ~np.isnan(column))
            if len(beyond):
                found = [Defect(int(i) + 1, key, f"{column[i]:g}", f"{least:g} to {most:g}") for i in beyond[:1000]]
                raise Defective(path, found, len(beyond))
        use = (rate > 0) & (start < (self.hours * 3600.0 if self.hours else np.inf))
        entity = int(name) if name.isdigit() else stream(name)
        times = [
            self._window(entity, int(s), r, k, p)
            for s, r, k, p in zip(start[use], rate[use], shape[use], pattern[use], strict=True)
        ]
        arrival = np.concatenate(times) if times else np.zeros(0)
        out: dict[str, npt.NDArray[Any]] = {"arrival_s": arrival}
        lengths = _histograms(_lengths_of(path))
        period = np.minimum((arrival // PERIOD_S).astype(int), max(lengths))
        for key, column in (("prompt_tokens", "input_tokens"), ("output_tokens", "output_tokens")):
            u = uniforms(self.seed, stream(f"servegen {key} {name}"), np.arange(len(arrival)))
            drawn = np.zeros(len(arrival), np.int64)
            for p in np.unique(period):
                values, edges = lengths[min(lengths, key=lambda known: abs(known - p))][column]
                mine = period == p
                drawn[mine] = values[np.minimum(np.searchsorted(edges, u[mine]), len(values) - 1)]
            out[key] = drawn
        out["client"] = np.full(len(arrival), name)
        return out

    def _window(self, entity: int, start: int, rate: float, shape: float, pattern: str) -> npt.NDArray[np.float64]:
        """Arrivals within one window: a renewal process, cut at its end."""
        from scipy.special import gamma as gamma_function
        from scipy.special import gammaincinv

        k = shape if np.isfinite(shape) else 1.0
        parts: list[npt.NDArray[np.float64]] = []
        drawn, last = 0, float(start)
        more = int(rate * WINDOW_S * 1.2) + 20
        while last < start + WINDOW_S:
            number = np.arange(drawn, drawn + more) + start * 100_000
            u = uniforms(self.seed, stream("servegen gap"), entity, number)
            if pattern == "Weibull":
                gaps = np.asarray((-np.log1p(-u)) ** (1.0 / k) / gamma_function(1.0 + 1.0 / k), np.float64)
            else:
                gaps = np.asarray(gammaincinv(k, u) / k, np.float64)
            parts.append(last + np.cumsum(gaps / rate))
            drawn, last = drawn + more, float(parts[-1][-1])
        times = np.concatenate(parts)
        return times[times < start + WINDOW_S]


def _lengths_of(path: Path) -> Path:
    """The file of lengths beside a client's file of rates, compressed or not; the plain name where there is none."""
    plain = path.with_name(path.name.replace("trace.csv", "dataset.json"))
    found = [plain, *(plain.with_name(plain.name + suffix) for suffix in (".gz", ".xz"))]
    return next((each for each in found if each.is_file()), plain)


def _histograms(path: Path) -> dict[int, dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]]:
    """Period -> column -> (lengths, cumulative shares). The histograms are Python dictionaries written as text."""
    out: dict[int, dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]] = {}
    known = read_json(path)
    if not isinstance(known, dict) or not known:
        raise InputError(f"{path}: expected an object of periods")
    for begins, columns in known.items():
        try:
            if not 0 <= float(begins) < 1e9:
                raise ValueError("expected seconds")
            period = int(float(begins) // PERIOD_S)
            found = {name: _histogram(columns[name]) for name in ("input_tokens", "output_tokens")}
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: key '{begins}' holds no histograms of tokens ({error})") from None
        if all(len(lengths) for lengths, _ in found.values()):  # none where the client was idle
            out[period] = found
    if not out:
        raise InputError(f"{path}: holds no histogram of tokens")
    return out


def _histogram(text: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Lengths and cumulative shares of ``{length: share, ...}``; ValueError for anything else."""
    inside = text.strip()
    if inside[:1] != "{" or inside[-1:] != "}":
        raise ValueError("expected a dictionary written as text")
    numbers = inside[1:-1].replace(":", ",").split(",") if len(inside) > 2 else []
    pairs = np.array(numbers, np.float64).reshape(-1, 2)
    if not ((pairs >= 0) & (pairs < 2**53)).all() or (len(pairs) and not pairs[:, 1].sum() > 0):
        raise ValueError("expected shares that sum to more than 0")
    shares = np.cumsum(pairs[:, 1])
    return pairs[:, 0].astype(np.int64), shares / shares[-1] if len(shares) else shares
