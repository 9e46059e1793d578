"""The optimizers of portable-es as they are there, for `optimizer.kind = "fastes.compat.optimizers:NovoGrad"`.

Those of the same name in torch.optim take other steps: here the bias of the moments is taken for that of the first step
in every step, so that steps are up to sqrt((1 - beta2)^-1 (1 - beta1)) times as long later on. The direction d is
`scale` times the uphill direction of fastes, which is a mean over members: portable-es sums sigma w epsilon over them,
so that scale = sigma N. It matters where steps depend on the length of d.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch

Params = Iterable[torch.nn.Parameter]


class _Ascent(torch.optim.Optimizer):
    """p += lr u, where a subclass makes u of d = -scale grad, and keeps what it needs in the parameter's state."""

    def __init__(self, params: Params, lr: float, scale: float, **settings: float) -> None:
        super().__init__(params, {"lr": lr, "scale": scale} | settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of each parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    state["step"] = state.get("step", 0) + 1
                    p.add_(self._update(p, -group["scale"] * p.grad, state, group), alpha=group["lr"])

    @abstractmethod
    def _update(
        self, p: torch.Tensor, d: torch.Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> torch.Tensor: ...


def _mean(state: dict[str, Any], name: str, value: torch.Tensor, beta: float) -> torch.Tensor:
    """Of what was kept under a name, 0 at first, beta, and of a value the rest; keeps it."""
    before = state.get(name)
    state[name] = (1 - beta) * value if before is None else beta * before + (1 - beta) * value
    kept: torch.Tensor = state[name]
    return kept


class Adam(_Ascent):
    """u = (m / (1 - beta1)) / (sqrt(v / (1 - beta2)) + epsilon)."""

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        beta1: float = 0.99,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        scale: float = 1.0,
    ) -> None:
        super().__init__(params, lr, scale, beta1=beta1, beta2=beta2, epsilon=epsilon)

    def _update(self, p: torch.Tensor, d: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> torch.Tensor:
        m = _mean(state, "m", d, group["beta1"]) / (1 - group["beta1"])
        v = _mean(state, "v", d.square(), group["beta2"]) / (1 - group["beta2"])
        update: torch.Tensor = m / (v.sqrt() + group["epsilon"])
        return update


class AdaBelief(Adam):
    """The same with s, the mean of (d - m)^2, in the place of v; epsilon is added to it as well."""

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        scale: float = 1.0,
    ) -> None:
        super().__init__(params, lr, beta1, beta2, epsilon, scale)

    def _update(self, p: torch.Tensor, d: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> torch.Tensor:
        m = _mean(state, "m", d, group["beta1"])
        s = _mean(state, "s", (d - m).square(), group["beta2"]) + group["epsilon"]
        update: torch.Tensor = m / (1 - group["beta1"]) / ((s / (1 - group["beta2"])).sqrt() + group["epsilon"])
        return update


class AdaMM(_Ascent):
    """u = m / sqrt(the largest v so far), v from 10^-7 on."""

    def __init__(
        self, params: Params, lr: float = 0.01, beta1: float = 0.99, beta2: float = 0.999, scale: float = 1.0
    ) -> None:
        super().__init__(params, lr, scale, beta1=beta1, beta2=beta2)

    def _update(self, p: torch.Tensor, d: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> torch.Tensor:
        least = torch.full_like(p, 1e-7)
        state.setdefault("v", least)
        m, v = _mean(state, "m", d, group["beta1"]), _mean(state, "v", d.square(), group["beta2"])
        state["largest"] = torch.maximum(state.get("largest", least), v)
        update: torch.Tensor = m / state["largest"].sqrt()
        return update


class RAdam(_Ascent):
    """Rectified Adam, its moments corrected by the number of the step."""

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        beta1: float = 0.99,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        scale: float = 1.0,
    ) -> None:
        super().__init__(params, lr, scale, beta1=beta1, beta2=beta2, epsilon=epsilon)

    def _update(self, p: torch.Tensor, d: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> torch.Tensor:
        beta1, beta2, step = group["beta1"], group["beta2"], state["step"]
        v = _mean(state, "v", d.square(), beta2) / (1 - beta2**step)
        m: torch.Tensor = _mean(state, "m", d, beta1) / (1 - beta1**step)
        most = 2 / (1 - beta2) - 1
        rho = most - 2 * step * beta2**step / (1 - beta2**step)
        if rho <= 4:
            return m
        rectified = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
        update: torch.Tensor = rectified * m / (v.sqrt() + group["epsilon"])
        return update


class NovoGrad(_Ascent):
    """Layer by layer: v = |d|^2 at first, then beta2 v + (1 - beta1) |d|^2; m = d / sqrt(v) - weight_decay p at first,
    then beta1 m + that; u = m but in the first step, which only sets both. There weight_decay has the other sign, and
    grows parameters.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.5,
        weight_decay: float = 0.002,
        epsilon: float = 1e-8,
        scale: float = 1.0,
    ) -> None:
        super().__init__(params, lr, scale, beta1=beta1, beta2=beta2, weight_decay=weight_decay, epsilon=epsilon)

    def _update(self, p: torch.Tensor, d: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> torch.Tensor:
        square = d.square().sum()
        before, epsilon = state.get("v"), group["epsilon"]
        state["v"] = square if before is None else group["beta2"] * before + (1 - group["beta1"]) * square
        turned = d / (state["v"].sqrt() + epsilon) - group["weight_decay"] * p
        state["m"] = turned if before is None else group["beta1"] * state["m"] + turned
        update: torch.Tensor = state["m"] if before is not None else torch.zeros_like(p)
        return update


class DecoupledWeightDecay(torch.optim.Optimizer):
    """Steps of another, and weight_decay p off each parameter as it was before; times lr with use_stepsize."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, weight_decay: float = 1e-5, use_stepsize: bool = False
    ) -> None:
        super().__init__(optimizer.param_groups, {})
        self.optimizer, self.weight_decay, self.use_stepsize = optimizer, weight_decay, use_stepsize

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step."""
        before = [p.clone() for group in self.param_groups for p in group["params"]]
        self.optimizer.step()
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(before.pop(0), alpha=self.weight_decay * (group["lr"] if self.use_stepsize else 1.0))


class LookAhead(torch.optim.Optimizer):
    """Steps of another; after every k of them, slow parameters go alpha of the way there, and those are taken."""

    def __init__(self, optimizer: torch.optim.Optimizer, k: int = 10, alpha: float = 0.5) -> None:
        super().__init__(optimizer.param_groups, {})
        self.optimizer, self.k, self.alpha, self.steps = optimizer, k, alpha, 0

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step."""
        for p in (p for group in self.param_groups for p in group["params"]):
            self.state[p].setdefault("slow", p.clone())
        self.optimizer.step()
        self.steps += 1
        if self.steps % self.k == 0:
            for p in (p for group in self.param_groups for p in group["params"]):
                p.copy_(self.state[p]["slow"].lerp_(p, self.alpha))
