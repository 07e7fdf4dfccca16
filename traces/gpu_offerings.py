"""GPU offers of 21 providers on 2026-05-24 (tardellirs/gpu-pricing): 310 list prices, on demand and spot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hcsim.model import InputError
from hcsim.traces._files import MOST_DEFECTS, Defect, Defective, read_json, seconds
from hcsim.traces._gpus import USUAL_GB, canonical
from hcsim.traces._places import place
from hcsim.traces._table import Source, Table, checked

TEXT = ("id", "provider_id", "gpu_model", "tier", "collected_at")


@dataclass(frozen=True)
class GpuOfferings(Source):
    """USD per hour of one GPU with the machine around it; ``instance`` is the offer's id. An offer is spot where the
    file says so, whatever it calls its tier: all of ``marketplace`` and ``prototyping`` are. Regions are not given.
    Some prices are estimates (see ``caveats`` in the file): Jarvis Labs' and Vast.ai's spot prices; Vast.ai's others
    are the cheapest offer of the moment.

    ``providers.json`` beside the file names the providers; an offer of one that is not there is refused.
    """

    kind = "prices"

    def read(self) -> Table:
        """The offers in the file's order; ``rows`` number them from 1."""
        path = self.file("prices/gpu_offerings_2026/offerings.json")
        offers = read_json(path)
        if not isinstance(offers, list) or not all(isinstance(each, dict) for each in offers):
            raise InputError(f"{path}: not a list of offers")
        if not any("gpu_model" in each for each in offers):
            raise InputError(f"{path}: no offer of a GPU, expected a list of them with gpu_model")
        beside = path.with_name("providers.json")
        known = {each.get("id") for each in read_json(beside) if isinstance(each, dict)} if beside.is_file() else None
        bad = [defect for row, offer in enumerate(offers, 1) for defect in _defects(row, offer, known)]
        if bad:
            raise Defective(path, bad[:MOST_DEFECTS], len(bad))
        frame = pd.DataFrame.from_records(offers)
        rows = np.arange(1, len(frame) + 1)
        return checked(
            "prices",
            {
                "time_s": seconds(path, frame["collected_at"], rows),
                "provider": frame["provider_id"].astype("str"),
                "place": [place(offer["provider_id"], "") for offer in offers],
                "instance": frame["id"].astype("str"),
                "gpu": [_gpu(offer["gpu_model"], offer.get("vram_gb")) for offer in offers],
                "gpus": np.ones(len(frame)),
                "market": np.where(frame["is_spot"].astype(bool), "spot", "on_demand"),
                "usd_per_h": frame["price_usd_hour"].astype("float64"),
            },
            str(path),
            rows,
        )


def _defects(row: int, offer: dict[str, Any], providers: set[Any] | None) -> list[Defect]:
    """What is wrong with an offer."""
    bad = [
        Defect(row, name, repr(offer.get(name))[:40], "text") for name in TEXT if not isinstance(offer.get(name), str)
    ]
    price: Any = offer.get("price_usd_hour")
    if type(price) not in (int, float) or not abs(price) < 1e9:
        bad.append(Defect(row, "price_usd_hour", repr(price)[:40], "a number"))
    if type(offer.get("is_spot")) is not bool:
        bad.append(Defect(row, "is_spot", repr(offer.get("is_spot"))[:40], "true or false"))
    if not bad and providers is not None and offer["provider_id"] not in providers:
        bad.append(Defect(row, "provider_id", f"'{offer['provider_id'][:40]}'", "an id of providers.json"))
    return bad


def _gpu(model: str, memory_gb: Any) -> str:
    """The name of a model; the memory is said beside it, not always in it. What tells of the machine around it goes."""
    model = re.sub(r"( NVLink| CC| SE| WE| \(High freq\.\))+$", "", model)
    name = canonical(model)
    if name.partition("-")[0] in USUAL_GB and type(memory_gb) is int:
        return canonical(f"{model} {memory_gb}GB")
    return name
