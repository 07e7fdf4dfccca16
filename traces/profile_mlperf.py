"""MLPerf's data center results: inference v4.1 (throughput, latencies) and training v4.0 (time to train)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError
from hcsim.traces._files import Defect, Defective, locate, read_bytes, read_csv, read_json
from hcsim.traces._gpus import canonical
from hcsim.traces._table import MOST_ROWS, Dropped, Source, Table, checked

#: More than any figure or time of a log.
MOST = 1e18
COLUMNS = ("model", "gpu", "gpus", "setting", "metric", "value", "unit")
#: Lines of a log summary -> (metric, unit). The first two of a scenario are its result.
RATES = {
    "samples per second": ("throughput", "samples/s"),
    "completed samples per second": ("throughput", "samples/s"),
    "tokens per second": ("throughput", "tokens/s"),
    "completed tokens per second": ("throughput", "tokens/s"),
    "scheduled samples per second": ("offered load", "samples/s"),
}
LATENCIES = {
    "latency": "latency",
    "first token latency": "time to first token",
    "time to output token": "time per output token",
}
#: Unit in a summary.csv -> (metric, unit, factor to the unit).
UNITS = {
    "samples/s": ("throughput", "samples/s", 1.0),
    "queries/s": ("throughput", "queries/s", 1.0),
    "tokens/s": ("throughput", "tokens/s", 1.0),
    "latency (ms)": ("latency", "s", 1e-3),
    "watts": ("average power", "W", 1.0),
    "millijoules": ("energy per stream", "J", 1e-3),
}
#: Models whose throughput is counted in tokens (MLPerf inference rules v4.1), whatever summary.csv calls the unit.
IN_TOKENS = ("llama", "gptj", "mixtral")
#: Key of an ``:::MLLOG`` line -> each such line: its number, value, time in ms, metadata.
Events = dict[str, list[tuple[int, Any, Any, dict[str, Any]]]]


@dataclass(frozen=True)
class System:
    """What a submission says of its machines: ``gpus`` in all nodes together; ``words`` for the setting."""

    folder: Path
    gpu: str
    gpus: float
    words: str


@dataclass(frozen=True)
class ProfileMlperfInference(Source):
    """Every figure of each ``mlperf_log_summary.txt``: throughput, offered load, latency, time to first token and per
    output token (ns in the file). ``gpus`` are those of the whole system; ``setting`` names the scenario, the
    submission, the accelerator as published and the software.

    A log that MLPerf calls invalid and one of an accuracy run hold no measured speed: they are left out and counted.
    So is a figure that a log gives twice (Server: completed tokens per second).

    Args:
        path: a folder with logs, as published (``SUBMITTER/results/SYSTEM/MODEL/SCENARIO/.../mlperf_log_summary.txt``
            beside ``SUBMITTER/systems/SYSTEM.json``) or as here (``SUBMITTER/SYSTEM/SCENARIO/...`` with
            ``system.json``), or one log of it.
        model: of logs whose path does not name it; of those in the data folder llama2-70b-99.
    """

    kind = "profiles"
    running = True

    model: str = ""

    def read(self) -> Table:
        """A row per figure, by log; ``rows`` are lines of the logs."""
        root, logs = _logs(self, "gpu_profiles/mlperf_inference_v4.1", "mlperf_log_summary.txt")
        rows: list[tuple[Any, ...]] = []
        unmeasured, twice = [], []
        for log in logs:
            said, figures = _summary(log)
            if said.get("result is") != "VALID" or said.get("mode") != "PerformanceOnly":
                unmeasured += [line for line, *_ in figures]
                continue
            system, scenario = _system(log), said.get("scenario", "unknown scenario")
            inside = log.relative_to(system.folder).parts if log.is_relative_to(system.folder) else ()
            model = self.said("model", "llama2-70b-99", inside[0] if inside and inside[0] != scenario else None)
            seen = set()
            for line, metric, value, unit in figures:
                if (metric, unit) in seen:
                    twice.append(line)
                    continue
                seen.add((metric, unit))
                setting = f"{scenario}, {system.words}"
                rows.append((model, system.gpu, system.gpus, setting, metric, value, unit, line))
        dropped = _dropped(unmeasured, "of a log that is no valid performance run") + _dropped(
            twice, "a figure that its log has given before"
        )
        return _table(root, rows, dropped)


@dataclass(frozen=True)
class ProfileMlperfSummary(Source):
    """A submitter's ``summary.csv``: one result per model and scenario, as MLPerf's checker writes it.

    It calls the results of language models samples or queries per second; they are tokens per second, and are called so
    here.
    """

    kind = "profiles"
    running = True

    def read(self) -> Table:
        """The results in the file's order."""
        path = self.file("gpu_profiles/mlperf_inference_v4.1/GigaComputing/summary.csv")
        text = ("Organization", "Platform", "Model", "Scenario", "accelerator_model_name", "framework", "Units")
        number = ("Result", "number_of_nodes", "accelerators_per_node")
        kinds = dict.fromkeys(text, pa.string()) | dict.fromkeys(number, pa.float64())
        frame = read_csv(path, kinds, nullable=("accelerator_model_name", "accelerators_per_node", "framework"))
        read = frame.to_pandas()
        known = read["Units"].str.lower().map(UNITS)
        bad = np.flatnonzero(known.isna().to_numpy())
        if len(bad):
            found = [Defect(int(i) + 2, "Units", f"'{read['Units'].iloc[i]}'", "a unit of MLPerf") for i in bad[:1000]]
            raise Defective(path, found, len(bad))
        tokens = read["Model"].str.startswith(IN_TOKENS) & known.map(lambda each: each[0] == "throughput")
        accelerator = read["accelerator_model_name"].fillna("")
        return checked(
            "profiles",
            {
                "model": read["Model"],
                "gpu": accelerator.map(_gpu).astype("str"),
                "gpus": read["number_of_nodes"] * read["accelerators_per_node"].fillna(0.0),
                "setting": read["Scenario"]
                + ", "
                + read["Organization"]
                + " "
                + read["Platform"]
                + ", "
                + accelerator
                + ", "
                + read["framework"].fillna(""),
                "metric": known.map(lambda each: each[0]).astype("str"),
                "value": read["Result"] * known.map(lambda each: each[2]).astype("float64"),
                "unit": known.map(lambda each: each[1]).where(~tokens, "tokens/s").astype("str"),
            },
            str(path),
        )


@dataclass(frozen=True)
class ProfileMlperfTraining(Source):
    """Of each ``result_N.txt``: time to train (``run_start`` to ``run_stop``), time to initialise, the last evaluation
    and, where it is logged, the median throughput. Times are ms since 1970 in the logs; ``gpus`` are those of the whole
    system.

    A log is any text with lines that hold ``:::MLLOG`` and a JSON object; other lines are the job's own output. A run
    that did not end in success is left out and counted.

    Args:
        path: a folder with logs, as published (``SUBMITTER/results/SYSTEM/BENCHMARK/result_N.txt`` beside
            ``SUBMITTER/systems/SYSTEM.json``) or as here, or one log of it.
    """

    kind = "profiles"
    running = True

    def read(self) -> Table:
        """Three or four rows per log; ``rows`` are lines of the logs."""
        root, logs = _logs(self, "gpu_profiles/mlperf_training_v4.0", "result_*.txt")
        rows: list[tuple[Any, ...]] = []
        failed = []
        for log in logs:
            events = _events(log)
            run, stop = _run(log, events)
            if run != "success":
                failed.append(stop)
                continue
            system, said = _system(log), {key: found[0][1] for key, found in events.items()}
            setting = f"global batch {said.get('global_batch_size', 'unknown')}, {log.stem}, {system.words}"
            figures = [("time to train", _took_s(log, events, "run"), "s", stop)]
            if "init_start" in events and "init_stop" in events:
                figures.append(("time to initialise", _took_s(log, events, "init"), "s", events["init_stop"][-1][0]))
            model = str(said.get("submission_benchmark", "unknown"))
            figures += _tracked(log, events)
            rows += [(model, system.gpu, system.gpus, setting, *figure) for figure in figures]
        return _table(root, rows, _dropped(failed, "of a run that did not end in success"))


def _logs(source: Source, default: str, pattern: str) -> tuple[Path, list[Path]]:
    """What was asked for, and the logs there.

    Raises:
        InputError: there are none.
    """
    if not source.path and not source.data_dir:
        locate("profile_mlperf", "", "", "")
    root = Path(source.path) if source.path else Path(source.data_dir) / default
    found = [root] if root.is_file() else sorted(root.rglob(pattern))
    if not found:
        raise InputError(f"{root}: expected a folder with {pattern}")
    return root, found


def _system(log: Path) -> System:
    """The machines of a log: ``system.json`` in a folder above it, or ``systems/NAME.json`` beside ``results/NAME``.

    Raises:
        InputError: there is none, or it does not say how many accelerators of which kind.
    """
    for folder in log.parents[:6]:
        for path in (folder / "system.json", folder.parent.parent / "systems" / f"{folder.name}.json"):
            if path.is_file():
                known = read_json(path)
                if not isinstance(known, dict):
                    raise InputError(f"{path}: expected an object that describes a system")
                nodes, each = (_count(path, known, key) for key in ("number_of_nodes", "accelerators_per_node"))
                published = str(known.get("accelerator_model_name") or "")
                words = [f"{known.get('submitter', '')} {folder.name}", published, str(known.get("framework") or "")]
                if "preview" in str(known.get("status", "")).lower():
                    words.append("preview")
                return System(folder, _gpu(published), nodes * each, ", ".join(word for word in words if word))
    raise InputError(f"{log}: nothing describes its system, expected system.json in a folder above it")


def _count(path: Path, known: dict[str, Any], key: str) -> float:
    """A number of a description, which may be text; empty or ``N/A``: 0."""
    given = str(known.get(key, "missing")).strip()
    try:
        count = float(0 if given in ("", "N/A", "None") else given)
    except ValueError:
        count = -1.0
    if not 0 <= count < 1e9:
        raise InputError(f"{path}: {key} is '{given[:40]}', expected a number")
    return count


def _gpu(published: str) -> str:
    """The name of an accelerator without what else stands there: its partitioning, power and package."""
    return canonical(
        re.sub(r"\(R\)|-(NPS\d|[SCD]PX|CTS|\d+W)\b| (Grace Hopper Superchip|AI Accelerator)\b", "", published)
    )


def _lines(log: Path) -> Iterator[tuple[int, str]]:
    """Lines of a log with their numbers from 1; what is no UTF-8 is replaced."""
    yield from enumerate(read_bytes(log).decode("utf-8-sig", "replace").split("\n"), 1)


def _summary(log: Path) -> tuple[dict[str, str], list[tuple[int, str, float, str]]]:
    """What a log summary says of the run, and its figures: line, metric, value, unit.

    Raises:
        Defective: a figure that is no number.
        InputError: no summary.
    """
    said: dict[str, str] = {}
    figures = []
    bad = []
    for number, line in _lines(log):
        what, colon, value = (part.strip() for part in line.partition(":"))
        key = what.lower()
        if key == "test parameters used":
            break
        if not colon:
            continue
        if key not in RATES and not key.endswith("(ns)"):
            said.setdefault(key, value)
            continue
        try:
            x = float(value)
        except ValueError:
            x = math.nan
        if not 0 <= x < MOST:
            bad.append(Defect(number, what, f"'{value[:40]}'", "a number, 0 or more"))
            continue
        figures.append((number, *_figure(key, x)))
    if bad:
        raise Defective(log, bad)
    if not figures or "result is" not in said:
        raise InputError(f"{log}: not a log summary of MLPerf inference, expected its result and figures")
    return said, figures


def _figure(key: str, value: float) -> tuple[str, float, str]:
    """Metric, value and unit of a line of a log summary."""
    if key in RATES:
        metric, unit = RATES[key]
        return metric, value, unit
    name = key.removesuffix("(ns)").strip()
    found = re.fullmatch(r"(min|max|mean|(\d{1,3}(?:\.\d{1,9})?) percentile) (.+)", name)
    if found and found[3] in LATENCIES:
        of = f"P{float(found[2]):g}" if found[2] else found[1]
        name = f"{LATENCIES[found[3]]}, {of}"
    return name, value / 1e9, "s"


def _events(log: Path) -> Events:
    """What a log says in ``:::MLLOG`` lines, in its order.

    Raises:
        Defective: what follows the mark is no object with a key.
        InputError: no such line.
    """
    events: Events = {}
    bad = []
    for number, line in _lines(log):
        _, mark, text = line.partition(":::MLLOG")
        if not mark:
            continue
        try:
            known = json.loads(text)
            found = (number, known["value"], known["time_ms"], known.get("metadata") or {})
            events.setdefault(str(known["key"]), []).append(found)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            shown = "".join(c if c.isprintable() else "?" for c in text.strip()[:37])
            bad.append(
                Defect(number, "the line", f"':::MLLOG {shown}...'", "a JSON object with key, value and time_ms")
            )
    if bad:
        raise Defective(log, bad)
    if not events:
        raise InputError(f"{log}: not a result of MLPerf training, expected lines with :::MLLOG")
    return events


def _run(log: Path, events: Events) -> tuple[str, int]:
    """How a run ended, and the line of its end.

    Raises:
        InputError: it has no beginning or no end.
    """
    for key in ("run_start", "run_stop"):
        if key not in events:
            raise InputError(f"{log}: not a whole result of MLPerf training, {key} is missing")
    line, _, _, metadata = events["run_stop"][-1]
    status = metadata.get("status") if isinstance(metadata, dict) else None
    return str(status), line


def _took_s(log: Path, events: Events, what: str) -> float:
    """From the first start of something to its last stop."""
    since = 0.0
    for line, _, time_ms, _ in (events[f"{what}_start"][0], events[f"{what}_stop"][-1]):
        if type(time_ms) not in (int, float) or not since <= time_ms < MOST:
            least = f"{since:.0f} or more, milliseconds" if since else "milliseconds since 1970"
            raise Defective(log, [Defect(line, "time_ms", str(time_ms)[:40], least)])
        took_ms, since = time_ms - since, time_ms
    return float(took_ms) / 1e3


def _tracked(log: Path, events: Events) -> list[tuple[str, float, str, int]]:
    """The last evaluation and the median throughput of a log that has them: metric, value, unit, line."""
    out = []
    found: list[tuple[int, Any]]
    rates = [(line, v.get("throughput")) for line, v, *_ in events.get("tracked_stats", ()) if isinstance(v, dict)]
    for metric, unit, found in (
        ("evaluation at the end", "1", [(line, value) for line, value, *_ in events.get("eval_accuracy", ())][-1:]),
        ("throughput, median", "samples/s", [each for each in rates if each[1] is not None]),
    ):
        for line, value in found:
            if type(value) not in (int, float) or not abs(value) < MOST:
                raise Defective(log, [Defect(line, metric.split(",")[0], f"'{value}'"[:40], "a number")])
        if found:
            out.append((metric, float(np.median([value for _, value in found])), unit, found[-1][0]))
    return out


def _dropped(lines: list[int], reason: str) -> tuple[Dropped, ...]:
    return (Dropped(reason, len(lines), lines[0], tuple(lines[:MOST_ROWS])),) if lines else ()


def _table(root: Path, rows: list[tuple[Any, ...]], dropped: tuple[Dropped, ...]) -> Table:
    if not rows:
        raise InputError(f"{root}: no valid run ({'; '.join(each.reason for each in dropped)})")
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "row"])
    return checked("profiles", {name: frame[name] for name in COLUMNS}, str(root), frame["row"].to_numpy(), dropped)
