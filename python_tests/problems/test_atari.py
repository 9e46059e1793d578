"""Atari games. Most of it needs ale-py and OpenCV."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fastes.errors import ProblemError
from fastes.evaluator import Evaluator
from fastes.noise import Generation
from fastes.policies import build
from fastes.problems.atari import Atari
from fastes.problems.spaces import Discrete


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"frame_skip": 0}, "frame_skip must be at least 1, not 0"),
        ({"noop_max": -1}, "noop_max must be at least 0, not -1"),
        ({"repeat_action_probability": 1.5}, "must be from 0 to 1, not 1.5"),
        ({"vector": True}, "leave out problem.wrappers, problem.vector"),
        ({"env_args": {"frameskip": 4}}, r"env_args\.frameskip"),
        ({"episodes": 0}, "episodes must be at least 1, not 0"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ProblemError, match=told):
        Atari(**settings)


@pytest.mark.skipif(importlib.util.find_spec("ale_py") is not None, reason="ale-py is installed")
def test_a_missing_package_is_named() -> None:
    with pytest.raises(ProblemError, match=r"pip install 'fastes\[atari\]'"):
        Atari().batch()


@pytest.fixture
def installed() -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, (4, 84, 84)),
        ({"frame_stack": 2, "screen_size": 42, "grayscale": False}, (2, 42, 42, 3)),
        ({"frame_stack": 1, "frame_skip": 1, "noop_max": 0}, (1, 84, 84)),
    ],
)
def test_policies_see_the_last_frames(settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    batch = Atari(**settings).batch()
    assert batch.spaces.observation_shape == shape
    assert batch.spaces.actions == Discrete(6)
    batch.reset(np.array([5], np.uint32))
    for frame in batch.observations[0]:  # the first is there as often as frames are stacked
        np.testing.assert_array_equal(frame, batch.observations[0, -1])
    before = batch.observations.copy()
    for _ in range(20):
        batch.step(np.array([2]))
        np.testing.assert_array_equal(batch.observations[:, :-1], before[:, 1:])
        before = batch.observations.copy()
    assert 0 <= before.min() < 0.5 < before.max() <= 1
    assert not np.array_equal(before[0, 0], before[0, -1]) or shape[0] == 1
    batch.close()


@pytest.mark.usefixtures("installed")
def test_starts_and_sticky_actions_come_from_the_seed() -> None:
    batch = Atari(env="ALE/Breakout-v5", screen_size=42, env_args={"mode": 4}).batch()

    def play(seeds: list[int]) -> list[bytes]:
        batch.reset(np.array(seeds, np.uint32))
        for step in range(30):
            batch.step(np.full(len(seeds), (1, 2, 3)[step % 3]))
        return [frames.tobytes() for frames in batch.observations]

    found = play([3, 2**32 - 1, 3])
    assert found[0] == found[2] != found[1]
    assert play([2**32 - 1, 3]) == [found[1], found[0]]
    batch.close()


@pytest.mark.usefixtures("installed")
def test_an_episode_may_end_with_a_life() -> None:
    lengths = []
    for settings in ({"terminal_on_life_loss": True}, {}):
        batch = Atari(env="ALE/Breakout-v5", screen_size=42, repeat_action_probability=0.0, **settings).batch()
        batch.reset(np.array([1], np.uint32))
        while batch.running:
            batch.step(np.array([1]))  # the ball is served again and again, and nobody is there
        lengths.append(int(batch.steps[0]))
        assert batch.infos[0]["lives"] == (4 if settings else 0)
        batch.close()
    assert lengths[1] > 4 * lengths[0]


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 4, 8, 4), nn.ReLU(), nn.Conv2d(4, 4, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 6)
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.layers(frames)


@pytest.mark.usefixtures("installed")
def test_whole_episodes_of_pong_are_played() -> None:
    problem = Atari(env="ALE/Pong-v5", frame_stack=2, screen_size=42)
    assert problem.interface().observation_shape == (2, 42, 42)
    results = []
    for _ in range(2):
        here = Evaluator(problem, build(lambda interface: Convolutional(), problem.interface(), 1), unit_size=2)
        scales = np.array([0.05, -0.05], np.float32)
        generation = Generation(3, 2, here.policy.theta(), np.zeros(2, np.uint32), scales)
        results.append(here.evaluate(here.units(generation)[0]))
        here.close()
    assert results[0].fitness.tobytes() == results[1].fitness.tobytes()
    assert ((results[0].fitness >= -21) & (results[0].fitness <= 21)).all()
    assert (results[0].steps > 500).all()
