"""fastes.video: episodes as the evaluation plays them, frames in files that hold as many, and messages where there are
none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from fastes.errors import ConfigError, FastesError, PolicyError, ProblemError, StorageError
from fastes.evaluator import Evaluator
from fastes.policies import MLP, Policy, Recurrent, build
from fastes.problems import Function, Gym
from fastes.video import record, watch


class Painted(gymnasium.Env[Any, Any]):
    """Some steps; what it draws is the step, and whether the action was 1."""

    metadata = {"render_modes": ["rgb_array", "human", "odd"], "render_fps": 20}  # noqa: RUF012 (as Gymnasium has it)
    observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None, steps: int = 4, broken: str = "") -> None:
        self.render_mode, self.steps, self.broken = render_mode, steps, broken
        self.shown = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.taken, self.action = 0, 0
        return self._observed(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.broken == "step":
            raise ZeroDivisionError("no mass")
        assert type(action) is int
        self.taken, self.action = self.taken + 1, action
        return self._observed(), float(action), self.taken == self.steps, False, {}

    def _observed(self) -> Any:
        return self.np_random.normal(size=3).clip(-1, 1).astype(np.float32)

    def render(self) -> Any:
        if self.broken == "render":
            return None
        return np.full((5, 7, 3), 40 * self.taken + self.action, np.uint8)


class DependencyNotInstalled(Exception):  # noqa: N818 (Gymnasium's name)
    """As Gymnasium's own."""


class Undrawable(Painted):
    """No pygame."""

    def render(self) -> Any:
        raise DependencyNotInstalled("pygame is not installed")


class Plain(Painted):
    metadata = {"render_modes": []}  # noqa: RUF012


PAINTED = Gym(Painted)


def policy(spec: Any = None, problem: Gym = PAINTED) -> nn.Module:
    return build(spec or MLP((4,)), problem.interface(), 3).module


@pytest.mark.parametrize("spec", [MLP((4,)), Recurrent((4,), "lstm"), Recurrent((5, 4), "gru")])
def test_episodes_are_those_of_the_evaluation(spec: Any) -> None:
    module = policy(spec)
    seeds = [7, 8, 2**32 - 1]
    watched = watch(PAINTED, module, seeds, "rgb_array")
    assert watched.fps == 20.0
    frames = np.array(list(watched))
    assert frames.shape == (3 * 5, 5, 7, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames[:, 0, 0, 0] // 40, [0, 1, 2, 3, 4] * 3)
    taken = (frames[:, 0, 0, 0] % 40).reshape(3, 5)
    assert watched.returns == taken.sum(axis=1).tolist()
    by_hand = []
    for seed in seeds:
        env, total, over = Painted(), 0.0, False
        observation, _ = env.reset(seed=seed)
        state = module.initial_state() if hasattr(module, "initial_state") else None
        while not over:
            given = torch.from_numpy(observation[np.newaxis])
            output, state = module(given, state) if state is not None else (module(given), None)
            observation, reward, over, _, _ = env.step(int(output.argmax()))
            total += reward
        by_hand.append(total)
    assert watched.returns == by_hand
    assert len(set(taken.ravel().tolist())) == 2  # both actions were seen


@pytest.mark.parametrize("how", ["argmax", "sample"])
def test_max_steps_and_the_problems_actions(how: str) -> None:
    problem = Gym(Painted, max_steps=2, action=how, env_args={"steps": 9})
    module = policy()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    watched = watch(problem, module, range(20), "rgb_array")
    assert len(list(watched)) == 20 * 3
    assert (sum(watched.returns) > 0) == (how == "sample")  # all outputs are equal


def test_the_module_and_torchs_generator_are_left_alone() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, observation: torch.Tensor) -> torch.Tensor:
            self.seen += 1
            return self.layer(observation) + torch.randn(1, 2)

    module = Policy(Noisy()).module
    before = torch.get_rng_state()
    returns = []
    for _ in range(2):
        watched = watch(PAINTED, module, range(8), "rgb_array")
        for _ in watched:
            assert torch.equal(torch.get_rng_state(), before)
        returns.append(watched.returns)
    assert returns[0] == returns[1]
    assert len(set(returns[0])) > 1
    assert module.seen.item() == 0


def test_a_compiled_environment_is_drawn_by_gymnasiums(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    problem = Gym("CartPole-v1")
    spec = build(MLP((4,)), problem.interface(), 3)
    watched = watch(problem, spec.module, [1, 2], "rgb_array")
    frames = list(watched)
    assert len(frames) == 2 + sum(watched.returns)
    assert frames[0].shape == (400, 600, 3)
    assert (frames[0] == 0).all(axis=2).sum() > 500  # the cart is black
    shown = watch(problem, spec.module, [1], "human")
    assert list(shown) == []
    assert shown.returns == watched.returns[:1]


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"no display .* --video FILE"):
        watch(PAINTED, policy(), [1], "human")
    monkeypatch.setenv("DISPLAY", ":0")
    watched = watch(PAINTED, policy(), [1], "human")
    assert list(watched) == []
    assert len(watched.returns) == 1


def narrow(observation_size: int) -> nn.Module:
    return nn.Linear(observation_size, 3)


@pytest.mark.parametrize(
    ("problem", "spec", "kind", "words"),
    [
        (Gym(Undrawable), MLP(), ProblemError, ["pygame is not installed", "pip install 'fastes[video]'"]),
        (Gym(Plain), MLP(), ProblemError, ["no render_mode = 'rgb_array'"]),
        (Gym(Painted, env_args={"broken": "step"}), MLP(), ProblemError, ["ZeroDivisionError", "no mass"]),
        (Gym(Painted, env_args={"broken": "render"}), MLP(), ProblemError, ["rendered a NoneType"]),
        (PAINTED, narrow, PolicyError, ["(1, 3)", "(1, 2)"]),
        (Function("sphere", dim=3), MLP(), ConfigError, ["only episodes of Gymnasium", "not those of a Function"]),
    ],
)
def test_messages(problem: Any, spec: Any, kind: type[FastesError], words: list[str]) -> None:
    module = policy(spec)
    with pytest.raises(kind) as caught:
        list(watch(problem, module, [1], "rgb_array"))
    for word in words:
        assert word in str(caught.value)


def moving(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    frames = np.zeros((count, height, width, 3), np.uint8)
    for i in range(count):
        frames[i, :, 4 * i : 4 * i + 4] = (250, 120, 10)
    return list(frames)


def test_gif(tmp_path: Path) -> None:
    pytest.importorskip("imageio")
    from PIL import Image

    path = tmp_path / "new" / "film.gif"
    assert record(iter(moving(6)), path, 25.0) == 6
    assert [file.name for file in path.parent.iterdir()] == ["film.gif"]
    with Image.open(path) as film:
        assert (film.n_frames, film.size, film.info["duration"]) == (6, (64, 48), 40)
        film.seek(3)
        seen = np.asarray(film.convert("RGB"), np.int64)
    assert np.abs(seen - moving(6)[3].astype(np.int64)).max() < 20


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_mp4(tmp_path: Path, size: tuple[int, int]) -> None:
    pytest.importorskip("imageio")
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "film.mp4"
    assert record(moving(12, *size), path, 30.0) == 12
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]
    assert ffmpeg.count_frames_and_secs(str(path)) == (12, pytest.approx(0.4))
    raw = [ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    shown = subprocess.run(raw, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
    frames = np.frombuffer(shown, np.uint8).reshape(12, 48, 64, 3)
    red = frames[5][:, :, 0].mean(axis=0)  # lossy, but the bar is where it was
    assert abs(int(red.argmax()) - 21) <= 4
    assert red.max() > 150


def failing() -> Any:
    yield moving(1)[0]
    raise ProblemError("the environment broke")


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_nothing_is_left_of_a_video_that_failed(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("imageio")
    pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / f"film{suffix}"
    with pytest.raises(ProblemError, match="broke"):
        record(failing(), path, 30.0)
    with pytest.raises(ConfigError, match="no frames"):
        record([], path, 30.0)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be written to .*film.*Choose another file"):
        record(moving(2), tmp_path / "file" / path.name, 30.0)


@pytest.mark.parametrize("name", ["film.avi", "film", "film.mp4.txt"])
def test_other_endings(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"\.mp4 or \.gif, not "):
        record(moving(2), tmp_path / name, 30.0)


@pytest.mark.parametrize(("missing", "suffix"), [("imageio", ".gif"), ("imageio_ffmpeg", ".mp4")])
def test_a_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, suffix: str) -> None:
    if missing != "imageio":
        pytest.importorskip("imageio")
    for name in [missing, *[name for name in sys.modules if name.startswith(f"{missing}.")]]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"needs {missing}.*pip install 'fastes\[video\]'"):
        record(moving(2), tmp_path / f"film{suffix}", 30.0)


def test_the_evaluation_plays_the_same() -> None:
    """Returns of `Evaluator.evaluate_center` on the same seeds."""
    from fastes.noise import evaluation_seeds

    spec = build(MLP((4,)), PAINTED.interface(), 3)
    evaluated = Evaluator(PAINTED, spec).evaluate_center(spec.theta(), 5, 0, 6)
    watched = watch(PAINTED, spec.module, evaluation_seeds(5, 0, 6).tolist(), "rgb_array")
    list(watched)
    assert watched.returns == np.asarray(getattr(evaluated, "returns", evaluated)).ravel().tolist()
