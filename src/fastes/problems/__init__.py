"""Problems: what a member is evaluated on."""

from __future__ import annotations

from fastes.problems.atari import Atari
from fastes.problems.base import Outcome, Play, Problem, Session
from fastes.problems.completions import Completions
from fastes.problems.digits import Digits
from fastes.problems.env_interface import EnvInterface
from fastes.problems.envpool import EnvPool
from fastes.problems.function import FUNCTIONS, Function
from fastes.problems.gym import Gym
from fastes.problems.gym_interface import GymInterface
from fastes.problems.multi_agent import Duel, PettingZoo
from fastes.problems.reference_batch import reference_batch, with_reference
from fastes.problems.rollouts import Rollouts
from fastes.problems.torch_env import TorchEnv
from fastes.problems.torch_loss import TorchLoss

PROBLEMS: dict[str, type[Problem]] = {
    "gym": Gym,
    "atari": Atari,
    "envpool": EnvPool,
    "function": Function,
    "torch_env": TorchEnv,
    "torch_loss": TorchLoss,
    "digits": Digits,
    "pettingzoo": PettingZoo,
    "duel": Duel,
    "completions": Completions,
}

__all__ = [
    "FUNCTIONS",
    "PROBLEMS",
    "Atari",
    "Completions",
    "Digits",
    "Duel",
    "EnvInterface",
    "EnvPool",
    "Function",
    "Gym",
    "GymInterface",
    "Outcome",
    "PettingZoo",
    "Play",
    "Problem",
    "Rollouts",
    "Session",
    "TorchEnv",
    "TorchLoss",
    "reference_batch",
    "with_reference",
]
