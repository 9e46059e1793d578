"""Parallel environments of several agents, with the methods of pettingzoo.ParallelEnv, importable from any process."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from specimens import Tables

Told = dict[str, Any]


class Parallel:
    """What is the same in all of them."""

    possible_agents: tuple[str, ...]

    def __init__(self) -> None:
        self.agents: list[str] = []
        self.observation_spaces: dict[str, spaces.Space[Any]] = {}
        self.action_spaces: dict[str, spaces.Space[Any]] = {}
        self.closed = False

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return self.action_spaces[agent]

    def close(self) -> None:
        self.closed = True


def box(size: int, low: float = -np.inf, high: float = np.inf) -> spaces.Box:
    return spaces.Box(low, high, (size,), np.float32)


class Relay(Parallel):
    """A scout and two runners. The scout is done after two steps, the runners are cut off after four.

    At step t, from 1, the scout gets t, and the runners get their first action and 10 more. Everybody sees the step,
    and the rest of what they see is a number that the seed draws. It remembers what it was given.
    """

    possible_agents = ("left", "scout", "right")

    def __init__(self, fails: str = "") -> None:
        super().__init__()
        self.fails = fails
        self.observation_spaces = {"scout": box(2), "left": box(3), "right": box(3)}
        self.action_spaces = {
            "scout": spaces.Discrete(3, start=1),
            "left": box(2, -1.0, 1.0),
            "right": box(2, -1.0, 1.0),
        }
        self.given: list[Told] = []

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Told, Told]:
        self.agents = list(self.possible_agents)
        self.t, self.drawn, self.given = 0, np.random.default_rng(seed).random(), []
        return self._seen(), {agent: {} for agent in self.agents}

    def step(self, actions: Told) -> tuple[Told, Told, Told, Told, Told]:
        assert set(actions) == set(self.agents), actions
        for agent, action in actions.items():
            assert self.action_spaces[agent].contains(action), (agent, action)
        if self.fails and float(actions["left"][0]) > 0.5:
            raise ZeroDivisionError("no relay")
        self.given.append(actions)
        self.t += 1
        acting, seen = self.agents, self._seen()
        rewards = {agent: float(self.t) for agent in acting if agent == "scout"}
        rewards |= {agent: float(actions[agent][0]) for agent in acting if agent == "left"}
        rewards |= {agent: float(actions[agent][0]) + 10.0 for agent in acting if agent == "right"}
        terminated = {agent: agent == "scout" and self.t == 2 for agent in acting}
        truncated = dict.fromkeys(acting, self.t == 4)
        self.agents = [agent for agent in acting if not (terminated[agent] or truncated[agent])]
        return seen, rewards, terminated, truncated, {agent: {} for agent in acting}

    def _seen(self) -> Told:
        whole = {
            "scout": [self.t, self.drawn],
            "left": [self.t, self.drawn, 1.0],
            "right": [self.t, self.drawn, 2.0],
        }
        return {agent: np.array(whole[agent], np.float32) for agent in self.agents}


class Signals(Parallel):
    """A speaker sees one of two words and names one, which the listener hears a step later and repeats or not.

    Both get 1 for each word that arrives, 8 in an episode of 9 steps.
    """

    possible_agents = ("speaker", "listener")

    def __init__(self) -> None:
        super().__init__()
        self.observation_spaces = dict.fromkeys(self.possible_agents, box(2))
        self.action_spaces = {agent: spaces.Discrete(2) for agent in self.possible_agents}

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Told, Told]:
        self.agents = list(self.possible_agents)
        self.words = np.random.default_rng(seed).integers(2, size=10)
        self.t, self.heard = 0, np.zeros(2, np.float32)
        return self._seen(), {agent: {} for agent in self.agents}

    def step(self, actions: Told) -> tuple[Told, Told, Told, Told, Told]:
        right = self.t > 0 and actions["listener"] == self.words[self.t - 1]
        self.heard = np.eye(2, dtype=np.float32)[actions["speaker"]]
        self.t += 1
        everybody, over = self.agents, self.t == 9
        if over:
            self.agents = []
        told = (dict.fromkeys(everybody, value) for value in (float(right), False, over))
        return self._seen(), *told, {agent: {} for agent in everybody}  # type: ignore[return-value]

    def _seen(self) -> Told:
        return {"speaker": np.eye(2, dtype=np.float32)[self.words[self.t]], "listener": self.heard.copy()}


class Aim(Parallel):
    """Two sides of archers who see a mark; in each of three steps the side that is nearer to it gets 1, the other -1.

    The mark is a number within -1 .. 1, an archer sees it and its square; what he does is where he shoots.
    """

    def __init__(self, archers: int = 1) -> None:
        super().__init__()
        self.possible_agents = tuple(f"{side}_{i}" for side in ("east", "west") for i in range(archers))
        self.archers = archers
        self.observation_spaces = dict.fromkeys(self.possible_agents, box(2))
        self.action_spaces = dict.fromkeys(self.possible_agents, box(1, -2.0, 2.0))

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Told, Told]:
        self.agents = list(self.possible_agents)
        self.marks, self.t = np.random.default_rng(seed).uniform(-1.0, 1.0, 4), 0
        return self._seen(), {agent: {} for agent in self.agents}

    def step(self, actions: Told) -> tuple[Told, Told, Told, Told, Told]:
        mark = 0.5 - self.marks[self.t]
        off = {
            side: sum(abs(float(actions[agent][0]) - mark) for agent in self.possible_agents if agent.startswith(side))
            for side in ("east", "west")
        }
        won = float(np.sign(off["west"] - off["east"]))
        everybody = self.agents
        self.t += 1
        if self.t == 3:
            self.agents = []
        rewards = {agent: won if agent.startswith("east") else -won for agent in everybody}
        ends = dict.fromkeys(everybody, self.t == 3)
        return self._seen(), rewards, ends, dict.fromkeys(everybody, False), {agent: {} for agent in everybody}

    def _seen(self) -> Told:
        mark = self.marks[self.t]
        return {agent: np.array([mark, mark * mark], np.float32) for agent in self.possible_agents}


class Turns:
    """Its agents take turns: not a parallel environment."""

    possible_agents = ("a", "b")

    def agent_iter(self) -> None: ...


# --- runs ------------------------------------------------------------------------------------------------------------

RELAY: Tables = {
    "seed": 5,
    "generations": 4,
    "unit_size": 4,
    "problem": {
        "kind": "pettingzoo",
        "env": "several_agents:Relay",
        "teams": {"one": ["scout"], "two": ["left", "right"]},
        "episodes": 2,
        "obs_norm": True,
    },
    "policy": {"kind": "teams", "each": {"hidden": [6]}, "of": {"two": {"kind": "recurrent", "hidden": [3]}}},
    "algorithm": {"kind": "multi_agent", "population": 12},
    "optimizer": {"kind": "adam", "lr": 0.05},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 2, "episodes": 2},
    "output": {"dir": "run", "checkpoint_every": 2, "tensorboard": False},
}
AIM: Tables = {
    "seed": 6,
    "generations": 6,
    "unit_size": 4,
    "problem": {
        "kind": "duel",
        "env": "several_agents:Aim",
        "env_args": {"archers": 2},
        "teams": {"east": ["east_0", "east_1"], "west": ["west_0", "west_1"]},
        "episodes": 4,
        "obs_norm": True,
    },
    "policy": {"kind": "mlp", "hidden": [5]},
    "algorithm": {"kind": "self_play", "population": 12, "opponents": 2, "pool": 2, "every": 2},
    "optimizer": {"kind": "adam", "lr": 0.05},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 2, "episodes": 2},
    "output": {"dir": "run", "checkpoint_every": 2, "tensorboard": False},
}
