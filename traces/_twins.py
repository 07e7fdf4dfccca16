"""Tables of figures that twins are drawn from: what stands in them, reading, writing, and those that ship."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hcsim.model import InputError, nearest

FOLDER = Path(__file__).parent / "twins"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class Figures(BaseModel):
    """Base of all tables: frozen, no key that is not known, no infinite number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Quantiles(Figures):
    """A distribution (see :mod:`hcsim.traces._quantiles`): k shares, k + 1 edges, k means between the edges."""

    share: Annotated[tuple[Share, ...], Field(min_length=1)]
    edge: tuple[float, ...]
    mean: tuple[float, ...]

    @model_validator(mode="after")
    def _lengths(self) -> Quantiles:
        if (len(self.edge), len(self.mean)) != (len(self.share) + 1, len(self.share)):
            raise ValueError(f"{len(self.share)} shares need one edge more and as many means")
        return self


class JobClass(Figures):
    """Jobs of one gang size.

    ``period_jobs`` has a row per period and a column per band of run time, ``run_s`` an entry per band. ``demands``
    are (thousandths of a GPU, CPUs, bytes of memory); none where all ask for whole GPUs and nothing else.
    """

    gpus: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    gpus_share: tuple[Share, ...]
    period_steps: Annotated[tuple[Count, ...], Field(min_length=1)]
    period_jobs: tuple[tuple[Count, ...], ...]
    period_gpu_h: tuple[float, ...]
    batch_sizes: Quantiles
    tenants: tuple[Share, ...]
    run_s: tuple[Quantiles, ...]
    demands: tuple[tuple[float, float, float], ...] = ()
    demand_share: tuple[Share, ...] = ()


class JobFigures(Figures):
    """What :func:`hcsim.traces._fit.fit` finds out about jobs."""

    kind: Literal["jobs"] = "jobs"
    jobs: Annotated[int, Field(ge=1)]
    span_s: Positive
    end_s: Positive
    by_hour_of_week: Annotated[tuple[float, ...], Field(min_length=168, max_length=168)]
    hour_sigma: Annotated[float, Field(ge=0)]
    hour_rho: Share
    batch_gap_s: Quantiles
    run_alike: Share
    run_by_batch_size: Annotated[float, Field(ge=-1, le=1)]
    tenants: Annotated[int, Field(ge=1)]
    classes: Annotated[tuple[JobClass, ...], Field(min_length=1)]


class Prefixes(Figures):
    """How prompts begin, in blocks of ``block_tokens``: the first ``everyone_blocks`` are the same in all (a system
    prompt); ``go_on_share`` of the requests go on from an earlier one, ``ago`` requests before, with which they have
    ``common_share`` of their blocks in common."""

    block_tokens: Annotated[int, Field(ge=1)]
    everyone_blocks: Count
    go_on_share: Share
    ago: Quantiles
    common_share: Quantiles


class RequestFigures(Figures):
    """What :func:`hcsim.traces._fit_requests.fit` finds out about requests.

    ``by_bin`` are requests per ``bin_s``, ``prompt_mean`` and ``output_mean`` their mean lengths (0 where there are
    none, that of all where a bin has fewer than five); ``gap`` the times between requests in units of the bin's mean,
    ``gap_rho`` the correlation of successive ones; ``tick_s`` is what times are rounded down to (0: nothing).
    """

    kind: Literal["requests"] = "requests"
    bin_s: Positive
    by_bin: Annotated[tuple[Count, ...], Field(min_length=1)]
    prompt_mean: tuple[float, ...]
    output_mean: tuple[float, ...]
    tick_s: Annotated[float, Field(ge=0)]
    gap: Quantiles
    gap_rho: Annotated[float, Field(ge=-1, le=1)]
    prompt_tokens: Quantiles
    output_tokens: Quantiles
    prompt_rho: Annotated[float, Field(ge=-1, le=1)]
    output_by_prompt: Annotated[float, Field(ge=-1, le=1)]
    prefixes: Prefixes | None = None


class CapacityState(Figures):
    """None, some or all of the nodes: how long that lasts, and which of the three follows. Empty: it does not occur."""

    hold_s: Quantiles | None = None
    next_share: tuple[Share, ...] = ()


class AvailabilityFigures(Figures):
    """What :func:`hcsim.traces._fit_market.fit` finds out of spot capacity, probed for ``nodes`` every ``tick_s``."""

    kind: Literal["availability"] = "availability"
    tick_s: Positive
    span_s: Positive
    nodes: Annotated[int, Field(ge=1)]
    gpu: str
    gpus: Annotated[float, Field(ge=0)]
    states: Annotated[tuple[CapacityState, ...], Field(min_length=3, max_length=3)]
    some: Quantiles | None = None


class PriceFigures(Figures):
    """What :func:`hcsim.traces._fit_market.fit` finds out about the price of an instance: its mean, the times between
    changes, prices in shares of the mean, and the correlation of successive ones."""

    kind: Literal["prices"] = "prices"
    span_s: Positive
    usd_per_h: Positive
    gpu: str
    gpus: Annotated[float, Field(ge=0)]
    market: str
    gap_s: Quantiles
    share: Quantiles
    rho: Share


AnyFigures = JobFigures | RequestFigures | AvailabilityFigures | PriceFigures
KINDS: dict[str, type[JobFigures] | type[RequestFigures] | type[AvailabilityFigures] | type[PriceFigures]] = {
    "jobs": JobFigures,
    "requests": RequestFigures,
    "availability": AvailabilityFigures,
    "prices": PriceFigures,
}


def text(figures: AnyFigures) -> str:
    """A table as JSON, a line for each key."""
    whole = {"kind": figures.kind} | figures.model_dump(exclude_defaults=True)

    def lines(value: object, indent: int) -> str:
        if isinstance(value, dict) and (indent < 2 or any(isinstance(v, dict) for v in value.values())):
            pad = " " * indent
            inner = ",\n".join(f"{pad} {json.dumps(k)}: {lines(v, indent + 1)}" for k, v in value.items())
            return "{\n" + inner + "\n" + pad + "}"
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            return "[" + ", ".join(lines(v, indent) for v in value) + "]"
        return json.dumps(value)

    return lines(whole, 0) + "\n"


def names(kind: str) -> list[str]:
    """The tables of a kind that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.json") if f'"kind": "{kind}"' in path.read_text())


def table(kind: str, of: str, path: str) -> AnyFigures:
    """The table at ``path``, else the one that ships under the name ``of``.

    Raises:
        InputError: there is none, or it is not one of this kind.
    """
    if path:
        return _read(kind, Path(path))
    known = names(kind)
    if of not in known:
        raise InputError(f"trace.of: no twin of '{of}'; {nearest(of, known)}")
    return _read(kind, FOLDER / f"{of}.json")


def _read(kind: str, path: Path) -> AnyFigures:
    try:
        return KINDS[kind].model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(each) for each in first["loc"]) or "the file"
        more = f" ({error.error_count() - 1} more defects)" if error.error_count() > 1 else ""
        raise InputError(f"{path}: not a fitted table of {kind}: {where}: {first['msg']}{more}") from None
