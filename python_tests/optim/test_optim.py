"""fastes.optim: steps as torch takes them with the weighted sum as gradient, and the difference between two decays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fastes import kernels
from fastes.kernels import KINDS
from fastes.optim import OPTIMIZERS, SGD, Adam, AdamW, ClipUp, Optimizer, OptimizerState

DIM, ROWS, STEPS = 501, 24, 20

CASES: dict[str, tuple[Optimizer, type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (SGD(lr=0.1), torch.optim.SGD, {"lr": 0.1}),
    "sgd momentum": (SGD(lr=0.1, momentum=0.9), torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "sgd nesterov": (
        SGD(lr=0.05, momentum=0.8, nesterov=True),
        torch.optim.SGD,
        {"lr": 0.05, "momentum": 0.8, "nesterov": True},
    ),
    "sgd l2": (
        SGD(lr=0.1, momentum=0.9, l2=0.3),
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.3},
    ),
    "adam": (Adam(lr=0.03), torch.optim.Adam, {"lr": 0.03}),
    "adam settings": (
        Adam(lr=0.03, betas=(0.5, 0.9), eps=1e-3),
        torch.optim.Adam,
        {"lr": 0.03, "betas": (0.5, 0.9), "eps": 1e-3},
    ),
    "adam l2": (Adam(lr=0.03, l2=0.2), torch.optim.Adam, {"lr": 0.03, "weight_decay": 0.2}),
    "adam decay": (Adam(lr=0.03, weight_decay=0.2), torch.optim.AdamW, {"lr": 0.03, "weight_decay": 0.2}),
    "adamw": (AdamW(lr=0.03), torch.optim.AdamW, {"lr": 0.03, "weight_decay": 0.01}),
}


def weights_of(step: int) -> np.ndarray:
    return np.random.default_rng(step).normal(0, 0.1, ROWS).astype(np.float32)


def ours(optimizer: Optimizer, theta: np.ndarray, steps: int = STEPS, kind: str = "normal") -> np.ndarray:
    state = optimizer.init(theta.size)
    for step in range(steps):
        at: dict[str, Any] = {"seed": 3, "generation": step, "kind": kind}
        theta, state = optimizer.step(theta, state, weights_of(step), np.arange(ROWS), **at)
    return theta


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_the_same_path_as_torch(case: str, kind: str) -> None:
    """torch in float64 is the truth; float32 steps may lose a few of its 24 bits on the way."""
    optimizer, cls, settings = CASES[case]
    start = np.linspace(-1, 1, DIM, dtype=np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(start.astype(np.float64)))
    theirs = cls([parameter], **settings)
    for step in range(STEPS):
        uphill = kernels.weighted_sum(weights_of(step), np.arange(ROWS), DIM, seed=3, generation=step, kind=kind)
        parameter.grad = -torch.from_numpy(uphill.astype(np.float64))
        theirs.step()
    theta = ours(optimizer, start, kind=kind)
    assert np.abs(theta - start).max() > 0.1
    np.testing.assert_allclose(theta, parameter.detach().numpy(), rtol=0, atol=2e-6)


def without_gradient(optimizer: Optimizer, steps: int) -> float:
    """Where parameters of 2.0 are after steps whose weights are all 0."""
    theta, nothing = np.full(8, 2.0, np.float32), np.zeros(ROWS, np.float32)
    state = optimizer.init(8)
    for step in range(steps):
        theta, state = optimizer.step(theta, state, nothing, np.arange(ROWS), seed=0, generation=step)
    assert (theta == theta[0]).all()
    return float(theta[0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_only_shrinks(name: str) -> None:
    """By (1 - lr weight_decay)^t, past every moment, momentum and limit of speed."""
    for options in ({}, {"momentum": 0.9}) if name == "sgd" else ({},):
        optimizer = OPTIMIZERS[name](lr=0.1, weight_decay=0.5, **options)
        assert without_gradient(optimizer, 10) == pytest.approx(2 * 0.95**10, rel=1e-6)


def test_l2_is_a_gradient_like_any_other() -> None:
    """It goes through moments, momentum and the scaling of steps: Adam's are of lr, ClipUp's of length lr in all."""
    for adam in (Adam(lr=0.1, l2=0.5), AdamW(lr=0.1, l2=0.5, weight_decay=0.0)):
        assert without_gradient(adam, 1) == pytest.approx(1.9, abs=1e-6)
    assert without_gradient(SGD(lr=0.1, l2=0.5), 10) == pytest.approx(2 * 0.95**10, rel=1e-6)
    assert without_gradient(SGD(lr=0.1, momentum=0.9, l2=0.5), 2) == pytest.approx(1.9 - 0.1 * (0.9 + 0.95), rel=1e-6)
    root = 8**0.5
    for l2 in (0.001, 0.5):
        assert without_gradient(ClipUp(lr=0.1, l2=l2), 1) == pytest.approx(2 - 0.1 / root, rel=1e-6)
        assert without_gradient(ClipUp(lr=0.1, l2=l2), 2) == pytest.approx(2 - (0.1 + 0.19) / root, rel=1e-6)
        assert without_gradient(ClipUp(lr=0.1, l2=l2), 3) == pytest.approx(2 - (0.1 + 0.19 + 0.2) / root, rel=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_two_decays_together(kind: str, name: str) -> None:
    """theta' = (1 - lr weight_decay) theta + step(d): the step is that of l2 alone, the shrinking comes to it."""
    theta = np.linspace(-1, 1, DIM, dtype=np.float32)

    def after(**decays: float) -> np.ndarray:
        optimizer = OPTIMIZERS[name](lr=0.1, **{"l2": 0.3, "weight_decay": 0.0, **decays})
        moved, _ = optimizer.step(
            theta, optimizer.init(DIM), weights_of(0), np.arange(ROWS), seed=3, generation=0, kind=kind
        )
        return moved.astype(np.float64)

    step = after() - theta
    assert np.abs(step - (after(l2=0.0) - theta)).max() > 1e-3
    np.testing.assert_allclose(after(weight_decay=0.5), 0.95 * theta.astype(np.float64) + step, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_changes_none_of_its_arguments(name: str) -> None:
    optimizer = OPTIMIZERS[name]()
    theta, state = np.ones(DIM, np.float32), optimizer.init(DIM)
    theta, state = optimizer.step(theta, state, weights_of(0), np.arange(ROWS), seed=1, generation=0)
    before = kernels.digest(theta, *state.arrays.values()), dict(state.scalars)
    for array in (theta, *state.arrays.values()):
        array.flags.writeable = False
    following, _ = optimizer.step(theta, state, weights_of(1), np.arange(ROWS), seed=1, generation=1)
    assert (kernels.digest(theta, *state.arrays.values()), dict(state.scalars)) == before
    assert not np.shares_memory(following, theta)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_uphill_is_up(name: str, kind: str) -> None:
    """A step goes along the weighted sum, not against it."""
    theta = np.zeros(DIM, np.float32)
    uphill = kernels.weighted_sum(weights_of(0), np.arange(ROWS), DIM, seed=3, generation=0, kind=kind)
    assert (np.sign(ours(OPTIMIZERS[name](), theta, 1, kind)) == np.sign(uphill)).all()


def test_states() -> None:
    assert SGD().init(4) == OptimizerState({}, {})
    assert list(SGD(momentum=0.5).init(4).arrays) == ["momentum"]
    adam = Adam().init(4)
    assert adam.scalars == {"beta1_power": 1.0, "beta2_power": 1.0}
    assert [(array.dtype, array.shape) for array in adam.arrays.values()] == [(np.float32, (4,))] * 2


@pytest.mark.parametrize(
    ("cls", "settings", "match"),
    [
        (SGD, {"lr": 0.0}, "lr must be above 0"),
        (SGD, {"lr": float("nan")}, "lr must be above 0"),
        (Adam, {"lr": float("inf")}, "lr must be above 0 and finite in float32, not inf"),
        (Adam, {"eps": 1e-50}, "eps must be above 0 and finite in float32, not 1e-50"),
        (SGD, {"momentum": -0.1}, "momentum must not be negative"),
        (SGD, {"nesterov": True}, "nesterov needs a momentum"),
        (SGD, {"l2": float("inf")}, "l2"),
        (Adam, {"betas": (0.9, 1.0)}, "betas"),
        (Adam, {"betas": (0.9,)}, "betas must be two numbers"),
        (Adam, {"eps": 0.0}, "eps"),
        (AdamW, {"weight_decay": -1.0}, "weight_decay"),
    ],
)
def test_settings_out_of_range(cls: type[Optimizer], settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        cls(**settings)
