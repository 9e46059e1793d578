"""Optimizers whose step is fused with the weighted sum of noise."""

from __future__ import annotations

from fastes.optim.adam import Adam, AdamW
from fastes.optim.base import Optimizer
from fastes.optim.clipup import ClipUp
from fastes.optim.on_device import OnDevice
from fastes.optim.part import PART_MULTIPLE, WHOLE, Part
from fastes.optim.sgd import SGD
from fastes.optim.spans import Span
from fastes.optim.state import OptimizerState
from fastes.optim.torch_class import is_import_path
from fastes.optim.torch_optimizer import TorchOptimizer

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "clipup": ClipUp,
}

__all__ = [
    "OPTIMIZERS",
    "PART_MULTIPLE",
    "SGD",
    "WHOLE",
    "Adam",
    "AdamW",
    "ClipUp",
    "OnDevice",
    "Optimizer",
    "OptimizerState",
    "Part",
    "Span",
    "TorchOptimizer",
    "is_import_path",
]
