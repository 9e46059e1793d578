"""Environments under the names that they have now, and those of portable-es as fastes plays them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from fastes.compat.translation import Given
from fastes.errors import ProblemError
from fastes.import_path import imported
from fastes.problems import EnvInterface
from fastes.types import AnyArray

_WITH_POSITION = ("Ant", "HalfCheetah", "Hopper", "Humanoid", "HumanoidStandup", "Swimmer", "Walker2d")
_MUJOCO = (*_WITH_POSITION, "InvertedDoublePendulum", "InvertedPendulum", "Pusher", "Reacher")
_NEWEST = "v5"  # of MuJoCo in Gymnasium; older ones need the package mujoco-py, which nobody maintains


def environment(given: Given, key: str, instead: str | None) -> str:
    """The id of a configuration as Gymnasium has it, or the one to take instead. Raises ConfigError."""
    name = given.text(key, instead)
    if instead is not None:
        if name != instead:
            given.note(f"{name} is replaced by {instead}, as asked: scores are of another task.")
        return instead
    family, _, version = name.rpartition("-")
    if "BulletEnv" in name or "PyBullet" in name:
        given.refuse(key, f"= {name!r} is PyBullet's, which needs the old gym: name another with --env {_near(family)}")
    if "/" in name or name.endswith((".x86_64", ".exe", ".app")):
        given.refuse(key, f"= {name!r} is a program of Unity: name a Gymnasium environment with --env")
    if family in _MUJOCO and re.fullmatch(r"v[0-4]", version):
        given.note(f"{name} needs mujoco-py, which is gone: {family}-{_NEWEST} is its successor, with other rewards.")
        return f"{family}-{_NEWEST}"
    return name


def has_position(env: str) -> bool:
    """Whether an environment of MuJoCo tells where its body is."""
    return env.rpartition("-")[0] in _WITH_POSITION


def _near(family: str) -> str:
    plain = re.sub(r"(PyBullet|Bullet)?Env$|Bullet", "", family)
    return f"{plain}-{_NEWEST}" if plain in _MUJOCO else "NAME"


class PortableEnvironment(EnvInterface):
    """An environment of portable-es: it is given tensors, and a RandomState, as it was there."""

    def __init__(self, env_class: str, **env_config: Any) -> None:
        """env_class: "module:Class"; env_config: its keyword arguments. Raises ProblemError if it is not there."""
        self.inner = imported(env_class, ProblemError)(**env_config)
        self.observation_shape = getattr(self.inner, "observation_shape", None)
        self.action_size = int(getattr(self.inner, "action_size", 0))

    def randomize(self, rng: np.random.Generator) -> None:
        """See `EnvInterface`."""
        self.inner.randomize(np.random.RandomState(int(rng.integers(2**32))))

    def reset(self) -> Any:
        """See `EnvInterface`."""
        return self.inner.reset()

    def step(self, action: AnyArray) -> tuple[Any, float, bool]:
        """See `EnvInterface`."""
        import torch

        state, reward, done = self.inner.step(torch.from_numpy(np.array(action)))
        return state, float(reward), bool(done)

    def eval(self) -> dict[str, Any]:
        """See `EnvInterface`."""
        told: dict[str, Any] = self.inner.eval() or {}
        return told
