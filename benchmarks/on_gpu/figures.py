"""The arithmetic of a run: summaries, rates, ratios, floors, and whether all of it is as it should be.

A measuring process writes lines, one JSON object each, as it goes; `collected` makes a run's figures of them:

    {"type": "measurement", "name", "group", "series", "ours", "amount", "unit", "seconds": [..], "floor"}
    {"type": "ratio", "what", "against", "rounds": [..], "floor"}
    {"type": "error", "name", "ours", "detail"}      of one contender: a wrong answer or an exception
    {"type": "skipped", "name", "reason"}
    {"type": "about", ...} and {"type": "answer", "name", "route", "value"}
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA = 1
WITH_EXTENSION = "with the extension"


@dataclass(frozen=True, slots=True)
class Floor:
    """The least that a rate or a ratio may be, in whose words, and what is hoped for."""

    at_least: float
    source: str
    goal: float | None = None


FLOORS = {
    "normal": Floor(400e9, "weighted_sum normal >= 400 G/s, goal 700 G/s", 700e9),
    "normal over torch": Floor(2.0, "weighted_sum normal >= 2 x torch.randn + addmv, at the largest size that fits"),
    "rademacher over normal": Floor(3.0, "weighted_sum rademacher >= 3 x normal"),
    "normal8 over normal": Floor(3.0, "weighted_sum normal8 >= 3 x normal"),
    "low rank over inference": Floor(0.80, "low-rank layer, noise made in the call, >= 0.80 of plain inference"),
    "perturb over fill": Floor(0.85, "perturb, mirrored, float32: bytes written >= 0.85 of the write bandwidth"),
    "environment steps": Floor(20e6, "CartPole-v1 by 64-64 perceptrons, wholly on the card: >= 20 M steps/s"),
}


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Of all repetitions: their number, median, minimum, and the first and third quartile."""
    if len(seconds) < 2:
        quartiles = [seconds[0], seconds[0]]
    else:
        low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
        quartiles = [low, high]
    return {
        "repetitions": len(seconds),
        "median": statistics.median(seconds),
        "minimum": min(seconds),
        "quartiles": quartiles,
    }


def judged(value: float, floor_name: str) -> dict[str, Any]:
    """A floor's fields and whether the value holds it; nothing without a floor."""
    if not floor_name:
        return {}
    floor = FLOORS[floor_name]
    return {
        "floor": floor_name,
        "at_least": floor.at_least,
        "source": floor.source,
        "goal": floor.goal,
        "holds": value >= floor.at_least,
    }


def measurement(line: dict[str, Any]) -> dict[str, Any]:
    """A measurement with its summary and, where a call does a known amount, its rate from the median."""
    figures = {key: value for key, value in line.items() if key not in ("type", "floor")}
    figures |= summary(line["seconds"])
    if line["amount"]:
        figures["rate"] = line["amount"] / figures["median"]
        figures |= judged(figures["rate"], line.get("floor", ""))
    return figures


def ratio(line: dict[str, Any]) -> dict[str, Any]:
    """Rounds' ratios with their summary; the median is what a floor judges."""
    figures = {"what": line["what"], "against": line["against"], "rounds": line["rounds"]}
    figures |= summary(line["rounds"])
    return figures | judged(figures["median"], line.get("floor", ""))


def parsed(text: str) -> list[dict[str, Any]]:
    """The whole lines of a measuring process; one that was cut off when it was killed is left out."""
    lines = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "type" in value:
            lines.append(value)
    return lines


def add(record: dict[str, Any], lines: Iterable[dict[str, Any]], group: str) -> None:
    """Puts a group's lines where they belong in the run's record."""
    for line in lines:
        kind, rest = line["type"], {key: value for key, value in line.items() if key != "type"}
        if kind == "measurement":
            record["measurements"].append({"group": group} | measurement(line))
        elif kind == "ratio":
            record["ratios"].append({"group": group} | ratio(line))
        elif kind == "about":
            record["about"] |= rest
        elif kind in ("error", "skipped", "answer"):
            record[f"{kind}s" if kind != "skipped" else kind].append({"group": group} | rest)


def compared_routes(record: dict[str, Any]) -> None:
    """Sets record["routes"]: whether the two routes' answers are equal, and how many times as long NVRTC's take."""
    answers: dict[str, dict[str, str]] = {}
    for answer in record["answers"]:
        answers.setdefault(answer["name"], {})[answer["route"]] = answer["value"]
    seconds: dict[str, dict[str, float]] = {}
    for figures in record["measurements"]:
        if "route" in figures:
            seconds.setdefault(figures["name"], {})[figures["route"]] = figures["median"]
    record["routes"] = {
        "answers": {
            name: {**by_route, "equal": len(set(by_route.values())) == 1}
            for name, by_route in answers.items()
            if len(by_route) > 1
        },
        "nvrtc_seconds_over_extension": {
            name: by_route["nvrtc"] / by_route["extension"]
            for name, by_route in seconds.items()
            if {"nvrtc", "extension"} <= set(by_route)
        },
    }


def failures(record: dict[str, Any]) -> list[str]:
    """Why the run's exit status is 1, a line each; empty if all is well."""
    found = [f"{phase['name']}: {phase['status']}" for phase in record["phases"] if is_failure(phase)]
    reasons = record["tests"].get("reasons", {})
    failing = record["tests"].get("failing", [])
    found += [f"test failed: {name}{': ' if name in reasons else ''}{reasons.get(name, '')}" for name in failing]
    for tool, result in record["sanitizer"].items():
        if result.get("errors"):
            found.append(f"{tool}: {result['errors']} errors")
    found += [f"{error['name']}: {error['detail'].splitlines()[-1]}" for error in record["errors"] if error["ours"]]
    route = record["about"].get("route")
    if record["build"].get("built") == WITH_EXTENSION and route not in (None, "extension"):
        found.append(f"the extension was built, but the route in use is {route!r}")
    for name, answers in record["routes"].get("answers", {}).items():
        if not answers["equal"]:
            found.append(f"{name} differs between the routes: {answers}")
    held: dict[str, list[bool]] = {name: [] for name in FLOORS}
    for figures in (*record["measurements"], *record["ratios"]):
        if "floor" in figures:
            held[figures["floor"]].append(figures["holds"])
            if not figures["holds"]:
                found.append(f"floor missed: {FLOORS[figures['floor']].source}: {described(figures)}")
    found += [f"floor not measured: {FLOORS[name].source}" for name, values in held.items() if not values]
    return found


def is_failure(phase: dict[str, Any]) -> bool:
    """Whether a phase went wrong; one that had no time or no tool did not, but tests have to have been run."""
    status = phase["status"]
    return status.startswith(("failed", "raised")) or (phase["name"] == "tests" and status != "done")


def described(figures: dict[str, Any]) -> str:
    """What was measured and its value, for a line."""
    if "rate" in figures:
        return f"{figures['name']}: {figures['rate'] * 1e-9:.3f} x 10^9 {figures['unit']}/s"
    return f"{figures['what']} against {figures['against']}: {figures['median']:.3f}"


def empty_record() -> dict[str, Any]:
    """A run before it began: every key that a finished one has."""
    lists = {key: [] for key in ("phases", "measurements", "ratios", "errors", "skipped", "answers", "failures")}
    objects = {key: {} for key in ("card", "about", "tools", "build", "tests", "sanitizer", "routes", "clocks")}
    floors = {name: {"at_least": f.at_least, "goal": f.goal, "source": f.source} for name, f in FLOORS.items()}
    return (
        {"schema": SCHEMA, "date": "", "commit": "", "quick": False, "status": None, "floors": floors} | lists | objects
    )
