"""A model, an environment and a cast as users of portable-es write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


class Remembering(torch.nn.Module):
    """One observation without a batch; what it remembers is inside, and gone after reset()."""

    def __init__(self, outputs: int, width: int = 4) -> None:
        super().__init__()
        self.cell, self.head = torch.nn.GRUCell(width, 3), torch.nn.Linear(3, outputs)
        self.reset()

    def reset(self) -> None:
        self.kept = torch.zeros(1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept = self.cell(x.view(1, -1), self.kept)
        return self.head(self.kept).view(-1)


class Walk:
    """`steps` draws from what randomize() was given; the reward is how well the first output tells the last one."""

    def __init__(self, steps: int = 5) -> None:
        self.steps = steps

    def randomize(self, np_randomstate: np.random.RandomState) -> None:
        self.drawn = np_randomstate.randint(0, 2, size=self.steps + 1)

    def reset(self) -> torch.Tensor:
        self.at = 0
        return self._state()

    def step(self, action: torch.Tensor) -> tuple[torch.Tensor, float, bool]:
        reward = -float((action[0] - self.drawn[self.at]).abs())
        self.at += 1
        return self._state(), reward, self.at == self.steps

    def eval(self) -> dict[str, Any]:
        return {"scalars": {"steps": float(self.at)}}

    def _state(self) -> torch.Tensor:
        return torch.tensor([float(self.drawn[self.at]), 1.0, 0.0, 0.0])


def negative(action: np.ndarray) -> int:
    return int(action.argmin())
