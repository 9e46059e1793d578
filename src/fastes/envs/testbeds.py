"""Tasks of our own: what each is, as settings, from which its description follows. They are registered by their
default settings; others are given as problem.env_args.

    Gym("fastes/UTrap-v0", env_args={"steps": 300})        Gym("fastes/Copy-v0", env_args={"length": 5})

Both are written twice: compiled, in `u_trap` and `copy_task`, and in plain Python as a gymnasium.Env, in `plain`, with
the same bits. Gymnasium knows the ids once `fastes.envs.plain` is imported; `gymnasium.make` does that itself for
"fastes.envs.plain:fastes/UTrap-v0".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastes.envs.native import Box, Discrete, Native

Wall = tuple[float, float, float, float]
"""x from .. to, y from .. to: a rectangle and its edges."""


@dataclass(frozen=True, slots=True)
class UTrap:
    """A point that is to get round a U-shaped wall in its way, of which fitness knows nothing: who follows it is caught
    in the U (after the deceptive mazes of Lehman and Stanley 2011, and Conti et al. 2018, arXiv 1712.06560).

    start, goal: (x, y); walls: (x from, x to, y from, y to) each; step: longest move on an axis in one step; steps: of
    an episode; scale: observations are scale x, scale y, float32.

    Actions a are two numbers from -1 to 1, clipped to that. A step moves x by step a_x, unless (new x, old y) is inside
    a wall or on its edge: then x stays as it is. Then y moves by step a_y, unless (x, new y) is, with the x that the
    same step has arrived at. A blocked move is not made in part: the point stays up to a step away from the wall.

    Every step is worth 0 but the last, which is worth minus the distance to the goal, so that this is the return: above
    -2 the trap is called solved. An episode that something else cuts off before is worth 0. Nothing is drawn: seeds
    make no difference.

    As a behaviour take "final_observation". It is twice the final position over 5, and a factor common to all
    behaviours changes neither the order of novelties nor choices in proportion to them.

    Raises ValueError for walls that a step can jump over or that hold the start.
    """

    start: tuple[float, float] = (0.0, 0.0)
    goal: tuple[float, float] = (9.0, 0.0)
    walls: tuple[Wall, ...] = ((5.4, 5.6, -2.1, 2.1), (-0.5, 5.6, 1.9, 2.1), (-0.5, 5.6, -2.1, -1.9))
    step: float = 0.1
    steps: int = 200
    scale: float = 0.4

    def __post_init__(self) -> None:
        """Lists will do, and whole numbers. Checks the settings."""
        for name in ("start", "goal"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), 2))
        object.__setattr__(self, "walls", tuple(_numbers("walls", wall, 4) for wall in self.walls))
        if not (0 < self.step < math.inf and math.isfinite(self.scale)) or self.steps < 1:
            raise ValueError(
                "step must be above 0, scale finite and steps at least 1, not "
                f"{self.step}, {self.scale} and {self.steps}."
            )
        for left, right, low, high in self.walls:
            wall = [left, right, low, high]
            if min(right - left, high - low) < self.step:
                raise ValueError(f"the wall {wall} is thinner than a step of {self.step}, which would jump over it.")
            if left <= self.start[0] <= right and low <= self.start[1] <= high:
                raise ValueError(f"the start {list(self.start)} is inside the wall {wall}.")

    def native(self) -> Native:
        """Its description."""
        walls = [edge for wall in self.walls for edge in wall]
        constants = (*self.start, *self.goal, float(self.step), float(self.steps), float(self.scale), *walls)
        return Native(
            "fastes/UTrap-v0",
            "u_trap",
            (math.inf, math.inf),
            Box(-1.0, 1.0, 2),
            self.steps,
            state_size=2 + len(constants),
            constants=constants,
        )


@dataclass(frozen=True, slots=True)
class Copy:
    """Symbols are shown one by one and then asked for in their order: nothing can be done without a memory (as in the
    copy task of Graves et al. 2014, arXiv 1410.5401).

    length: L, symbols of an episode, drawn independently and uniformly; alphabet: A, how many symbols there are; delay:
    steps between the last one and the first answer.

    Steps 0 .. L - 1 show one symbol each; `delay` steps show nothing; in the last L steps the right action is the
    symbol of that place. Observations have A + 1 elements: the symbol's is 1, or the last one where an answer is asked
    for, the others are 0; after the last answer all are 0. Actions are 0 .. A - 1. A right answer is worth 1 / L,
    so that the return is the part that was right, and all else 0.

    A policy without a memory sees the same whenever it is asked, answers the same, and is right in 1 / A on average.

    Raises ValueError for lengths and delays that cannot be.
    """

    length: int = 3
    alphabet: int = 3
    delay: int = 1

    def __post_init__(self) -> None:
        """Checks the settings."""
        for name, least in (("length", 1), ("alphabet", 2), ("delay", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}.")

    def native(self) -> Native:
        """Its description."""
        return Native(
            "fastes/Copy-v0",
            "copy_task",
            (1.0,) * (self.alphabet + 1),
            Discrete(self.alphabet),
            2 * self.length + self.delay,
            state_size=self.length + 1,
            observation_low=(0.0,) * (self.alphabet + 1),
            constants=(float(self.delay),),
        )


def _numbers(name: str, given: tuple[float, ...], count: int) -> tuple[float, ...]:
    numbers = tuple(float(number) for number in given)
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{name}: there must be {count} finite numbers, not {list(given)}.")
    return numbers
