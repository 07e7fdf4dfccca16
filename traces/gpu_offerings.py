"""GPU offers of 21 providers on 2026-05-24 (tardellirs/gpu-pricing): 310 list prices, on demand and spot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hcsim.model import InputError
from hcsim.traces._files import MOST_DEFECTS, Defect, Defective, read_json, seconds
from hcsim.traces._table import Source, Table, checked

TEXT = ("id", "provider_id", "gpu_model", "tier", "collected_at")


@dataclass(frozen=True)
class GpuOfferings(Source):
    """USD per hour of one GPU with the machine around it; ``instance`` is the offer's id, ``gpu`` its model without the
    maker's name. An offer is spot where the file says so, whatever it calls its tier: all of ``marketplace`` and
    ``prototyping`` are. Regions are not given. Some prices are estimates (see ``caveats`` in the file): Jarvis Labs'
    spot prices, Vast.ai's, of which half are the cheapest offer of the moment.

    ``providers.json`` beside the file names the providers; an offer of one that is not there is refused.
    """

    kind = "prices"

    def read(self) -> Table:
        """The offers in the file's order; ``rows`` number them from 1."""
        path = self.file("prices/gpu_offerings_2026/offerings.json")
        offers = read_json(path)
        if not isinstance(offers, list) or not offers or not all(isinstance(each, dict) for each in offers):
            raise InputError(f"{path}: not a list of offers")
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
                "place": np.full(len(frame), ""),
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
    """A model without its maker and form: ``NVIDIA A100 SXM4`` of 80 GB is an A100-80GB."""
    short = re.sub(r"^(NVIDIA|AMD)\s+|\b(HGX|Tesla|GeForce)\s+", "", model).strip()
    found = re.match(r"(A100|H100|H200|GH200|B200|B300|GB300|L40S|L40|L4|A10|A16|A30|A40|T4|V100|P40|MI\d+X)\b", short)
    if not found:
        return short
    return "A100-80GB" if found[1] == "A100" and memory_gb == 80 else found[1]
