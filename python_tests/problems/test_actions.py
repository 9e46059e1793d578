"""fastes.problems.actions: each row as it is decoded alone, and drawn actions as often as they should be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fastes.errors import ProblemError
from fastes.problems.actions import decoder
from fastes.problems.spaces import Actions, Box, Discrete, MultiBinary, MultiDiscrete, Outputs

LOW, HIGH = np.array([[-1.0, 0.0, 2.0]], np.float32), np.array([[1.0, 0.1, 1e6]], np.float32)
BOX = Box(LOW, HIGH)
WIDE = Box(np.array([-np.inf, 0.0]), np.array([1.0, np.inf]))
BYTES = Box(np.zeros(2, np.uint8), np.array([255, 9], np.uint8))
PARTS = MultiDiscrete(np.array([[2, 3], [1, 4]]), np.array([[10, 0], [-5, 7]]))
BITS = MultiBinary((2, 2))


def drawn_outputs(n: int, size: int) -> np.ndarray:
    """Normal, in float32, some of them equal, zero and very large."""
    outputs = np.random.default_rng(n).normal(0, 3, (n, size)).astype(np.float32)
    outputs[0], outputs[1], outputs[2] = 1.5, 0.0, 1e30
    return outputs


def softmax(row: np.ndarray) -> np.ndarray:
    shares = np.exp(row.astype(np.float64) - float(row.max()))
    return shares / shares.sum()


def picked(row: np.ndarray, u: float) -> int:
    """The index in whose part of 0 .. 1 u lies."""
    ends = list(itertools.accumulate(softmax(row).tolist()))
    return next(i for i, end in enumerate(ends) if u <= end * (1 + 1e-12))


def parts_of(row: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(row, np.cumsum(counts.ravel())[:-1])


def multi(space: MultiDiscrete, choose: Callable[[int, np.ndarray], int], row: np.ndarray) -> np.ndarray:
    chosen = [choose(i, part) for i, part in enumerate(parts_of(row, space.counts))]
    return np.array(chosen).reshape(space.counts.shape) + space.start


def squashed(box: Box, row: np.ndarray) -> np.ndarray:
    values = [
        float(low) + (math.tanh(x) + 1) / 2 * (float(high) - float(low))
        for x, low, high in zip(row.tolist(), box.low.ravel(), box.high.ravel(), strict=True)
    ]
    return np.array(values).reshape(box.shape)


def binned(box: Box, bins: int, row: np.ndarray) -> np.ndarray:
    parts = zip(row.reshape(box.size, bins), box.low.ravel(), box.high.ravel(), strict=True)
    return np.array([np.linspace(float(lo), float(hi), bins)[part.argmax()] for part, lo, hi in parts]).reshape(
        box.shape
    )


Reference = Callable[[np.ndarray, np.ndarray], Any]
CASES: dict[str, tuple[Actions, str, int, int, Reference]] = {
    "discrete": (Discrete(4, -2), "auto", 4, 0, lambda row, u: int(row.argmax()) - 2),
    "discrete argmax": (Discrete(4), "argmax", 4, 0, lambda row, u: int(row.argmax())),
    "discrete sample": (Discrete(4, 3), "sample", 4, 1, lambda row, u: picked(row, u[0]) + 3),
    "one action": (Discrete(1, 3), "sample", 1, 1, lambda row, u: 3),
    "parts": (PARTS, "auto", 10, 0, lambda row, u: multi(PARTS, lambda i, part: int(part.argmax()), row)),
    "parts argmax": (PARTS, "argmax", 10, 0, lambda row, u: multi(PARTS, lambda i, part: int(part.argmax()), row)),
    "parts sample": (PARTS, "sample", 10, 4, lambda row, u: multi(PARTS, lambda i, part: picked(part, u[i]), row)),
    "bits": (BITS, "auto", 4, 0, lambda row, u: (row > 0).reshape(2, 2)),
    "bits sample": (
        BITS,
        "sample",
        4,
        4,
        lambda row, u: np.array([p < stats.logistic.cdf(float(x)) for x, p in zip(row, u, strict=True)]).reshape(2, 2),
    ),
    "box": (BOX, "auto", 3, 0, lambda row, u: np.minimum(np.maximum(row.reshape(1, 3), LOW), HIGH)),
    "box clip": (WIDE, "clip", 2, 0, lambda row, u: np.minimum(np.maximum(row, WIDE.low), WIDE.high)),
    "box tanh": (BOX, "tanh", 3, 0, lambda row, u: squashed(BOX, row)),
    "bytes tanh": (BYTES, "tanh", 2, 0, lambda row, u: np.rint(squashed(BYTES, row))),
    "box binned": (BOX, "binned", 15, 0, lambda row, u: binned(BOX, 5, row)),
    "bytes binned": (BYTES, "binned", 10, 0, lambda row, u: np.rint(binned(BYTES, 5, row))),
    "outputs": (Outputs(3), "auto", 3, 0, lambda row, u: row),
}


@pytest.mark.parametrize("case", CASES)
def test_each_row_is_decoded_as_if_alone(case: str) -> None:
    space, how, outputs, words, reference = CASES[case]
    made = decoder(space, how)
    assert (made.outputs, made.words) == (outputs, words)
    rows, drawn = drawn_outputs(40, outputs), np.random.default_rng(1).uniform(size=(40, words))
    actions = made.decode(rows, drawn)
    assert len(actions) == 40
    exact = isinstance(space, Discrete | MultiDiscrete | MultiBinary) or how in ("auto", "clip")
    for i in range(40):
        expected = reference(rows[i], drawn[i])
        np.testing.assert_allclose(actions[i], expected, rtol=0 if exact else 1e-6, atol=0 if exact else 1e-7)
        alone = made.decode(rows[i : i + 1], drawn[i : i + 1])
        assert alone.tobytes() == actions[i : i + 1].tobytes()
        assert alone.dtype == actions.dtype


@pytest.mark.parametrize(
    ("space", "dtype"), [(BOX, np.float32), (WIDE, np.float64), (BYTES, np.uint8), (BITS, np.int8), (PARTS, np.int64)]
)
def test_actions_have_the_dtype_of_their_space(space: Actions, dtype: type) -> None:
    for how in ("auto", "tanh", "binned", "sample"):
        try:
            made = decoder(space, how)
        except ProblemError:
            continue
        assert made.decode(drawn_outputs(3, made.outputs), np.full((3, made.words), 0.5)).dtype == dtype


@pytest.mark.parametrize("how", ["tanh", "binned"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_rounding_leaves_the_bounds(how: str, dtype: type) -> None:
    """Among thousand pairs of bounds are those where low + (high - low) is more than high, and equal ones."""
    rng = np.random.default_rng(3)
    low, high = np.sort(rng.normal(0, 1, (2, 1000)) * 10.0 ** rng.integers(-8, 8, (2, 1000)), axis=0).astype(dtype)
    assert ((low.astype(np.float64) + (high.astype(np.float64) - low.astype(np.float64))) > high).any()
    high[:100] = low[:100]
    made = decoder(Box(low, high), how, bins=2)
    for x in (-1e30, -1.0, 0.0, 0.3, 0.7, 1.0, 1e30):
        outputs = np.full((1, made.outputs), x, np.float32)
        if how == "binned":
            outputs[0, 1::2] += np.float32(abs(x) + 1)
        actions = made.decode(outputs, np.empty((1, 0)))[0]
        assert actions.dtype == dtype
        assert (low <= actions).all()
        assert (actions <= high).all()
    np.testing.assert_array_equal(actions, high)


@pytest.mark.parametrize("bins", [2, 3, 11])
def test_bins_reach_both_bounds_at_equal_distances(bins: int) -> None:
    made = decoder(BOX, "binned", bins=bins)
    assert made.outputs == 3 * bins
    outputs = np.zeros((bins, 3, bins), np.float32)
    for i in range(bins):
        outputs[i, :, i] = 1.0
    actions = made.decode(outputs.reshape(bins, -1), np.empty((bins, 0)))
    np.testing.assert_allclose(actions, np.linspace(LOW.astype(np.float64), HIGH.astype(np.float64), bins), rtol=1e-6)
    assert actions[0].tobytes() == LOW.tobytes()
    assert actions[-1].tobytes() == HIGH.tobytes()


def uniform(rows: int, words: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(size=(rows, words))


def test_samples_are_as_frequent_as_the_softmax_says() -> None:
    row = np.array([0.3, -1.0, 2.0, 0.3, -80.0], np.float32)
    made = decoder(Discrete(5), "sample")
    actions = made.decode(np.tile(row, (20_000, 1)), uniform(20_000, 1))
    counts = np.bincount(actions, minlength=5)
    assert counts[4] == 0
    expected = 20_000 * softmax(row)[:4]
    assert stats.chisquare(counts[:4], expected * 20_000 / expected.sum()).pvalue > 0.01


def test_parts_and_bits_are_drawn_independently() -> None:
    space = MultiDiscrete(np.array([2, 3]), np.array([0, 0]))
    row = np.array([0.5, 0.0, 1.0, -0.5, 0.2], np.float32)
    actions = decoder(space, "sample").decode(np.tile(row, (20_000, 1)), uniform(20_000, 2))
    expected = np.outer(softmax(row[:2]), softmax(row[2:])).ravel() * 20_000
    assert stats.chisquare(np.bincount(actions[:, 0] * 3 + actions[:, 1], minlength=6), expected).pvalue > 0.01
    row = np.array([0.0, 1.5], np.float32)
    actions = decoder(MultiBinary((2,)), "sample").decode(np.tile(row, (20_000, 1)), uniform(20_000, 2))
    one, other = stats.logistic.cdf(row.astype(np.float64))
    expected = np.array([(1 - one) * (1 - other), (1 - one) * other, one * (1 - other), one * other]) * 20_000
    assert stats.chisquare(np.bincount(actions[:, 0] * 2 + actions[:, 1], minlength=4), expected).pvalue > 0.01


def test_the_outermost_numbers_that_are_drawn() -> None:
    """u is (w + 1/2) / 2^32; an action of no probability is never taken."""
    made = decoder(Discrete(3), "sample")
    outputs = np.array([[-np.inf, 0.0, -np.inf]] * 2, np.float32)
    assert made.decode(outputs, np.array([[2.0**-33], [1 - 2.0**-33]])).tolist() == [1, 1]
    assert made.decode(np.zeros((2, 3), np.float32), np.array([[2.0**-33], [1 - 2.0**-33]])).tolist() == [0, 2]


def test_a_users_function() -> None:
    seen: list[np.ndarray] = []

    def steer(outputs: np.ndarray) -> np.ndarray:
        seen.append(outputs)
        return outputs[:2] - outputs[2]

    made = decoder(WIDE, steer, size=3)
    assert (made.outputs, made.words) == (3, 0)
    rows = drawn_outputs(6, 3)
    np.testing.assert_array_equal(made.decode(rows, np.empty((6, 0))), rows[:, :2] - rows[:, 2:])
    assert [row.shape for row in seen] == [(3,)] * 6
    assert decoder(WIDE, steer).outputs == 2  # as many as auto
    by_name = decoder(Discrete(2), "numpy:argmin")
    assert by_name.decode(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), np.empty((2, 0))).tolist() == [1, 0]
    assert decoder(Outputs(0)).outputs == 0  # whatever the policy gives


@pytest.mark.parametrize(
    ("space", "how", "options", "match"),
    [
        (Discrete(2), "clip", {}, r"'clip' does not fit Discrete actions; these do: auto, argmax, sample"),
        (Discrete(2), "tanh", {}, r"'tanh' does not fit Discrete"),
        (PARTS, "binned", {}, r"'binned' does not fit MultiDiscrete"),
        (BITS, "argmax", {}, r"'argmax' does not fit MultiBinary actions; these do: auto, sample"),
        (BOX, "sample", {}, r"'sample' does not fit Box actions; these do: auto, clip, tanh, binned"),
        (Outputs(2), "clip", {}, r"'clip' does not fit Outputs"),
        (WIDE, "tanh", {}, r"'tanh' needs actions with bounds; these reach from \[-inf   0\.\]"),
        (WIDE, "binned", {}, r"'binned' needs actions with bounds"),
        (BOX, "binned", {"bins": 1}, r"problem.bins must be at least 2, not 1"),
        (BOX, "squash", {}, r"must be one of auto, argmax, .*, or 'module:callable', not 'squash'"),
        (BOX, "auto", {"size": 3}, r"action_size is for an action = 'module:callable', and"),
        (BOX, "numpy:no_such", {}, r"no_such"),
    ],
)
def test_what_does_not_fit(space: Actions, how: str, options: dict[str, int], match: str) -> None:
    with pytest.raises(ProblemError, match=match):
        decoder(space, how, **options)
