"""Losses by name, of many samples at once: samples of all members of a unit stand behind each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional

from fastes.errors import ProblemError

SampleLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""outputs [samples, *outputs] and targets [samples, *targets] to losses [samples, ...], of which the mean counts."""


def _cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    if outputs.shape[1] < 2:
        raise ProblemError(
            "the cross entropy of one output is always 0: take problem.loss = 'mse', or 'binary_cross_entropy'."
        )
    return functional.cross_entropy(outputs, _classes(targets), reduction="none")


def _accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    right = (outputs.argmax(1) == _classes(targets)).float()
    return -torch.where(outputs.isnan().any(1), math.nan, right)


def _classes(targets: torch.Tensor) -> torch.Tensor:
    return targets if targets.is_floating_point() else targets.long()


def _elementwise(loss: Callable[..., torch.Tensor]) -> SampleLoss:
    def of_each(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if outputs[0].numel() != targets[0].numel():  # where torch would broadcast one against the other
            raise ProblemError(
                f"the policy gave outputs of shape {tuple(outputs.shape[1:])} for a target of shape "
                f"{tuple(targets.shape[1:])}: give the last layer {targets[0].numel()} outputs, or another loss."
            )
        return loss(outputs, targets.reshape(outputs.shape).to(outputs.dtype), reduction="none")

    return of_each


LOSSES: dict[str, SampleLoss] = {
    "cross_entropy": _cross_entropy,
    "accuracy": _accuracy,
    "binary_cross_entropy": _elementwise(functional.binary_cross_entropy_with_logits),
    "mse": _elementwise(functional.mse_loss),
    "l1": _elementwise(functional.l1_loss),
    "smooth_l1": _elementwise(functional.smooth_l1_loss),
}
"""By name; those of torch.nn.functional, binary_cross_entropy with logits. "accuracy" is minus the share of samples
whose target has the largest output, so that fitness is the accuracy: evolution needs no gradient."""

OF_CLASSES = ("cross_entropy", "accuracy")
"""Those whose targets are numbers of classes."""
