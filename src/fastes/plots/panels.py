"""What a figure of runs consists of: a panel for each quantity, all of them against the same axis."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastes.errors import ConfigError
from fastes.plots.curves import AXES, Curve, evaluation_curve, fitness_quantiles, mean_curve
from fastes.plots.groups import Group

MOST_GROUPS = 10
"""That get a colour and a name; of more, the best."""

_DISTRIBUTION = "distribution"
_MOST_DISTRIBUTIONS = 4
_HIDDEN = frozenset(["generation", "seconds", "agent", "archive", "gathered", "failures", "sigma"])
_LOGARITHMIC = 30.0  # times the least value: from there on an axis of what cannot be negative is logarithmic
_X_LABELS = {
    "generations": "generations",
    "evaluations": "evaluations of members",
    "steps": "environment steps",
    "seconds": "seconds",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """name: for the identifiers in an SVG; title: what is drawn; meaning: of its line and bands; x_label: of the axis;
    curves: with the number of the group that each belongs to; log: whether the values' axis is logarithmic; limits: of
    that axis, None for what fits.
    """

    name: str
    title: str
    meaning: str
    x_label: str
    curves: tuple[tuple[int, Curve], ...]
    log: bool = False
    limits: tuple[float, float] | None = None

    @property
    def kind(self) -> str:
        """Its name, which distributions share."""
        return _DISTRIBUTION if self.name.startswith(f"{_DISTRIBUTION}-") else self.name

    def summary(self) -> str:
        """In words, for whoever cannot see it."""
        told = []
        for _, curve in self.curves[:MOST_GROUPS]:
            finite = curve.y[np.isfinite(curve.y)]
            if finite.size:
                told.append(f"{curve.label}: from {finite[0]:.4g} to {finite[-1]:.4g}")
        return f"{self.title} ({self.meaning}) against {self.x_label}. " + "; ".join(told) + "."


def panels_of(
    groups: Sequence[Group], axis: str = "generations", metrics: Sequence[str] = (), only: Sequence[str] = ()
) -> list[Panel]:
    """All that there is data for. axis: one of `curves.AXES`; metrics: columns of metrics.csv to be drawn as well;
    only: the names of panels that are wanted, none for all.

    Raises ConfigError for another axis, one along which the runs have no numbers, a column that no run has, or a name
    that no panel has.
    """
    if axis not in AXES:
        raise ConfigError(f"plots are against {', '.join(AXES)}, not {axis!r}.")
    of_column = functools.partial(_panel, groups, axis)
    several = any(len(group.records) > 1 for group in groups)
    seeds = "mean over seeds, 95 % interval" if several else "mean ± standard deviation of episodes"
    ends = ("fitness/min", "fitness/max")
    span = ", range over seeds" if several else ""
    panels = [
        of_column("fitness", "fitness", "mean, from worst to best member", _column("fitness/mean", ends)),
        of_column("evaluation", "evaluation of the centre", seeds, evaluation_curve),
        of_column("sigma", "sigma", "", _column("sigma", ("sigma/min", "sigma/max"), or_else=True), log=True),
        *(of_column(name, name, f"mean{span}" if several else "", _column(name)) for name in _told(groups)),
        of_column("update", "length of updates", span.removeprefix(", "), _column("update/norm"), log=True),
        _rate(groups, axis, span.removeprefix(", ")),
    ]
    for name in metrics:
        if not any(name in record.metrics for group in groups for record in group.records):
            known = dict.fromkeys(column for group in groups for record in group.records for column in record.metrics)
            raise ConfigError(f"no run has a metric {name!r}: there are {', '.join(known)}.")
        panels.append(of_column(name, name, span.removeprefix(", "), _column(name)))
    panels += _distributions(groups, axis)
    found = [_without_band(panel) for panel in panels if panel is not None]
    if not found:
        raise ConfigError(f"there is nothing to draw against {axis}: the metrics have no finite number there.")
    names = list(dict.fromkeys(panel.kind for panel in found))
    for name in only:
        if name not in names:
            raise ConfigError(f"there is no panel {name!r} to draw of these runs, only {', '.join(names)}.")
    return [panel for panel in found if not only or panel.kind in only]


Maker = Callable[[Group, str], Curve | None]


def _column(name: str, edges: tuple[str, str] | None = None, *, or_else: bool = False) -> Maker:
    """or_else: without a band where the columns of its edges are missing."""

    def make(group: Group, axis: str) -> Curve | None:
        known = edges if not or_else or all(edges and edges[0] in r.metrics for r in group.records) else None
        return mean_curve(group, name, axis, edges=known)

    return make


def _panel(
    groups: Sequence[Group], axis: str, name: str, title: str, meaning: str, make: Maker, *, log: bool = False
) -> Panel | None:
    made = [(number, make(group, axis)) for number, group in enumerate(groups)]
    curves = tuple((number, curve) for number, curve in made if curve is not None and np.isfinite(curve.x).any())
    if not curves:
        return None
    values = np.concatenate([curve.y[np.isfinite(curve.y)] for _, curve in curves])
    low, high = float(values.min()), float(values.max())
    wide = log and low > 0 and high > _LOGARITHMIC * low
    edges = [edge for _, curve in curves for band in curve.bands for edge in band[1:]]
    ends = [low, high, *(float(end) for edge in edges for end in (np.nanmin(edge), np.nanmax(edge)))]
    constant = log and low > 0 and max(ends) - min(ends) < 1e-9 * high  # but for the rounding of means
    limits = (0.0, 1.5 * high) if constant else None  # else the axis would be about its last digits
    return Panel(name, title, meaning, _X_LABELS[axis], curves, wide, limits)


def _without_band(panel: Panel) -> Panel:
    """Means nothing by a band where none is drawn, such as that of evaluations of one episode each."""
    banded = any(curve.bands for _, curve in panel.curves)
    return panel if banded or not panel.meaning else replace(panel, meaning=re.split(r",| ±", panel.meaning)[0])


def _told(groups: Sequence[Group]) -> list[str]:
    """Columns of what algorithms tell beside sigma, and of scheduled numbers, where they change."""
    columns = dict.fromkeys(name for group in groups for record in group.records for name in record.metrics)
    own = [name for name in columns if "/" not in name and name not in _HIDDEN]
    return [name for name in own if any(_changes(group, name) for group in groups)]


def _changes(group: Group, name: str) -> bool:
    values = np.concatenate([record.column(name) for record in group.records])
    finite = values[np.isfinite(values)]
    return bool(finite.size) and bool(finite.min() < finite.max())


def _rate(groups: Sequence[Group], axis: str, span: str) -> Panel | None:
    """Environment steps a second, or evaluations where a member is one step."""
    steps, evaluations = (
        [record.column(f"rate/{of}") for group in groups for record in group.records] for of in ("steps", "evaluations")
    )
    plain = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(steps, evaluations, strict=True))
    column, title = ("rate/evaluations", "evaluations a second") if plain else ("rate/steps", "steps a second")
    return _panel(groups, axis, "rate", title, span, _column(column))


def _distributions(groups: Sequence[Group], axis: str) -> list[Panel]:
    """One of each of the first groups, all on the same scale."""
    label = "median, 25–75 % and 5–95 % of members"
    made = [(number, fitness_quantiles(group, axis)) for number, group in enumerate(groups[:_MOST_DISTRIBUTIONS])]
    curves = [(number, curve) for number, curve in made if curve is not None]
    if not curves:
        return []
    ends = np.concatenate([edge[np.isfinite(edge)] for _, curve in curves for edge in curve.bands[0][1:]])
    margin = 0.04 * (ends.max() - ends.min()) or 0.5
    limits = (float(ends.min() - margin), float(ends.max() + margin))
    title = "distribution of fitness"
    return [
        Panel(
            f"{_DISTRIBUTION}-{number}",
            title if len(groups) == 1 else f"{title}: {curve.label}",
            label,
            _X_LABELS[axis],
            ((number, curve),),
            limits=limits if len(curves) > 1 else None,
        )
        for number, curve in curves
    ]
