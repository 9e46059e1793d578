"""What every algorithm has to hold, for the tests of those who write one: `check_algorithm(Mine(population=8))`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastes import config
from fastes.algorithms import ALGORITHMS, Algorithm, State
from fastes.conditions import Conditions, Moments
from fastes.description import described
from fastes.errors import FitnessError
from fastes.messages import Evaluations, Transitions
from fastes.noise import Tensor
from fastes.types import AnyArray, Float32Array

Objective = Callable[[Float32Array], Float32Array]
"""From members' parameters, float32 [N, D], to fitness, float32 [N]."""

_OBSERVATION = 3


def sphere(members: Float32Array) -> Float32Array:
    """Minus the squared length of each: float32 [N]; the optimum is 0 at 0."""
    squares: Float32Array = -np.sum(members.astype(np.float64) ** 2, axis=1).astype(np.float32)
    return squares


def evaluations(algorithm: Algorithm, state: State, objective: Objective = sphere) -> Evaluations:
    """What the members of the next generation achieve. Behaviours are the first two parameters; where the algorithm
    learns from transitions each member has taken one step, of a policy with the state's tensors.
    """
    members = algorithm.ask(state).materialize()
    moments = None
    if state.conditions.moments is not None:
        seen = members[:, :_OBSERVATION].astype(np.float64)
        moments = Moments(float(len(seen)), seen.sum(axis=0), (seen * seen).sum(axis=0))
    steps = 1 + np.arange(len(members), dtype=np.uint32)
    behaviours = np.ascontiguousarray(members[:, :2])
    fitness = objective(members)
    taken = _transitions(state.tensors, members, fitness) if algorithm.learns_from_transitions else None
    return Evaluations(state.generation, fitness, steps, moments, behaviours, transitions=taken)


def _transitions(tensors: Sequence[Tensor], members: Float32Array, fitness: Float32Array) -> Transitions:
    """A step of each, from some of its parameters to others, with its fitness as the reward; every other one ends."""
    observation, action = tensors[0][2], tensors[-1][1]
    shown = np.clip(members[:, : 2 * observation + action], -1.0, 1.0)
    ends = np.arange(len(members), dtype=np.float32)[:, np.newaxis] % 2
    parts = [shown[:, : observation + action], fitness[:, np.newaxis], shown[:, observation + action :], ends]
    return Transitions(np.concatenate(parts, axis=1), observation, action)


def trained(
    algorithm: Algorithm, state: State, generations: int, objective: Objective = sphere
) -> tuple[State, list[Evaluations]]:
    """The state after so many more generations, and what led to it."""
    told = []
    for _ in range(generations):
        told.append(evaluations(algorithm, state, objective))
        state, _ = algorithm.tell(state, told[-1])
    return state, told


def check_algorithm(
    algorithm: Algorithm,
    *,
    dim: int = 20,
    generations: int = 8,
    seed: int = 2**64 - 1,
    tensors: tuple[Tensor, ...] = (),
    parts: tuple[int, ...] = (),
    by_rank: bool = False,
) -> None:
    """Raises AssertionError saying what the algorithm does not hold: that ask and tell are pure, that states survive
    checkpoints and, where it says so, replay, that a bare state asks the same, that wrong evaluations are refused, that
    all fitness may be equal, that settings survive a file.

    tensors: shapes in theta; parts: where those of several teams end in it; by_rank: whether its trajectory must not
    change, to the bit, with monotone transforms of fitness.
    """
    conditions = Conditions(Moments.none(_OBSERVATION), clip=5.0)
    theta = np.linspace(-1.0, 1.0, dim, dtype=np.float32)
    first = algorithm.init(theta, seed, conditions, tensors, parts)
    _check_first(algorithm, first, theta)
    state, told = trained(algorithm, first, generations)
    _check_ask(algorithm, state)
    _check_tell(algorithm, state)
    _check_checkpoint(algorithm, state)
    _check_replay(algorithm, first, state, told)
    _check_refusals(algorithm, state)
    _check_equals(algorithm, state)
    _check_settings(algorithm)
    if by_rank:
        _check_ranks(algorithm, first, state, generations)


def _check_first(algorithm: Algorithm, first: State, theta: Float32Array) -> None:
    assert first.generation == 0, f"the first generation is 0, not {first.generation}"
    assert first.theta.shape == theta.shape, f"theta has shape {first.theta.shape}, not {theta.shape}"
    assert first.theta.dtype == np.float32, f"theta is {first.theta.dtype}, not float32"
    assert not np.shares_memory(first.theta, theta), "the state holds the caller's theta, which may change"


def _check_ask(algorithm: Algorithm, state: State) -> None:
    generation = algorithm.ask(state)
    assert len(generation) == algorithm.members, f"{len(generation)} members, not `members` = {algorithm.members}"
    assert generation.index == state.generation, "the generation's index is not the state's"
    count = sum(vector.size for vector in generation.vectors) // state.theta.size
    assert count <= algorithm.vectors, f"{count} vectors of D, more than `vectors` = {algorithm.vectors}"
    whole, again = generation.materialize(), algorithm.ask(state).materialize()
    assert np.array_equal(whole, again), "ask is not pure: its members differ when asked again"
    cut = len(generation) // 2
    parts = [generation.part(0, cut), generation.part(cut, len(generation))]
    apart = np.concatenate([part.materialize() for part in parts if len(part)])
    assert np.array_equal(whole, apart), "members differ when they are made in parts"
    memory = np.concatenate([vector.reshape(-1) for vector in generation.vectors])
    sent = generation.without_vectors().with_vectors(memory, state.theta.size).materialize()
    assert np.array_equal(whole, sent), "members differ when vectors are sent apart"
    bare = algorithm.restore(state.bare().arrays(), _through_json(state.bare().scalars()))
    assert np.array_equal(whole, algorithm.ask(bare).materialize()), "a bare state asks for other members"


def _check_tell(algorithm: Algorithm, state: State) -> None:
    told = evaluations(algorithm, state)
    given = [*state.arrays().values(), told.fitness, told.steps, told.behaviours]
    writeable = [array.flags.writeable for array in given if array is not None]
    for array in given:
        if array is not None:
            array.flags.writeable = False
    before = state.digest()
    following, metrics = algorithm.tell(state, told)
    again, _ = algorithm.tell(state, told)
    for array, flag in zip((a for a in given if a is not None), writeable, strict=True):
        array.flags.writeable = flag
    assert dataclasses.replace(state).digest() == before, "tell changed the state that it was given"
    assert following.digest() == again.digest(), "tell is not pure: the same evaluations lead to other states"
    assert following.generation == state.generation + 1, "a generation was not counted"
    assert following.digest() != before, "the digest does not tell the state after a generation from that before"
    assert all(isinstance(value, float) for value in metrics.values()), f"metrics must be floats: {metrics}"


def _check_checkpoint(algorithm: Algorithm, state: State) -> None:
    back = algorithm.restore(_copied(state.arrays()), _through_json(state.scalars()))
    assert back.digest() == state.digest(), "a state from its checkpoint has another digest"
    told = evaluations(algorithm, state)
    following = algorithm.tell(state, told)[0].digest()
    assert algorithm.tell(back, told)[0].digest() == following, "a state from its checkpoint goes on differently"


def _check_replay(algorithm: Algorithm, first: State, last: State, told: list[Evaluations]) -> None:
    """From what a journal keeps; where a state follows from more, from that."""
    state = first
    for kept in told:
        steps = kept.steps if algorithm.learns_from_steps else None
        behaviours = kept.behaviours if algorithm.learns_from_behaviours else None
        known: Any = (kept.generation, kept.fitness, steps, kept.moments, behaviours)
        state, _ = algorithm.tell(state, Evaluations(*known) if algorithm.replays else kept)
    assert state.digest() == last.digest(), (
        "the run does not replay from what a journal keeps: does the algorithm look at steps or behaviours without "
        "saying so by `learns_from_steps` and `learns_from_behaviours`?"
    )


def _check_refusals(algorithm: Algorithm, state: State) -> None:
    good = evaluations(algorithm, state)
    short = dataclasses.replace(good, fitness=good.fitness[1:])
    late = dataclasses.replace(good, generation=good.generation + 1)
    double: Any = good.fitness.astype(np.float64)
    for what, wrong in (
        ("too few", short),
        ("another generation's", late),
        ("float64", dataclasses.replace(good, fitness=double)),
    ):
        try:
            algorithm.tell(state, wrong)
        except ValueError:
            continue
        raise AssertionError(f"evaluations that are {what} were not refused with ValueError")
    broken = good.fitness.copy()
    broken[0] = np.nan
    try:
        following, _ = algorithm.tell(state, dataclasses.replace(good, fitness=broken))
    except FitnessError:
        return
    assert np.isfinite(following.theta).all(), "a fitness of NaN was neither refused nor kept out of theta"


def _check_equals(algorithm: Algorithm, state: State) -> None:
    for value in (0.0, -3.0e38):
        good = evaluations(algorithm, state)
        same = dataclasses.replace(good, fitness=np.full_like(good.fitness, value))
        following, _ = algorithm.tell(state, same)
        assert np.isfinite(following.theta).all(), f"theta is not finite when all fitness is {value}"


def _check_settings(algorithm: Algorithm) -> None:
    if type(algorithm) not in ALGORITHMS.values():
        return
    table = described(algorithm, ALGORITHMS)
    again = config.algorithm({"algorithm": table}).with_optimizer(algorithm.optimizer)
    assert again == algorithm, f"its settings are others when they are read from a file: {table}"


def _check_ranks(algorithm: Algorithm, first: State, last: State, generations: int) -> None:
    state, _ = trained(algorithm, first, generations, lambda members: _warped(sphere(members)))
    assert state.theta.tobytes() == last.theta.tobytes(), "a monotone transform of fitness led to another theta"


def _warped(fitness: Float32Array) -> Float32Array:
    """Strictly monotone, far from linear, and no two numbers become one: the places of floats in their order, times
    5/4. fitness: float32 [N] of magnitudes below 1e6.
    """
    bits = fitness.view(np.int32).astype(np.int64)
    places = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits) * 5 // 4
    warped = np.where(places < 0, -places | 0x80000000, places)
    return warped.astype(np.uint32).view(np.float32)


def _copied(arrays: dict[str, AnyArray]) -> dict[str, AnyArray]:
    return {name: np.array(array) for name, array in arrays.items()}


def _through_json(scalars: dict[str, Any]) -> dict[str, Any]:
    restored: dict[str, Any] = json.loads(json.dumps(scalars))
    return restored
