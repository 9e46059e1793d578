"""Panels as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastes.plots.canvas import legend_entry, new_figure
from fastes.plots.curves import Curve
from fastes.plots.groups import Group
from fastes.plots.panels import MOST_GROUPS, Panel
from fastes.plots.style import COLOURS, DASHES, MARKERS, OTHERS

if TYPE_CHECKING:
    from fastes.plots.canvas import Axes, Figure

_FEW = 60  # points of a curve that are worth a mark each
_PANEL = (4.9, 3.1)  # inches
_TITLE = 60  # characters


def figure_of_panels(panels: Sequence[Panel], groups: Sequence[Group], title: str) -> Figure:
    """All panels side by side, and a legend if there is more than one group. To be called `styled`."""
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    highlighted = best(groups)
    figure = new_figure(_PANEL[0] * columns, _PANEL[1] * rows + _above(groups, highlighted, columns))
    limits = common_limits(panels)
    for i, panel in enumerate(panels):
        draw(figure.add_subplot(rows, columns, i + 1), panel, highlighted, limits)
    _add_legend(figure, groups, highlighted, columns, plain(title))
    return figure


def figure_of_panel(panel: Panel, groups: Sequence[Group], x_limits: tuple[float, float] | None) -> Figure:
    """One panel by itself. x_limits: as of `common_limits`. To be called `styled`."""
    highlighted = best(groups)
    alone = len({number for number, _ in panel.curves}) == 1
    figure = new_figure(_PANEL[0], _PANEL[1] + (0.0 if alone else _above(groups, highlighted, 1)))
    draw(figure.add_subplot(), panel, highlighted, x_limits)
    if not alone:
        _add_legend(figure, groups, highlighted, 1, None)
    return figure


def best(groups: Sequence[Group]) -> list[int]:
    """The numbers of the groups that get a colour: all of them if they are few, else those that came out best."""
    if len(groups) <= MOST_GROUPS:
        return list(range(len(groups)))
    reached = [group.last("evaluation/mean") for group in groups]
    if not np.isfinite(reached).all():
        reached = [group.last("fitness/mean") for group in groups]
    order = np.argsort(-np.nan_to_num(reached, nan=-np.inf, posinf=np.inf, neginf=-np.inf), kind="stable")
    return sorted(order[:MOST_GROUPS].tolist())


def draw(axes: Axes, panel: Panel, highlighted: Sequence[int], x_limits: tuple[float, float] | None) -> None:
    """A panel on axes; of groups that are not highlighted only grey lines, below the others."""
    for number, curve in panel.curves:
        if number not in highlighted:
            axes.plot(curve.x, curve.y, color=OTHERS, linewidth=0.7, zorder=1.5, gid=f"{panel.name}:{number}")
    shown = [(number, curve) for number, curve in panel.curves if number in highlighted]
    for number, curve in shown:
        _draw_curve(axes, panel.name, number, highlighted.index(number), curve, alone=len(shown) == 1)
    axes.set_title(plain(panel.title))
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.meaning, fontsize=8.5)
    if x_limits is not None:
        axes.set_xlim(*x_limits)
    if panel.x_label == "generations":
        axes.locator_params(axis="x", integer=True)
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    if panel.log:
        axes.set_yscale("log")
        return
    if panel.limits is not None:
        axes.set_ylim(*panel.limits)
    low, high = axes.get_ylim()
    if max(abs(low), abs(high)) >= 1e5:
        axes.yaxis.set_major_formatter(lambda value, _: _short(value))


def common_limits(panels: Sequence[Panel]) -> tuple[float, float] | None:
    """Of the x axis, the same for all panels; None where matplotlib may choose."""
    ends = np.concatenate([curve.x[np.isfinite(curve.x)] for panel in panels for _, curve in panel.curves])
    margin = 0.02 * (ends.max() - ends.min())
    return (float(ends.min() - margin), float(ends.max() + margin)) if margin > 0 else None


def _draw_curve(axes: Axes, name: str, number: int, place: int, curve: Curve, *, alone: bool) -> None:
    """place: among the highlighted, from which follow colour, marker and dashes."""
    colour, marker, dash = _look(place)
    for i, (x, low, high) in enumerate(curve.bands):
        gid = f"{name}:{number}:band-{i}"
        if np.count_nonzero(np.isfinite(low + high)) == 1:  # a band of no width
            at = np.flatnonzero(np.isfinite(low + high))
            axes.vlines(x[at], low[at], high[at], color=colour, alpha=0.3, linewidth=6 + 4 * i, gid=gid)
        else:
            axes.fill_between(x, low, high, color=colour, alpha=0.22 if alone else 0.13, linewidth=0, gid=gid)
    for i, (x, y) in enumerate(curve.singles):
        axes.plot(x, y, color=colour, linewidth=0.6, alpha=0.5, gid=f"{name}:{number}:single-{i}")
    few = np.count_nonzero(np.isfinite(curve.y)) <= _FEW
    every: dict[str, object] = {} if few else {"markevery": 0.17 + 0.005 * place}
    marked = few or not alone
    axes.plot(
        curve.x,
        curve.y,
        color=colour,
        linestyle=dash,
        linewidth=1.6,
        marker=marker if marked else None,
        markersize=3.2 if few else 4.5,
        gid=f"{name}:{number}",
        **every,  # type: ignore[arg-type]
    )


def _look(place: int) -> tuple[str, str, str]:
    return COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], DASHES[place // len(COLOURS) % len(DASHES)]


def _above(groups: Sequence[Group], highlighted: Sequence[int], columns: int) -> float:
    """Inches for the title and the legend."""
    return 0.4 + (0.22 * -(-(len(highlighted) + 1) // columns) if len(groups) > 1 else 0.0)


def _add_legend(
    figure: Figure, groups: Sequence[Group], highlighted: Sequence[int], columns: int, title: str | None
) -> None:
    """One for the whole figure, above the panels, below the title."""
    handles = []
    for place, number in enumerate(highlighted if len(groups) > 1 else ()):
        colour, marker, dash = _look(place)
        label = plain(groups[number].label)
        handles.append(legend_entry(color=colour, marker=marker, markersize=4.5, linestyle=dash, label=label))
    if others := len(groups) - len(highlighted):
        handles.append(legend_entry(color=OTHERS, linewidth=0.7, label=f"{others} others"))
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        fontsize=9,
        title=title,
        title_fontsize=13,
        alignment="left",
        borderaxespad=0.2,
    )


def plain(text: str) -> str:
    """Text that is drawn as it is: no formulas, in one line that is not too long."""
    text = " ".join(text.split())
    return (text if len(text) <= _TITLE else f"{text[: _TITLE - 1]}…").replace("$", r"\$")


def _short(value: float) -> str:
    """Of a tick: 250k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}" if math.isfinite(value) else ""
