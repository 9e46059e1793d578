"""Atari 2600 games of the Arcade Learning Environment, preprocessed as by Machado et al. 2018 (arXiv 1709.06009)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastes.errors import ProblemError
from fastes.problems.gym import Gym
from fastes.problems.gym_environments import make_atari


@dataclass(frozen=True, slots=True)
class Atari(Gym):
    """Episodes of an Atari game; policies see the last frames, float32 in [0, 1].

    env: such as "ALE/Pong-v5"; env_args: further arguments of the game, such as mode, difficulty or full_action_space;
    frame_skip: frames that an action lasts, of which the last two are merged by their maximum; frame_stack: frames that
    a policy sees, 1 and more; screen_size: pixels of a frame's height and width; grayscale: observations are
    [frame_stack, screen_size, screen_size], and with colours [frame_stack, screen_size, screen_size, 3];
    noop_max: an episode begins with 1 to so many frames in which nothing is done, drawn from its seed, 0 for none;
    terminal_on_life_loss: an episode ends with a life;
    repeat_action_probability: of a frame's action to be that of the frame before ("sticky actions").
    """

    env: str = "ALE/Pong-v5"
    frame_stack: int = 4
    frame_skip: int = 4
    screen_size: int = 84
    grayscale: bool = True
    noop_max: int = 30
    terminal_on_life_loss: bool = False
    repeat_action_probability: float = 0.25

    def __post_init__(self) -> None:
        """Checks the settings. Raises ProblemError."""
        Gym.__post_init__(self)
        for name, least in (("frame_stack", 1), ("frame_skip", 1), ("screen_size", 1), ("noop_max", 0)):
            if getattr(self, name) < least:
                raise ProblemError(f"problem.{name} must be at least {least}, not {getattr(self, name)}.")
        if not 0 <= self.repeat_action_probability <= 1:
            raise ProblemError(
                f"problem.repeat_action_probability must be from 0 to 1, not {self.repeat_action_probability}."
            )
        if self.wrappers or self.vector or "frameskip" in self.env_args:
            raise ProblemError(
                "an Atari problem wraps its games itself: leave out problem.wrappers, problem.vector and "
                "problem.env_args.frameskip, or take problem.kind = 'gym' for other ways."
            )

    def make(self) -> Any:
        """See `Gym.make`."""
        return make_atari(
            self.env,
            # The game gives every frame; the preprocessing skips them.
            {"frameskip": 1, "repeat_action_probability": self.repeat_action_probability} | self.env_args,
            self.frame_stack,
            {
                "noop_max": self.noop_max,
                "frame_skip": self.frame_skip,
                "screen_size": self.screen_size,
                "terminal_on_life_loss": self.terminal_on_life_loss,
                "grayscale_obs": self.grayscale,
            },
        )
