"""What an optimizer remembers from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastes.types import AnyArray


@dataclass(frozen=True, slots=True)
class OptimizerState:
    """arrays: by name, float32 [D] each where theta can be stepped in parts; scalars: float64 by name, which a
    checkpoint keeps exactly.
    """

    arrays: dict[str, AnyArray] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
