"""A step of the optimizer as rank 0 tells the others of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastes.executors.mpi.parcels import packed, unpacked
from fastes.types import Float32Array, UInt32Array


@dataclass(frozen=True, slots=True)
class Step:
    """What it takes besides theta and moments: weights: float32 [K]; rows: uint32 [K]; seed, generation, kind and
    stream of the noise; dim: D; scalars: of the optimizer's state; names: of its arrays; is_new: whether these have to
    be sent; numbers: of the optimizer's schedules.
    """

    weights: Float32Array
    rows: UInt32Array
    seed: int
    generation: int
    kind: str
    dim: int
    scalars: dict[str, float]
    names: list[str]
    is_new: bool
    stream: int = 0
    numbers: dict[str, float] = field(default_factory=dict)

    def packed(self) -> bytes:
        """As bytes."""
        others = {name: getattr(self, name) for name in _OTHERS}
        return packed({"weights": self.weights, "rows": self.rows}, others)

    @classmethod
    def unpacked(cls, parcel: bytes) -> Step:
        """The step that was packed."""
        arrays, others = unpacked(parcel)
        return cls(arrays["weights"], arrays["rows"], *(others[name] for name in _OTHERS))


_OTHERS = ("seed", "generation", "kind", "dim", "scalars", "names", "is_new", "stream", "numbers")
