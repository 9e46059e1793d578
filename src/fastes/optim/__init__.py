"""Optimizers whose step is fused with the weighted sum of noise."""

from __future__ import annotations

from fastes.optim.adam import Adam, AdamW
from fastes.optim.base import Optimizer, OptimizerState
from fastes.optim.clipup import ClipUp
from fastes.optim.sgd import SGD

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "clipup": ClipUp,
}

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "ClipUp", "Optimizer", "OptimizerState"]
