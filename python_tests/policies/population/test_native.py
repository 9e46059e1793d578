"""The project's own kernel for perceptrons."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from fastes import kernels
from fastes.errors import PolicyError
from fastes.kernels.mlp import Mlp
from fastes.policies import Policy
from fastes.policies.population import batched

ACTIVATIONS = [
    nn.Tanh(),
    nn.ReLU(),
    nn.ELU(),
    nn.SiLU(),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.Sigmoid(),
    nn.Identity(),
]


def drawn(*shape: int, row: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    noise = kernels.normal(int(np.prod(shape)), seed=5, row=row)
    return noise.reshape(shape)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [(), (3,), (16, 17), (65, 130)])
def test_equals_torch(hidden: tuple[int, ...], bias: bool, activation: nn.Module) -> None:
    widths, layers = (5, *hidden, 2), []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=bias), activation]
    policy = Policy(nn.Sequential(nn.Flatten(), *layers))
    forward = batched(policy, 3, 2, (5,), "native")
    thetas, x = drawn(3, policy.dim) * np.float32(0.3), drawn(3, 2, 5, row=1)
    forward.load_(thetas)
    found = forward(x)
    for member in range(3):
        policy.load_(thetas[member])
        with torch.no_grad():
            expected = policy.module.double()(torch.from_numpy(x[member]).double()).numpy()
        policy.module.float()
        np.testing.assert_allclose(found[member], expected, rtol=3e-6, atol=3e-6)
        policy = Policy(policy.module)


def test_the_same_bits_for_every_instruction_set_and_number_of_threads() -> None:
    policy = Policy(nn.Sequential(nn.Linear(9, 70), nn.Tanh(), nn.Linear(70, 33), nn.GELU(), nn.Linear(33, 3)))
    thetas, x = drawn(37, policy.dim), drawn(37, 3, 9, row=1)
    digests = set()
    before = kernels.info()["isa"], kernels.num_threads()
    try:
        for isa in kernels.info()["isas_usable"]:
            for threads in (1, 2, 7):
                kernels.select_isa(isa)
                kernels.set_num_threads(threads)
                forward = batched(policy, 37, 3, (9,), "native")
                forward.load_(thetas)
                digests.add(kernels.digest(forward(x)))
    finally:
        kernels.select_isa(before[0])
        kernels.set_num_threads(before[1])
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3)), "LayerNorm is not one of its layers"),
        (nn.Sequential(nn.Tanh(), nn.Linear(5, 3)), "Tanh does not follow a Linear layer"),
        (nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Tanh()), "Tanh does not follow a Linear layer"),
        (nn.Sequential(nn.Linear(5, 3), nn.ELU(0.5)), "ELU has alpha = 0.5, not 1"),
        (nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3).requires_grad_(False)), "is not float32 on the CPU and optim"),
        (nn.Linear(5, 3).double(), "the parameter weight is not float32|raised RuntimeError"),
    ],
)
def test_what_it_declines(module: nn.Module, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        batched(Policy(module), 2, 2, (5,), "native")


def test_layers_are_checked() -> None:
    for layers, words in [
        ([], "at least one layer"),
        ([(0, 1, 0, None, "tanh")], "from 1 to 2\\^20 inputs and outputs"),
        ([(2, 3, 0, None, "tanh"), (4, 1, 6, None, "tanh")], "layer 1 has 4 inputs, but the one before has 3 outputs"),
        ([(2, 3, 5, None, "tanh")], "layer 0 lies outside of theta, which has 10 elements"),
        ([(2, 3, 0, 8, "tanh")], "layer 0 lies outside of theta"),
        ([(2, 3, 0, None, "swish")], "an activation must be one of identity, tanh, relu, .*, not swish"),
    ]:
        with pytest.raises(ValueError, match=words):
            Mlp(layers, 10)
    mlp = Mlp([(2, 3, 0, 6, "tanh")], 10)
    packed = mlp.packed(2)
    assert packed.shape == (2, 48)
    with pytest.raises(ValueError, match="thetas must have 10 columns, not 9"):
        mlp.pack(np.zeros((2, 9), np.float32), packed)
    mlp.pack(np.zeros((2, 10), np.float32), packed)
    with pytest.raises(ValueError, match=r"x must have shape \(2, rows, 2\)"):
        mlp.forward(packed, np.zeros((2, 1, 3), np.float32))
    assert mlp.forward(packed, np.zeros((2, 4, 2), np.float32)).shape == (2, 4, 3)
