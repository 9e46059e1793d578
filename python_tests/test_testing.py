"""`check_algorithm` finds what it is there to find: each of these breaks one of its rules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from fastes.algorithms import OpenAIES, State
from fastes.messages import Evaluations
from fastes.noise import Generation
from fastes.testing import check_algorithm
from fastes.types import Metrics

CALLS = [0]


class AsksAnew(OpenAIES):
    def _ask(self, state: State) -> Generation:
        CALLS[0] += 1
        return replace(super()._ask(state), drawn=CALLS[0])


class ChangesItsState(OpenAIES):
    def _tell(self, state: State, evaluations: Evaluations) -> tuple[State, Metrics]:
        theta = state.theta
        theta.flags.writeable = True
        theta += 1
        return super()._tell(state, evaluations)


class CountsByItself(OpenAIES):
    def _tell(self, state: State, evaluations: Evaluations) -> tuple[State, Metrics]:
        CALLS[0] += 1
        after, metrics = super()._tell(state, evaluations)
        return replace(after, theta=after.theta + np.float32(CALLS[0])), metrics


class LooksAtSteps(OpenAIES):
    def _tell(self, state: State, evaluations: Evaluations) -> tuple[State, Metrics]:
        after, metrics = super()._tell(state, evaluations)
        return replace(after, theta=after.theta + np.float32(evaluations.steps.sum())), metrics


class LooksAtBehaviours(OpenAIES):
    def _tell(self, state: State, evaluations: Evaluations) -> tuple[State, Metrics]:
        after, metrics = super()._tell(state, evaluations)
        seen = 0.0 if evaluations.behaviours is None else evaluations.behaviours.sum()
        return replace(after, theta=after.theta + np.float32(seen)), metrics


@dataclass(frozen=True, slots=True)
class ForgetfulState(State):
    last: np.ndarray = field(default_factory=lambda: np.zeros(1, np.float32))

    @classmethod
    def _own_names(cls) -> list[str]:
        return []


class Forgets(OpenAIES):
    @property
    def state_type(self) -> type[State]:
        return ForgetfulState

    def _tell(self, state: Any, evaluations: Evaluations) -> tuple[State, Metrics]:
        after, metrics = super()._tell(state, evaluations)
        return replace(after, theta=after.theta + state.last, last=state.last + 1), metrics  # type: ignore[call-arg]


class NeedsMoments(OpenAIES):
    def _ask(self, state: State) -> Generation:
        return replace(super()._ask(state), scales=np.full(self.members, len(state.optimizer.arrays), np.float32))


class SmallerThanItSays(OpenAIES):
    def _ask(self, state: State) -> Generation:
        return super()._ask(state).part(0, self.members - 1)


class DividesByTheSpread(OpenAIES):
    def _tell(self, state: State, evaluations: Evaluations) -> tuple[State, Metrics]:
        after, metrics = super()._tell(state, evaluations)
        with np.errstate(all="ignore"):
            return replace(after, theta=after.theta / evaluations.fitness.std()), metrics


class TellsNumbersOfNumPy(OpenAIES):
    def _tell(self, state: State, evaluations: Evaluations) -> tuple[State, Metrics]:
        after, _ = super()._tell(state, evaluations)
        return after, {"sum": evaluations.fitness.sum()}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (AsksAnew, "ask is not pure"),
        (ChangesItsState, "tell changed the state"),
        (CountsByItself, "tell is not pure"),
        (LooksAtSteps, "does not replay"),
        (LooksAtBehaviours, "does not replay"),
        (Forgets, "from its checkpoint goes on differently"),
        (NeedsMoments, "a bare state asks for other members"),
        (SmallerThanItSays, "expected 8 evaluations of generation 0, not 7"),
        (DividesByTheSpread, "theta is not finite when all fitness is 0"),
        (TellsNumbersOfNumPy, "metrics must be floats"),
    ],
)
def test_it_finds(cls: type[OpenAIES], says: str) -> None:
    with pytest.raises((AssertionError, ValueError), match=says):
        check_algorithm(cls(population=8))


def test_what_is_not_by_rank() -> None:
    with pytest.raises(AssertionError, match="a monotone transform of fitness led to another theta"):
        check_algorithm(OpenAIES(population=8, shaping="identity"), by_rank=True)


def test_what_holds() -> None:
    check_algorithm(OpenAIES(population=8), by_rank=True)
