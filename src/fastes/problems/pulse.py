"""Signs of life: what a watchdog hears of the environment that is about to be called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Pulse: TypeAlias = Callable[[int], None]
"""Called with a number, of a slot, a place in the unit, or a member, before that one's environment is called."""

NOBODY = -1
"""Instead of a number, when the environments of all are called at once."""

IDLE = -2
"""When no environment is called: the policy is, which may take its time."""


def no_pulse(number: int) -> None:
    """For when nobody watches."""
