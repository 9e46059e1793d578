"""What of a run is told in tables and text: results, settings, how it is made again, what it was made with."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Sequence

import numpy as np
import tomli_w

from fastes.aggregate import bootstrap_interval, interquartile_mean, mean
from fastes.description import PYTHON
from fastes.html_report.element import Markup, element, joined
from fastes.html_report.numbers import number, numbers_of
from fastes.plots import Group
from fastes.run_record import RunRecord
from fastes.version import VERSION

_PACKAGES = ("numpy", "torch", "gymnasium", "matplotlib")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "settings") -> Markup:
    """Rows of text under a head. kind: "settings", whose cells may be broken, or "runs", of short ones with numbers."""
    names = element("thead", element("tr", *(element("th", name, scope="col") for name in head)))
    body = element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows))
    # What is wider than a phone is scrolled by itself, with keys as well.
    return element(
        "div",
        element("table", names, body, class_=kind),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=head[0],
    )


def runs_table(groups: Sequence[Group]) -> Markup:
    """A row for each run, in the order of the groups."""
    records = [record for group in groups for record in group.records]
    labels = [group.label for group in groups for _ in group.records]
    numbers = [numbers_of(record) for record in records]
    names = list(dict.fromkeys(name for told in numbers for name in told))
    rows = [
        [label, str(record.seed), record.status, *(told.get(name, "") for name in names), _digest(record)]
        for label, record, told in zip(labels, records, numbers, strict=True)
    ]
    return table(["runs", "seed", "status", *names, "digest"], rows, "runs")


def seeds_table(groups: Sequence[Group]) -> Markup:
    """A row for each group of several seeds: what its runs came to when they were last evaluated; empty if none is."""
    rows = []
    for group in groups:
        columns = [record.column("evaluation/mean") for record in group.records]
        last = [float(column[np.isfinite(column)][-1]) for column in columns if np.isfinite(column).any()]
        if len(last) < 2:
            continue
        low, high = bootstrap_interval([last], mean)
        middle = number(float(interquartile_mean(last)))
        span = f"{number(low)} to {number(high)}"
        extremes = f"{number(min(last))} to {number(max(last))}"
        rows.append([group.label, str(len(last)), number(float(mean(last))), span, middle, extremes])
    head = ["runs", "seeds", "mean of evaluations", "95 % interval of it", "interquartile mean", "range"]
    return table(head, rows, "runs") if rows else Markup()


def config_tables(record: RunRecord) -> Markup:
    """Every setting, those of each table of the configuration together."""
    tables = {key: value for key, value in record.config.items() if isinstance(value, dict)}
    plain = {key: value for key, value in record.config.items() if key not in tables}
    parts = {"run": plain} | tables
    drawn = [
        table([name, "value"], [[key, _value(value)] for key, value in values.items()])
        for name, values in parts.items()
        if values
    ]
    return element("div", *drawn, class_="tables")


def reproduction(record: RunRecord) -> Markup:
    """The command and the file that make the run again, and the digest that it has to end with."""
    text = tomli_w.dumps(dict(record.config))
    if PYTHON in text:
        told = "The run was made in Python, from an object that no file can name: run that program again."
        command = Markup()
    else:
        told = "Save the settings as run.toml, and type:"
        command = element("pre", "fastes train run.toml")
    end = Markup()
    if record.status == "finished":
        digest = element("code", _digest(record))
        end = element("p", "On the same hardware and library versions it ends with digest ", digest, ".")
    return joined(
        element("p", told),
        command,
        end,
        element("details", element("summary", "run.toml"), element("pre", text)),
    )


def surroundings(records: Sequence[RunRecord]) -> Markup:
    """Versions: of what ran, as far as it is written down, and of what wrote the report."""
    ran = dict.fromkeys(str(record.result["version"]) for record in records if "version" in record.result)
    noise = dict.fromkeys(str(record.result["noise_spec"]) for record in records if "noise_spec" in record.result)
    devices = dict.fromkeys(str(record.config.get("device", "cpu")) for record in records)
    executors = dict.fromkeys(str(record.config.get("executor", {}).get("kind", "local")) for record in records)
    rows = [
        ["runs: fastes", ", ".join(ran) or "not written yet"],
        ["runs: noise specification", ", ".join(noise) or "not written yet"],
        ["runs: device", ", ".join(devices)],
        ["runs: executor", ", ".join(executors)],
        ["report: fastes", VERSION],
        ["report: Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"],
    ]
    rows += [[f"report: {name}", importlib.metadata.version(name)] for name in _PACKAGES]
    return table(["what", "which"], rows)


def _digest(record: RunRecord) -> str:
    return str(record.result.get("digest", ""))


def _value(value: object) -> str:
    """As TOML has it, or nearly."""
    return json.dumps(value, ensure_ascii=False, default=str)
