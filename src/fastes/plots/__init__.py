"""Pictures of runs: how fitness, sigma, updates and speed went, and where theta went (`landscape`)."""

from fastes.plots.canvas import check_ending, save, styled
from fastes.plots.curves import AXES
from fastes.plots.drawing import common_limits, figure_of_panel, figure_of_panels
from fastes.plots.groups import Group, grouped
from fastes.plots.panels import Panel, panels_of

__all__ = [
    "AXES",
    "Group",
    "Panel",
    "check_ending",
    "common_limits",
    "figure_of_panel",
    "figure_of_panels",
    "grouped",
    "panels_of",
    "save",
    "styled",
]
