"""Spot prices and probes of spot capacity on three clouds in early 2020 (Narayanan et al., Training on a Dime)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hcsim.model import InputError, nearest
from hcsim.traces._files import MOST_DEFECTS, Defect, Defective, locate, read_bytes, read_csv, read_json, seconds, stem
from hcsim.traces._gpus import canonical, named, of_instances
from hcsim.traces._places import place, places
from hcsim.traces._table import MOST_ROWS, Dropped, Source, Table, checked, left_out, written

FOLDER = "spot/training_on_a_dime"
REGIONS = {"us_east": "eastus", "us_north_central": "northcentralus", "us_south_central": "southcentralus"}
PROBES = {"aws": "aws/availability/persistent_2020-03-15.out", "gcp": "gcp/availability/persistent_2020-03-01.out"}
#: Lines of a probe log, after the time in brackets.
LINE = re.compile(
    r"\[(?P<time>[^\]]*)\] (?:"
    r"Created instance (?P<made>\S+) with (?P<count>\d{1,4}) GPU\(s\) of type (?P<gpu>\S+) in zone (?P<zone>\S+)|"
    r"Instance (?P<seen>\S+) (?P<no>not )?running in zone (?P<at>\S+)|"
    r"Instance (?P<failed>\S+) creation failed|"
    r"Instance with (?P<wanted>\d{1,4}) GPU\(s\) of type (?P<of>\S+) creation failed|"
    r"(?P<deleted>Successfully deleted instance \S+))"
)
SPIN_UP = re.compile(
    r"Zone: (?P<zone>\S+), GPU type: (?P<gpu>\S+), Number of GPUs: (?P<count>\d{1,4}),"
    r" Price per hour: \$(?P<usd>[\d.]{1,20})"
)


@dataclass(frozen=True)
class TrainingOnADime(Source):
    """AWS p2 and p3, December 2019 to February 2020: change points as ``describe-spot-price-history`` gives them,
    newest first; sorted by time here. Four of the published files are empty lists and give no rows: that type was not
    offered there.

    Args:
        region: one of eu-central-1, eu-west-1, eu-west-2, us-east-1, us-west-2.
        instance: p2 or p3 type.
    """

    kind = "prices"
    running = True

    region: str = "us-east-1"
    instance: str = "p3.2xlarge"

    def read(self) -> Table:
        """A row per change."""
        path = self.file(f"{FOLDER}/aws/cost/{self.region}/{self.instance}.json")
        known = read_json(path)
        try:
            frame = pd.DataFrame.from_records(known["SpotPriceHistory"])
            need = ["AvailabilityZone", "InstanceType", "ProductDescription", "SpotPrice", "Timestamp"]
            frame = frame[need].astype("str") if len(frame) else pd.DataFrame(columns=need, dtype="str")
            price = frame["SpotPrice"].astype("float64")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: not a history of spot prices ({str(error).splitlines()[0]})") from None
        when = seconds(path, frame["Timestamp"], np.arange(1, len(frame) + 1))
        order = np.argsort(when, kind="stable")
        frame, price = frame.iloc[order].reset_index(drop=True), price.iloc[order].reset_index(drop=True)
        gpu, gpus = of_instances("aws", frame["InstanceType"])
        return checked(
            "prices",
            {
                "time_s": when[order],
                "provider": np.full(len(frame), "aws"),
                "place": places("aws", frame["AvailabilityZone"]),
                "instance": frame["InstanceType"],
                "gpu": gpu,
                "gpus": gpus,
                "market": np.full(len(frame), "spot"),
                "usd_per_h": price,
            },
            str(path),
            order + 1,
        )


@dataclass(frozen=True)
class DimeAzure(Source):
    """Azure's spot prices of NC machines by the day, 2020-02-24 to 2020-03-23: a column per machine, prices with ``$``,
    empty where it is not offered. Their GPUs are in ``instance_mapping.csv``, beside the file or in the folder above.

    Args:
        region: ``us_east`` (the default), ``us_north_central`` or ``us_south_central``; of a file given by ``path`` its
            name says it.
    """

    kind = "prices"
    running = True

    region: str = ""

    def read(self) -> Table:
        """A row per day and machine; empty cells are left out and counted."""
        region = self.said("region", "us_east", REGIONS.get(stem(self.path)) and stem(self.path), REGIONS)
        path = self.file(f"{FOLDER}/azure/cost/{region}.csv")
        raw = read_bytes(path)
        machines = [
            name.strip() for name in raw.split(b"\n", 1)[0].decode("utf-8-sig", "replace").split(",") if name != "Date"
        ]
        known = self._machines(path)
        for name in machines:
            if name not in known.index:
                raise InputError(
                    f"{path}: row 1: no machine '{name[:40]}' is known; {nearest(name, list(known.index))}"
                )
        frame = read_csv(path, dict.fromkeys(("Date", *machines), pa.string()), nullable=machines, raw=raw).to_pandas()
        every = frame.rename_axis("row").reset_index().melt(["row", "Date"], machines, "instance", "price")
        every["row"] += 2
        every = every.sort_values("row", kind="stable", ignore_index=True)
        given = every["price"].notna().to_numpy()
        rows = every["row"].to_numpy()
        offered = every[given].reset_index(drop=True)
        day = pd.to_datetime(offered["Date"], format="%m/%d/%Y", errors="coerce")
        usd = pd.to_numeric(offered["price"].str.removeprefix("$"), errors="coerce")
        bad = [
            Defect(int(offered["row"].iloc[i]), name, f"'{offered[of].iloc[i]}'"[:60], expected)
            for read, of, expected in ((day, "Date", "a day, M/D/YYYY"), (usd, "price", "a price, $0.25"))
            for i in np.flatnonzero(read.isna().to_numpy())
            for name in ("Date" if of == "Date" else offered["instance"].iloc[i],)
        ]
        if bad:
            raise Defective(path, sorted(bad, key=lambda defect: defect.row)[:MOST_DEFECTS], len(bad))
        return checked(
            "prices",
            {
                "time_s": day.to_numpy().astype("datetime64[s]").astype(np.int64),
                "provider": np.full(len(offered), "azure"),
                "place": np.full(len(offered), place("azure", REGIONS.get(region, region))),
                "instance": offered["instance"].astype("str"),
                "gpu": named(offered["instance"].map(known["GPU type"])),
                "gpus": offered["instance"].map(known["# GPUs"]).astype("float64"),
                "market": np.full(len(offered), "spot"),
                "usd_per_h": usd.astype("float64"),
            },
            str(path),
            rows[given],
            left_out(given, rows, "not offered that day"),
        )

    def _machines(self, path: Path) -> pd.DataFrame:
        """Machine -> its GPU type and how many."""
        near = [folder / "instance_mapping.csv" for folder in (path.parent, path.parent.parent)]
        mapping = next((each for each in near if each.is_file()), near[-1])
        kinds = {"Instance": pa.string(), "GPU type": pa.string(), "# GPUs": pa.float64()}
        known: pd.DataFrame = read_csv(mapping, kinds).to_pandas()
        if known["Instance"].duplicated().any():
            raise InputError(f"{mapping}: a machine is there twice")
        return known.set_index("Instance")


@dataclass(frozen=True)
class DimeProbes(Source):
    """A node of each kind in each zone, asked for and kept as long as it ran: what became of it, every ten minutes for
    two or three days. A row says whether the node of that zone and kind was there from then on (1) or could not be had
    (0). ``gpus`` are those of a node.

    Logs say zone and kind when a node is created; later they name it. AWS's failures to create name the kind
    alone: they are of the next zone of the sweep that has no such node. A node of Google's that was never
    created (V100 in us-east1-c) is of the one kind that its zone lacks among those of the log; where that does not
    tell, lines are left out and counted. So are messages of deletion.

    Args:
        provider: ``aws`` (zones of us-east-1, 2020-03-15; the default) or ``gcp`` (three zones, 2020-03-01); a file
            given by ``path`` says it, as AWS's nodes are called ``i-`` and a number.
    """

    kind = "availability"
    running = True

    provider: str = ""

    def read(self) -> Table:
        """A row per line that tells of a node; times are UTC as in the log."""
        default = "" if self.path else PROBES[self.said("provider", "aws", among=PROBES)]
        path = self.file(f"{FOLDER}/{default}")
        found = _matched(path, LINE, "a line of a log of probes")
        aws = any(said["made"] and said["made"].startswith("i-") for _, said in found)
        provider = self.said("provider", "aws", "aws" if aws else "gcp", PROBES)
        slots = _slots(found)
        up: dict[Slot, bool] = {}
        sweep = [(zone, kind) for zone in _zones(found) for kind in _kinds(found)]
        rows: list[tuple[int, str, str, str, float, int]] = []
        unplaced, deleted, at = [], [], 0
        for line, said in found:
            if said["deleted"]:
                deleted.append(line)
                continue
            if said["of"]:
                kind = _kind(said["of"], said["wanted"])
                down = [i for i, slot in enumerate(sweep) if slot[1] == kind and not up.get(slot)]
                slot = sweep[min(down, key=lambda i: (i - at) % len(sweep))] if down else None
            else:
                slot = slots.get(said["made"] or said["seen"] or said["failed"])
            if slot is None:
                unplaced.append(line)
                continue
            there = bool(said["made"] or (said["seen"] and not said["no"]))
            up[slot] = there
            # what is not running any more is asked for again at once: the sweep stays there
            at = sweep.index(slot) + (0 if said["no"] else 1)
            rows.append((line, said["time"], slot[0], *slot[1], int(there)))
        if not rows:
            raise InputError(f"{path}: no line tells of a node in a zone")
        frame = pd.DataFrame(rows, columns=["row", "time", "place", "gpu", "gpus", "nodes"])
        dropped = [
            Dropped(reason, len(lines), lines[0], tuple(lines[:MOST_ROWS]))
            for reason, lines in (
                ("the zone or kind of the node is not told", unplaced),
                ("a message of deletion", deleted),
            )
            if lines
        ]
        return checked(
            "availability",
            {
                "time_s": seconds(path, frame["time"].astype("str"), frame["row"].to_numpy()),
                "place": places(provider, frame["place"].astype("str")),
                "gpu": frame["gpu"].astype("str"),
                "nodes": frame["nodes"].astype("int64"),
                "gpus": frame["gpus"].astype("float64"),
            },
            str(path),
            frame["row"].to_numpy(),
            tuple(dropped),
        )


@dataclass(frozen=True)
class DimeSpinUps(Source):
    """Sweeps over zones and kinds of Google's preemptible nodes, February 2020: each node was asked for and given back.

    A log lists those that came up. A kind that another of the logs lists in a zone and this one does not could not be
    had then (0); of zones that a log does not list at all nothing is known (one of them stops after its first zone).
    ``gpus`` are those of a node.

    Args:
        path: a folder of logs named by their time, or one of them.
    """

    kind = "availability"
    running = True

    def read(self) -> Table:
        """A row per log, zone and kind, by time; ``rows`` are lines of the logs, 1 where nothing is listed."""
        root, frame = _spin_ups(self)
        key = ["time_s", "place", "gpu", "gpus"]
        there = frame.drop_duplicates(key).set_index(key)["row"]
        kinds = frame[key[1:]].drop_duplicates()
        every = frame[["time_s", "place"]].drop_duplicates().merge(kinds, on="place")
        rows = there.reindex(pd.MultiIndex.from_frame(every))
        every["nodes"] = rows.notna().to_numpy(dtype=np.int64)
        line = rows.fillna(1).to_numpy(dtype=np.int64)
        return checked("availability", {name: every[name] for name in (*key, "nodes")}, str(root), line)


@dataclass(frozen=True)
class DimeSpinUpPrices(Source):
    """The prices in those logs. They were not observed: the script that wrote them took Google's list price of a
    preemptible GPU (0.74, 0.43 and 0.135 USD for V100, P100 and K80) and added 15 % for processors and memory.

    Args:
        path: a folder of logs named by their time, or one of them.
    """

    kind = "prices"
    running = True

    def read(self) -> Table:
        """A row per line, by time of the log."""
        root, frame = _spin_ups(self)
        return checked(
            "prices",
            {
                "time_s": frame["time_s"],
                "provider": np.full(len(frame), "gcp"),
                "place": frame["place"],
                "instance": frame["gpu"] + "x" + written(frame["gpus"], "{:g}"),
                "gpu": frame["gpu"],
                "gpus": frame["gpus"],
                "market": np.full(len(frame), "spot"),
                "usd_per_h": frame["usd"],
            },
            str(root),
            frame["row"].to_numpy(),
        )


Found = list[tuple[int, re.Match[str]]]
Kind = tuple[str, float]  # of a node: its GPU type and how many
Slot = tuple[str, Kind]  # a zone and a kind


def _matched(path: Path, pattern: re.Pattern[str], expected: str) -> Found:
    """The lines of a log with their numbers; blank ones are none.

    Raises:
        Defective: a line is of another form.
        InputError: all of them are: it is no such log.
    """
    found, bad = [], []
    for number, line in enumerate(read_bytes(path).decode("utf-8-sig", "replace").split("\n"), 1):
        if not line.strip():
            continue
        match = pattern.fullmatch(line.strip())
        if match:
            found.append((number, match))
        else:
            shown = "".join(c if c.isprintable() else "?" for c in line.strip()[:60])
            bad.append(Defect(number, "the line", f"'{shown}'", expected))
    if bad and not found:
        raise InputError(f"{path}: {bad[0]}")
    if bad:
        raise Defective(path, bad[:MOST_DEFECTS], len(bad))
    return found


def _kind(gpu: str, count: str) -> Kind:
    return canonical(gpu), float(count)


def _zones(found: Found) -> list[str]:
    """The zones of a log of probes, in the order of its sweep."""
    return list(dict.fromkeys(zone for _, said in found if (zone := said["zone"] or said["at"])))


def _kinds(found: Found) -> list[Kind]:
    """The kinds of node that a log of probes tells of, in the order of its sweep."""
    return list(dict.fromkeys(_kind(said["gpu"], said["count"]) for _, said in found if said["made"]))


def _slots(found: Found) -> dict[str, Slot]:
    """Node -> its zone and kind, as far as a log of probes says."""
    slots = {said["made"]: (said["zone"], _kind(said["gpu"], said["count"])) for _, said in found if said["made"]}
    zones = {said["seen"]: said["at"] for _, said in found if said["seen"] and said["seen"] not in slots}
    for name, zone in zones.items():
        taken = {kind for at, kind in slots.values() if at == zone}
        free = [kind for kind in _kinds(found) if kind not in taken]
        if len(free) == 1 and list(zones.values()).count(zone) == 1:
            slots[name] = (zone, free[0])
    return slots


def _spin_ups(source: Source) -> tuple[Path, pd.DataFrame]:
    """What was asked for, and the lines of its logs by time: time_s, place, gpu, gpus, usd, row.

    Raises:
        Defective, InputError: there is no log, one's name is no time, a line is of another form.
    """
    if not source.path and not source.data_dir:
        locate("training_on_a_dime", "", "", "")
    root = Path(source.path) if source.path else Path(source.data_dir) / FOLDER / "gcp/spin_up_and_shut_down"
    logs = [root] if root.is_file() else sorted(root.glob("*.out"))
    if not logs:
        raise InputError(f"{root}: expected a folder with logs named by their time, YYYY-MM-DDTHH:MM:SS.000Z.out")
    rows: list[tuple[Any, ...]] = []
    for log in logs:
        when = pd.to_datetime(log.name.removesuffix(".out").replace("_", ":"), utc=True, errors="coerce")
        if pd.isna(when):
            raise InputError(f"{log}: its name is no time, expected YYYY-MM-DDTHH:MM:SS.000Z.out")
        for number, said in _matched(log, SPIN_UP, "zone, GPU type, number of GPUs and price per hour"):
            try:
                usd = float(said["usd"])
            except ValueError:
                raise Defective(log, [Defect(number, "Price per hour", f"'{said['usd']}'", "a price")]) from None
            rows.append((when.timestamp(), place("gcp", said["zone"]), *_kind(said["gpu"], said["count"]), usd, number))
    frame = pd.DataFrame(rows, columns=["time_s", "place", "gpu", "gpus", "usd", "row"])
    return root, frame.sort_values("time_s", kind="stable", ignore_index=True)
