"""Problems: what a member is evaluated on."""

from __future__ import annotations

from fastes.problems.base import Outcome, Problem, Session
from fastes.problems.function import FUNCTIONS, Function
from fastes.problems.gym import Gym

PROBLEMS: dict[str, type[Problem]] = {
    "gym": Gym,
    "function": Function,
}

__all__ = ["FUNCTIONS", "PROBLEMS", "Function", "Gym", "Outcome", "Problem", "Session"]
