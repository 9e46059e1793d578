"""Runs that differ only in their seed belong together, and every group has a name that tells it from the others."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastes.run_record import RunRecord, differing

_MOST_SETTINGS = 3


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of the same settings, one for each seed, and what to call them."""

    label: str
    records: tuple[RunRecord, ...]

    def last(self, column: str) -> float:
        """The mean over the runs of the last finite value of a column of the metrics, NaN without."""
        columns = (record.column(column) for record in self.records)
        found = [values[np.isfinite(values)][-1] for values in columns if np.isfinite(values).any()]
        return float(np.mean(found)) if found else float("nan")


def grouped(records: Sequence[RunRecord]) -> list[Group]:
    """In the order of their first runs. Two runs of the same seed and settings are groups of their own."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        key = json.dumps(record.settings(), sort_keys=True, default=str)
        seeds = {other.seed for other in found.get(key, ())}
        while record.seed in seeds:
            key += "'"
            seeds = {other.seed for other in found.get(key, ())}
        found.setdefault(key, []).append(record)
    groups = list(found.values())
    labels = _unique(_by_settings(groups) or [_by_directory(group) for group in groups], groups)
    return [
        Group(f"{label} ({len(group)} seeds)" if len(group) > 1 else label, tuple(group))
        for label, group in zip(labels, groups, strict=True)
    ]


def _by_settings(groups: Sequence[Sequence[RunRecord]]) -> list[str]:
    """What the groups differ in, if that is little enough to be read."""
    names = differing([group[0] for group in groups])
    if not 1 <= len(names) <= _MOST_SETTINGS:
        return []
    short = [name.rpartition(".")[2] for name in names]
    shown = short if len(set(short)) == len(short) else names
    return [
        ", ".join(
            f"{as_shown} {group[0].settings().get(name, 'default')}"
            for name, as_shown in zip(names, shown, strict=True)
        )
        for group in groups
    ]


def _by_directory(group: Sequence[RunRecord]) -> str:
    """The directory's name, or what several of them begin with; the folder that they are in where that is nothing."""
    names = [record.name for record in group]
    if len(names) == 1:
        return names[0]
    shared = re.sub(r"([-_ .,]*(seed)?[-_ .=]*\d*)$", "", _beginning(names))
    return shared or group[0].directory.resolve().parent.name


def _beginning(names: Sequence[str]) -> str:
    """What all of them begin with."""
    shortest = min(names, key=len)
    return next(
        (shortest[:i] for i, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), shortest
    )


def _unique(labels: Sequence[str], groups: Sequence[Sequence[RunRecord]]) -> list[str]:
    """Labels that come twice are told apart by their folders, or else by numbers."""
    where = [f"{group[0].directory.resolve().parent.name}/{label}" for label, group in zip(labels, groups, strict=True)]
    better = [far if labels.count(label) > 1 else label for label, far in zip(labels, where, strict=True)]
    return [
        f"{label} #{better[: i + 1].count(label)}" if better.count(label) > 1 else label
        for i, label in enumerate(better)
    ]
