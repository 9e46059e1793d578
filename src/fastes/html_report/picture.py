"""A figure as a part of the page: an SVG that takes its colours from the page, dark or light, and has words for whoever
cannot see it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastes.html_report.element import Markup, element
from fastes.plots.canvas import svg
from fastes.plots.style import COLOURS, INK, LINES, PAPER

if TYPE_CHECKING:
    from fastes.plots.canvas import Figure

_NAMED = {INK: "ink", LINES: "lines", PAPER: "paper", COLOURS[0]: "blue", COLOURS[5]: "sky"}
_COLOURS = {colour.lower(): f"var(--{name})" for colour, name in _NAMED.items()}
_COLOUR = re.compile(r"(fill|stroke|stop-color): (#[0-9a-f]{6})")
_IDENTIFIER = re.compile(r'(\bid="|href="#|url\(#)')


def picture(figure: Figure, number: int, description: str) -> Markup:
    """number: of the picture in the page, so that identifiers differ; description: what it shows. To be called
    `plots.styled`.
    """
    text = svg(figure)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _COLOUR.sub(lambda found: f"{found[1]}: {_COLOURS.get(found[2], found[2])}", text)
    text = _IDENTIFIER.sub(lambda found: f"{found[1]}p{number}-", text)
    # Without a width of its own it is as wide as its place; the view box keeps its proportions.
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height|version)="[^"]*"', "", head)
    title = element("title", description, id=f"p{number}-title")
    drawn = Markup(f'{head} role="img" aria-labelledby="p{number}-title">{title}{rest.rstrip()}')
    return element("figure", drawn)
