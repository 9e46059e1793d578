"""What a group of runs came to, as numbers along an axis. K points, S seeds, G generations, N members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fastes.aggregate import bootstrap_interval, mean
from fastes.journal import Record
from fastes.plots.groups import Group
from fastes.plots.thinning import averaged, is_long, thinned, thinned_band
from fastes.run_record import RunRecord
from fastes.types import AnyArray, Float64Array

AXES = ("generations", "evaluations", "steps", "seconds")
"""What runs can be drawn against."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TOGETHER = 4096
_MOST_SINGLES = 12  # seeds that are drawn one by one
_MOST_INTERVALS = 200  # places at which an interval over seeds is computed

Points = tuple[Float64Array, Float64Array]
Band = tuple[Float64Array, Float64Array, Float64Array]


@dataclass(frozen=True, slots=True)
class Curve:
    """label: of the group; x, y: float64 [K], NaN where there is nothing; bands: x, low and high of each, the widest
    first; singles: x and y of what is averaged in y, each seed's own curve or neighbouring generations of a long one.
    """

    label: str
    x: Float64Array
    y: Float64Array
    bands: tuple[Band, ...] = ()
    singles: tuple[Points, ...] = field(default_factory=tuple)


def along(record: RunRecord, axis: str) -> Float64Array:
    """Where each row of the metrics is on an axis: float64 [G]."""
    if axis == "steps":
        return record.column("steps/total")
    if axis == "seconds":
        return np.cumsum(record.column("seconds"))
    generation = record.column("generation")
    if axis == "generations":
        return generation
    members = np.round(record.column("rate/evaluations") * record.column("seconds"))
    known = members[np.isfinite(members)]
    return generation * (known[0] if known.size else np.nan)


def mean_curve(group: Group, column: str, axis: str, *, edges: tuple[str, str] | None = None) -> Curve | None:
    """The mean over seeds of a column. Its band is from the least of one column to the greatest of another, `edges`; or
    without, of the column itself over the seeds. None where there is no finite value.
    """
    runs = [(along(record, axis), record.column(column)) for record in group.records]
    x, values = aligned(runs)
    if not np.isfinite(values).any():
        return None
    low_column, high_column = edges or (column, column)
    lows = aligned([(along(record, axis), record.column(low_column)) for record in group.records])[1]
    highs = aligned([(along(record, axis), record.column(high_column)) for record in group.records])[1]
    low, high = _over_seeds(np.min, lows), _over_seeds(np.max, highs)
    shown = (edges is not None or len(group.records) > 1) and bool(np.isfinite(low + high).any())
    bands = (thinned_band(x, low, high),) if shown else ()
    return _curve(group.label, x, _over_seeds(np.mean, values), bands)


def evaluation_curve(group: Group, axis: str) -> Curve | None:
    """The mean over seeds of what the centre came to, with its 95 % interval over seeds; of one run, with the standard
    deviation of its episodes. None where it was never evaluated.
    """
    runs = [_finite(along(record, axis), record.column("evaluation/mean")) for record in group.records]
    runs = [points for points in runs if points[0].size]
    if not runs:
        return None
    if len(runs) == 1:
        (x, y), record = runs[0], group.records[0]
        finite = np.isfinite(record.column("evaluation/mean"))
        spread = np.nan_to_num(record.column("evaluation/std")[finite]) if len(group.records) == 1 else np.zeros(len(y))
        bands = (thinned_band(x, y - spread, y + spread),) if spread.any() else ()
        return _curve(group.label, x, y, bands)
    x, values = aligned(runs)
    places = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_INTERVALS)).round().astype(int))
    intervals = np.array([bootstrap_interval([values[:, place]], mean) for place in places])
    singles = tuple(thinned(*points) for points in runs) if len(runs) <= _MOST_SINGLES else ()
    band = x[places], intervals[:, 0], intervals[:, 1]
    return Curve(group.label, x[places], mean(values[:, places].T), (band,), singles)


def fitness_quantiles(group: Group, axis: str) -> Curve | None:
    """The median of the members' fitness, all seeds together, with bands from 5 to 95 and from 25 to 75 percent of
    them. None where no journal tells of it. Raises StorageError.
    """
    found = []
    for record in group.records:
        log = record.journal()
        if log is None or not log.records:
            continue
        generations = np.array([entry.generation for entry in log.records], np.float64)
        known = np.isin(generations, record.column("generation"))
        rows = np.searchsorted(record.column("generation"), generations[known])
        found.append((along(record, axis)[rows], quantiles([e for e, k in zip(log.records, known, strict=True) if k])))
    found = [(x, levels) for x, levels in found if len(x)]
    if not found:
        return None
    # Of several seeds the mean of each quantile: pooled members would blur where seeds differ.
    x = aligned([(x, levels[:, 0]) for x, levels in found])[0]
    levels = [_over_seeds(np.mean, aligned([(x, q[:, i]) for x, q in found])[1]) for i in range(len(QUANTILES))]
    if not np.isfinite(levels[2]).any():
        return None
    bands = (thinned_band(x, levels[0], levels[4]), thinned_band(x, levels[1], levels[3]))
    return _curve(group.label, x, levels[2], bands)


def quantiles(records: Sequence[Record]) -> Float64Array:
    """Of the finite fitness of each generation: float64 [G, len(QUANTILES)], interpolated between members."""
    parts = []
    for start in range(0, len(records), _TOGETHER):
        block = records[start : start + _TOGETHER]
        width = max(len(record.fitness) for record in block)
        table = np.full((len(block), width), np.nan, np.float32)
        for row, record in zip(table, block, strict=True):
            row[: len(record.fitness)] = record.fitness
        table[~np.isfinite(table)] = np.nan
        table.sort(axis=1)  # NaN goes last
        parts.append(_interpolated(table, np.count_nonzero(~np.isnan(table), axis=1)))
    return np.concatenate(parts)


def _interpolated(ordered: AnyArray, counts: AnyArray) -> Float64Array:
    """ordered: float32 [G, N], of each row the first counts[g] ascend and the rest is NaN."""
    rows = np.arange(len(ordered))
    columns = []
    for quantile in QUANTILES:
        place = quantile * np.maximum(counts - 1, 0)
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, np.maximum(counts - 1, 0))
        low, high = ordered[rows, below].astype(np.float64), ordered[rows, above].astype(np.float64)
        columns.append(low + (place - below) * (high - low))
    return np.stack(columns, axis=1)


def aligned(runs: Sequence[Points]) -> tuple[Float64Array, Float64Array]:
    """Curves at the same places: x, float64 [K], and values, float64 [S, K], as far as all runs have come.

    Where the runs' own places differ, values between them are interpolated.
    """
    shortest = min(len(x) for x, _ in runs)
    first = runs[0][0][:shortest]
    if all(np.array_equal(x[:shortest], first, equal_nan=True) for x, _ in runs):
        return first, np.stack([y[:shortest] for _, y in runs])
    start, end = max(np.nanmin(x) for x, _ in runs), min(np.nanmax(x) for x, _ in runs)
    x = np.linspace(start, max(start, end), max(shortest, 2))
    return x, np.stack([np.interp(x, places, y) for places, y in runs])


def _curve(label: str, x: Float64Array, y: Float64Array, bands: tuple[Band, ...]) -> Curve:
    """Of a long one the means of stretches, before one that has their extremes."""
    if not is_long(y):
        return Curve(label, x, y, bands)
    return Curve(label, *averaged(x, y), bands, (thinned(x, y),))


def _finite(x: Float64Array, y: Float64Array) -> Points:
    there = np.isfinite(y) & np.isfinite(x)
    return x[there], y[there]


def _over_seeds(summary: Callable[..., Float64Array], values: Float64Array) -> Float64Array:
    return values[0] if len(values) == 1 else summary(values, axis=0)
