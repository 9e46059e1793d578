"""fastes.kernels.reference: known answers, exact rational arithmetic, and the invariants of the specification."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastes.kernels import KINDS, reference
from fastes.types import Float32Array, UInt32Array

KNOWN_ANSWERS = Path(__file__).parents[2] / "csrc" / "testdata" / "philox4x32.txt"
LARGEST = Fraction(float(np.finfo(np.float32).max))

float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)


def known_answers() -> list[list[str]]:
    lines = KNOWN_ANSWERS.read_text().splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


def words_of_interest() -> UInt32Array:
    edges = np.array([0, 1, 2, 3, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1], np.uint32)
    return np.concatenate([edges, np.random.default_rng(1).integers(0, 2**32, 100_000, np.uint32)])


@pytest.mark.parametrize("answer", known_answers(), ids=lambda answer: "-".join(answer[:2]))
def test_philox_gives_the_known_answers(answer: list[str]) -> None:
    rounds, words = int(answer[0]), [int(word, 16) for word in answer[1:]]
    found = reference.philox4x32(words[:4], words[4] | words[5] << 32, rounds)
    assert found.dtype == np.uint32
    assert found.tolist() == words[6:]


def test_philox_keeps_leading_dimensions() -> None:
    counters = np.arange(24, dtype=np.uint32).reshape(2, 3, 4)
    words = reference.philox4x32(counters, 5)
    assert words.shape == (2, 3, 4)
    assert words[1, 2].tolist() == reference.philox4x32(counters[1, 2], 5).tolist()


@settings(deadline=None, max_examples=300)
@given(float32s, float32s, float32s)
@example(1 + 2**-23, 1 + 2**-23, -1.0)
@example(1 + 2**-12, 1 + 2**-12, 2.0**-80)  # just above a tie: rounding to binary64 in between would lose it
@example(1 + 2**-12, 1 + 2**-12, -(2.0**-80))
@example(2.0**-75, 2.0**-75, 2.0**-149)  # half of the smallest subnormal: ties to even
@example(-(2.0**-75), 2.0**-74, 2.0**-126)
def test_fma_is_the_nearest_float_to_the_exact_value(a: float, b: float, c: float) -> None:
    found = reference.fma(np.float32(a), np.float32(b), np.float32(c))
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    result = np.float32(found)
    if not np.isfinite(result):
        ulp = Fraction(2) ** 104
        assert abs(exact) >= LARGEST + ulp / 2
        assert (result > 0) == (exact > 0)
        return
    bits = int(result.view(np.uint32))
    distance = abs(Fraction(float(result)) - exact)
    with np.errstate(all="ignore"):
        neighbours = np.nextafter(result, np.array([-np.inf, np.inf], np.float32))
    for neighbour in neighbours[np.isfinite(neighbours)]:
        other = abs(Fraction(float(neighbour)) - exact)
        assert distance < other or (distance == other and bits % 2 == 0)


def test_radius_is_that_of_box_and_muller() -> None:
    words = words_of_interest()
    s = words.view(np.int32).astype(np.float64)
    exact = -2 * np.log(np.abs(s + 0.5) / 2**31)
    radius = reference.radius(words).astype(np.float64)
    assert np.array_equal(np.signbit(radius), s < 0)
    # u has 24 bits: near 1 the square is off by what that rounding is worth, elsewhere by some ulp of itself.
    assert (np.abs(radius**2 - exact) < 2**-21 + 4e-7 * exact).all()


def test_radius_has_the_documented_range() -> None:
    magnitude = np.abs(reference.radius(words_of_interest()))
    assert magnitude.min() == np.float32(2**-11.5)
    assert magnitude.max() == np.float32(math.sqrt(64 * math.log(2)))


def test_direction_is_a_unit_vector_at_the_words_angle() -> None:
    words = words_of_interest()
    x = words.view(np.int32).astype(np.float64) * (math.pi / 2**33)
    odd = words % 2 == 1
    exact = np.stack([np.where(odd, np.cos(x), np.sin(x)), np.where(odd, np.sin(x), np.cos(x))], axis=-1)
    np.testing.assert_allclose(reference.direction(words), exact, atol=1.2e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offset", [1, 2, 3, 4, 5, 16, 97, 128, 129])
@pytest.mark.parametrize("dim", [1, 3, 4, 17])
def test_an_element_does_not_depend_on_where_the_request_begins(offset: int, dim: int, kind: str) -> None:
    whole = reference.normal(256, seed=3, generation=1, row=2, kind=kind)
    part = reference.normal(dim, seed=3, generation=1, row=2, offset=offset, kind=kind)
    assert part.tobytes() == whole[offset : offset + dim].tobytes()


def test_mirrored_rows_are_mirror_images_about_zero() -> None:
    plus, minus = reference.perturb(np.zeros(97, np.float32), [5, 5], [0.5, -0.5], seed=1)
    assert plus.tobytes() == (-minus).tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_types_round_as_torch_does(dtype: str) -> None:
    exponents = np.arange(512, dtype=np.uint32)[:, None] << np.uint32(23)
    mantissas = [0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x7FFF, 0x8000, 0x8001, 0x18000, 0x7FFFFF]
    values = (exponents | np.array(mantissas, np.uint32)).reshape(-1).view(np.float32)
    values = values[~np.isnan(values)]
    found = reference.perturb(values, [0], [0.0], seed=0, dtype=dtype)[0]
    # Adding zero turns -0 into +0, as fma does with a product of +0.
    epsilon = reference.normal(len(values), seed=0)
    expected = torch.from_numpy(values + np.float32(0) * epsilon).to(getattr(torch, dtype))
    assert found.view(np.int16).tobytes() == expected.view(torch.int16).numpy().tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_weighted_sum_is_close_to_the_sum_in_binary64(count: int, kind: str) -> None:
    weights = np.linspace(-1, 2, count, dtype=np.float32)
    noise = np.stack([reference.normal(33, seed=9, row=row, offset=3, kind=kind) for row in range(count)])
    found = reference.weighted_sum(weights, range(count), 33, seed=9, offset=3, kind=kind)
    np.testing.assert_allclose(found, weights.astype(np.float64) @ noise, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_weighted_sum_adds_totals_of_64_rows_in_order(kind: str) -> None:
    weights = np.linspace(-1, 2, 150, dtype=np.float32)

    def chain(rows: range) -> Float32Array:
        return reference.weighted_sum(weights[rows.start : rows.stop], rows, 33, seed=9, kind=kind)

    expected = (chain(range(64)) + chain(range(64, 128))) + chain(range(128, 150))
    assert reference.weighted_sum(weights, range(150), 33, seed=9, kind=kind).tobytes() == expected.tobytes()


def test_signs_are_added_four_rows_at_a_time() -> None:
    """t + ((a + b) + (c + d)), from +0, and +0 for rows that the last four lack; magnitudes so that the order shows."""
    weights = np.float32(3.0) ** np.arange(11, dtype=np.float32)[::-1] * np.float32(0.1)
    s = [w * reference.normal(33, seed=9, row=row, kind="rademacher") for row, w in enumerate(weights)]
    first, second = (s[0] + s[1]) + (s[2] + s[3]), (s[4] + s[5]) + (s[6] + s[7])
    expected = (first + second) + ((s[8] + s[9]) + s[10])
    found = reference.weighted_sum(weights, range(11), 33, seed=9, kind="rademacher")
    assert found.tobytes() == expected.tobytes()
    one_by_one = np.zeros(33, np.float32)
    for term in s:
        one_by_one = one_by_one + term
    assert found.tobytes() != one_by_one.tobytes()


def test_levels_are_summed_and_added_as_whole_steps() -> None:
    """With the step of 1/32 in the weight or scale, which only for subnormal products differs."""
    tiny = np.float32(2.0**-149 * 163)  # 163 / 32 smallest floats are 5 of them
    steps = reference.normal(33, seed=9, row=2, kind="normal8") * np.float32(32)
    scaled = np.float32(tiny * np.float32(1 / 32)).astype(np.float64)
    expected = (scaled * steps).astype(np.float32)
    found = reference.perturb(np.zeros(33, np.float32), [2], [tiny], seed=9, kind="normal8")[0]
    assert (found == expected).all()
    assert (found != (np.float64(tiny) / 32 * steps).astype(np.float32)).any()
    assert (reference.weighted_sum([tiny], [2], 33, seed=9, kind="normal8") == expected).all()


def test_an_empty_list_of_rows_sums_to_plus_zero() -> None:
    assert reference.weighted_sum([], [], 3, seed=1).tobytes() == bytes(12)


def test_sgd_climbs_the_weighted_sum() -> None:
    theta = np.ones(3, np.float32)
    g = reference.weighted_sum([1.0], [4], 3, seed=1)
    moved, buffer = reference.sgd_step(theta, None, [1.0], [4], lr=0.5, weight_decay=0.2, seed=1)
    assert buffer is None
    np.testing.assert_allclose(moved, 0.9 * theta + 0.5 * g, rtol=1e-6)


def test_momentum_agrees_with_torch() -> None:
    options: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "nesterov": True}
    parameter = torch.nn.Parameter(torch.linspace(-1, 1, 17))
    optimizer = torch.optim.SGD([parameter], weight_decay=0.01, **options)
    theta, buffer = parameter.detach().numpy().copy(), np.zeros(17, np.float32)
    for generation in range(5):
        parameter.grad = -torch.from_numpy(reference.normal(17, seed=2, generation=generation))
        optimizer.step()
        theta, new = reference.sgd_step(theta, buffer, [1.0], [0], l2=0.01, seed=2, generation=generation, **options)
        assert new is not None
        buffer = new
    np.testing.assert_allclose(theta, parameter.detach().numpy(), atol=1e-6)


def test_adam_agrees_with_torch() -> None:
    parameter = torch.nn.Parameter(torch.linspace(-1, 1, 17))
    optimizer = torch.optim.AdamW([parameter], lr=0.1, weight_decay=0.01)
    theta, m, v = parameter.detach().numpy().copy(), np.zeros(17, np.float32), np.zeros(17, np.float32)
    powers = (1.0, 1.0)
    for generation in range(5):
        parameter.grad = -torch.from_numpy(reference.normal(17, seed=2, generation=generation))
        optimizer.step()
        powers = powers[0] * 0.9, powers[1] * 0.999
        theta, m, v = reference.adam_step(
            *(theta, m, v, [1.0], [0]),
            lr=0.1,
            beta_powers=powers,
            weight_decay=0.01,
            seed=2,
            generation=generation,
        )
    np.testing.assert_allclose(theta, parameter.detach().numpy(), atol=1e-6)
