"""fastes.aggregate against definitions worked out by hand, and intervals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from fastes import kernels
from fastes.aggregate import bootstrap_interval, interquartile_mean, mean


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 5.0], 3.0),
        ([0.0, 1.0, 2.0, 99.0], 1.5),
        ([99.0, 0.0, 2.0, 1.0], 1.5),
        ([0.0, 1.0, 5.0], (0.25 * 0 + 1 + 0.25 * 5) / 1.5),
        ([0.0, 10.0, 20.0, 30.0, 100.0], (0.75 * 10 + 20 + 0.75 * 30) / 2.5),
        ([-np.inf, 1.0, 2.0, np.inf], 1.5),
    ],
)
def test_interquartile_mean(scores: list[float], expected: float) -> None:
    assert interquartile_mean(scores) == pytest.approx(expected, rel=1e-15)


def test_it_is_scipys_trimmed_mean_where_quarters_are_whole() -> None:
    from scipy.stats import trim_mean

    scores = kernels.normal(400, seed=3).reshape(20, 20).astype(np.float64)
    np.testing.assert_allclose(interquartile_mean(scores), trim_mean(scores, 0.25, axis=1), rtol=1e-13)


def test_of_the_last_axis() -> None:
    scores = np.arange(24.0).reshape(2, 3, 4)
    assert interquartile_mean(scores).shape == mean(scores).shape == (2, 3)
    np.testing.assert_array_equal(mean(scores), scores.mean(axis=2))


def test_known_answer() -> None:
    """Draws have addresses: the same numbers everywhere, for ever."""
    assert bootstrap_interval([[1.0, 2.0, 3.0, 4.0, 10.0]], mean) == (1.8, 7.0)
    assert bootstrap_interval([[1.0, 2.0, 3.0, 4.0, 10.0], [0.5]]) == (
        pytest.approx(7 / 6, rel=1e-15),
        pytest.approx(19 / 3, rel=1e-15),
    )
    assert bootstrap_interval([[5.0]]) == (5.0, 5.0)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = [kernels.normal(9, seed=1), kernels.normal(5, seed=2)]
    expected = bootstrap_interval(scores, resamples=301)
    monkeypatch.setattr("fastes.aggregate._DRAWS", 50)
    assert bootstrap_interval(scores, resamples=301) == expected


def test_strata_are_drawn_from_one_by_one() -> None:
    """Two tasks far apart: without strata the mean would move with how many of each are drawn."""
    low, high = bootstrap_interval([[0.0, 1.0], [100.0, 101.0]], mean)
    assert 50.0 <= low < high <= 51.0
    low, high = bootstrap_interval([[0.0, 1.0, 100.0, 101.0]], mean)
    assert low < 10.0 < 90.0 < high


def test_the_interval_of_a_normal_mean() -> None:
    """Percentiles of the bootstrap of a mean of 1000: +- 1.96 s / sqrt(n)."""
    scores = kernels.normal(1000, seed=5).astype(np.float64)
    low, high = bootstrap_interval([scores], mean)
    half = 1.96 * scores.std() / np.sqrt(1000)
    assert low == pytest.approx(scores.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(scores.mean() + half, abs=0.1 * half)
    narrow = bootstrap_interval([scores], mean, confidence=0.5)
    assert narrow[1] - narrow[0] == pytest.approx(2 * half * 0.6745 / 1.96, rel=0.1)


def test_how_often_it_holds_the_truth() -> None:
    """Of 200 samples of 20, the 95 % interval of the mean holds 0 in 92 % or so: the bootstrap is a little narrow."""
    held = 0
    for row in range(200):
        low, high = bootstrap_interval([kernels.normal(20, seed=9, row=row)], mean, resamples=400)
        held += low <= 0.0 <= high
    assert 175 <= held <= 195


@pytest.mark.parametrize("strata", [[], [[]], [[1.0], []], [[[1.0]]]])
def test_nothing_to_draw_from(strata: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="at least one score each"):
        bootstrap_interval(strata)


@pytest.mark.parametrize("wrong", [{"confidence": 1.0}, {"confidence": 0.0}, {"resamples": 0}])
def test_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be in"):
        bootstrap_interval([[1.0]], **wrong)  # type: ignore[arg-type]
