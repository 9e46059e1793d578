"""Text stays text: what users name their runs is never markup."""

from __future__ import annotations

from fastes.html_report.element import Markup, element, joined


def test_text_is_escaped_and_markup_is_not() -> None:
    made = element("p", '1 < 2 & "3"', element("b", "<i>"), class_="a b", aria_label='"x"')
    assert made == '<p class="a b" aria-label="&quot;x&quot;">1 &lt; 2 &amp; &quot;3&quot;<b>&lt;i&gt;</b></p>'
    assert isinstance(made, Markup)
    assert element("meta", name="viewport") == '<meta name="viewport">'


def test_joined() -> None:
    assert joined("<", Markup("<br>"), "") == "&lt;<br>"
    assert joined(joined("<")) == "&lt;"
