"""What the tests train: small problems, environments, policies and whole runs, importable by name from any process."""

from __future__ import annotations

import copy
import itertools
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tomli_w
import torch
from gymnasium import spaces
from torch import nn

from fastes import config
from fastes.policies import wrap
from fastes.report import GenerationReport, Reporter
from fastes.result import Result

Tables = dict[str, Any]

# D x pairs is so large that several kernel threads are really used, and there are three work units for the workers.
SPHERE: Tables = {
    "seed": 7,
    "generations": 8,
    "unit_size": 6,
    "problem": {"kind": "function", "function": "specimens:sphere", "dim": 40_000},
    "algorithm": {"population": 16},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 3, "episodes": 1},
    "output": {"dir": "run", "checkpoint_every": 2, "tensorboard": False},
}
RASTRIGIN: Tables = {
    "seed": 2**64 - 1,
    "generations": 8,
    "unit_size": 4,
    "problem": {"kind": "function", "function": "rastrigin", "dim": 997, "start": 0.5},
    "algorithm": {"population": 10, "sigma": 0.02},
    "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 0, "episodes": 1},
    "output": {"dir": "run", "checkpoint_every": 3, "keep": 1, "tensorboard": False},
}
CARTPOLE: Tables = {
    "seed": 3,
    "generations": 4,
    "unit_size": 4,
    "problem": {"kind": "gym", "env": "CartPole-v1", "max_steps": 50, "episodes": 2, "common_seeds": False},
    "policy": {"kind": "mlp", "hidden": [8]},
    "algorithm": {"population": 12},
    "optimizer": {"kind": "adamw", "lr": 0.05},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 2, "episodes": 2},
    "output": {"dir": "run", "checkpoint_every": 2, "tensorboard": False},
}


def changed(tables: Tables, **changes: Any) -> Tables:
    """A copy with changes; a table given as a change is merged into the one that is there; None takes a key out."""
    copied = copy.deepcopy(tables)
    for key, value in changes.items():
        if isinstance(value, dict):
            copied[key] = {k: v for k, v in (copied.get(key, {}) | value).items() if v is not None}
        else:
            copied[key] = value
    return copied


def run(tables: Tables, **options: Any) -> Result:
    """The run that tables describe, as the command line would do it but without a console."""
    return config.trainer(tables, **options).run()


def write_config(path: Path, tables: Tables) -> Path:
    path.write_text(tomli_w.dumps(tables), encoding="utf-8")
    return path


# --- functions -------------------------------------------------------------------------------------------------------


def nothing(x: np.ndarray) -> float | None:
    """Before each call of `sphere`; tests put something else here. A number is the function's value."""


before_sphere: Callable[[np.ndarray], float | None] = nothing


def sphere(x: np.ndarray) -> float:
    """-sum x^2."""
    value = before_sphere(x)
    return -float(np.sum(x.astype(np.float64) ** 2)) if value is None else value


class OnCall:
    """Does something at the n-th call in this process, counted from 1."""

    def __init__(self, n: int, action: Callable[[], float | None]) -> None:
        self.calls, self.n, self.action = 0, n, action

    def __call__(self, x: np.ndarray) -> float | None:
        self.calls += 1
        return self.action() if self.calls == self.n else None


@dataclass(frozen=True)
class KillsOnce:
    """-sum x^2; the first to find no marker makes it and kills its process, as a system out of memory does."""

    marker: Path

    def __call__(self, x: np.ndarray) -> float:
        try:
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            return -float(np.sum(x.astype(np.float64) ** 2))
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


def kills_always(x: np.ndarray) -> float:
    """Ends its process, unless x is near 0.9."""
    if abs(float(x[0]) - 0.9) > 0.05:
        os._exit(3)
    return 0.0


_calls = itertools.count(1)


def gated_sphere(x: np.ndarray) -> float:
    """-sum x^2; at call number GATE_CALL it makes the file GATE and goes on once that is removed."""
    if next(_calls) == int(os.environ["GATE_CALL"]):
        gate = Path(os.environ["GATE"])
        gate.touch()
        while gate.exists():
            time.sleep(0.001)
    return sphere(x)


# --- environments ----------------------------------------------------------------------------------------------------


class Chain(gymnasium.Env[np.ndarray, int]):
    """Five steps; the reward is the action's distance from a number drawn at reset. Raises where it is told to."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space: spaces.Space[Any] = spaces.Discrete(2)

    def __init__(self, raise_in: str = "") -> None:
        self.raise_in = raise_in
        if raise_in == "factory":
            raise OSError("no display")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if self.raise_in == "reset":
            raise ConnectionError("simulator is gone")
        self.left = 5
        self.wanted = int(self.np_random.integers(2))
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self.raise_in == "step":
            raise ZeroDivisionError("no mass")
        if self.raise_in == "nan":
            return self._observation(), float("nan"), True, False, {}
        self.left -= 1
        return self._observation(), float(action == self.wanted), self.left == 0, False, {}

    def _observation(self) -> np.ndarray:
        return np.array([self.wanted, self.left / 5], np.float32)


class Echo(gymnasium.Env[Any, Any]):
    """One step in the spaces that it is given; remembers actions and seeds, rewards 1."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], steps: int = 1) -> None:
        self.observation_space, self.action_space, self.steps = observation_space, action_space, steps
        self.actions: list[Any] = []
        self.seeds: list[int | None] = []
        self.closed = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.seeds.append(seed)
        self.observation_space.seed(seed)
        self.left = self.steps
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.actions.append(action)
        self.left -= 1
        return self.observation_space.sample(), 1.0, self.left == 0, False, {}

    def close(self) -> None:
        self.closed = True


class Negated(gymnasium.ObservationWrapper[Any, Any, Any]):
    """The observation with its sign changed."""

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return -observation


class Fragile(Chain):
    """Raises in some episodes where a policy takes action 1 in the third step."""

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self.left == 3 and action == self.wanted == 1:
            raise ZeroDivisionError("it broke")
        return super().step(action)


class Halved(Chain):
    """Raises in the third step of every episode in which action 1 would be wanted."""

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self.left == 3 and self.wanted == 1:
            raise ZeroDivisionError("it broke")
        return super().step(action)


class Walk:
    """portable-es' protocol: a random walk that is pushed by the action."""

    observation_shape = (2,)

    def randomize(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def reset(self) -> np.ndarray:
        self.at, self.left = float(self.rng.normal()), 12
        return self._state()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
        self.at += float(np.tanh(np.ravel(action)[0])) + 0.1 * float(self.rng.normal())
        self.left -= 1
        return self._state(), -abs(self.at), self.left == 0

    def eval(self) -> dict[str, float]:
        return {"distance": abs(self.at)}

    def _state(self) -> np.ndarray:
        return np.array([self.at, self.left / 12], np.float32)


def vector_cartpole(num_envs: int) -> Any:
    """Environments of CartPole that are stepped one after another, as Gymnasium does it."""
    return gymnasium.make_vec("CartPole-v1", num_envs=num_envs, vectorization_mode="sync")


def blobs() -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes of points in the plane: float32 [90, 2], int64 [90]."""
    rng = np.random.default_rng(1)
    kinds = np.arange(90) % 3
    points = np.array([[0, 2], [2, -1], [-2, -1]])[kinds] + rng.normal(size=(90, 2))
    return torch.from_numpy(points.astype(np.float32)), torch.from_numpy(kinds)


REMEMBERS: Tables = CARTPOLE | {"policy": {"kind": "specimens:Remembers"}, "evaluation": {"every": 1, "episodes": 1}}


# --- policies --------------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """A class that the builder calls with what it asks for."""

    def __init__(self, observation_size: int, action_size: int, gain: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Linear(observation_size, action_size)
        self.gain = gain

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return self.gain * self.layer(observation.flatten(1))


class Remembers(Linear):
    """Keeps a trace of what it saw in a buffer, which it binds anew at every step."""

    def __init__(self, observation_size: int, action_size: int) -> None:
        super().__init__(observation_size, action_size)
        self.register_buffer("trace", torch.zeros(1, observation_size))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        self.trace = 0.5 * self.trace + observation
        return super().forward(self.trace)


class Trails(Linear):
    """Keeps a trace of what it saw in an attribute, in the older style."""

    trace: torch.Tensor | None = None

    def reset(self) -> None:
        self.trace = None

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        self.trace = observation if self.trace is None else 0.5 * self.trace + observation
        return super().forward(self.trace)


def wrapped(observation_size: int, action_size: int) -> nn.Module:
    return wrap(Trails(observation_size, action_size))


class Branches(Linear):
    """Control flow that depends on what it sees."""

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        outputs = super().forward(observation)
        return outputs if bool((observation.sum() > 0).item()) else -outputs


class Draws(Linear):
    """Adds noise of its own."""

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        outputs = super().forward(observation)
        return outputs + 0.3 * torch.randn_like(outputs)


class Raises(Linear):
    """Raises when it acts."""

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("matrix is singular")


def too_wide(observation_size: int, action_size: int) -> nn.Module:
    """One output too many."""
    return nn.Linear(observation_size, action_size + 1)


def no_module(action_size: int) -> Any:
    """Not a module."""
    return [action_size]


# --- reporters -------------------------------------------------------------------------------------------------------


class Recorder(Reporter):
    """Keeps every report, and does something after generation number `at`."""

    def __init__(self, at: int = 0, action: Callable[[], Any] = lambda: None) -> None:
        self.reports: list[GenerationReport] = []
        self.messages: list[str] = []
        self.closed: list[Any] = []
        self.at, self.action = at, action

    def write(self, report: GenerationReport) -> None:
        self.reports.append(report)
        if report.generation == self.at:
            self.action()

    def message(self, text: str) -> None:
        self.messages.append(text)

    def close(self, summary: Any) -> None:
        self.closed.append(summary)
