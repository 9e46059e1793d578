"""fastes.policies.MLP: its layers, what it begins with, and wrong settings."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.policies import MLP, Interface, build
from fastes.policies.population import batched

INTERFACE = Interface((2,), 2)


def kinds(spec: MLP) -> list[str]:
    module = spec(INTERFACE)
    assert isinstance(module, nn.Sequential)
    return [type(layer).__name__ for layer in module]


def test_layers() -> None:
    assert kinds(MLP((16,))) == ["Flatten", "Linear", "Tanh", "Linear"]
    assert kinds(MLP((16,), activation="relu", output="tanh")) == ["Flatten", "Linear", "ReLU", "Linear", "Tanh"]
    assert kinds(MLP((), output="tanh")) == ["Flatten", "Linear", "Tanh"]
    assert build(MLP((16,), output="tanh"), INTERFACE, 1).dim == 2 * 16 + 16 + 16 * 2 + 2


def test_outputs_are_squashed() -> None:
    plain = build(MLP((16,)), INTERFACE, 1)
    squashed = build(MLP((16,), output="tanh"), INTERFACE, 1)
    np.testing.assert_array_equal(plain.theta(), squashed.theta())
    x = torch.tensor([[3.0, -2.0], [0.5, 40.0]])
    torch.testing.assert_close(squashed.module(x), torch.tanh(plain.module(x)), rtol=0, atol=0)


def test_an_output_activation_keeps_the_native_forward() -> None:
    policy = build(MLP((16,), output="tanh", init_std=2.0), INTERFACE, 1)
    forward = batched(policy, 2, 3, (2,))
    assert forward.path == "native"
    forward.load_(np.stack([policy.theta(), -policy.theta()]))
    x = np.random.default_rng(0).standard_normal((2, 3, 2)).astype(np.float32)
    expected = policy.module(torch.from_numpy(x[0])).detach().numpy()
    np.testing.assert_allclose(forward(x)[0], expected, rtol=0, atol=3e-6)


def test_normal_initialisation() -> None:
    """Known bits, the right spread, biases too; another seed, other numbers; twice the deviation, twice the numbers."""
    first, again, other, wider = (
        build(MLP((64, 64), init_std=std), INTERFACE, seed).theta()
        for seed, std in ((1, 0.3), (1, 0.3), (2, 0.3), (1, 0.6))
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(wider, 2 * first)
    assert (first != other).all()
    assert abs(first.mean()) < 4 * 0.3 / np.sqrt(first.size)
    assert abs(first.std() / 0.3 - 1) < 4 / np.sqrt(2 * first.size)
    policy = build(MLP((64, 64), init_std=0.3), INTERFACE, 1)
    assert all(parameter.std() > 0.15 for parameter in policy.module.parameters() if parameter.numel() > 2)
    assert hashlib.sha256(first.tobytes()).hexdigest()[:16] == "2a15a16aa6f85127"


@pytest.mark.parametrize("output", ["identity", "tanh"])
@pytest.mark.parametrize("init_std", [0.0, 0.3])
def test_a_last_layer_of_zeros(output: str, init_std: float) -> None:
    policy = build(MLP((16,), init="zeros", init_std=init_std, output=output), INTERFACE, 1)  # type: ignore[arg-type]
    assert not policy.theta()[48:].any()
    assert policy.theta()[:48].all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output": "softmax"}, "output must be one of tanh, relu, elu, silu, gelu, identity, not 'softmax'"),
        ({"activation": "sine"}, "activation must be one of .*, not 'sine'"),
        ({"init": "ones"}, "init must be 'torch' or 'zeros', not 'ones'"),
        ({"init_std": -0.1}, "init_std must be above 0, or 0 for what init says, not -0.1"),
        ({"init_std": float("nan")}, "init_std must be above 0"),
        ({"hidden": (16, 0)}, r"hidden widths must be above 0, not \(16, 0\)"),
    ],
)
def test_wrong_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        build(MLP(**settings), INTERFACE, 1)  # type: ignore[arg-type]
