"""fastes.envs.on_device: the bits of native episodes, and what the base for environments in torch keeps account of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from conformance.device import require

from fastes.envs import NATIVE
from fastes.envs.on_device import (
    TORCH_EPISODES,
    CompiledEpisodes,
    PureTorchEpisodes,
    TorchEpisodes,
    torch_episodes,
    uniform,
)
from fastes.kernels import philox4x32
from fastes.problems.actions import decoder
from fastes.problems.batches.native import spaces_of
from fastes.problems.repeated import Repeated

CPU = torch.device("cpu")
State = tuple[torch.Tensor, ...]


def seeds_of(*seeds: int) -> np.ndarray:
    return np.array(seeds, np.uint32)


@pytest.mark.parametrize("max_steps", [0, 30])
@pytest.mark.parametrize("env", TORCH_EPISODES)
def test_episodes_are_native_ones(env: str, max_steps: int) -> None:
    """Whole episodes, members sharing seeds, and again after a reset."""
    found = torch_episodes(env, 12, "cpu")
    assert isinstance(found, CompiledEpisodes)
    native = NATIVE[env]
    decode = decoder(spaces_of(native).actions).decode
    generator = np.random.default_rng(3)
    for seeds in (np.tile(seeds_of(5, 2**32 - 1, 0), 4), np.arange(12, dtype=np.uint32)):
        wanted = native.episodes(12, max_steps)
        wanted.reset(seeds)
        found.reset(seeds, max_steps)
        assert found.max_steps == (max_steps or native.max_steps)
        while wanted.running:
            assert found.observations.numpy().tobytes() == wanted.observations.tobytes()
            outputs = generator.normal(0, 1.5, (12, found.outputs)).astype(np.float32)
            wanted.step(decode(outputs, np.empty((0, 0))))
            found.step(torch.from_numpy(outputs))
            assert found.active.numpy().tolist() == wanted.active.tolist()
            assert found.rewards.numpy().tobytes() == wanted.rewards.tobytes()
        for _ in range(3):  # past their end
            found.step(torch.ones(12, found.outputs))
        assert found.state.numpy().T.tobytes() == wanted.state.tobytes()
        assert found.observations.numpy().tobytes() == wanted.observations.tobytes()
        assert found.returns.numpy().tobytes() == wanted.returns.tobytes()
        assert found.steps.tolist() == wanted.steps.tolist()
        assert found.terminated.tolist() == wanted.terminated.tolist()


def test_what_there_is() -> None:
    assert TORCH_EPISODES == ("CartPole-v0", "CartPole-v1", "Pendulum-v1")
    with pytest.raises(ValueError, match=r"no environment 'Acrobot-v1' on devices; there are CartPole-v0, .*PureTorch"):
        torch_episodes("Acrobot-v1", 1)
    with pytest.raises(ValueError, match="Acrobot-v1 has no kernel; there are cartpole, pendulum"):
        CompiledEpisodes(NATIVE["Acrobot-v1"], 1, CPU)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="at least one episode and one step, not 0 and 500"):
        torch_episodes("CartPole-v1", 0)
    episodes = torch_episodes("CartPole-v1", 2)
    for seeds, max_steps in ((seeds_of(1), 0), (np.array([1, 2]), 0), (seeds_of(1, 2), -1)):
        with pytest.raises(ValueError, match=r"seeds must be uint32 of shape \(2,\) and max_steps not negative"):
            episodes.reset(seeds, max_steps)
    episodes.reset(seeds_of(1, 2))
    with pytest.raises(ValueError, match=r"outputs must be float32 of shape \(2, 2\), not float32 of shape \(2, 1\)"):
        episodes.step(torch.zeros(2, 1))


def test_who_is_not_active_is_not_played() -> None:
    episodes = torch_episodes("Pendulum-v1", 3)
    episodes.reset(seeds_of(1, 1, 1))
    first = episodes.observations.clone()
    episodes.active[1] = False
    episodes.step(torch.ones(3, 1))
    assert episodes.steps.tolist() == [1, 0, 1]
    assert torch.equal(episodes.observations[1], first[1])
    assert torch.equal(episodes.observations[0], episodes.observations[2])
    assert not torch.equal(episodes.observations[0], first[0])


class Counting(PureTorchEpisodes):
    """Counts down from the seed; the reward is what the policy gives. Below 1 all becomes NaN."""

    observation_shape = (2, 1)
    outputs = 1
    longest = 6

    def first(self, seeds: torch.Tensor) -> tuple[State, torch.Tensor]:
        return (seeds, seeds.float()), self.seen(seeds)

    def next(self, state: State, outputs: torch.Tensor) -> tuple[State, torch.Tensor, torch.Tensor, torch.Tensor]:
        left = state[0] - 1
        gone = torch.where(left < 0, math.nan, 0.0)
        return (left, left + gone), self.seen(left) + gone.view(-1, 1, 1), outputs[:, 0] + gone, left <= 0

    @staticmethod
    def seen(left: torch.Tensor) -> torch.Tensor:
        return left.float().view(-1, 1, 1).expand(-1, 2, 1)


@pytest.mark.parametrize(("max_steps", "steps"), [(0, [1, 3, 6]), (2, [1, 2, 2]), (99, [1, 3, 6])])
def test_the_account_of_environments_in_torch(max_steps: int, steps: list[int]) -> None:
    episodes = Counting(3, CPU)
    for _ in range(2):
        episodes.reset(seeds_of(1, 3, 9), max_steps)
        held = [episodes.observations, episodes.returns, episodes.steps, episodes.active, *episodes._state]
        addresses = [tensor.data_ptr() for tensor in held]
        for at in range(8):
            assert episodes.active.tolist() == [at < taken for taken in steps]
            episodes.step(torch.full((3, 1), 0.1))
        assert episodes.steps.tolist() == steps
        assert episodes.returns.tolist() == pytest.approx([0.1 * taken for taken in steps])
        assert episodes.returns.dtype == torch.float64
        assert episodes.observations[:, 1, 0].tolist() == (np.array([1, 3, 9]) - steps).tolist()
        assert addresses == [tensor.data_ptr() for tensor in held]


def test_environments_in_torch_keep_no_gradients() -> None:
    episodes = Counting(1, CPU)
    with torch.inference_mode():
        episodes.reset(seeds_of(3))
    episodes.step(torch.ones(1, 1, requires_grad=True))
    assert episodes.returns.tolist() == [1.0]
    assert not episodes.returns.requires_grad


@pytest.mark.cuda
@pytest.mark.parametrize("env", TORCH_EPISODES)
def test_on_a_gpu_in_a_graph(env: str) -> None:
    """The bits of the CPU; replays go past the end of the episodes."""
    require("torch", "best")
    there, here = torch_episodes(env, 300, "cuda"), torch_episodes(env, 300)
    outputs = torch.from_numpy(np.random.default_rng(1).normal(0, 2, (300, there.outputs)).astype(np.float32))
    given = outputs.cuda()
    seeds = np.arange(300, dtype=np.uint32) // 3
    there.reset(seeds)
    repeated = Repeated(lambda: there.step(given), there.device, "a step", capture=True)
    for _ in range(2):
        here.reset(seeds)
        there.reset(seeds)
        for _ in range(here.max_steps + 3):
            here.step(outputs)
            repeated()
        assert isinstance(there, CompiledEpisodes)
        assert isinstance(here, CompiledEpisodes)
        for name in ("state", "observations", "returns", "steps", "active", "rewards", "terminated"):
            assert torch.equal(getattr(there, name).cpu(), getattr(here, name)), name


@pytest.mark.cuda
def test_draws_on_a_gpu() -> None:
    require("torch", "best")
    seeds = torch.arange(2**32 - 50, 2**32)
    assert torch.equal(uniform(seeds.cuda(), 7, purpose=3).cpu(), uniform(seeds, 7, purpose=3))


def test_the_protocol_cannot_be_left_half_done() -> None:
    with pytest.raises(TypeError, match="abstract"):
        TorchEpisodes(1, CPU)  # type: ignore[abstract]


def test_draws_are_of_the_seed() -> None:
    seeds = torch.tensor([0, 7, 2**32 - 1, 7])
    drawn = uniform(seeds, 6)
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn[1], drawn[3])
    assert torch.equal(uniform(seeds[1:2], 3), drawn[1:2, :3])
    words = philox4x32(np.array([[0, 7, 0, 0], [1, 7, 0, 0]], np.uint32), 0).reshape(-1)[:6]
    assert drawn[1].tolist() == ((words >> 8) * 2.0**-24).tolist()
    many = uniform(torch.arange(20_000), 3, purpose=2)
    assert many.min() >= 0
    assert many.max() < 1
    assert many.mean().item() == pytest.approx(0.5, abs=0.004)  # 3.4 standard deviations
    assert not torch.equal(many[:4], uniform(torch.arange(4), 3))
    with pytest.raises(ValueError, match="count must be at least 1, not 0"):
        uniform(seeds, 0)


class Line(PureTorchEpisodes):
    """Steps to the right; what it gives is changed by the tests."""

    observation_shape, outputs, longest = (1,), 1, 5
    state: Any = staticmethod(lambda x: (x,))
    rewards: Any = staticmethod(lambda x: x[:, 0])
    ends: Any = staticmethod(lambda x: x[:, 0] > 3)

    def first(self, seeds: torch.Tensor) -> Any:
        x = torch.zeros(len(seeds), 1)
        return self.state(x), x

    def next(self, state: Any, outputs: torch.Tensor) -> Any:
        x = state[0] + 1
        return self.state(x), x, self.rewards(x), self.ends(x)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        (
            {"state": lambda x: x},
            TypeError,
            r"first\(\) of Line gave a Tensor as state; .* a tuple of .* as \(x,\)",
        ),
        ({"state": lambda x: (x[0],)}, ValueError, r"first\(\) of Line gave a state of \[1\] rows; they must be 3"),
        ({"observation_shape": (2,)}, ValueError, r"gave observations of \[3, 1\]; they must be \[3, 2\]"),
        ({"rewards": lambda x: x}, ValueError, r"next\(\) of Line gave rewards of .* \[3, 1\]; they must be \[3\]"),
        ({"ends": lambda x: x[:, 0]}, ValueError, r"gave ends of torch.float32 \[3\]; they must be bool \[3\]"),
    ],
)
def test_what_is_no_episode_is_said(changes: dict[str, Any], error: type[Exception], says: str) -> None:
    kind = type("Line", (Line,), {k: staticmethod(v) if callable(v) else v for k, v in changes.items()})
    episodes = kind(3, torch.device("cpu"))

    def play() -> None:
        episodes.reset(np.zeros(3, np.uint32))
        episodes.step(torch.zeros(3, 1))

    with pytest.raises(error, match=says):
        play()
