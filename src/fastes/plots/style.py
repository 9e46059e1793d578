"""How every figure of the project looks: plain settings of matplotlib, colours, and no import of it."""

from __future__ import annotations

from typing import Any

# Okabe and Ito 2008, without black and yellow, which vanish on a dark and on a light page: told apart by colour-blind
# readers too. Markers say the same without any colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "v", "s", "D", "^", "P")
DASHES = ("-", "--", ":")  # one after the other, each for all colours
OTHERS = "#9A9A9A"
"""Of curves without a colour of their own."""

INK, LINES, PAPER = "#262626", "#E4E4E4", "#FFFFFF"
"""Text and axes, the grid, and what they are drawn on."""

STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINES,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}

OF_RUNS: Any = STYLE | {
    "font.family": "sans-serif",
    "axes.titlesize": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and restyled
    "svg.hashsalt": "fastes",  # the same figure, the same file
}
