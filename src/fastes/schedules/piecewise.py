"""Steps at given generations."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from dataclasses import dataclass
from typing import ClassVar

from fastes.schedules.base import Memory, Schedule, check_finite


@dataclass(frozen=True, slots=True)
class Piecewise(Schedule):
    """values[0] before generation boundaries[0], values[1] from there to before boundaries[1], and so on.

    Raises ValueError unless there is one value more than boundaries, and these ascend.
    """

    kind: ClassVar[str] = "piecewise"

    values: tuple[float, ...]
    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        """Checks the settings; lists will do."""
        object.__setattr__(self, "values", tuple(float(value) for value in self.values))
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        check_finite(**{f"values[{i}]": value for i, value in enumerate(self.values)})
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"values must be one more than the {len(self.boundaries)} boundaries, not {len(self.values)}."
            )
        if any(first >= second for first, second in itertools.pairwise((0, *self.boundaries))):
            raise ValueError(f"boundaries must be generations above 0 that ascend, not {list(self.boundaries)}.")

    def at(self, generation: int, memory: Memory) -> float:
        """See `Schedule`."""
        return self.values[bisect_right(self.boundaries, generation)]
