"""Steps taken elsewhere, span by span: the bits of those on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastes.algorithms.ascent import stepped
from fastes.noise import Perturbation
from fastes.optim import OPTIMIZERS, PART_MULTIPLE, SGD, Adam, ClipUp, OnDevice, Optimizer, OptimizerState
from fastes.types import Float32Array

DIM = 4 * PART_MULTIPLE + 77
TENSORS = ((0, 40, 50), (2000, 60, 1), (2060, 3, 64, 32), (8204,))
ROWS = np.arange(9, dtype=np.uint32)
WEIGHTS = np.random.default_rng(5).normal(0, 0.1, 9).astype(np.float32)
NOISES = {"normal": Perturbation(), "low rank": Perturbation.named("low_rank", 2, TENSORS)}
CASES: dict[str, Optimizer] = {
    **{name: optimizer(lr=0.05) for name, optimizer in OPTIMIZERS.items()},
    "momentum, decay": SGD(lr=0.1, momentum=0.9, weight_decay=0.1),
}


def two_steps(optimizer: Optimizer, noise: Perturbation) -> tuple[Float32Array, OptimizerState]:
    theta, state = np.sin(np.arange(DIM, dtype=np.float32)), optimizer.init(DIM)
    for generation in range(2):
        theta, state = stepped(optimizer, theta, state, WEIGHTS, ROWS, noise, seed=3, generation=generation)
    return theta, state


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("case", CASES)
def test_spans_of_tensors_give_the_bits_of_the_whole(case: str, noise: str) -> None:
    check(CASES[case], NOISES[noise], torch.device("cpu"))


@pytest.mark.cuda
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("case", CASES)
def test_the_bits_are_those_of_the_cpu(case: str, noise: str, gpu: str) -> None:
    check(CASES[case], NOISES[noise], torch.device(gpu))


def check(optimizer: Optimizer, noise: Perturbation, device: torch.device) -> None:
    theta, state = two_steps(optimizer, noise)
    found, there = two_steps(OnDevice(optimizer, device, PART_MULTIPLE), noise)
    assert isinstance(found, np.ndarray)
    assert found.tobytes() == theta.tobytes()
    assert {name: array.tobytes() for name, array in there.arrays.items()} == {
        name: array.tobytes() for name, array in state.arrays.items()
    }
    assert there.scalars == state.scalars


@pytest.mark.parametrize("optimizer", [Adam(lr=0.1), ClipUp(lr=0.1)], ids=["by element", "whole"])
def test_a_direction_made_in_spans_is_the_whole_one(optimizer: Optimizer) -> None:
    direction = np.cos(np.arange(DIM, dtype=np.float32))
    theta, state = np.zeros(DIM, np.float32), optimizer.init(DIM)
    asked: list[int] = []

    def writes(span: slice):
        def write(out: Float32Array) -> None:
            asked.append(len(out))
            out[:] = direction[span]

        return write

    spans = [slice(0, 100), slice(100, 4000), slice(4000, DIM)]
    found, after = optimizer.apply_spans(theta, state, [(span, writes(span)) for span in spans])
    expected, expected_state = optimizer.apply(theta, state, direction)
    assert asked == [100, 3900, DIM - 4000]
    assert found.tobytes() == expected.tobytes()
    assert after.scalars == expected_state.scalars
    for name, array in expected_state.arrays.items():
        assert after.arrays[name].tobytes() == array.tobytes()
