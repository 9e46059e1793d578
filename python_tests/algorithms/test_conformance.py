"""Every algorithm holds what `fastes.testing.check_algorithm` asks, in each of the ways in which it can be set."""

from __future__ import annotations

import pytest

from fastes.algorithms import ALGORITHMS, ARS, Algorithm, OpenAIES
from fastes.optim import SGD, ClipUp
from fastes.testing import check_algorithm

MATRICES = ((0, 4, 4), (16, 4))

CASES: dict[str, tuple[Algorithm, dict[str, object]]] = {
    "openai_es": (OpenAIES(population=12), {"by_rank": True}),
    "openai_es, clipup, signs": (OpenAIES(population=6, noise="rademacher", optimizer=ClipUp(lr=0.1)), {}),
    "openai_es, low rank": (OpenAIES(population=8, noise="low_rank"), {"tensors": MATRICES, "by_rank": True}),
    "openai_es, many steps": (OpenAIES(population=8, min_steps=100), {"by_rank": True}),
    "ars": (ARS(population=8, top=2), {}),
    "ars, low rank": (ARS(population=8, noise="low_rank", optimizer=SGD(lr=0.1, momentum=0.9)), {"tensors": MATRICES}),
}


@pytest.mark.parametrize("name", CASES)
def test_it_conforms(name: str) -> None:
    algorithm, settings = CASES[name]
    check_algorithm(algorithm, **settings)  # type: ignore[arg-type]


def test_all_of_the_registry_are_here() -> None:
    assert {type(algorithm) for algorithm, _ in CASES.values()} == set(ALGORITHMS.values())
