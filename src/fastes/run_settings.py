"""What surrounds the loop: how often the centre is evaluated, and what is written where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastes.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The centre is evaluated on `episodes` fresh episodes every `every` generations (0: only at the end)."""

    every: int = 5
    episodes: int = 20

    def __post_init__(self) -> None:
        """Checks the settings. Raises ConfigError."""
        if self.every < 0 or self.episodes < 1:
            raise ConfigError(
                f"evaluation.every must not be negative and evaluation.episodes at least 1, "
                f"not {self.every} and {self.episodes}."
            )


@dataclass(frozen=True, slots=True)
class Output:
    """dir: the run's directory; one that holds a run already gets -2, -3, ... behind its name. checkpoint_every: so
    many generations; keep: how many of the newest checkpoints stay; tensorboard: whether to write its events.
    """

    dir: Path
    checkpoint_every: int = 10
    keep: int = 3
    tensorboard: bool = True

    def saves(self, generation: int) -> bool:
        """Whether there is a checkpoint after this many generations, besides the one at the end."""
        return generation % self.checkpoint_every == 0

    def __post_init__(self) -> None:
        """Checks the settings; a string will do for the directory. Raises ConfigError."""
        object.__setattr__(self, "dir", Path(self.dir))
        if self.checkpoint_every < 1 or self.keep < 1:
            raise ConfigError(
                "output.checkpoint_every and output.keep must be at least 1, "
                f"not {self.checkpoint_every} and {self.keep}."
            )
