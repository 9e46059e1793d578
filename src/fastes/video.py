"""A policy at play, to be looked at: in a window, or as frames that are recorded. The only importer of imageio."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from fastes.errors import ConfigError, FastesError, PolicyError, ProblemError, StorageError
from fastes.noise import action_words
from fastes.policies import Policy
from fastes.policies.population.base import one_thread
from fastes.problems import Gym, Problem
from fastes.problems.actions import decoder
from fastes.problems.gym_environments import translated
from fastes.types import AnyArray

RenderMode = Literal["rgb_array", "human"]

_FPS = 30.0  # where the environment names none
_INSTALL = "Install what pictures need: pip install 'fastes[video]'."


class Watched:
    """Episodes of a policy, played as they are iterated over; iterate once.

    fps: frames a second at which the environment is meant to be seen; returns: of the episodes that are over.
    """

    def __init__(self, problem: Problem, module: nn.Module, seeds: Sequence[int], render_mode: RenderMode) -> None:
        """See `watch`."""
        if not isinstance(problem, Gym):
            raise ConfigError(
                f"only episodes of Gymnasium's environments can be looked at (problem.kind = 'gym'), not those of a "
                f"{type(problem).__name__}."
            )
        if render_mode == "human":
            _check_display()
        else:
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws into memory, and looks for no display
        # The compiled environments cannot be drawn: this is Gymnasium's own.
        shown = replace(problem, env_args=problem.env_args | {"render_mode": render_mode}, native=None, vector=False)
        self._env = shown.make()
        offered = (getattr(self._env, "metadata", None) or {}).get("render_modes", [])
        if render_mode not in offered:
            with contextlib.suppress(Exception):  # it may be anything that a factory gave
                self._env.close()
            known = f", only {', '.join(map(str, offered))}" if offered else " and no other"
            raise ProblemError(f"environment {problem.subject} has no render_mode = {render_mode!r}{known}.")
        spaces, self._encode = translated(self._env.observation_space, self._env.action_space)
        self._decoder = decoder(spaces.actions, problem.action, problem.bins, problem.action_size)
        self._policy = Policy(copy.deepcopy(module))
        self._problem, self._seeds, self._mode = problem, tuple(seeds), render_mode
        self.fps = float(self._env.metadata.get("render_fps") or _FPS)
        self.returns: list[float] = []

    def __iter__(self) -> Iterator[AnyArray]:
        """Frames, uint8 [height, width, 3]: the first observation's and one after each step; none in a window.

        Raises ProblemError if the environment raises or gives no frame, PolicyError if its actions do not fit.
        """
        try:
            for seed in self._seeds:
                yield from self._episode(int(seed))
        except FastesError:
            raise
        except Exception as error:
            missing = type(error).__name__ == "DependencyNotInstalled"
            raise ProblemError(
                f"environment {self._problem.subject} raised {type(error).__name__} while it was played and drawn: "
                f"{str(error).removesuffix('.')}. {_INSTALL if missing else 'Run with --debug for the traceback.'}"
            ) from error
        finally:
            self._env.close()

    def _episode(self, seed: int) -> Iterator[AnyArray]:
        env, module = self._env, self._policy.module
        self._policy.reset_()
        state = module.initial_state() if hasattr(module, "initial_state") else None  # type: ignore[operator]
        generator = torch.Generator().manual_seed(seed).get_state()
        observation, _ = env.reset(seed=seed)
        total, step, over = 0.0, 0, False
        yield from self._frame()
        while not over:
            with torch.inference_mode(), one_thread(), torch.random.fork_rng(devices=[]):
                torch.set_rng_state(generator)
                given = torch.from_numpy(np.array(self._encode(observation), np.float32)[np.newaxis])
                result = module(given) if state is None else module(given, state)
                output, state = (result, None) if state is None else result
                generator = torch.get_rng_state()
            observation, reward, terminated, truncated, _ = env.step(self._action(output, seed, step))
            total, step = total + float(reward), step + 1
            over = terminated or truncated or step == self._problem.max_steps
            yield from self._frame()
        self.returns.append(total)

    def _action(self, output: torch.Tensor, seed: int, step: int) -> Any:
        wanted = self._decoder.outputs
        if wanted and output.shape != (1, wanted):
            raise PolicyError(
                f"the policy gave outputs of shape {tuple(output.shape)}, and the actions of {self._problem.subject} "
                f"need {(1, wanted)}."
            )
        words = action_words(seed, 0, 0, 1, step, self._decoder.words).astype(np.float64)
        action = self._decoder.decode(output.float().numpy(), (words + 0.5) / 2.0**32)[0]
        return action.item() if action.ndim == 0 and action.dtype.kind == "i" else action

    def _frame(self) -> Iterator[AnyArray]:
        if self._mode == "human":
            return
        frame = self._env.render()
        if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3:
            found = f"shape {frame.shape}" if isinstance(frame, np.ndarray) else f"a {type(frame).__name__}"
            raise ProblemError(
                f"environment {self._problem.subject} rendered {found}, not a frame of shape [height, width, 3]."
            )
        yield frame.astype(np.uint8, copy=False)


def watch(problem: Problem, module: nn.Module, seeds: Sequence[int], render_mode: RenderMode) -> Watched:
    """Episodes of a policy in Gymnasium's environment, one for each seed.

    module: it may have a state, see `policies.recurrent`; it is copied. render_mode: "rgb_array" for frames, "human"
    for a window.

    Raises ConfigError if the problem has no environment or there is no display, ProblemError if the environment cannot
    be made or drawn.
    """
    return Watched(problem, module, seeds, render_mode)


def record(frames: Iterable[AnyArray], path: Path, fps: float) -> int:
    """Writes frames, uint8 [height, width, 3] of one size, to a file .mp4 or .gif; gives how many they were.

    The file appears when it is complete. Sides are made even for mp4, by the last row and column again. An mp4 is
    written frame by frame, a GIF at the end: all its frames are held until then.

    Raises ConfigError for another ending, or if a package is missing; StorageError if the file cannot be written.
    """
    suffix = path.suffix.lower()
    imageio = _imageio(suffix)
    temporary = path.with_name(f".{path.stem}.unfinished{suffix}")
    # A GIF counts in hundredths of a second, and below two of them viewers play slowly.
    options = {"fps": fps, "macro_block_size": 2} if suffix == ".mp4" else {"duration": max(20.0, 1e3 / fps), "loop": 0}
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()  # what cannot be written is found out before anything is played
        with contextlib.closing(imageio.get_writer(temporary, **options)) as writer:
            for frame in frames:
                writer.append_data(_even(frame) if suffix == ".mp4" else frame)
                count += 1
        if count == 0:
            raise ConfigError(f"there are no frames to record in {path}.")
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error).partition("\n")[0]  # what ffmpeg printed comes after that
        raise StorageError(f"the video cannot be written to {path}: {reason}. Choose another file.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return count


def _imageio(suffix: str) -> Any:
    if suffix not in (".mp4", ".gif"):
        raise ConfigError(f"a video is a file .mp4 or .gif, not {suffix or 'one without an ending'}.")
    try:
        import imageio.v2

        if suffix == ".mp4":
            import imageio_ffmpeg  # noqa: F401 (imageio calls it)
    except ImportError as error:
        raise ConfigError(f"a video needs {error.name}, which is not installed. {_INSTALL}") from error
    return imageio.v2


def _even(frame: AnyArray) -> AnyArray:
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")


def _check_display() -> None:
    names = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    if sys.platform == "linux" and not any(os.environ.get(name) for name in names):
        raise ConfigError(
            "there is no display to open a window on: neither DISPLAY nor WAYLAND_DISPLAY is set. Record the episodes "
            "instead: --video FILE.mp4."
        )
