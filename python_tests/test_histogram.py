"""fastes.report.histogram: every value is in one bin, bins are round, lines fit."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from fastes.report.histogram import can_be_printed, histogram_lines

RNG = np.random.default_rng(0)
SAMPLES = {
    "normal": RNG.normal(300, 80, 100).clip(0, 500),
    "negative": -RNG.exponential(200, 100),
    "small": RNG.normal(0, 0.003, 100),
    "near_one": 1 + RNG.normal(0, 1e-7, 30),
    "large": RNG.normal(0, 1e9, 50),
    "whole": RNG.integers(-21, 22, 100),
    "huge": [1e308, -1e308, 3.0],
    "tiny": [5e-324, 0.0, 1e-323],
    "far_and_near": [-1.2345678901234567e-300, 1.2345678901234567e300, 0.1],
    "side_by_side": [1.0, np.nextafter(1.0, 2.0), 1.0],
    "not_finite": [math.nan, math.inf, 1, 2, 3, -math.inf, 5, 8, 9, 11, 13, 20, 22],
    "two": [0.1, 0.2],
    "none_finite": [math.nan, math.nan, math.inf],
    "many": RNG.normal(size=100_000),
}


def counts(lines: list[str]) -> list[int]:
    return [int(found.group(1)) if (found := re.search(r"  [█▏▎▍▌▋▊▉#]+  (\d+)$", line)) else 0 for line in lines]


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("width", [64, 100])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_every_value_is_counted_once_and_lines_fit(name: str, width: int, ascii_only: bool) -> None:
    lines = histogram_lines(SAMPLES[name], width, ascii_only=ascii_only)
    assert sum(counts(lines)) == len(SAMPLES[name])
    assert 1 <= len(lines) <= 12
    assert max(map(len, lines)) <= width
    assert not ascii_only or "\n".join(lines).isascii()


@pytest.mark.parametrize("name", ["normal", "negative", "small", "near_one", "whole", "two", "many", "not_finite"])
def test_bins_hold_what_they_say(name: str) -> None:
    values = np.asarray(SAMPLES[name], np.float64)
    lines = [line for line in histogram_lines(values) if " to " in line]
    for line, count in zip(lines, counts(lines), strict=True):
        low, high = _edges(line)
        slack = 1e-9 * (high - low)
        end = high + slack if line is lines[-1] else high - slack  # the last bin has its end in it
        assert np.count_nonzero((values >= low - slack) & (values < end)) == count, line


def _edges(line: str) -> tuple[float, float]:
    found = re.match(r"\s*(\S+) to\s+(\S+)", line)
    assert found is not None
    return float(found.group(1)), float(found.group(2))


def test_known_lines() -> None:
    values = [0, 1, 2.5, 12, 12, 21, 25, 25, 26, 39.5, 41, 44]
    assert histogram_lines(values, 40) == [
        " 0 to 20  ███████████████████████████  5",
        "20 to 40  ███████████████████████████  5",
        "40 to 60  ██████████▊  2",
    ]


def test_values_that_come_again_have_lines_of_their_own() -> None:
    assert histogram_lines([500.0] * 7, 40) == ["500  " + "█" * 32 + "  7"]
    assert histogram_lines([0, 1, 1, 1, 0, 1, 1, 1], 26, ascii_only=True) == [
        "0  #######  2",
        "1  ####################  6",
    ]


def test_what_is_not_finite_is_told_last() -> None:
    lines = histogram_lines(SAMPLES["not_finite"], 60)
    assert [line.split()[0] for line in lines[-3:]] == ["-inf", "inf", "nan"]
    assert counts(lines)[-3:] == [1, 1, 1]


def test_no_values() -> None:
    assert histogram_lines([]) == []


def test_bars_are_as_long_as_counts_say_and_never_nothing() -> None:
    lines = histogram_lines([0.0] * 1000 + [1.0] * 500 + [2.0] * 2, 80)
    bars = [line.split()[1] for line in lines]
    assert len(bars[0]) == 80 - 1 - 4 - 4
    assert len(bars[1]) == pytest.approx(len(bars[0]) / 2, abs=1)
    assert bars[2] == "▏"


def test_encodings() -> None:
    assert can_be_printed("utf-8")
    assert not can_be_printed("latin-1")
    assert not can_be_printed("ascii")
    assert not can_be_printed(None)
    assert not can_be_printed("no-such-encoding")
