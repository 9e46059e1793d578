"""The page: what is told of one run, or of several beside each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastes import plots
from fastes.html_report.element import Markup, element, joined
from fastes.html_report.numbers import number, numbers_of
from fastes.html_report.picture import picture
from fastes.html_report.tables import config_tables, reproduction, runs_table, seeds_table, surroundings, table
from fastes.plots import Group
from fastes.plots.landscape import figure_of_landscape, summary
from fastes.plots.returns import figure_of_returns
from fastes.plots.survey import Survey
from fastes.run_record import RunRecord, differing
from fastes.types import Float64Array

_NARROW = 5.6  # inches of the landscape, which is read on phones, too


@dataclass(frozen=True, slots=True)
class Extras:
    """What is only known of one run, and by more than reading. returns: float64 [E], of fresh episodes of its policy;
    survey: where theta went.
    """

    returns: Float64Array | None = None
    survey: Survey | None = None


def page(records: Sequence[RunRecord], extras: Extras | None = None) -> str:
    """The whole file. records: at least one; extras: of the run, if it is one.

    Raises ConfigError without matplotlib, StorageError if a journal cannot be read.
    """
    extras = extras or Extras()
    with plots.styled():
        groups = plots.grouped(records)
        body = _of_one(records[0], groups, extras) if len(records) == 1 else _of_several(records, groups)
    title = records[0].title if len(records) == 1 else f"{len(records)} runs of fastes"
    style = Markup(Path(__file__).with_name("style.css").read_text(encoding="utf-8"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', element('main', body)), lang='en')}\n"


def _of_one(record: RunRecord, groups: Sequence[Group], extras: Extras) -> Markup:
    digest = record.result.get("digest")
    error = record.result.get("error")
    numbers = [element("div", element("dt", name), element("dd", value)) for name, value in numbers_of(record).items()]
    count = itertools.count()
    return joined(
        element(
            "header",
            element("h1", record.title),
            element("p", _status(record), f" · seed {record.seed} · {record.directory}"),
            element("p", "digest ", element("code", str(digest)), class_="quiet") if digest else Markup(),
            element("p", str(error)) if error else Markup(),
        ),
        element("h2", "In numbers"),
        element("dl", *numbers, class_="numbers"),
        *_returns(extras.returns, count),
        element("h2", "How it went"),
        _pictures(groups, count),
        *_landscape(extras.survey, record, count),
        element("h2", "To make it again"),
        reproduction(record),
        element("h2", "Settings"),
        config_tables(record),
        element("h2", "Made with"),
        surroundings([record]),
    )


def _of_several(records: Sequence[RunRecord], groups: Sequence[Group]) -> Markup:
    names = differing(records)
    rows = [[name, *(str(group.records[0].settings().get(name, "–")) for group in groups)] for name in names]
    return joined(
        element(
            "header",
            element("h1", f"{len(records)} runs"),
            element("p", "; ".join(dict.fromkeys(record.title for record in records)), class_="quiet"),
        ),
        element("h2", "Results"),
        seeds_table(groups),
        runs_table(groups),
        element("h2", "How they went"),
        _pictures(groups, itertools.count()),
        element("h2", "In what they differ"),
        table(["setting", *(group.label for group in groups)], rows)
        if rows
        else element("p", "In their seeds only, or in nothing that matters for what is learned."),
        element("h2", "To make them again"),
        *(
            element("details", element("summary", f"{group.label}: {record.directory}"), reproduction(record))
            for group in groups
            for record in group.records
        ),
        element("h2", "Made with"),
        surroundings(records),
    )


def _status(record: RunRecord) -> Markup:
    generations = int(record.column("generation")[-1])
    return joined(
        element("span", record.status, class_=f"status {record.status}"),
        f" after {generations:,} of {record.config.get('generations', generations):,} generations",
    )


def _pictures(groups: Sequence[Group], count: itertools.count[int]) -> Markup:
    panels = plots.panels_of(groups)
    limits = plots.common_limits(panels)
    drawn = [picture(plots.figure_of_panel(panel, groups, limits), next(count), panel.summary()) for panel in panels]
    return element("div", *drawn, class_="pictures")


def _returns(returns: Float64Array | None, count: itertools.count[int]) -> list[Markup]:
    if returns is None:
        return []
    mean, std, low, high = (number(float(f(returns))) for f in (np.mean, np.std, np.min, np.max))
    told = (
        f"Returns of the trained policy in {len(returns)} fresh episodes: mean {mean}, standard deviation {std}, "
        f"from {low} to {high}."
    )
    drawn = picture(figure_of_returns(returns), next(count), told)
    return [element("h2", "The trained policy"), element("p", told), element("div", drawn, class_="pictures")]


def _landscape(survey: Survey | None, record: RunRecord, count: itertools.count[int]) -> list[Markup]:
    if survey is None:
        return []
    drawn = picture(figure_of_landscape(survey, record.title, _NARROW), next(count), summary(survey))
    return [element("h2", "Where theta went"), element("div", drawn, class_="pictures wide")]
