"""Gradient-style algorithms learn with every kind of noise, and materialise the members that they evaluate."""

from __future__ import annotations

import numpy as np
import pytest

from fastes import kernels
from fastes.algorithms import OpenAIES, State
from fastes.kernels import KINDS
from fastes.messages import Evaluations
from fastes.optim import SGD, Adam, ClipUp, Optimizer

SEEDS = [0, 1, 2, 3, 2**64 - 1]
OPTIMIZERS = (SGD(lr=0.1, momentum=0.9), Adam(lr=0.05), ClipUp(lr=0.1))


def fitness_of(vectors: np.ndarray) -> np.ndarray:
    return -np.sum(vectors.astype(np.float64) ** 2, axis=1).astype(np.float32)


def evaluations(algorithm: OpenAIES, state: State) -> Evaluations:
    fitness = fitness_of(algorithm.ask(state).materialize())
    return Evaluations(state.generation, fitness, np.ones(len(fitness), np.uint32))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("noise", KINDS)
def test_openai_es_converges_on_the_sphere(noise: str, optimizer: Optimizer) -> None:
    algorithm = OpenAIES(population=64, sigma=0.05, noise=noise, optimizer=optimizer)
    for seed in SEEDS:
        state = algorithm.init(np.ones(20, np.float32), seed)
        for _ in range(120):
            state, _ = algorithm.tell(state, evaluations(algorithm, state))
        assert fitness_of(state.theta[None])[0] > -1.0


@pytest.mark.parametrize("noise", KINDS)
def test_members_are_the_centre_and_signed_noise(noise: str) -> None:
    algorithm = OpenAIES(population=6, sigma=0.25, noise=noise)
    theta = np.linspace(-1, 1, 301, dtype=np.float32)
    members = algorithm.ask(algorithm.init(theta, 7)).materialize()
    rows = [kernels.normal(301, seed=7, row=pair, kind=noise) for pair in range(3)]
    exact = [theta + sign * 0.25 * epsilon.astype(np.float64) for epsilon in rows for sign in (1, -1)]
    np.testing.assert_array_equal(members, np.array(exact, np.float32))


def test_kinds_of_noise_lead_elsewhere() -> None:
    digests = set()
    for noise in KINDS:
        algorithm = OpenAIES(population=8, noise=noise)
        state = algorithm.init(np.ones(50, np.float32), 1)
        digests.add(algorithm.tell(state, evaluations(algorithm, state))[0].digest())
    assert len(digests) == len(KINDS)


def test_an_unknown_kind() -> None:
    with pytest.raises(ValueError, match=r"algorithm\.noise must be one of normal, rademacher, normal8.*, not 'gauss'"):
        OpenAIES(noise="gauss")
