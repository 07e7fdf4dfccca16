"""Which features of the world change the ranking of strategies: a comparison with each switched off in turn.

Two strategies can be told apart under a metric where the 95 % interval of their paired difference over seeds leaves
zero out. A feature changes the ranking where switching it off reverses such an order, or makes two alike that were told
apart, or two be told apart that were alike. Kendall's tau-b is of the orders of all means, told apart or not; where it
is below 1 though no pair changes so, means have changed places within their intervals, and that is said as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hcsim.compare import METRICS, Metric
from hcsim.model import InputError
from hcsim.stats import t_interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.table import Table

#: The case in which nothing is switched off.
ON = "on"
#: What can be ranked: figures that are no counts of jobs.
RANKED: tuple[Metric, ...] = tuple(metric for metric in METRICS if not metric.counts)
CHANGED, FEWER, MORE, MEANS, SAME, UNKNOWN, ONE_SEED = (
    "order reversed", "order lost", "order gained", "means change places", "same", "not distinguishable",
    "one seed: no interval",
)  # fmt: skip
#: Verdicts of which each is a changed ranking.
CHANGES = (CHANGED, FEWER, MORE)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """What switching one feature off does to one metric.

    ``turned`` are the pairs whose order turns round (better first, as it is with everything on), ``lost`` those that
    can no longer be told apart, ``gained`` those that only then can. ``swapped`` are those whose means alone change
    places (better first, as it is with everything on). ``tau`` is NaN where a figure is missing, or all are equal.
    """

    switch: str
    metric: Metric
    verdict: str
    tau: float
    turned: tuple[tuple[str, str], ...]
    lost: tuple[tuple[str, str], ...]
    gained: tuple[tuple[str, str], ...]
    swapped: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two strategies under one metric, with everything on and with a feature off: the difference ``first`` - ``second``
    in the metric's unit, each with the half-width of its interval (NaN: one seed, or a figure is missing)."""

    switch: str
    metric: Metric
    first: str
    second: str
    on: float
    on_half: float
    off: float
    off_half: float
    what: str

    def told(self, off: bool) -> str:
        """Who beats whom and by how much, in words."""
        mean, half = (self.off, self.off_half) if off else (self.on, self.on_half)
        if mean == 0.0:
            return f"{self.first} and {self.second} are equal on average"
        better, worse = self.first, self.second
        if (mean > 0) != self.metric.more_is_better:
            better, worse = worse, better
        low, high = abs(mean) - half, abs(mean) + half
        unit = "points" if self.metric.unit == "%" else self.metric.unit
        by = f"by {abs(mean):.3g} {unit} [{low:.3g}, {high:.3g}]"
        apart = (self.what in (CHANGED, MORE)) if off else (self.what in (CHANGED, FEWER))
        return f"{better} beats {worse} {by}" if apart else f"{better} is ahead of {worse} {by}"


@dataclass(frozen=True)
class Shift:
    """How far a strategy's figure moves: in % of its mean, of figures that are shares in points; with its interval."""

    switch: str
    metric: Metric
    strategy: str
    on: float
    off: float
    shift: float
    low: float
    high: float
    same_jobs: bool


@dataclass(frozen=True)
class Ablation:
    """What an ablation came to. ``absent`` are switches that take nothing out of this world."""

    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    switches: tuple[str, ...]
    absent: tuple[str, ...]
    effects: tuple[Effect, ...]
    shifts: tuple[Shift, ...]
    pairs: tuple[Pair, ...] = ()

    def of(self, switch: str) -> tuple[Effect, ...]:
        """The effects of one switch, in the order of RANKED."""
        return tuple(effect for effect in self.effects if effect.switch == switch)

    @property
    def changing(self) -> tuple[str, ...]:
        """Switches that change a ranking: reverse an order, lose one, or bring one about."""
        return tuple(s for s in self.switches if any(e.verdict in CHANGES for e in self.of(s)))

    def having(self, *verdicts: str) -> str:
        """Switches with one of these verdicts under some metric, in words."""
        return ", ".join(s for s in self.switches if any(e.verdict in verdicts for e in self.of(s))) or "none"

    @property
    def told(self) -> list[str]:
        """What each switch does to each ranking, in plain English; nothing of those that leave it as it is."""
        said = {CHANGED: "is reversed", FEWER: "is lost: then no difference can be told", MORE: "can be told only then"}
        lines = []
        for pair in self.pairs:
            if pair.what in CHANGES:
                effect = next(e for e in self.of(pair.switch) if e.metric is pair.metric)
                lines.append(
                    f"{pair.switch}, {pair.metric.title} (τ {_text(effect.tau, '.2f')}): an order {said[pair.what]};"
                    f" with everything on {pair.told(off=False)}, without {pair.switch} {pair.told(off=True)}"
                )
        return lines

    @property
    def frame(self) -> pd.DataFrame:
        """One row per switch and metric."""
        import pandas as pd

        def pairs(which: tuple[tuple[str, str], ...]) -> str:
            return "; ".join(f"{a} > {b}" for a, b in which)

        rows = [
            {
                "without": e.switch, "metric": e.metric.title, "verdict": e.verdict, "kendall_tau": e.tau,
                "turned": pairs(e.turned), "order_lost": pairs(e.lost), "order_gained": pairs(e.gained),
                "means_swapped": pairs(e.swapped),
            }
            for e in self.effects
        ]  # fmt: skip
        columns = (
            "without",
            "metric",
            "verdict",
            "kendall_tau",
            "turned",
            "order_lost",
            "order_gained",
            "means_swapped",
        )
        return pd.DataFrame(rows, columns=list(columns))

    @property
    def pair_frame(self) -> pd.DataFrame:
        """One row per switch, metric and pair of strategies: differences with 95 % intervals, in the metric's unit."""
        import pandas as pd

        rows = [
            {
                "without": p.switch, "metric": p.metric.title, "unit": p.metric.unit, "first": p.first,
                "second": p.second, "on": p.on, "on_low": p.on - p.on_half, "on_high": p.on + p.on_half, "off": p.off,
                "off_low": p.off - p.off_half, "off_high": p.off + p.off_half, "what": p.what,
            }
            for p in self.pairs
        ]  # fmt: skip
        return pd.DataFrame(rows)

    @property
    def shift_frame(self) -> pd.DataFrame:
        """One row per switch, metric and strategy."""
        import pandas as pd

        rows = [
            {
                "without": s.switch, "metric": s.metric.title, "unit": s.metric.unit, "strategy": s.strategy,
                "on": s.on, "off": s.off, "shift": s.shift, "low": s.low, "high": s.high,
                "shift_unit": _shift_unit(s.metric), "same_jobs": s.same_jobs,
            }
            for s in self.shifts
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def table(self) -> Table:
        """For a terminal: what each switch does to the ranking, and the largest shift of a strategy's figure."""
        from rich.table import Table

        table = Table(
            title=f"ranking of {', '.join(self.strategies)} over {len(self.seeds)} seeds with each feature off in turn:"
            " verdict, Kendall's τ of the means, largest shift",
            title_justify="left",
        )
        table.add_column("without", no_wrap=True)
        for metric in RANKED:
            table.add_column(metric.title)
        style = {CHANGED: "bold red", FEWER: "yellow", MORE: "yellow", SAME: "green"}
        for switch in self.switches:
            cells = []
            for effect in self.of(switch):
                lines = [f"[{style.get(effect.verdict, 'dim')}]{effect.verdict}[/]"]
                for word, found in (("reversed", effect.turned), ("lost", effect.lost), ("gained", effect.gained)):
                    lines += [f"{word}: {a} > {b}" for a, b in found]
                lines.append(f"[dim]τ {_text(effect.tau, '.2f')}, {self._largest(switch, effect.metric)}[/]")
                cells.append("\n".join(lines))
            table.add_row(switch, *cells)
        return table

    def _largest(self, switch: str, metric: Metric) -> str:
        mine = [s for s in self.shifts if s.switch == switch and s.metric is metric and np.isfinite(s.shift)]
        if not mine:
            return "-"
        most = max(mine, key=lambda s: abs(s.shift))
        short = _short(most.shift)
        return f"{short} {_shift_unit(metric)}" + ("" if short == "0" else f" ({most.strategy})")


def _text(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)


def _shift_unit(metric: Metric) -> str:
    return "points" if metric.unit == "%" else "%"


def several(strategies: Iterable[str]) -> list[str]:
    """Two or more strategies, in the order of their names.

    Raises:
        InputError: there are fewer.
    """
    names = sorted(set(strategies))
    if len(names) < 2:
        raise InputError(f"an ablation ranks strategies, and its cases share {names}; expected two or more")
    return names


def ablation(runs: dict[str, pd.DataFrame], absent: Sequence[str] = ()) -> Ablation:
    """Compare the ranking with everything on with those with each feature off.

    Args:
        runs: case (``on``, or a switch) -> summaries of its runs, one row per strategy and seed.
        absent: switches that were not run because they change nothing.

    Raises:
        InputError: fewer than two strategies, or no seed that all cases have.
    """
    cells = {case: frame.set_index(["strategy", "seed"]).sort_index() for case, frame in runs.items()}
    strategies = several(set.intersection(*(set(frame["strategy"]) for frame in runs.values())))
    every = [set(frame[frame["strategy"] == name]["seed"]) for frame in runs.values() for name in strategies]
    seeds = sorted(set.intersection(*every))
    if not seeds:
        raise InputError("no seed under which every strategy was run in every case")
    effects, shifts, pairs = [], [], []
    switches = [case for case in runs if case != ON]
    for metric in RANKED:
        base, base_jobs = _values(cells[ON], metric, strategies, seeds)
        base_order = _orders(base, base_jobs, metric)
        for switch in switches:
            values, jobs = _values(cells[switch], metric, strategies, seeds)
            order = _orders(values, jobs, metric)
            effects.append(_effect(switch, metric, strategies, base, values, base_order, order))
            pairs += _pairs(switch, metric, strategies, base, values, base_order, order)
            shifts += _shifts(switch, metric, strategies, base, values, base_jobs == jobs)
    in_order = sorted(effects, key=lambda e: (switches.index(e.switch), RANKED.index(e.metric)))
    return Ablation(
        tuple(strategies),
        tuple(int(s) for s in seeds),
        tuple(switches),
        tuple(absent),
        tuple(in_order),
        tuple(shifts),
        tuple(sorted(pairs, key=lambda p: (switches.index(p.switch), RANKED.index(p.metric)))),
    )


def _values(
    cells: pd.DataFrame, metric: Metric, strategies: Sequence[str], seeds: Sequence[int]
) -> tuple[Floats, npt.NDArray[Any]]:
    """A metric in its unit and a hash of the jobs that finished, shape (strategies, seeds)."""
    rows: list[list[Any]] = [[cells.loc[(name, seed)] for seed in seeds] for name in strategies]
    values = [[np.nan if row[metric.key] is None else float(row[metric.key]) for row in line] for line in rows]
    jobs = [[str(row["finished_sha256"]) for row in line] for line in rows]
    return np.array(values) / metric.scale, np.array(jobs)


def _orders(values: Floats, jobs: npt.NDArray[Any], metric: Metric) -> dict[tuple[int, int], int]:
    """Of each pair of strategies 1 when the first is better, -1 when the second is, 0 when that cannot be said."""
    out = {}
    for a, b in combinations(range(len(values)), 2):
        mean, half = t_interval(values[a] - values[b])
        other = not metric.of_all and bool((jobs[a] != jobs[b]).any())
        told = not other and not np.isnan(half) and abs(mean) > half
        out[a, b] = (1 if (mean > 0) == metric.more_is_better else -1) if told else 0
    return out


def _effect(
    switch: str, metric: Metric, names: Sequence[str], base: Floats, values: Floats,
    before: dict[tuple[int, int], int], after: dict[tuple[int, int], int],
) -> Effect:  # fmt: skip
    def named(pair: tuple[int, int], sign: int) -> tuple[str, str]:
        a, b = pair if sign > 0 else pair[::-1]
        return names[a], names[b]

    turned = tuple(named(p, s) for p, s in before.items() if s * after[p] < 0)
    lost = tuple(named(p, s) for p, s in before.items() if s and not after[p])
    gained = tuple(named(p, s) for p, s in after.items() if s and not before[p])
    means, other = base.mean(axis=1), values.mean(axis=1)
    changed = {*turned, *lost, *gained}
    swapped = []
    for a, b in before:
        was = 1 if (means[a] > means[b]) == metric.more_is_better else -1
        pair = named((a, b), was)
        if (means[a] - means[b]) * (other[a] - other[b]) < 0 and not {pair, pair[::-1]} & changed:
            swapped.append(pair)
    if base.shape[1] < 2:
        verdict = ONE_SEED
    elif changed:
        verdict = CHANGED if turned else FEWER if lost else MORE
    elif swapped:
        verdict = MEANS
    else:
        verdict = SAME if any(before.values()) else UNKNOWN
    return Effect(switch, metric, verdict, _tau(means, other), turned, lost, gained, tuple(swapped))


def _pairs(
    switch: str, metric: Metric, names: Sequence[str], base: Floats, values: Floats,
    before: dict[tuple[int, int], int], after: dict[tuple[int, int], int],
) -> list[Pair]:  # fmt: skip
    """Every pair of strategies, with what becomes of its order."""
    out = []
    for (a, b), was in before.items():
        now = after[a, b]
        what = CHANGED if was * now < 0 else FEWER if was and not now else MORE if now and not was else ""
        on, off = t_interval(base[a] - base[b]), t_interval(values[a] - values[b])
        what = what or (SAME if was else MEANS if on[0] * off[0] < 0 else UNKNOWN)
        out.append(Pair(switch, metric, names[a], names[b], *on, *off, what))
    return out


def _tau(a: Floats, b: Floats) -> float:
    """Kendall's tau-b of two columns of means; NaN where one is missing or all of one are equal."""
    from scipy.stats import kendalltau

    if np.isnan(a).any() or np.isnan(b).any() or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(kendalltau(a, b).statistic)


def _shifts(
    switch: str, metric: Metric, names: Sequence[str], base: Floats, values: Floats, same: npt.NDArray[np.bool_]
) -> list[Shift]:
    out = []
    for k, name in enumerate(names):
        on, off = float(base[k].mean()), float(values[k].mean())
        mean, half = t_interval(values[k] - base[k])
        unit = 1.0 if metric.unit == "%" else on / 100.0
        if unit == 0.0:
            mean, half = (0.0, half) if mean == 0.0 else (float("nan"), float("nan"))
            unit = 1.0
        low, high = (mean - half) / unit, (mean + half) / unit
        out.append(Shift(switch, metric, name, on, off, mean / unit, low, high, bool(same[k].all())))
    return out


def heat_map(found: Ablation) -> Figure:
    """Shift of every strategy's figures per switch, a panel per metric; a row is framed where the ranking changes."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    metrics = [m for m in RANKED if any(np.isfinite(s.shift) for s in found.shifts if s.metric is m)]
    rows, columns = len(found.switches), len(found.strategies)
    wide = max(0.62 * columns, 1.6)
    longest = max((len(name) for name in (*found.switches, *found.strategies)), default=8)
    across = min(len(metrics), 3) or 1
    down = -(-len(metrics) // across)
    bottom = 0.075 * longest
    figure = Figure(
        figsize=(0.09 * longest + (wide + 0.35) * across + 0.4, (0.34 * rows + 0.7) * down + bottom + 0.4),
        layout="constrained",
    )
    if not metrics or not rows:
        return figure
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for empty in panels[len(metrics) :]:
        empty.remove()
    for ax, metric in zip(panels, metrics, strict=False):
        mine = {(s.switch, s.strategy): s for s in found.shifts if s.metric is metric}
        shift = np.array([[mine[row, name].shift for name in found.strategies] for row in found.switches])
        # one scale per panel; beyond ±50 colours do not deepen, so that one far-off figure does not pale the others
        top = min(max(float(np.nanmax(np.abs(shift))) if np.isfinite(shift).any() else 1.0, 1.0), 50.0)
        ax.imshow(shift, cmap="PuOr", vmin=-top, vmax=top, aspect="auto")
        for y, switch in enumerate(found.switches):
            for x, name in enumerate(found.strategies):
                each = mine[switch, name]
                strong = np.isfinite(each.shift) and abs(each.shift) > 0.7 * top
                text = "–" if np.isnan(each.shift) else _short(each.shift)
                ax.text(x, y, text, ha="center", va="center", fontsize=7, color="white" if strong else "#222222")
            if found.of(switch)[RANKED.index(metric)].verdict in CHANGES:
                ax.add_patch(Rectangle((-0.5, y - 0.5), columns, 1, fill=False, ec="#D00000", lw=1.8, clip_on=False))
        ax.set_title(f"{metric.title}\n({_shift_unit(metric)})", fontsize=9)
        ax.set_xticks(range(columns), found.strategies, rotation=90, fontsize=8)
        ax.set_yticks(range(rows), found.switches, fontsize=8)
        ax.tick_params(length=0)
        for side in ax.spines.values():
            side.set_visible(False)
    figure.suptitle(
        f"shift of the mean over {len(found.seeds)} seeds with a feature off; red: the ranking of strategies changes",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _short(shift: float) -> str:
    return "0" if abs(shift) < 0.05 else f"{shift:+.1f}" if abs(shift) < 9.95 else f"{shift:+.0f}"
