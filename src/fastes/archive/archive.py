"""The archive of behaviours (Lehman and Stanley 2011, Evolutionary Computation 19(2); Conti et al. 2018, section 3.1).

Shape legend: A behaviours kept, B numbers of a behaviour, M behaviours added at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from fastes import kernels
from fastes.types import AnyArray, Float32Array

Leaves = Literal["oldest", "random"]

_STREAM = 6  # selection
_ROW = 2**32 - 2


@dataclass(frozen=True, slots=True)
class Archive:
    """capacity: most behaviours that are kept, 0 for no limit; leaves: who makes room in a full one, the oldest, or one
    at random, whose place the new one takes;

    behaviours: float32 [A, B], all finite; total: how many were ever added, the address of what is random.
    Raises ValueError for settings that do not fit.
    """

    capacity: int = 0
    leaves: Leaves = "oldest"
    behaviours: Float32Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    total: int = 0

    def __post_init__(self) -> None:
        """Checks the settings."""
        if self.capacity < 0:
            raise ValueError(f"archive_capacity must be 0, for no limit, or more, not {self.capacity}.")
        if self.leaves not in get_args(Leaves):
            raise ValueError(f"archive_leaves must be one of {', '.join(get_args(Leaves))}, not {self.leaves!r}.")

    def __len__(self) -> int:
        """A."""
        return len(self.behaviours)

    def added(self, behaviours: Float32Array, *, seed: int, generation: int) -> Archive:
        """The archive with these too, float32 [B] or [M, B]: the same whether they come at once or one by one.

        Those that are not finite, of members that failed, are left out. Raises ValueError if B is another or they are
        no float32.
        """
        if behaviours.dtype != np.float32 or behaviours.ndim not in (1, 2):
            raise ValueError(
                "behaviours must be a float32 array of shape [B] or [M, B], "
                f"not {behaviours.dtype} of shape {behaviours.shape}."
            )
        found = behaviours[np.newaxis] if behaviours.ndim == 1 else behaviours
        new = found[np.isfinite(found).all(axis=1)] if found.shape[1] else found[:0]
        if not len(new):
            return self
        if len(self) and new.shape[1] != self.behaviours.shape[1]:
            raise ValueError(f"the archive holds behaviours of {self.behaviours.shape[1]} numbers, not {new.shape[1]}.")
        free = len(new) if not self.capacity else max(0, min(len(new), self.capacity - len(self)))
        kept = np.concatenate([self.behaviours, new[:free]]) if len(self) else new[:free].copy()
        late = new[free:]
        if len(late) and self.leaves == "oldest":
            kept = np.concatenate([kept, late])[len(late) :]
        elif len(late):
            places = self._places(self.total + free, len(late), seed, generation)
            for place, behaviour in zip(places.tolist(), late, strict=True):  # of two at one place the later one stays
                kept[place] = behaviour
        return replace(self, behaviours=kept, total=self.total + len(new))

    def _places(self, first: int, count: int, seed: int, generation: int) -> AnyArray:
        """Where the behaviours that are the first-th and following to be added go: int64 [count], below capacity.

        From word 0 of blocks first, first + 1, ... of the last row but one of stream 6.
        """
        counters = np.zeros((count, 4), np.uint32)
        counters[:, 0] = np.arange(first, first + count) & 0xFFFFFFFF
        counters[:, 1:] = _STREAM, _ROW, generation
        words = kernels.philox4x32(counters, seed)[:, 0].astype(np.uint64)
        return (words * np.uint64(self.capacity) >> np.uint64(32)).astype(np.int64)

    def arrays(self) -> dict[str, AnyArray]:
        """All arrays by name, for a checkpoint."""
        return {"behaviours": self.behaviours}

    def scalars(self) -> dict[str, Any]:
        """All else by name, as JSON can hold it."""
        return {"capacity": self.capacity, "leaves": self.leaves, "total": self.total}

    @classmethod
    def restore(cls, arrays: Mapping[str, AnyArray], scalars: Mapping[str, Any]) -> Archive:
        """The one that `arrays` and `scalars` were taken from. Raises KeyError if something is missing."""
        return cls(int(scalars["capacity"]), scalars["leaves"], arrays["behaviours"], int(scalars["total"]))
