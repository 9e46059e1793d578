"""What every shaping keeps, whatever is registered and whatever is put around it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastes.kernels import normal
from fastes.shaping import (
    SHAPINGS,
    Elite,
    MultiObjective,
    RandomLeader,
    Shaping,
    centered_ranks,
    nes_utilities,
    shaped,
    z_score,
)
from fastes.types import Float32Array


def led(shaping: Shaping) -> Shaping:
    return lambda fitness: shaped(RandomLeader(shaping), fitness, seed=1, generation=2)


def twice(shaping: Shaping) -> Shaping:
    return lambda fitness: MultiObjective(shaping, (0.5, 0.25))(np.stack([fitness, fitness]))


WRAPPED: dict[str, Shaping] = {
    "elite": Elite(nes_utilities, 0.3),
    "elite of all": Elite(centered_ranks, 1.0),
    "elite of an elite": Elite(Elite(z_score, 0.5), 0.5),
    "multi-objective": twice(z_score),
    "random leader": led(z_score),
}
EVERY: dict[str, Shaping] = SHAPINGS | WRAPPED
ZERO_SUM = ["centered_ranks", "centered_sign_ranks", "nes_utilities", "z_score", "z_score_max", "multi-objective"]
BY_RANK = ["centered_ranks", "double_positive_ranks", "semi_centered_ranks", "nes_utilities", "elite", "elite of all"]
BY_INDEX = ["elite", "elite of all", "elite of an elite"]  # not all that are equally good may be of the elite
NOT_MONOTONE = ["elite", "elite of an elite"]  # weights below 0 can be of the elite, and the others' are 0
LARGEST = float(np.finfo(np.float32).max)
# Of the weights of `fitnesses`: they change with no machine, no version of NumPy and no thread count.
DIGESTS = {
    "identity": "c0cb4f738e87d580",
    "centered_ranks": "4d7a4a6a55f13710",
    "double_positive_ranks": "e7fad2dc6c18c84f",
    "semi_centered_ranks": "7ae70c86edc39707",
    "centered_sign_ranks": "ad6cbec8ca6f1d59",
    "nes_utilities": "a16a2bc1b7a8e812",
    "z_score": "fef791a04cb75ecf",
    "z_score_max": "504405b5fe149f85",
    "max_normalized": "672b517b0b49cc65",
    "elite": "2cb554901361e97c",
    "elite of all": "4d7a4a6a55f13710",
    "elite of an elite": "6dc9fce583d7cfae",
    "multi-objective": "98ade5b4a3394ee1",
    "random leader": "fef791a04cb75ecf",
}

FEWER = settings(max_examples=40)
FLOATS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.0, LARGEST, -LARGEST, 1e-45]),
)
FITNESS = st.lists(FLOATS, min_size=0, max_size=200).map(lambda values: np.array(values, np.float32))


def every(names: Mapping[str, Shaping] | list[str] = EVERY) -> Callable[..., None]:
    return pytest.mark.parametrize("name", list(names))


@FEWER
@given(FITNESS)
@every()
def test_weights(name: str, fitness: Float32Array) -> None:
    """float32 [N], finite, the same each time, and fitness is left alone."""
    fitness.flags.writeable = False
    before = fitness.copy()
    weights = EVERY[name](fitness)
    assert weights.dtype == np.float32
    assert weights.shape == fitness.shape
    assert np.isfinite(weights).all()
    assert not np.shares_memory(weights, fitness)
    np.testing.assert_array_equal(EVERY[name](fitness), weights)
    np.testing.assert_array_equal(fitness, before)


@pytest.mark.parametrize("value", [0.0, -0.0, 3.0, 0.1, LARGEST, -LARGEST, 1e-45])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 97])
@every([name for name in EVERY if name != "random leader"])
def test_constant_fitness_gives_zeros(name: str, count: int, value: float) -> None:
    weights = EVERY[name](np.full(count, value, np.float32))
    np.testing.assert_array_equal(weights, np.zeros(count, np.float32))


@every()
def test_zeros_of_both_signs_are_equal(name: str) -> None:
    signs = np.array([0.0, -0.0, 0.0, -0.0, 1.0], np.float32)
    np.testing.assert_array_equal(EVERY[name](signs), EVERY[name](np.abs(signs)))


@FEWER
@given(FITNESS)
@every(ZERO_SUM)
def test_sum_of_zero(name: str, fitness: Float32Array) -> None:
    weights = EVERY[name](fitness).astype(np.float64)
    assert abs(weights.sum()) <= 1e-7 * max(1.0, np.abs(weights).sum())


@FEWER
@given(FITNESS)
@every([name for name in EVERY if name not in NOT_MONOTONE])
def test_better_members_weigh_no_less(name: str, fitness: Float32Array) -> None:
    order = np.argsort(fitness, kind="stable")
    if len(fitness) and fitness.min() < fitness.max():
        assert (np.diff(EVERY[name](fitness)[order]) >= 0).all()


@FEWER
@given(FITNESS, st.randoms(use_true_random=False))
@every([name for name in EVERY if name not in BY_INDEX])
def test_the_order_of_members_does_not_matter(name: str, fitness: Float32Array, random: object) -> None:
    """To the bit; and with it, equal fitness has equal weights."""
    if len(fitness) and fitness.min() < fitness.max():
        order = np.arange(len(fitness))
        random.shuffle(order)  # type: ignore[attr-defined]
        weights = EVERY[name](fitness)
        np.testing.assert_array_equal(EVERY[name](fitness[order]), weights[order])
        by_fitness = np.argsort(fitness, kind="stable")
        assert (np.diff(weights[by_fitness])[np.diff(fitness[by_fitness].astype(np.float64)) == 0] == 0).all()


@FEWER
@given(st.lists(st.integers(-1000, 1000), max_size=200).map(lambda values: np.array(values, np.float32)))
@pytest.mark.parametrize(
    "transform",
    [lambda f: 3 * f + 7, lambda f: f**3, lambda f: np.exp(f / 16), np.arctan],
    ids=["linear", "cube", "exp", "atan"],
)
@every(BY_RANK)
def test_strictly_increasing_functions_of_fitness_change_nothing(
    name: str, transform: Callable[[Float32Array], Float32Array], fitness: Float32Array
) -> None:
    changed = transform(fitness)
    assert len(np.unique(changed)) == len(np.unique(fitness))  # float32 did not make equals of what was none
    np.testing.assert_array_equal(EVERY[name](changed), EVERY[name](fitness))


@FEWER
@given(FITNESS)
def test_signs_are_all_that_sign_ranks_see(fitness: Float32Array) -> None:
    signs = SHAPINGS["centered_sign_ranks"]
    np.testing.assert_array_equal(signs(np.cbrt(fitness)), signs(fitness))


@every()
def test_powers_of_two_only_scale_what_values_give(name: str) -> None:
    fitness = normal(500, seed=1, stream=256)
    scaled, weights = EVERY[name](fitness * np.float32(2.0**60)), EVERY[name](fitness)
    factor = np.float32(2.0**60 if name == "identity" else 1.0)
    np.testing.assert_array_equal(scaled, factor * weights)


@every()
def test_a_shaping_takes_views(name: str) -> None:
    fitness = normal(600, seed=1, stream=256)
    np.testing.assert_array_equal(EVERY[name](fitness[::3]), EVERY[name](fitness[::3].copy()))


def fitnesses() -> list[Float32Array]:
    """Spread evenly and widely, with ties, tiny and huge."""
    plain = normal(4099, seed=5, stream=256)
    return [plain, plain[:2], np.round(plain), plain * plain * plain, plain * np.float32(5e37), np.float32(1e6) + plain]


@every()
def test_digest(name: str) -> None:
    found = hashlib.sha256(b"".join(EVERY[name](fitness).tobytes() for fitness in fitnesses()))
    assert found.hexdigest()[:16] == DIGESTS[name]
