"""Numbers that change from generation to generation: learning rates, sigma, weight decay, noise on actions, weights.

Where a setting may follow one, it takes a number, one of these, or a function of the generation. In a configuration it
is a table: `sigma = { kind = "exponential", start = 0.1, decay = 0.995, floor = 0.01 }`.
"""

from __future__ import annotations

from fastes.schedules.base import (
    Memory,
    Schedule,
    Scheduled,
    at_first,
    check_numbers,
    fixed,
    is_scheduled,
    number,
    scheduled,
)
from fastes.schedules.constant import Constant
from fastes.schedules.cosine import Cosine
from fastes.schedules.custom import Custom
from fastes.schedules.exponential import Exponential
from fastes.schedules.linear import Linear
from fastes.schedules.piecewise import Piecewise
from fastes.schedules.plateau import Plateau
from fastes.schedules.torch_schedule import TorchSchedule

SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "exponential": Exponential,
    "cosine": Cosine,
    "piecewise": Piecewise,
    "plateau": Plateau,
}
"""Those that a configuration names by a word; others by import path."""

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Custom",
    "Exponential",
    "Linear",
    "Memory",
    "Piecewise",
    "Plateau",
    "Schedule",
    "Scheduled",
    "TorchSchedule",
    "at_first",
    "check_numbers",
    "fixed",
    "is_scheduled",
    "number",
    "scheduled",
]
