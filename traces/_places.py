"""One name for each cloud region, whatever a source calls it: ``provider:region``, as ``aws:us-east-1``.

The provider is ``aws``, ``azure`` or ``gcp``, others by their own names. The region (or zone) is the provider's code,
as its interfaces take it; what stands for no single region (``Multi-region``) keeps the source's words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

PROVIDERS = {
    "aws": "aws", "amazon": "aws", "amazon web services": "aws",
    "azure": "azure", "microsoft": "azure", "microsoft azure": "azure",
    "gcp": "gcp", "google": "gcp", "google cloud": "gcp", "google cloud platform": "gcp",
}  # fmt: skip
#: Where AWS's regions lie, as its status pages call them.
AWS_CITIES = {
    "Frankfurt": "eu-central-1", "Hong Kong": "ap-east-1", "Ireland": "eu-west-1", "London": "eu-west-2",
    "Montreal": "ca-central-1", "Mumbai": "ap-south-1", "N. California": "us-west-1", "N. Virginia": "us-east-1",
    "Ohio": "us-east-2", "Oregon": "us-west-2", "Paris": "eu-west-3", "Sao Paulo": "sa-east-1",
    "Seoul": "ap-northeast-2", "Singapore": "ap-southeast-1", "Sydney": "ap-southeast-2", "Tokyo": "ap-northeast-1",
}  # fmt: skip
#: Azure's short display names, as its price list had them in 2022.
AZURE_NAMES = {
    "AE Central": "uaecentral", "AE North": "uaenorth", "AP East": "eastasia", "AP Southeast": "southeastasia",
    "AU Central": "australiacentral", "AU Central 2": "australiacentral2", "AU East": "australiaeast",
    "AU Southeast": "australiasoutheast", "BR South": "brazilsouth", "BR Southeast": "brazilsoutheast",
    "CA Central": "canadacentral", "CA East": "canadaeast", "CH North": "switzerlandnorth",
    "CH West": "switzerlandwest", "Central US EUAP": "centraluseuap", "DE North": "germanynorth",
    "DE West Central": "germanywestcentral", "EU North": "northeurope", "EU West": "westeurope",
    "East US 2 EUAP": "eastus2euap", "East US SLV": "eastusslv", "FR Central": "francecentral",
    "FR South": "francesouth", "Global": "global", "IN Central": "centralindia", "IN South": "southindia",
    "IN West": "westindia", "JA East": "japaneast", "JA West": "japanwest", "KR Central": "koreacentral",
    "KR South": "koreasouth", "NO East": "norwayeast", "NO West": "norwaywest", "QA Central": "qatarcentral",
    "SE Central": "swedencentral", "SE South": "swedensouth", "UK South": "uksouth", "UK West": "ukwest",
    "US Central": "centralus", "US East": "eastus", "US East 2": "eastus2", "US Gov AZ": "usgovarizona",
    "US Gov TX": "usgovtexas", "US Gov Virginia": "usgovvirginia", "US North Central": "northcentralus",
    "US South Central": "southcentralus", "US West": "westus", "US West 2": "westus2", "US West 3": "westus3",
    "US West Central": "westcentralus", "ZA North": "southafricanorth", "ZA West": "southafricawest",
}  # fmt: skip
#: Azure's codes, which its display names in full (``East US 2``) are but for case and spaces.
_AZURE_CODES = {*AZURE_NAMES.values(), "israelcentral", "italynorth", "mexicocentral", "polandcentral", "spaincentral"}


def provider_code(name: str) -> str:
    """``aws``, ``azure`` or ``gcp``; another provider by its own name."""
    return PROVIDERS.get(name.strip().lower(), name.strip())


def region_code(provider: str, name: str) -> str:
    """The provider's code of a region that a source calls ``name``; the name itself where it is none or has none."""
    name = name.strip()
    if provider == "aws":
        return AWS_CITIES.get(name, name)
    if provider == "azure":
        plain = name.lower().replace(" ", "")
        return AZURE_NAMES.get(name, plain if plain in _AZURE_CODES else name)
    return name


def places(provider: str, names: pd.Series) -> pd.Series:
    """``provider:region`` for a column of regions or zones; the provider alone where a region is not said."""
    code = provider_code(provider)
    known = {name: place(code, str(name)) for name in names.unique()}
    return names.map(known).astype("str")


def place(provider: str, name: str) -> str:
    """``provider:region`` of one region or zone, the provider alone where there is none."""
    code = provider_code(provider)
    return f"{code}:{region_code(code, name)}" if name.strip() else code
