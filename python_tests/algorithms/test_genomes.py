"""Genomes: what an individual is made of, made again with the same bits by whoever remembers more or less of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastes import kernels
from fastes.algorithms import GA
from fastes.algorithms.genomes import UNCHANGED, Individuals, Lineage
from fastes.algorithms.initialisation import Beginning
from fastes.messages import Evaluations
from fastes.noise import Perturbation, Stream
from fastes.testing import trained
from fastes.types import Float32Array, UInt32Array

DIM = 97
SEED = 2**63 + 5
SCALES = np.array([1.0, 0.5, 0.25, 0.125], np.float32)
FAMILY = np.array(  # the first two share all but the last, the third skips two generations, the last stands alone
    [[7, 3, 1, 4], [7, 3, 1, 9], [7, 3, UNCHANGED, UNCHANGED], [2, UNCHANGED, 5, 5]], np.uint32
)

GOLDEN = {  # of a run's genomes and elite, on every machine
    "normal": "2879bb462a72533af1fea1287076a69b",
    "rademacher": "b7e0104345470febe8d8d403f68aecd0",
    "normal8": "a1bc1a59c6f800f2a023bf6caeb7e224",
}


def lineage(scales: Float32Array = SCALES, kind: str = "normal", seed: int = SEED) -> Lineage:
    start = np.linspace(-1, 1, DIM, dtype=np.float32)
    return Lineage(seed, Beginning("policy", DIM, (), start), Perturbation(kind, Stream.MUTATION), scales)


def step(theta: Float32Array, row: int, scale: float, generation: int) -> Float32Array:
    """One mutation by the kernel alone."""
    rows, scales = np.array([row]), np.array([scale], np.float32)
    made = kernels.perturb(theta, rows, scales, seed=SEED, generation=generation, stream=3)
    return np.asarray(made[0])


@pytest.fixture
def mutations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The generations of the mutations that were made."""
    made: list[int] = []
    changed = Lineage.changed

    def counted(
        self: Lineage, theta: Float32Array | None, generation: int, row: int, out: Float32Array | None = None
    ) -> Float32Array:
        made.append(generation)
        return changed(self, theta, generation, row, out)

    monkeypatch.setattr(Lineage, "changed", counted)
    return made


def test_an_individual_is_its_mutations_one_after_the_other() -> None:
    theta = np.linspace(-1, 1, DIM, dtype=np.float32)
    for generation, row in enumerate(FAMILY[0]):
        theta = step(theta, int(row), float(SCALES[generation]), generation)
    made = Individuals().made(lineage(), FAMILY)
    assert made.shape == (4, DIM)
    assert made[0].tobytes() == theta.tobytes()


def test_a_generation_without_a_mutation_changes_nothing() -> None:
    made = Individuals().made(lineage(), FAMILY)
    shorter = Individuals().made(lineage(SCALES[:2]), FAMILY[2:3, :2])
    assert made[2].tobytes() == shorter[0].tobytes()
    start = np.linspace(-1, 1, DIM, dtype=np.float32)
    alone = step(step(step(start, 2, 1.0, 0), 5, 0.25, 2), 5, 0.125, 3)
    assert made[3].tobytes() == alone.tobytes()


@pytest.mark.parametrize("kind", kernels.KINDS)
def test_the_same_bits_whatever_is_remembered(kind: str) -> None:
    from_nothing = Individuals().made(lineage(kind=kind), FAMILY)
    for known in (1, 2, 3):
        individuals = Individuals()
        individuals.made(lineage(SCALES[:known], kind), FAMILY[:, :known], keep=True)
        assert individuals.made(lineage(kind=kind), FAMILY, keep=True).tobytes() == from_nothing.tobytes()
    some = Individuals()
    some.made(lineage(SCALES[:3], kind), FAMILY[3:, :3], keep=True)
    assert some.made(lineage(kind=kind), FAMILY).tobytes() == from_nothing.tobytes()


def test_what_is_remembered_is_not_made_again(mutations: list[int]) -> None:
    individuals = Individuals()
    first = individuals.made(lineage(SCALES[:3]), FAMILY[:, :3], keep=True)
    assert sorted(mutations) == [0, 0, 1, 2, 2], "shared ancestors are made once"
    assert individuals.made(lineage(SCALES[:3]), FAMILY[:, :3], keep=True) is first
    assert individuals.made(lineage(SCALES[:3]), FAMILY[1:2, :3])[0].tobytes() == first[1].tobytes()
    del mutations[:]
    individuals.made(lineage(), FAMILY, keep=True)
    assert mutations == [3, 3, 3], "one each, none for whom nothing has changed"
    del mutations[:]
    individuals.made(lineage(SCALES[:3]), FAMILY[:, :3])
    assert sorted(mutations) == [0, 0, 1, 2, 2], "the set before is forgotten"


@pytest.mark.parametrize(
    "other",
    [lineage(seed=1), lineage(SCALES * 2), lineage(kind="rademacher"), lineage(SCALES[[0, 0, 0, 0]])],
    ids=["seed", "scales", "noise", "a later scale"],
)
def test_individuals_of_another_run_are_others(other: Lineage) -> None:
    individuals = Individuals()
    mine = individuals.made(lineage(), FAMILY, keep=True)
    theirs = individuals.made(other, FAMILY)
    assert theirs.tobytes() == Individuals().made(other, FAMILY).tobytes()
    assert theirs.tobytes() != mine.tobytes()


def test_what_is_remembered_cannot_be_written() -> None:
    individuals = Individuals()
    kept = individuals.made(lineage(), FAMILY, keep=True)
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 0.0
    individuals.made(lineage(), FAMILY[:1])[0] = 0.0
    assert individuals.made(lineage(), FAMILY, keep=True) is kept


def test_who_was_evaluated_is_who_is_made_again() -> None:
    """Every member of six generations of a run, by its genome alone."""
    algorithm = GA(30, 3, 2, "normal", parents=5, sigma=0.3)
    state = algorithm.init(np.zeros(DIM, np.float32), SEED)
    for _ in range(6):
        members = algorithm.ask(state).materialize()
        brood = algorithm._brood(state)
        scales = np.append(brood.strengths, np.float32(brood.strength))
        genomes: UInt32Array = brood.genomes(list(range(len(members))))
        beginning = Beginning("normal", DIM, (), np.zeros(0, np.float32))
        of_run = Lineage(SEED, beginning, Perturbation(stream=Stream.MUTATION), scales)
        assert Individuals().made(of_run, genomes).tobytes() == members.tobytes()
        state, _ = trained(algorithm, state, 1)


@pytest.fixture
def on(request: pytest.FixtureRequest) -> Iterator[str]:
    """An instruction set, in use while the test runs."""
    before = kernels.info()["isa"]
    kernels.select_isa(request.param)
    assert kernels.info()["isa"] == request.param
    yield request.param
    kernels.select_isa(before)


@pytest.mark.parametrize("kind", kernels.KINDS)
@pytest.mark.parametrize("on", kernels.info()["isas_usable"], indirect=True)
def test_the_same_bits_on_every_instruction_set(on: str, kind: str) -> None:
    """A run step by step; then its parents from the seed lists alone, there and on every other one."""
    settings: Any = {"initial": "normal", "noise": kind, "sigma": 0.3, "parents": 6, "candidates": 4}
    algorithm = GA(20, re_evaluations=2, **settings)
    state = algorithm.init(np.zeros(4099, np.float32), 11)
    for generation in range(5):
        fitness = algorithm.ask(state).materialize()[:, generation].copy()
        state, _ = algorithm.tell(state, Evaluations(generation, fitness))
    parents = algorithm.ask(state).theta.tobytes()
    for isa in kernels.info()["isas_usable"]:
        kernels.select_isa(isa)
        anew = GA(20, re_evaluations=2, **settings)
        restored = anew.restore(state.bare().arrays(), state.bare().scalars())
        assert restored.theta.tobytes() == state.theta.tobytes()
        assert anew.ask(restored).theta.tobytes() == parents
    assert kernels.digest(state.genomes, state.theta) == GOLDEN[kind]
