"""What an optimizer remembers from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastes.types import Float32Array


@dataclass(frozen=True, slots=True)
class OptimizerState:
    """arrays: float32 [D] each, by name; scalars: float64 by name, which a checkpoint keeps exactly."""

    arrays: dict[str, Float32Array] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
