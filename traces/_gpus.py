"""One name for each GPU type, whatever a source calls it, and what cloud machines hold.

A name is the model without maker, product line and form factor (SXM, PCIe, NVL): ``H100``, ``T4``, ``RTX4090``. It
carries the memory only where a model is sold with several sizes and this is not the usual one: ``A100`` has 80 GB as in
:mod:`hcsim.perf` and ``A100-40GB`` is the smaller, ``V100`` has 16 GB and ``V100-32GB`` is the larger. Where a source
does not say the size, the plain name stands. AWS's A10G counts as an A10. What is no known GPU (a TPU, an anonymous
type) keeps its own name.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

#: Models sold with several sizes of memory -> the usual one, in GB.
USUAL_GB = {"A100": 80, "H100": 80, "P100": 16, "V100": 16}
_MODEL = re.compile(
    r"A(2|10|16|30|40|100|800)|B[123]00|GB(10|200|300)|GH200|H(20|100|200|800)|K(20X|40|80|520)|L(4|40|40S)"
    r"|M(4|40|60|2050)|MI\d+[AX]?|P(4|40|100)|T4G?|V(100|520|620|710)|GTX\d+(TI)?|TITAN(V|XP)|RTX(PRO|A)?\d+(ADA|D|TI)?"
)
_SAME = {
    "A10G": "A10", "A4000": "RTXA4000", "A4500": "RTXA4500", "A5000": "RTXA5000", "A6000": "RTXA6000",
    "6000ADA": "RTX6000ADA", "PROV520": "V520", "PROV710": "V710", "GRIDK520": "K520", "GAUDIHL205": "Gaudi",
    "GAUDI": "Gaudi", "GAUDI2": "Gaudi2", "GAUDI3": "Gaudi3",
}  # fmt: skip
_NOISE = re.compile(
    r"NVIDIA|AMD|INTEL|TESLA|GEFORCE|QUADRO|INSTINCT|RADEON|SXM\d?|PCIE|NVL\d*|HGX|DGX|OAM|VWS|PCAP|GPU"
    r"|HBM\d?E?|SERVER|WORKSTATION|EDITION|BLACKWELL|GENERATION|GRAPHICS"
)


@lru_cache(maxsize=4096)
def canonical(name: str) -> str:
    """The one name of a GPU type; a name that is not known comes back as it is, without spaces around it."""
    size, parts = 0, []
    for token in re.split(r"[\s_\-()]+", name.strip().upper()):
        memory = re.fullmatch(r"(\d+)(?:GB|G|GIB)", token)
        if memory:
            size = int(memory[1])
        elif not _NOISE.fullmatch(token):
            parts.append(token)
    model = "".join(parts)
    own = re.fullmatch(r"([VP]100)M(\d+)", model)  # V100M32, as Alibaba writes it
    if own:
        model, size = own[1], int(own[2])
    model = _SAME.get(model, model)
    if model in USUAL_GB and size and size != USUAL_GB[model]:
        return f"{model}-{size}GB"
    return model if _MODEL.fullmatch(model) or model in _SAME.values() else name.strip()


def is_gpu(name: str) -> bool:
    """Whether a name is of a GPU type that is known here."""
    return bool(_MODEL.fullmatch(canonical(name).partition("-")[0]))


def named(column: pd.Series) -> pd.Series:
    """The names of a column of text, each distinct one looked up once. Names joined by ``|`` are looked up singly."""
    known = {name: "|".join(canonical(each) for each in name.split("|")) for name in column.unique()}
    return column.map(known).astype("str")


def _sizes(family: str, gpu: str, sizes: str) -> dict[str, tuple[str, float]]:
    """``_sizes("g5.{}", "A10", "xlarge 1, 12xlarge 4")``."""
    pairs = (each.split() for each in sizes.split(","))
    return {family.format(size): (gpu, float(Fraction(count))) for size, count in pairs}


_G_SIZES = "xlarge 1, 2xlarge 1, 4xlarge 1, 8xlarge 1, 16xlarge 1, 12xlarge 4, 24xlarge 4, 48xlarge 8"
#: EC2's machines with GPUs (https://aws.amazon.com/ec2/instance-types, also the retired ones).
AWS: dict[str, tuple[str, float]] = {
    **_sizes("cg1.{}", "M2050", "4xlarge 2"),
    **_sizes("g2.{}", "K520", "2xlarge 1, 8xlarge 4"),
    **_sizes("g3.{}", "M60", "4xlarge 1, 8xlarge 2, 16xlarge 4"),
    **_sizes("g3s.{}", "M60", "xlarge 1"),
    **_sizes("g4ad.{}", "V520", "xlarge 1, 2xlarge 1, 4xlarge 1, 8xlarge 2, 16xlarge 4"),
    **_sizes("g4dn.{}", "T4", "xlarge 1, 2xlarge 1, 4xlarge 1, 8xlarge 1, 16xlarge 1, 12xlarge 4, metal 8"),
    **_sizes("g5.{}", "A10", _G_SIZES),
    **_sizes("g5g.{}", "T4G", "xlarge 1, 2xlarge 1, 4xlarge 1, 8xlarge 1, 16xlarge 2, metal 2"),
    **_sizes("g6.{}", "L4", _G_SIZES),
    **_sizes("gr6.{}", "L4", "4xlarge 1, 8xlarge 1"),
    **_sizes("g6f.{}", "L4", "large 1/8, xlarge 1/8, 2xlarge 1/4, 4xlarge 1/2"),
    **_sizes("gr6f.{}", "L4", "4xlarge 1/2"),
    **_sizes("g6e.{}", "L40S", _G_SIZES),
    **_sizes("p2.{}", "K80", "xlarge 1, 8xlarge 8, 16xlarge 16"),
    **_sizes("p3.{}", "V100", "2xlarge 1, 8xlarge 4, 16xlarge 8"),
    **_sizes("p3dn.{}", "V100-32GB", "24xlarge 8"),
    **_sizes("p4d.{}", "A100-40GB", "24xlarge 8"),
    **_sizes("p4de.{}", "A100", "24xlarge 8"),
    **_sizes("p5.{}", "H100", "4xlarge 1, 48xlarge 8"),
    **_sizes("p5e.{}", "H200", "48xlarge 8"),
    **_sizes("p5en.{}", "H200", "48xlarge 8"),
    **_sizes("p6-b200.{}", "B200", "48xlarge 8"),
    **_sizes("p6-b300.{}", "B300", "48xlarge 8"),
    **_sizes("p6e-gb200.{}", "GB200", "36xlarge 4"),
    **_sizes("dl1.{}", "Gaudi", "24xlarge 8"),
}  # fmt: skip

#: Azure's N series (https://learn.microsoft.com/azure/virtual-machines/sizes/overview, also the retired ones).
AZURE: dict[str, tuple[str, float]] = {
    **_sizes("NC{}", "K80", "6 1, 12 2, 24 4, 24r 4"),
    **_sizes("NC{}_v2", "P100", "6s 1, 12s 2, 24s 4, 24rs 4"),
    **_sizes("NC{}_v3", "V100", "6s 1, 12s 2, 24s 4, 24rs 4"),
    **_sizes("NC{}as_T4_v3", "T4", "4 1, 8 1, 16 1, 64 4"),
    **_sizes("NC{}ads_A10_v4", "A10", "8 1, 16 1, 32 2"),
    **_sizes("NC{}ads_A100_v4", "A100", "24 1, 48 2, 96 4"),
    **_sizes("NC{}_H100_v5", "H100-94GB", "40ads 1, 80adis 2"),
    **_sizes("ND{}", "P40", "6s 1, 12s 2, 24s 4, 24rs 4"),
    **_sizes("ND{}_v2", "V100-32GB", "40rs 8, 40s 8"),
    **_sizes("ND{}_v4", "A100-40GB", "96asr 8, 96asr_A100 8"),
    **_sizes("ND{}_v4", "A100", "96amsr_A100 8"),
    **_sizes("ND{}_v5", "H100", "96isr_H100 8"),
    **_sizes("ND{}_v5", "H200", "96isr_H200 8"),
    **_sizes("ND{}_v5", "MI300X", "96isr_MI300X 8"),
    **_sizes("NV{}", "M60", "6 1, 12 2, 24 4"),
    **_sizes("NV{}_v2", "M60", "6s 1, 12s 2, 24s 4"),
    **_sizes("NV{}_v3", "M60", "12s 1, 24s 2, 48s 4"),
    **_sizes("NV{}as_v4", "MI25", "4 1/8, 8 1/4, 16 1/2, 32 1"),
    **_sizes("NV{}_A10_v5", "A10", "12ads 1/3, 18ads 1/2, 36ads 1, 36adms 1, 6ads 1/6, 72ads 2"),
}  # fmt: skip

#: Google's accelerator-optimised machines (https://cloud.google.com/compute/docs/gpus): family -> GPU. Their names end
#: in the number of GPUs, but for those of G2 and G4.
_GCP = {
    "a2-highgpu": "A100-40GB", "a2-megagpu": "A100-40GB", "a2-ultragpu": "A100", "a3-edgegpu": "H100",
    "a3-highgpu": "H100", "a3-megagpu": "H100", "a3-ultragpu": "H200", "a4-highgpu": "B200", "a4x-highgpu": "GB200",
    "a4x-maxgpu": "GB300",
}  # fmt: skip
_GCP_BY_SIZE = {
    **_sizes("g2-standard-{}", "L4", "4 1, 8 1, 12 1, 16 1, 24 2, 32 1, 48 4, 96 8"),
    **_sizes("g4-standard-{}", "RTXPRO6000", "6 1/8, 12 1/4, 24 1/2, 48 1, 96 2, 192 4, 384 8"),
}


@lru_cache(maxsize=65536)
def of_instance(provider: str, instance: str) -> tuple[str, float]:
    """GPU type and how many a machine type holds; ``("", 0.0)`` where it holds none. A share of one is a fraction.

    Args:
        provider: ``aws``, ``azure`` or ``gcp``.
        instance: as the provider calls it, Azure's with or without ``Standard_``.
    """
    if provider == "aws":
        return AWS.get(instance, ("", 0.0))
    if provider == "azure":
        return AZURE.get(instance.removeprefix("Standard_"), ("", 0.0))
    if provider != "gcp":
        return "", 0.0
    family = re.match(r"([a-z0-9]+-[a-z]+)-(\d+)g\b", instance)
    if family and family[1] in _GCP:
        return _GCP[family[1]], float(family[2])
    return _GCP_BY_SIZE.get(instance, ("", 0.0))


def of_instances(provider: str, column: pd.Series) -> tuple[pd.Series, npt.NDArray[np.float64]]:
    """GPU types and counts of a column of machine types, each distinct one looked up once."""
    known = {name: of_instance(provider, str(name)) for name in column.unique()}
    gpu = column.map({name: gpu for name, (gpu, _) in known.items()}).astype("str")
    count = column.map({name: count for name, (_, count) in known.items()})
    return gpu, count.to_numpy(dtype=np.float64)
