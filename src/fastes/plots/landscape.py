"""A survey as a picture: the way of theta as a line with its generations, members as dots in the colour of fitness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastes.plots.canvas import new_figure
from fastes.plots.drawing import plain
from fastes.plots.style import INK, MARKERS, PAPER
from fastes.plots.survey import Survey
from fastes.types import Float64Array

if TYPE_CHECKING:
    from fastes.plots.canvas import Axes, Figure

_LABELS = 6  # generations that are named, at most, besides the first
_LOWEST, _HIGHEST = 0.45, 1.0  # height of the plane, as a part of its width
_OUTSIDE = 2.0  # percent of the members at each end of fitness that share a colour


def figure_of_landscape(survey: Survey, title: str, width: float = 8.0) -> Figure:
    """To be called `styled`. width: in inches."""
    wide, high = np.ptp(np.concatenate([survey.way, survey.members]), axis=0)
    shape = float(np.clip(high / wide if wide > 0 else _HIGHEST, _LOWEST, _HIGHEST))
    figure = new_figure(width, shape * 0.85 * width + 0.9)  # the rest is the colour bar, the title and the labels
    axes = figure.add_subplot()
    _draw_members(figure, axes, survey)
    for agent in np.unique(survey.agents):
        _draw_way(axes, survey, int(agent))
    axes.set_aspect("equal", adjustable="datalim")
    named = [f"component {i + 1}: {100 * share:.3g} % of theta's variance" for i, share in enumerate(survey.shares)]
    if survey.shares[1] == 0.0:
        named[1] = "a direction of noise: theta went along a line"
    axes.set(xlabel=named[0], ylabel=named[1])
    axes.set_title(plain(title) + "\n", fontsize=12)
    axes.text(0.0, 1.02, _subtitle(survey), transform=axes.transAxes, fontsize=9)
    return figure


def summary(survey: Survey) -> str:
    """In words, for whoever cannot see it."""
    return (
        f"The way of theta over generations {survey.generations[0]} to {survey.generations[-1]} in the plane of its "
        f"two principal components, which have {100 * sum(survey.shares):.3g} % of its variance, with "
        f"{len(survey.members)} members around it in the colour of their fitness."
    )


def _subtitle(survey: Survey) -> str:
    generations = f"theta from generation {survey.generations[0]:,} to {survey.generations[-1]:,}"
    return f"{generations}; {len(survey.members):,} of {survey.of:,} members" if len(survey.members) else generations


def _draw_members(figure: Figure, axes: Axes, survey: Survey) -> None:
    finite = np.isfinite(survey.fitness)
    if not finite.any():
        return
    places, fitness = survey.members[finite], survey.fitness[finite]
    low, high = np.percentile(fitness, [_OUTSIDE, 100.0 - _OUTSIDE])
    below, above = fitness.min() < low, fitness.max() > high
    order = np.argsort(fitness, kind="stable")  # the best on top
    dots = axes.scatter(
        places[order, 0],
        places[order, 1],
        c=fitness[order],
        s=9,
        linewidths=0,
        cmap="viridis",
        vmin=low,
        vmax=high if high > low else low + 1.0,
        rasterized=True,  # thousands of shapes would make an SVG large
        gid="members",
    )
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    bar = figure.colorbar(dots, ax=axes, extend=extend[bool(below), bool(above)], shrink=0.8)
    bar.set_label("fitness of members")
    bar.outline.set_visible(False)


def _draw_way(axes: Axes, survey: Survey, agent: int) -> None:
    mine = survey.agents == agent
    way, generations = survey.way[mine], survey.generations[mine]
    name = "way" if not survey.agents.any() else f"way:{agent}"
    axes.plot(*way.T, color=PAPER, linewidth=3.4, solid_joinstyle="round")  # a seam, so that it is seen on any dots
    axes.plot(*way.T, color=INK, linewidth=1.4, gid=name)
    for start, end in _arrows(way):
        axes.annotate(
            "",
            end,
            start,
            arrowprops={"arrowstyle": "-|>", "color": INK, "mutation_scale": 18, "shrinkA": 0, "shrinkB": 0},
        )
    marks = _marks(way, 1 if survey.agents.any() else _LABELS)  # of several ways the ends, or they could not be read
    marker = MARKERS[agent % len(MARKERS)]
    axes.plot(*way[marks].T, marker, color=INK, markerfacecolor=PAPER, markersize=5.5, zorder=4)
    span = max(float(np.ptp(survey.way[:, 0])), float(np.ptp(survey.way[:, 1])), 1e-30)
    named: list[tuple[float, float]] = []
    for mark in [*marks[-1:], *marks[:-1]]:  # the end first: what comes too near another is not named
        x, y = way[mark]
        if any(max(abs(x - a), abs(y - b)) < 0.04 * span for a, b in named):
            continue
        named.append((x, y))
        axes.annotate(
            f"{generations[mark]:,}",
            (x, y),
            xytext=(6, 5),
            textcoords="offset points",
            fontsize=9,
            fontweight="bold",
            zorder=5,
            bbox={"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 0.8},
        )


def _marks(way: Float64Array, most: int) -> list[int]:
    """Places on the way, the ends among them, with as far to go from each to the next."""
    reached = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    places = np.searchsorted(reached, np.linspace(0.0, reached[-1], most + 1)[1:-1])
    return sorted({0, *places.tolist(), len(way) - 1})


def _arrows(way: Float64Array) -> list[tuple[tuple[float, float], ...]]:
    """Where two arrowheads show the direction: pieces of the way at a third and at two thirds of its length."""
    pieces = np.linalg.norm(np.diff(way, axis=0), axis=1)
    if not pieces.sum() > 0:
        return []
    reached = np.cumsum(pieces) / pieces.sum()
    places = {int(np.searchsorted(reached, part)) for part in (0.33, 0.67)}
    return [(tuple(way[i]), tuple(way[i + 1])) for i in sorted(places) if pieces[i] > 0]
