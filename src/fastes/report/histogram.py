"""How returns are distributed, as a few lines of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastes.types import AnyArray

_STEPS = 7  # that a range is divided into at least, or as many as the values allow
_VALUES = 8  # different ones that get a line each
_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
_LEAST_BAR = 8


def histogram_lines(values: Sequence[float] | AnyArray, width: int = 80, *, ascii_only: bool = False) -> list[str]:
    """A bar of each bin, and the number of values in it: at most 12 lines of at most `width` characters, if that is 64
    or more.

    Bins are [a, b) with round numbers; a few values that come again and again are bins of their own. What is not finite
    is counted at the end. ascii_only: bars of "#", for where block characters cannot be printed.
    """
    given = np.asarray(values, np.float64).ravel()
    finite = np.sort(given[np.isfinite(given)])
    rows = _rows(finite) if finite.size else []
    for label, found in (("-inf", given == -math.inf), ("inf", given == math.inf), ("nan", np.isnan(given))):
        if found.any():
            rows.append((label, int(np.count_nonzero(found))))
    if not rows:
        return []
    label_width = max(len(label) for label, _ in rows)
    most = max(count for _, count in rows)
    bar_width = max(width - label_width - len(str(most)) - 4, _LEAST_BAR)
    return [
        f"{label:>{label_width}}  {_bar(count / most * bar_width, ascii_only)}  {count}".rstrip()
        if count
        else f"{label:>{label_width}}"
        for label, count in rows
    ]


def can_be_printed(encoding: str | None) -> bool:
    """Whether block characters exist in an encoding, such as that of sys.stdout."""
    try:
        (_FULL + _EIGHTHS).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _rows(finite: AnyArray) -> list[tuple[str, int]]:
    """Labels of the bins and how many of finite, which ascend, are in each."""
    different, counts = np.unique(finite, return_counts=True)
    if len(different) == 1 or (len(different) <= _VALUES and 2 * len(different) <= len(finite)):
        return [(f"{value:.6g}", int(count)) for value, count in zip(different, counts, strict=True)]
    low, high = float(finite[0]), float(finite[-1])
    step = _round_up((high - low) / max(3, min(_STEPS, round(math.sqrt(len(finite))))))
    if np.all(finite == np.round(finite)):
        step = max(step, 1.0)
    if not math.isfinite(step) or step < 8 * np.spacing(max(-low, high)):
        return [(f"{low:.17g} to {high:.17g}", len(finite))]  # so far, or so near, that no round number is between
    first = math.floor(low / step)
    # The last bin has its end in it, so that the greatest value of all does not stand in one of its own.
    edges = step * np.arange(first, max(math.ceil(high / step), first + 1) + 1)
    # By rounding the least value may be below the first edge, and the greatest not below the last.
    places = np.clip(np.searchsorted(edges, finite, side="right") - 1, 0, len(edges) - 2)
    texts = _texts(edges, step)
    found = np.bincount(places, minlength=len(edges) - 1)
    ends = max(len(text) for text in texts)
    return [(f"{texts[i]} to {texts[i + 1]:>{ends}}", int(count)) for i, count in enumerate(found)]


def _round_up(width: float) -> float:
    """The next of 1, 2, 2.5 and 5 times a power of ten."""
    if not math.isfinite(width) or width <= 0.0:
        return math.inf
    power = math.floor(math.log10(width))
    return next(
        (step for step in (factor * 10.0**power for factor in (1.0, 2.0, 2.5, 5.0)) if step >= width),
        10.0 ** (power + 1),
    )


def _texts(edges: AnyArray, step: float) -> list[str]:
    largest = max(abs(float(edges[0])), abs(float(edges[-1])))
    if step >= 1e-4 and largest < 1e7:
        decimals = max(0, -math.floor(math.log10(step)))
        decimals += round(step, decimals) != step  # 2.5 has one more
        return [f"{edge + 0.0:.{decimals}f}" for edge in edges]  # + 0.0: no minus zero
    digits = min(17, math.ceil(math.log10(largest / step)) + 2)
    return [f"{edge + 0.0:.{digits}g}" for edge in edges]


def _bar(length: float, ascii_only: bool) -> str:
    """Of at least the least that can be drawn."""
    if ascii_only:
        return "#" * max(1, round(length))
    full, eighths = divmod(max(1, round(8 * length)), 8)
    return (_FULL * full + _EIGHTHS[eighths]).rstrip()
