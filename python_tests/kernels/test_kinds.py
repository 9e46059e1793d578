"""What the kinds of noise are made of: exact moments of their values, and the same words for all of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from fastes import kernels
from fastes.kernels import KINDS, reference

LEVELS = [Fraction(int(level), 32) for level in reference.LEVELS]
VALUES = [*LEVELS, *(-level for level in LEVELS)]  # of the 256 bytes


def moment(power: int) -> Fraction:
    return sum((value**power for value in VALUES), Fraction(0)) / len(VALUES)


def test_normal8_has_256_levels_of_variance_1_exactly() -> None:
    assert len(VALUES) == 256
    assert [moment(power) for power in (1, 2, 3)] == [0, 1, 0]
    assert float(moment(4)) == pytest.approx(2.9667, abs=5e-5)
    assert max(VALUES) == Fraction(95, 32) == Fraction("2.96875")
    assert len(set(VALUES)) == 131
    assert VALUES.count(Fraction(0)) == 4
    assert sorted(LEVELS) == LEVELS


def test_levels_are_steps_beside_the_root_mean_squares_of_the_parts() -> None:
    """Of each of the upper 128 of 256 equally likely parts of the normal: E[z^2] = 1 + (a phi(a) - b phi(b)) / P."""
    edges = stats.norm.ppf(np.arange(128, 257) / 256)
    z_phi = np.append(edges[:-1] * stats.norm.pdf(edges[:-1]), 0.0)
    root_mean_squares = np.sqrt(1 + (z_phi[:-1] - z_phi[1:]) * 256)
    assert np.abs(reference.LEVELS - 32 * root_mean_squares).max() < 1.0


def test_the_words_of_a_block_make_16_bytes_or_128_bits(isa: str) -> None:
    """Word by word, lowest byte and bit first, from the generator's known words."""
    seed, block = 0x0123456789ABCDEF, 5
    words = kernels.philox4x32(np.array([block, 7, 9, 3], np.uint32), seed)
    at = {"seed": seed, "stream": 7, "row": 9, "generation": 3}
    data = words.astype("<u4").view(np.uint8)
    magnitudes = reference.LEVELS[data & 127] / 32
    levels = np.where(data < 128, magnitudes, -magnitudes)
    found = kernels.normal(16, offset=16 * block, kind="normal8", **at)
    np.testing.assert_array_equal(found, levels, err_msg=isa)
    assert not np.signbit(found[found == 0]).any()
    signs = 1 - 2.0 * np.unpackbits(data, bitorder="little")
    np.testing.assert_array_equal(kernels.normal(128, offset=128 * block, kind="rademacher", **at), signs, err_msg=isa)


@pytest.mark.usefixtures("isa")
def test_every_byte_has_its_level() -> None:
    noise = kernels.normal(100_000, seed=1, kind="normal8")
    assert set(np.unique(noise)) == {float(value) for value in VALUES}
    zeros = noise[noise == 0]
    assert len(zeros) > 1000
    assert not np.signbit(zeros).any()


@pytest.mark.usefixtures("isa")
def test_rademacher_is_plus_or_minus_one() -> None:
    noise = kernels.normal(100_003, seed=1, offset=77, kind="rademacher")
    assert set(np.unique(noise)) == {-1.0, 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_mirrored_rows_are_mirror_images_about_zero(kind: str) -> None:
    """As numbers: a product of +0 with a negative scale, added to +0, is +0 again."""
    scales = np.array([0.5, -0.5], np.float32)
    plus, minus = kernels.perturb(np.zeros(997, np.float32), [5, 5], scales, seed=1, kind=kind)
    np.testing.assert_array_equal(plus, -minus)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
def test_one_row_of_weight_one_is_its_noise(kind: str) -> None:
    one = np.ones(1, np.float32)
    total = kernels.weighted_sum(one, [6], 333, seed=2, offset=5, kind=kind)
    np.testing.assert_array_equal(total, kernels.normal(333, seed=2, row=6, offset=5, kind=kind))


def test_kinds_are_those_that_messages_name() -> None:
    with pytest.raises(ValueError, match="kind must be one of " + ", ".join(KINDS) + ", not 'gauss'"):
        kernels.normal(4, seed=1, kind="gauss")
    assert tuple(reference.BLOCK_ELEMENTS) == KINDS
    assert list(reference.BLOCK_ELEMENTS.values()) == [4, 128, 16]
