"""HTML in which text is text: whatever is not markup already is escaped."""

from __future__ import annotations

import html

_VOID = frozenset(["meta", "br", "img"])  # elements without an end


class Markup(str):
    """HTML that is taken as it is."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str) -> Markup:
    """An element of HTML. children: markup, or text, which is escaped; attributes: their names with an underscore for a
    hyphen or at the end, such as class_.
    """
    told = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{told}>")
    return Markup(f"<{name}{told}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """Markup and text, one after the other; the text is escaped."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(child) for child in children))
