"""Every algorithm holds what `fastes.testing.check_algorithm` asks, in each of the ways in which it can be set."""

from __future__ import annotations

import pytest

from fastes.algorithms import (
    ALGORITHMS,
    ARS,
    ESAC,
    GA,
    PGPE,
    SNES,
    Algorithm,
    MultiAgent,
    NoveltyES,
    OpenAIES,
    RandomSearch,
    SelfPlay,
)
from fastes.optim import SGD, ClipUp
from fastes.testing import check_algorithm

MATRICES = ((0, 4, 4), (16, 4))
PERCEPTRON = ((0, 4, 3), (12, 4), (16, 2, 4), (24, 2))
QUICK = {"updates_per_step": 0.5, "learning_starts": 20, "batch_size": 8}

CASES: dict[str, tuple[Algorithm, dict[str, object]]] = {
    "openai_es": (OpenAIES(population=12), {"by_rank": True}),
    "openai_es, clipup, signs": (OpenAIES(population=6, noise="rademacher", optimizer=ClipUp(lr=0.1)), {}),
    "openai_es, low rank": (OpenAIES(population=8, noise="low_rank"), {"tensors": MATRICES, "by_rank": True}),
    "openai_es, many steps": (OpenAIES(population=8, min_steps=100), {"by_rank": True}),
    "openai_es, elite": (OpenAIES(8, shaping={"kind": "elite", "fraction": 0.5, "shaping": "z_score"}), {}),
    "ars": (ARS(population=8, top=2), {}),
    "ars, low rank": (ARS(population=8, noise="low_rank", optimizer=SGD(lr=0.1, momentum=0.9)), {"tensors": MATRICES}),
    "pgpe": (PGPE(population=8), {"by_rank": True}),
    "snes": (SNES(population=8, lr=0.5), {"by_rank": True}),
    "esac": (ESAC(8, **QUICK), {"tensors": PERCEPTRON, "dim": 26}),
    "esac, no children": (ESAC(4, children=0, trials=1, buffer_size=30, **QUICK), {"tensors": PERCEPTRON, "dim": 26}),
    "ga": (GA(12, candidates=3, re_evaluations=2, parents=4), {"tensors": MATRICES, "by_rank": True}),
    "ga, all mutated": (GA(9, 4, 1, initial="policy", noise="normal8", parents=2, keep_elite=False), {"by_rank": True}),
    "random_search": (RandomSearch(8, candidates=3, re_evaluations=2), {"tensors": MATRICES, "by_rank": True}),
    "novelty": (NoveltyES(8, agents=3, centers=2, k=3), {"tensors": MATRICES, "by_rank": True}),
    "novelty, adaptive": (NoveltyES(8, variant="nsra", patience=2, initial="normal", archive_capacity=4), {}),
    "novelty, one agent, low rank": (NoveltyES(8, variant="ns", agents=1, noise="low_rank"), {"tensors": MATRICES}),
    "multi_agent": (MultiAgent(population=8), {"parts": (7, 20)}),
    "multi_agent, clipup, low rank": (
        MultiAgent(population=6, noise="low_rank", optimizer=ClipUp(lr=0.1)),
        {"parts": (16, 20), "tensors": MATRICES},
    ),
    "self_play": (SelfPlay(population=8, opponents=2, pool=3, every=2), {"by_rank": True}),
    "self_play, low rank": (SelfPlay(population=8, noise="low_rank", every=1), {"tensors": MATRICES}),
}


@pytest.mark.parametrize("name", CASES)
def test_it_conforms(name: str) -> None:
    algorithm, settings = CASES[name]
    if isinstance(algorithm, ESAC):
        pytest.importorskip("stable_baselines3", reason="needs the extra esac")
    check_algorithm(algorithm, **settings)  # type: ignore[arg-type]


def test_all_of_the_registry_are_here() -> None:
    assert {type(algorithm) for algorithm, _ in CASES.values()} == set(ALGORITHMS.values())
